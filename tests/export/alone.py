"""A graph that is in no bundle, as the parity measures it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from tdfusion_edge.color import U8, luma
from tdfusion_edge.export.ranges import Feeds
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.executors.base import Looked
from tdfusion_edge.runtime.picture.units import unit_inputs


class Alone:
    """A graph whose output ``fused`` is the fused luma; ``feeds`` makes its inputs of two lumas."""

    def __init__(self, graph: onnx.ModelProto, feeds: Callable[[U8, U8], Feeds] = unit_inputs) -> None:
        self._engine, self._feeds = OnnxRuntimeEngine(graph.SerializeToString(), threads=1), feeds
        self.heads: Mapping[str, object] = {}

    def look(self, infrared: U8, visible: Image) -> Looked:
        return Looked(self._engine.run(dict(self._feeds(infrared, luma(visible))))["fused"][0, 0], {})
