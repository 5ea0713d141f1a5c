"""Sequences of pairs that are read when they are asked for."""

from __future__ import annotations

import threading
from abc import abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import overload

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.pairs.types import LabelledPair

CACHED = 32
"""Pairs that a lazy sequence keeps in memory: for a mosaic that asks again, not to hold an epoch."""


class PairSequence(Sequence[LabelledPair]):
    """A sequence from its length and a function of an index."""

    @abstractmethod
    def _at(self, index: int) -> LabelledPair:
        """The pair at an index in 0..len - 1."""

    @overload
    def __getitem__(self, index: int) -> LabelledPair: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabelledPair]: ...
    def __getitem__(self, index: int | slice) -> LabelledPair | list[LabelledPair]:
        if isinstance(index, slice):
            return [self._at(one) for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        return self._at(index % len(self))


class LazyPairs(PairSequence):
    """Pairs that are read at use; the last few are kept. Several threads may read at once.

    Whatever is wrong with one pair is a :class:`SourceError` here, so that a long training can leave that
    pair out and go on.

    Args:
        length: How many there are.
        read: Reads the pair of an index.
        cached: How many are kept.
    """

    def __init__(self, length: int, read: Callable[[int], LabelledPair], cached: int = CACHED) -> None:
        self._length, self._read, self._size = length, read, cached
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, LabelledPair] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def _at(self, index: int) -> LabelledPair:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        # Outside of the lock: decoding takes milliseconds, and two threads seldom want the same pair.
        try:
            pair = self._read(index)
        except RequestError as error:
            raise SourceError(error.what, expected=error.expected, got=error.got, hint=error.hint) from error
        with self._lock:
            self._kept[index] = pair
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return pair


class _Joined(PairSequence):
    """Several sequences, one behind the other."""

    def __init__(self, parts: Sequence[Sequence[LabelledPair]]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _at(self, index: int) -> LabelledPair:
        part = bisect_right(self._ends, index)
        return self._parts[part][index - (self._ends[part - 1] if part else 0)]


def mapped(
    samples: Sequence[LabelledPair], change: Callable[[LabelledPair], LabelledPair]
) -> Sequence[LabelledPair]:
    """Every pair changed: at once those that are in memory, the others when they are read."""
    if isinstance(samples, list):
        return [change(pair) for pair in samples]
    return LazyPairs(len(samples), lambda index: change(samples[index]))


def joined(parts: Sequence[Sequence[LabelledPair]]) -> Sequence[LabelledPair]:
    """Several sequences as one, without reading what is lazy."""
    if all(isinstance(part, list) for part in parts):
        return [pair for part in parts for pair in part]
    return _Joined([part for part in parts if len(part)])
