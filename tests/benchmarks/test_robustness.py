"""The robustness table: its cases, what is shown in each, and that the script fills it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from finder import described, finder_graph

from benchmarks import script
from benchmarks.robustness.__main__ import BENCHMARK
from benchmarks.robustness.cases import Case, cases, outcome
from benchmarks.schema import read
from tdfusion_edge import bundle
from tdfusion_edge.metrics import evaluate
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.fuser import Fuser

HEIGHT, WIDTH = 48, 64


def picture(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    image = np.random.default_rng(number).integers(40, 90, (HEIGHT, WIDTH), dtype=np.uint8)
    image[12:24, 20:32] = 250
    return image


@pytest.fixture(scope="module")
def detecting(finder_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that averages, and whose detector finds what is bright."""
    opened = bundle.read(finder_bundle_path)
    manifest = {
        "name": "finder", "network": "mean", "strategy": "none", "created": "2026-01-01",
        "graphs": {"fusion": opened.manifest.graphs["fusion"], "detector": described()},
        "heads": {"detector": bundle.HeadInfo(kind="boxes", network="finder", classes=("person", "car"))},
    }  # fmt: skip
    path = tmp_path_factory.mktemp("bundle") / "finder"
    bundle.write(path, manifest, {"fusion.onnx": opened.graph("fusion")[1], "detector.onnx": finder_graph()})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labelled pairs and a clip of three pictures."""
    pairs = tmp_path / "msrs"
    for part in ("ir", "vi", "labels/fusion", "labels/infrared", "labels/visible"):
        (pairs / part).mkdir(parents=True)
    box = f"0 {26 / WIDTH} {18 / HEIGHT} {12 / WIDTH} {12 / HEIGHT}\n"
    for number in range(2):
        for part, offset in (("ir", 0), ("vi", 10)):
            cv2.imwrite(str(pairs / part / f"{number}.png"), picture(number + offset))
        for part in ("fusion", "infrared"):
            (pairs / "labels" / part / f"{number}.txt").write_text(box)
        # what visible shows is somewhere else
        (pairs / "labels" / "visible" / f"{number}.txt").write_text(f"0 .9 .9 {4 / WIDTH} {4 / HEIGHT}\n")
    (pairs / "split_val.txt").write_text("0\n1\n")
    for part in ("ir", "vi", "ir_noise", "vi_blur"):
        (tmp_path / "m3svd_clip" / part / "0114_1611").mkdir(parents=True)
        for number in range(3):
            image = np.clip(picture(number).astype(int) + (60 if part == "ir" and number == 2 else 0), 0, 255)
            cv2.imwrite(str(tmp_path / "m3svd_clip" / part / "0114_1611" / f"{number}.png"), image)
    return tmp_path


def test_the_cases_are_named_once_and_the_shifts_are_of_so_many_pixels() -> None:
    found = cases()
    assert len({case.name for case in found}) == len(found) == 20
    assert [case.strength * 8 for case in found if case.kind == "shift"] == [2, 4, 8]


def test_an_outcome_is_of_the_degraded_pair_against_the_clean_one(detecting: Path) -> None:
    pairs = [LabelledPair(str(n), picture(n), picture(n + 10)) for n in range(2)]
    with Fuser(detecting, threads=1) as fuser:
        for case, shown in (
            (Case("clean"), (picture(0).astype(float) + picture(10)) / 2),
            (Case("a", "missing", "infrared"), picture(10)),
            (Case("b", "missing", "visible"), picture(0)),
            (Case("c", "frozen", "infrared"), (picture(1).astype(float) + picture(10)) / 2),
        ):
            made = outcome(fuser, pairs, 0, case, 1)
            expected = evaluate(np.round(shown).astype(np.uint8), picture(0), picture(10))
            # halves are rounded the other way here and there
            assert tuple(made.scores[4:]) == pytest.approx(tuple(expected[4:]), abs=0.02)
            assert made.found is not None
            assert len(made.found) > 0
        noisy = [outcome(fuser, pairs, 0, Case("n", "noise"), seed).scores for seed in (1, 1, 2)]
        assert noisy[0] == noisy[1] != noisy[2]


def test_the_script_fills_the_table(detecting: Path, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "robustness.json"
    options = ["--bundle", str(detecting), "--data", str(folder), "--output", str(path)]
    assert script.main(BENCHMARK, options) == 0
    results = read(path).results
    scores = {row.method: row for row in results.scores}
    assert len(scores) == 20 + 3
    assert scores["finder, clip as recorded"].pairs == 3
    assert scores["finder, clean"].metrics["qabf"] > scores["finder, visible dead"].metrics["qabf"]
    found = {row.row: row.mean["map50"] for row in results.detectors}
    assert len(found) == 20 + 2
    assert found["visible missing"] == found["visible missing, labels of the other"] > 0.9
    assert found["infrared missing"] > 0.9 > 0.1 > found["infrared missing, labels of the other"]
    camera, steady = (figure.value for figure in results.figures)
    assert camera > 15
    assert steady < camera / 3
    twice = ["--bundle", str(detecting), *options]
    assert script.main(BENCHMARK, twice) == 2


def test_a_clip_of_unequal_folders_is_refused(
    detecting: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((folder / "m3svd_clip" / "ir_noise" / "0114_1611").iterdir()).unlink()
    options = ["--bundle", str(detecting), "--data", str(folder)]
    assert script.main(BENCHMARK, [*options, "--output", str(folder / "robustness.json")]) == 2
    assert "not the same pictures" in capsys.readouterr().err
