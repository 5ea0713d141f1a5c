"""The detector in the stream: what the fused picture shows becomes boxes in its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Graph
from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections, Proposals, best_of, found_in
from tdfusion_edge.errors import BundleError, EngineError, RequestError
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.engines.agreement import listed, require_agreement
from tdfusion_edge.runtime.heads.inputs import EXPECTED, Inputs, inputs_of

F32: TypeAlias = npt.NDArray[np.float32]
ROUNDED = 1e-3
"""What rounding may add to a score, in FP16 and INT8 too."""


class Detector:
    """A detector graph at work; its input buffer is made once, so one stream at a time.

    Args:
        graph: What the manifest says about it: takes ``luma`` (1, 1, h, w), maybe ``chroma`` (1, 2, h, w)
            and maybe ``infrared`` (1, 1, h, w), gives ``boxes`` (1, A, 4) and ``scores`` (1, A, C).
        engine: The graph, loaded; closed by :meth:`close`.
        names: C class names.
        threshold: Only scores above it count, 0 to 1.

    Raises:
        RequestError: the threshold lies outside.
        BundleError: the graph has other inputs or outputs, or is not what the manifest says.
    """

    def __init__(self, graph: Graph, engine: Engine, names: tuple[str, ...], *, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise RequestError("score threshold", expected="0 to 1", got=f"{threshold:g}")
        self.names, self.threshold = names, threshold
        self.engine = engine
        self._inputs = _inputs(graph, engine, len(names))
        self.seen = self._inputs.width, self._inputs.height
        """Width and height of what it sees, pixels."""
        self.colour = graph.takes_chroma
        """Whether it sees colours."""
        self.infrared = graph.takes_infrared
        """Whether it sees infrared beside the fused luma."""
        rows = {tensor.name: tensor.shape for tensor in engine.outputs}["boxes"][1]
        self.proposals: int | None = rows
        """How many boxes it proposes; None where that is not known before it has run."""

    def find(self, luma: U8 | F32, chroma: U8 | None = None, infrared: U8 | F32 | None = None) -> Detections:
        """What a picture shows.

        The whole picture is resized to the detector's size as in the training, its aspect changed where
        the two differ.

        Args:
            luma: uint8 (H, W), or float32 (H, W) in [0, 1]. The fused luma as the network gives it:
                the detector was trained without the stretch. Of a single sensor, its own luma.
            chroma: uint8 (2, H, W), Cr then Cb around 128: the visible picture's colours; None where it is
                grey. Of no effect on a detector that was trained on luma.
            infrared: (H, W) as ``luma``, aligned with it; None where that is of one sensor. Of no effect on a
                detector that was trained without it.

        Returns:
            Boxes in pixels of ``luma``, cut at its edges.

        Raises:
            EngineError: the graph fails or gives what are no boxes and scores.
        """
        given = self._inputs.of(luma, chroma, infrared)
        boxes, scores = _boxes_and_scores(self.engine.run(given), len(self.names))
        try:
            return found_in(
                boxes,
                scores,
                self.names,
                seen=(self._inputs.width, self._inputs.height),
                picture=(luma.shape[1], luma.shape[0]),
                threshold=self.threshold,
            )
        except ValueError as error:
            raise _unusable(error) from error

    def judge(
        self, proposals: Proposals, *, low: float, high: float, finite: bool, threshold: float
    ) -> Detections:
        """What :meth:`find` gives, of proposals that were taken where the engine ran.

        Args:
            proposals: In pixels of the picture.
            low: Lowest of all scores.
            high: Highest of all scores.
            finite: Whether no score is NaN or infinite.
            threshold: By which they were taken.

        Raises:
            EngineError: as there.
        """
        require_range("detector", low, high, finite=finite)
        try:
            return best_of(proposals, self.names, threshold=threshold)
        except ValueError as error:
            raise _unusable(error) from error

    def close(self) -> None:
        """Release the engine; safe to call twice."""
        self.engine.close()


def _unusable(error: ValueError) -> EngineError:
    return EngineError(f"the detector's output cannot be used: {error}")


def _boxes_and_scores(output: Mapping[str, npt.NDArray[np.float32]], classes: int) -> tuple[F32, F32]:
    """(A, 4) and (A, C) of what the graph gave; EngineError where it gave something else."""
    boxes, scores = output["boxes"], output["scores"]
    proposals = boxes.shape[1] if boxes.ndim == 3 else 0
    if boxes.shape != (1, proposals, 4) or scores.shape != (1, proposals, classes):
        raise EngineError(
            "the detector's output cannot be used",
            expected=f"boxes (1, A, 4) and scores (1, A, {classes}), one A",
            got=f"{boxes.shape} and {scores.shape}",
        )
    require_scores("detector", scores)
    return boxes[0], scores[0]


def require_scores(graph: str, scores: F32) -> None:
    """Refuse scores that are none.

    Raises:
        EngineError: one is NaN, which is above no threshold, so that nothing would ever be found, or lies
            outside [0, 1].
    """
    low, high = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    if not _are_scores(low, high):
        require_range(graph, low, high, finite=bool(np.isfinite(scores).all()))


def _are_scores(low: float, high: float) -> bool:
    return low >= -ROUNDED and high <= 1 + ROUNDED  # not where they are NaN


def require_range(graph: str, low: float, high: float, *, finite: bool) -> None:
    """Refuse scores that are none by what is known of all of them.

    Args:
        graph: Its name.
        low: The lowest.
        high: The highest.
        finite: Whether none is NaN or infinite.

    Raises:
        EngineError: as :func:`require_scores`.
    """
    if not (finite and _are_scores(low, high)):
        raise EngineError(
            f"the {graph} graph's scores cannot be used",
            expected="finite scores from 0 to 1",
            got=f"{low:g} to {high:g}" if finite else "NaN or infinity",
        )


def _inputs(graph: Graph, engine: Engine, classes: int) -> Inputs:
    """What it takes, once graph, engine and class names agree."""
    require_agreement("detector", graph, engine)
    inputs = inputs_of(graph)
    shapes = {tensor.name: tensor.shape for tensor in graph.outputs}
    boxes, scores = shapes.get("boxes", ()), shapes.get("scores", ())
    outputs = [*(tensor.shape for tensor in graph.outputs), *(tensor.shape for tensor in engine.outputs)]
    rows = {shape[1] for shape in outputs if len(shape) == 3 and isinstance(shape[1], int)}  # as far as known
    fits = boxes[::2] == (1, 4) and scores[::2] == (1, classes) and len(rows) <= 1
    if inputs is None or not fits or not classes:
        raise BundleError(
            "the detector graph has other inputs or outputs than a detector",
            expected=f"{EXPECTED} to boxes (1, A, 4) and scores (1, A, {classes or 'C'}), "
            "one A, as many scores as the manifest has classes",
            got=f"{listed(graph.inputs)} to {listed(graph.outputs)}",
        )
    return inputs
