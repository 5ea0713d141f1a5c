"""Measuring rows of fused pictures: fusion metrics of each pair, and what a detector finds in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import cv2
import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.images import by_stem, read_luma8, read_names
from tdfusion_edge.metrics import Scores, evaluate, mean
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.stretch import F32, Stretch, StretchName

Fuse: TypeAlias = Callable[[str, U8, U8], U8]
"""Stem, infrared and visible luma to fused luma, uint8 (H, W) each."""
Detect: TypeAlias = Callable[[U8 | F32], Detections]
"""A luma, uint8 (H, W) or float32 (H, W) in [0, 1], to boxes in its pixels."""


class Fused(NamedTuple):
    """One fused picture."""

    picture: U8
    """(H, W) uint8, what is shown."""
    luma: U8 | F32
    """What the detector sees: of a network, its output before the stretch."""


Row: TypeAlias = Callable[[str, U8, U8], Fused]
"""Stem, infrared and visible luma, uint8 (H, W), to a fused picture."""


class Measured(NamedTuple):
    """One pair of a row."""

    name: str
    size: tuple[int, int]
    """Width and height, pixels."""
    scores: Scores
    found: Detections | None
    """None where there is no detector."""


BASELINES: Mapping[str, Fuse] = {
    "infrared": lambda _, infrared, visible: infrared,
    "visible": lambda _, infrared, visible: visible,
    "average": lambda _, infrared, visible: cast(U8, cv2.addWeighted(infrared, 0.5, visible, 0.5, 0)),
    "maximum": lambda _, infrared, visible: cast(U8, np.maximum(infrared, visible)),
}
"""What needs no network."""


def score(data: Path, names: list[str], fuse: Fuse) -> Scores:
    """Mean scores of ``fuse`` over the pairs of ``data`` with these stems; raises as :func:`measure`."""
    return mean(pair.scores for pair in measure(data, names, as_row(fuse)))


def measure(data: Path, names: list[str], row: Row, detect: Detect | None = None) -> list[Measured]:
    """Measure ``row`` on the pairs of ``data`` with these stems, in their order.

    Several threads call ``row`` and ``detect``.

    Raises:
        RequestError: the two pictures of a pair, or the fused one, differ in size, or one has 16 bits.
        SourceError: a picture cannot be read.
    """
    infrared, visible = by_stem(data / "ir"), by_stem(data / "vi")

    def one(name: str) -> Measured:
        pair = read_luma8(infrared[name]), read_luma8(visible[name])
        require_equal_sizes(name, "infrared", pair[0], pair[1])
        fused = row(name, *pair)
        require_equal_sizes(name, "fused", fused.picture, pair[1])
        height, width = pair[1].shape
        found = None if detect is None else detect(fused.luma)
        return Measured(name, (width, height), evaluate(fused.picture, *pair), found)

    # The metrics are NumPy and OpenCV, which release the interpreter: threads are enough.
    with ThreadPoolExecutor(cv2.getNumberOfCPUs()) as pool:
        return list(pool.map(one, names))


def pair_names(data: Path, listed: str | None) -> list[str]:
    """Stems of the pairs to score: those in the file ``listed`` of ``data``, or all.

    Raises:
        InputMissing: there is no such list, or a pair of it is not in ``data``, or there is none.
    """
    infrared, visible = by_stem(data / "ir"), by_stem(data / "vi")
    common = [name for name in infrared if name in visible]
    names = common if listed is None else read_names(data / listed)
    lacking = [name for name in names if name not in infrared or name not in visible]
    if lacking or not names:
        raise InputMissing(
            f"{data} lacks pairs", expected="equal stems in ir/ and vi/", got=", ".join(lacking[:5]) or "none"
        )
    return names


def as_row(fuse: Fuse) -> Row:
    """A row whose pictures are shown and seen as they are."""

    def row(name: str, infrared: U8, visible: U8) -> Fused:
        picture = fuse(name, infrared, visible)
        return Fused(picture, picture)

    return row


def by_fuser(fuser: Fuser, stretch: StretchName) -> Row:
    """A row that a bundle makes; its heads are asked apart, as those of every row."""

    def row(name: str, infrared: U8, visible: U8) -> Fused:
        luma = fuser.luma(infrared, visible)
        return Fused(Stretch(stretch).apply(luma, 0), luma)

    return row


def from_folder(folder: Path) -> Row:
    """A row of fused pictures that lie in ``folder``.

    Raises:
        InputMissing: there is no such folder; the row itself raises it where a picture is missing.
    """
    pictures = by_stem(folder)

    def fuse(name: str, infrared: U8, visible: U8) -> U8:
        if name not in pictures:
            raise InputMissing(f"there is no fused picture '{name}' to compare")
        return read_luma8(pictures[name])

    return as_row(fuse)


def require_equal_sizes(name: str, what: str, picture: U8, visible: U8) -> None:
    """Refuse a picture of another size than its visible one with a RequestError that names the pair."""
    if picture.shape != visible.shape:
        (height, width), (visible_height, visible_width) = picture.shape, visible.shape
        raise RequestError(
            f"pair '{name}': the {what} picture has another size than the visible one",
            expected=f"{visible_width}x{visible_height}",
            got=f"{width}x{height}",
        )
