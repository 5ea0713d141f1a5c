"""The cross-validation: folds that do not leak, AP50 of any pictures, intervals, and a whole run."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("faster_coco_eval")

from benchmarks import script  # noqa: E402
from benchmarks.schema import read  # noqa: E402
from benchmarks.table import as_table  # noqa: E402
from benchmarks.training import runs as training_runs  # noqa: E402
from benchmarks.training import simulated  # noqa: E402
from benchmarks.training.cross_validation import looks, networks, plan, recipes  # noqa: E402
from benchmarks.training.cross_validation.__main__ import BENCHMARK  # noqa: E402
from benchmarks.training.cross_validation.bootstrap import interval, resampled, resamples  # noqa: E402
from benchmarks.training.cross_validation.folds import GAP, LONGEST, divided, frame_of  # noqa: E402
from benchmarks.training.cross_validation.matches import Matches, joined, load, match, save  # noqa: E402
from benchmarks.training.cross_validation.precision import figures, mean_precision, rankings  # noqa: E402
from benchmarks.training.runs import Run  # noqa: E402
from tdfusion_edge import checkpoint, cli  # noqa: E402
from tdfusion_edge.detection_scores import Truth, score  # noqa: E402
from tdfusion_edge.detections import Detections  # noqa: E402
from tdfusion_edge.errors import RequestError  # noqa: E402
from tdfusion_edge.pairs import Boxes  # noqa: E402
from tdfusion_edge.plain import PLAIN  # noqa: E402
from tdfusion_edge.train.recipe_file import load_recipe  # noqa: E402
from tdfusion_edge.train.state import LAST  # noqa: E402
from tdfusion_edge.train.strategies.task import TaskOnly  # noqa: E402

NAMES = ("person", "bicycle", "car")


def stems(*runs: tuple[int, int, str]) -> list[str]:
    """Every fourth frame from a number on, so many of them, by day or by night."""
    return [f"{start + 4 * place:05d}{time}" for start, count, time in runs for place in range(count)]


MSRS = [
    *stems((4, 12, "N"), (681, 63, "N"), (1004, 75, "N")),
    *stems((81, 38, "D"), (258, 36, "D"), (491, 35, "D"), (1380, 38, "D")),
]
"""Blocks as long as those of the real pairs."""


def near(one: str, other: str) -> bool:
    a, b = frame_of(one), frame_of(other)
    return a.time == b.time and abs(a.number - b.number) <= GAP


@pytest.mark.parametrize("folds", [2, 4, 5])
def test_every_pair_is_in_one_fold_and_none_is_trained_on_beside_it(folds: int) -> None:
    found = divided(MSRS, folds)
    tested = [found.tested(fold) for fold in range(folds)]
    assert sorted(name for fold in tested for name in fold) == sorted(MSRS)
    assert found == divided(MSRS[::-1], folds)
    for time in "DN":
        counts = [sum(name.endswith(time) for name in fold) for fold in tested]
        assert max(counts) - min(counts) <= (8 if folds == 4 else LONGEST)
    for fold, names in enumerate(tested):
        training = found.training(fold)
        assert not any(near(name, other) for name in names for other in training)
        left_out = set(MSRS) - set(names) - set(training)
        assert all(any(near(name, other) for other in names) for name in left_out)
        assert found.unseen(fold) == {*names, *left_out}
        assert len(left_out) <= 0.1 * len(MSRS)


def test_neighbours_part_company_at_the_cuts_of_long_blocks_alone() -> None:
    found = divided(MSRS, 4)
    pieces = [piece for fold in found.pieces for piece in fold]
    assert max(map(len, pieces)) <= LONGEST
    touching = [(a, b) for a, b in combinations(pieces, 2) if any(near(x, y) for x in a for y in b)]
    # 63 and 75 pairs in a row by night: two cuts and three; one in each of four blocks by day.
    assert len(touching) == 2 + 3 + 4
    short = divided(stems((0, 5, "D"), (100, 5, "D"), (0, 5, "N"), (100, 5, "N")), 2)
    assert [sorted(map(len, fold)) for fold in short.pieces] == [[5, 5], [5, 5]]
    assert all(len(short.training(fold)) == 10 for fold in range(2))


@pytest.mark.parametrize(
    ("names", "folds", "complaint"),
    [
        (["1"], 2, "no place in time"),
        (["0001D", "00001D"], 2, "two pairs of one frame"),
        (stems((0, 5, "D")), 2, "too near to each other"),
        (stems((0, 5, "D")), 1, "expected 2 or more"),
    ],
)
def test_pairs_that_cannot_be_divided_are_refused(names: list[str], folds: int, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        divided(names, folds)


def boxes(random: np.random.Generator, count: int) -> Any:
    """Boxes of about one size that overlap often."""
    corner = random.uniform(0, 40, (count, 2))
    return np.concatenate((corner, corner + random.uniform(10, 25, (count, 2))), axis=1).astype(np.float32)


def street(
    random: np.random.Generator, pictures: int, most: int = 12
) -> tuple[list[Detections], list[Truth]]:
    """Labels of some pictures, and what a poor detector makes of them."""
    found, truths = [], []
    for _ in range(pictures):
        count = int(random.integers(0, most))
        truth = Truth(boxes(random, count), random.integers(0, 3, count))
        kept = random.random(count) < 0.7
        moved = truth.corners[kept] + random.normal(0, 1.5, (int(kept.sum()), 4)).astype(np.float32)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        wrong = int(random.integers(0, 8))
        corners = np.concatenate((moved, boxes(random, wrong)))
        classes = np.concatenate((truth.classes[kept], random.integers(0, 3, wrong)))
        scores = random.random(len(corners)).astype(np.float32)
        found.append(Detections(corners, scores, classes, NAMES))
        truths.append(truth)
    return found, truths


def matched(found: Sequence[Detections], truths: Sequence[Truth]) -> Matches:
    pairs = zip(found, truths, strict=True)
    return joined([match(one, Boxes(*truth), len(NAMES)) for one, truth in pairs])


@given(st.integers(0, 10**6))
def test_the_ap50_is_that_of_coco(seed: int) -> None:
    found, truths = street(np.random.default_rng(seed), 12)
    expected = score(found, truths, NAMES)
    got = figures(matched(found, truths), NAMES, {})
    assert got.get("map50") == (None if expected.map50 is None else pytest.approx(expected.map50, abs=1e-5))
    for name, row in expected.per_class.items():
        value = got.get(f"map50 {name}")
        assert value == (None if row.map50 is None else pytest.approx(row.map50, abs=1e-5))


@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_a_weight_is_so_many_copies_of_a_picture(seed: int, weights: list[int]) -> None:
    found, truths = street(np.random.default_rng(seed), len(weights))
    places = [place for place, weight in enumerate(weights) for _ in range(weight)]
    got = mean_precision(rankings(matched(found, truths)), np.array(weights, float))
    if not places:
        assert np.isnan(got)
        return
    expected = score([found[place] for place in places], [truths[place] for place in places], NAMES).map50
    assert np.isnan(got) if expected is None else got == pytest.approx(expected, abs=1e-9)


def test_no_more_boxes_count_than_coco_counts() -> None:
    random = np.random.default_rng(0)
    truth = Truth(np.array([[0, 0, 10, 10]], np.float32), np.array([0]))
    corners = np.concatenate((boxes(random, 120) + 20, truth.corners))
    scores = np.linspace(1, 0.1, 121, dtype=np.float32)
    found = Detections(corners, scores, np.zeros(121, np.int64), NAMES)
    assert figures(matched([found], [truth]), NAMES, {})["map50"] == 0 == score([found], [truth], NAMES).map50


def test_matches_survive_the_file(tmp_path: Path) -> None:
    matches = matched(*street(np.random.default_rng(1), 5))
    save(tmp_path / "new" / "a.npz", matches)
    for one, other in zip(matches, load(tmp_path / "new" / "a.npz"), strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


def test_a_planted_difference_is_found_and_none_where_there_is_none() -> None:
    random = np.random.default_rng(2)
    found, truths = street(random, 60)
    good = matched(found, truths)
    # Every second of the boxes that were right is lost.
    kept = ~good.hits | (np.arange(len(good.hits)) % 2 == 0)
    poor = Matches(*(field[kept] for field in good[:4]), good.objects)
    weights = resamples(range(60), 300, seed=0)
    rows = [resampled([matches], weights) for matches in (good, poor, good)]
    assert interval(rows[0], rows[2]) == (0, 0, 0)
    difference = interval(rows[0], rows[1])
    whole = [mean_precision(rankings(matches), np.ones(60)) for matches in (good, poor)]
    assert 0 < difference.low < whole[0] - whole[1] < difference.high
    assert difference.mean == pytest.approx(whole[0] - whole[1], abs=0.02)
    both = resampled([good, poor], weights)
    assert both == pytest.approx((rows[0] + rows[1]) / 2)


def test_units_are_drawn_whole_and_as_many_as_there_are() -> None:
    weights = resamples([7, 7, 3, 3, 3, 9], 50, seed=1)
    assert (weights == resamples([7, 7, 3, 3, 3, 9], 50, seed=1)).all()
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert resamples(range(40), 9, seed=0).sum(axis=1).tolist() == [40] * 9


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs of the simulated street, far apart in time, in the layout of the real ones."""
    root = tmp_path_factory.mktemp("data")
    msrs = root / "msrs"
    parts = [msrs / name for name in ("ir", "vi", "labels/fusion")]
    for folder in parts:
        folder.mkdir(parents=True)
    names = [f"{20 * number:05d}{'DN'[number % 2]}" for number in range(8)]
    for name, sample in zip(names, simulated.pairs(8, (160, 120)), strict=True):
        assert sample.boxes is not None
        lines = [
            f"{label} {(x1 + x2) / 320} {(y1 + y2) / 240} {(x2 - x1) / 160} {(y2 - y1) / 120}"
            for (x1, y1, x2, y2), label in zip(sample.boxes.corners, sample.boxes.classes, strict=True)
        ]
        (parts[2] / f"{name}.txt").write_text("\n".join(lines) + "\n")
        cv2.imwrite(str(parts[0] / f"{name}.png"), sample.infrared)
        coloured = np.stack((sample.visible, sample.visible, 255 - sample.visible), axis=2)
        cv2.imwrite(str(parts[1] / f"{name}.png"), coloured)
    (msrs / "split_train.txt").write_text("\n".join(names[:6]))
    (msrs / "split_val.txt").write_text("\n".join(names[4:]))
    return root


