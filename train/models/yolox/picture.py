"""The colour picture that YOLOX's published weights expect, from luma and chroma.

Full-range BT.601 as in ``tdfusion_edge.color``, from its three weights; there OpenCV does it in 8 bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tdfusion_edge.color import NEUTRAL
from tdfusion_edge.errors import ConfigError, RequestError

RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""What each gives to the luma."""
GREY = NEUTRAL / 255
"""Chroma of what has no colour."""


def picture(luma: Tensor, chroma: Tensor | None = None) -> Tensor:
    """Blue, green and red, (B, 3, H, W) in 0 to 255, of luma (B, 1, H, W) and chroma (B, 2, H, W) in [0, 1].

    Colours that no screen has are cut off, as in an 8-bit picture; a grey one stays as it is.

    Raises:
        RequestError: the chroma is of another size.
    """
    if chroma is None:
        return luma.expand(-1, 3, -1, -1) * 255
    if chroma.shape != (luma.shape[0], 2, *luma.shape[2:]):
        raise RequestError(
            "chroma for yolox",
            expected=str((luma.shape[0], 2, *luma.shape[2:])),
            got=str(tuple(chroma.shape)),
        )
    red, blue = 2 * (1 - RED) * (chroma[:, :1] - GREY), 2 * (1 - BLUE) * (chroma[:, 1:] - GREY)
    green = (RED * red + BLUE * blue) / -GREEN
    return (luma + torch.cat((blue, green, red), dim=1)).clamp(0, 1) * 255


def share_of(infrared: object, network: str) -> float:
    """The option ``infrared`` of a network, once it is one.

    Raises:
        ConfigError: it is no share from 0 to below 1.
    """
    number = infrared if isinstance(infrared, int | float) and not isinstance(infrared, bool) else math.nan
    if not 0 <= number < 1:
        raise ConfigError(
            f"infrared of the network {network}", expected="a share from 0 to below 1", got=repr(infrared)
        )
    return float(number)
