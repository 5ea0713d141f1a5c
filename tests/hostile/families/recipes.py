"""Recipes: every number of one, and what else a TOML file can be, through ``train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hostile.case import Case, Run, Wrong, cases
from hostile.families import rigs
from hostile.families.rigs import some
from hostile.made.commands import picture_folder

RECIPE = """
name = "bad"
network = "edge"
strategy = "fixed"
validate_every = 1

[augmentation]
crop = 32

[optimiser]
steps = 1
batch = 1

[[data]]
folder = "."
terms = "made up"

[[data]]
folder = "."
part = "validation"
terms = "made up"
"""


def train(content: str | bytes, *more: str) -> Callable[[Path], Sequence[object]]:
    """A maker of ``train`` with such a recipe, on two small pairs."""

    def make(folder: Path) -> list[str]:
        for what in ("infrared", "visible"):
            picture_folder(folder, what, 2)
        (folder / "recipe.toml").write_bytes(content.encode() if isinstance(content, str) else content)
        return ["train", "recipe.toml", "--data", ".", "-o", "out", *more]

    return make


def is_trained(folder: Path, run: Run) -> None:
    """There is a checkpoint."""
    if not (folder / "out" / "last.safetensors").is_file():
        raise Wrong("no checkpoint was written")


TOP, AUGMENTATION, OPTIMISER, DATA, LOSS = "", "[augmentation]", "[optimiser]", "[[data]]", "[loss]"
NUMBERS = {
    "seed": TOP, "validate_every": TOP, "crop": AUGMENTATION, "gain": AUGMENTATION, "zoom": AUGMENTATION,
    "mosaic": AUGMENTATION, "degraded": AUGMENTATION, "steps": OPTIMISER, "batch": OPTIMISER, "learning_rate": OPTIMISER,
    "warm_up": OPTIMISER, "alpha": LOSS, "every": DATA, "without_every": DATA,
}  # fmt: skip
NONE = ("nan", "inf", '"text"', "true", "1e400")
EXTREME = ("-1", "0", "1e300", "1e-300", "9223372036854775808")
WHOLE = ("seed", "validate_every", "crop", "steps", "batch", "every", "without_every")
NEVER = {("batch", "9223372036854775808"), ("steps", "0"), ("batch", "0"), ("learning_rate", "0"), ("validate_every", "0"), ("every", "0"), ("zoom", "0"),
         ("zoom", "0.5"), ("gain", "1e300"), ("mosaic", "1e300"), ("degraded", "1e300"), ("warm_up", "1e300")}  # fmt: skip


def changed(key: str, value: str) -> str:
    """The recipe with another value of one key."""
    lines = [line for line in RECIPE.splitlines() if not line.startswith(f"{key} = ")]
    table = NUMBERS[key]
    if table not in lines:
        return "\n".join([*lines, table, f"{key} = {value}"])
    at = lines.index(table) + 1 if table else 1
    return "\n".join([*lines[:at], f"{key} = {value}", *lines[at:]])


def number(key: str, value: str) -> Case:
    """One number of a recipe that is another."""
    never = value in (*NONE, "-1") or (key, value) in NEVER or (key in WHOLE and value in ("1e300", "1e-300"))
    wanted: Any = ("error",) if never else ("right", "error")
    return Case(
        f"{key} = {value}",
        train(changed(key, value)),
        wanted,
        says=r"\w+",
        check=is_trained,
        limit=60,
        leaves=("out*",),
    )


VALUES = [
    number(key, value)
    for index, key in enumerate(NUMBERS)
    for value in (*some(index, NONE, 2), *EXTREME)
    if (key, value) != ("steps", "9223372036854775808")  # that is asked for in earnest
]

CONTENTS: dict[str, str | bytes] = {
    "empty": "",
    "binary": bytes(range(256)) * 9,
    "UTF-16": RECIPE.encode("utf-16"),
    "NUL": RECIPE + "\0",
    "a key twice": RECIPE + "\nterms = 1\nterms = 2\n",
    "an unknown key": RECIPE.replace("crop", "corp"),
    "a key of escape codes": RECIPE + '\n["\\u001b[31m\\u202e"]\n',
    "a key of 50,000 parts": RECIPE + "a" + ".a" * 50_000 + " = 1\n",
    "a list of 100,000 levels": "a = " + "[" * 100_000,
    "a name with ../": RECIPE.replace('"bad"', '"../bad"'),
    "a name of escape codes": RECIPE.replace('"bad"', '"\\u001b[31m"'),
    "a network that is none": RECIPE.replace('"edge"', '"egde"'),
    "a network that is a file": RECIPE.replace('"edge"', '"/etc/passwd"'),
    "a network of a module that is none": RECIPE.replace('"edge"', '"nowhere:Net"'),
    "a network that is no network": RECIPE.replace('"edge"', '"os:system"'),
    "a strategy that is none": RECIPE.replace('"fixed"', '"fix"'),
    **{
        f"a stride of {value}": RECIPE.replace('"edge"', f'"edge"\nnetwork_options = {{ stride = {value} }}')
        for value in ("0", "3", "-2", "2.0", "nan", '"2"', "[2]", "9223372036854775807")
    },
    "a student without a teacher": RECIPE.replace('"fixed"', '"distill"'),
    **{
        f"a teacher of {strategy} that is {what}": RECIPE.replace('"fixed"', f'"{strategy}"')
        + f'\n[strategy_options]\nteacher = "{path}"\n'
        + '[task]\nnetwork = "yolo"\nclasses = ["a"]\nheight = 32\nwidth = 32\n'
        for strategy in ("distill", "distill-task")
        for what, path in {
            "not there": "gone",
            "a folder": ".",
            "a recipe": "recipe.toml",
            "a device": "/dev/zero",
        }.items()
    },
    "no data": RECIPE[: RECIPE.index("[[data]]")],
    "no validation": RECIPE[: RECIPE.rindex("[[data]]")],
    "a folder that is not there": RECIPE.replace('folder = "."', 'folder = "gone"'),
    "a list that is not there": RECIPE + 'names = "gone.txt"\n',
    "a task without labels": RECIPE
    + '\n[task]\nnetwork = "yolo"\nclasses = ["a"]\nheight = 64\nwidth = 64\n',
    "data that is text": RECIPE[: RECIPE.index("[[data]]")].replace("network", 'data = "all"\nnetwork', 1),
    "a preset that is none": 'preset = "papers"\n' + RECIPE,
    "no degradation": RECIPE.replace("crop = 32", "crop = 32\ndegraded = 0.5\ndegradations = []"),
    "a degradation that is none": RECIPE.replace("crop = 32", 'crop = 32\ndegradations = ["fog"]'),
    "a crop larger than the pictures": RECIPE.replace("crop = 32", "crop = 4096"),
}
DAMAGED = [
    Case(f"recipe: {what}", train(content), says=r"recipe|toml|gone|strategy|network|task|crop|validation|labels|degradations|stride|teacher|checkpoint")
    for what, content in CONTENTS.items()
] + [Case("recipe: plain", train(RECIPE), ("right",), check=is_trained)]  # fmt: skip

SEER = (
    RECIPE.replace('"fixed"', '"task"')
    + """
