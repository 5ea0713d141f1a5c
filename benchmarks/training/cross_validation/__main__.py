r"""What is a fused picture worth to a detector, over all labelled pairs, each one new to the networks?

  python -m benchmarks.training.cross_validation --detector yolox_nano.onnx \
      --set task.network_options.pretrained=yolox_nano.onnx \
      --network 'joint=runs/folds/joint_{fold}_{seed}/last.safetensors'

The pairs are divided into folds of neighbouring frames. Two protocols: a detector of COCO's as it is looks
at the pictures of every row ("unchanged"), and one that was trained on the row's own pictures of the other
folds, alike in all rows, looks at those of the fold ("fine-tuned"). AP50 is pooled over all pairs, and every
row is compared with each reference on the same resamples of the pairs.

Networks come from benchmarks.training.cross_validation.networks. What is finished in --work is neither
trained nor looked at again, so that an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.schema import Results
from benchmarks.script import Benchmark, Measured, add_count, main, parse_count
from benchmarks.training.cross_validation.arguments import add_fold_arguments
from benchmarks.training.cross_validation.looks import Look, matches_of
from benchmarks.training.cross_validation.matches import Matches, joined
from benchmarks.training.cross_validation.plan import Plan, plan_of
from benchmarks.training.cross_validation.report import Sampling, Seen, differences_of, scores_of
from benchmarks.training.options import task_facts
from benchmarks.training.runs import commits, run_all
from tdfusion_edge.console import say
from tdfusion_edge.detection_scores import score
from tdfusion_edge.train.state import LAST

RECIPE = "detector_yolox"
REFERENCES = ("average", "additive", "infrared", "visible")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_fold_arguments(parser, Path("runs") / "cross_validation")
    parser.add_argument("--rows", metavar="ROW,ROW", help="some of the rows (default: all)")
    parser.add_argument(
        "--network", action="append", default=[], metavar="NAME=PATTERN",
        help="a row of a fusion network: its checkpoints, '{fold}' and '{seed}' standing for theirs",
    )  # fmt: skip
    parser.add_argument(
        "--detector", type=Path, action="append", default=[], metavar="FILE",
        help="a detector of COCO's in ONNX, for the protocol unchanged; may be repeated",
    )  # fmt: skip
    parser.add_argument("--unchanged-only", action="store_true", help="train no detector")
    parser.add_argument("--recipe", default=RECIPE, help=f"the trained detector's (default: {RECIPE})")
    parser.add_argument(
        "--steps", type=parse_count, metavar="N",
        help="steps instead of the recipe's, as many of them to warm up",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="change the recipe, in every row, '{fold}' and '{seed}' standing for theirs",
    )  # fmt: skip
    parser.add_argument(
        "--references", default=",".join(REFERENCES), metavar="ROW,ROW",
        help=f"what the others are compared with, of the rows (default: {','.join(REFERENCES)})",
    )  # fmt: skip
    add_count(parser, "resamples", 1000, "resamples of the pairs")
    parser.add_argument(
        "--resample", choices=("pictures", "blocks"), default="pictures",
        help="what is drawn: pairs, or pieces of neighbouring ones (default: pictures)",
    )  # fmt: skip


def measure(args: argparse.Namespace) -> Measured:
    """Train and look at what is not there yet, and compare."""
    score((), (), ("person",))  # says now, not after a day, what is not installed
    plan = plan_of(args)
    facts = dict(plan.facts)
    if plan.runs:
        runs = list(plan.runs.values())
        headers = run_all(runs, args.data, args.work, jobs=args.jobs, device=args.device)
        facts |= task_facts(headers[runs[0].name])
        facts["commits of the trainings"] = commits(runs, args.work)
    sampling = Sampling(plan.names, plan.units(args.resample), args.resamples)
    seen = list(looked_at(plan, args))
    for one in seen:
        say(f"{one.protocol}, {one.detector}, {one.row}: resampling ...", error=True)
    return Measured(
        Results(
            detectors=tuple(scores_of(seen, sampling)),
            differences=tuple(differences_of(seen, sampling, plan.references)),
        ),
        facts,
    )


def looked_at(plan: Plan, args: argparse.Namespace) -> Iterator[Seen]:
    """Every row by either protocol, with the matches of each seed over all pairs."""

    def pooled(label: str, row: str, seed: int, detector: Path | None) -> Matches:
        parts = []
        for fold in plan.folds:
            picture = plan.picture(row, fold, seed)
            path = detector or args.work / plan.runs[row, fold, seed].name / LAST
            name = f"{label}_{row}_{fold}" + (f"_{seed}" if detector is None or picture.checkpoint else "")
            parts.append(matches_of(Look(name, picture, path, plan.tested[fold]), args.data, args.work))
        return joined(parts)

    for detector in args.detector:
        for row in plan.rows:
            # Nothing depends on a seed where no network of ours takes part.
            seeds = plan.seeds if row in plan.networks else ()
            looks = [pooled(detector.stem, row, seed, detector) for seed in seeds or plan.seeds[:1]]
            yield Seen("unchanged", detector.stem, row, seeds, tuple(looks))
    if plan.runs:
        for row in plan.rows:
            looks = [pooled("tuned", row, seed, None) for seed in plan.seeds]
            yield Seen("fine-tuned", plan.recipe, row, plan.seeds, tuple(looks))


BENCHMARK = Benchmark("training.cross_validation", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
