"""Degradations that were recorded: a clip with noise, with blur, and with jumps of a camera's own gain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.schema import Figure
from tdfusion_edge.color import U8
from tdfusion_edge.errors import InputMissing
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.metrics import Scores, evaluate, mean
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.picture.range import ThermalRange
from tdfusion_edge.runtime.picture.stretch import Stretch
from tdfusion_edge.runtime.rig import RangeName, thermal

SCENE = "0114_1611"
STEP_NS = round(1e9 / 30)
"""Between two pictures of the clip."""
RANGES: tuple[RangeName, ...] = ("camera", "steady")
"""How its infrared becomes 8 bits: as it comes, and as the runtime does it by itself."""


class Clip(NamedTuple):
    """Pictures of one scene in their order, uint8 (H, W) each."""

    infrared: list[U8]
    visible: list[U8]
    infrared_noise: list[U8]
    visible_blur: list[U8]


def read_clip(folder: Path) -> Clip:
    """The clip in ``folder``: ``ir``, ``vi``, ``ir_noise`` and ``vi_blur``, each with the scene's folder.

    Raises:
        InputMissing: a folder is not there, or they have not the same pictures.
        SourceError: a picture cannot be read.
    """
    sides = [by_stem(folder / part / SCENE) for part in ("ir", "vi", "ir_noise", "vi_blur")]
    if any(side.keys() != sides[0].keys() for side in sides):
        raise InputMissing(f"{folder} has not the same pictures in its four folders")
    return Clip(*([read_luma8(path) for path in side.values()] for side in sides))


def recorded(fuser: Fuser, clip: Clip) -> Iterator[tuple[str, Scores]]:
    """Mean scores against the clean pictures, as they were recorded and with each degradation, by name."""
    rows = {
        "clip as recorded": (clip.infrared, clip.visible),
        "clip infrared noise": (clip.infrared_noise, clip.visible),
        "clip visible blur": (clip.infrared, clip.visible_blur),
    }
    for name, (infrared, visible) in rows.items():
        pictures = (
            Stretch("none").apply(fuser.luma(*pair), 0) for pair in zip(infrared, visible, strict=True)
        )
        yield (
            name,
            mean(map(evaluate, pictures, clip.infrared, clip.visible)),
        )


def jumps(fuser: Fuser, clip: Clip) -> Iterator[Figure]:
    """How far the fused picture jumps in brightness where the infrared camera changes its gain."""
    for name in RANGES:
        ranged = ThermalRange(thermal(name))
        infrared = [ranged.apply(image, number * STEP_NS) for number, image in enumerate(clip.infrared)]
        levels = [float(fuser.luma(*pair).mean()) * 255 for pair in zip(infrared, clip.visible, strict=True)]
        step = round(float(np.abs(np.diff(levels)).max()), DIGITS)
        yield Figure(
            name=f"clip, largest step of the mean luma, range {name}", value=step, unit="levels of 255"
        )
