r"""The same detector, trained alike on every kind of picture: what does the detector gain by fusion?

  python -m benchmarks.training.task_comparison --work runs/comparison --start runs/start/last.safetensors \
      --fixed 'runs/fixed_{seed}/last.safetensors' --tdfusion 'runs/tdfusion_{seed}/last.safetensors'

A row is a kind of picture, and every row has a training with each seed. Detector, data, number of steps,
first weights and random numbers are the same in all rows. The scores are those of the last checkpoint, not
of the best: no training of the detector is chosen on the validation pairs.

What is finished already in --work is not trained again, so an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.schema import Results
from benchmarks.script import Benchmark, Measured, main
from benchmarks.training.options import add_training_arguments, task_facts
from benchmarks.training.runs import Run, change, commits, digests, run_all, table_of
from tdfusion_edge import checkpoint
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.train.recipe_file import load_recipe

RECIPE = "detector"
SENSORS = ("infrared", "visible", "mean")
PEERS = ("seafusion", "mmdrfuse")
OURS = ("fixed", "tdfusion")
ROWS = (*SENSORS, *PEERS, *OURS)
START = "start"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_training_arguments(parser, Path("runs") / "task_comparison", ROWS)
    parser.add_argument("--recipe", default=RECIPE, help=f"the detector's recipe (default: {RECIPE})")
    for row in OURS:
        parser.add_argument(
            f"--{row}", type=Path, metavar="PATTERN",
            help=f"fusion checkpoints of the row {row}, '{{seed}}' standing for the seed",
        )  # fmt: skip
    parser.add_argument(
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="weights that the detector of every row starts from (default: what the recipe says)",
    )


def measure(args: argparse.Namespace) -> Measured:
    """Train what is not trained yet, and read the scores."""
    if not args.data.is_dir():
        raise InputMissing(f"there is no data folder {args.data}")
    seeds = [int(seed) for seed in args.seeds]
    facts = dict(start_facts(start_of(args)))
    for row in OURS:
        if row in args.rows:
            facts |= fusion_facts(row, pattern_of(args, row), seeds)
    table = {(row, seed): run_of(row, seed, args) for row in args.rows for seed in seeds}
    runs = list(table.values())
    headers = run_all(runs, args.data, args.work, jobs=args.jobs, device=args.device)
    rows = [table_of(row, seeds, [headers[table[row, seed].name] for seed in seeds]) for row in args.rows]
    facts |= task_facts(headers[runs[0].name])
    facts["commits of the trainings"] = commits(runs, args.work)
    return Measured(Results(trainings=tuple(rows)), facts)


def run_of(row: str, seed: int, args: argparse.Namespace) -> Run:
    """The training of one row with one seed."""
    changes = [*args.set, f"seed={seed}"]
    if args.steps is not None:
        changes.append(f"optimiser.steps={args.steps}")
    inputs: dict[str, Path] = {}
    start = start_of(args)
    if start is not None:
        inputs[START] = start
        changes.append(change("task.start", start))
    if row in PEERS:
        changes.append(change("strategy_options.folder", args.data / "msrs" / "peers" / row))
    if row in OURS:
        inputs[row] = for_seed(pattern_of(args, row), seed)
        changes.append(change("strategy_options.checkpoint", inputs[row]))
    kind = row if row in SENSORS else "folder" if row in PEERS else "fused"
    changes.append(f"strategy_options.picture={kind}")
    return Run(f"{row}_{seed}", args.recipe, tuple(changes), inputs)


def start_of(args: argparse.Namespace) -> Path | None:
    """What every detector starts from: ``--start``, or what the recipe says.

    Raises:
        ConfigError: the recipe is not one for a task network.
    """
    recipe = load_recipe(args.recipe, args.set)
    if recipe.task is None:
        raise ConfigError(f"recipe '{recipe.name}' has no [task]")
    named = recipe.task.start if args.start is None else args.start
    return None if named is None else Path(named)


def pattern_of(args: argparse.Namespace, row: str) -> Path:
    """The option of a row with a network of ours.

    Raises:
        RequestError: it is not given.
    """
    pattern: Path | None = getattr(args, row)
    if pattern is None:
        raise RequestError(
            f"the row {row} needs fusion checkpoints",
            expected=f"--{row} 'runs/{row}_{{seed}}/last.safetensors'",
            hint="Train them first (tdfusion-edge train RECIPE --set seed=K), or choose other --rows.",
        )
    return pattern


def for_seed(pattern: Path, seed: int) -> Path:
    """The checkpoint that a pattern names for a seed."""
    return Path(str(pattern).replace("{seed}", str(seed)))


def fusion_facts(row: str, pattern: Path, seeds: Sequence[int]) -> dict[str, str]:
    """Digest, recipe and steps of a row's fusion checkpoints.

    Raises:
        InputMissing: one is not there.
        RequestError: one was trained with another strategy or seed, or is not at its last step.
    """
    facts = {}
    for seed in seeds:
        path = for_seed(pattern, seed)
        header, _ = checkpoint.read(path)
        expected = f"strategy {row}, seed {seed}, step {header.steps} of {header.steps}"
        got = f"strategy {header.strategy}, seed {header.seed}, step {header.step} of {header.steps}"
        if got != expected:
            raise RequestError(f"{path} does not belong into the row {row}", expected=expected, got=got)
        digest = digests({row: path})[row]
        facts[f"{row} {seed}"] = f"{header.recipe}, {header.step} steps, sha256 {digest}"
    return facts


def start_facts(start: Path | None) -> Iterator[tuple[str, str]]:
    """What every detector starts from."""
    if start is None:
        yield START, "fresh weights, of the seed"
        return
    header, _ = checkpoint.read(start)
    digest = digests({START: start})[START]
    yield START, f"{header.recipe}, seed {header.seed}, {header.step} steps, sha256 {digest}"


BENCHMARK = Benchmark("training.task_comparison", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
