"""What benchmarks with trainings have in common on their command lines and in their facts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from benchmarks.script import ROOT, add_count
from tdfusion_edge.checkpoint import Header
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.model_card import without_folders


def add_training_arguments(parser: argparse.ArgumentParser, work: Path) -> None:
    """Declare where the data and the runs lie, which seeds there are, and how the trainings run."""
    add_data(parser)
    parser.add_argument("--work", type=Path, default=work, metavar="DIR", help=f"the runs (default: {work})")
    parser.add_argument("--seeds", type=parse_seeds, default=["0", "1", "2"], help="default: 0,1,2")
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


def named(options: Sequence[str], option: str, value: str) -> dict[str, str]:
    """Values by name of a repeated option NAME=VALUE.

    Raises:
        RequestError: it has another form, or a name is there twice.
    """
    found: dict[str, str] = {}
    for text in options:
        name, _, given = text.partition("=")
        if not (name.isidentifier() and given):
            raise RequestError(f"{option} {text}", expected=f"{option} NAME={value}")
        if name in found:
            raise RequestError(f"{option} {text}: there is a '{name}' already")
        found[name] = given
    return found


def chosen_rows(
    option: str,
    text: str | None,
    fixed: Sequence[str],
    networks: Collection[str],
    *,
    default: Collection[str] | None = None,
    named_by: str = "--fusion",
) -> tuple[str, ...]:
    """Rows of a comparison.

    Args:
        option: That chooses them.
        text: Its value: names with commas between them; None: ``default``.
        fixed: Rows that are always known.
        networks: Those that the command line names.
        default: None: all.
        named_by: The option that names ``networks``.

    Raises:
        RequestError: a row is not known or there twice, or a network has the name of another row.
    """
    known = (*fixed, *networks)
    if clash := set(networks) & set(fixed):
        raise RequestError(f"{named_by} {min(clash)}=: there is a row of that name already")
    rows = tuple(known if default is None else default) if text is None else tuple(text.split(","))
    if not set(rows) <= set(known) or len(set(rows)) < len(rows):
        raise RequestError(
            f"{option} {text}",
            expected=f"some of {','.join(known)}",
            hint=f"Networks are named with {named_by}.",
        )
    return rows


def changes_by_name(option: str, texts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``KEY=VALUE`` for every recipe, or ``NAME:KEY=VALUE`` for that of one name.

    Args:
        option: That holds them.
        texts: Its values.
        names: Of all recipes.

    Raises:
        RequestError: a change is for none of them.
    """
    changes: dict[str, list[str]] = {name: [] for name in names}
    for text in texts:
        name, colon, one = text.partition(":")
        if not colon or "=" in name:  # a colon of the value
            name, one = "", text
        if not names or name not in ("", *names):
            listed = ", ".join(names) or "none"
            raise RequestError(f"{option} {text}", expected=f"KEY=VALUE or NAME:KEY=VALUE, NAME of {listed}")
        for known in (name,) if name else names:
            changes[known].append(one)
    return {name: tuple(given) for name, given in changes.items()}


def task_facts(header: Header) -> Iterator[tuple[str, str]]:
    """The task network and its data; the same in all rows."""
    network, view = header.networks["task"], header.task
    shown = without_folders(network.options)
    options = ", ".join(f"{name} {value}" for name, value in shown.items())
    size = f" at {view.width}x{view.height}" if view is not None else ""
    yield "task network", f"{network.name}, {options or 'defaults'}{size}"
    yield "training data", ", ".join(f"{one.pairs} pairs of {one.name}" for one in header.training_data)
