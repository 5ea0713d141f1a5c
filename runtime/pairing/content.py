"""What moves in both cameras' pictures: a check of their capture times that does not believe the stamps.

Each frame becomes 40 by 30 cells; what changes in them from frame to frame is kept for a minute. From time to
time the lag between the two cameras is looked for (:mod:`.lag`), in a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.lag import Lag, Motion, find

log = logging.getLogger(__name__)

F32: TypeAlias = npt.NDArray[np.float32]

ROWS, COLUMNS = 30, 40
WINDOW_NS = 60_000_000_000
"""A lag is told from so much time; then the next window begins."""
TRIES_NS = (15_000_000_000, 30_000_000_000, WINDOW_NS)
"""Within a window it is looked for after so much time."""
CLOSEST_NS = 20_000_000
"""Frames of a camera that come more often than this are passed over."""
SPARSE_NS = 90_000_000
"""Intervals of the slower camera are joined to about so long a time: shorter ones only cost more."""
NOISE = 3.0
"""Changes below so many times the median change are noise."""
WINDOWS = 16
"""So many windows are remembered."""
CLEAR = 2.5
"""Prominence of a peak that is no accident: pictures of two different streets reach 2."""
EXACT_MS = 10.0
"""Largest standard error of what is told with confidence, milliseconds."""


@dataclass(frozen=True)
class Place:
    """What is needed of the rig to compare two cameras' pictures and to say what to write into it."""

    registration: rig.Registration | None = None
    offsets_ms: Mapping[rig.Role, float] = field(default_factory=dict)
    names: Mapping[rig.Role, str] = field(default_factory=dict)
    """In the rig file, of those cameras that stand there."""


@dataclass(frozen=True, slots=True)
class ContentReport:
    """The difference of the exposures, by what moves in the pictures."""

    offset_ms: float
    """To be added to infrared's capture times, so that both cameras agree, in milliseconds."""
    error_ms: float
    """Standard error of that."""
    confidence: Literal["good", "low"]
    """``low``: the peak is not clear, the error large, or the pictures do not lie on each other."""
    windows: int
    """Minutes of motion that it rests on; 0 within the first one."""


class Content:
    """Collects the motion in both pictures and tells the lag between them.

    :meth:`take` may be called from a thread a camera; :meth:`look` from another one.

    Args:
        place: How infrared lies on visible; without a registration as if edge on edge.
        tolerance_ms: Of ``[sync]``: an offset beyond it is warned of, once.
    """

    def __init__(self, place: Place, tolerance_ms: float) -> None:
        self._place, self._tolerance_ms = place, tolerance_ms
        self._cameras: dict[rig.Role, _Camera] = {
            "infrared": _Camera(place.registration),
            "visible": _Camera(None),
        }
        self._lock = threading.Lock()
        self._tried = 0
        self._windows: deque[ContentReport] = deque(maxlen=WINDOWS)
        self._early: ContentReport | None = None
        self._told = False
        self._last_far: ContentReport | None = None

    @property
    def repeated(self) -> Mapping[rig.Role, int]:
        """Frames of each camera that showed the picture of the frame before."""
        return {role: camera.repeated for role, camera in self._cameras.items()}

    def take(self, role: rig.Role, frame: Frame) -> None:
        """A camera gave a frame; one with fewer pixels than cells tells nothing."""
        if frame.image.shape[0] < ROWS or frame.image.shape[1] < COLUMNS:
            return
        camera = self._cameras[role]
        motion = camera.motion(frame)
        if motion is not None:
            with self._lock:
                camera.kept.append(motion)

    def look(self) -> None:
        """Look for the lag if there is enough that was not looked at yet; takes tenths of a second then."""
        with self._lock:
            kept = {role: list(camera.kept) for role, camera in self._cameras.items()}
        spans = [motions[-1][1] - motions[0][0] if motions else 0 for motions in kept.values()]
        if min(spans) < TRIES_NS[self._tried]:
            return
        last = TRIES_NS[self._tried] == WINDOW_NS
        report = _report(_joined(kept["infrared"]), _joined(kept["visible"]))
        self._tried = 0 if last else self._tried + 1
        with self._lock:
            if last:
                for role, motions in kept.items():
                    for _ in range(min(len(motions), len(self._cameras[role].kept))):
                        self._cameras[role].kept.popleft()
            if report is not None and last:
                self._keep(report)
            elif report is not None and not self._windows:
                self._early = report
        if report is not None:
            self._tell(report)

    def report(self) -> ContentReport | None:
        """What is known now; safe from any thread."""
        with self._lock:
            good = [one for one in self._windows if one.confidence == "good"]
            if not good:
                return self._windows[-1] if self._windows else self._early
            weights = np.array([1 / max(one.error_ms, 0.1) ** 2 for one in good])
            values = np.array([one.offset_ms for one in good])
        mean = float((weights * values).sum() / weights.sum())
        error = float(weights.sum() ** -0.5)
        if len(good) > 2:  # what the windows differ by counts too
            error = max(error, float(values.std(ddof=1)) / len(good) ** 0.5)
        return ContentReport(mean, error, "good", len(good))

    def _keep(self, report: ContentReport) -> None:
        good = [one for one in self._windows if one.confidence == "good"]
        if good and report.confidence == "good" and not _agree(good[-1], report):
            self._windows.clear()  # a camera was restarted, say: what was before holds no more
        self._windows.append(report)

    def _tell(self, report: ContentReport) -> None:
        """Warn once of an offset that two looks agree on."""
        far = report.confidence == "good" and (
            abs(report.offset_ms) > self._tolerance_ms + 3 * report.error_ms
        )
        before, self._last_far = self._last_far, report if far else None
        if self._told or not far or before is None or not _agree(before, report):
            return
        self._told = True
        name = self._place.names.get("infrared")
        where = "for the infrared camera" if name is None else f"under [cameras.{name}]"
        set_ms = self._place.offsets_ms.get("infrared", 0.0) + report.offset_ms
        log.warning(
            "what moves in both pictures says that infrared's capture times are %.0f ms %s (± %.0f), "
            "whatever the skew: set offset_ms = %.1f %s in rig.toml",
            abs(report.offset_ms), "late" if report.offset_ms < 0 else "early", report.error_ms, set_ms,
            where,
        )  # fmt: skip


