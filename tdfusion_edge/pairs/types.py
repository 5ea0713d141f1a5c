"""A labelled pair: what every reader of a data folder gives, and what training and evaluation take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8, is_grey, luma, split


class Boxes(NamedTuple):
    """Labelled objects of one picture."""

    corners: npt.NDArray[np.float32]
    """(N, 4), x1 y1 x2 y2 in pixels of the picture; x1 < x2 and y1 < y2."""
    classes: npt.NDArray[np.int64]
    """(N,), index into the class names of the head that the labels are for."""

    @classmethod
    def none(cls) -> Boxes:
        """A picture without objects, which is a label too."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


class LabelledPair(NamedTuple):
    """An aligned infrared and visible picture of one size, with what is known of the scene."""

    name: str
    """Stem of the files; ``stem#number`` of a video's frame."""
    infrared: U8
    """(H, W) uint8."""
    visible: U8
    """(H, W) uint8, BT.601 luma."""
    boxes: Boxes | None = None
    """None: not labelled with boxes."""
    mask: U8 | None = None
    """(H, W) uint8 class of every pixel, 255 where it does not count; None: not labelled so."""
    colour: U8 | None = None
    """(H, W, 3) uint8 BGR, the visible picture as it is stored; None: it is grey, or colour was not asked
    for."""
    saliency: U8 | None = None
    """(H, W) uint8, how much infrared stands out, 0 to 255; None: whoever wants it makes it."""

    @property
    def chroma(self) -> U8 | None:
        """uint8 (2, H, W), Cr then Cb around 128, of :attr:`colour`; None where there is none."""
        return None if self.colour is None else split(self.colour)[1]


def paired(name: str, infrared: U8, visible: U8, *, colour: bool = False) -> LabelledPair:
    """A pair without labels from two pictures, uint8 (H, W) or (H, W, 3) BGR.

    Args:
        name: Of the pair.
        infrared: Its luma alone is kept.
        visible: Its luma is kept.
        colour: Whether its colours are kept beside that, where it has any.
    """
    kept = visible if colour and not is_grey(visible) else None
    return LabelledPair(name, luma(infrared), luma(visible), colour=kept)
