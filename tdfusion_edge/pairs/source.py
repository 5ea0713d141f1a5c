"""Which pairs are read and what their labels are: tables of a recipe, and the same from a command line."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tdfusion_edge.config import Table
from tdfusion_edge.errors import ConfigError, RequestError

FORMATS = ("yolo", "coco", "voc", "mask")


class Labels(Table, frozen=True, kw_only=True):
    """``labels`` of a ``[[data]]`` table: where its boxes or masks are, and what their classes are called."""

    format: Literal["yolo", "coco", "voc", "mask"]
    """``yolo``: a text file a picture; ``coco``: one JSON file; ``voc``: an XML file a picture; ``mask``:
    an 8-bit PNG a picture whose values are classes, or whose ``colours`` are."""
    path: str
    """Folder, or the JSON file, relative to the data source's folder."""
    classes: tuple[str, ...] = ()
    """Names of the labels' classes in the order of their numbers; COCO and VOC bring their own. A class
    that the head (in a recipe ``[task]``) does not know is left out (boxes) or ignored (masks)."""
    colours: tuple[Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")], ...] = ()
    """``#rrggbb`` of every class, for masks that are coloured pictures."""
    ignore: Annotated[int, Meta(ge=0, le=255)] = 255
    """Value of a mask's pixels that do not count."""

    @property
    def kind(self) -> Literal["boxes", "mask"]:
        """Which kind of head they are for."""
        return "mask" if self.format == "mask" else "boxes"

    def __str__(self) -> str:
        return f"{self.format}:{self.path}"


class PairSource(Table, frozen=True, kw_only=True):
    """Pairs in one folder, ``ir/NAME`` beside ``vi/NAME``, and their labels."""

    folder: str = "."
    """Relative to the data folder; its ``ir`` and ``vi`` hold images or videos with matching stems."""
    part: str = "train"
    """Part of a published set that is divided by folders."""
    names: str | tuple[str, ...] | None = None
    """Text file in ``folder`` with one stem a line, or the stems themselves; None takes every pair."""
    every: Annotated[int, Meta(ge=1, le=10**9)] = 1
    """Take every n-th frame of a video, or every n-th pair of pictures."""
    without_every: Annotated[int, Meta(ge=0, le=10**9)] = 0
    """Of those, leave every n-th out: what another source takes with ``every = n``. 0 keeps all."""
    layout: Literal["plain", "msrs", "fmb", "m3fd", "llvip"] = "plain"
    """How the folder is laid out: ``ir`` beside ``vi``, or a published data set as it is unpacked."""
    labels: Labels | None = None
    """None: not labelled, or where the layout has its labels."""


def add_label_arguments(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Declare ``--labels`` and what belongs to it, which :func:`labels_of` reads.

    Args:
        parser: Of a command that knows ``DIR``, the data folder.
        default: Whose classes those labels have that come without ``--classes``; None: they need them.
    """
    parser.add_argument(
        "--labels", metavar="FORMAT:PATH",
        help="yolo, voc or mask and a folder in DIR, or coco and a file in it",
    )  # fmt: skip
    parser.add_argument(
        "--classes", metavar="NAME,NAME",
        help="the labels' classes in the order of their numbers, for yolo and mask"
        + (f" (default: {default})" if default else ""),
    )  # fmt: skip
    parser.add_argument(
        "--colours", metavar="#RRGGBB,...", help="the colours that stand for these classes in masks"
    )
    parser.add_argument(
        "--ignore", type=int, default=255, metavar="N",
        help="value of mask pixels that do not count (default: 255)",
    )  # fmt: skip


def labels_of(args: argparse.Namespace) -> Labels | None:
    """What the arguments of :func:`add_label_arguments` describe; None where there is no ``--labels``.

    Raises:
        ConfigError: ``--labels`` names no format or no path, a colour or value is none, or an option stands
            there without the one that it belongs to.
        RequestError: a class or colour is empty or there twice.
    """
    classes = () if args.classes is None else parse_classes(args.classes)
    colours = () if args.colours is None else parse_classes(args.colours, "--colours")
    kind, _, path = (args.labels or "").partition(":")
    if colours and kind != "mask":
        raise ConfigError("--colours", expected="--labels mask:FOLDER as well")
    if args.labels is None:
        if not 0 <= args.ignore <= 255:
            raise ConfigError("--ignore", expected="0 to 255, a value of a mask", got=str(args.ignore))
        if classes:
            raise ConfigError(f"--classes {args.classes}", expected="--labels as well")
        return None
    if kind not in FORMATS or not path:
        raise ConfigError(
            f"--labels {args.labels}",
            expected="FORMAT:PATH, as in yolo:labels, voc:labels, mask:masks or coco:labels.json",
        )
    table: dict[str, Any] = {"format": kind, "path": path, "ignore": args.ignore}
    try:
        return msgspec.convert({**table, "classes": classes, "colours": colours}, Labels)
    except msgspec.ValidationError as error:
        raise ConfigError(f"--labels {args.labels}: {error}") from error


def parse_classes(text: str, option: str = "--classes") -> tuple[str, ...]:
    """The names in "A,B,C", without the white space around them.

    Args:
        text: What the command line says.
        option: Where it says so, for the message.

    Raises:
        RequestError: a name is empty, or there twice (without regard to case): either would give
            another class's number to a name.
    """
    names = tuple(name.strip() for name in text.split(","))
    counts = Counter(name.casefold() for name in names)
    wrong = next((name for name in names if not name or counts[name.casefold()] > 1), None)
    if wrong is not None:
        raise RequestError(
            f"{option} {text}",
            expected="A,B,C, each once and none empty",
            got=f"'{wrong}' {counts[wrong.casefold()]} times" if wrong else "an empty one",
        )
    return names
