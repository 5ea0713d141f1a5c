"""The folded pipeline at work: two 8-bit pictures in, an 8-bit picture and boxes out, in one pass.

Between the networks nothing leaves the device. What the graph cannot do stays here: boxes of one thing
become one, and the limits of the stretch move from picture to picture, a picture behind the graph: it is
shown with the limits that the pictures before it led to.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from tdfusion_edge.bundle import ONE_PASS, Bundle, Graph, Sides
from tdfusion_edge.color import U8, is_grey
from tdfusion_edge.detections import Detections, found_in
from tdfusion_edge.errors import BundleError, EngineError, RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.engines import Choice, Engine, open_graph
from tdfusion_edge.runtime.engines.agreement import listed, require_as_told
from tdfusion_edge.runtime.picture.fusion import Aligned
from tdfusion_edge.runtime.picture.stretch import Limits, Stretch

INPUTS = ("infrared", "visible", "limits")
SHOWN = ("fused", "measured")
FOUND = ("boxes", "scores")
RANKS = MappingProxyType(
    {"infrared": 2, "visible": 3, "limits": 1, "fused": 3, "measured": 1, "boxes": 3, "scores": 3}
)
"""Axes of each tensor."""


class Folded:
    """A pipeline graph at work.

    Args:
        graph: What the manifest says about it.
        engine: The graph, loaded; closed by :meth:`close`.
        names: Class names of its detector; empty where it has none.
        threshold: Only scores above it count, 0 to 1.
        demanded: A pair that the graph does not take is an error; otherwise :meth:`takes` says so and it goes
            another way.

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
        demanded: bool = False,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise RequestError("score threshold", expected="0 to 1", got=f"{threshold:g}")
        require_as_told("pipeline", graph, engine)
        outputs = (*SHOWN, *(FOUND if names else ()))
        there = tuple(t.name for t in graph.inputs), tuple(t.name for t in graph.outputs)
        tensors = (*graph.inputs, *graph.outputs)
        shaped = all(len(tensor.shape) == RANKS.get(tensor.name) for tensor in tensors)
        good = there == (INPUTS, outputs) and shaped and graph.outputs[1].shape == (2,)
        if not good or graph.sizes is None:
            raise BundleError(
                "the pipeline graph has other inputs or outputs than a pipeline, or no sizes",
                expected=f"{', '.join(INPUTS)} to {', '.join(outputs)}",
                got=f"{listed(graph.inputs)} to {listed(graph.outputs)}",
            )
        self._graph, self._engine, self._names = graph, engine, names
        self._threshold, self._demanded = threshold, demanded

    def takes(self, aligned: Aligned, stretch: Stretch) -> bool:
        """Whether this pair can go through in one pass: two pictures, of a size of the graph's.

        Raises:
            RequestError: it cannot, and was demanded. One sensor alone never can, and is no error.
        """
        if aligned.infrared is None or aligned.visible is None:
            return False
        height, width = aligned.infrared.shape
        fits = self.serves(height, width) and stretch.mode != "image"
        if not fits and self._demanded:
            raise RequestError(
                "--graphs folded",
                expected=f"--stretch temporal or none, and pictures of {self.sizes}",
                got=f"--stretch {stretch.mode}, {width}x{height}",
                hint=f"Leave it out, or export the bundle with --size {width}x{height}.",
            )
        return fits

    @property
    def sizes(self) -> str:
        """Widths and heights that it serves, in words."""
        return sizes_told(self._graph)

    def serves(self, height: int, width: int) -> bool:
        """Whether pictures of this size can go through it."""
        return self._graph.serves(height, width)

    def show(self, aligned: Aligned, stretch: Stretch) -> tuple[Image, dict[str, Any]]:
        """One pass.

        Args:
            aligned: A pair that the graph takes.
            stretch: Gives the limits, and learns from the picture.

        Returns:
            uint8 (H, W, 3) BGR, or (H, W) where visible is grey; and what :meth:`found` takes.

        Raises:
            EngineError: the graph fails.
        """
        assert aligned.visible is not None
        assert aligned.infrared is not None
        infrared, visible, time_ns = aligned.infrared, aligned.visible.image, aligned.pair.time_ns
        if stretch.mode == "temporal" and not stretch.begun:
            # The first picture sets the limits, and is passed twice.
            stretch.follow(_measured(self.run(infrared, visible, stretch.limits)), time_ns)
        output = self.run(infrared, visible, stretch.limits)
        if stretch.mode == "temporal":
            stretch.follow(_measured(output), time_ns)
        picture: Image = output["fused"]
        return np.ascontiguousarray(picture[..., 0]) if is_grey(visible) else picture, output

    def found(self, output: dict[str, Any]) -> Detections:
        """What a pass found, boxes in pixels of its picture.

        Raises:
            EngineError: the output holds no boxes and scores.
        """
        if not self._names:
            return Detections.empty()
        height, width = output["fused"].shape[:2]
        boxes, scores = output["boxes"], output["scores"]
        if not np.isfinite(scores).all():  # a NaN is above no threshold: nothing would ever be found
            raise EngineError("the pipeline's scores cannot be used: finite is expected, got NaN or infinity")
        size = width, height
        try:
            return found_in(
                boxes[0], scores[0], self._names, seen=size, picture=size, threshold=self._threshold
            )
        except ValueError as error:
            raise EngineError(f"the pipeline's boxes cannot be used: {error}") from error

    def close(self) -> None:
        """Release the engine; safe to call twice."""
        self._engine.close()

    def run(self, infrared: U8, visible: Image, limits: Limits) -> dict[str, Any]:
        """The graph alone.

        Args:
            infrared: uint8 (H, W).
            visible: uint8 (H, W, 3) BGR, or (H, W).
            limits: Fused luma that is shown as 0 and as 255.

        Raises:
            EngineError: the graph fails.
        """
        colour = np.repeat(visible[..., None], 3, axis=2) if visible.ndim == 2 else visible
        return self._engine.run(
            {
                "infrared": np.ascontiguousarray(infrared),
                "visible": np.ascontiguousarray(colour),
                "limits": np.array(limits, np.float32),
            }
        )


