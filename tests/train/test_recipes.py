"""Recipes: what ships loads and trains, presets lie under them, ``--set`` over them, mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import save
from msgspec import structs
from tiny import BOXES, CLASSES, MASKS, sources, trained

from tdfusion_edge import checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.config import parse
from tdfusion_edge.errors import ConfigError, InputMissing
from tdfusion_edge.train.models.yolox.network import YOLOX
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.recipe_file import find_recipe, load_recipe, merged
from tdfusion_edge.train.strategies import build_strategy

ROOT = Path(__file__).resolve().parent.parent.parent / "train"
SHIPPED = sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_says_what_it_must(name: str) -> None:
    shipped = load_recipe(name)
    assert shipped.name == name
    assert find_recipe(name).name == f"{name}.toml"
    assert {source.part for source in shipped.data} - {"meta-test"} == {"train", "validation"}
    assert all(source.terms for source in shipped.data)
    assert shipped.limits


def small(recipe: Recipe, fusion: Path) -> Recipe:
    """A shipped recipe on the made-up pairs, at their size."""
    options = dict(recipe.strategy_options)
    changes: dict[str, Any] = {"data": sources()}
    if recipe.task is not None:
        masked = recipe.task.network in ("segformer", "yolox_masks")
        classes = CLASSES if masked else CLASSES[1:]
        of_classes = ("class_weights", "pretrained", "coco")
        own = {key: value for key, value in recipe.task.network_options.items() if key not in of_classes}
        changes["task"] = structs.replace(
            recipe.task, network_options=own, classes=classes, height=32, width=32, start=None
        )
        changes["data"] = sources(MASKS if masked else BOXES)
    if recipe.strategy in ("task", "distill-task") and options.get("picture", "fused") == "fused":
        options["checkpoint"] = str(fusion)
    if recipe.strategy == "distill":
        options["teacher"] = str(fusion)
    if recipe.strategy == "distill-task":
        options["teacher"] = str(fusion.parent / "detector.safetensors")
    if recipe.strategy == "tdfusion":
        options |= {"meta_steps": 1, "fusion_steps": 1}
    if recipe.strategy == "bdlfusion":
        options |= {"upper_every": 1, "warm_up": 1}
    crop = min(recipe.augmentation.crop, 32)
    return structs.replace(
        recipe,
        **changes,
        strategy_options=options,
        augmentation=structs.replace(recipe.augmentation, crop=crop),
        optimiser=structs.replace(recipe.optimiser, steps=2, batch=2),
    )


@pytest.fixture(scope="module")
def fusion(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a fusion network, beside one with what the recipe ``detector`` makes."""
    recipe = structs.replace(
        small(load_recipe("edge_fixed"), Path()), network_options={"width": 4, "depth": 1}
    )
    folder = tmp_path_factory.mktemp("fusion")
    task = small(load_recipe("detector"), Path()).task
    assert task is not None
    options = {**task.network_options, "size": "pico"}
    view = checkpoint.TaskView(classes=CLASSES[1:], height=32, width=32)
    save(folder / "detector.safetensors", {"task": (YOLOX(1, **options), "yolox", options)}, task=view)
    return trained(recipe, made, folder, steps=1)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_trains(name: str, fusion: Path, made: Path, tmp_path: Path) -> None:
    best = trained(small(load_recipe(name), fusion), made, tmp_path / "run")
    header, weights = checkpoint.read(best)
    assert header.recipe == name
    assert {key.split(".")[0] for key in weights} == set(header.networks)


