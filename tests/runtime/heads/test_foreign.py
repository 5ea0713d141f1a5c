"""Detectors of the user's own: every family's boxes, colours, sizes, classes, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign_graphs import FAMILIES, SCORES, SIZE, constant, detector
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge import Fuser, bundle
from tdfusion_edge.coco import NAMES
from tdfusion_edge.color import split
from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import EngineError, InputMissing, RequestError
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.heads.boxes.foreign.run import FREE, ForeignDetector, open_detector

DARK, BRIGHT = 20, 255


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("detectors")
    made = {family: folder / f"{number}.onnx" for number, family in enumerate(FAMILIES)}
    for family, path in made.items():
        path.write_bytes(detector(family))
    return made


@pytest.fixture(scope="module")
def opened(files: dict[str, Path]) -> Iterator[dict[str, ForeignDetector]]:
    all_of = {family: open_detector(path, threads=1) for family, path in files.items()}
    yield all_of
    for one in all_of.values():
        one.close()


def block(size: tuple[int, int], box: tuple[int, int, int, int], level: Any = BRIGHT) -> Any:
    x1, y1, x2, y2 = box
    picture = np.full((size[1], size[0], *np.shape(level)), DARK, np.uint8)
    picture[y1:y2, x1:x2] = level
    return picture


def rows(found: Detections) -> dict[str, tuple[list[float], float]]:
    return {row["class"]: (row["box"], row["score"]) for row in found.to_rows()}


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_and_scores_are_those_of_the_graph(opened: dict[str, ForeignDetector], family: str) -> None:
    one = opened[family]
    assert family.startswith(one.family.name)
    for size, box in ((SIZE, (30, 10, 62, 50)), ((192, 128), (60, 20, 124, 100))):
        found = rows(one.find(block(size, box)))
        assert found.keys() == SCORES.keys()
        for name, (corners, score) in found.items():
            assert corners == pytest.approx(box, abs=0.02)
            assert score == pytest.approx(SCORES[name], abs=1e-4)
    assert len(one.find(block(SIZE, (0, 0, 0, 0)))) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_colours_reach_the_detector_in_its_own_order(opened: dict[str, ForeignDetector], family: str) -> None:
    for blue_green_red, seen in (((0, 0, 255), True), ((255, 0, 0), False), ((0, 200, 0), False)):
        luma, chroma = split(block(SIZE, (30, 10, 62, 50), blue_green_red))
        assert bool(len(opened[family].find(luma, chroma))) is seen
        assert len(opened[family].find(luma)) == 0, "without colours it is grey, and too dark"


def test_float_and_eight_bits_give_the_same(opened: dict[str, ForeignDetector]) -> None:
    picture = block((160, 120), (20, 20, 100, 90))
    unit = picture.astype(np.float32) / 255
    for one in opened.values():
        assert rows(one.find(unit)) == rows(one.find(picture))


@given(
    st.sampled_from(["YOLOX", "YOLOv8"]),
    st.tuples(st.integers(20, 400), st.integers(20, 400)),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_boxes_come_back_to_the_picture_from_any_size(
    opened: dict[str, ForeignDetector], family: str, size: tuple[int, int], shares: tuple[float, ...]
) -> None:
    scale = min(there / here for there, here in zip(SIZE, size, strict=True))
    least = max(3, int(np.ceil(3 / scale)))  # pixels that the input shows as some
    if min(size) < least:
        return
    corners = []
    for side, low, high in ((size[0], *shares[:2]), (size[1], *shares[2:])):
        first = round(low * (side - least))
        corners.append((first, first + least + round(high * (side - least - first))))
    (x1, x2), (y1, y2) = corners
    found = rows(opened[family].find(block(size, (x1, y1, x2, y2))))
    # A pixel of the picture, or of the input where that is coarser.
    inner = [max(1, round(side * scale)) for side in size]
    tolerance = max(1.0, *(side / there for side, there in zip(size, inner, strict=True)))
    assert found["car"][0] == pytest.approx([x1, y1, x2, y2], abs=tolerance + 0.01)


class Watched:
    """An engine that keeps what it was given last."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.inputs, self.outputs = engine, engine.inputs, engine.outputs
        self.given: Any = None

    def run(self, inputs: Any) -> Any:
        self.given = inputs["images"][0].copy()
        return self._engine.run(inputs)

    def close(self) -> None:
        self._engine.close()


