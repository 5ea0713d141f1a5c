"""Fusion metrics of the shipped bundles beside published networks and what needs no network.

  python -m benchmarks.quality
  python -m benchmarks.quality --bundle runs/edge/bundle --data DIR

A min-max stretch raises the contrast metrics of any picture, so every method is shown without and
with it. The other networks come as the pictures that their own weights gave.

The shipped weights have an advantage here: no gradient came from these pairs, but the best checkpoint of
their trainings was chosen on them, of edge_fixed by SCD, VIF, Qabf and SSIM, of edge by the detector's mAP.
SeAFusion and MMDRFuse were not chosen on them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias, get_args

import numpy as np

from benchmarks.schema import Results, Score, StretchMode
from benchmarks.script import ROOT, Benchmark, Measured, main, parse_count
from tdfusion_edge import bundle
from tdfusion_edge.color import U8
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.pairs import LabelledPair, PairSource, load_pairs
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.plain import PLAIN
from tdfusion_edge.runtime.evaluation.rows import Fuse, of_pair, score
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.stretch import F32, Stretch
from tdfusion_edge.runtime.picture.units import UNIT

Method: TypeAlias = Callable[[LabelledPair], F32]
"""A pair to fused luma, float32 (H, W) in [0, 1]."""

SHIPPED = ("edge", "edge_fixed")
PEERS = ("seafusion", "mmdrfuse")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    data = Path(os.environ.get("TDFUSION_DATA") or ROOT.parent / "shared" / "data") / "msrs"
    parser.add_argument(
        "--bundle", type=bundle.place, action="append", metavar="BUNDLE",
        help=f"may be repeated (default: {' and '.join(SHIPPED)})",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, default=data, metavar="DIR",
        help="folder with ir/, vi/ and peers/ (default: msrs in $TDFUSION_DATA or ../shared/data)",
    )  # fmt: skip
    parser.add_argument("--names", default="split_val.txt", metavar="FILE", help="list of stems in DIR")
    parser.add_argument("--first", type=parse_count, metavar="N", help="only the first N of them")


def measure(args: argparse.Namespace) -> Measured:
    """Score every method with both stretches."""
    names = pair_names(args.data, PairSource(names=args.names), videos=False)[: args.first]
    facts = {"pairs": ", ".join(names)}
    methods: dict[str, Method] = {}
    with ExitStack() as stack:
        for place in args.bundle or [bundle.place(name) for name in SHIPPED]:
            opened = bundle.read(place)
            if opened.manifest.name in {*methods, *PEERS, *PLAIN}:
                raise RequestError(
                    f"{place}: there is a row '{opened.manifest.name}' already",
                    expected="bundles of different names",
                    hint="Export it with --name.",
                )
            graph = opened.graph("fusion")[1]
            fuser = stack.enter_context(Fuser(opened, detect=False))
            facts["back end"] = fuser.backend
            methods[opened.manifest.name] = partial(_by_fuser, fuser)
            facts[f"{opened.manifest.name} sha256"] = hashlib.sha256(graph).hexdigest()
        return Measured(Results(scores=tuple(_rows(args.data, names, methods))), facts)


def _rows(data: Path, names: list[str], methods: dict[str, Method]) -> Iterator[Score]:
    """Both stretches of every network and of what stands beside it."""
    for peer in PEERS:
        methods[peer] = partial(_from_pictures, by_stem(data / "peers" / peer))
    pairs = load_pairs(data, PairSource(names=tuple(names)))
    methods |= {name: partial(_unit, of_pair(plain)) for name, plain in PLAIN.items()}
    for stretch in get_args(StretchMode):
        for method, fused in methods.items():
            say(f"{method}, stretch {stretch} ...", error=True)
            scores = score(pairs, partial(_stretched, fused, stretch))
            metrics = {key: round(value, 5) for key, value in scores._asdict().items()}
            yield Score(method=method, stretch=stretch, pairs=len(names), metrics=metrics)


def _stretched(method: Method, stretch: StretchMode, pair: LabelledPair) -> U8:
    return Stretch(stretch).apply(method(pair), 0)


def _by_fuser(fuser: Fuser, pair: LabelledPair) -> F32:
    return fuser.luma(pair.infrared, pair.visible)


def _from_pictures(pictures: Mapping[str, Path], pair: LabelledPair) -> F32:
    if pair.name not in pictures:
        raise InputMissing(f"there is no fused picture '{pair.name}' to compare")
    return _scaled(read_luma8(pictures[pair.name]))


def _unit(fuse: Fuse, pair: LabelledPair) -> F32:
    return _scaled(fuse(pair))


def _scaled(picture: U8) -> F32:
    return np.multiply(picture, UNIT, dtype=np.float32)


BENCHMARK = Benchmark("quality", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
