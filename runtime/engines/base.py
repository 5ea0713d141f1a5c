"""The seam between the pipeline and whatever runs a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import TensorInfo
from tdfusion_edge.errors import BundleError, EngineError

Array = npt.NDArray[Any]
DTYPES = ("float32", "float16", "int8", "uint8", "uint16", "int32", "int64", "bool")
"""NumPy's names of what passes in and out of a network."""


class Progress(NamedTuple):
    """How far the build of an engine is."""

    phase: str
    elapsed_s: float


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Name, dtype and shape of an input or output; None stands for a free axis."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


def tensors_of(infos: Sequence[TensorInfo]) -> tuple[Tensor, ...]:
    """The inputs or outputs of a graph as its manifest has them.

    Raises:
        BundleError: a dtype that no network takes or gives.
    """
    for info in infos:
        if info.dtype not in DTYPES:
            raise BundleError(f"graph tensor '{info.name}'", expected=", ".join(DTYPES), got=info.dtype)
    return tuple(
        Tensor(
            info.name,
            np.dtype(info.dtype),
            tuple(None if isinstance(axis, str) else axis for axis in info.shape),
        )
        for info in infos
    )


class Engine(Protocol):
    """A loaded network with named inputs and outputs."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` takes."""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` gives."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One pass.

        Raises:
            EngineError: an input is missing, unknown or of another dtype or rank, or the run failed.
        """

    def close(self) -> None:
        """Release memory; safe to call twice."""


class OnDevice(Protocol):
    """A graph at one shape whose inputs and outputs lie on the GPU, for who puts kernels around it there."""

    @property
    def addresses(self) -> Mapping[str, int]:
        """Where each input and output lies. They stay there until the engine is closed."""

    def enqueue(self, stream: int) -> None:
        """Put one pass on a stream of CUDA, given by its number; it takes what its inputs hold by then.

        Raises:
            EngineError: the library refuses, or the engine is closed.
        """


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine that can be run where its inputs lie already."""

    def on_device(self) -> OnDevice:
        """The graph, loaded. :meth:`Engine.run` stays possible while nothing of it is on a stream.

        Raises:
            BundleError: the graph is not what the manifest says.
            EngineError: it has free axes, or its build failed.
        """


def check_inputs(
    known: Sequence[Tensor],
    given: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
    *,
    least: int = 0,
) -> None:
    """Refuse what an engine does not take.

    Args:
        known: Its inputs.
        given: dtype and shape of what it is to run, by name.
        least: Shortest axis that the engine takes.

    Raises:
        EngineError: an input is missing, unknown or of another dtype or shape.
    """
    tensors = {tensor.name: tensor for tensor in known}
    if set(given) != set(tensors):
        raise EngineError(
            "engine inputs", expected=", ".join(sorted(tensors)), got=", ".join(sorted(given)) or "none"
        )
    for name, (got_dtype, got_shape) in given.items():
        dtype, shape = tensors[name].dtype, tensors[name].shape
        fits = len(got_shape) == len(shape) and all(
            have >= least and want in (None, have) for want, have in zip(shape, got_shape, strict=True)
        )
        if got_dtype != dtype or not fits:
            raise EngineError(
                f"engine input '{name}'", expected=f"{dtype} {shape}", got=f"{got_dtype} {got_shape}"
            )
