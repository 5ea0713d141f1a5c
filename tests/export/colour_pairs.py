"""Pairs with patches of every colour."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (256, 192)


def scene(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Infrared uint8 (H, W) and visible uint8 (H, W, 3) with large patches of every colour."""
    random, (width, height) = np.random.default_rng(seed), size
    small = random.integers(0, 256, (6, 8, 4), np.uint8)
    whole = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(whole + random.normal(0, 4, (height, width, 4)), 0, 255).astype(np.uint8)
    return noisy[..., 0], np.ascontiguousarray(noisy[..., 1:])


def saved(folder: Path, count: int) -> Path:
    """``folder`` with ``ir/`` and ``vi/`` of so many of them."""
    for side in ("ir", "vi"):
        (folder / side).mkdir(parents=True)
    for number in range(count):
        for side, picture in zip(("ir", "vi"), scene(number), strict=True):
            cv2.imwrite(str(folder / side / f"{number}.png"), picture)
    return folder
