"""Parts of the pipeline that note when they were used."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tdfusion_edge.result import Result
from tdfusion_edge.runtime.engines import Array, Engine, Tensor
from tdfusion_edge.runtime.sinks import Sink


class TimedEngine:
    """An engine that notes when it ran: what lies between two passes is everything else."""

    def __init__(self, engine: Engine, passes: list[tuple[int, int]]) -> None:
        self._engine = engine
        self.passes = passes
        """Start and end of every pass in nanoseconds."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the engine says."""
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the engine says."""
        return self._engine.outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One pass of the engine."""
        start_ns = time.perf_counter_ns()
        outputs = self._engine.run(inputs)
        self.passes.append((start_ns, time.perf_counter_ns()))
        return outputs

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class TimedSink:
    """A sink that notes how long it took for each result."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.milliseconds: list[float] = []

    def write(self, result: Result) -> None:
        """Hand the result on."""
        start_ns = time.perf_counter_ns()
        self._sink.write(result)
        self.milliseconds.append((time.perf_counter_ns() - start_ns) / 1e6)

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()

    def abort(self) -> None:
        """Abort the sink."""
        self._sink.abort()
