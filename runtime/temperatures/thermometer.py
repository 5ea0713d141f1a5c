"""Temperatures of places, and alarms where they pass a limit."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.observations import Event, EventKind, Mark, Temperature
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.temperatures.pixels import indices, places
from tdfusion_edge.runtime.temperatures.tables import ABSOLUTE_ZERO, Measure, Radiometry
from tdfusion_edge.runtime.zones.tables import Size

log = logging.getLogger(__name__)

COLDEST, HOTTEST = -100.0, 2000.0
"""Degrees Celsius: half of the first picture's pixels are colder or hotter only where the scale is wrong."""


class Thermometer:
    """Measures the places of a rig in the counts of its infrared camera.

    Counts are taken as the camera gave them, before anything ranges them. There are degrees only of a fresh
    frame: not where infrared is missing, held, frozen or dead.

    Args:
        camera: Name of the infrared camera, for messages.
        radiometry: What its counts mean.
        measures: The places by name.
        registration: Where infrared pixels lie in the visible picture.
    """

    def __init__(
        self,
        camera: str,
        radiometry: Radiometry,
        measures: Mapping[str, Measure],
        registration: rig.Registration | None = None,
    ) -> None:
        self._camera, self._radiometry = camera, radiometry
        self._measures, self._registration = dict(measures), registration
        self._alarms = {name: Alarm(name, measure) for name, measure in measures.items()}
        self._sizes: tuple[Size, Size] | None = None
        """Of the last infrared and visible pictures."""
        self._placed_for: tuple[Size, Size] | None = None
        """The sizes that the pixels were worked out for."""
        self._pixels: dict[str, npt.NDArray[np.intp]] = {}
        self._shown: dict[str, tuple[tuple[float, float], ...]] = {}
        self._checked = self._told = False

    def update(self, result: Result) -> tuple[dict[str, Temperature] | None, list[Event], list[Mark]]:
        """What a picture's infrared frame says.

        Returns:
            Temperatures by place, None without a fresh infrared frame; events; and what is drawn.

        Raises:
            ConfigError: the first frame shows that the camera gives no temperatures, or a place lies outside.
            RequestError: the registration does not fit the sizes.
        """
        frame = result.pair.infrared
        # Visible's faults are none of infrared's.
        stale = result.degraded is not None and not result.degraded.startswith("visible")
        if frame is None or stale or not self._usable(frame):
            return None, [], []
        height, width = result.picture.shape[:2]
        self._place(frame.size, (width, height))
        counts = frame.image.reshape(-1)
        found, events, marks = {}, [], []
        for name, measure in self._measures.items():
            found[name] = temperature = self._degrees(counts[self._pixels[name]])
            alarm = self._alarms[name]
            events += alarm.update(temperature, result.pair.time_ns, result.utc_ns)
            if measure.draw:
                label = f"{name} {getattr(temperature, FIELD[measure.of]):.1f} C"
                marks.append(Mark(self._shown[name], label, alarm.state != "normal"))
        return found, events, marks

    def require(self, registration: rig.Registration | None) -> None:
        """Refuse a registration by which a place would not be found; safe from any thread.

        Raises:
            ConfigError: a place lies outside of what infrared sees then.
            RequestError: the registration does not fit the sizes, or no picture has told them yet.
        """
        sizes = self._sizes
        if sizes is None:
            raise RequestError("places are measured, and no picture has come yet")
        for name, measure in self._measures.items():
            places(name, measure, registration, *sizes)

    def register(self, registration: rig.Registration | None) -> None:
        """From the next picture on infrared lies so on visible; for the thread of :meth:`update`."""
        self._registration, self._placed_for = registration, None

    def _degrees(self, counts: npt.NDArray[np.uint16]) -> Temperature:
        scale, zero = self._radiometry.scale, self._radiometry.zero_celsius
        low, high, mean = float(counts.min()), float(counts.max()), float(counts.mean())
        return Temperature(low * scale + zero, high * scale + zero, mean * scale + zero)

    def _place(self, infrared: Size, visible: Size) -> None:
        """Work out the pixels, once for a size."""
        self._sizes = infrared, visible
        if self._placed_for == self._sizes:
            return
        for name, measure in self._measures.items():
            own, shown = places(name, measure, self._registration, infrared, visible)
            self._pixels[name] = indices(own, infrared)
            self._shown[name] = tuple((float(x), float(y)) for x, y in shown)
        self._placed_for = self._sizes

    def _usable(self, frame: Frame) -> bool:
        """Whether a frame holds temperatures. A first one without ends the run, of a later one is told."""
        fault = fault_of(frame.image) if frame.image.dtype != np.uint16 or not self._checked else None
        if fault is None and not self._checked:
            middle = float(np.median(frame.image)) * self._radiometry.scale + self._radiometry.zero_celsius
            if not max(COLDEST, ABSOLUTE_ZERO) <= middle <= HOTTEST:
                fault = f"half of the picture would be at {middle:.0f} degrees C: the scale is another one"
        if fault is None:
            self._checked = True
            return True
        if not self._checked:
            raise ConfigError(
                f"[cameras.{self._camera}.radiometry]: the camera gives no temperatures: {fault}",
                expected="16-bit counts that are linear in temperature, with their true scale",
                hint="Ask the camera for radiometric counts (TLinear, Y16), or take [measure] out.",
            )
        if not self._told:
            self._told = True
            log.warning("%s: no temperatures any more: %s", self._camera, fault)
        return False


FIELD: Mapping[str, str] = {"min": "low", "max": "high", "mean": "mean"}


def fault_of(image: Image) -> str | None:
    """Why a picture's values are no temperatures, as far as it can be seen; None where they may be."""
    if image.dtype != np.uint16:
        return "its pictures have 8 bits, which the camera ranged by contrast"
    low_byte = image & 0xFF
    if not low_byte.any() or (low_byte == image >> 8).all():
        return "its 16 bits hold 8, which were ranged by contrast"
    if image.min() == 0 and image.max() == 65535:
        return "its pictures span all 65536 counts: they were ranged by contrast"
    return None


class Alarm:
    """Tells when the temperature of a place passes a limit, and when it is well within again.

    Args:
        name: Of the place.
        measure: Its table.
    """

    def __init__(self, name: str, measure: Measure) -> None:
        self._name, self._measure = name, measure
        self.state: EventKind = "normal"
        """``normal``, ``above`` or ``below``."""

    def update(self, temperature: Temperature, time_ns: int, utc_ns: int | None) -> list[Event]:
        """The event of a changed state, if it did."""
        value = float(getattr(temperature, FIELD[self._measure.of]))
        state = self._next(value)
        if state == self.state:
            return []
        self.state = state
        return [Event(state, self._name, time_ns, utc_ns, celsius=value)]

    def _next(self, value: float) -> EventKind:
        above, below, slack = self._measure.above, self._measure.below, self._measure.hysteresis
        if above is not None and value > above:
            return "above"
        if below is not None and value < below:
            return "below"
        if self.state == "above" and above is not None and value > above - slack:
            return "above"
        if self.state == "below" and below is not None and value < below + slack:
            return "below"
        return "normal"
