"""Points that people pick on the page: tried on the stream that runs, and written into the rig file.

Fit, refusal and writing are those of ``tdfusion-edge calibrate --point``.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import cv2
import msgspec

from tdfusion_edge.errors import RequestError, TdfusionError, WorkError
from tdfusion_edge.frames import Image
from tdfusion_edge.redact import redact_address
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration import rig_file, ways
from tdfusion_edge.runtime.calibration.gather import Shot
from tdfusion_edge.runtime.calibration.overlay import shown
from tdfusion_edge.runtime.cameras import Cameras
from tdfusion_edge.runtime.picture.registration import Warp, homography
from tdfusion_edge.runtime.pipeline.controls import Controls

MOST_POINTS = 48
STILL_S = 0.5
"""A still is made so often at most, however many ask."""
QUALITY = 92
"""Of visible's JPEG, 0 to 100: edges must stay where they are."""

Point: TypeAlias = tuple[float, float, float, float]


class Points(msgspec.Struct, forbid_unknown_fields=True):
    """What was picked."""

    points: Annotated[list[Point], msgspec.Meta(max_length=MOST_POINTS)]
    """x and y in infrared, x and y in visible, pixels of the still."""
    distance_m: rig.Metres | None = None
    """Distance of these places from the cameras, where it was measured."""


@dataclass(frozen=True)
class Rigged:
    """The cameras of a run, and the rig file that a registration of theirs is written to."""

    cameras: Cameras
    said: str
    """What ``--camera`` was given."""
    source: Path | None
    """The rig file that holds these cameras; None where there is none."""


