"""What benchmarks with trainings have in common on their command lines and in their facts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.script import ROOT, add_count, parse_count
from tdfusion_edge.checkpoint import Header
from tdfusion_edge.export.model_card import without_folders


def add_training_arguments(
    parser: argparse.ArgumentParser, work: Path, rows: Sequence[str], *, default: Sequence[str]
) -> None:
    """Declare what benchmarks with trainings have in common."""
    parser.add_argument(
        "--rows", type=parse_among(rows), default=list(default), metavar="ROW,ROW",
        help=f"some of {','.join(rows)} (default: {','.join(default)})",
    )  # fmt: skip
    add_data(parser)
    parser.add_argument("--work", type=Path, default=work, metavar="DIR", help=f"the runs (default: {work})")
    parser.add_argument("--seeds", type=parse_seeds, default=["0", "1", "2"], help="default: 0,1,2")
    parser.add_argument("--steps", type=parse_count, metavar="N", help="steps instead of the recipe's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe, in every row"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: a GPU if there is one)")
    add_count(parser, "jobs", 2, "trainings at a time, one thread each")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Declare ``--data``."""
    data = Path(os.environ.get("TDFUSION_DATA") or ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--data", type=Path, default=data, metavar="DIR",
        help="folder that the recipes' data are relative to (default: $TDFUSION_DATA or ../shared/data)",
    )  # fmt: skip


def parse_seeds(text: str) -> list[str]:
    """Numbers with commas between them; an argparse type."""
    seeds = text.split(",")
    if not all(seed.isdecimal() for seed in seeds) or len({int(seed) for seed in seeds}) != len(seeds):
        raise argparse.ArgumentTypeError(f"expected different numbers such as 0,1,2, got '{text}'")
    return seeds


def parse_among(rows: Sequence[str]) -> Callable[[str], list[str]]:
    """An argparse type: some of these rows, with commas between them."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if not set(chosen) <= set(rows) or len(set(chosen)) != len(chosen):
            raise argparse.ArgumentTypeError(f"expected some of {','.join(rows)}, got '{text}'")
        return chosen

    return parse


def task_facts(header: Header) -> Iterator[tuple[str, str]]:
    """The task network and its data; the same in all rows."""
    network, view = header.networks["task"], header.task
    shown = without_folders(network.options)
    options = ", ".join(f"{name} {value}" for name, value in shown.items())
    size = f" at {view.width}x{view.height}" if view is not None else ""
    yield "task network", f"{network.name}, {options or 'defaults'}{size}"
    yield "training data", ", ".join(f"{one.pairs} pairs of {one.name}" for one in header.training_data)
