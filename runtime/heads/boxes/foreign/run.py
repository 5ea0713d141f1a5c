"""A detector of the user's own in the place of a bundle's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from tdfusion_edge.color import U8, merge
from tdfusion_edge.detections import Detections, found_in
from tdfusion_edge.errors import EngineError, InputMissing, RequestError
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.heads.boxes.foreign import coco
from tdfusion_edge.runtime.heads.boxes.foreign.families import EXPECTED, F32, Family, Outputs, recognised
from tdfusion_edge.runtime.heads.boxes.foreign.letterbox import GREY, fitted, placed
from tdfusion_edge.runtime.picture.range import scale_to_8bit

SCORE_THRESHOLD = 0.25
"""Only higher scores count where nothing else is asked for."""
FREE = 640
"""Side of the input, in pixels, where the graph takes any."""

Classes: TypeAlias = Sequence[str] | None


def open_detector(
    path: str | Path,
    classes: Classes = None,
    *,
    threshold: float | None = None,
    threads: int = 0,
    instrument: Callable[[str, Engine], Engine] = lambda name, engine: engine,
) -> ForeignDetector:
    """A detector from an ONNX file, on the CPU.

    Args:
        path: The file; its weights are inside.
        classes: Names of what it is to find, of COCO's; ``car`` takes in bus and truck. None: all 80.
        threshold: Only higher scores count, 0 to 1; None takes :data:`SCORE_THRESHOLD`.
        threads: 0 takes one a core.
        instrument: Wraps the engine, which is called ``detector``.

    Raises:
        InputMissing: there is no such file.
        RequestError: it is no detector of a known family, or a class is none of COCO's.
        EngineError: ONNX Runtime cannot load or run it.
    """
    place, wanted = Path(path), coco.chosen(classes)
    if not place.is_file():
        raise InputMissing(f"there is no detector {place}", expected="an ONNX file")
    try:
        engine = OnnxRuntimeEngine(place.read_bytes(), threads=threads)
    except EngineError as error:
        raise EngineError(f"--detector {place}: {error.what}", expected="an ONNX graph") from error
    try:
        return ForeignDetector(
            instrument("detector", engine),
            wanted,
            threshold=SCORE_THRESHOLD if threshold is None else threshold,
            what=f"--detector {place}",
        )
    except BaseException:
        engine.close()
        raise


class ForeignDetector:
    """A foreign graph at work; its input buffer is made once, so one picture at a time.

    Its family is seen from what it gives for a grey picture.

    Args:
        engine: The graph, loaded; takes one float32 (1, 3, h, w), closed by :meth:`close`.
        classes: What it is to find.
        threshold: Only scores above it count, 0 to 1.
        what: What it is called in messages.

    Raises:
        RequestError: the graph takes or gives something else than the known families do, or the threshold
            lies outside.
        EngineError: it cannot be run.
    """

    def __init__(self, engine: Engine, classes: coco.Classes, *, threshold: float, what: str) -> None:
        if not 0 <= threshold <= 1:
            raise RequestError("score threshold", expected="0 to 1", got=f"{threshold:g}")
        self.names, self.threshold = classes.names, threshold
        self._engine, self._classes, self._what = engine, classes, what
        self._size = _input_size(engine, what)
        self._name = engine.inputs[0].name
        self._input: F32 = np.full((1, 3, self._size[1], self._size[0]), GREY, np.float32)
        self.family = self._recognised()
        """How it takes pictures and tells of boxes."""

    def find(self, luma: U8 | F32, chroma: U8 | None = None, infrared: U8 | F32 | None = None) -> Detections:
        """What a picture shows.

        The picture is made as large as the detector's input holds, its aspect kept, beside grey.

        Args:
            luma: uint8 (H, W), or float32 (H, W) in [0, 1].
            chroma: uint8 (2, H, W), Cr then Cb around 128, the colours to see the luma in; None: grey.
            infrared: Of no effect: it sees the picture alone.

        Returns:
            Boxes in pixels of ``luma``, cut at its edges.

        Raises:
            EngineError: the graph fails or gives what are no boxes and scores.
        """
        del infrared
        picture = merge(
            np.asarray(luma, np.uint8) if luma.dtype == np.uint8 else scale_to_8bit(luma, 0, 1), chroma
        )
        height, width = luma.shape
        box = fitted((width, height), self._size, centred=self.family.centred)
        self._fill(placed(picture, box, self._size))
        outputs = self._engine.run({self._name: self._input})
        if {name: array.shape for name, array in outputs.items()} != self._shapes:
            got = ", ".join(str(array.shape) for array in outputs.values())
            expected = ", ".join(map(str, self._shapes.values()))
            raise EngineError(f"{self._what}: the shape of its output changes", expected=expected, got=got)
        boxes, scores = self._decoded(outputs)
        try:
            return found_in(
                boxes - np.array([box.left, box.top] * 2, np.float32),
                scores,
                self.names,
                seen=(box.width, box.height),
                picture=(width, height),
                threshold=self.threshold,
            )
        except ValueError as error:
            raise EngineError(f"{self._what}: its output cannot be used: {error}") from error

    def close(self) -> None:
        """Release the engine; safe to call twice."""
        self._engine.close()

    def _fill(self, canvas: U8) -> None:
        """The input buffer from a picture, uint8 (h, w, 3) BGR."""
        planes = cv2.split(canvas)
        family = self.family
        ordered = planes[::-1] if family.rgb else planes
        for plane, mean, scale, buffer in zip(
            ordered, family.mean, family.scale, self._input[0], strict=True
        ):
            np.subtract(plane, np.float32(mean), out=buffer)
            if scale != 1:
                buffer /= np.float32(scale)

    def _decoded(self, outputs: Outputs) -> tuple[F32, F32]:
        """Boxes (A, 4) in pixels of the input and scores (A, C) of the wanted classes."""
        boxes, scores = self.family.decode(outputs, self._size)
        merged = self._classes.merged(scores)
        if not 0 <= merged.min() <= merged.max() <= 1:  # of NaN neither holds
            raise EngineError(
                f"{self._what}: its scores cannot be used",
                expected="0 to 1",
                got=f"{merged.min():.3g} to {merged.max():.3g}",
                hint="Export it with the sigmoid inside.",
            )
        return boxes, merged

    def _recognised(self) -> Family:
        outputs = self._engine.run({self._name: self._input})
        self._shapes = {name: array.shape for name, array in outputs.items()}
        family = recognised(outputs, self._size)
        if family is None:
            raise RequestError(
                f"{self._what} gives what no known detector gives",
                expected=EXPECTED,
                got=", ".join(f"{array.dtype} {array.shape}" for array in outputs.values()),
                hint="Export it anew, without non-maximum suppression, and in float32.",
            )
        self.family = family
        self._decoded(outputs)
        return family


def _input_size(engine: Engine, what: str) -> tuple[int, int]:
    """Width and height of the input, chosen here where the graph leaves them free."""
    tensors = engine.inputs
    shape = tensors[0].shape if len(tensors) == 1 else ()
    good = len(shape) == 4 and shape[0] in (1, None) and shape[1] in (3, None)
    if not good or tensors[0].dtype != np.float32:
        raise RequestError(
            f"{what} takes something else than one picture",
            expected="one input, float32 (1, 3, height, width)",
            got=", ".join(f"{tensor.dtype} {tensor.shape}" for tensor in tensors),
        )
    height, width = (side or FREE for side in shape[2:])
    return width, height
