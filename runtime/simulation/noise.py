"""Sensor noise as precomputed tiles, smooth random fields, and hashed numbers that need no state."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation.view import F32, U8, Array

_MASK = (1 << 64) - 1
_SLACK = 96
"""Rows and columns by which a tile is larger than the picture: 9216 different positions."""


def hashed(*keys: int) -> int:
    """A 64-bit number that is the same for the same integers, on every machine and version."""
    state = 0x9E3779B97F4A7C15
    for key in keys:
        state = (state ^ (key & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def uniform(*keys: int) -> float:
    """A number in [0, 1) that is the same for the same integers."""
    return (hashed(*keys) >> 11) * 2.0**-53


class Grain:
    """Gaussian noise of one standard deviation for pictures of one shape and dtype.

    Two unsigned tiles, the positive and the negative part, are added and subtracted with saturation
    at a position that the frame decides: two passes over the picture instead of a random number
    for every pixel.
    """

    def __init__(self, shape: tuple[int, ...], sigma: float, seed: int, dtype: type = np.uint8) -> None:
        rng = np.random.default_rng(seed)
        tile = (shape[0] + _SLACK, shape[1] + _SLACK, *shape[2:])
        noise = rng.standard_normal(tile, dtype=np.float32) * sigma
        noise += rng.random(tile, dtype=np.float32) - 0.5  # dither: the mean survives the rounding
        rounded = np.rint(noise)
        self._more = np.maximum(rounded, 0).astype(dtype)
        self._less = np.maximum(-rounded, 0).astype(dtype)
        self._rows, self._columns = shape[:2]
        self._seed = seed

    def add_to(self, image: Array, frame: int) -> None:
        """Add the noise of one frame to ``image`` in place."""
        place = hashed(self._seed, frame)
        top, left = place % _SLACK, place // _SLACK % _SLACK
        window = np.s_[top : top + self._rows, left : left + self._columns]
        cv2.add(image, self._more[window], dst=image)
        cv2.subtract(image, self._less[window], dst=image)


def field(shape: tuple[int, int], cell: float, rng: np.random.Generator, octaves: int = 1) -> F32:
    """Smooth random field, float32 (H, W), mean 0 and deviation 1, that repeats from right to left.

    Args:
        shape: Height and width in pixels.
        cell: Size in pixels of the coarsest features.
        rng: Where the numbers come from.
        octaves: Each further one has half the cell and half the amplitude.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        pitch = max(cell / 2**octave, 1.0)
        rows, columns = max(round(shape[0] / pitch), 1), max(round(shape[1] / pitch), 1)
        lattice = np.pad(rng.standard_normal((rows, columns), dtype=np.float32), 2, mode="wrap")
        high, wide = shape[0] / rows, shape[1] / columns
        # The lattice repeats; the middle of the enlarged picture therefore does as well.
        matrix = np.array([[wide, 0, -2 * wide], [0, high, -2 * high]])
        total += 0.5**octave * cv2.warpAffine(lattice, matrix, shape[::-1], flags=cv2.INTER_CUBIC)
    return cast(F32, ((total - total.mean()) / (total.std() + 1e-9)).astype(np.float32))


def to_u8(image: Array) -> U8:
    """Rounded and clipped to uint8."""
    return cast(U8, np.clip(np.rint(image), 0, 255).astype(np.uint8))