@pytest.mark.parametrize(
    ("family", "first", "grey", "white"),
    [
        ("YOLOX", 0, [114, 114, 114], [255, 255, 255]),
        ("YOLOv8", 16, [114 / 255] * 3, [1, 1, 1]),
        (
            "NanoDet",
            16,
            [(114 - 103.53) / 57.375, (114 - 116.28) / 57.12, (114 - 123.675) / 58.395],
            [(255 - 103.53) / 57.375, (255 - 116.28) / 57.12, (255 - 123.675) / 58.395],
        ),
    ],
)
def test_the_picture_lies_where_its_training_put_it(
    files: dict[str, Path], family: str, first: int, grey: list[float], white: list[float]
) -> None:
    """A picture twice as wide as the input leaves half of it grey: below it, or above and below."""
    watched: list[Watched] = []

    def watch(name: str, engine: Engine) -> Engine:
        assert name == "detector"
        watched.append(Watched(engine))
        return watched[0]

    open_detector(files[family], threads=1, instrument=watch).find(np.full((64, 192), 255, np.uint8))
    wanted = np.empty((3, *SIZE[::-1]), np.float32)
    wanted[:] = np.float32(grey)[:, None, None]
    wanted[:, first : first + 32] = np.float32(white)[:, None, None]
    np.testing.assert_allclose(watched[0].given, wanted, rtol=1e-5)


def test_classes_are_merged_as_asked(files: dict[str, Path]) -> None:
    picture = block(SIZE, (30, 10, 62, 50))

    def found(*classes: str) -> dict[str, float]:
        with_names = open_detector(files["YOLOX"], classes, threads=1)
        scores = {name: score for name, (_, score) in rows(with_names.find(picture)).items()}
        assert with_names.names == classes
        with_names.close()
        return scores

    assert found("person", "bicycle", "car") == {"bicycle": 0.3, "car": 0.8}
    assert found("Car", "truck") == {"Car": 0.5, "truck": 0.8}, "what is named apart is not taken in"
    assert found("Bike", "bus") == {"Bike": 0.3}
    everything = open_detector(files["YOLOX"], threads=1)
    assert everything.names == NAMES
    assert (len(NAMES), len(set(NAMES)), NAMES.index("toothbrush")) == (80, 80, 79)


def test_the_score_threshold(files: dict[str, Path]) -> None:
    picture = block(SIZE, (30, 10, 62, 50))
    for threshold, names in ((None, {"bicycle", "car", "truck"}), (0.4, {"car", "truck"}), (0.9, set())):
        assert rows(open_detector(files["YOLOv8"], threshold=threshold).find(picture)).keys() == names


def test_a_free_input_is_given_a_size(tmp_path: Path) -> None:
    (tmp_path / "free.onnx").write_bytes(detector("YOLOv8", (FREE, FREE), free=True))
    one = open_detector(tmp_path / "free.onnx", threads=1)
    box = rows(one.find(block((1280, 720), (200, 100, 600, 500))))["truck"][0]
    assert box == pytest.approx((200, 100, 600, 500), abs=2)


def test_what_is_no_known_detector_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    path = tmp_path / "d.onnx"
    outputs = [
        ((1, 300, 6),),
        ((1, 126, 25),),
        ((1, 378, 85),),  # three boxes a cell
        ((1, 126, 80), (1, 126, 4)),
        ((2, 84, 126),),
        ((1, 96, 80), (1, 24, 80), (1, 6, 80), (1, 96, 30), (1, 24, 32), (1, 6, 32)),
    ]
    for shapes in outputs:
        path.write_bytes(constant(*shapes))
        with pytest.raises(RequestError, match="no known detector gives: expected COCO's 80 classes") as seen:
            open_detector(path)
        assert str(shapes[0]) in str(seen.value)
    for given_shape in ((1, 64, 96, 3), (4, 3, 64, 96), (3, 64, 96)):
        path.write_bytes(constant((1, 84, 126), given=given_shape))
        with pytest.raises(RequestError, match=r"expected one input, float32 \(1, 3, height, width\)"):
            open_detector(path)
    for value in (-3.0, 1.5, float("nan")):
        path.write_bytes(constant((1, 84, 126), value=value))
        with pytest.raises(EngineError, match="expected 0 to 1"):
            open_detector(path)
    with pytest.raises(InputMissing, match=r"there is no detector .*nowhere\.onnx"):
        open_detector(tmp_path / "nowhere.onnx")
    path.write_bytes(b"no graph")
    with pytest.raises(EngineError, match="cannot load the graph"):
        open_detector(path)
    with pytest.raises(RequestError, match="score threshold: expected 0 to 1"):
        open_detector(files["YOLOX"], threshold=2)


