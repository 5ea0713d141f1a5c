"""Detections: boxes, scores and classes of one picture, as parallel arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one picture.

    Raises:
        ValueError: if an array has another shape or dtype, a value is not finite or out of its
            range, or a class id has no name.
    """

    boxes: npt.NDArray[np.float32]
    """(N, 4) float32, x1 y1 x2 y2 in visible-image pixels, x1 <= x2 and y1 <= y2."""
    scores: npt.NDArray[np.float32]
    """(N,) float32 in [0, 1]."""
    class_ids: npt.NDArray[np.int64]
    """(N,) int64, index into ``names``."""
    names: tuple[str, ...]
    """Class names."""

    def __post_init__(self) -> None:
        count = len(self.boxes)
        _check("boxes", self.boxes, (count, 4), np.float32)
        _check("scores", self.scores, (count,), np.float32)
        _check("class_ids", self.class_ids, (count,), np.int64)
        if not count:
            return
        if not np.isfinite(self.boxes).all():
            raise ValueError("boxes must be finite, got NaN or infinity")
        if (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise ValueError("boxes must have x1 <= x2 and y1 <= y2")
        if not 0 <= self.scores.min() <= self.scores.max() <= 1:  # a NaN fails every comparison
            raise ValueError(f"scores must lie in 0..1, got {self.scores.min()}..{self.scores.max()}")
        if not 0 <= int(self.class_ids.min()) <= int(self.class_ids.max()) < len(self.names):
            raise ValueError(
                f"class_ids must lie in 0..{len(self.names) - 1}, "
                f"got {self.class_ids.min()}..{self.class_ids.max()}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls, names: tuple[str, ...] = ()) -> Detections:
        """No detections, of the given class names."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), names)

    def to_rows(self) -> list[dict[str, Any]]:
        """One plain dictionary a box, as the JSONL sink writes it."""
        return [
            {
                "box": [round(float(v), 2) for v in box],
                "score": round(float(score), 4),
                "class": self.names[int(class_id)],
            }
            for box, score, class_id in zip(self.boxes, self.scores, self.class_ids, strict=True)
        ]


def _check(name: str, array: npt.NDArray[Any], shape: tuple[int, ...], dtype: type) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype).name} {shape}, got {array.dtype} {array.shape}")
