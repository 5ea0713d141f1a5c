r"""What is each way to train a fusion network worth: as a picture, and to the task networks that look at it?

  python -m benchmarks.training.methods --work runs/methods \
      --fusion fixed=edge_fixed --fusion tdfusion=edge_tdfusion \
      --fusion-set tdfusion:task.network_options.pretrained=yolox_nano.onnx \
      --task msrs_segformer --task boxes=detector_yolox \
      --set boxes:task.network_options.pretrained=yolox_nano.onnx \
      --rows infrared,visible,mean,fixed,tdfusion,seafusion

For every seed each --fusion is trained by its recipe, and then each --task on the pictures of every row: of
these networks, of published ones (on MSRS), and on what needs no network. The scores are those of the last
checkpoints: nothing is chosen on the validation pairs. What is finished in --work is not trained again, so
that rows, tasks and seeds can be added.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from benchmarks.rows import Trained
from benchmarks.schema import Results
from benchmarks.script import Benchmark, Measured, main, parse_count
from benchmarks.training.cross_validation.looks import peers_of
from benchmarks.training.cross_validation.plan import PEERS
from benchmarks.training.options import (
    add_training_arguments,
    changes_by_name,
    chosen_rows,
    named,
    task_facts,
)
from benchmarks.training.runs import Run, change, commits, digests, run_all, table_of
from tdfusion_edge.checkpoint import Header
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.export.model_card import fusion_metrics, without_folders
from tdfusion_edge.train.recipe_file import load_recipe
from tdfusion_edge.train.state import LAST

Key: TypeAlias = tuple[str, str, int]
"""What was trained (:data:`FUSION` or a task's name), the row and the seed."""

PLAIN = ("infrared", "visible", "mean", "additive", "maximum")
"""Rows that need no network, as the strategy ``task`` calls them."""
FUSION = "fusion"
"""What stands for the task in the names of the fusion networks' own trainings."""


class Task(NamedTuple):
    """A task network that is trained on the pictures of every row."""

    name: str
    """In the result's rows and in ``--set``."""
    recipe: str
    prefix: str
    """Of its runs' folders: nothing, or its name where the command line gives one."""
    changes: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--fusion", action="append", default=[], metavar="NAME=RECIPE",
        help="a row of a fusion network: how it is trained; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--fusion-set", action="append", default=[], metavar="[NAME:]KEY=VALUE",
        help="change the recipes of the fusion networks, or that of one",
    )  # fmt: skip
    parser.add_argument(
        "--task", action="append", default=[], metavar="[NAME=]RECIPE",
        help="a task network that is trained on the pictures of every row; with a NAME its runs' folders "
        "begin with it, so that several tasks have room in one --work (default: none, pictures alone)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="[NAME:]KEY=VALUE",
        help="change the tasks' recipes in every row, or that of one task",
    )  # fmt: skip
    parser.add_argument("--steps", type=parse_count, metavar="N", help="steps instead of the tasks' recipes'")
    parser.add_argument(
        "--rows", metavar="ROW,ROW",
        help=f"some of --fusion's names and {','.join((*PLAIN, *PEERS))} (default: --fusion's)",
    )  # fmt: skip
    add_training_arguments(parser, Path("runs") / "methods")


def measure(args: argparse.Namespace) -> Measured:
    """Train what is not trained yet, the fusion networks first, and read the scores."""
    if not args.data.is_dir():
        raise InputMissing(f"there is no data folder {args.data}")
    recipes = named(args.fusion, "--fusion", "RECIPE")
    rows = chosen_rows("--rows", args.rows, (*PLAIN, *PEERS), recipes, default=recipes)
    seeds = [int(seed) for seed in args.seeds]
    tasks = tasks_of(args.task, args.set, args.steps)
    fusions = fusion_runs(recipes, seeds, args.fusion_set)
    fusions = {key: run for key, run in fusions.items() if key[1] in rows}
    if not (fusions or (tasks and rows)):
        raise RequestError("there is nothing to train", expected="--fusion NAME=RECIPE or --task RECIPE")
    # The seeds first: after the first of them every row can be compared.
    looks = {
        (task.name, row, seed): run_of(
            task, row, seed, fusions.get((FUSION, row, seed)), args.data, args.work
        )
        for seed, task, row in product(seeds, tasks, rows)
    }
    headers = _trained(fusions, args) | _trained(looks, args)
    facts = {run.name: _fact(run, headers[key], args.work) for key, run in fusions.items()}
    for task in tasks:
        of_task = task_facts(headers[task.name, rows[0], seeds[0]])
        facts |= {f"{task.name}: {fact}": text for fact, text in of_task}
    facts["commits of the trainings"] = commits([*fusions.values(), *looks.values()], args.work)
    return Measured(Results(trainings=tuple(trainings_of(headers, seeds))), facts)


