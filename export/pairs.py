"""Which pairs INT8 is calibrated on and which every precision is measured on: never the same ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tdfusion_edge.bundle import Precision
from tdfusion_edge.errors import RequestError
from tdfusion_edge.pairs import LabelledPair, Labels, PairSource, open_pairs
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.runtime.evaluation.pairs import SIZE, compared_pairs, described, simulated


class Pairs(NamedTuple):
    """What an export looks at."""

    measured: tuple[LabelledPair, ...]
    """In colour; with boxes or masks where there are labels."""
    calibrating: tuple[LabelledPair, ...]
    """For INT8 alone; in colour too."""
    pictures: str
    """What a manifest says of those that are measured."""

    def in_words(self, precision: Precision) -> str:
        """What a manifest says of the pairs that one precision was measured on."""
        if precision != "int8":
            return self.pictures
        return f"{self.pictures}, calibrated on {len(self.calibrating)} others"


def choose_pairs(
    data: Path | None,
    names: str | None,
    calibration: str | None,
    precisions: Collection[Precision],
    size: tuple[int, int] | None = None,
    *,
    labels: Labels | None = None,
    heads: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Pairs:
    """Read the pairs that these precisions need; none for float32, which is compared on random pictures.

    Scales that were made for a picture hold all that is in it, so that INT8 looks better on it than on
    others. Without a list of its own every second pair calibrates and the others measure.

    Args:
        data: Folder with ``ir/`` and ``vi/``; None takes simulated pairs.
        names: List of stems in ``data``; None takes all, less those of ``calibration``.
        calibration: List of stems in ``data`` that INT8 is calibrated on; None splits ``names``.
        precisions: What is exported.
        size: Width and height of simulated pairs; None takes the usual one.
        labels: Of the pairs in ``data`` that are measured.
        heads: Kind to classes of what the labels may be for.

    Raises:
        RequestError: a pair is in both lists, no pair or a single one is left, there is a list and no
            INT8, or labels and nothing to measure; or a pair or label cannot be used.
        InputMissing: there is no such folder or list, or no pair, or one has no label.
        SourceError: a picture cannot be read.
    """
    if calibration is not None and "int8" not in precisions:
        raise RequestError(
            f"--calibration {calibration}", expected="--precision with int8", got=", ".join(precisions)
        )
    if not set(precisions) - {"fp32"}:
        if labels is not None:
            raise RequestError(f"--labels {labels}", expected="--precision with fp16 or int8 to measure")
        return Pairs((), (), "")
    if data is None:
        street = tuple(simulated(size=_drawable(size)))
        calibrating, measured = (street[1::2], street[::2]) if "int8" in precisions else ((), street)
        return Pairs(measured, calibrating, described(None, len(measured)))
    stems = pair_names(data, PairSource(names=names), videos=False)
    apart: list[str] = []
    if calibration is not None:
        apart = pair_names(data, PairSource(names=calibration), videos=False)
        stems = _without(stems, apart, names, calibration)
    elif "int8" in precisions:
        stems, apart = stems[::2], stems[1::2]
        if not apart:
            raise RequestError("INT8: pairs to calibrate on and others to measure", expected="two", got="one")
    measured = tuple(compared_pairs(data, stems, labels, heads))
    calibrating = tuple(open_pairs(data, PairSource(names=tuple(apart)), colour=True)) if apart else ()
    return Pairs(measured, calibrating, described(data, len(measured)))


def _drawable(size: tuple[int, int] | None) -> tuple[int, int]:
    """``size`` or the next larger one that the street is drawn at."""
    return SIZE if size is None else (max(80, size[0]), max(60, size[1]))


def _without(stems: list[str], apart: list[str], names: str | None, calibration: str) -> list[str]:
    """What is measured beside a list of its own for the calibration."""
    common = [stem for stem in stems if stem in set(apart)]
    if common and names is not None:
        raise RequestError(
            f"--calibration {calibration} and --names {names} share {len(common)} pairs",
            expected="lists without a common pair: what INT8 was made for proves nothing about it",
            got=", ".join(common[:3]),
        )
    left = [stem for stem in stems if stem not in set(apart)]
    if not left:
        raise RequestError(
            f"--calibration {calibration} takes every pair", expected="a pair or more left to measure on"
        )
    return left
