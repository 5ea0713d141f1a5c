"""Engines that Torch-TensorRT built on a workstation, run without PyTorch.

``tdfusion-edge export --engine torch-tensorrt`` puts them into the cache. Here they are only found: to build
one takes the network in PyTorch, which a runtime does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Tensor
from tdfusion_edge.runtime.engines.tensorrt.facts import Route
from tdfusion_edge.runtime.engines.tensorrt.request import Request
from tdfusion_edge.runtime.engines.tensorrt.runner import TensorRtEngine


class Renamed:
    """An engine or a context of one whose tensors go by the names of the graph.

    Torch-TensorRT keeps the names of the inputs, and calls the outputs ``output0``, ``output1`` and so on in
    the order of the network. A name of the graph that is nowhere in the engine is found by
    :func:`~.runner.check_outside`.

    Args:
        real: What the library gave.
        outputs: Those of the graph, in its order.
    """

    def __init__(self, real: Any, outputs: tuple[Tensor, ...]) -> None:
        self._real = real
        self._outputs = outputs
        self._inner: Mapping[str, str] = {
            tensor.name: f"output{index}" for index, tensor in enumerate(outputs)
        }
        self._outer: Mapping[str, str] = {inner: name for name, inner in self._inner.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_tensor_name(self, index: int) -> str:
        """Of an engine: the graph's name of one tensor."""
        inner: str = self._real.get_tensor_name(index)
        return self._outer.get(inner, inner)

    def get_tensor_dtype(self, name: str) -> Any:
        """Of an engine: the type of one tensor."""
        return self._real.get_tensor_dtype(self._inner.get(name, name))

    def create_execution_context(self, *args: Any) -> Renamed | None:
        """Of an engine: a context with the same names; None where there is not enough memory."""
        context = self._real.create_execution_context(*args)
        return None if context is None else Renamed(context, self._outputs)

    def get_tensor_shape(self, name: str) -> Any:
        """Of both: the shape of one tensor."""
        return self._real.get_tensor_shape(self._inner.get(name, name))

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Of a context: where one tensor lies."""
        done: bool = self._real.set_tensor_address(self._inner.get(name, name), address)
        return done


class TorchTensorRtEngine(TensorRtEngine):
    """The same as TensorRT's, with engines that came through PyTorch."""

    route: ClassVar[Route] = "torch-tensorrt"

    def _plan(self, asked: Request) -> tuple[bytes, bool]:
        plan = self._cache.find(asked.facts())
        if plan is not None:
            return plan, True  # to build it anew is not in its power: what cannot be loaded is an error
        sizes = {f"{shape[-1]}x{shape[-2]}" for shape in self._sizes(asked)}
        sized = "".join(f" --size {size}" for size in sorted(sizes))
        raise EngineError(
            f"{self._cache.folder} holds no engine of this graph that Torch-TensorRT built",
            expected=f"one in {asked.options.precision} for {self._title} and this GPU",
            hint="Build it on this GPU: tdfusion-edge export CHECKPOINT -o BUNDLE --engine torch-tensorrt"
            f"{sized}; or take another back end: --backend tensorrt",
        )

    @staticmethod
    def _sizes(asked: Request) -> list[tuple[int, ...]]:
        return [bounds.best for profile in asked.options.profiles for bounds in profile.values()]

    def _deserialised(self, asked: Request) -> Any:
        return Renamed(super()._deserialised(asked), self._outputs)
