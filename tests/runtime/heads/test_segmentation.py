"""The segmentation in the stream, by a graph made by hand: what pixels become, on the way into every sink."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from bands import HEIGHT, NAMES, WIDTH, bands_graph, described
from sink_results import result

from tdfusion_edge.cli import main
from tdfusion_edge.errors import BundleError, EngineError
from tdfusion_edge.masks import Mask
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.heads.colours import COLOURS
from tdfusion_edge.runtime.heads.mask.draw import TINT, tinted
from tdfusion_edge.runtime.heads.mask.run import Segmenter
from tdfusion_edge.runtime.sinks.jsonl import JsonlSink, Record

DARK, DIM, BRIGHT = 20, 120, 240


@pytest.fixture(scope="module")
def segmenter(bands_bundle_path: Path) -> Iterator[Segmenter]:
    with Fuser(bands_bundle_path) as fuser:
        found = fuser.heads["mask"]
        assert isinstance(found, Segmenter)
        yield found


def scene(width: int = 64, height: int = 48) -> Any:
    """Half of it dark, a quarter dim and a quarter bright; uint8 (H, W)."""
    picture = np.full((height, width), DARK, np.uint8)
    picture[height // 2 :, : width // 2] = DIM
    picture[height // 2 :, width // 2 :] = BRIGHT
    return picture


@pytest.mark.parametrize("size", [(64, 48), (32, 24), (320, 240), (96, 48)])
def test_every_pixel_gets_the_class_of_what_it_shows(segmenter: Segmenter, size: tuple[int, int]) -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[HEIGHT // 2 :] = np.repeat([1, 2], WIDTH // 2)
    for luma in (scene(*size), scene(*size) / np.float32(255)):
        mask = segmenter.find(luma)
        np.testing.assert_array_equal(mask.classes, expected)
        assert mask.shares() == {"ground": 0.5, "dim": 0.25, "bright": 0.25}


def test_a_mask_of_classes_that_have_no_name_is_an_error() -> None:
    few = Segmenter(described(), OnnxRuntimeEngine(bands_graph()), NAMES[:2])
    few.classes_of(np.full((48, 64), DIM, np.uint8))
    with pytest.raises(EngineError, match=r"expected \(1, 24, 32\) of 0 to 1, got \(1, 24, 32\) of up to 2"):
        few.classes_of(scene())


def test_a_graph_that_is_not_the_manifest_s_or_no_segmentation_is_refused() -> None:
    engine = OnnxRuntimeEngine(bands_graph())
    other = msgspec.structs.replace(described().outputs[0], dtype="int32")
    with pytest.raises(BundleError, match="segmentation graph is not what the manifest says"):
        Segmenter(described(outputs=(other,)), engine, NAMES)
    with pytest.raises(BundleError, match=r"or no classes: expected luma float32 .*, 0 names"):
        Segmenter(described(), engine, ())


def test_pixels_take_a_part_of_their_class_s_colour() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    before = picture.copy()
    classes = np.zeros((12, 16), np.uint8)
    classes[:, 8:], classes[6:, 8:] = 1, 9
    drawn = tinted(picture, Mask(classes, NAMES)).astype(int)
    np.testing.assert_array_equal(drawn[:, :32], picture[:, :32])
    for rows, colour in ((slice(0, 24), COLOURS[0]), (slice(24, 48), COLOURS[8 % len(COLOURS)])):
        expected = (1 - TINT) * picture[rows, 32:] + TINT * np.array(colour)
        assert np.abs(drawn[rows, 32:] - expected).max() <= 1
    np.testing.assert_array_equal(picture, before)


def test_a_grey_picture_becomes_one_of_colour_only_where_there_is_a_class() -> None:
    grey = scene()
    assert tinted(grey, Mask(np.zeros((2, 2), np.uint8), NAMES)) is grey
    drawn = tinted(grey, Mask(np.array([[0, 2]], np.uint8), NAMES))
    assert drawn.shape == (48, 64, 3)
    assert (drawn[:, :32] == grey[:, :32, None]).all()
    assert (drawn[:, 32:] != grey[:, 32:, None]).any()


def test_lines_tell_the_shares(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "out.jsonl")
    plain = result(0)
    sink.write(plain)
    mask = Mask(np.eye(2, dtype=np.uint8), NAMES)
    masked = Result(1, plain.pair, plain.picture, {"mask": mask})
    sink.write(masked)
    sink.close()
    records = [
        msgspec.json.decode(line, type=Record) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()
    ]
    assert [record.class_shares for record in records] == [None, {"ground": 0.5, "dim": 0.5, "bright": 0.0}]
    assert annotated(masked).shape == (*plain.picture.shape[:2], 3)
    assert annotated(plain) is plain.picture


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Path]:
    """Three pairs of the scene, in two folders."""
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        for number in range(3):
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), scene())
    return tmp_path / "ir", tmp_path / "vi"


def is_tinted(picture: Any) -> bool:
    assert (picture[10, 10] == DARK).all(), "the first class stays as it is"
    return bool((picture[40, 50] != BRIGHT).any())


SHARES = {"ground": 0.5, "dim": 0.25, "bright": 0.25}
OPTIONS = ("--stretch", "none", "--range", "camera")


def test_run_draws_the_mask_and_tells_the_shares(
    recorded: tuple[Path, Path], tmp_path: Path, bands_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases: list[tuple[tuple[str, ...], bool, Any]] = [
        ((), True, SHARES),
        (("--no-boxes",), False, SHARES),
        (("--no-detect",), False, None),
    ]
    for number, (options, drawn, shares) in enumerate(cases):
        out, lines = tmp_path / f"out{number}", tmp_path / f"out{number}.jsonl"
        command = ["run", "--camera", ",".join(map(str, recorded)), "-o", str(out), "-o", str(lines)]
        assert main([*command, "--bundle", str(bands_bundle_path), "--json", *OPTIONS, *options]) == 0
        printed = capsys.readouterr()
        assert ("segment" in json.loads(printed.out)["latency_ms"]) == (shares is not None)
        assert ("segments ground, dim, bright" in printed.err) == (shares is not None)
        told = [json.loads(line)["class_shares"] for line in lines.read_text().splitlines()]
        assert told == [shares] * 3
        assert [is_tinted(cv2.imread(str(path))) for path in sorted(out.iterdir())] == [drawn] * 3


def test_fuse_does_so_where_it_is_asked(
    recorded: tuple[Path, Path], tmp_path: Path, bands_bundle_path: Path
) -> None:
    out, lines = tmp_path / "out", tmp_path / "out.jsonl"
    command = ["fuse", *map(str, recorded), "-o", str(out), "--bundle", str(bands_bundle_path), *OPTIONS]
    assert main(command) == 0
    assert not any(is_tinted(cv2.imread(str(path))) for path in out.iterdir())
    assert main([*command, "--boxes", "--detections", str(lines)]) == 0
    assert all(is_tinted(cv2.imread(str(path))) for path in out.iterdir())
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(row["name"], row["class_shares"]) for row in told] == [(f"{n}.png", SHARES) for n in range(3)]
