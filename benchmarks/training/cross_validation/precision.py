"""AP50 of any weighting of pictures, as COCO interpolates it, fast enough for thousands of resamples.

A picture of weight 2 counts as if it stood there twice. All its boxes are at the same places of the ranking
then, and the interpolated curve is that of the picture and its copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.numbers import SCORE_DIGITS
from benchmarks.training.cross_validation.matches import Matches

RECALLS = np.linspace(0, 1, 101)

F64 = npt.NDArray[np.float64]


class Ranking(NamedTuple):
    """The boxes of one class over all pictures, the best first."""

    pictures: npt.NDArray[np.int64]
    """(D,) where each was found."""
    hits: npt.NDArray[np.int64]
    """(H,) places in the ranking of those that are right."""
    objects: npt.NDArray[np.int64]
    """(P,) labelled objects of each picture."""

    def average_precision(self, weights: F64) -> float:
        """AP50; NaN where these pictures show no object of the class.

        Args:
            weights: (P,) how many times each picture counts.
        """
        total = float(weights @ self.objects)
        if not total:
            return float("nan")
        if not len(self.hits):
            return 0.0
        # Recall grows at hits alone, and no place between two of them has a higher precision than the next.
        ranked = weights[self.pictures]
        found = np.cumsum(ranked[self.hits])
        shown = np.cumsum(ranked)[self.hits]
        precision = np.divide(found, shown, out=np.zeros_like(found), where=shown > 0)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(found / total, RECALLS, side="left")
        return float(envelope[places[places < len(envelope)]].sum() / len(RECALLS))


def rankings(matches: Matches) -> list[Ranking]:
    """One a class."""
    found = []
    for number in range(matches.objects.shape[1]):
        chosen = np.flatnonzero(matches.classes == number)
        chosen = chosen[np.argsort(-matches.scores[chosen], kind="stable")]
        hits = np.flatnonzero(matches.hits[chosen])
        found.append(Ranking(matches.pictures[chosen], hits, matches.objects[:, number]))
    return found


def class_precisions(ranked: Sequence[Ranking], weights: F64) -> F64:
    """AP50 of every class, (C,); NaN for one that these pictures do not show."""
    return np.array([one.average_precision(weights) for one in ranked])


def mean_precision(ranked: Sequence[Ranking], weights: F64) -> float:
    """Mean AP50 over the classes that these pictures show; NaN where they show none."""
    found = class_precisions(ranked, weights)
    known = found[~np.isnan(found)]
    return float(known.mean()) if len(known) else float("nan")


def figures(matches: Matches, classes: Sequence[str], groups: Mapping[str, F64]) -> dict[str, float]:
    """AP50 by name: over all pictures, by class, and by group of pictures over the classes in it.

    Args:
        matches: Of all pictures.
        classes: Names.
        groups: (P,) 1 for a picture of the group and 0 for another, by the group's name.
    """
    ranked = rankings(matches)
    by_class = class_precisions(ranked, np.ones(len(matches.objects)))
    known = {f"map50 {name}": value for name, value in zip(classes, by_class, strict=True) if value == value}
    found = {"map50": float(np.mean(list(known.values())))} if known else {}
    found |= known
    found |= {f"map50 {name}": mean_precision(ranked, chosen) for name, chosen in groups.items()}
    return {name: round(float(value), SCORE_DIGITS) for name, value in found.items() if value == value}
