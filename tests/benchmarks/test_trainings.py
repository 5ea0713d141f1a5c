"""Benchmarks that rest on trainings: what is trained, what is read from it, and what is refused."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

torch = pytest.importorskip("torch")

from benchmarks import script  # noqa: E402
from benchmarks.schema import read  # noqa: E402
from benchmarks.training import runs as training_runs  # noqa: E402
from benchmarks.training import simulated  # noqa: E402
from benchmarks.training.loss_weights import BENCHMARK as LOSS_WEIGHTS  # noqa: E402
from benchmarks.training.loss_weights import Learned, rows_of, sums_of  # noqa: E402
from benchmarks.training.meta_case import Setting, recipe_of  # noqa: E402
from benchmarks.training.methods import BENCHMARK as METHODS  # noqa: E402
from benchmarks.training.methods import fusion_runs, run_of, tasks_of  # noqa: E402
from benchmarks.training.options import changes_by_name  # noqa: E402
from benchmarks.training.runs import Run, run_all  # noqa: E402
from benchmarks.training.segmentation import BENCHMARK as SEGMENTATION  # noqa: E402
from tdfusion_edge import checkpoint, cli  # noqa: E402
from tdfusion_edge.errors import InputMissing, RequestError, WorkError  # noqa: E402
from tdfusion_edge.pairs import Boxes, LabelledPair  # noqa: E402
from tdfusion_edge.train import state  # noqa: E402
from tdfusion_edge.train.models.loss_network import LossWeights  # noqa: E402
from tdfusion_edge.train.models.tables import resolve  # noqa: E402
from tdfusion_edge.train.recipe import Recipe  # noqa: E402
from tdfusion_edge.train.recipe_file import load_recipe  # noqa: E402
from tdfusion_edge.train.state import LAST, STATE  # noqa: E402
from tdfusion_edge.train.strategies import STRATEGIES  # noqa: E402

BOXES = (
    'network = "yolo"\nnetwork_options = { size = "p" }\nclasses = ["person", "bicycle", "car"]',
    '{ format = "yolo", path = "labels/fusion", classes = ["person", "bicycle", "car"] }',
)
"""Network and labels of a small T for boxes, as TOML."""
MASKS = (
    'network = "segformer"\nclasses = ["ground", "thing"]',
    '{ format = "mask", path = "masks", classes = ["ground", "thing"] }',
)
"""The same for masks."""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder laid out like the real one: six pairs of the simulated street with boxes and masks."""
    root = tmp_path_factory.mktemp("data")
    msrs = root / "msrs"
    parts = {name: msrs / name for name in ("ir", "vi", "labels/fusion", "masks")}
    for folder in parts.values():
        folder.mkdir(parents=True)
    names = []
    for number, sample in enumerate(simulated.pairs(6, (160, 120))):
        assert sample.boxes is not None
        names.append(name := f"{number:05d}{'DN'[number % 2]}")
        mask = np.zeros(sample.visible.shape, np.uint8)
        lines = []
        for (x1, y1, x2, y2), label in zip(sample.boxes.corners, sample.boxes.classes, strict=True):
            lines.append(f"{label} {(x1 + x2) / 320} {(y1 + y2) / 240} {(x2 - x1) / 160} {(y2 - y1) / 120}")
            mask[round(y1) : round(y2), round(x1) : round(x2)] = 1
        (parts["labels/fusion"] / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for part, picture in (("ir", sample.infrared), ("vi", sample.visible), ("masks", mask)):
            cv2.imwrite(str(parts[part] / f"{name}.png"), picture)
    (msrs / "split_train.txt").write_text("\n".join(names[:4]))
    (msrs / "split_val.txt").write_text("\n".join(names[2:]))
    return root


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The trainings' own command line without a process for each: starting one takes longer than they do."""

    def run(runs: Sequence[Run], data: Path, work: Path, jobs: int, device: str) -> None:
        for one in runs:
            command = training_runs._command(one, data, work, device)
            assert command[1:3] == ["-m", "tdfusion_edge"]
            assert cli.main(command[3:]) == 0

    monkeypatch.setattr(training_runs, "_run_children", run)
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def write_checkpoint(path: Path, recipe: Recipe, *, head: float | None = None, step: int = 7) -> Path:
    """A checkpoint of a training that was never run: its networks have fresh weights.

    Args:
        path: Where.
        recipe: Of which training.
        head: Weights of G's last layer; 0, as it starts, makes w_ir 1/2 at every pixel.
        step: Of 7.
    """
    torch.manual_seed(recipe.seed)
    strategy: Any = resolve(recipe.strategy, STRATEGIES, "strategy")(recipe)
    if head is not None:
        torch.nn.init.constant_(strategy.networks["loss"].head.weight, head)
    weights = {
        f"{role}.{name}": part.numpy()
        for role in strategy.named
        for name, part in strategy.networks[role].state_dict().items()
    }
    header = checkpoint.Header(
        format=checkpoint.FORMAT,
        recipe=recipe.name,
        networks=dict(strategy.named),
        strategy=recipe.strategy,
        seed=recipe.seed,
        step=step,
        steps=7,
        settings=state.settings(recipe),
        training_data=(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write(path, weights, header)
    return path


def fixed(seed: int = 0) -> Recipe:
    """A training on the fixed loss, with a smaller network."""
    return load_recipe("edge_fixed", (f"seed={seed}", "network_options={ width = 8, depth = 1 }"))


def learned(seed: int) -> Recipe:
    """A training with a loss network on the pairs of ``street``."""
    small = ("task.network=yolo", 'task.network_options={ size = "p" }', "task.height=64", "task.width=96")
    changes = (*small, "network_options={ width = 8, depth = 1 }", "augmentation.crop=32")
    return load_recipe("edge_tdfusion", (f"seed={seed}", *changes))


def write_recipes(folder: Path, task: tuple[str, str]) -> tuple[Path, Path]:
    """Small recipes of F and of T on the pairs of ``street``.

    Args:
        folder: Where.
        task: As :data:`BOXES`.
    """
    network, labels = task
    sources = "".join(
        f'[[data]]\nfolder = "msrs"\npart = "{part}"\nnames = "{names}"\nterms = "made up"\n'
        f"labels = {labels}\n"
        for part, names in (("train", "split_train.txt"), ("validation", "split_val.txt"))
    )
    rest = f"[augmentation]\ncrop = 32\n[optimiser]\nsteps = 9\nbatch = 2\n{sources}"
    fusion, seen = folder / "f.toml", folder / "t.toml"
    fusion.write_text('name = "f"\nnetwork_options = { width = 8, depth = 1 }\n' + rest)
    seen.write_text(f'name = "t"\nstrategy = "task"\n[task]\n{network}\nheight = 64\nwidth = 96\n{rest}')
    return fusion, seen


def compare(folder: Path, street: Path, task: tuple[str, str], *options: str) -> tuple[int, Path]:
    """Exit code and output of a comparison with a few steps of small networks."""
    fusion, seen = write_recipes(folder, task)
    path = folder / "out" / "methods.json"
    given = ["--data", str(street), "--work", str(folder / "work"), "--device", "cpu", "--steps", "2"]
    given += ["--fusion", f"fixed={fusion}", "--fusion-set", "optimiser.steps=2", "--task", str(seen)]
    return script.main(METHODS, [*given, *options, "--output", str(path)]), path


def test_a_change_is_for_all_recipes_or_for_one() -> None:
    texts = ["optimiser.steps=2", "one:task.height=64", "two:a.path=c:d", "a.path=c:d"]
    assert changes_by_name("--set", texts, ("one", "two")) == {
        "one": ("optimiser.steps=2", "task.height=64", "a.path=c:d"),
        "two": ("optimiser.steps=2", "a.path=c:d", "a.path=c:d"),
    }
    with pytest.raises(RequestError, match="--set tow:a=1: expected KEY=VALUE or NAME:KEY=VALUE"):
        changes_by_name("--set", ["tow:a=1"], ("one", "two"))
    with pytest.raises(RequestError, match="--set a=1"):
        changes_by_name("--set", ["a=1"], ())


def test_pictures_of_a_published_network_come_from_their_folder(tmp_path: Path) -> None:
    (task,) = tasks_of(["msrs_segformer"], [], steps=3)
    run = run_of(task, "seafusion", 1, None, tmp_path, tmp_path / "work")
    recipe = load_recipe(run.recipe, run.changes)
    assert recipe.strategy_options["picture"] == "folder"
    assert recipe.strategy_options["folder"] == str(tmp_path / "msrs" / "peers" / "seafusion")
    assert (recipe.seed, recipe.optimiser.steps) == (1, 3)


def test_runs_of_several_tasks_lie_beside_each_other_by_the_names_that_they_are_given(tmp_path: Path) -> None:
    tasks = tasks_of(["msrs_segformer", "boxes=detector_yolox"], ["boxes:optimiser.batch=2"])
    runs = {task.name: run_of(task, "mean", 4, None, tmp_path, tmp_path) for task in tasks}
    assert {name: run.name for name, run in runs.items()} == {
        "msrs_segformer": "mean_4",
        "boxes": "boxes_mean_4",
    }
    batches = {name: load_recipe(run.recipe, run.changes).optimiser.batch for name, run in runs.items()}
    assert batches == {"msrs_segformer": 8, "boxes": 2}
    learned = fusion_runs({"a": "edge_fixed", "b": "edge_tdfusion"}, [0, 1], ["b:task.height=64"])
    assert [run.name for run in learned.values()] == [
        "fusion_a_0", "fusion_b_0", "fusion_a_1", "fusion_b_1",
    ]  # fmt: skip
    assert learned["fusion", "b", 1].changes == ("task.height=64", "seed=1")


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        (["edge_fixed"], "expected a recipe of strategy task, got fixed"),
        (["no_such"], "there is no recipe 'no_such'"),
        (["fusion=detector"], "each of another name"),
        (["detector", "detector"], "each of another name"),
        (["a b=detector"], "each of another name"),
    ],
)
def test_what_is_no_task_is_refused_before_anything_is_trained(tasks: list[str], complaint: str) -> None:
    with pytest.raises(RequestError if "no_such" not in tasks else InputMissing, match=complaint):
        tasks_of(tasks, [])


@pytest.mark.slow
def test_every_row_is_trained_alike_and_only_once(
    street: Path, tmp_path: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--rows", "infrared,fixed", "--seeds", "0,1"]
    code, path = compare(tmp_path, street, BOXES, *options)
    assert code == 0
    result = read(path)
    rows = {row.row: row for row in result.results.trainings}
    assert list(rows) == ["fusion, fixed", "t, infrared", "t, fixed"]
    pictures = rows.pop("fusion, fixed")
    for index, seed in enumerate(pictures.seeds):
        header, _ = checkpoint.read(tmp_path / "work" / f"fusion_fixed_{seed}" / LAST)
        assert {name: values[index] for name, values in pictures.values.items()} == header.metrics
    assert {"scd", "vif", "qabf", "ssim"} <= pictures.values.keys()
    for name, row in zip(("infrared", "fixed"), rows.values(), strict=True):
        assert (row.seeds, row.steps) == ((0, 1), 2)
        assert {"map50", "map", "map50 car"} <= row.values.keys()
        for index, seed in enumerate(row.seeds):
            header, _ = checkpoint.read(tmp_path / "work" / f"{name}_{seed}" / LAST)
            assert header.metrics["map50"] == row.values["map50"][index]
            assert header.settings["strategy_options"]["picture"] == ("fused" if name == "fixed" else name)
    assert result.metadata.facts["t: task network"] == "yolo, size p at 96x64"
    assert result.metadata.facts["fusion_fixed_1"].startswith(
        "f, strategy fixed, F edge {'width': 8, 'depth': 1}, 2 steps, 4 pairs of msrs, sha256 "
    )
    assert str(tmp_path) not in path.read_text()
    assert "mean +- sd of 2" in capsys.readouterr().out

    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*.safetensors")}
    assert compare(tmp_path, street, BOXES, *options)[0] == 0
    assert read(path).results == result.results
    assert times == {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*.safetensors")}
    said = capsys.readouterr().err
    assert "2 of 2 trainings are finished already" in said
    assert "4 of 4 trainings are finished already" in said
    assert compare(tmp_path, street, BOXES, *options, "--set", "optimiser.learning_rate=0.1")[0] == 2
    assert "optimiser.learning_rate (was " in capsys.readouterr().err
    fused_by = tmp_path / "work" / "fusion_fixed_1" / LAST
    header, weights = checkpoint.read(fused_by)
    checkpoint.write(fused_by, {name: 2 * weight for name, weight in weights.items()}, header)
    assert compare(tmp_path, street, BOXES, *options)[0] == 2
    said = capsys.readouterr().err
    assert "fixed_1 holds another training" in said
    assert "changes in sha256 of.fusion" in said


@pytest.mark.slow
def test_a_training_runs_as_a_child_and_a_failing_one_says_why(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--rows", "visible,fixed", "--seeds", "3", "--jobs", "1"]
    code, path = compare(tmp_path, street, BOXES, *options, "--set", "augmentation.crop=4096")
    assert code == 1
    said = capsys.readouterr().err
    assert "visible_3 ended with code 2" in said
    assert "is smaller than the crop: expected 4096x4096 or more" in said
    assert not path.exists()
    header, _ = checkpoint.read(tmp_path / "work" / "fusion_fixed_3" / LAST)
    assert (header.step, header.versions["torch threads"]) == (2, "1")


@pytest.mark.parametrize("option", [["--seeds", "0,0"], ["--seeds", "a"]])
def test_seeds_that_are_none_are_refused(option: list[str]) -> None:
    with pytest.raises(SystemExit):
        script.main(METHODS, option)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--rows", "fixed,other"], "--rows fixed,other: expected some of infrared,visible,"),
        (["--rows", "mean,mean"], "--rows mean,mean"),
        (["--fusion", "mean=edge_fixed"], "--fusion mean=: there is a row of that name already"),
        (["--fusion", "fixed=edge_fixed"], "there is a 'fixed' already"),
        (
            ["--fusion-set", "tdfusion:task.height=64"],
            "--fusion-set tdfusion:task.height=64: expected KEY=VALUE or NAME:KEY=VALUE, NAME of fixed",
        ),
    ],
)
def test_rows_that_name_nothing_are_refused(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    code, path = compare(tmp_path, street, BOXES, *options)
    assert code == 2
    assert complaint in capsys.readouterr().err
    assert not list((tmp_path / "work").glob("*"))
    assert not path.exists()


def test_nothing_to_train_is_an_error(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(street), "--output", str(tmp_path / "methods.json")]
    assert script.main(METHODS, options) == 2
    assert "there is nothing to train" in capsys.readouterr().err


def test_segmentation_asks_the_same_of_the_field(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Run] = []

    def run(runs: Sequence[Run], data: Path, work: Path, jobs: int, device: str) -> None:
        asked.extend(runs)

    monkeypatch.setattr(training_runs, "_run_children", run)
    options = ["--data", str(street), "--work", str(tmp_path), "--seeds", "7"]
    assert script.main(SEGMENTATION, [*options, "--output", str(tmp_path / "segmentation.json")]) == 1
    assert [(one.name, one.recipe) for one in asked] == [
        ("fusion_fixed_7", "cwfid_fixed"),
        ("fusion_tdfusion_7", "cwfid_tdfusion"),
    ]


def test_a_failure_ends_the_other_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = "import os, pathlib, sys, threading; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))"
    code = {"waits": f"{waits}; threading.Event().wait()", "fails": "raise SystemExit('no space')"}

    def command(run: Run, data: Path, work: Path, device: str) -> list[str]:
        return [sys.executable, "-c", code[run.name], str(work / run.name / "pid")]

    monkeypatch.setattr(training_runs, "_command", command)
    runs = [Run(name, "detector") for name in code]
    with pytest.raises(WorkError, match="training fails ended with code 1: got no space"):
        run_all(runs, tmp_path, tmp_path / "work", jobs=2)
    started = tmp_path / "work" / "waits" / "pid"
    assert not started.exists() or not psutil.pid_exists(int(started.read_text()))


def test_what_was_begun_is_gone_on_with(tmp_path: Path) -> None:
    run = Run("a", "detector", ("seed=1",))
    folder = tmp_path / "a"
    training_runs._begin(run, tmp_path)
    (folder / "log.jsonl").touch()
    training_runs._begin(run, tmp_path)
    assert [path.name for path in folder.iterdir()] == [training_runs.NOTE], "no state: from the beginning"
    assert "--resume" not in training_runs._command(run, tmp_path, tmp_path, "cpu")
    (folder / STATE).touch()
    training_runs._begin(run, tmp_path)
    assert "--resume" in training_runs._command(run, tmp_path, tmp_path, "cpu")
    assert training_runs.finished(run, tmp_path) is None
    (folder / training_runs.NOTE).unlink()
    with pytest.raises(RequestError, match="something else than a run"):
        training_runs.finished(run, tmp_path)


def _forget_option(path: Path, table: str, key: str) -> None:
    """Write a checkpoint again as by a version that did not know an option."""
    header, weights = checkpoint.read(path)
    del header.settings[table][key]
    checkpoint.write(path, weights, header)


def test_a_run_is_finished_by_its_last_step_with_the_same_settings_and_inputs(tmp_path: Path) -> None:
    network = write_checkpoint(tmp_path / "network.safetensors", fixed(0))
    small = ("seed=1", "network_options={ width = 8, depth = 1 }")
    run = Run("a", "edge_fixed", small, {"network": network})
    assert training_runs.finished(run, tmp_path) is None
    training_runs._begin(run, tmp_path)
    write_checkpoint(tmp_path / "a" / LAST, fixed(1), step=6)
    assert training_runs.finished(run, tmp_path) is None
    write_checkpoint(tmp_path / "a" / LAST, fixed(1))
    header = training_runs.finished(run, tmp_path)
    assert header is not None
    assert header.step == 7
    assert run_all([run], tmp_path, tmp_path) == {"a": header}
    _forget_option(tmp_path / "a" / LAST, "optimiser", "warm_up")
    assert training_runs.finished(run, tmp_path) is not None, "an option that is younger has its default"
    other = run._replace(changes=(*small, "optimiser.learning_rate=0.5"))
    with pytest.raises(RequestError, match=r"optimiser\.learning_rate \(was 0\.002, is 0\.5\)"):
        training_runs.finished(other, tmp_path)
    write_checkpoint(network, fixed(2))
    with pytest.raises(RequestError, match=r"a holds another training(?s:.*)changes in sha256 of\.network"):
        run_all([run], tmp_path, tmp_path)
    network.unlink()
    with pytest.raises(InputMissing, match="there is no network"):
        training_runs.finished(run, tmp_path)


@pytest.mark.slow
def test_masks_are_compared_behind_the_fusion_of_the_same_seed(
    street: Path, tmp_path: Path, in_process: None
) -> None:
    code, path = compare(tmp_path, street, MASKS, "--rows", "visible,fixed", "--seeds", "5")
    assert code == 0
    result = read(path)
    assert [row.row for row in result.results.trainings] == ["fusion, fixed", "t, visible", "t, fixed"]
    assert result.results.trainings[1].mean.keys() == {"miou", "iou ground", "iou thing"}
    header, _ = checkpoint.read(tmp_path / "work" / "fixed_5" / LAST)
    assert header.settings["strategy_options"]["checkpoint"].endswith("fusion_fixed_5/last.safetensors")
    assert result.metadata.facts["fusion_fixed_5"].startswith("f, strategy fixed, ")


class Follows(torch.nn.Module):  # type: ignore[misc]
    """A loss network that says what infrared shows."""

    def forward(self, infrared: Any, visible: Any) -> LossWeights:
        """w_ir = infrared."""
        return LossWeights(infrared, 1 - infrared)


def test_weights_are_means_over_the_pixels_of_a_region() -> None:
    infrared = np.full((40, 60), 51, np.uint8)
    infrared[10:20, 30:40] = 204  # 100 pixels
    infrared[10:15, 30:40] = 255
    boxes = Boxes(np.array([[30, 10, 40, 20]], np.float32), np.array([1]))
    night = LabelledPair("1N", infrared, infrared, boxes)
    day = LabelledPair("1D", np.full((40, 60), 102, np.uint8), infrared, Boxes.none())
    seen = Learned(Path(), None, Follows(), [night, day], ("person", "car"))  # type: ignore[arg-type]
    rows = {(row.time, row.region): row for row in rows_of(0, sums_of(seen))}
    assert rows.keys() == {
        *(("all", region) for region in ("car", "outside")),
        *(("night", region) for region in ("car", "outside")),
        ("day", "outside"),
    }
    car = rows["night", "car"]
    assert (car.pixels, car.mean, car.deviation) == (100, pytest.approx(0.9), pytest.approx(0.1))
    assert (car.over_half, car.over_outside) == (pytest.approx(0.4), pytest.approx(0.7))
    assert rows["night", "outside"].pixels == 2300
    assert rows["all", "outside"].mean == pytest.approx((2300 * 0.2 + 2400 * 0.4) / 4700, abs=1e-5)


@pytest.mark.slow
def test_loss_weights_reads_checkpoints_of_several_seeds(street: Path, tmp_path: Path) -> None:
    checkpoints = [
        write_checkpoint(tmp_path / f"{seed}.safetensors", learned(seed), head=head)
        for seed, head in ((0, 0.0), (4, 20.0))
    ]
    path, picture = tmp_path / "loss_weights.json", tmp_path / "new" / "weights.png"
    options = ["--data", str(street), "--output", str(path), "--picture", str(picture)]
    for one in checkpoints:
        options += ["--checkpoint", str(one)]
    assert script.main(LOSS_WEIGHTS, options) == 0
    results = read(path).results
    rows = {(row.seed, row.time, row.region): row for row in results.weights}
    assert {time for _, time, _ in rows} == {"day", "night", "all"}
    for (seed, _, _), row in rows.items():
        assert (row.mean, row.deviation, row.over_outside) == (0.5, 0, 0) or seed == 4
    assert rows[4, "night", "car"].deviation > 0.01
    assert rows[4, "night", "car"].over_outside != 0
    for row in results.trainings:
        time, region = row.row.split(", ")
        pair: list[Any] = [rows[seed, time, region] for seed in row.seeds]  # type: ignore[index]
        assert row.values["w_ir"] == tuple(one.mean for one in pair)
        assert row.values["over outside"] == tuple(one.over_outside for one in pair)
    assert len(results.trainings) == len(rows) / 2
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape[0] == 4 * (300 + 4)
    assert drawn.shape[1] == 4 * (400 + 4) + (96 + 4)
    assert script.main(LOSS_WEIGHTS, [*options, "--simulated"]) == 0
    simulated = cv2.imread(str(picture))
    assert simulated is not None
    assert simulated.shape == drawn.shape
    assert (simulated != drawn).mean() > 0.2


def test_loss_weights_wants_a_loss_network_and_different_seeds(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(street), "--output", str(tmp_path / "loss_weights.json")]
    without = write_checkpoint(tmp_path / "fixed.safetensors", fixed())
    assert script.main(LOSS_WEIGHTS, [*options, "--checkpoint", str(without)]) == 2
    assert "holds no loss network of this package: expected one of lpn, light" in capsys.readouterr().err
    one = write_checkpoint(tmp_path / "one.safetensors", learned(0))
    assert script.main(LOSS_WEIGHTS, [*options, "--checkpoint", str(one), "--checkpoint", str(one)]) == 2
    assert "expected different seeds" in capsys.readouterr().err


def test_a_trained_checkpoint_can_stand_for_the_networks(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "one.safetensors", learned(0))
    recipe = recipe_of(Setting(checkpoint=str(path), size=(128, 96), crop=48))
    assert recipe.network_options == {"width": 8, "depth": 1}
    assert recipe.task is not None
    assert (recipe.task.width, recipe.task.height, recipe.augmentation.crop) == (128, 96, 48)
    with pytest.raises(RequestError, match="has not the networks of a meta-step"):
        recipe_of(Setting(checkpoint=str(write_checkpoint(tmp_path / "two.safetensors", fixed()))))
