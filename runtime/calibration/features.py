"""What infrared and visible have in common: where edges are and which way they run, not which side is bright.

A warm person before a cold wall is bright in infrared and may be dark in visible, so brightness cannot be
compared, and neither can the sign of a gradient. What is compared is a small histogram of the orientations of
gradients (modulo 180 degrees) around every pixel, of length near 1 wherever there is an edge at all and
near 0 in
what is flat: the channel features of oriented gradients of Ye et al., "Fast and Robust Matching for
Multimodal Remote Sensing Image Registration" (TGRS 2019, section III), with fewer orientations.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import luma
from tdfusion_edge.frames import Image

F32: TypeAlias = npt.NDArray[np.float32]
U8: TypeAlias = npt.NDArray[np.uint8]

ORIENTATIONS = 6
"""Channels; six tell 30 degrees apart."""
SPREAD = 1.5
"""Standard deviation of the blur of each channel, pixels: two edges this far apart still meet."""
FLOOR = 0.35
"""Gradient that counts half, in root mean squares of the picture's own gradients: noise is below it."""
FEWEST_LEVELS = 1e-6
"""Root mean square of the gradients below which a picture (contrast 1) shows nothing."""


def level(image: Image) -> F32:
    """A picture as float32 (H, W) of mean 0 and contrast 1, whatever its depth; colour becomes luma.

    Percentiles set the contrast, so that a hot spot of 16 bits does not make the rest of the picture flat.
    """
    grey = luma(image).astype(np.float32)
    low, high = np.percentile(grey[:: max(1, grey.shape[0] // 240), :: max(1, grey.shape[1] // 320)], (1, 99))
    span = max(float(high - low), 1.0)
    levelled: F32 = np.clip((grey - np.float32(low)) / np.float32(span), -0.5, 1.5) - np.float32(0.5)
    return levelled


def orientations(grey: F32, mask: U8 | None = None) -> F32:
    """Orientation features of a levelled picture.

    Args:
        grey: float32 (H, W), as :func:`level` gives it.
        mask: uint8 (H, W), 0 where there is no picture: features are 0 there and at its border.

    Returns:
        float32 (H, W, :data:`ORIENTATIONS`), each pixel's vector of length 0 to 1.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    dx, dy = (cv2.Scharr(smooth, cv2.CV_32F, *order) / np.float32(32) for order in ((1, 0), (0, 1)))
    if mask is not None:
        inner = cv2.erode(mask, np.ones((7, 7), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        dx, dy = dx * inner, dy * inner
    angles = np.arange(ORIENTATIONS, dtype=np.float32) * np.float32(np.pi / ORIENTATIONS)
    # |cos| to the 4th power: smooth bins, each an orientation and not a direction.
    bins = np.stack([(dx * np.cos(a) + dy * np.sin(a)) ** 2 for a in angles], axis=2)
    strength = np.maximum(dx * dx + dy * dy, np.float32(1e-12))
    bins = bins * bins / strength[..., None] ** np.float32(1.5)
    bins = cv2.GaussianBlur(bins, (0, 0), SPREAD)
    length = np.sqrt(np.einsum("hwc,hwc->hw", bins, bins))
    typical = np.sqrt(np.mean(length * length))
    if not typical > FEWEST_LEVELS:
        return np.zeros_like(bins)
    bins = bins / (length + np.float32(FLOOR) * typical)[..., None]
    # Without its mean a histogram says which orientation stands out; with it, only that there is an edge.
    return np.ascontiguousarray(bins - np.float32(0.6) * bins.mean(axis=2, keepdims=True))
