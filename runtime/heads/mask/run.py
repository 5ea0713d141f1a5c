"""The segmentation network in the stream: every pixel of what the fused picture shows gets a class."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Graph
from tdfusion_edge.color import U8
from tdfusion_edge.errors import BundleError, EngineError
from tdfusion_edge.masks import Mask
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.engines.agreement import listed, require_agreement
from tdfusion_edge.runtime.heads.inputs import EXPECTED, Inputs, inputs_of

F32: TypeAlias = npt.NDArray[np.float32]


class Segmenter:
    """A segmentation graph at work; its input buffer is made once, so one stream at a time.

    Args:
        graph: What the manifest says about it: takes ``luma`` (1, 1, h, w) and maybe ``chroma`` (1, 2, h, w),
            float32, gives ``mask`` (1, h, w) uint8.
        engine: The graph, loaded; closed by :meth:`close`.
        names: Class names.

    Raises:
        BundleError: the graph has another input or output, or is not what the manifest says.
    """

    def __init__(self, graph: Graph, engine: Engine, names: tuple[str, ...]) -> None:
        require_agreement("segmentation", graph, engine)
        self.names = names
        self._engine = engine
        self._inputs = _inputs(graph, names)

    def classes_of(self, luma: U8 | F32, chroma: U8 | None = None, infrared: U8 | F32 | None = None) -> U8:
        """The class of every pixel.

        The whole picture is resized to the network's size as in the training, its aspect changed where the
        two differ.

        Args:
            luma: uint8 (H, W), or float32 (H, W) in [0, 1]. The fused luma as the network gives it, without
                the stretch. Of a single sensor, its own luma.
            chroma: uint8 (2, H, W), Cr then Cb around 128: the visible picture's colours; None where it is
                grey. Of no effect on a network that was trained on luma.
            infrared: (H, W) as ``luma``, aligned with it; None where that is of one sensor. Of no effect on a
                network that was trained without it.

        Returns:
            uint8 (h, w) of the network's size, each the place of a class in ``names``.

        Raises:
            EngineError: the graph fails or gives what is no mask of these classes.
        """
        width, height = self._inputs.width, self._inputs.height
        mask = self._engine.run(self._inputs.of(luma, chroma, infrared))["mask"]
        if mask.shape != (1, height, width) or int(mask.max()) >= len(self.names):
            raise EngineError(
                "the segmentation's output cannot be used",
                expected=f"(1, {height}, {width}) of 0 to {len(self.names) - 1}",
                got=f"{mask.shape} of up to {mask.max(initial=0)}",
            )
        return np.asarray(mask[0], np.uint8)

    def find(self, luma: U8 | F32, chroma: U8 | None = None, infrared: U8 | F32 | None = None) -> Mask:
        """The class of every pixel with the names, by :meth:`classes_of`."""
        return Mask(self.classes_of(luma, chroma, infrared), self.names)

    def close(self) -> None:
        """Release the engine; safe to call twice."""
        self._engine.close()


def _inputs(graph: Graph, names: tuple[str, ...]) -> Inputs:
    """What it takes, once manifest and class names agree."""
    inputs, outputs = inputs_of(graph), {t.name: (t.dtype, t.shape) for t in graph.outputs}
    size = None if inputs is None else (1, inputs.height, inputs.width)
    if inputs is None or outputs != {"mask": ("uint8", size)} or not 0 < len(names) <= 255:
        raise BundleError(
            "the segmentation graph has other inputs or outputs than a segmentation network, or no classes",
            expected=f"{EXPECTED} to mask uint8 (1, h, w), 1 to 255 names in the manifest",
            got=f"{listed(graph.inputs)} to {listed(graph.outputs)}, {len(names)} names",
        )
    return inputs
