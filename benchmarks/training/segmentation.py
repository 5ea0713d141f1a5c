r"""What is a fused picture worth to a segmentation network?

  python -m benchmarks.training.segmentation --work runs/segmentation --jobs 2
  python -m benchmarks.training.segmentation --work runs/msrs --segformer msrs_segformer \
      --fixed edge_fixed --tdfusion edge_tdfusion \
      --fusion-set tdfusion:task.network_options.pretrained=yolox_nano.onnx \
      --rows infrared,visible,mean,additive,maximum,fixed,tdfusion,seafusion,mmdrfuse

SegFormer on near-infrared and red pictures of a field (CWFID), which is the default, or on the nine classes
of MSRS. For every seed a fusion network is trained by each of the two recipes, the learned and the fixed
loss, and then a SegFormer on the pictures of each, and on what needs no network. The scores are those of the
last checkpoints: nothing is chosen on the validation pairs. What is finished in --work is not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.schema import Results
from benchmarks.script import Benchmark, Measured, main
from benchmarks.training.cross_validation.looks import peers_of
from benchmarks.training.cross_validation.plan import PEERS
from benchmarks.training.options import add_training_arguments, task_facts
from benchmarks.training.runs import Run, change, commits, digests, run_all, table_of
from tdfusion_edge.errors import InputMissing
from tdfusion_edge.train.state import LAST

PLAIN = ("infrared", "visible", "mean", "additive", "maximum")
OURS = ("fixed", "tdfusion")
ROWS = (*PLAIN, *OURS, *PEERS)
DEFAULT = ("infrared", "visible", "mean", *OURS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_training_arguments(parser, Path("runs") / "segmentation", ROWS, default=DEFAULT)
    parser.add_argument("--segformer", default="cwfid_segformer", metavar="RECIPE", help="T's recipe")
    for row in OURS:
        parser.add_argument(
            f"--{row}", default=f"cwfid_{row}", metavar="RECIPE", help=f"recipe of the fusion of row {row}"
        )
    parser.add_argument(
        "--fusion-set", action="append", default=[], metavar="[ROW:]KEY=VALUE",
        help="change the fusions' recipes, or that of one row",
    )  # fmt: skip


def measure(args: argparse.Namespace) -> Measured:
    """Train what is not trained yet, the fusion networks first, and read the scores."""
    if not args.data.is_dir():
        raise InputMissing(f"there is no data folder {args.data}")
    seeds = [int(seed) for seed in args.seeds]
    fusions = {
        (row, seed): Run(f"fusion_{row}_{seed}", getattr(args, row), (*changes_of(row, args), f"seed={seed}"))
        for row in args.rows
        if row in OURS
        for seed in seeds
    }
    runs = list(fusions.values())
    before = run_all(runs, args.data, args.work, jobs=args.jobs, device=args.device)
    facts = {}
    for (row, seed), run in fusions.items():
        header = before[run.name]
        digest = digests({row: last_of(run, args.work)})[row]
        facts[f"{row} {seed}"] = f"{header.recipe}, {header.step} steps, sha256 {digest}"
    table = {
        (row, seed): run_of(row, seed, fusions.get((row, seed)), args) for row in args.rows for seed in seeds
    }
    runs += table.values()
    headers = run_all(list(table.values()), args.data, args.work, jobs=args.jobs, device=args.device)
    rows = [table_of(row, seeds, [headers[table[row, seed].name] for seed in seeds]) for row in args.rows]
    facts |= task_facts(next(iter(headers.values())))
    facts["commits of the trainings"] = commits(runs, args.work)
    return Measured(Results(trainings=tuple(rows)), facts)


def changes_of(row: str, args: argparse.Namespace) -> list[str]:
    """What ``--fusion-set`` says for one row."""
    rows = [text.partition(":") for text in args.fusion_set]
    return [
        change if name == row else f"{name}{colon}{change}"
        for name, colon, change in rows
        if name == row or name not in OURS
    ]


def run_of(row: str, seed: int, fusion: Run | None, args: argparse.Namespace) -> Run:
    """The training of T for one row with one seed, on the pictures of ``fusion`` where there is one.

    Those of a published network are there for MSRS alone.
    """
    changes = [*args.set, f"seed={seed}"]
    if args.steps is not None:
        changes.append(f"optimiser.steps={args.steps}")
    inputs: dict[str, Path] = {}
    if fusion is not None:
        inputs["fusion"] = last_of(fusion, args.work)
        changes.append(change("strategy_options.checkpoint", inputs["fusion"]))
    if row in PEERS:
        changes.append(change("strategy_options.folder", peers_of(args.data, row)))
    kind = "fused" if fusion is not None else "folder" if row in PEERS else row
    changes.append(f"strategy_options.picture={kind}")
    return Run(f"{row}_{seed}", args.segformer, tuple(changes), inputs)


def last_of(run: Run, work: Path) -> Path:
    """The last checkpoint of a run."""
    return work / run.name / LAST


BENCHMARK = Benchmark("training.segmentation", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
