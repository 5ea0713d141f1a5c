"""The simulated street as a detector would see it, and how well tracks follow its truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from tdfusion_edge.detections import Detections
from tdfusion_edge.runtime.simulation.scene import Scene


class Seen(NamedTuple):
    """One picture: when, what is there and what a detector makes of it."""

    time_ns: int
    true: Detections
    found: Detections


def street(
    seconds: float,
    fps: float,
    *,
    seed: int = 0,
    missed: float = 0.1,
    wobble: float = 0.02,
    false: float = 0.1,
    dropped: float = 0.0,
) -> Iterator[Seen]:
    """The street through a detector with faults.

    Args:
        seconds: How long.
        fps: Pictures a second.
        seed: Of the street and of the faults.
        missed: Share of the boxes that are not found.
        wobble: Standard deviation of a side, in sides of the box.
        false: Boxes a picture that are not there.
        dropped: Share of the pictures that are left out, so that the rate varies.
    """
    scene, dice = Scene(seed), np.random.default_rng(seed)
    for number in range(round(seconds * fps)):
        if dice.random() < dropped:
            continue
        true = scene.truth(number / fps)
        kept = dice.random(len(true)) >= missed
        boxes = true.boxes[kept].astype(np.float64)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = boxes + wobble * sides * dice.standard_normal(boxes.shape)
        scores, classes = dice.uniform(0.3, 0.95, len(boxes)), true.class_ids[kept]
        for _ in range(dice.poisson(false)):
            corner, side = dice.uniform(0, 400, 2), dice.uniform(20, 80, 2)
            boxes = np.vstack((boxes, [*corner, *(corner + side)]))
            scores, classes = np.append(scores, dice.uniform(0.25, 0.6)), np.append(classes, 0)
        found = Detections(
            np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4).astype(np.float32),
            scores.astype(np.float32), classes.astype(np.int64), true.names,
        )  # fmt: skip
        yield Seen(round(number * 1e9 / fps), true, found)


class Figures(NamedTuple):
    """CLEAR MOT (Bernardin and Stiefelhagen 2008) and identity scores (Ristani et al. 2016)."""

    mota: float
    idf1: float
    switches: int
    things: int


def figures(pairs: Iterable[tuple[Detections, Detections]]) -> Figures:
    """How well tracks follow the truth, by the definitions alone; only boxes with a track count.

    Args:
        pairs: True and tracked boxes of each picture.
    """
    boxes = false = missed = switches = given = 0
    followed: dict[int, int] = {}
    common: Counter[tuple[int, int]] = Counter()
    lengths: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    for true, tracked in pairs:
        assert true.track_ids is not None
        assert tracked.track_ids is not None
        real, mine = true.track_ids.tolist(), tracked.track_ids.tolist()
        usable = [index for index, number in enumerate(mine) if number > 0]
        lengths[0].update(real)
        lengths[1].update(mine[index] for index in usable)
        same = np.zeros((len(real), len(usable)))
        for row in range(len(real)):
            for column, index in enumerate(usable):
                if true.class_ids[row] == tracked.class_ids[index]:
                    same[row, column] = iou(true.boxes[row], tracked.boxes[index])
        # CLEAR MOT: a pair of the picture before stays one while it overlaps.
        cost = np.where(same >= 0.5, 1 - same, 1e3)
        for row, number in enumerate(real):
            for column, index in enumerate(usable):
                if same[row, column] >= 0.5 and followed.get(number) == mine[index]:
                    cost[row, column] = -1.0
        hits = 0
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if cost[row, column] < 1e3:
                hits += 1
                number, track = real[row], mine[usable[column]]
                switches += followed.get(number, track) != track
                followed[number] = track
        for row, number in enumerate(real):
            common.update((number, mine[i]) for c, i in enumerate(usable) if same[row, c] >= 0.5)
        boxes, given = boxes + len(real), given + len(usable)
        missed, false = missed + len(real) - hits, false + len(usable) - hits
    table = np.zeros((len(lengths[0]), max(1, len(lengths[1]))))
    for (number, track), count in common.items():
        table[list(lengths[0]).index(number), list(lengths[1]).index(track)] = count
    rows, columns = linear_sum_assignment(-table)
    identified = table[rows, columns].sum()
    return Figures(
        1 - (missed + false + switches) / boxes, 2 * identified / (boxes + given), switches, len(lengths[0])
    )


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes, in plain numbers."""
    a, b = [float(v) for v in one], [float(v) for v in other]
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return wide * tall / (sum(areas) - wide * tall)
