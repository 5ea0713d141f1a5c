"""Where boxes will be: a Kalman filter of constant velocity over real time, for all tracks at once.

A box is its centre, width and height. Each of the four has a place and a velocity of its own, so that the
covariance is four matrices of 2 x 2. Noise grows with the box, as in SORT (arXiv 1602.00763) and what came of
it: near things move and wobble by more pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

WOBBLE = 0.05
"""Standard deviation of a detector's box sides, in heights of the box."""
UNREST = np.array([1.5, 1.0, 0.5, 0.5])
"""How much the velocity of centre x, centre y, width and height changes: heights / s after one second. A
person who turns round changes by about two."""
FIRST_SPEED = np.array([3.0, 1.5, 1.0, 1.0])
"""Standard deviation of the velocities of a new thing, in heights / s."""
SMALLEST = 1.0
"""Pixels: a lower box has the noise of one of this height."""


class States(NamedTuple):
    """N boxes in motion."""

    place: F64
    """(N, 4): centre x and y, width, height in pixels."""
    speed: F64
    """(N, 4): their velocities in pixels / s."""
    spread: F64
    """(N, 4, 3): variance of the place, covariance with the velocity, variance of the velocity."""

    def take(self, which: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> States:
        """Some of them."""
        return States(self.place[which], self.speed[which], self.spread[which])

    def joined(self, others: States) -> States:
        """Those and others behind them."""
        return States(*(np.concatenate(both) for both in zip(self, others, strict=True)))

    def boxes(self) -> F64:
        """(N, 4): x1, y1, x2, y2 in pixels; sides of at least a pixel."""
        half = np.maximum(self.place[:, 2:], SMALLEST) / 2
        return np.concatenate((self.place[:, :2] - half, self.place[:, :2] + half), axis=1)


def begun(boxes: F64) -> States:
    """New things whose velocity is not known.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
    """
    place = _places(boxes)
    height = _heights(place)
    spread = np.zeros((len(boxes), 4, 3))
    spread[:, :, 0] = (WOBBLE * height) ** 2
    spread[:, :, 2] = (FIRST_SPEED * height) ** 2
    return States(place, np.zeros_like(place), spread)


def predicted(states: States, seconds: float) -> States:
    """The same things so much later.

    The velocity takes a random walk (white acceleration), whose covariance over a time t is the well-known
    [[t^3 / 3, t^2 / 2], [t^2 / 2, t]].
    """
    place, speed, spread = states
    noise = (UNREST * _heights(place)) ** 2
    at, both, moving = spread[..., 0], spread[..., 1], spread[..., 2]
    later = np.stack(
        (
            at + 2 * seconds * both + seconds**2 * moving + noise * seconds**3 / 3,
            both + seconds * moving + noise * seconds**2 / 2,
            moving + noise * seconds,
        ),
        axis=2,
    )
    return States(place + seconds * speed, speed, later)


def corrected(states: States, boxes: F64) -> States:
    """The same things, once they were seen.

    Args:
        states: Where they were expected.
        boxes: (N, 4), x1 y1 x2 y2: where they are.
    """
    place, speed, spread = states
    seen = _places(boxes)
    at, both, moving = spread[..., 0], spread[..., 1], spread[..., 2]
    total = at + (WOBBLE * _heights(seen)) ** 2
    gain, pull = at / total, both / total
    missed = seen - place
    left = np.stack(((1 - gain) * at, (1 - gain) * both, moving - pull * both), axis=2)
    return States(place + gain * missed, speed + pull * missed, left)


def _places(boxes: F64) -> F64:
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def _heights(place: F64) -> F64:
    """(N, 1)."""
    return np.maximum(place[:, 3:], SMALLEST)
