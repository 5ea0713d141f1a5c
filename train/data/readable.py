"""Pairs of which the damaged ones are passed over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tdfusion_edge.errors import SourceError
from tdfusion_edge.pairs import LabelledPair

MOST_DAMAGED = 0.1
"""Share of the pairs that may turn out unreadable during a training before it ends."""


class Readable:
    """Those of a training's pairs that can be read.

    Args:
        samples: All pairs.
        crop: Side of the crop, pixels; a pair that is smaller counts as damaged.
        known: Indices of the pairs that are known to be damaged.
    """

    def __init__(self, samples: Sequence[LabelledPair], crop: int, known: Iterable[int]) -> None:
        self._samples, self._crop, self._known = samples, crop, frozenset(known)
        self.damaged: dict[int, SourceError] = {}
        """What was found damaged beside the known ones, and why, by index."""

    def at(self, pool: Sequence[int], place: int) -> LabelledPair:
        """The pair whose index stands at a place of ``pool``, or the next one there that can be read.

        Raises:
            SourceError: none of the pool can be, or more than a tenth of all pairs.
        """
        return self.found(pool, place)[1]

    def found(self, pool: Sequence[int], place: int) -> tuple[int, LabelledPair]:
        """As :meth:`at`, with the index of the pair.

        Raises:
            SourceError: none of the pool can be, or more than a tenth of all pairs.
        """
        for step in range(len(pool)):
            index = pool[(place + step) % len(pool)]
            if index in self._known or index in self.damaged:
                continue
            try:
                sample = self._samples[index]
                if min(sample.infrared.shape) < self._crop:
                    raise SourceError(f"pair '{sample.name}' is smaller than the crop")
                return index, sample
            except SourceError as error:
                if len(self._known) + len(self.damaged) + 1 > max(1, MOST_DAMAGED * len(self._samples)):
                    raise
                self.damaged[index] = error
        raise SourceError("no pair of the training can be read")