def with_preset(name: str, folder: Path) -> Path:
    """A recipe that says little beside its preset."""
    path = folder / "r.toml"
    path.write_text(
        f'preset = "{name}"\nname = "mine"\n[optimiser]\nsteps = 7\nbatch = 3\n'
        '[task]\nnetwork = "yolo"\nclasses = ["a"]\nheight = 64\nwidth = 64\n'
        '[[data]]\nfolder = "."\nterms = "x"\n'
    )
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_takes_from_its_preset_what_it_does_not_say(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(str(with_preset(name, tmp_path)))
    strategy = "bdlfusion" if name.startswith("bdlfusion-") else "tdfusion"
    assert recipe.strategy == strategy
    assert recipe.optimiser.steps == 7
    assert recipe.optimiser.batch == 3
    assert recipe.optimiser.learning_rate == {"tdfusion": 1e-4, "bdlfusion": 2e-4}[strategy]
    assert recipe.loss.intensity == ("squared" if name == "released-code" else "linear")
    assert set(build_strategy(recipe).named) >= {"fusion", "task"}


@pytest.mark.parametrize("name", ["paper", "released-code"])
def test_the_options_of_what_is_replaced_go_with_it(name: str, tmp_path: Path) -> None:
    path = str(with_preset(name, tmp_path))
    other = load_recipe(path, ["strategy_options.loss_network=light", "network=edge"])
    assert "loss_network_options" not in other.strategy_options  # they were the other network's
    assert other.strategy_options["meta_steps"] == 200
    assert load_recipe(path, ["strategy=fixed"]).strategy_options == {}


def test_what_is_changed_on_the_command_line() -> None:
    changed = load_recipe(
        "edge_fixed",
        [
            "seed=7",
            "optimiser.batch=4",
            "optimiser.learning_rate=1e-3",
            "network=mine:Fusion",
            "network_options.width=8",
            "augmentation.flip=false",
            'limits=["a = b"]',
            "name='x'",
        ],
    )
    assert changed.seed == 7
    assert (changed.optimiser.batch, changed.optimiser.learning_rate) == (4, 1e-3)
    assert changed.optimiser.steps == load_recipe("edge_fixed").optimiser.steps
    assert (changed.network, changed.network_options) == ("mine:Fusion", {"width": 8})
    assert not changed.augmentation.flip
    assert (changed.limits, changed.name) == (("a = b",), "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("a..b=3", "KEY=VALUE"),
        ("optimiser.bach=4", r"unknown key 'bach' in \[optimiser\](?s:.*)'batch'"),
        ("optimiser.batch=many", "optimiser.batch"),
        ("optimiser.batch=0", "optimiser.batch"),
        ("optimiser=3", "optimiser"),
        ("optimiser.learning_rate=inf", "finite"),
        ("preset=papr", "one of bdlfusion-paper, bdlfusion-released-code, paper, released-code"),
        ("seed=1\nname='y'", "seed"),
    ],
)
def test_a_change_that_cannot_be_is_refused(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("edge_fixed", [change])


def test_laying_tables_over_tables() -> None:
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 3, "n": "one", "n_options": {"k": 1}}
    assert merged(below, {"a": {"y": [3]}, "c": 4}) == {**below, "a": {"x": 1, "y": [3]}, "c": 4}
    assert merged(below, {"n": "two"})["n"] == "two"
    assert "n_options" not in merged(below, {"n": "two"})
    assert merged(below, {"n": "two", "n_options": {"m": 2}})["n_options"] == {"m": 2}
    assert merged(below, {"n": "one", "n_options": {"m": 2}})["n_options"] == {"k": 1, "m": 2}


def test_a_misspelt_key_is_named() -> None:
    text = b'name="x"\nnetwork="edge"\n[loss]\nalhpa=1.0\n[optimiser]\nsteps=1\n'
    with pytest.raises(ConfigError, match=r"unknown key 'alhpa' in \[loss\](?s:.*)'alpha'"):
        parse(text, Recipe, name="recipe.toml", toml=True)


def test_a_recipe_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="edge_fixed"):
        load_recipe("edge_fxed")
    (tmp_path / "r.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_recipe(str(tmp_path / "r.toml"))


def test_the_command_says_it_with_exit_code_two(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "edge_fixed", "--data", str(made), "--set", "optimiser.bach=4"]) == 2
    assert "Did you mean 'batch'?" in capsys.readouterr().err


def test_the_small_detector_is_shown_what_its_teacher_sees() -> None:
    """Otherwise the distillation of one shipped recipe's checkpoint by the other would be refused."""
    teacher, student = (load_recipe(name).task for name in ("detector", "detector_pico"))
    assert teacher is not None
    assert student is not None
    for option in ("colour", "infrared"):
        assert student.network_options[option] == teacher.network_options[option]
    assert (student.classes, student.width, student.height) == (
        teacher.classes, teacher.width, teacher.height,
    )  # fmt: skip
