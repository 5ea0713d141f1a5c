"""Where infrared stands out more than visible: the saliency m of BDLFusion's target, computed.

Source: the saliency degree weight of TarDAL (Liu et al., CVPR 2022, arXiv 2203.16220, section 3.2), by the
authors of BDLFusion. A pixel is as salient as its level is far from those of all others in its picture
(histogram contrast; Zhai and Shah, ACM MM 2006), and the two pictures are weighed by it:

    S(v) = sum over levels l of  p(l) |v - l|          m = S_infrared / (S_infrared + S_visible)

A table of 256 numbers a picture. By day, where infrared has little contrast, m is small but for people; by
night it is larger. Ours adds one grey level to either S, so that two flat pictures are weighed alike, and
smooths m, so that it has no edges and no noise of its own.

BDLFusion (IJCAI 2023, arXiv 2305.06720) takes its maps from files, which are not published with its code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.pairs import LabelledPair

LEAST = 1.0
"""Added to either contrast, grey levels: what differs by less is noise."""
SIGMA = 2.0
"""Standard deviation of the smoothing, pixels."""

F32: TypeAlias = npt.NDArray[np.float32]
Saliency: TypeAlias = Callable[[LabelledPair], U8]
"""A pair to its saliency, uint8 (H, W), 255 for 1."""


def saliency(infrared: U8, visible: U8) -> U8:
    """How much infrared stands out against visible, at every pixel.

    Args:
        infrared: uint8 (H, W).
        visible: uint8 (H, W).

    Returns:
        uint8 (H, W), 255 for 1. Swapped pictures give 255 less this, up to rounding.
    """
    of_infrared, of_visible = contrast(infrared) + LEAST, contrast(visible) + LEAST
    share = of_infrared / (of_infrared + of_visible)
    smooth = cv2.GaussianBlur(share, (0, 0), SIGMA, borderType=cv2.BORDER_REPLICATE)
    return cast(U8, (255 * smooth).round().astype(np.uint8))


def contrast(image: U8) -> F32:
    """Mean distance of every pixel's level to those of all pixels, float32 (H, W), grey levels.

    Args:
        image: uint8 (H, W).
    """
    shares = np.bincount(image.ravel(), minlength=256) / image.size
    levels = np.arange(256)
    table = np.abs(levels[:, None] - levels) @ shares
    return cast(F32, table.astype(np.float32)[image])


def from_folder(folder: Path) -> Saliency:
    """Saliency from pictures with the pairs' stems; each has its pair's size.

    Raises:
        InputMissing: there is no folder; later, a pair has no picture there.
        RequestError: later, a picture has another size than its pair.
    """
    pictures = by_stem(folder)

    def read(pair: LabelledPair) -> U8:
        if pair.name not in pictures:
            raise InputMissing(
                f"{folder} has no saliency '{pair.name}'", hint="Or leave saliency_folder out."
            )
        found = read_luma8(pictures[pair.name])
        if found.shape != pair.infrared.shape:
            raise RequestError(
                f"the saliency '{pair.name}' has another size than its pair",
                expected="{1}x{0}".format(*pair.infrared.shape),
                got="{1}x{0}".format(*found.shape),
            )
        return found

    return read
