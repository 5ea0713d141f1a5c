"""``[cameras.NAME.radiometry]`` and ``[measure.NAME]`` of a rig file."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from tdfusion_edge.config import Table
from tdfusion_edge.runtime.zones.tables import Point, Polygon, Units, require_points, require_polygon

ABSOLUTE_ZERO = -273.15
Celsius: TypeAlias = Annotated[float, Meta(ge=ABSOLUTE_ZERO, le=10_000)]


class Radiometry(Table, frozen=True, kw_only=True):
    """What the counts of a radiometric camera mean: temperature = scale x counts + offset."""

    scale: Annotated[float, Meta(gt=0, le=10)]
    """Kelvin (which are degrees) a count: 0.01 or 0.1 of a FLIR Lepton with TLinear, 0.04 of others."""
    offset: Annotated[float, Meta(ge=-10_000, le=10_000)] = 0.0
    """Temperature at zero counts, in ``unit``."""
    unit: Literal["kelvin", "celsius"] = "kelvin"
    """What scale and offset give."""

    @property
    def zero_celsius(self) -> float:
        """Degrees Celsius at zero counts."""
        return self.offset + (ABSOLUTE_ZERO if self.unit == "kelvin" else 0.0)


class Measure(Table, frozen=True, kw_only=True):
    """One ``[measure.NAME]`` table: a spot, a line or an area."""

    spot: Point | None = None
    """A point: what is measured are the nine pixels around it."""
    line: tuple[Point, Point] | None = None
    """Two ends."""
    area: Polygon | None = None
    """At least three corners."""
    picture: Literal["infrared", "visible"] = "infrared"
    """Whose pixels the points are. ``visible`` ones are brought to infrared by the registration."""
    units: Units = "pixels"
    """``pixels``, or ``fraction``: 0 to 1 of width and height."""
    of: Literal["max", "min", "mean"] = "max"
    """Which temperature the limits are for."""
    above: Celsius | None = None
    """Alarm above so many degrees Celsius."""
    below: Celsius | None = None
    """Alarm below so many."""
    hysteresis: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    """An alarm is over once the temperature is so many degrees on the good side of its limit."""
    draw: bool = True
    """Draw it into the pictures that outputs show."""

    def __post_init__(self) -> None:
        given = [key for key in ("spot", "line", "area") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of spot, line and area, got {' and '.join(given) or 'none'}")
        if self.area is not None:
            require_polygon("area", self.area, self.units)
        else:
            require_points(given[0], self.points, self.units)
        if self.above is not None and self.below is not None and self.below >= self.above:
            raise ValueError(f"expected below under above, got {self.below:g} and {self.above:g}")

    @property
    def points(self) -> tuple[Point, ...]:
        """One of a spot, two of a line, the corners of an area."""
        return self.area or self.line or ((self.spot,) if self.spot is not None else ())
