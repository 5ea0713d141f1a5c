"""What is made of the findings of a stream: tracks, events at zones and lines, temperatures."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.observations import Event
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig as rigs
from tdfusion_edge.runtime.cameras import Cameras
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.rig import Rig
from tdfusion_edge.runtime.temperatures.thermometer import Thermometer
from tdfusion_edge.runtime.tracking import Tracker
from tdfusion_edge.runtime.zones.tables import Place, Size
from tdfusion_edge.runtime.zones.watch import LineWatch, Moment, ZoneWatch


class Analysis:
    """Follows the results of one stream; memory is bounded.

    Args:
        rig: Zones, lines and how tracks are made.
        track: Number the boxes. Zones and lines of the rig are watched only then.
        thermometer: Measures places; None measures nothing.
    """

    stage = "analyse"
    """Under which name the loop times it."""

    def __init__(self, rig: Rig, *, track: bool, thermometer: Thermometer | None = None) -> None:
        self._rig = rig
        self._tracker = Tracker(rig.tracks) if track else None
        self._thermometer = thermometer
        self._size: Size | None = None
        self._watches: list[ZoneWatch | LineWatch] = []

    def __call__(self, result: Result) -> Result:
        """The result with tracks, events, temperatures and marks.

        Raises:
            ConfigError: a place lies outside of the picture, or the camera gives no temperatures.
        """
        events: list[Event] = []
        marks = []
        if self._tracker is not None:
            found = self._tracker.update(result.detections, result.pair.time_ns)
            result = replace(result, findings={**result.findings, "boxes": found})
            moment = Moment(found, result.pair.time_ns, result.utc_ns, self._tracker.numbers)
            for watch in self._placed(result):
                events += watch.update(moment)
                mark = watch.mark()
                marks += [] if mark is None else [mark]
        temperatures = None
        if self._thermometer is not None:
            temperatures, alarms, measured = self._thermometer.update(result)
            events += alarms
            marks += measured
        return replace(result, events=tuple(events), temperatures=temperatures, marks=tuple(marks))

    def require(self, registration: rigs.Registration | None) -> None:
        """Refuse a registration by which a measured place would not be found; safe from any thread.

        Raises:
            RequestError: as :meth:`.Thermometer.require`.
        """
        if self._thermometer is not None:
            self._thermometer.require(registration)

    def register(self, registration: rigs.Registration | None) -> None:
        """From the next result on infrared lies so on visible; for the loop's thread."""
        if self._thermometer is not None:
            self._thermometer.register(registration)

    def _placed(self, result: Result) -> Sequence[ZoneWatch | LineWatch]:
        """The places in pictures of this size; another size begins anew."""
        height, width = result.picture.shape[:2]
        if self._size != (width, height):
            self._size = width, height
            zones = [ZoneWatch(name, zone, self._size) for name, zone in self._rig.zones.items()]
            lines = [LineWatch(name, line, self._size) for name, line in self._rig.lines.items()]
            self._watches = [*zones, *lines]
        return self._watches


def analysis_of(cameras: Cameras, fuser: Fuser, *, track: bool) -> Analysis | None:
    """What is made of a run's findings; None where neither the request nor the rig asks for anything.

    Zones and lines need tracks and switch them on.

    Args:
        cameras: Two cameras and their rig.
        fuser: It knows what is detected.
        track: Number the boxes.

    Raises:
        RequestError: tracks are wanted, and nothing is detected.
        ConfigError: a class that is not detected, places to be measured by a camera that states no
            radiometry, or a radiometry of the visible camera.
    """
    rig = cameras.tables
    places: dict[str, Place] = {
        **{f"zones.{name}": zone for name, zone in rig.zones.items()},
        **{f"lines.{name}": line for name, line in rig.lines.items()},
    }
    head = fuser.heads.get("boxes")
    if (track or places) and head is None:
        raise RequestError(
            "--track, but nothing is detected" if track else f"[{next(iter(places))}] needs detections",
            expected="a bundle with a detector, and its boxes to be asked for",
            got=f"bundle '{fuser.manifest.name}'" + ("" if fuser.heads else ", nothing detected"),
        )
    for name, place in places.items():
        _require_classes(name, place, () if head is None else head.names)
    thermometer = _thermometer_of(cameras)
    if not (track or places or thermometer):
        return None
    return Analysis(rig, track=track or bool(places), thermometer=thermometer)


def _require_classes(table: str, place: Place, known: Sequence[str]) -> None:
    for name in place.classes or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"[{table}] classes: nothing detects '{name}'",
                expected=", ".join(known),
                hint=f"Did you mean '{near[0]}'?" if near else None,
            )


def _thermometer_of(cameras: Cameras) -> Thermometer | None:
    name, camera = cameras.infrared
    if cameras.visible[1].radiometry is not None:
        raise ConfigError(
            f"[cameras.{cameras.visible[0]}.radiometry]: the camera is the visible one",
            expected="radiometry of the infrared camera alone",
        )
    measures = cameras.tables.measure
    if not measures:
        return None
    if camera.radiometry is None:
        raise ConfigError(
            f"[measure.{next(iter(measures))}] needs degrees, and what counts of '{name}' mean is not stated",
            expected=f"[cameras.{name}.radiometry] with scale and offset of a radiometric camera",
            hint="Most thermal cameras are not radiometric: their counts drift with their own temperature.",
        )
    return Thermometer(name, camera.radiometry, measures, cameras.registration)
