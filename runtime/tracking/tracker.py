"""Boxes become tracks, in the manner of ByteTrack (Zhang et al., arXiv 2110.06864, algorithm 1).

Written anew, for the kept libraries do not fit a device: they count pictures where a stream that drops some
needs seconds, and bring SciPy, matplotlib or a second OpenCV. What differs from the paper: real time,
overlaps within a class only, and a track needs a second box before it has a number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tdfusion_edge.detections import Detections
from tdfusion_edge.runtime.tracking import kalman
from tdfusion_edge.runtime.tracking.assignment import match, overlaps
from tdfusion_edge.runtime.tracking.tables import Tracks

NO_TRACK = -1
MOST_TRACKS = 1000
"""Remembered at once; those that were not seen for longest go first."""
LEAST_OVERLAP = 0.2
"""Of a box with where a track is expected (IoU); the paper's."""
LEAST_OVERLAP_UNSURE = 0.5
"""Of a box with a low score; the paper's."""


class Tracker:
    """Numbers the things in the pictures of one stream; memory is bounded.

    Args:
        tracks: Scores and times.
    """

    def __init__(self, tracks: Tracks = Tracks()) -> None:  # noqa: B008 (immutable)
        self._tracks = tracks
        self._lost_ns = round(tracks.lost_s * 1e9)
        self._newest_ns: int | None = None
        self._given = 0
        self._states = kalman.begun(np.zeros((0, 4)))
        self._numbers = np.zeros(0, np.int64)
        """Of each track; :data:`NO_TRACK` while a second box is waited for."""
        self._classes = np.zeros(0, np.int64)
        self._seen_ns = np.zeros(0, np.int64)

    @property
    def numbers(self) -> frozenset[int]:
        """Of the tracks that are remembered, seen in the last picture or not."""
        return frozenset(self._numbers[self._numbers > 0].tolist())

    def update(self, found: Detections, time_ns: int) -> Detections:
        """The same boxes with the numbers of their tracks.

        A number is given at the second box of a thing, counts from 1 and is never given again.

        Args:
            found: What one picture shows. Classes keep their ids throughout.
            time_ns: Capture time of the picture. One before the last picture's counts as the same moment.

        Returns:
            The detections with ``track_ids``, -1 where a box has no track (yet).
        """
        time_ns = time_ns if self._newest_ns is None else max(time_ns, self._newest_ns)
        gone_ns = 0 if self._newest_ns is None else time_ns - self._newest_ns
        previous_ns, self._newest_ns = self._newest_ns, time_ns
        self._keep(time_ns - self._seen_ns <= self._lost_ns)
        self._states = kalman.predicted(self._states, gone_ns / 1e9)
        boxes, sure = found.boxes.astype(np.float64), found.scores >= self._tracks.sure_score
        # Numbered tracks choose before those of one box, the sure boxes before the others.
        numbered, seen_last = self._numbers > 0, self._seen_ns == previous_ns
        owner = np.full(len(found), -1, np.int64)
        for tracks, candidates, least in (
            (numbered, sure, LEAST_OVERLAP),
            (numbered & seen_last, ~sure, LEAST_OVERLAP_UNSURE),
            (~numbered, sure, LEAST_OVERLAP),
        ):
            self._join(owner, tracks, candidates, boxes, found.class_ids, least)
        taken = np.flatnonzero(owner >= 0)
        self._see(owner[taken], boxes[taken], time_ns)
        ids = np.full(len(found), NO_TRACK, np.int64)
        ids[taken] = self._numbers[owner[taken]]
        self._keep((self._numbers > 0) | (self._seen_ns == time_ns))
        self._begin(boxes[(owner < 0) & sure], found.class_ids[(owner < 0) & sure], time_ns)
        return replace(found, track_ids=ids)

    def _join(
        self,
        owner: npt.NDArray[np.int64],
        tracks: npt.NDArray[np.bool_],
        candidates: npt.NDArray[np.bool_],
        boxes: kalman.F64,
        classes: npt.NDArray[np.int64],
        least: float,
    ) -> None:
        """Give boxes that have no owner one of ``tracks`` that owns none."""
        free = tracks.copy()
        free[owner[owner >= 0]] = False
        rows, columns = np.flatnonzero(free), np.flatnonzero(candidates & (owner < 0))
        if not len(rows) or not len(columns):
            return
        shared = overlaps(self._states.take(rows).boxes(), boxes[columns])
        shared[self._classes[rows][:, None] != classes[columns][None, :]] = 0.0
        for row, column in match(shared, least):
            owner[columns[column]] = rows[row]

    def _see(self, which: npt.NDArray[np.int64], boxes: kalman.F64, time_ns: int) -> None:
        """Tracks have a box each."""
        for whole, part in zip(self._states, kalman.corrected(self._states.take(which), boxes), strict=True):
            whole[which] = part
        self._seen_ns[which] = time_ns
        new = np.sort(which[self._numbers[which] == NO_TRACK])
        self._numbers[new] = self._given + 1 + np.arange(len(new))
        self._given += len(new)

    def _begin(self, boxes: kalman.F64, classes: npt.NDArray[np.int64], time_ns: int) -> None:
        """A track of one box each."""
        self._states = self._states.joined(kalman.begun(boxes))
        self._numbers = np.append(self._numbers, np.full(len(boxes), NO_TRACK, np.int64))
        self._classes = np.append(self._classes, classes)
        self._seen_ns = np.append(self._seen_ns, np.full(len(boxes), time_ns, np.int64))
        if len(self._numbers) > MOST_TRACKS:
            newest = np.argsort(-self._seen_ns, kind="stable")[:MOST_TRACKS]
            self._keep(np.isin(np.arange(len(self._numbers)), newest))

    def _keep(self, which: npt.NDArray[np.bool_]) -> None:
        if which.all():
            return
        self._states = self._states.take(which)
        self._numbers, self._classes, self._seen_ns = (
            of[which] for of in (self._numbers, self._classes, self._seen_ns)
        )
