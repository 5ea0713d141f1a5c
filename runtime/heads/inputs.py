"""What the graph of a head takes, filled from one picture; the same for every kind of head, and for the export."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import CHROMA, Graph
from tdfusion_edge.color import U8
from tdfusion_edge.resize import resized
from tdfusion_edge.runtime.picture.units import UNIT

F32: TypeAlias = npt.NDArray[np.float32]

NEUTRAL = np.float32(128) * UNIT
"""Chroma of what has no colour."""
EXPECTED = "luma float32 (1, 1, h, w), and chroma float32 (1, 2, h, w) if it sees colours,"
"""What a graph takes whose inputs :func:`inputs_of` can fill, for messages."""


class Inputs:
    """The inputs of one graph, in buffers that are made once: each picture overwrites the one before it.

    Args:
        width: Of what the graph sees, pixels.
        height: Likewise.
        colour: Whether it sees colours.
    """

    def __init__(self, width: int, height: int, *, colour: bool = False) -> None:
        self.width, self.height = width, height
        self._luma = np.zeros((1, 1, height, width), np.float32)
        self._given = {"luma": self._luma}
        self._chroma: F32 | None = None
        self._grey = True
        if colour:
            self._chroma = self._given[CHROMA] = np.full((1, 2, height, width), NEUTRAL)

    def of(self, luma: U8 | F32, chroma: U8 | None = None) -> dict[str, F32]:
        """The whole picture resized as in the training, its aspect changed where the two differ.

        Args:
            luma: uint8 (H, W), or float32 (H, W) in [0, 1].
            chroma: uint8 (2, H, W), Cr then Cb around 128; None for a grey picture. A graph that sees no
                colours gets none.

        Returns:
            ``luma`` (1, 1, h, w) float32 in [0, 1], and ``chroma`` (1, 2, h, w) likewise for a graph that
            sees colours.
        """
        shown = resized(luma, self.width, self.height)
        np.multiply(shown, 1 if shown.dtype == np.float32 else UNIT, out=self._luma[0, 0])
        if self._chroma is not None:
            self._colour(self._chroma[0], chroma)
        return self._given

    def _colour(self, planes: F32, chroma: U8 | None) -> None:
        if chroma is None:
            if not self._grey:
                planes.fill(NEUTRAL)
        else:
            for plane, buffer in zip(chroma, planes, strict=True):
                np.multiply(resized(plane, self.width, self.height), UNIT, out=buffer)
        self._grey = chroma is None


def inputs_of(graph: Graph) -> Inputs | None:
    """What the graph of a head takes, as the manifest says; None where it is not :data:`EXPECTED`."""
    given = {tensor.name: (tensor.dtype, tensor.shape) for tensor in graph.inputs}
    planes = {"luma": 1, CHROMA: 2} if graph.takes_chroma else {"luma": 1}
    size = given.get("luma", ("", ()))[1][2:]
    if given != {name: ("float32", (1, count, *size)) for name, count in planes.items()}:
        return None
    sides = [side for side in size if isinstance(side, int)]
    return Inputs(sides[1], sides[0], colour=graph.takes_chroma) if len(sides) == len(size) == 2 else None
