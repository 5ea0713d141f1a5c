"""Scatter plots as SVG text: sharp at any size, and a change shows as one in a text.

No library draws them: a point, its label beside it, axes with round numbers, and the front of the points that
nothing cheaper beats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple, TypeAlias

Place: TypeAlias = tuple[float, float]
"""x and y, pixels, y downwards."""

WIDTH, HEIGHT = 460, 380
"""Of a panel, pixels."""
COLUMNS = 2
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 34, 46
"""Its margins."""
FONT = 12
CHARACTER = 0.62 * FONT
"""Width of a letter at most, of what browsers take for ``sans-serif``."""
RADIUS = 4
OURS, OTHERS = "#1f6fb2", "#c2571a"
AROUND = 0.06
"""Share of the range of y that is left free above and below the points."""
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
DISTANCES = (8, 20, 34, 50, 70)
"""Of a label from its point, pixels; the nearest that is free is taken."""


class Point(NamedTuple):
    """One thing with a cost and a worth."""

    label: str
    x: float
    """Above zero."""
    y: float
    ours: bool = True
    """Whether it takes part in the front."""


class Panel(NamedTuple):
    """One plot."""

    title: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]


class Box(NamedTuple):
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether they share an area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def within(self, other: Box) -> bool:
        """Whether it lies inside."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )


FRAME = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)


def figure(panels: Sequence[Panel]) -> str:
    """An SVG with the panels, :data:`COLUMNS` in a row; those without points are left out."""
    shown = [panel for panel in panels if panel.points]
    width = WIDTH * max(1, min(COLUMNS, len(shown)))
    height = HEIGHT * max(1, math.ceil(len(shown) / COLUMNS))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="{FONT}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(shown):
        row, column = divmod(number, COLUMNS)
        lines += [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">', *_panel(panel), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"


def front(points: Sequence[Point]) -> list[Point]:
    """Our points that no other of ours beats at the same cost or less, by cost."""
    best, kept = -math.inf, []
    for point in sorted((point for point in points if point.ours), key=lambda one: (one.x, -one.y)):
        if point.y > best:
            best = point.y
            kept.append(point)
    return kept


def labels(centres: Sequence[Place], texts: Sequence[str], path: Sequence[Place] = ()) -> list[Box | None]:
    """Places for labels: beside their points, inside the frame, over no point and no other label.

    Args:
        centres: Of the points, pixels.
        texts: Of each.
        path: Corners of a line that they are not to lie on, if there is room elsewhere.

    Returns:
        None for a label that has no room.
    """
    crossed = list(_along(path))
    taken = [Box(x - RADIUS - 1, y - RADIUS - 1, x + RADIUS + 1, y + RADIUS + 1) for x, y in centres]
    found: list[Box | None] = []
    for centre, text in zip(centres, texts, strict=True):
        free = [
            box
            for box in _around(centre, len(text) * CHARACTER, FONT + 2)
            if box.within(FRAME) and not any(box.meets(other) for other in taken)
        ]
        clear = (box for box in free if not any(box.meets(other) for other in crossed))
        box = next(clear, free[0] if free else None)
        found.append(box)
        if box is not None:
            taken.append(box)
    return found


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if span / (factor * power) <= most)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two positive numbers.

    Powers alone over many decades, and :func:`ticks` where few lie between.
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    found = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
    return found if len(found) > 2 else ticks(low, high, 4)


def _along(path: Sequence[Place]) -> Iterator[Box]:
    """Small boxes that cover a line."""
    for (x1, y1), (x2, y2) in pairwise(path):
        count = max(1, round(math.hypot(x2 - x1, y2 - y1) / 2))
        for number in range(count + 1):
            x, y = x1 + (x2 - x1) * number / count, y1 + (y2 - y1) * number / count
            yield Box(x - 1, y - 1, x + 1, y + 1)


def _around(centre: Place, width: float, height: float) -> Iterator[Box]:
    x, y = centre
    for distance in DISTANCES:
        for right, down in DIRECTIONS:
            shift = distance / math.hypot(right, down)
            left = x + right * shift - (width / 2 if right == 0 else width if right < 0 else 0)
            top = y + down * shift - (height / 2 if down == 0 else height if down < 0 else 0)
            yield Box(left, top, left + width, top + height)


def _panel(panel: Panel) -> Iterator[str]:
    xs, ys = [point.x for point in panel.points], [point.y for point in panel.points]
    low, high = min(xs) / 1.6, max(xs) * 1.6
    spread = (max(ys) - min(ys)) or 0.1
    bottom, top = min(ys) - AROUND * spread, max(ys) + AROUND * spread

    def across(x: float) -> float:
        share = math.log(x / low) / math.log(high / low)
        return FRAME.left + share * (FRAME.right - FRAME.left)

    def up(y: float) -> float:
        return FRAME.bottom - (y - bottom) / (top - bottom) * (FRAME.bottom - FRAME.top)

    middle = (FRAME.left + FRAME.right) / 2
    yield _text(middle, TOP - 14, panel.title, anchor="middle", extra=' font-weight="bold"')
    yield _text(middle, HEIGHT - 10, panel.x_label, anchor="middle")
    turned = f' transform="rotate(-90 14 {(FRAME.top + FRAME.bottom) / 2:.1f})"'
    yield _text(14, (FRAME.top + FRAME.bottom) / 2, panel.y_label, anchor="middle", extra=turned)
    for x in decades(low, high):
        yield _line(across(x), FRAME.top, across(x), FRAME.bottom)
        yield _text(across(x), FRAME.bottom + 16, f"{x:,.10g}", anchor="middle")
    heights = ticks(bottom, top)
    digits = max(0, -math.floor(math.log10(heights[1] - heights[0]) + 1e-9)) if len(heights) > 1 else 4
    for y in heights:
        yield _line(FRAME.left, up(y), FRAME.right, up(y))
        yield _text(FRAME.left - 6, up(y) + 4, f"{y:.{digits}f}", anchor="end")
    path = [(across(point.x), up(point.y)) for point in front(panel.points)]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
    yield f'<polyline points="{corners}" fill="none" stroke="{OURS}" stroke-dasharray="4 3"/>'
    centres = [(across(point.x), up(point.y)) for point in panel.points]
    boxes = labels(centres, [point.label for point in panel.points], path)
    for point, (x, y), box in zip(panel.points, centres, boxes, strict=True):
        colour = OURS if point.ours else OTHERS
        if box is not None:
            yield from _label(point.label, (x, y), box)
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{colour}">'
            f"<title>{escape(point.label)}: {point.x:g}, {point.y:g}</title></circle>"
        )


def _label(text: str, centre: Place, box: Box) -> Iterator[str]:
    """A label, with a line to its point where it stands off."""
    x = min(max(centre[0], box.left), box.right)
    y = min(max(centre[1], box.top), box.bottom)
    if math.hypot(x - centre[0], y - centre[1]) > DISTANCES[0] + 1:
        yield _line(*centre, x, y, "#888888")
    yield _text((box.left + box.right) / 2, box.bottom - 4, text, anchor="middle")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#e2e2e2") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222"{extra}>{escape(text)}</text>'
