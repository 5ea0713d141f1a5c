r"""The bundles of the zoo beside each other: what each fusion network costs, and how good its pictures are.

  python -m benchmarks.zoo --detector yolox_nano.onnx
  python -m benchmarks.zoo --bundle edge --bundle runs/teacher/bundle --peer mmdrfuse

Cost: weights, multiply-adds, sizes of the graphs, and milliseconds of the fusion network alone with two
threads and with one, all networks in turns, the paper's among them. Quality, on the validation pairs of MSRS:
fusion metrics without any stretch, mAP50 with the bundle's own detector and with each --detector as it is,
and mIoU where a bundle gives masks, or by those of --masks. --peer adds the published pictures of another
network. The result is also drawn, and python -m benchmarks.zoo.table prints it for docs/models.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.quality import PEERS as KNOWN
from benchmarks.schema import Figure, Results
from benchmarks.script import ROOT, Benchmark, Measured, add_count, main, parse_count, parse_size
from benchmarks.zoo.costs import PAPER, PEERS, cost_of, figures_of, fresh_cost, timed, with_sizes
from benchmarks.zoo.picture import draw
from benchmarks.zoo.quality import Quality, quality_of_bundle, quality_of_folder
from tdfusion_edge import bundle
from tdfusion_edge.bundle import Bundle, Manifest
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.files import write_aside

PICTURE = ROOT / "docs" / "zoo.svg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    data = Path(os.environ.get("TDFUSION_DATA") or ROOT.parent / "shared" / "data") / "msrs"
    parser.add_argument(
        "--bundle", type=bundle.place, action="append", metavar="BUNDLE",
        help="may be repeated (default: all that ship)",
    )  # fmt: skip
    parser.add_argument(
        "--alone", type=bundle.place, action="append", default=[], metavar="BUNDLE",
        help="the fusion network of a member of its name without a detector, in more precisions, whose sizes "
        "are told; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--peer", choices=KNOWN, action="append", default=[], help="published pictures beside them"
    )
    parser.add_argument(
        "--detector", type=Path, action="append", default=[], metavar="FILE",
        help="a detector of COCO's in ONNX, which looks at all pictures as it is; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--masks", type=bundle.place, metavar="BUNDLE",
        help="its mask head looks at all pictures as it is (default: bundles with one look at their own)",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, default=data, metavar="DIR",
        help="folder with ir/, vi/, labels/fusion/, masks/ and peers/ "
        "(default: msrs in $TDFUSION_DATA or ../shared/data)",
    )  # fmt: skip
    parser.add_argument("--names", default="split_val.txt", metavar="FILE", help="list of stems in DIR")
    parser.add_argument("--first", type=parse_count, metavar="N", help="only the first N of them")
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH",
        help="of the pictures whose cost is counted and timed (default: 640x480)",
    )  # fmt: skip
    add_count(parser, "rounds", 30, "rounds of the timing")
    add_count(parser, "slow-every", 10, f"{PAPER} runs in every N-th round")
    add_count(parser, "warmup", 2, "untimed runs of each before")
    parser.add_argument(
        "--picture", type=Path, default=PICTURE, metavar="FILE", help="drawing (default: docs/zoo.svg)"
    )


def measure(args: argparse.Namespace) -> Measured:
    """Count, time, score and draw."""
    members = members_of(args)
    for peer in args.peer:
        if not (args.data / "peers" / peer).is_dir():
            raise InputMissing(f"there is no folder {args.data / 'peers' / peer}")
    costs = [cost_of(name, opened) for name, opened in members.items()]
    for place in args.alone:
        costs = with_sizes(costs, bundle.read(place))
    costs += [fresh_cost(peer, PEERS[peer]) for peer in args.peer if peer in PEERS]
    costs.append(fresh_cost(PAPER, PAPER))
    facts = {cost.name: cost.said for cost in costs}
    for name, opened in members.items():
        facts |= {f"{name}: {what}": text for what, text in origin_of(opened.manifest)}
    if args.masks is not None:
        judge = bundle.read(args.masks).manifest
        facts |= {f"masks of {judge.name}: {what}": text for what, text in origin_of(judge)}
    figures = [figure for cost in costs for figure in figures_of(cost, args.size)]
    figures += list(_detectors_cost(members))
    qualities = list(_qualities(members, args))
    say("timing ...", error=True)
    timings, ratios = timed(costs, args)
    results = Results(
        timings=tuple(timings),
        ratios=tuple(ratios),
        figures=(*figures, *(figure for one in qualities for figure in one.figures)),
        scores=tuple(one.score for one in qualities),
        detectors=tuple(row for one in qualities for row in one.detectors),
    )
    write_aside(args.picture, draw(results).encode())
    return Measured(results, facts)


def members_of(args: argparse.Namespace) -> dict[str, Bundle]:
    """The bundles by the names of their rows.

    Raises:
        RequestError: two have one name, or that of another row.
    """
    members: dict[str, Bundle] = {}
    for place in args.bundle or bundle.shipped():
        opened = bundle.read(place)
        name = opened.manifest.name
        if name in (*members, *KNOWN, PAPER):
            raise RequestError(
                f"{place}: there is a row '{name}' already",
                expected="bundles of different names",
                hint="Export it with --name.",
            )
        members[name] = opened
    return members


def origin_of(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """How a bundle came to be."""
    yield "trained by", f"strategy {manifest.strategy}"
    for data in manifest.training_data:
        yield f"trained on {data.name}", f"{data.pairs} pairs, {data.terms}"
    for what, command in manifest.commands.items():
        yield f"command of {what}", command


def _qualities(members: dict[str, Bundle], args: argparse.Namespace) -> Iterator[Quality]:
    for name, opened in members.items():
        yield quality_of_bundle(name, opened, args)
    for peer in args.peer:
        yield quality_of_folder(peer, args.data / "peers" / peer, args)


def _detectors_cost(members: dict[str, Bundle]) -> Iterator[Figure]:
    """Operations of the heads, where their export counted them."""
    for name, opened in members.items():
        for head in opened.manifest.heads:
            count = opened.manifest.graphs[head].multiply_adds
            if count is not None:
                yield Figure(
                    name=f"{name}: {head}'s multiply-adds", value=round(count / 1e6, 4), unit="millions"
                )


BENCHMARK = Benchmark("zoo", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
