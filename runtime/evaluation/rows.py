"""Measuring rows of fused pictures: fusion metrics of each pair, and what the heads find in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import cv2

from tdfusion_edge.color import U8
from tdfusion_edge.console import watched
from tdfusion_edge.errors import InputMissing
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.metrics import Scores, evaluate, mean
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.reader import require_equal_sizes
from tdfusion_edge.plain import GREY, OF_ONE, PLAIN, Plain
from tdfusion_edge.result import Findings
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.heads.base import Seen
from tdfusion_edge.runtime.picture.stretch import F32, Stretch, StretchName

Fuse: TypeAlias = Callable[[LabelledPair], U8]
"""A pair to fused luma, uint8 (H, W)."""


Look: TypeAlias = Callable[[U8 | F32, U8 | None, U8 | None], Findings]
"""A luma, uint8 (H, W) or float32 (H, W) in [0, 1]; chroma, uint8 (2, H, W) or None where it is to be
seen in grey; and infrared, uint8 (H, W) or None where the luma is of one sensor, to what heads find, by their
kind."""


class Fused(NamedTuple):
    """One fused picture."""

    picture: U8
    """(H, W) uint8, what is shown."""
    luma: U8 | F32
    """What the heads see: of a network, its output before the stretch."""
    coloured: bool = True
    """Whether heads that see colours see it in those of the visible picture; in grey otherwise."""
    both: bool = True
    """Whether it is of both sensors; heads that see infrared beside it do so only then."""

    def beside(self, pair: LabelledPair) -> tuple[U8 | None, U8 | None]:
        """The chroma and the infrared picture of its pair that heads may see beside it."""
        return pair.chroma if self.coloured else None, pair.infrared if self.both else None


Row: TypeAlias = Callable[[LabelledPair], Fused]
"""A pair to a fused picture."""


class Measured(NamedTuple):
    """One pair of a row."""

    name: str
    scores: Scores
    tallies: Mapping[str, Any]
    """What counts of each head that was asked, by its kind, as its ``tally`` gives it."""


def score(pairs: Sequence[LabelledPair], fuse: Fuse) -> Scores:
    """Mean scores of ``fuse`` over these pairs; raises as :func:`measure`."""
    (row,) = measure(pairs, {"": as_row(fuse)}).values()
    return mean(pair.scores for pair in row)


def measure(
    pairs: Sequence[LabelledPair], rows: Mapping[str, Row], look: Look | None = None
) -> dict[str, list[Measured]]:
    """Measure every row on every pair, in their order; a pair is read once for all rows.

    Several threads read pairs and call ``rows`` and ``look``.

    Raises:
        RequestError: the two pictures of a pair, or the fused one, differ in size, or one has 16 bits.
        SourceError: a picture cannot be read.
    """

    def one(index: int) -> list[Measured]:
        pair = pairs[index]
        return [_measured(pair, row(pair), look) for row in rows.values()]

    # The metrics are NumPy and OpenCV, which release the interpreter: threads are enough.
    with ThreadPoolExecutor(cv2.getNumberOfCPUs()) as pool:
        columns = list(watched(pool.map(one, range(len(pairs))), len(pairs), "scoring"))
    return {name: [column[place] for column in columns] for place, name in enumerate(rows)}


def _measured(pair: LabelledPair, fused: Fused, look: Look | None) -> Measured:
    require_equal_sizes(pair.name, "fused", fused.picture, pair.visible)
    findings: Findings = {}
    if look is not None:
        findings = look(fused.luma, *fused.beside(pair))
    tallies = {kind: kind_of(kind).tally(Seen(pair, found)) for kind, found in findings.items()}
    return Measured(pair.name, evaluate(fused.picture, pair.infrared, pair.visible), tallies)


def as_row(fuse: Fuse, *, coloured: bool = True, both: bool = True) -> Row:
    """A row whose pictures are shown and seen as they are.

    Args:
        fuse: Makes the luma.
        coloured: Whether heads that see colours see it in those of the visible picture.
        both: Whether the pictures are of both sensors.
    """

    def row(pair: LabelledPair) -> Fused:
        picture = fuse(pair)
        return Fused(picture, picture, coloured, both)

    return row


def baselines() -> dict[str, Row]:
    """The rows of :data:`~tdfusion_edge.plain.PLAIN`, by name."""
    return {
        name: as_row(of_pair(plain), coloured=name not in GREY, both=name not in OF_ONE)
        for name, plain in PLAIN.items()
    }


def of_pair(plain: Plain) -> Fuse:
    """What makes a picture of two lumas, for pairs."""
    return lambda pair: plain(pair.infrared, pair.visible)


def by_fuser(fuser: Fuser, stretch: StretchName) -> Row:
    """A row that a bundle makes; its heads are asked apart, as those of every row."""

    def row(pair: LabelledPair) -> Fused:
        luma = fuser.luma(pair.infrared, pair.visible)
        return Fused(Stretch(stretch).apply(luma, 0), luma)

    return row


def look_of(fuser: Fuser, kind: str) -> Look:
    """What a bundle's head of one kind finds, for several threads."""
    lock = Lock()  # its input buffer is made once

    def look(luma: U8 | F32, chroma: U8 | None, infrared: U8 | None) -> Findings:
        with lock:
            return {kind: fuser.heads[kind].find(luma, chroma, infrared)}

    return look


def from_folder(folder: Path) -> Row:
    """A row of fused pictures that lie in ``folder``.

    Raises:
        InputMissing: there is no such folder; the row itself raises it where a picture is missing.
    """
    pictures = by_stem(folder)

    def fuse(pair: LabelledPair) -> U8:
        if pair.name not in pictures:
            raise InputMissing(f"there is no fused picture '{pair.name}' to compare")
        return read_luma8(pictures[pair.name])

    return as_row(fuse)
