"""The seam every output stands behind, and what passes through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Image, Pair
from tdfusion_edge.masks import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One fused picture and what belongs to it."""

    index: int
    """Number of the result in this run, from 0."""
    pair: Pair
    fused: Image
    """uint8 (H, W) or (H, W, 3) BGR, at the visible picture's size."""
    detections: Detections
    degraded: str | None = None
    """None, or why the picture is not fused from two fresh frames: ``held``, ``frozen``,
    ``infrared missing`` or ``visible missing``."""
    mask: Mask | None = None
    """Class of every pixel; None where nothing segments."""


class Sink(Protocol):
    """One output: a file, a folder, a window."""

    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            SinkError: it cannot be written (disk full, no permission).
        """

    def close(self) -> None:
        """Finish the output so that it is whole; safe to call twice."""

    def abort(self) -> None:
        """Give up after a failure: what was promised as a whole and is not is removed."""


Json = dict[str, Any]
