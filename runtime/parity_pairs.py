"""Pairs that two chains are compared on: the user's own, or some of the simulated street."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tdfusion_edge.color import luma
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.runtime.evaluation import pair_names, require_equal_sizes
from tdfusion_edge.runtime.parity import Views
from tdfusion_edge.runtime.simulation.scene import Scene

PAIRS = 8
"""Of the simulated street."""
APART_S = 3.5
"""Seconds between two of them: nothing stands where it stood."""
SIZE = (640, 480)


def views(data: Path | None, names: str | None = None) -> Iterator[Views]:
    """Pairs one by one, so that a large set need not fit in memory.

    Args:
        data: Folder with ``ir/`` and ``vi/``; None takes simulated pairs.
        names: Text file in ``data`` with one stem a line; None takes all.

    Raises:
        InputMissing: there is no such folder or list, or no pair.
        RequestError: the two pictures of a pair differ in size, or one has 16 bits.
        SourceError: a picture cannot be read.
    """
    if data is None:
        yield from simulated()
        return
    infrared, visible = by_stem(data / "ir"), by_stem(data / "vi")
    for name in pair_names(data, names):
        pair = Views(name, read_luma8(infrared[name]), read_luma8(visible[name]))
        require_equal_sizes(name, "infrared", pair.infrared, pair.visible)
        yield pair


def simulated(count: int = PAIRS, size: tuple[int, int] = SIZE) -> Iterator[Views]:
    """So many pairs of one simulated street."""
    scene = Scene(0, size)
    for number in range(count):
        time_s = number * APART_S
        yield Views(f"simulated {number}", luma(scene.infrared(time_s)), luma(scene.visible(time_s)))


def described(data: Path | None, count: int) -> str:
    """What a manifest says of them, without a path of this machine."""
    return f"{count} simulated pairs" if data is None else f"{count} pairs of {data.resolve().name}"
