"""All networks in one graph: two 8-bit pictures in, an 8-bit picture and boxes out.

Between the networks nothing leaves the device. What the graph cannot do stays here: boxes of one thing
become one, and the limits of the stretch move from picture to picture, a picture behind the graph: it is
shown with the limits that the pictures before it led to.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from tdfusion_edge.bundle import ONE_PASS, Graph
from tdfusion_edge.color import U8, is_grey, luma
from tdfusion_edge.detections import Detections, found_in
from tdfusion_edge.errors import BundleError, EngineError, RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.result import NOTHING, Findings
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.engines.agreement import listed, require_agreement
from tdfusion_edge.runtime.executors.base import F32, Executor, Fused, Looked, Timed
from tdfusion_edge.runtime.executors.outputs import LARGEST, require
from tdfusion_edge.runtime.heads.boxes.run import require_scores
from tdfusion_edge.runtime.picture.alignment import Aligned
from tdfusion_edge.runtime.picture.stretch import UNIT as UNIT_LIMITS
from tdfusion_edge.runtime.picture.stretch import Limits, Stretch
from tdfusion_edge.runtime.picture.units import UNIT

INPUTS = ("infrared", "visible", "limits")
SHOWN = ("fused", "measured")
FOUND = ("boxes", "scores")
RANKS = MappingProxyType(
    {"infrared": 2, "visible": 3, "limits": 1, "fused": 3, "measured": 1, "boxes": 3, "scores": 3}
)
"""Axes of each tensor."""


class OnePass:
    """The executor that takes pairs of two sensors, without a border, of the sizes that the graph serves.

    Args:
        graph: What the manifest says about it.
        engine: The graph, loaded.
        names: Class names of its boxes head; empty where it has none.
        threshold: Only scores above it count, 0 to 1.
        detect: Whether its boxes are wanted; the graph finds them either way.
        staged: Takes the pairs that the graph cannot take.
        demanded: A size that the graph does not serve is an error; one sensor alone or a border never is.

    Raises:
        RequestError: the threshold lies outside.
        BundleError: the graph has other inputs or outputs, or is not what the manifest says.
    """

    def __init__(
        self,
        graph: Graph,
        engine: Engine,
        names: tuple[str, ...],
        *,
        threshold: float,
        staged: Executor,
        detect: bool = True,
        demanded: bool = False,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise RequestError("score threshold", expected="0 to 1", got=f"{threshold:g}")
        require_agreement(ONE_PASS, graph, engine)
        outputs = (*SHOWN, *(FOUND if names else ()))
        there = tuple(t.name for t in graph.inputs), tuple(t.name for t in graph.outputs)
        tensors = (*graph.inputs, *graph.outputs)
        shaped = all(len(tensor.shape) == RANKS.get(tensor.name) for tensor in tensors)
        good = there == (INPUTS, outputs) and shaped and graph.outputs[1].shape == (2,)
        if not good or graph.sizes is None:
            raise BundleError(
                "the one-pass graph has other inputs or outputs than such a graph, or no sizes",
                expected=f"{', '.join(INPUTS)} to {', '.join(outputs)}",
                got=f"{listed(graph.inputs)} to {listed(graph.outputs)}",
            )
        self._graph, self._engine, self._names = graph, engine, names
        self._detect = detect and bool(names)
        self.threshold = threshold
        """Only scores above it count; may be set between two pictures."""
        self._staged, self._demanded = staged, demanded

    def fuse(self, aligned: Aligned, stretch: Stretch, timed: Timed) -> Fused:
        """As :class:`~tdfusion_edge.runtime.executors.base.Executor` says."""
        # The graph blends no border. The registration that leaves one is refused for all of a stream; what
        # comes here is a pixel's width of it, which shows at another size than the measured one.
        if aligned.infrared is None or aligned.visible is None or aligned.border is not None:
            return self._staged.fuse(aligned, stretch, timed)
        if not self._graph.serves(*aligned.infrared.shape):
            if self._demanded:
                raise self._not_served(aligned.infrared)
            return self._staged.fuse(aligned, stretch, timed)
        with timed("network"):
            output = self._run_stretched(aligned.infrared, aligned.visible, stretch, aligned.pair.time_ns)
            picture = _as_grey_as(aligned.visible, output["fused"])
        if not self._detect:
            return Fused(picture, NOTHING, None)
        with timed("detect"):
            return Fused(picture, self._found(output), None)

    def look(self, infrared: U8, visible: Image) -> Looked:
        """As :class:`~tdfusion_edge.runtime.executors.base.Executor` says; without stretch."""
        if not self._graph.serves(*infrared.shape):
            raise self._not_served(infrared)
        output = self._run(infrared, visible, UNIT_LIMITS)
        picture = _as_grey_as(visible, output["fused"])
        fused: F32 = luma(picture) * UNIT
        return Looked(fused, self._found(output) if self._detect else NOTHING, picture)

    def _run_stretched(self, infrared: U8, visible: Image, stretch: Stretch, time_ns: int) -> dict[str, Any]:
        """One pass with the limits of the stretch, which learns from it."""
        if stretch.mode == "temporal" and not stretch.begun:
            # The first picture sets the limits, and is passed twice.
            stretch.follow(_measured(self._run(infrared, visible, stretch.limits)), time_ns)
        output = self._run(infrared, visible, stretch.limits)
        if stretch.mode == "temporal":
            stretch.follow(_measured(output), time_ns)
        return output

    def _run(self, infrared: U8, visible: Image, limits: Limits) -> dict[str, Any]:
        """The graph alone, with the fused luma that is shown as 0 and as 255.

        Raises:
            EngineError: it failed, or gave no picture of this size.
        """
        colour = np.repeat(visible[..., None], 3, axis=2) if visible.ndim == 2 else visible
        output = self._engine.run(
            {
                "infrared": np.ascontiguousarray(infrared),
                "visible": np.ascontiguousarray(colour),
                "limits": np.array(limits, np.float32),
            }
        )
        require(output, "one-pass", "fused", np.uint8, colour.shape)
        measured = require(output, "one-pass", "measured", np.float32, (2,))
        if not (np.abs(measured) <= LARGEST).all():  # nor NaN: a network that gives it shows black
            raise EngineError(
                "the one-pass graph's picture cannot be used",
                expected="finite limits of its luma, about 0 to 1",
                got=", ".join(f"{limit:g}" for limit in measured),
                hint="In FP16 try --precision fp32; else export the bundle again.",
            )
        return output

    def _found(self, output: dict[str, Any]) -> Findings:
        """Boxes in pixels of the picture.

        Raises:
            EngineError: the output holds no boxes and scores.
        """
        height, width = output["fused"].shape[:2]
        boxes = require(output, "one-pass", "boxes", np.float32, (1, None, 4))
        scores = require(output, "one-pass", "scores", np.float32, (1, boxes.shape[1], len(self._names)))
        require_scores("one-pass", scores)
        size = width, height
        try:
            found: Detections = found_in(
                boxes[0], scores[0], self._names, seen=size, picture=size, threshold=self.threshold
            )
        except ValueError as error:
            raise EngineError(f"the one-pass graph's boxes cannot be used: {error}") from error
        return {"boxes": found}

    def _not_served(self, infrared: U8) -> RequestError:
        height, width = infrared.shape
        return RequestError(
            "--graphs onepass",
            expected=f"pictures of {self._graph.sizes_in_words}",
            got=f"{width}x{height}",
            hint=f"Leave it out, or export the bundle with --size {width}x{height}.",
        )


def _as_grey_as(visible: Image, picture: U8) -> Image:
    """The graph's BGR picture, in one channel where the visible one is grey."""
    return np.ascontiguousarray(picture[..., 0]) if is_grey(visible) else picture


def _measured(output: dict[str, Any]) -> Limits:
    low, high = output["measured"].tolist()
    return low, high
