"""``[zones.NAME]`` and ``[lines.NAME]`` of a rig file, and what all places in a picture have in common."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import numpy as np
from msgspec import Meta

from tdfusion_edge.config import Table
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.runtime.tracking.tables import Score
from tdfusion_edge.runtime.zones.geometry import F64, fault_of

MOST_POINTS = 100
LARGEST = 1e5
Coordinate: TypeAlias = Annotated[float, Meta(ge=0, le=LARGEST)]
Point: TypeAlias = tuple[Coordinate, Coordinate]
Polygon: TypeAlias = Annotated[tuple[Point, ...], Meta(min_length=3, max_length=MOST_POINTS)]
Units: TypeAlias = Literal["pixels", "fraction"]
Size: TypeAlias = tuple[int, int]


class Place(Table, frozen=True, kw_only=True):
    """A zone or a line: whom it concerns."""

    units: Units = "pixels"
    """``pixels`` of the visible picture, or ``fraction``: 0 to 1 of its width and height."""
    classes: tuple[str, ...] | None = None
    """Only things of these classes count; None: all that are found."""
    score: Score = 0.0
    """A thing counts once it was seen with at least this score."""
    anchor: Literal["bottom", "centre"] = "bottom"
    """The point of a box that counts: the middle of its lower side, where feet are, or its centre."""
    hysteresis: Annotated[float, Meta(ge=0, le=0.5)] = 0.02
    """How far beyond the border a thing must be before it counts as gone or as across, in shorter sides of
    the picture: 0.02 are about 10 pixels of 640x480."""
    draw: bool = True
    """Draw it into the pictures that outputs show."""


class Zone(Place, frozen=True, kw_only=True):
    """One ``[zones.NAME]`` table."""

    polygon: Polygon
    """Its corners in their order, at least three."""
    dwell_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    """Tell of what stays for so many seconds; None tells of nobody."""

    def __post_init__(self) -> None:
        require_polygon("polygon", self.polygon, self.units)


class Line(Place, frozen=True, kw_only=True):
    """One ``[lines.NAME]`` table."""

    points: tuple[Point, Point]
    """Its ends."""

    def __post_init__(self) -> None:
        require_points("points", self.points, self.units)


def require_polygon(key: str, points: tuple[Point, ...], units: Units) -> None:
    """Refuse what is no polygon with a ValueError, which a rig's reader makes a ConfigError."""
    require_points(key, points, units)
    fault = fault_of(np.array(points, np.float64))
    if fault is not None:
        raise ValueError(f"{key}: {fault}")


def require_points(key: str, points: tuple[Point, ...], units: Units) -> None:
    """Refuse fractions above 1, and two points that are one, with a ValueError."""
    if units == "fraction" and any(coordinate > 1 for point in points for coordinate in point):
        raise ValueError(f'{key}: expected 0 to 1 with units = "fraction", got {list(map(list, points))}')
    if len(points) == 2 and points[0] == points[1]:
        raise ValueError(f"{key}: expected two points, got one twice")


def in_pixels(place: str, points: tuple[Point, ...], units: Units, size: Size, of: str = "visible") -> F64:
    """Points in pixels of a picture, counted from its upper left corner as those of boxes are.

    Args:
        place: Table and name, for the message.
        points: As the rig has them.
        units: What they count in.
        size: Width and height of the picture.
        of: Which picture.

    Returns:
        (N, 2) float64.

    Raises:
        ConfigError: one lies outside of the picture.
    """
    found = np.array(points, np.float64)
    if units == "fraction":
        return found * np.array(size, np.float64)
    if (found > np.array(size)).any():
        far = next(point for point in points if point[0] > size[0] or point[1] > size[1])
        raise ConfigError(
            f"[{place}] lies outside of the {of} picture",
            expected=f"points within {size[0]}x{size[1]}",
            got=f"{list(far)}",
            hint='Correct it in the rig file; with units = "fraction" it holds for every size.',
        )
    return found