def test_weights_beside_the_file_are_not_looked_for(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(files["YOLOX"])
    path = tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").is_file()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="cannot load the graph"):
        open_detector(path)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("persn",), "'persn' is none of COCO's.*\n  Did you mean 'person'?"),
        (("people", "Person"), "'person' is there twice"),
        ((), "expected names"),
        ("car", "expected names"),
    ],
)
def test_classes_that_are_none(files: dict[str, Path], classes: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        open_detector(files["YOLOX"], classes)


def test_it_stands_in_for_the_detector_of_a_bundle_and_beside_its_masks(
    files: dict[str, Path], finder_bundle: bundle.Bundle, bands_bundle_path: Path
) -> None:
    bright = block(SIZE, (30, 10, 62, 50))
    options: dict[str, Any] = {"detector": files["YOLOX"], "detector_classes": ["car"], "threads": 1}
    loaded: list[str] = []
    with Fuser(
        finder_bundle, **options, instrument=lambda name, engine: loaded.append(name) or engine
    ) as fuse:
        assert loaded == ["fusion", "detector"], "the bundle's own is not loaded as well"
        result = fuse(bright, bright)
        assert rows(result.detections) == {"car": (pytest.approx([30, 10, 62, 50], abs=0.02), 0.8)}
        assert str(fuse).endswith("detects car")
        assert "car" in rows(fuse.look(bright, bright).findings["boxes"])
    red = block(SIZE, (30, 10, 62, 50), (0, 0, 255))
    luma, chroma = split(red)
    with Fuser(bands_bundle_path, **options, score_threshold=0.7) as fuse:
        assert set(fuse.heads) == {"mask", "boxes"}
        assert set(fuse(luma, red).findings) == {"mask", "boxes"}
        assert rows(fuse(luma, red).detections).keys() == {"car"}, "the fused luma has visible's colours"
        assert rows(fuse(luma, luma).detections) == {}
        assert rows(fuse.look(luma, red).findings["boxes"]).keys() == {"car"}
        assert rows(fuse.find(luma, chroma)["boxes"]).keys() == {"car"}


def test_a_detector_that_does_not_fit_the_request(files: dict[str, Path]) -> None:
    path = files["YOLOX"]
    with pytest.raises(RequestError, match="graph holds the bundle's own detector, and --detector names"):
        Fuser("edge", detector=path, graphs="onepass", stretch="none")
    with pytest.raises(RequestError, match="nothing is detected"):
        Fuser("edge", detector=path, detect=False)
    with pytest.raises(RequestError, match="expected --detector as well"):
        Fuser("edge", detector_classes=["car"])
    with pytest.raises(RequestError, match="expected a path of an ONNX file"):
        Fuser("edge", detector=3)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="expected a sequence of names"):
        Fuser("edge", detector=path, detector_classes="car")
    with pytest.raises(InputMissing, match="there is no detector"):
        Fuser("edge", detector="nowhere.onnx")


def test_one_pass_is_left_where_the_back_end_would_gain_by_it(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tdfusion_edge.runtime import engines

    row = engines.BACKENDS["onnxruntime"]._replace(one_pass=True)
    monkeypatch.setattr(engines, "BACKENDS", {"onnxruntime": row})
    with Fuser("edge", stretch="none") as own, Fuser("edge", stretch="none", detector=files["YOLOX"]) as fuse:
        assert "in one pass" in str(own)
        assert "in one pass" not in str(fuse)