class Alignment:
    """How infrared lies on visible, as the page may change it; safe from any thread.

    Args:
        rigged: Cameras and rig file.
        newest: Gives the newest result of the run; None before the first.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        rigged: Rigged,
        newest: Callable[[], Result | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rigged, self._newest, self._clock = rigged, newest, clock
        self._lock = threading.Lock()
        self._shot: Shot | None = None
        self._still: tuple[float, bytes] | None = None
        self._kept: tuple[rig.Registration | None, float | None] | None = None
        """Registration and distance that hold unless what is tried is saved; None: nothing is tried."""

    def told(self, controls: Controls) -> dict[str, Any]:
        """What every viewer should know of it."""
        source, registration = self._rigged.source, controls.registration
        return {
            "trying": self._kept is not None,
            "file": None if source is None else source.name,
            "error_px": None if registration is None else registration.reprojection_error,
            "measured": registration is not None,
            "measured_m": None if registration is None else registration.distance_m,
        }

    def still(self, controls: Controls) -> bytes:
        """The newest pair as its cameras gave it: a length of 4 bytes, JSON, infrared's PNG, visible's JPEG.

        Raises:
            RequestError: there is no pair of both just now.
        """
        with self._lock:
            if self._still is None or self._clock() - self._still[0] > STILL_S:
                shot = self._fresh()
                self._still = self._clock(), _encoded(shot, controls.registration)
                self._shot = shot
            return self._still[1]

    def tried(self, wish: Points, controls: Controls) -> dict[str, Any]:
        """Fit the points, and let the stream go on with what they give.

        Returns:
            Residuals and what else is known of the fit.

        Raises:
            RequestError, WorkError: as :func:`.ways.by_points` and :meth:`.Controls.register`; the stream
                goes on as it was.
        """
        with self._lock:
            found, fitted = self._found(wish)
            self._register(found.registration, controls)
            return fitted

    def undone(self, controls: Controls) -> None:
        """Go back to what the stream had before anything was tried, or since the last was saved."""
        with self._lock:
            if self._kept is not None:
                controls.register(*self._kept)
                self._kept = None

    def saved(self, wish: Points, controls: Controls) -> dict[str, Any]:
        """Fit the points once more, write what they give into the rig file, and let the stream have it.

        Returns:
            As :meth:`tried`, with the file's name as ``file``; without a rig file nothing is written, and
            ``command`` is what would make one.

        Raises:
            RequestError, WorkError: as :meth:`tried`, or the file cannot be written and is as it was.
        """
        with self._lock:
            (found, fitted), source = self._found(wish), self._rigged.source
            if source is None:
                return {**fitted, "file": None, "command": self.command(wish)}
            rig_file.require_library()
            self._register(found.registration, controls)  # which refuses what must not be written either
            rig_file.put(source, source, self._rigged.cameras, registration=found.registration)
            self._kept = None
            return {**fitted, "file": source.name}

    def command(self, wish: Points) -> str:
        """The command that does the same: for a rig file that there is not, or that cannot be written."""
        words = ["tdfusion-edge", "calibrate", "--camera", redact_address(self._rigged.said)]
        if self._rigged.source is None:
            words += ["--output", _free_name()]
        else:
            words += ["--rig", str(self._rigged.source)]
        for point in wish.points:
            words += ["--point", ",".join(f"{value:g}" for value in point)]
        if wish.distance_m is not None:
            words += ["--distance", f"{wish.distance_m:g}"]
        return shlex.join(words)

    def _register(self, registration: rig.Registration, controls: Controls) -> None:
        before = controls.registration, controls.settings.distance_m
        controls.register(registration)
        if self._kept is None:
            self._kept = before

    def _fresh(self) -> Shot:
        newest = self._newest()
        if newest is None:
            raise RequestError("no picture has come yet")
        infrared, visible = newest.pair.infrared, newest.pair.visible
        if infrared is None or visible is None:
            raise RequestError("there is no picture of both cameras just now", got=newest.degraded)
        return Shot(infrared.image, visible.image, newest.pair.time_ns)

    def _found(self, wish: Points) -> tuple[ways.Found, dict[str, Any]]:
        if self._shot is None:
            raise RequestError("points are picked on a still, and none was taken")
        source = self._rigged.source
        before = None if source is None else rig.read(source).registration
        blank = ways.Blank(self._shot, before, ways.Geometry(wish.distance_m))
        found = ways.by_points(list(wish.points), blank)
        Warp(found.registration, *blank.sizes)  # which refuses what is of no use
        word = ways.left_out(before, found.registration)
        return found, _fitted(found, () if word is None else (word,))


def why_not(error: TdfusionError) -> dict[str, Any]:
    """A refusal for the page, with the residuals where it is about them."""
    from tdfusion_edge.runtime.calibration.points import Misfit

    lengths = error.lengths if isinstance(error, Misfit) else None
    return {"error": str(error), "residuals_px": None if lengths is None else lengths.round(3).tolist()}


def _fitted(found: ways.Found, words: Sequence[str]) -> dict[str, Any]:
    report = found.report
    return {
        "residuals_px": report.residuals_px,
        "rms_px": report.rms_px if report.points != 4 else None,
        "coverage": report.coverage,
        "remarks": [*report.remarks, *words],
        "homography": found.registration.homography,
        "distance_m": found.registration.distance_m,
    }


def _encoded(shot: Shot, registration: rig.Registration | None) -> bytes:
    infrared, visible = _size(shot.infrared), _size(shot.visible)
    try:
        matrix = homography(registration, infrared, visible).tolist()
    except RequestError:  # of other sizes: there is nothing to go by
        matrix = None
    pictures = [
        _written(".png", shown(shot.infrared), [cv2.IMWRITE_PNG_COMPRESSION, 1]),
        _written(".jpg", shot.visible, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]),
    ]
    head = {
        "infrared": {"size": infrared, "bytes": len(pictures[0])},
        "visible": {"size": visible, "bytes": len(pictures[1])},
        "homography": matrix,
    }
    raw = msgspec.json.encode(head)
    return b"".join((len(raw).to_bytes(4, "big"), raw, *pictures))


def _written(kind: str, picture: Image, options: Sequence[int]) -> bytes:
    done, raw = cv2.imencode(kind, picture, options)
    if not done:
        raise WorkError(f"no {kind} of {picture.dtype} {picture.shape}")
    return raw.tobytes()


def _size(image: Image) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[0])


def _free_name() -> str:
    """A rig file's name that nothing has here: the command is to replace none."""
    names = ("rig.toml", *(f"rig-{number}.toml" for number in range(2, 100)))
    return next((name for name in names if not Path(name).exists()), "rig-new.toml")
