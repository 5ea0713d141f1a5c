"""What a few pictures of a camera say about it: whether it works, and what is wrong where it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.picture.dead import is_flat

BLACK, WHITE = 4, 251
"""Means of an 8-bit picture below and above which it is black or white all over."""
GREEN = 40
"""A chroma bus without a signal is all zeros, which is green: by so much green exceeds red and blue then."""


def judge(frames: Sequence[Frame], role: rig.Role | None) -> str | None:
    """What is wrong with a camera, by its pictures; None where nothing is.

    Args:
        frames: Two or more that follow each other, as the camera gave them.
        role: What it is used as; None: not known.

    Returns:
        A phrase without a full stop, such as ``black all over``.
    """
    newest = frames[-1].image
    if is_flat(newest):
        return _flat(frames[-1])
    if newest.ndim == 3 and _is_green(frames[-1]):
        return "green all over: the sensor's colours do not arrive"
    if len(frames) > 1 and all(np.array_equal(newest, one.image) for one in frames[:-1]):
        return f"frozen: {len(frames)} pictures are alike to the last bit"
    if role == "visible" and newest.dtype == np.uint16:
        return "16 bits, which no visible camera gives: is it the infrared one?"
    return None


def _flat(frame: Frame) -> str:
    image = frame.image
    means = np.atleast_1d(image.reshape(-1, image.shape[2] if image.ndim == 3 else 1).mean(axis=0))
    if image.dtype == np.uint16:
        return f"one count all over ({means[0]:.0f}): a closed shutter, a cap, or no sensor"
    if means.max() < BLACK:
        return "black all over: a cap, no light, or no sensor"
    if means.min() > WHITE:
        return "white all over: far too long an exposure"
    if len(means) == 3 and means[1] - max(means[0], means[2]) > GREEN:
        return "green all over: the sensor's picture does not arrive"
    return "one colour all over: nothing of the sensor arrives"


def _is_green(frame: Frame) -> bool:
    """Whether a picture with structure has the tint of a chroma that is zero: U = V = 0."""
    blue, green, red = frame.image.reshape(-1, 3).mean(axis=0)
    return bool(green - max(blue, red) > GREEN and min(blue, red) < BLACK * 4)
