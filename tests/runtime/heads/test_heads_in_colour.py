"""Heads that see colours get the visible picture's, and all others are what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from red import (
    CLASSES,
    HEIGHT,
    PLACES,
    WIDTH,
    described,
    red_graph,
    red_mask_graph,
    tensor,
    write_bundle,
    write_labelled,
)

from tdfusion_edge import bundle
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.cli import main
from tdfusion_edge.color import split
from tdfusion_edge.errors import BundleError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads.boxes.run import Detector
from tdfusion_edge.runtime.heads.inputs import NEUTRAL, Inputs
from tdfusion_edge.runtime.heads.mask.run import Segmenter

RED, GREY = (30, 30, 220), (80, 80, 80)
SIZE = (2 * WIDTH, 2 * HEIGHT)


def street(*red: int) -> Any:
    """A grey picture twice as large as what the detector sees, red where it looks at the places ``red``."""
    picture = np.full((*SIZE[::-1], 3), GREY, np.uint8)
    for place in red:
        x1, y1, x2, y2 = (2 * side for side in PLACES[place])
        picture[y1:y2, x1:x2] = RED
    return picture


@pytest.fixture
def red_bundle(mean_bundle: Bundle, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "red", mean_bundle, threshold=0.6)


def test_colours_are_seen_at_their_place_and_not_beyond_their_picture(red_bundle: Path) -> None:
    with Fuser(red_bundle, threads=1) as fuse:
        infrared = np.zeros(SIZE[::-1], np.uint8)
        for shown in ((0,), (1,), (), (0, 1), ()):
            found = fuse(infrared, street(*shown)).detections
            assert sorted(found.boxes.tolist()) == sorted([2.0 * side for side in PLACES[k]] for k in shown)
        cr = split(np.full((8, 8, 3), RED, np.uint8))[1]
        assert cr is not None
        np.testing.assert_allclose(fuse(infrared, street(1)).detections.scores, cr[0, 0, 0] / 255, atol=1e-6)


def test_one_sensor_alone_has_its_own_colours(red_bundle: Path) -> None:
    infrared, visible = (
        Frame(image, 0, 0, "x") for image in (np.full(SIZE[::-1], 90, np.uint8), street(0, 1))
    )
    with Fuser(red_bundle, threads=1) as fuse:
        for pair, count in (
            (Pair(None, visible), 2),
            (Pair(infrared, visible), 2),
            (Pair(infrared, None), 0),
        ):
            result = fuse.fuse(pair)
            assert result is not None
            assert len(result.detections) == count


def test_a_grey_picture_is_one_without_colours(red_bundle: Path) -> None:
    luma = np.full(SIZE[::-1], 90, np.uint8)
    with Fuser(red_bundle, threads=1, score_threshold=0.0) as fuse:
        for chroma in (None, np.full((2, *luma.shape), 128, np.uint8), None):
            assert fuse.find(luma, chroma)["boxes"].scores.tolist() == [NEUTRAL, NEUTRAL]
        assert pytest.approx(128 / 255, abs=1e-7) == NEUTRAL


def test_pixels_are_given_classes_by_their_colours() -> None:
    graph = replace(described(), outputs=(tensor("mask", (1, HEIGHT, WIDTH), "uint8"),))
    segmenter = Segmenter(graph, OnnxRuntimeEngine(red_mask_graph(), threads=1), ("rest", "red"))
    luma, chroma = split(street(1))
    x1, y1, x2, y2 = PLACES[1]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[y1:y2, x1:x2] = 1
    np.testing.assert_array_equal(segmenter.find(luma, chroma).classes, expected)
    assert not segmenter.find(luma).classes.any()


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (4 * WIDTH, HEIGHT), (100, 77)])
def test_a_head_of_luma_alone_gets_the_same_with_and_without_colours(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    luma, chroma = (random.integers(0, 256, (*n, *size[::-1]), np.uint8) for n in ((), (2,)))
    for picture in (luma, luma / np.float32(255)):
        plain, coloured = Inputs(WIDTH, HEIGHT), Inputs(WIDTH, HEIGHT, ("luma", "chroma"))
        given = plain.of(picture, chroma)
        assert list(given) == ["luma"]
        want = given["luma"].copy()
        for other in (plain.of(picture), coloured.of(picture, chroma), coloured.of(picture)):
            assert np.array_equal(other["luma"], want)


@pytest.mark.parametrize(
    "wrong",
    [
        {"chroma": (1, 2, HEIGHT, WIDTH // 2)},
        {"chroma": (1, 1, HEIGHT, WIDTH)},
        {"chroma": (1, 2, "height", "width"), "luma": (1, 1, "height", "width")},
        {"luma": (1, 1, HEIGHT)},
    ],
)
def test_chroma_that_does_not_fit_the_luma_is_refused(wrong: dict[str, tuple[int | str, ...]]) -> None:
    engine = OnnxRuntimeEngine(red_graph(), threads=1)
    with pytest.raises(BundleError, match="detector graph"):
        Detector(described(**wrong), engine, CLASSES, threshold=0.5)


@pytest.mark.parametrize("colour", [False, True])
def test_a_manifest_that_says_otherwise_than_the_graph_is_refused(
    colour: bool, red_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Colours that are in the graph and not in the manifest, and the other way round."""
    opened = bundle.read(red_bundle)
    inputs = described().inputs if colour else described().inputs[:1]
    fields = {
        name: getattr(opened.manifest, name) for name in ("name", "network", "strategy", "created", "heads")
    }
    fields["graphs"] = {**opened.manifest.graphs, "detector": replace(described(), inputs=inputs)}
    raw = red_graph(colour=not colour)
    bundle.write(tmp_path / "wrong", fields, {**opened.files, "detector.onnx": raw})
    for side, picture in (("ir", street()[..., 0]), ("vi", street(0))):
        cv2.imwrite(str(tmp_path / f"{side}.png"), picture)
    pair = [str(tmp_path / f"{side}.png") for side in ("ir", "vi")]
    command = ["fuse", *pair, "-o", str(tmp_path / "out.png"), "--boxes", "--bundle", str(tmp_path / "wrong")]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "the detector graph is not what the manifest says: expected luma float32" in told
    expected, _, got = told.partition("got luma")
    assert ("chroma float32" in expected, "chroma float32" in got) == (colour, not colour)
    assert "Export the bundle again." in told


def test_eval_reads_colours_for_a_head_that_sees_them(
    red_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them all scores are equal, and half of the boxes are none."""
    write_labelled(tmp_path, [(street()[..., 0], street(k)) for k in range(len(PLACES))])
    command = ["eval", str(red_bundle), "--data", str(tmp_path), "--labels", "yolo:labels", "--baselines"]
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["detection"]
    assert scores["mean"]["map50"] == scores["visible"]["map50"] == 1
    assert scores["infrared"]["map50"] < 1
