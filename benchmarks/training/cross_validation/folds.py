"""Folds of a set of pictures that come from videos: what a network is scored on shows nothing that it knows.

Neighbouring frames show nearly the same, so that they must not part company: frames of one time of day with
at most :data:`GAP` numbers between neighbours are a block. A block of more than :data:`LONGEST` pairs is cut
into equal pieces, for otherwise a quarter of all pairs would be one street. At such a cut two folds do touch,
and there the *training* gives way: what lies within :data:`GAP` frames of a fold's pair is left out of that
fold's training. So every pair is scored, and no network has seen a neighbour of what it is scored on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tdfusion_edge.errors import RequestError

GAP = 10
"""Frame numbers between two pairs up to which they count as neighbours."""
LONGEST = 24
"""Pairs of a piece at most."""
STEM = re.compile(r"(?P<number>\d+)(?P<time>[DN])")


class Frame(NamedTuple):
    """What a stem such as ``00209D`` says."""

    time: str
    """``D``: by day, ``N``: by night."""
    number: int


class Folds(NamedTuple):
    """All pairs, each in one fold."""

    pieces: tuple[tuple[tuple[str, ...], ...], ...]
    """Of every fold its pieces, each of neighbouring pairs."""

    def tested(self, fold: int) -> tuple[str, ...]:
        """The pairs that a fold's networks are scored on, in the order of their names."""
        return tuple(sorted(name for piece in self.pieces[fold] for name in piece))

    def training(self, fold: int) -> tuple[str, ...]:
        """The pairs that a fold's networks may learn from, in the order of their names."""
        tested = [frame_of(name) for name in self.tested(fold)]
        others = (name for other in range(len(self.pieces)) if other != fold for name in self.tested(other))
        return tuple(sorted(name for name in others if not _near(frame_of(name), tested)))

    def unseen(self, fold: int) -> frozenset[str]:
        """The pairs that a fold's networks must not have seen: those of the fold, and their neighbours."""
        everything = {name for number in range(len(self.pieces)) for name in self.tested(number)}
        return frozenset(everything.difference(self.training(fold)))


def divided(names: Sequence[str], folds: int) -> Folds:
    """Folds of about as many pairs by day and by night each; the same for the same names in any order.

    Args:
        names: Stems as ``00209D``.
        folds: How many.

    Raises:
        RequestError: a stem says no frame or is there twice, or there are fewer pieces than folds.
    """
    if folds < 2:
        raise RequestError("number of folds", expected="2 or more", got=str(folds))
    frames = {name: frame_of(name) for name in names}
    if len(set(frames.values())) < len(names):
        raise RequestError("two pairs of one frame", expected="every frame once")
    pieces = [piece for block in blocks(frames) for piece in cut(block)]
    if len(pieces) < folds:
        raise RequestError(
            f"the pairs are too near to each other for {folds} folds",
            expected=f"{folds} groups with more than {GAP} frames between them, or longer ones",
            got=str(len(pieces)),
        )
    given: list[list[tuple[str, ...]]] = [[] for _ in range(folds)]
    counts: list[Counter[str]] = [Counter() for _ in range(folds)]
    # The longest first: what is short then evens out what is left.
    for piece in sorted(pieces, key=lambda one: (-len(one), frames[one[0]])):
        time = frames[piece[0]].time
        least = min(range(folds), key=lambda fold: (counts[fold][time], counts[fold].total(), fold))
        given[least].append(piece)
        counts[least][time] += len(piece)
    return Folds(tuple(map(tuple, given)))


def frame_of(name: str) -> Frame:
    """Time of day and number of a stem.

    Raises:
        RequestError: it says none.
    """
    found = STEM.fullmatch(name)
    if found is None:
        raise RequestError(
            f"the pair '{name}' has no place in time", expected="a frame number and D or N, as 00209D"
        )
    return Frame(found["time"], int(found["number"]))


def blocks(frames: dict[str, Frame]) -> list[list[str]]:
    """Runs of neighbours, each in the order of its frames."""
    ordered = sorted(frames, key=frames.__getitem__)
    found = [ordered[:1]]
    for before, name in pairwise(ordered):
        if _near(frames[name], [frames[before]]):
            found[-1].append(name)
        else:
            found.append([name])
    return found


def cut(block: Sequence[str]) -> list[tuple[str, ...]]:
    """A block in as few pieces of about one length as :data:`LONGEST` allows."""
    count = -(-len(block) // LONGEST)
    bounds = [round(number * len(block) / count) for number in range(count + 1)]
    return [tuple(block[start:end]) for start, end in pairwise(bounds)]


def _near(frame: Frame, others: Sequence[Frame]) -> bool:
    return any(frame.time == other.time and abs(frame.number - other.number) <= GAP for other in others)