[strategy_options]
picture = "mean"

[task]
network = "yolox"
classes = ["a"]
height = 32
width = 32
"""
)
SHARES = [
    Case(f"recipe: of infrared {value} beside the picture", train(SEER + f"[task.network_options]\ninfrared = {value}\n"), says="expected a (share|finite number)")
    for value in ("-0.1", "1", "nan", "inf", "1e400", "true", '"half"', "[0.5]", "9223372036854775808")
]  # fmt: skip

SETTINGS = [
    Case(f"train --set {words}", train(RECIPE, "--set", text), says=r"\S")
    for words, text in {
        "of nothing": "", "without a value": "seed", "an unknown key": "sead=1", "nan": "optimiser.learning_rate=nan", "text": "seed=one",
        "escape codes": "\x1b[31m=1", "a line break": "seed=1\nsteps=2", "100,000 parts": ".".join("a" * 100_000) + "=1",
        "a table over a number": "seed.a=1", "a deep list": "seed=" + "[" * 100_000,
    }.items()
] + [
    Case("train on a device that is none", train(RECIPE, "--device", "cuda:99"), says="device"),
    Case("train on a device of escape codes", train(RECIPE, "--device", "\x1b[31m"), says="device"),
    Case("train --resume of nothing", train(RECIPE, "--resume"), says="resume|no training|out"),
    Case("train without the data folder", lambda folder: [*train(RECIPE)(folder)[:3], "gone"], says="gone"),
    Case("train a recipe that is not there", lambda folder: ["train", "gone.toml", "--data", "."], says="gone"),
]  # fmt: skip


def special(make: Callable[[Path], object]) -> Callable[[Path], Sequence[object]]:
    """A maker of ``train`` whose recipe is no plain file."""

    def made(folder: Path) -> list[str]:
        make(folder / "recipe.toml")
        return ["train", "recipe.toml", "--data", ".", "-o", "out"]

    return made


def _resumed(content: bytes) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> list[object]:
        arguments = [*train(RECIPE, "--resume")(folder)]
        (folder / "out").mkdir()
        for name in ("last.safetensors", "state.safetensors", "state.pt"):
            (folder / "out" / name).write_bytes(content)
        return arguments

    return make


KINDS = {what: make for what, make in rigs.KINDS.items() if what != "not there"}
PLACES = [Case(f"recipe that is {what}", special(make), says="recipe") for what, make in KINDS.items()] + [
    Case("train --resume of a state that is text", _resumed(b"no state at all"), says="out|resume"),
    Case("train --resume of a state of zeros", _resumed(bytes(1000)), says="out|resume"),
]

CASES = cases(VALUES, DAMAGED, SHARES, SETTINGS, PLACES)
