"""What can be asked of a build."""

from __future__ import annotations

from collections.abc import Mapping

from tdfusion_edge.bundle import Precision
from tdfusion_edge.config import Table
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.engines.base import Tensor

WORKSPACE = 4 << 30
"""Bytes. A limit and no allocation. TensorRT-RTX counts activations in: more than 1 GiB at 1920x1088."""


class Range(Table, frozen=True, kw_only=True):
    """Shapes that one input may have; every axis lies between ``smallest`` and ``largest``."""

    smallest: tuple[int, ...]
    best: tuple[int, ...]
    """The shape that the kernels are chosen for."""
    largest: tuple[int, ...]


class BuildOptions(Table, frozen=True, kw_only=True):
    """Everything that decides what an engine is, beside the graph, the library and the GPU."""

    precision: Precision = "fp32"
    """What the graph must be. Nothing is converted: a graph of another precision is refused."""
    profiles: tuple[dict[str, Range], ...] = ()
    """Optimisation profiles, input name to shapes; needed where the graph has free axes."""
    workspace: int = WORKSPACE
    """Most bytes of GPU memory for scratch."""
    targets: tuple[str, ...] = ()
    """TensorRT-RTX: compute capabilities such as ``sm_89`` that the engine is for, always given.
    TensorRT builds for the GPU of this machine, and takes none."""
    detailed: bool = True
    """Keep the names and formats of the fused layers in the engine, for its inspector."""
    tf32: bool = False
    """Let float32 products drop 13 bits of their mantissa on the tensor cores."""


def exactly(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Range]:
    """The profile for one shape an input."""
    return {name: Range(smallest=shape, best=shape, largest=shape) for name, shape in shapes.items()}


def check_profiles(options: BuildOptions, inputs: tuple[Tensor, ...]) -> None:
    """Hold the profiles against the inputs of the graph.

    Raises:
        RequestError: one is missing for a free axis, names no input, contradicts a fixed axis, or is
            no range.
    """
    free = {tensor.name for tensor in inputs if None in tensor.shape}
    if free and not options.profiles:
        raise RequestError(
            f"graph inputs {', '.join(sorted(free))} have free axes",
            expected="an optimisation profile with their shapes",
        )
    known = {tensor.name: tensor for tensor in inputs}
    for profile in options.profiles:
        if not free <= set(profile) <= set(known):
            raise RequestError(
                "optimisation profile",
                expected=f"shapes for {', '.join(sorted(free)) or 'no input'}",
                got=", ".join(sorted(profile)) or "none",
            )
        for name, shapes in profile.items():
            if not _fits(shapes, known[name].shape):
                raise RequestError(
                    f"optimisation profile of '{name}'",
                    expected=f"smallest <= best <= largest within {known[name].shape}",
                    got=f"{shapes.smallest}, {shapes.best}, {shapes.largest}",
                )


def _fits(shapes: Range, graph: tuple[int | None, ...]) -> bool:
    three = (shapes.smallest, shapes.best, shapes.largest)
    if any(len(shape) != len(graph) for shape in three):
        return False
    return all(
        1 <= low <= best <= high and (axis is None or low == high == axis)
        for low, best, high, axis in zip(*three, graph, strict=True)
    )
