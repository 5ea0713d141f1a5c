"""How good a detector's boxes are, against labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tdfusion_edge import detection_scores
from tdfusion_edge.detection_scores import DetectionScores, Truth
from tdfusion_edge.detections import Detections
from tdfusion_edge.pairs import Boxes
from tdfusion_edge.runtime.heads.base import Seen


class Tally(NamedTuple):
    """What counts of one labelled picture."""

    found: Detections
    """Down to the lowest score that an average precision counts."""
    labelled: Boxes


def tally(seen: Seen) -> Tally | None:
    """What counts of one picture; None where it is not labelled with boxes."""
    return None if seen.pair.boxes is None else Tally(seen.found, seen.pair.boxes)


def score(tallies: Sequence[Tally | None]) -> DetectionScores | None:
    """Average precisions over several pictures; None where not all are labelled, or there is none.

    Raises:
        RequestError: the scoring library is not installed.
    """
    known = [one for one in tallies if one is not None]
    if not known or len(known) < len(tallies):
        return None
    truths = [Truth(*one.labelled) for one in known]
    return detection_scores.score([one.found for one in known], truths, known[0].found.names)
