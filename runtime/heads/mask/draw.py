"""A mask in a picture: every pixel with a part of its class's colour."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.frames import Image
from tdfusion_edge.masks import Mask
from tdfusion_edge.runtime.heads.colours import COLOURS

TINT = 0.4
"""How much of a pixel is its class's colour."""


def tinted(picture: Image, mask: Mask) -> Image:
    """A copy of a picture whose pixels have a part of their class's colour.

    Those of the first class stay as they are: by custom it is the background that the others stand before.

    Args:
        picture: uint8 (H, W) or (H, W, 3) BGR; is not changed.
        mask: Of all of it, at any size.

    Returns:
        uint8 (H, W, 3) BGR. The picture itself, grey if it is, where there is nothing to show.
    """
    if not mask.classes.any():
        return picture
    colours = np.zeros((256, 3), np.uint8)
    colours[1:] = np.resize(np.array(COLOURS, np.uint8), (255, 3))
    size = picture.shape[1::-1]
    plain = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture
    # Looked up before it is enlarged: OpenCV enlarges faster than NumPy looks up.
    tint = cv2.resize(colours[mask.classes], size, interpolation=cv2.INTER_NEAREST)
    first = cv2.resize((mask.classes == 0).view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    mixed = cv2.addWeighted(plain, 1 - TINT, tint, TINT, 0)
    return cast(U8, cv2.copyTo(plain, first, mixed))
