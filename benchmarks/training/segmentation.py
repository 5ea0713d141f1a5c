"""Does the path to masks work, on near-infrared and red pictures of a field?

  python -m benchmarks.training.segmentation --seeds 0,1 --steps 120

benchmarks.training.methods, whose options these are, on CWFID: for every seed a fusion network by cwfid_fixed
and one by cwfid_tdfusion, and then a SegFormer on the pictures of each and on what needs no network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.script import Benchmark, Measured, main
from benchmarks.training import methods

TASKS = ("cwfid_segformer",)
FUSIONS = ("fixed=cwfid_fixed", "tdfusion=cwfid_tdfusion")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    methods.add_arguments(parser)
    parser.set_defaults(work=Path("runs") / "segmentation", rows="infrared,visible,mean,fixed,tdfusion")


def measure(args: argparse.Namespace) -> Measured:
    """Train what is not trained yet, and read the scores."""
    args.task, args.fusion = args.task or list(TASKS), args.fusion or list(FUSIONS)
    return methods.measure(args)


BENCHMARK = Benchmark("training.segmentation", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
