"""What a result file holds, and the check that every committed one passes.

A file repeats figures that follow from others in it (a median follows from the samples, a ratio
from the samples of two timings); reading it computes them again, so that none can be edited alone.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from benchmarks.detector_rows import DetectorScore, Difference, check_differences
from benchmarks.rows import Peak, RegionWeight, Trained, check_peaks, check_weights
from tdfusion_edge.config import Table, load, parse, to_json
from tdfusion_edge.errors import ConfigError, SinkError
from tdfusion_edge.runtime.measuring.numbers import Count, Text
from tdfusion_edge.runtime.measuring.record import (
    Argument,
    Figure,
    Latency,
    Metadata,
    Numbers,
    Ratio,
    Record,
    Timing,
)

__all__ = [
    "Argument",
    "Figure",
    "Latency",
    "Metadata",
    "Ratio",
    "ResultFile",
    "Results",
    "Score",
    "StretchMode",
    "Timing",
    "check_published",
    "read",
    "write",
]

StretchMode: TypeAlias = Literal["none", "image"]


class Score(Table, frozen=True, kw_only=True):
    """Fusion metrics of one method: means over the pairs."""

    method: Text
    stretch: StretchMode
    pairs: Count
    metrics: Annotated[dict[str, float], Meta(min_length=1)]


class Results(Numbers, frozen=True, kw_only=True):
    """The numbers; at least one."""

    scores: tuple[Score, ...] = ()
    trainings: tuple[Trained, ...] = ()
    peaks: tuple[Peak, ...] = ()
    weights: tuple[RegionWeight, ...] = ()
    detectors: tuple[DetectorScore, ...] = ()
    differences: tuple[Difference, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_peaks(self.peaks)
        check_weights(self.weights)
        check_differences(self.differences, self.detectors)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Kind and name of every row."""
        yield from super().rows()
        yield from (("score", f"{row.method}, stretch {row.stretch}") for row in self.scores)
        yield from (("training", row.row) for row in self.trainings)
        yield from (("peak", row.name) for row in self.peaks)
        yield from (("weight", row.name) for row in self.weights)
        yield from (("detector's score", row.name) for row in self.detectors)
        yield from (("difference", row.name) for row in self.differences)


class ResultFile(Record, frozen=True, kw_only=True):
    """A whole file."""

    metadata: Metadata
    results: Results


def read(path: Path) -> ResultFile:
    """Read a result file and check it.

    Raises:
        InputMissing: there is no such file.
        ConfigError: an unknown key, a wrong type, a number that is not finite or contradicts the
            others, or a file that is not named after its benchmark.
    """
    result = load(path, ResultFile)
    name = result.metadata.benchmark.rpartition(".")[2]
    if not path.stem.startswith(name):
        raise ConfigError(f"{path}: file name", expected=f"{name}*.json", got=path.name)
    return result


def check_published(path: Path) -> ResultFile:
    """Check a file that is committed as any other, and that what was measured is known.

    Raises:
        ConfigError: see :func:`read`, or the file names neither a commit nor a digest of the package.
    """
    result = read(path)
    if result.metadata.commit is None and result.metadata.package is None:
        raise ConfigError(f"{path}: commit", expected="the commit that was measured", got="none")
    return result


def write(path: Path, result: ResultFile) -> None:
    """Write a result file aside and rename it, so that an older one stays until the new one is whole.

    Raises:
        ConfigError: the file could not be read back; nothing is written.
        SinkError: the disk is full or not writable.
    """
    raw = to_json(result)
    parse(raw, ResultFile, name=str(path))
    with contextlib.ExitStack() as stack:
        try:
            handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            stack.callback(Path(aside).unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            Path(aside).chmod(0o644)  # mkstemp's 0600 is for secrets
            Path(aside).replace(path)
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error