def test_a_recipe_keeps_its_lists_less_the_fold(data: Path) -> None:
    folds = divided(
        stems((0, 1, "D"), (20, 1, "N"), (40, 1, "D"), (60, 1, "N"), (80, 1, "D"), (100, 1, "N")), 2
    )
    recipe = load_recipe("edge_tdfusion")
    changed = load_recipe("edge_tdfusion", [recipes.within(recipe, data, folds.training(1))])
    wanted = tuple(name for name in folds.training(1) if int(name[:5]) < 120)
    assert [(one.part, one.every, one.without_every) for one in changed.data] == [
        (one.part, one.every, one.without_every) for one in recipe.data
    ]
    assert changed.data[0].names == changed.data[1].names == wanted
    assert set(changed.data[2].names or ()) <= set(folds.training(1))
    assert changed.data[0].labels == recipe.data[0].labels
    others = load_recipe("cwfid_fixed")
    assert load_recipe("cwfid_fixed", [recipes.within(others, data, ())]).data == others.data
    detector = load_recipe("detector_yolox")
    on_fold = load_recipe("detector_yolox", [recipes.on_fold(detector, ("1D", "2D"), ("3D",))])
    assert [(one.part, one.names) for one in on_fold.data] == [
        ("train", ("1D", "2D")),
        ("validation", ("3D",)),
    ]


