"""The class of every pixel, as results carry it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tdfusion_edge.color import U8


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What a segmentation network says of one picture."""

    classes: U8
    """uint8 (h, w) at the network's size, which covers the whole picture: places in ``names``."""
    names: tuple[str, ...]

    def shares(self) -> dict[str, float]:
        """Share of the pixels that each class has, in the order of the names; together 1."""
        counts = np.bincount(self.classes.ravel(), minlength=len(self.names))
        return {name: int(count) / self.classes.size for name, count in zip(self.names, counts, strict=True)}
