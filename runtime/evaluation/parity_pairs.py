"""Pairs that two chains are compared on, the user's own or of the simulated street, and their labels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from tdfusion_edge.color import luma
from tdfusion_edge.errors import RequestError
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.runtime.evaluation.boxes import Labels, read_labels
from tdfusion_edge.runtime.evaluation.parity import Views
from tdfusion_edge.runtime.evaluation.rows import pair_names, require_equal_sizes
from tdfusion_edge.runtime.simulation.scene import Scene

PAIRS = 8
"""Of the simulated street."""
APART_S = 3.5
"""Seconds between two of them: nothing stands where it stood."""
SIZE = (640, 480)


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which pairs are measured on, and what is known of them."""
    parser.add_argument(
        "--data", type=Path, metavar="DIR",
        help="folder with ir/ and vi/ to measure on (default: simulated pairs)",
    )  # fmt: skip
    parser.add_argument(
        "--names", metavar="FILE", help="text file in DIR with one stem a line (default: all)"
    )
    parser.add_argument(
        "--labels", metavar="yolo:FOLDER",
        help="measure mAP50 against labels too; FOLDER in DIR, a .txt a pair",
    )  # fmt: skip
    parser.add_argument(
        "--classes", metavar="NAME,NAME",
        help="the labels' classes in the order of their numbers (default: the detector's)",
    )  # fmt: skip


def views(data: Path | None, names: str | None = None) -> Iterator[Views]:
    """Pairs one by one, so that a large set need not fit in memory.

    Args:
        data: Folder with ``ir/`` and ``vi/``; None takes simulated pairs.
        names: Text file in ``data`` with one stem a line; None takes all.

    Raises:
        InputMissing: there is no such folder or list, or no pair.
        RequestError: the two pictures of a pair differ in size, or one has 16 bits.
        SourceError: a picture cannot be read.
    """
    if data is None:
        yield from simulated()
    else:
        yield from views_of(data, pair_names(data, names))


def views_of(data: Path, stems: Sequence[str]) -> Iterator[Views]:
    """The pairs with these stems, which are there; raises as :func:`views` of what it reads."""
    infrared, visible = by_stem(data / "ir"), by_stem(data / "vi")
    for stem in stems:
        pair = Views(stem, read_luma8(infrared[stem]), read_luma8(visible[stem]))
        require_equal_sizes(stem, "infrared", pair.infrared, pair.visible)
        yield pair


def simulated(count: int = PAIRS, size: tuple[int, int] = SIZE) -> Iterator[Views]:
    """So many pairs of one simulated street."""
    scene = Scene(0, size)
    for number in range(count):
        time_s = number * APART_S
        yield Views(f"simulated {number}", luma(scene.infrared(time_s)), luma(scene.visible(time_s)))


def pair_labels(
    data: Path, place: str, stems: Sequence[str], classes: tuple[str, ...], known: tuple[str, ...]
) -> Labels:
    """Labels that a change of mAP50 can be told by.

    Args:
        data: Folder that holds them.
        place: What ``--labels`` says.
        stems: Of the pairs that are measured.
        classes: Names of the labels' classes by number; none: those of ``known``.
        known: The detector's classes; none where there is no detector.

    Raises:
        RequestError: there is no detector, the labels show nothing that it knows, or as
            :func:`~tdfusion_edge.runtime.evaluation.boxes.read_labels`.
        InputMissing: a pair has no label file.
    """
    if not known:
        raise RequestError(
            f"--labels {place}: there is no detector to score",
            expected="a detector beside the fusion network",
            got="a fusion network alone",
            hint="Leave --labels out.",
        )
    labels = read_labels(data, place, stems, classes, known)
    if not any(len(found.classes) for found in labels.objects.values()):
        raise RequestError(
            f"--labels {place}: no object in {len(stems)} pairs",
            expected=f"labelled objects of {', '.join(known)}",
            got="none",
        )
    return labels


def require_data(data: Path | None, **given: object) -> None:
    """Refuse options that speak of the pairs of ``--data`` where there is none.

    Args:
        data: The folder, if any.
        given: Values of such options by name; None was not given.

    Raises:
        RequestError: one was given without a folder, or ``classes`` without ``labels``.
    """
    for name, value in given.items():
        if value is not None and data is None:
            raise RequestError(f"--{name} {value}", expected="--data as well")
    if given.get("classes") is not None and given.get("labels") is None:
        raise RequestError(f"--classes {given['classes']}", expected="--labels as well")


def described(data: Path | None, count: int) -> str:
    """What a manifest says of them, without a path of this machine."""
    return f"{count} simulated pairs" if data is None else f"{count} pairs of {data.resolve().name}"
