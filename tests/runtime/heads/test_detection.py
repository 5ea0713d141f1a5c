"""The detector in the stream: boxes lie where the picture shows what they are about, at every size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from finder import CLASSES, HEIGHT, WIDTH, described, finder_graph
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge import bundle
from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import BundleError, EngineError, RequestError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime.commands import checkup
from tdfusion_edge.runtime.engines.base import Tensor
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.executors.base import untimed
from tdfusion_edge.runtime.executors.staged import Staged
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads.boxes.run import Detector
from tdfusion_edge.runtime.picture.alignment import Aligned
from tdfusion_edge.runtime.picture.stretch import Stretch

DARK, DIM, BRIGHT = 20, 120, 240


@pytest.fixture(scope="module")
def detector(finder_bundle: bundle.Bundle) -> Iterator[Detector]:
    with Fuser(finder_bundle, threads=1) as fuser:
        found = fuser.heads["boxes"]
        assert isinstance(found, Detector)
        yield found


def scene(size: tuple[int, int], *blocks: tuple[int, int, int, int, int]) -> Any:
    """uint8 (H, W) picture of ``size`` (width, height), with blocks x1 y1 x2 y2 of a level."""
    picture = np.full(size[::-1], DARK, np.uint8)
    for x1, y1, x2, y2, level in blocks:
        picture[y1:y2, x1:x2] = level
    return picture


def boxes(found: Detections) -> dict[str, list[float]]:
    return {row["class"]: row["box"] for row in found.to_rows()}


def in_unit(picture: Any) -> Any:
    return picture.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("convert", [np.asarray, in_unit], ids=["uint8", "float32"])
@pytest.mark.parametrize("size", [(64, 48), (96, 48), (32, 24), (320, 240)])
def test_boxes_are_in_pixels_of_the_picture(detector: Detector, size: tuple[int, int], convert: Any) -> None:
    kx, ky = size[0] // WIDTH, size[1] // HEIGHT
    picture = scene(
        size, (4 * kx, 3 * ky, 10 * kx, 9 * ky, BRIGHT), (20 * kx, 15 * ky, 32 * kx, 24 * ky, DIM)
    )
    found = detector.find(convert(picture))
    assert found.names == CLASSES
    assert boxes(found) == {
        "bright": [4 * kx, 3 * ky, 10 * kx, 9 * ky],
        "dim": [20 * kx, 15 * ky, size[0], size[1]],
    }
    np.testing.assert_allclose(found.scores, [BRIGHT / 255, DIM / 255], atol=1e-6)


@given(st.data(), st.integers(33, 200), st.integers(33, 200), st.booleans())
def test_any_block_is_found_within_a_pixel_of_the_detector(
    detector: Detector, data: st.DataObject, width: int, height: int, as_float: bool
) -> None:
    """Pictures of any size and shape, also such as are larger one way and smaller the other."""
    step_x, step_y = width / WIDTH, height / HEIGHT
    # Three pixels of the detector at least, so that one of them is full of it.
    x1 = data.draw(st.integers(0, int(width - 3 * step_x) - 1))
    y1 = data.draw(st.integers(0, int(height - 3 * step_y) - 1))
    x2 = data.draw(st.integers(int(x1 + 3 * step_x) + 1, width))
    y2 = data.draw(st.integers(int(y1 + 3 * step_y) + 1, height))
    picture = scene((width, height), (x1, y1, x2, y2, 255))
    found = detector.find(in_unit(picture) if as_float else picture)
    box = boxes(Detections(found.boxes[:1], found.scores[:1], found.class_ids[:1], CLASSES))["bright"]
    np.testing.assert_allclose(box[::2], [x1, x2], atol=step_x + 0.01)
    np.testing.assert_allclose(box[1::2], [y1, y2], atol=step_y + 0.01)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()


@pytest.mark.parametrize("convert", [np.asarray, in_unit], ids=["uint8", "float32"])
@pytest.mark.parametrize(
    ("size", "vertical"),
    [
        ((WIDTH * 4, HEIGHT * 4), False),
        ((WIDTH * 4, HEIGHT * 4), True),
        ((WIDTH * 4, HEIGHT), False),
        ((WIDTH, HEIGHT * 4), True),
    ],
)
def test_no_pixel_is_skipped(detector: Detector, convert: Any, size: tuple[int, int], vertical: bool) -> None:
    """Two bright and two dark lines in four are a dim plane; samples among the bright ones would not be."""
    lines = np.array([0, 250, 250, 0] * (size[vertical] // 4), np.uint8)
    picture = np.broadcast_to(lines[:, None] if vertical else lines, size[::-1]).copy()
    assert boxes(detector.find(convert(picture))) == {"dim": [0, 0, *size]}


def test_a_smaller_picture_is_enlarged(detector: Detector) -> None:
    found = detector.find(scene((16, 12), (4, 3, 12, 9, 255)))
    assert found.names[found.class_ids[0]] == "bright"
    np.testing.assert_allclose(found.boxes[0], [4, 3, 12, 9], atol=0.5)


def test_every_picture_is_looked_at_afresh(detector: Detector) -> None:
    block = scene((64, 48), (8, 6, 20, 18, BRIGHT))
    for picture, count in (
        (block, 1),
        (scene((64, 48)), 0),
        (in_unit(block), 1),
        (in_unit(scene((64, 48))), 0),
    ):
        assert len(detector.find(picture)) == count


def test_earlier_results_do_not_change(detector: Detector) -> None:
    first = detector.find(scene((64, 48), (8, 6, 20, 18, BRIGHT)))
    before = first.to_rows()
    detector.find(scene((64, 48), (30, 20, 60, 40, BRIGHT)))
    assert first.to_rows() == before


def test_the_threshold_is_the_manifests_unless_told(finder_bundle: bundle.Bundle) -> None:
    picture = scene((64, 48), (8, 6, 20, 18, BRIGHT), (30, 20, 60, 40, DIM))
    for threshold, names in ((None, {"bright", "dim"}), (0.6, {"bright"}), (0.99, set()), (1.0, set())):
        with Fuser(finder_bundle, threads=1, score_threshold=threshold) as fuser:
            assert set(boxes(fuser.find(picture)["boxes"])) == names, threshold
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(RequestError, match="score-threshold: expected 0 to 1"):
            Fuser(finder_bundle, score_threshold=bad)
    info = msgspec.structs.replace(finder_bundle.manifest.heads["detector"], score_threshold=0.6)
    strict = msgspec.structs.replace(finder_bundle.manifest, heads={"detector": info})
    with Fuser(bundle.Bundle(strict, finder_bundle.files)) as fuser:
        assert set(boxes(fuser.find(picture)["boxes"])) == {"bright"}


def test_a_bundle_without_detector_has_none(mean_bundle: bundle.Bundle) -> None:
    with Fuser(mean_bundle) as fuser:
        assert fuser.heads == {}
        assert fuser.find(scene((64, 48))) == {}


@pytest.mark.parametrize(
    ("graph", "names", "message"),
    [
        (described(luma=(1, 1, 24, 48)), CLASSES, r"not what the manifest says.*24, 48.*24, 32"),
        (described(scores=(1, 3, 2)), CLASSES, "not what the manifest says"),
        (msgspec.structs.replace(described(), outputs=described().outputs[:1]), CLASSES, "not what"),
        (described(), ("bright",), r"as many scores as the manifest has classes"),
        (described(), (), "scores"),
        (described(luma=(1, 1, "height", 32)), CLASSES, r"expected luma float32 \(1, 1, h, w\)"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(
    graph: bundle.Graph, names: tuple[str, ...], message: str
) -> None:
    engine = OnnxRuntimeEngine(finder_graph(), threads=1)
    with pytest.raises(BundleError, match=message):
        Detector(graph, engine, names, threshold=0.25)


def test_output_that_is_none_is_an_error() -> None:
    """A network that went wrong gives boxes that are no numbers."""
    engine = OnnxRuntimeEngine(finder_graph(), threads=1)

    class Broken:
        inputs, outputs, close = engine.inputs, engine.outputs, engine.close

        def run(self, inputs: Any) -> dict[str, Any]:
            given = engine.run(inputs)
            return given | {"boxes": np.full_like(given["boxes"], np.nan)}

    broken = Detector(described(), Broken(), CLASSES, threshold=0.25)
    assert len(broken.find(scene((64, 48)))) == 0
    with pytest.raises(EngineError, match="output cannot be used: boxes must be finite"):
        broken.find(scene((64, 48), (8, 6, 20, 18, BRIGHT)))


class Tampered:
    """The finder with other outputs than it has, whose sizes it does not tell."""

    def __init__(self, **given: Any) -> None:
        self._engine, self._given = OnnxRuntimeEngine(finder_graph(), threads=1), given
        self.inputs, self.close = self._engine.inputs, self._engine.close
        self.outputs = tuple(
            Tensor(tensor.name, tensor.dtype, (1, None, tensor.shape[2])) for tensor in self._engine.outputs
        )

    def run(self, inputs: Any) -> dict[str, Any]:
        return self._engine.run(inputs) | self._given


def test_as_many_boxes_as_rows_of_scores() -> None:
    told = described(boxes=(1, 10, 4), scores=(1, 20, 2))
    with pytest.raises(BundleError, match=r"one A.*boxes float32 \(1, 10, 4\), scores float32 \(1, 20, 2\)"):
        Detector(told, Tampered(), CLASSES, threshold=0.25)
    free = described(boxes=(1, "a", 4), scores=(1, "b", 2))
    bright = scene((64, 48), (8, 6, 20, 18, BRIGHT))
    for name, shape in (("boxes", (1, 1, 4)), ("scores", (1, 3, 2)), ("boxes", (2, 4))):
        detector = Detector(free, Tampered(**{name: np.ones(shape, np.float32)}), CLASSES, threshold=0.25)
        with pytest.raises(EngineError, match=r"cannot be used: expected boxes \(1, A, 4\)"):
            detector.find(bright)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_an_error(value: float) -> None:
    """None of them is above a threshold, so that they would pass for an empty street."""
    scores = np.zeros((1, 2, 2), np.float32)
    scores[0, 1, 0] = value
    detector = Detector(described(), Tampered(scores=scores), CLASSES, threshold=0.25)
    with pytest.raises(EngineError, match="expected finite scores from 0 to 1"):
        detector.find(scene((64, 48)))


def test_doctor_finds_a_detector_that_gives_no_numbers(finder_bundle: bundle.Bundle, tmp_path: Path) -> None:
    model = onnx.load_from_string(finder_bundle.files["detector.onnx"])
    (diagonal,) = (part for part in model.graph.initializer if part.name == "diagonal")
    diagonal.CopyFrom(onnx.numpy_helper.from_array(np.full((1, 2, 2), np.nan, np.float32), "diagonal"))
    manifest = msgspec.to_builtins(finder_bundle.manifest)
    del manifest["format"], manifest["sha256"]
    files = {**finder_bundle.files, "detector.onnx": model.SerializeToString()}
    bundle.write(tmp_path / "bundle", manifest, files)
    row = checkup.network(tmp_path / "bundle")
    assert row.status == "broken"
    assert "expected finite scores from 0 to 1" in row.found


def test_boxes_outside_the_picture_are_cut_or_left_out() -> None:
    engine = OnnxRuntimeEngine(finder_graph(), threads=1)

    class Shifted:
        inputs, outputs, close = engine.inputs, engine.outputs, engine.close
        by = 0.0

        def run(self, inputs: Any) -> dict[str, Any]:
            given = engine.run(inputs)
            return given | {"boxes": given["boxes"] + np.float32([self.by, 0, self.by, 0])}

    shifted = Shifted()
    detector = Detector(described(), shifted, CLASSES, threshold=0.25)
    picture = scene((64, 48), (8, 6, 20, 18, BRIGHT), (40, 30, 60, 40, DIM))
    shifted.by = -6
    assert boxes(detector.find(picture)) == {"bright": [0, 6, 8, 18], "dim": [28, 30, 48, 40]}
    shifted.by = -10
    assert boxes(detector.find(picture)) == {"dim": [20, 30, 40, 40]}
    shifted.by = 50
    assert boxes(detector.find(picture)) == {}


def test_what_stands_alone_is_looked_at_as_it_is(mean_bundle: bundle.Bundle) -> None:
    """The head sees the fused luma, float32 before the stretch, or the 8 bits of the sensor that is there."""
    seen: list[Any] = []
    beside: list[Any] = []

    class Eye:
        names = ("a",)

        def find(self, luma: Any, chroma: Any = None, infrared: Any = None) -> Detections:
            seen.append(luma)
            beside.append(infrared)
            return Detections.empty()

        def close(self) -> None:
            """It holds nothing."""

    frame = Frame(np.zeros((2, 2), np.uint8), 0, 0, "x")
    infrared, visible = (scene((64, 48), (0, 0, 8, 8, level)) for level in (40, 100))
    staged = Staged(OnnxRuntimeEngine(mean_bundle.graph("fusion")[1]), {"boxes": Eye()})
    for aligned in (
        Aligned(Pair(frame, frame), infrared, visible, None),
        Aligned(Pair(None, frame), None, visible, "infrared missing"),
        Aligned(Pair(frame, None), infrared, None, "visible missing"),
    ):
        staged.fuse(aligned, Stretch("image"), untimed)
    assert seen[0].dtype == np.float32
    np.testing.assert_allclose(seen[0], (infrared.astype(float) + visible) / 510, atol=1e-6)
    assert seen[1] is visible
    assert seen[2] is infrared
    assert beside[0] is infrared
    assert beside[1:] == [None, None]
    beside.clear()
    unseen = Staged(OnnxRuntimeEngine(mean_bundle.graph("fusion")[1]), {"boxes": Eye()}, infrared=False)
    unseen.fuse(Aligned(Pair(frame, frame), infrared, visible, None), Stretch("image"), untimed)
    assert beside == [None]
