"""What the graph of a head takes, filled from one picture; one way for all kinds of head and the export."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge import color
from tdfusion_edge.bundle import CHROMA, Graph
from tdfusion_edge.color import U8
from tdfusion_edge.resize import as_seen, resized_planes
from tdfusion_edge.runtime.picture.units import UNIT

F32: TypeAlias = npt.NDArray[np.float32]

NEUTRAL = np.float32(color.NEUTRAL) * UNIT
"""Chroma of what has no colour, in [0, 1]."""
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
        if colour:
            self._given[CHROMA] = np.empty((1, 2, height, width), np.float32)

    def of(self, luma: U8 | F32, chroma: U8 | None = None) -> dict[str, F32]:
        """The whole picture resized as in the training, its aspect changed where the two differ.

        Args:
            luma: uint8 (H, W), or float32 (H, W) in [0, 1].
            chroma: uint8 (2, H, W), Cr then Cb around 128; None for a grey picture. A graph that sees no
                colours gets none.

        Returns:
            ``luma`` (1, 1, h, w) float32 in [0, 1], and ``chroma`` (1, 2, h, w) likewise for a graph that
            sees colours, all 128 / 255 of a grey picture.
        """
        self._luma[0, 0] = as_seen(luma, self.width, self.height)
        if CHROMA in self._given:
            planes = NEUTRAL if chroma is None else resized_planes(chroma, self.width, self.height) * UNIT
            self._given[CHROMA][0] = planes
        return self._given


def inputs_of(graph: Graph) -> Inputs | None:
    """What the graph of a head takes, as the manifest says; None where it is not :data:`EXPECTED`."""
    given = {tensor.name: (tensor.dtype, tensor.shape) for tensor in graph.inputs}
    planes = {"luma": 1, CHROMA: 2} if graph.takes_chroma else {"luma": 1}
    size = given.get("luma", ("", ()))[1][2:]
    if given != {name: ("float32", (1, count, *size)) for name, count in planes.items()}:
        return None
    match size:
        case (int(height), int(width)):
            return Inputs(width, height, colour=graph.takes_chroma)
    return None
