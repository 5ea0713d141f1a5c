"""What tracks cost and how well they follow: CPU time a picture, MOTA and IDF1 on the simulated street.

  python -m benchmarks.tracking

The street's truth is known; a detector with faults is made of it (benchmarks/seen_street.py).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.seen_street import Figures, figures, street
from tdfusion_edge.console import say
from tdfusion_edge.detections import Detections
from tdfusion_edge.runtime.tracking import Tracker

COUNTS = (5, 50, 300)
PICTURES = 300
CASES: tuple[dict[str, float], ...] = (
    {"fps": 30},
    {"fps": 9},
    {"fps": 30, "dropped": 0.3},
    {"fps": 30, "missed": 0.3},
    {"fps": 30, "missed": 0, "wobble": 0, "false": 0},
)


def milliseconds(boxes: int) -> list[float]:
    """CPU time of each picture with so many boxes that move and wobble over 640 x 480, and overlap."""
    dice, tracker, taken = np.random.default_rng(0), Tracker(), []
    centres, speeds = dice.uniform(0, (640, 480), (boxes, 2)), dice.normal(0, 2, (boxes, 2))
    half = dice.uniform((10, 20), (30, 60), (boxes, 2))
    for number in range(PICTURES):
        centres = (centres + speeds) % (640, 480)
        corners = np.hstack((centres - half, centres + half)) + dice.normal(0, 1, (boxes, 4))
        found = Detections(
            corners.astype(np.float32), dice.uniform(0.3, 1, boxes).astype(np.float32),
            np.zeros(boxes, np.int64), ("person",),
        )  # fmt: skip
        begun = time.thread_time()
        tracker.update(found, number * 33_000_000)
        taken.append((time.thread_time() - begun) * 1e3)
    return taken[PICTURES // 10 :]


def followed(seconds: float, seed: int, **case: float) -> Figures:
    """How well the street is followed."""
    tracker = Tracker()
    seen = street(seconds, case.pop("fps"), seed=seed, **case)
    return figures((one.true, tracker.update(one.found, one.time_ns)) for one in seen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tracking",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="of the street (default: 60)")
    args = parser.parse_args(arguments)
    for boxes in COUNTS:
        taken = sorted(milliseconds(boxes))
        say(
            f"{boxes:4} boxes: {statistics.median(taken):.2f} ms of CPU a picture, "
            f"p99 {taken[len(taken) * 99 // 100]:.2f}"
        )
    for case in CASES:
        for seed in (0, 3):
            got = followed(args.seconds, seed, **case)
            words = ", ".join(f"{name} {value:g}" for name, value in case.items())
            say(
                f"{words}; seed {seed}: MOTA {got.mota:.3f}, IDF1 {got.idf1:.3f}, "
                f"{got.switches} switches of {got.things} things"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
