"""Pairs that something is measured on, the user's own or of the simulated street, with their labels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from tdfusion_edge import detection_scores
from tdfusion_edge.bundle import Graph, Manifest
from tdfusion_edge.color import is_coloured
from tdfusion_edge.errors import RequestError
from tdfusion_edge.pairs import LabelledPair, Labels, PairSet, PairSource, open_pairs
from tdfusion_edge.pairs.source import add_label_arguments
from tdfusion_edge.pairs.types import paired
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.simulation.scene import Scene

PAIRS = 8
"""Of the simulated street."""
APART_S = 3.5
"""Seconds between two of them: nothing stands where it stood."""
SIZE = (640, 480)
COLOUR_PAIRS = 2
"""Simulated pairs that show the colours of a one-pass graph where the pairs given have none."""


def add_pair_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare which pairs are measured on, and what is known of them.

    Args:
        parser: Of the command.
        required: Whether there must be pairs of the user's; simulated ones are taken otherwise.
    """
    more = "" if required else " to measure on (default: simulated pairs)"
    parser.add_argument(
        "--data", type=Path, required=required, metavar="DIR", help=f"folder with ir/ and vi/{more}"
    )
    parser.add_argument(
        "--names", metavar="FILE", help="text file in DIR with one stem a line (default: all)"
    )
    add_label_arguments(parser, default="those of the bundle's head")


def heads_of(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Classes of a bundle's heads by their kinds, as :func:`measured_pairs` takes them."""
    return {head.kind: head.classes for head in manifest.heads.values()}


def measured_pairs(
    data: Path,
    names: str | Sequence[str] | None,
    labels: Labels | None,
    heads: Mapping[str, tuple[str, ...]],
    *,
    colour: bool = False,
    whose: str = "the bundle's",
) -> PairSet:
    """The pairs of a folder with what their labels say in the classes of a head.

    Args:
        data: Folder with ``ir/`` and ``vi/``.
        names: Text file in ``data`` with one stem a line, or the stems themselves; None takes all.
        labels: Of these pairs; YOLO's and masks without ``classes`` have those of the head.
        heads: Kind to classes of what looks at the fused pictures.
        colour: Whether the visible pictures' colours are kept beside their luma.
        whose: Whose head it is, for messages.

    Raises:
        RequestError: there is no head for labels of this format, what scores boxes is not installed, or as
            :func:`~tdfusion_edge.pairs.open_pairs`.
        InputMissing: as the same.
        SourceError: likewise.
    """
    source = PairSource(names=names if names is None or isinstance(names, str) else tuple(names))
    if labels is None:
        return open_pairs(data, source, colour=colour, videos=False)
    classes = heads.get(labels.kind, ())
    title = kind_of(labels.kind).title
    if not classes:
        raise RequestError(
            f"--labels {labels}: there is no {title} to score",
            expected=f"a {title} beside the fusion network",
            got=" and ".join(f"a {kind_of(kind).title}" for kind in heads) or "a fusion network alone",
            hint="Export a training with one as its task, or leave --labels out.",
        )
    if labels.kind == "boxes":
        detection_scores.score((), (), classes)  # says now, not after an hour, what is not installed
    if labels.format in ("yolo", "mask") and not labels.classes:
        labels = replace(labels, classes=classes)
    of_labels = replace(source, labels=labels)
    return open_pairs(data, of_labels, classes, whose=f"{whose} {title}", colour=colour, videos=False)


def compared_pairs(
    data: Path | None,
    names: str | Sequence[str] | None,
    labels: Labels | None,
    heads: Mapping[str, tuple[str, ...]],
) -> Sequence[LabelledPair]:
    """Pairs that two sets of engines are compared on, in colour; simulated ones where there is no folder.

    Raises:
        RequestError: the labels show nothing that the head knows, by which no change could be measured; or as
            :func:`measured_pairs`.
        InputMissing: as the same.
        SourceError: likewise.
    """
    if data is None:
        return list(simulated())
    pairs = measured_pairs(data, names, labels, heads, colour=True)
    if pairs.labels is not None:
        pairs.labels.require_some()
    return pairs


def simulated(count: int = PAIRS, size: tuple[int, int] = SIZE) -> Iterator[LabelledPair]:
    """So many pairs of one simulated street, in colour and without labels."""
    scene = Scene(0, size)
    for number in range(count):
        time_s = number * APART_S
        yield paired(f"simulated {number}", scene.infrared(time_s), scene.visible(time_s), colour=True)


class Traits(NamedTuple):
    """What decides whether a one-pass graph can be measured on a pair, and what that says."""

    shape: tuple[int, ...]
    """Height and width."""
    coloured: bool
    """A swap of its colours would show."""

    @classmethod
    def of(cls, pair: LabelledPair) -> Traits:
        """Those of a pair that was read in colour."""
        return cls(pair.visible.shape, pair.colour is not None and is_coloured(pair.colour))


def served(graph: Graph, traits: Sequence[Traits]) -> tuple[list[int], bool]:
    """Which pairs are of a size that a one-pass graph takes, and whether any of these has colours."""
    taken = [index for index, one in enumerate(traits) if graph.serves(*one.shape)]
    return taken, any(traits[index].coloured for index in taken)


def simulated_for(
    graph: Graph, size: tuple[int, int] | None = None, count: int = COLOUR_PAIRS
) -> list[LabelledPair]:
    """Simulated pairs, in colour, of a size that a one-pass graph takes.

    Args:
        graph: What the manifest says about it.
        size: Width and height; None takes the usual one, or else the smallest that the graph takes.
        count: How many.
    """
    width, height = size or SIZE
    if graph.sizes is not None and not graph.serves(height, width):
        height, width = (sides.smallest for sides in graph.sizes)
    drawn = simulated(count, (max(80, width), max(60, height)))  # less the street cannot be
    return [
        paired(one.name, one.infrared[:height, :width], one.colour[:height, :width], colour=True)
        for one in drawn
        if one.colour is not None
    ]


def require_data(data: Path | None, **given: object) -> None:
    """Refuse options that speak of the pairs of ``--data`` where there is none.

    Args:
        data: The folder, if any.
        given: Values of such options by name; None was not given.

    Raises:
        RequestError: one was given without a folder.
    """
    for name, value in given.items():
        if value is not None and data is None:
            raise RequestError(f"--{name} {value}", expected="--data as well")


def described(data: Path | None, count: int) -> str:
    """What a manifest says of them, without a path of this machine."""
    return f"{count} simulated pairs" if data is None else f"{count} pairs of {data.resolve().name}"
