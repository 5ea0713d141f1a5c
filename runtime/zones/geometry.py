"""Points, polygons and lines in the plane."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

F64: TypeAlias = npt.NDArray[np.float64]


def distances(points: F64, polygon: F64) -> F64:
    """How deep points lie in a polygon: the distance to its border, below 0 outside.

    Args:
        points: (N, 2).
        polygon: (M, 2), corners in their order.
    """
    begin, end = polygon, np.roll(polygon, -1, axis=0)
    along = end - begin
    offset = points[:, None] - begin[None]
    share = np.clip((offset * along).sum(axis=2) / (along**2).sum(axis=1), 0.0, 1.0)
    nearest = np.linalg.norm(offset - share[..., None] * along, axis=2).min(axis=1)
    # A ray to the right crosses the border of what it is inside an odd number of times.
    x, y = points[:, :1], points[:, 1:]
    spans = (begin[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(along[:, 1] == 0, 1.0, along[:, 1])
    crossed = spans & (x < begin[:, 0] + (y - begin[:, 1]) * along[:, 0] / rise)
    inside = crossed.sum(axis=1) % 2 == 1
    return np.asarray(np.where(inside, nearest, -nearest), np.float64)


def sides(points: F64, line: F64) -> F64:
    """Distance of points to the line through two points; above 0 on the right, looking from first to second.

    Args:
        points: (N, 2), y downwards as in pictures.
        line: (2, 2).
    """
    along = line[1] - line[0]
    offset = points - line[0]
    return np.asarray((along[0] * offset[:, 1] - along[1] * offset[:, 0]) / np.hypot(*along), np.float64)


def meet(first: F64, second: F64) -> bool:
    """Whether two segments, (2, 2) each, have a point in common."""
    (a, b), (c, d) = first, second
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(
        turn == 0 and _between(*end) for turn, end in zip(turns, ends, strict=True)
    )  # an end on the other one


def fault_of(polygon: F64) -> str | None:
    """Why corners are those of no polygon; None where they are."""
    count = len(polygon)
    edges = [np.array((polygon[i], polygon[(i + 1) % count])) for i in range(count)]
    for number, (begin, end) in enumerate(edges):
        if (begin == end).all():
            return f"expected other corners each time, got {_said(begin)} twice in a row"
        for other in range(number + 2, count):
            if (other + 1) % count != number and meet(edges[number], edges[other]):
                return f"crosses itself: {_edge(edges[number])} and {_edge(edges[other])}"
    x, y = polygon.T
    if abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) == 0:
        return "expected an area, got corners in one line"
    return None


def _turn(a: F64, b: F64, c: F64) -> int:
    return int(np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))


def _between(a: F64, b: F64, point: F64) -> bool:
    """Whether a point of the line through a and b lies between them."""
    return bool(((np.minimum(a, b) <= point) & (point <= np.maximum(a, b))).all())


def _said(point: F64) -> str:
    return f"[{point[0]:g}, {point[1]:g}]"


def _edge(edge: F64) -> str:
    return f"{_said(edge[0])} to {_said(edge[1])}"
