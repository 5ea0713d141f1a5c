"""What two pictures look like that were given for one another, or are one picture."""

from __future__ import annotations

import numpy as np

from tdfusion_edge.color import is_coloured, luma
from tdfusion_edge.frames import Frame, Image


def suspicion(infrared: Frame, visible: Frame) -> str | None:
    """Why the two may not be what they were given for, in a line; None where nothing speaks for it.

    A thermal camera may have a palette, and a visible one may see grey by night: it is for a warning.

    Args:
        infrared: Given for infrared.
        visible: Given for visible, of the same moment.
    """
    first, second = infrared.source, visible.source
    if is_coloured(infrared.image) and not is_coloured(visible.image):
        return (
            f"{first} was given for infrared and is in colour, {second} for visible and is grey: are they "
            f"swapped? Infrared comes first: --camera {second},{first}, or fuse {second} {first}; "
            "in rig.toml the roles say it"
        )
    if infrared.size == visible.size and _is_one(luma(infrared.image), luma(visible.image)):
        return f"{first} and {second} show the very same picture: is one file given for both cameras?"
    return None


def _is_one(first: Image, second: Image) -> bool:
    # Both may be black before a camera has woken up.
    return bool(first.min() != first.max() and np.array_equal(first, second))
