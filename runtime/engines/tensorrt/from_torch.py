"""Engines that Torch-TensorRT built on a workstation, run without PyTorch.

``tdfusion-edge export --engine torch-tensorrt`` puts them into the store. Here they are only found: to build
one takes the network in PyTorch, which a runtime does not have.
"""

from __future__ import annotations

from typing import ClassVar

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt.runner import TensorRtEngine
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request, Route


class TorchTensorRtEngine(TensorRtEngine):
    """The same as TensorRT's, with engines that came through PyTorch."""

    route: ClassVar[Route] = "torch-tensorrt"

    def _plan(self, request: Request) -> tuple[bytes, bool]:
        plan = self._store.find(request)
        if plan is not None:
            return plan, True  # to build it anew is not in its power: what cannot be loaded is an error
        sizes = sorted({f" --size {shape[-1]}x{shape[-2]}" for shape in request.shapes.values()})
        raise EngineError(
            f"{self._store.folder} holds no engine of this graph that Torch-TensorRT built",
            expected=f"one in {request.precision} for {self._title} and this GPU",
            hint="Build it on this GPU: tdfusion-edge export CHECKPOINT -o BUNDLE --engine torch-tensorrt"
            f"{''.join(sizes)}; or take another back end: --backend tensorrt",
        )
