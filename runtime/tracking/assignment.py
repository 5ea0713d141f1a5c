"""Which boxes belong together: the matching of the largest total overlap.

SciPy has this too, but is no dependency of the runtime, and what comes out of a picture falls apart into
groups of one or two boxes, which need no library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def overlaps(first: F64, second: F64) -> F64:
    """Intersection over union of every box with every other.

    Args:
        first: (N, 4) float64, x1 y1 x2 y2.
        second: (M, 4) likewise.

    Returns:
        (N, M) in [0, 1]; 0 for a box without an area.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    union = _areas(first)[:, None] + _areas(second)[None, :] - common
    shared: F64 = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shared


def match(gains: F64, least: float) -> list[tuple[int, int]]:
    """Pairs of rows and columns, each in one at most, whose gains above ``least`` add up to the most.

    Args:
        gains: (N, M), say overlaps.
        least: A pair that gains no more is none.

    Returns:
        Row and column of each pair, by row.
    """
    weights = np.where(gains > least, gains - least, 0.0)
    pairs: list[tuple[int, int]] = []
    for rows, columns in _groups(weights > 0):
        if len(rows) == 1 or len(columns) == 1:
            best = int(np.argmax(weights[np.ix_(rows, columns)]))
            pairs.append((rows[best // len(columns)], columns[best % len(columns)]))
            continue
        part = weights[np.ix_(rows, columns)]
        turned = part.shape[0] > part.shape[1]
        chosen = _assigned(part.max() - (part.T if turned else part))
        for row, column in enumerate(chosen):
            one, other = (column, row) if turned else (row, column)
            if part[one, other] > 0:
                pairs.append((rows[one], columns[other]))
    return sorted(pairs)


def _areas(boxes: F64) -> F64:
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), np.float64)


def _groups(linked: npt.NDArray[np.bool_]) -> list[tuple[list[int], list[int]]]:
    """Rows and columns that hang together by links; those without a link are left out."""
    left = set(np.flatnonzero(linked.any(axis=1)).tolist())
    groups = []
    while left:
        new_rows, rows, columns = {left.pop()}, set[int](), set[int]()
        while new_rows:
            rows |= new_rows
            new_columns = set(np.flatnonzero(linked[sorted(new_rows)].any(axis=0)).tolist()) - columns
            columns |= new_columns
            reached = linked[:, sorted(new_columns)].any(axis=1) if new_columns else np.zeros(0, bool)
            new_rows = set(np.flatnonzero(reached).tolist()) - rows
        left -= rows
        groups.append((sorted(rows), sorted(columns)))
    return groups


def _assigned(costs: F64) -> list[int]:
    """A column for every row at the least total cost: Kuhn's Hungarian method by shortest paths.

    Args:
        costs: (N, M) with N <= M.
    """
    count, width = costs.shape
    row_price, column_price = np.zeros(count + 1), np.zeros(width + 1)
    holder = np.zeros(width + 1, np.int64)  # row of each column, from 1; column 0 is where a path begins
    for row in range(1, count + 1):
        holder[0], column = row, 0
        shortest, came_from = np.full(width + 1, np.inf), np.zeros(width + 1, np.int64)
        visited = np.zeros(width + 1, bool)
        while True:
            visited[column] = True
            through = costs[holder[column] - 1] - row_price[holder[column]] - column_price[1:]
            better = ~visited[1:] & (through < shortest[1:])
            shortest[1:][better] = through[better]
            came_from[1:][better] = column
            nearest = 1 + int(np.argmin(np.where(visited[1:], np.inf, shortest[1:])))
            step = shortest[nearest]
            row_price[holder[visited]] += step
            column_price[visited] -= step
            shortest[~visited] -= step
            column = nearest
            if not holder[column]:
                break
        while column:
            holder[column] = holder[came_from[column]]
            column = int(came_from[column])
    columns = [0] * count
    for column in range(1, width + 1):
        if holder[column]:
            columns[holder[column] - 1] = column - 1
    return columns