def plan_for(data: Path, *options: str) -> plan.Plan:
    parser = argparse.ArgumentParser()
    BENCHMARK.add_arguments(parser)
    return plan.plan_of(parser.parse_args(["--data", str(data), "--folds", "2", "--seeds", "0", *options]))


def test_a_detector_is_trained_on_the_pictures_that_it_is_scored_on(data: Path, tmp_path: Path) -> None:
    task = write_recipe(tmp_path / "t.toml", 'strategy = "task"')
    found = plan_for(data, "--recipe", str(task))
    pair = next(iter(simulated.pairs(1, (96, 64))))
    assert {*PLAIN, "seafusion"} <= set(found.rows)
    for row in PLAIN:
        run = found.runs[row, 0, 0]
        strategy = TaskOnly(load_recipe(run.recipe, run.changes))
        (trained_on,) = strategy.prepare([pair])
        assert (trained_on.visible == PLAIN[row](pair.infrared, pair.visible)).all()
    of_peer = found.runs["seafusion", 1, 0]
    options = load_recipe(of_peer.recipe, of_peer.changes).strategy_options
    assert options == {"folder": str(looks.peers_of(data, "seafusion")), "picture": "folder"}


@pytest.mark.parametrize(("steps", "warm_up"), [(1000, 0.02), (60, 1 / 3), (10, 0.5)])
def test_other_steps_leave_the_warm_up_as_long(data: Path, steps: int, warm_up: float) -> None:
    run = plan_for(data, "--steps", str(steps), "--rows", "visible").runs["visible", 0, 0]
    optimiser = load_recipe(run.recipe, run.changes).optimiser
    assert (optimiser.steps, optimiser.warm_up) == (steps, pytest.approx(warm_up))


