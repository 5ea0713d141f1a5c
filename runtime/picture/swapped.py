"""What two pictures look like that were given for one another, or are one picture."""

from __future__ import annotations

import numpy as np

from tdfusion_edge.color import luma
from tdfusion_edge.frames import Frame, Image

COLOURED = 16
"""Levels between a pixel's channels above which it is no grey; compression gives less."""
MUCH, LITTLE = 0.05, 0.005
"""A picture is in colour if more than the first share of its pixels has one, grey if less than the second."""
STEP = 4
"""Every so many rows and columns are looked at for colour."""


def suspicion(infrared: Frame, visible: Frame) -> str | None:
    """Why the two may not be what they were given for, in a line; None where nothing speaks for it.

    A thermal camera may have a palette, and a visible one may see grey by night: it is for a warning.

    Args:
        infrared: Given for infrared.
        visible: Given for visible, of the same moment.
    """
    first, second = infrared.source, visible.source
    if _share_of_colour(infrared.image) > MUCH and _share_of_colour(visible.image) < LITTLE:
        return (
            f"{first} was given for infrared and is in colour, {second} for visible and is grey: are they "
            f"swapped? Infrared comes first: --camera {second},{first}, or fuse {second} {first}; "
            "in rig.toml the roles say it"
        )
    if infrared.size == visible.size and _is_one(luma(infrared.image), luma(visible.image)):
        return f"{first} and {second} show the very same picture: is one file given for both cameras?"
    return None


def _share_of_colour(image: Image) -> float:
    """Share of the pixels that are no grey."""
    if image.ndim == 2:
        return 0.0
    some = image[::STEP, ::STEP]
    return float(np.mean(some.max(axis=2) - some.min(axis=2) > COLOURED))


def _is_one(first: Image, second: Image) -> bool:
    # Both may be black before a camera has woken up.
    return bool(first.min() != first.max() and np.array_equal(first, second))