class _Camera:
    """What changes in one camera's pictures."""

    def __init__(self, registration: rig.Registration | None) -> None:
        self._registration = registration
        self._last: tuple[int, F32] | None = None
        self._noise: float | None = None
        self.repeated = 0
        self.kept: deque[tuple[int, int, npt.NDArray[np.float16]]] = deque(maxlen=60 * 60)

    def motion(self, frame: Frame) -> tuple[int, int, npt.NDArray[np.float16]] | None:
        """Begin, end and change of each cell since the frame before; None where there is none to compare."""
        if self._last is not None and 0 <= frame.time_ns - self._last[0] < CLOSEST_NS:
            return None
        cells = thumbnail(frame.image, self._registration)
        last, self._last = self._last, (frame.time_ns, cells)
        if last is None or frame.time_ns <= last[0]:
            return None
        change = cells - last[1]
        if not change.any():
            self.repeated += 1
            self._last = last  # it shows the same moment
            return None
        change -= np.median(change)  # all of the picture: a gain, and no motion
        np.abs(change, out=change)
        noise = float(np.median(change))
        self._noise = noise if self._noise is None else self._noise + (noise - self._noise) / 32
        change -= NOISE * self._noise
        return last[0], frame.time_ns, np.clip(change, 0.0, 6e4).astype(np.float16)


def thumbnail(image: Image, registration: rig.Registration | None = None) -> F32:
    """Means of 30 x 40 cells of the visible picture, float32, in counts.

    Args:
        image: uint8 or uint16 (H, W), or uint8 (H, W, 3).
        registration: Of an infrared picture: where its pixels lie in the visible one.
    """
    height, width = image.shape[:2]
    step = max(1, min(height // (4 * ROWS), width // (4 * COLUMNS)))
    sparse = np.ascontiguousarray(image[step // 2 :: step, step // 2 :: step])
    if registration is None or registration.infrared_size != (width, height):
        small = cv2.resize(sparse, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    else:
        into = np.diag([COLUMNS / registration.visible_size[0], ROWS / registration.visible_size[1], 1.0])
        pixels = np.diag([width / (2 * COLUMNS), height / (2 * ROWS), 1.0])
        finer = cv2.resize(sparse, (2 * COLUMNS, 2 * ROWS), interpolation=cv2.INTER_AREA)
        small = cv2.warpPerspective(finer, into @ np.array(registration.homography) @ pixels, (COLUMNS, ROWS))
    cells = small.astype(np.float32)
    return cells if cells.ndim == 2 else cells @ np.array([0.114, 0.587, 0.299], np.float32)


def _joined(kept: list[tuple[int, int, npt.NDArray[np.float16]]]) -> Motion:
    begins, ends, cells = zip(*kept, strict=True)
    return Motion(np.array(begins) / 1e9, np.array(ends) / 1e9, np.array(cells, np.float32))


def _report(infrared: Motion, visible: Motion) -> ContentReport | None:
    origin_s = min(infrared.begins_s[0], visible.begins_s[0])
    one, other = (Motion(m.begins_s - origin_s, m.ends_s - origin_s, m.cells) for m in (infrared, visible))
    slower = float(np.median(one.ends_s - one.begins_s)) >= 0.99 * float(
        np.median(other.ends_s - other.begins_s)
    )
    found = find(_sparser(one), other) if slower else find(_sparser(other), one)
    if found is None:
        return None
    offset_ms = found.lag_s * 1e3 * (1 if slower else -1)
    return ContentReport(offset_ms, found.error_s * 1e3, _confidence(found), 1)


def _confidence(found: Lag) -> Literal["good", "low"]:
    clear = found.prominence >= CLEAR and found.aligned and found.error_s * 1e3 <= EXACT_MS
    return "good" if clear else "low"


def _sparser(motion: Motion) -> Motion:
    """The same in intervals of about a tenth of a second."""
    usual_s = float(np.median(motion.ends_s - motion.begins_s))
    count = max(1, round(SPARSE_NS / 1e9 / usual_s)) if usual_s > 0 else 1
    whole = len(motion.cells) // count * count
    if count == 1 or not whole:
        return motion
    cells = motion.cells[:whole].reshape(-1, count, ROWS, COLUMNS).sum(axis=1)
    return Motion(motion.begins_s[:whole:count], motion.ends_s[count - 1 : whole : count], cells)


def _agree(one: ContentReport, other: ContentReport) -> bool:
    limit_ms: float = 5 + 4 * (one.error_ms**2 + other.error_ms**2) ** 0.5
    return abs(one.offset_ms - other.offset_ms) <= limit_ms


def keep_looking(content: Content, stop: threading.Event) -> None:
    """Look again and again until ``stop``; the body of a thread."""
    while not stop.wait(1.0):
        content.look()
