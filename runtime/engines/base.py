"""The seam between the pipeline and whatever runs a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Name, dtype and shape of an input or output; None stands for a free axis."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


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
