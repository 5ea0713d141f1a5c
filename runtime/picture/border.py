"""The border of infrared's view: outside of it the picture is visible alone, and passes softly into it.

Where both of its inputs are the visible luma, a network gives nearly that, and a pixel further in something
else altogether. So the fused luma is blended, before anything looks at it.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8

F32: TypeAlias = npt.NDArray[np.float32]

FEATHER = 1 / 30
"""Width of the transition, in shorter sides of the picture: 16 pixels at 640x480."""


class Border:
    """What of a picture is fused, and what is visible alone: made once a size, used with every picture.

    Args:
        valid: uint8 (H, W), 255 where infrared sees and 0 elsewhere; both are there.
    """

    outside: U8
    """uint8 (H, W), 255 where infrared does not see and 0 elsewhere."""
    fused_share: F32
    """float32 (H, W): 0 outside, from there smoothly up to 1 over the feather, 1 in the rest."""

    def __init__(self, valid: U8) -> None:
        self.outside = np.bitwise_not(valid)
        # Pixels from the nearest one outside. Where infrared reaches over the picture's edge there is none.
        depth = cv2.distanceTransform(valid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        share = np.minimum(depth / np.float32(max(1.0, FEATHER * min(valid.shape))), np.float32(1))
        self.fused_share = share * share * (3 - 2 * share)  # a bend at either end would show as a line
        self._visible_share: F32 = 1 - self.fused_share

    def blend(self, fused: F32, visible: F32) -> F32:
        """The fused luma, at the border passing into the visible one.

        Args:
            fused: float32 (H, W); left as it is.
            visible: float32 (H, W), the visible luma in the same units.

        Returns:
            float32 (H, W): outside exactly ``visible``, behind the feather exactly ``fused``.
        """
        # Shares of both rather than a step from one to the other, which is exact at neither end.
        blended = fused * self.fused_share
        blended += visible * self._visible_share
        return blended