def fusion_runs(recipes: Mapping[str, str], seeds: Sequence[int], texts: Sequence[str]) -> dict[Key, Run]:
    """The trainings of all fusion networks.

    Args:
        recipes: By row.
        seeds: Of each.
        texts: ``--fusion-set``.

    Raises:
        RequestError: a change is for none of them.
    """
    changes = changes_by_name("--fusion-set", texts, tuple(recipes))
    return {
        (FUSION, row, seed): Run(f"{FUSION}_{row}_{seed}", recipe, (*changes[row], f"seed={seed}"))
        for seed, (row, recipe) in product(seeds, recipes.items())
    }


def tasks_of(recipes: Sequence[str], texts: Sequence[str], steps: int | None = None) -> tuple[Task, ...]:
    """The tasks of a command line.

    Args:
        recipes: ``--task``.
        texts: ``--set``.
        steps: Instead of the recipes'.

    Raises:
        InputMissing: there is no such recipe.
        ConfigError: a recipe does not take the changes.
        RequestError: it is not the strategy ``task``'s, a name is no name or there twice, or a change is for
            none of them.
    """
    tasks: list[Task] = []
    for text in recipes:
        name, equals, recipe = text.rpartition("=")
        task = Task(name or Path(recipe).stem, recipe, f"{name}_" if equals else "", ())
        if not task.name.isidentifier() or task.name in (FUSION, *(other.name for other in tasks)):
            raise RequestError(
                f"--task {text}", expected="--task RECIPE or NAME=RECIPE, each of another name"
            )
        tasks.append(task)
    changes = changes_by_name("--set", texts, [task.name for task in tasks])
    shorter = () if steps is None else (f"optimiser.steps={steps}",)
    tasks = [task._replace(changes=(*changes[task.name], *shorter)) for task in tasks]
    for task in tasks:
        # Before hours of the fusion networks' trainings.
        strategy = load_recipe(task.recipe, task.changes).strategy
        if strategy != "task":
            raise RequestError(f"--task {task.recipe}", expected="a recipe of strategy task", got=strategy)
    return tuple(tasks)


def run_of(task: Task, row: str, seed: int, fusion: Run | None, data: Path, work: Path) -> Run:
    """The training of a task for one row with one seed, on the pictures of ``fusion`` where there is one.

    Those of a published network are there for MSRS alone.
    """
    changes = [*task.changes, f"seed={seed}"]
    inputs: dict[str, Path] = {}
    if fusion is not None:
        inputs["fusion"] = work / fusion.name / LAST
        changes.append(change("strategy_options.checkpoint", inputs["fusion"]))
    if row in PEERS:
        changes.append(change("strategy_options.folder", peers_of(data, row)))
    kind = "fused" if fusion is not None else "folder" if row in PEERS else row
    changes.append(f"strategy_options.picture={kind}")
    return Run(f"{task.prefix}{row}_{seed}", task.recipe, tuple(changes), inputs)


def trainings_of(headers: Mapping[Key, Header], seeds: Sequence[int]) -> Iterator[Trained]:
    """A row for each fusion network, of its fusion metrics, and one for each task on each row's pictures."""
    for what, row in dict.fromkeys((what, row) for what, row, _ in headers):
        found = [headers[what, row, seed] for seed in seeds]
        if what == FUSION:  # a T that taught it has scores as well, which say little of a T that did not
            found = [replace(header, metrics=fusion_metrics(header)) for header in found]
        yield table_of(f"{what}, {row}", seeds, found)


def _trained(runs: Mapping[Key, Run], args: argparse.Namespace) -> dict[Key, Header]:
    headers = run_all(list(runs.values()), args.data, args.work, jobs=args.jobs, device=args.device)
    return {key: headers[run.name] for key, run in runs.items()}


def _fact(run: Run, header: Header, work: Path) -> str:
    """How a fusion network was trained, and its digest."""
    network = header.networks["fusion"]
    options = f" {without_folders(network.options)}" if network.options else ""
    pairs = ", ".join(f"{data.pairs} pairs of {data.name}" for data in header.training_data)
    digest = digests({"fusion": work / run.name / LAST})["fusion"]
    return (
        f"{header.recipe}, strategy {header.strategy}, F {network.name}{options}, {header.steps} steps, "
        f"{pairs}, sha256 {digest}"
    )


BENCHMARK = Benchmark("training.methods", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
