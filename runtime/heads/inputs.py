"""What the graph of a head takes, filled from one picture; one way for all kinds of head and the export."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge import color
from tdfusion_edge.bundle import CHROMA, INFRARED, PLANES, Graph
from tdfusion_edge.color import U8
from tdfusion_edge.errors import RequestError
from tdfusion_edge.resize import as_seen, resized_planes
from tdfusion_edge.runtime.picture.units import UNIT

F32: TypeAlias = npt.NDArray[np.float32]

NEUTRAL = np.float32(color.NEUTRAL) * UNIT
"""Chroma of what has no colour, in [0, 1]."""
EXPECTED = "luma float32 (1, 1, h, w), and if it sees them chroma float32 (1, 2, h, w) and infrared as luma,"
"""What a graph takes whose inputs :func:`inputs_of` can fill, for messages."""


class Inputs:
    """The inputs of one graph, in buffers that are made once: each picture overwrites the one before it.

    Args:
        width: Of what the graph sees, pixels.
        height: Likewise.
        planes: Names of what it sees, of :data:`tdfusion_edge.bundle.PLANES`.
    """

    def __init__(self, width: int, height: int, planes: Collection[str] = ("luma",)) -> None:
        self.width, self.height = width, height
        self._given = {
            name: np.zeros((1, count, height, width), np.float32)
            for name, count in PLANES.items()
            if name in planes
        }

    def of(
        self, luma: U8 | F32, chroma: U8 | None = None, infrared: U8 | F32 | None = None
    ) -> dict[str, F32]:
        """The whole picture resized as in the training, its aspect changed where the two differ.

        Args:
            luma: uint8 (H, W), or float32 (H, W) in [0, 1].
            chroma: uint8 (2, H, W), Cr then Cb around 128; None for a grey picture. A graph that sees no
                colours gets none.
            infrared: (H, W) as ``luma``, aligned with it; None where the picture is not of both sensors: the
                luma then stands in its place. A graph that does not see infrared gets none.

        Returns:
            ``luma`` (1, 1, h, w) float32 in [0, 1], ``chroma`` (1, 2, h, w) likewise for a graph that
            sees colours, all 128 / 255 of a grey picture, and ``infrared`` as ``luma`` for one that sees it.

        Raises:
            RequestError: infrared of another size, or of more than 8 bits, for a graph that sees it.
        """
        self._given["luma"][0, 0] = as_seen(luma, self.width, self.height)
        if CHROMA in self._given:
            planes = NEUTRAL if chroma is None else resized_planes(chroma, self.width, self.height) * UNIT
            self._given[CHROMA][0] = planes
        if INFRARED in self._given:
            beside = self._given["luma"][0, 0]
            if infrared is not None:
                _require_like(luma, infrared)
                beside = as_seen(infrared, self.width, self.height)
            self._given[INFRARED][0, 0] = beside
        return self._given


def _require_like(luma: U8 | F32, infrared: U8 | F32) -> None:
    """Refuse what would be stretched over the picture, or seen as white: a camera's own pixels or counts."""
    if infrared.shape != luma.shape or infrared.dtype not in (np.uint8, np.float32):
        raise RequestError(
            "infrared beside a luma",
            expected=f"uint8, or float32 in [0, 1], {luma.shape}",
            got=f"{infrared.dtype} {infrared.shape}",
            hint="result.infrared is infrared as it was fused.",
        )


def inputs_of(graph: Graph) -> Inputs | None:
    """What the graph of a head takes, as the manifest says; None where it is not :data:`EXPECTED`."""
    given = {tensor.name: (tensor.dtype, tensor.shape) for tensor in graph.inputs}
    size = given.get("luma", ("", ()))[1][2:]
    if any(given[name] != ("float32", (1, PLANES.get(name), *size)) for name in given):
        return None
    match size:
        case (int(height), int(width)):
            return Inputs(width, height, given)
    return None
