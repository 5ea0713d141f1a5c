"""ITU-R BT.601 luma and chroma, full range, 8-bit: the one definition of colour in this project.

The fusion networks see luma alone; the fused picture takes its chroma from the visible camera.
OpenCV does the arithmetic (its ``YCrCb`` is full-range BT.601) and is imported at use, so that
importing this module stays cheap.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from tdfusion_edge.frames import Image

U8 = npt.NDArray[np.uint8]

NEUTRAL = 128
"""Chroma of what has no colour."""


def luma(image: Image) -> Image:
    """Luma of a picture: (H, W) unchanged in its dtype, or uint8 (H, W, 3) BGR to uint8 (H, W)."""
    if image.ndim == 2:
        return image
    import cv2

    return cast(U8, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def split(image: Image) -> tuple[U8, U8 | None]:
    """Luma and chroma of a uint8 picture, (H, W) or (H, W, 3) BGR.

    A picture of shape (H, W, 3) whose channels are all equal is grey as well, so that it stays
    grey to the last bit on its way through the pipeline.

    Returns:
        What :func:`luma` gives, uint8 (H, W), and chroma uint8 (2, H, W), Cr then Cb around 128;
        None where the picture is grey.
    """
    if image.ndim == 2:
        return image, None
    if is_grey(image):
        return luma(image), None
    import cv2

    # The Y of this conversion is not used: for one colour in 380 OpenCV rounds it the other way
    # than in BGR2GRAY, and the training sees luma().
    ycrcb = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
    # Planes, because putting them together again costs a tenth of what interleaved chroma does.
    chroma = np.empty((2, *image.shape[:2]), np.uint8)
    cv2.mixChannels([ycrcb], [chroma[0], chroma[1]], [1, 0, 2, 1])
    return luma(image), chroma


def merge(luma: U8, chroma: U8 | None) -> U8:
    """Picture from luma uint8 (H, W) and the chroma of :func:`split`: BGR, or (H, W) for None."""
    if chroma is None:
        return luma
    import cv2

    return cast(U8, cv2.cvtColor(cv2.merge((luma, chroma[0], chroma[1])), cv2.COLOR_YCrCb2BGR))


def is_grey(image: Image) -> bool:
    """True where a picture has one channel, or three equal ones."""
    if image.ndim == 2:
        return True
    # A sparse look settles nearly every colour picture; only a candidate is read in full.
    return _equal_channels(image[::16, ::16]) and _equal_channels(image)


COLOURED = 16
"""Levels between the channels of a pixel from which its colour is meant; below lie losses of a codec."""

COLOURED_SHARE = 0.01
"""Share of such pixels that makes a picture coloured."""


def is_coloured(image: Image) -> bool:
    """Whether a picture shows colours, and not grey that a codec or a sensor has tinted. A sparse look.

    Args:
        image: (H, W), or uint8 (H, W, 3) BGR.
    """
    if image.ndim == 2:
        return False
    blue, green, red = np.moveaxis(image[::16, ::16], -1, 0).reshape(3, -1)
    span = np.maximum(np.maximum(blue, green), red) - np.minimum(np.minimum(blue, green), red)
    return bool(np.count_nonzero(span > COLOURED) > COLOURED_SHARE * span.size)


def _equal_channels(image: Image) -> bool:
    blue, green, red = image[..., 0], image[..., 1], image[..., 2]
    return bool(np.array_equal(blue, green) and np.array_equal(green, red))
