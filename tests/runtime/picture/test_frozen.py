"""Frozen infrared frames."""

from __future__ import annotations

import numpy as np

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.picture.frozen import Frozen

MS = 1_000_000


def test_frozen_tells_a_shutter_from_noise_and_from_a_slow_sensor() -> None:
    rng = np.random.default_rng(2)
    pictures = [rng.integers(7000, 7100, (64, 80), dtype=np.uint16) for _ in range(20)]
    nine_hz = [pictures[index // 4] for index in range(12)]
    shutter = [pictures[5].copy() for _ in range(30)]
    almost = pictures[5].copy()
    almost[33, 33] += 1
    frozen = Frozen(after_ms=250)
    told = [
        frozen.update(Frame(image, round(index * 100 / 3 * MS), index, "ir"))
        for index, image in enumerate([*nine_hz, *shutter, almost, pictures[6]])
    ]
    assert told == 20 * [False] + 22 * [True] + 2 * [False]


def test_frozen_takes_a_change_of_size_for_a_new_picture() -> None:
    frozen = Frozen(after_ms=0)
    flat = np.zeros((32, 32), np.uint8)
    assert [
        frozen.update(Frame(image, n, n, "ir")) for n, image in enumerate([flat, flat[:16], flat[:16]])
    ] == [
        False,
        False,
        True,
    ]