def open_folded(
    opened: Bundle,
    choice: Choice,
    *,
    threshold: float | None = None,
    demanded: bool = False,
    on_progress: Callable[[Any], None] | None = None,
) -> Folded:
    """The pipeline of a bundle.

    Args:
        opened: The bundle.
        choice: Back end, precision and threads.
        threshold: Only scores above it count; the manifest's for None.
        demanded: As :class:`Folded` takes it.
        on_progress: As :func:`~tdfusion_edge.runtime.engines.open_graph` takes it.

    Raises:
        RequestError: an unknown back end, or a threshold that is none.
        BundleError: there is no such graph, it is not what the manifest says, or not there in this precision.
        EngineError: the back end cannot load it.
    """
    manifest = opened.manifest
    engine = open_graph(opened, ONE_PASS, choice, on_progress).engine
    try:
        names = manifest.classes("boxes")
        chosen = manifest.score_threshold if threshold is None else threshold
        graph = manifest.graphs[ONE_PASS]
        return Folded(graph, engine, names, threshold=chosen, demanded=demanded)
    except BaseException:
        engine.close()
        raise


def _measured(output: dict[str, Any]) -> Limits:
    low, high = output["measured"].tolist()
    return low, high


def sizes_told(graph: Graph) -> str:
    """Widths and heights that a pipeline graph serves, in words."""
    assert graph.sizes is not None
    rows, columns = graph.sizes
    return f"{_told(columns)} by {_told(rows)}"


def _told(sides: Sides) -> str:
    step = "" if sides.multiple_of == 1 else f" in steps of {sides.multiple_of}"
    return f"{sides.smallest} to {sides.largest}{step}"