@pytest.mark.parametrize("option", ["--rows", "--references"])
@pytest.mark.parametrize("rows", ["visible,nobody", "visible,visible", "mean"])
def test_unknown_rows_are_refused(data: Path, option: str, rows: str) -> None:
    with pytest.raises(RequestError, match=f"{option} {rows}(?s:.*)some of infrared,visible,average"):
        plan_for(data, option, rows)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The trainings' own command line without a process for each: starting one takes longer than they do."""

    def run(runs: Sequence[Run], data: Path, work: Path, jobs: int, device: str) -> None:
        for one in runs:
            assert cli.main(training_runs._command(one, data, work, device)[3:]) == 0

    monkeypatch.setattr(training_runs, "_run_children", run)
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


RECIPE = """
name = "{name}"
{more}
[task]
network = "yolo"
network_options = {{ size = "p" }}
classes = ["person", "bicycle", "car"]
height = 64
width = 96
[augmentation]
crop = 32
[optimiser]
steps = 2
batch = 2
"""
SOURCE = """
[[data]]
folder = "msrs"
part = "{part}"
names = "{names}"
labels = {{ format = "yolo", path = "labels/fusion", classes = ["person", "bicycle", "car"] }}
terms = "made up"
"""


def write_recipe(path: Path, more: str) -> Path:
    parts = (("train", "split_train.txt"), ("validation", "split_val.txt"))
    sources = "".join(SOURCE.format(part=part, names=names) for part, names in parts)
    path.write_text(RECIPE.format(name=path.stem, more=more) + sources)
    return path


@pytest.mark.slow
def test_from_networks_of_the_folds_to_a_table(
    data: Path, tmp_path: Path, in_process: None, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    fusion = write_recipe(
        tmp_path / "f.toml", 'strategy = "joint"\nnetwork_options = { width = 8, depth = 1 }'
    )
    task = write_recipe(tmp_path / "t.toml", 'strategy = "task"')
    common = ["--data", str(data), "--folds", "2", "--seeds", "3", "--device", "cpu"]
    folds = tmp_path / "folds"
    options = [*common, "--work", str(folds), "--train", f"joint={fusion}"]
    assert networks.main([*options, "--set", "joint:optimiser.batch=1"]) == 0
    header, _ = checkpoint.read(folds / "joint_1_3" / LAST)
    split = divided([f"{20 * number:05d}{'DN'[number % 2]}" for number in range(8)], 2)
    assert set(header.settings["data"][0]["names"]) <= set(split.training(1))

    path = tmp_path / "cross_validation.json"
    given = [*common, "--work", str(tmp_path / "work"), "--recipe", str(task), "--resamples", "20"]
    given += ["--rows", "visible,average,joint", "--output", str(path), "--set", "optimiser.batch=1"]
    pattern = str(folds / "joint_{fold}_{seed}" / LAST)
    assert script.main(BENCHMARK, [*given, "--network", f"joint={pattern}"]) == 0
    result = read(path).results
    assert [(one.protocol, one.row, one.seeds, one.pictures) for one in result.detectors] == [
        ("fine-tuned", row, (3,), 8) for row in ("visible", "average", "joint")
    ]
    assert {(one.row, one.reference) for one in result.differences} == {
        ("joint", "average"),
        ("joint", "visible"),
        ("visible", "average"),
    }
    assert "map50 night" in result.detectors[0].mean
    assert "fine-tuned, t, joint - average" in as_table(result)
    assert str(tmp_path) not in path.read_text()
    header, _ = checkpoint.read(tmp_path / "work" / "joint_1_3" / LAST)
    assert header.settings["data"][1]["names"] == list(split.tested(1))

    def never(*_: object) -> Any:
        raise AssertionError("looked again")

    monkeypatch.setattr(looks, "_find", never)
    assert script.main(BENCHMARK, [*given, "--network", f"joint={pattern}"]) == 0
    assert read(path).results == result
    capsys.readouterr()
    wrong = str(folds / "joint_0_{seed}" / LAST)
    assert script.main(BENCHMARK, [*given, "--network", f"joint={wrong}"]) == 2
    assert "has seen pairs that it is to be scored on" in capsys.readouterr().err
    start = f"joint:task.start={tmp_path / 'work' / 'average_0_3' / LAST}"
    assert networks.main([*options, "--set", start]) == 2
    assert "has seen pairs" in capsys.readouterr().err
