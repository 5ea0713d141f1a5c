"""Look through a data folder before training on it.

  tdfusion-edge dataset check DIR
  tdfusion-edge dataset check DIR --labels yolo:labels --classes person,bicycle,car -o sheet.png
  tdfusion-edge dataset check DIR --labels mask:masks --classes soil,weed --colours "#000000,#ff0000"
  tdfusion-edge dataset check MSRS --layout msrs --part validation --json

Every picture is decoded and every label read. Reported are stems without a partner, damaged pictures, sizes,
classes, boxes that lie outside or have no area, and an estimate of the shift between the sensors, which is
no fault by itself. The exit code is 1 where something was found that a training would refuse or leave out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from tdfusion_edge.clashes import refuse_clashes
from tdfusion_edge.console import say, say_json
from tdfusion_edge.errors import InputMissing
from tdfusion_edge.pairs.layouts import LAYOUTS
from tdfusion_edge.pairs.source import PairSource, add_label_arguments, labels_of
from tdfusion_edge.text import CLASSES, few
from tdfusion_edge.train.data.check import Alignment, DataSet, Report, check, open_set
from tdfusion_edge.train.data.inspection import KINDS, NOTES
from tdfusion_edge.train.data.sheet import require_png, sheet, write_png

NAMED = 5
"""Faults of a kind that the text names; JSON has them all."""

SIZES = 4
"""Sizes that the text names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("action", choices=("check",), help="what to do with it")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the data folder")
    parser.add_argument(
        "--layout", choices=tuple(LAYOUTS), default="plain", help="how it is laid out (default ir/ and vi/)"
    )
    parser.add_argument(
        "--part", choices=("train", "validation"), default="train", help="part of a set that has them"
    )
    add_label_arguments(parser)
    parser.add_argument("--names", metavar="FILE", help="text file in DIR, one stem a line (default: all)")
    parser.add_argument("-o", "--output", type=Path, metavar="PNG", help="write a contact sheet")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def main(args: argparse.Namespace) -> int:
    """Check, print, and draw the sheet."""
    if not args.folder.is_dir():
        raise InputMissing(f"there is no folder {args.folder}")
    if args.output is not None:
        require_png(args.output)
    data = open_set(args.folder, source_of(args))
    if args.output is not None:
        refuse_clashes([("--output", args.output)], data.read_from)
    report, whole = check(data)
    if args.json:
        say_json(msgspec.to_builtins(report), indent=2)
    else:
        say(as_text(report, args.folder))
    if args.output is not None:
        _draw(args.output, data, whole, quiet=args.json)
    return 1 if report.faults else 0


def _draw(path: Path, data: DataSet, whole: list[str], *, quiet: bool) -> None:
    if not whole:
        say(f"no contact sheet: no pair is without a fault, so {path} was not written", error=True)
        return
    write_png(path, sheet(data, whole))
    if not quiet:
        say(f"contact sheet: {path}")


def source_of(args: argparse.Namespace) -> PairSource:
    """The pairs that the command line describes; raises as :func:`~tdfusion_edge.pairs.source.labels_of`."""
    return PairSource(part=args.part, names=args.names, layout=args.layout, labels=labels_of(args))


def as_text(report: Report, folder: Path) -> str:
    """The report for people."""
    videos = f", {report.videos} of them videos" if report.videos else ""
    lines = [
        f"{report.pairs} pairs in {folder}{videos}",
        f"sizes      {_counts(dict(list(report.sizes.items())[:SIZES]))}"
        + (f" and {len(report.sizes) - SIZES} other sizes" if len(report.sizes) > SIZES else ""),
    ]
    if report.objects or report.empty:
        lines.append(f"objects    {_counts(report.objects)}; {report.empty} pictures without any")
    if report.pixels:
        total = sum(report.pixels.values())
        shares = {name: f"{100 * count / total:.2f} %" for name, count in report.pixels.items()}
        lines.append(f"pixels     {_counts(shares)}")
    lines.append(f"alignment  {_alignment(report.alignment)}")
    for kind, found in report.notes.items():
        lines.append(f"note       {len(found)} {NOTES[kind]} ({few(list(dict.fromkeys(found)), NAMED)})")
    for kind, found in report.faults.items():
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        lines += [f"{len(found)} {KINDS[kind]}:", *(f"  {line}" for line in found[:NAMED])]
        lines += [f"  {more.strip()}"] if more else []
    return "\n".join(lines if report.faults else [*lines, "no fault found"])


def _counts(counts: dict[str, Any]) -> str:
    return few([f"{name} {count}" for name, count in counts.items()], CLASSES) or "none"


def _alignment(found: Alignment) -> str:
    if found.dx is None or found.dy is None:
        return f"no estimate: the sensors share too few edges in all of {found.pairs} pairs"
    right, down = "right" if found.dx >= 0 else "left", "down" if found.dy >= 0 else "up"
    return (
        f"infrared lies {abs(found.dx):.1f} px {right} and {abs(found.dy):.1f} px {down} of visible\n"
        f"           (an estimate: median of {found.trusted} clear ones of {found.pairs} pairs;"
        f" half of them within {found.spread_dx:.1f} and {found.spread_dy:.1f} px of it)"
    )
