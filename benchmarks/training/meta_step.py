"""What the hyper-gradient of a meta-step costs, by each of the ways to it, and how near they come.

  python -m benchmarks.training.meta_step                   the paper's networks
  python -m benchmarks.training.meta_step --light           edge, light and yolo p, which train on a CPU
  python -m benchmarks.training.meta_step --crop 256 --device cuda

Time: in turns within one process. Peak memory: each in a process of its own. Both on the same batches of
the simulated street (or, with --checkpoint and --data, of its own training pairs), in two views: the whole
step as the training takes it, and without the part of the task network, which all methods share. Direction
and length against the exact gradient: over several draws of batches; "same side" is the share of those in
which the two have a positive cosine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import get_args

import torch
from msgspec.structs import replace

from benchmarks.rows import Peak
from benchmarks.schema import Figure, Results
from benchmarks.script import ROOT, Benchmark, Measured, add_count, add_threads, main, parse_size
from benchmarks.training.meta_case import Peaks, Setting, Step, View, gradient, prepare
from tdfusion_edge.config import parse, to_json
from tdfusion_edge.console import say
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.measuring.timing import interleaved, ratio, timing
from tdfusion_edge.train.meta import Method, Parameters

METHODS: tuple[Method, ...] = get_args(Method)
VIEWS: tuple[View, ...] = get_args(View)
EXACT: Method = "exact"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "rounds", 7, "rounds")
    add_count(parser, "warmup", 1, "untimed runs of each before")
    add_threads(parser)
    add_count(parser, "draws", 12, "pairs of batches whose gradients are compared; the first is timed")
    add_count(parser, "batch", 2, "pairs, of meta-train and of meta-test")
    add_count(parser, "crop", 128, "side of the fusion loss's crops, pixels; the released code has 256")
    parser.add_argument(
        "--size", type=parse_size, default=(256, 192), metavar="WxH", help="what T sees (default: 256x192)"
    )
    parser.add_argument("--light", action="store_true", help="our networks instead of the paper's")
    parser.add_argument(
        "--checkpoint", type=Path, help="networks and weights of this tdfusion training instead"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="read that checkpoint's training pairs below this folder, for the simulated ones",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, … (default: cpu)")


def measure(args: argparse.Namespace) -> Measured:
    """Compare, time, and look at the memory."""
    setting = Setting(
        networks="light" if args.light else "paper",
        checkpoint=None if args.checkpoint is None else str(args.checkpoint.resolve()),
        data=None if args.data is None else str(args.data.resolve()),
        crop=args.crop,
        batch=args.batch,
        size=args.size,
        threads=args.threads,
        device=args.device,
    )
    step = prepare(setting, args.draws)
    figures = [figure for view in VIEWS for figure in agreement(step, view)]
    say("timing ...", error=True)
    cases = {
        case(view, method): partial(gradient, step, method, view) for view in VIEWS for method in METHODS
    }
    samples = interleaved(cases, rounds=args.rounds, warmup=args.warmup)
    ratios = [
        ratio(samples, case(view, method), case(view, EXACT))
        for view in VIEWS
        for method in METHODS
        if method != EXACT
    ]
    peaks = tuple(peak for view in VIEWS for peak in peaks_of(setting, view))
    results = Results(
        timings=tuple(timing(name, found) for name, found in samples.items()),
        ratios=tuple(ratios),
        figures=tuple(figures),
        peaks=peaks,
    )
    return Measured(results, facts(step, args.device))


def case(view: str, method: str) -> str:
    """Name of a case in the result file."""
    return f"{view}, {method}"


def agreement(step: Step, view: View) -> list[Figure]:
    """How near the other methods' gradients are to the exact one on all batches: direction and length."""
    cosines: dict[Method, list[float]] = {method: [] for method in METHODS if method != EXACT}
    lengths: dict[Method, list[float]] = {method: [] for method in cosines}
    for train, test in ((step.train, step.test), *step.others):
        drawn = step._replace(train=train, test=test)
        exact = flat(gradient(drawn, EXACT, view))
        for method in cosines:
            found = flat(gradient(drawn, method, view))
            cosines[method].append(float(torch.dot(found, exact) / (found.norm() * exact.norm())))
            lengths[method].append(float(found.norm() / exact.norm()))
    figures = []
    for method in cosines:
        name = f"{case(view, method)} against {EXACT}"
        for what, value in (
            ("cosine", median(cosines[method])),
            ("least cosine", min(cosines[method])),
            ("norm ratio", median(lengths[method])),
        ):
            figures.append(Figure(name=f"{name}: {what}", value=round(value, 8), unit="of 1"))
        same = sum(value > 0 for value in cosines[method]) / len(cosines[method])
        figures.append(Figure(name=f"{name}: same side", value=round(same, 4), unit="of 1"))
    return figures


def flat(parameters: Parameters) -> torch.Tensor:
    """All numbers in one row, float64."""
    return torch.cat([part.flatten() for part in parameters.values()]).double()


def peaks_of(setting: Setting, view: View) -> Iterator[Peak]:
    """Peak memory of every method, each in a process of its own."""
    found = {}
    for method in METHODS:
        say(f"memory: {case(view, method)} ...", error=True)
        found[method] = measured_apart(replace(setting, method=method, view=view))
    for kind in ("tensors", "resident"):
        megabytes = {method: getattr(peaks, kind) for method, peaks in found.items()}
        if not megabytes[EXACT]:
            continue  # a GPU has no resident memory; nothing can be compared with nothing
        for method in METHODS:
            yield Peak(
                name=f"{case(view, method)}: {kind}",
                megabytes=megabytes[method],
                reference=f"{case(view, EXACT)}: {kind}",
                share=round(megabytes[method] / megabytes[EXACT], DIGITS),
            )


def measured_apart(setting: Setting) -> Peaks:
    """The peaks of one case in a process of its own.

    Raises:
        WorkError: its process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training.meta_case", to_json(setting).decode()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise WorkError(
            f"measuring the memory of {setting.method} ended with code {done.returncode}",
            got=done.stderr.strip()[-2000:] or "no message",
        )
    return parse(done.stdout[done.stdout.index("{") :].encode(), Peaks, name="peaks")


def facts(step: Step, device: str) -> dict[str, str]:
    """The networks by role, with their size, and the device."""
    found = {}
    for role, network in step.strategy.networks.items():
        count = sum(part.numel() for part in network.parameters())
        found[role] = f"{step.strategy.named[role].name}, {count} parameters"
    if device.startswith("cuda"):
        found["device"] = torch.cuda.get_device_name(device)
    return found


BENCHMARK = Benchmark("training.meta_step", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
