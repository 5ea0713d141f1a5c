"""How near one set of engines comes to another on the same pairs: pictures, findings, and what limits both.

The reference is the float32 graphs on ONNX Runtime's CPU, network by network. ``export`` measures every
precision that it writes against it, and ``verify`` whatever a device runs: the same numbers, the same limits.
The one-pass graph is held against the same reference, across the two ways, and in colour: one that swaps red
and blue is equal to itself in every precision and on every device, and its luma hardly shows it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tdfusion_edge import detection_scores
from tdfusion_edge.bundle import Manifest, Precision
from tdfusion_edge.color import U8, luma
from tdfusion_edge.frames import Image
from tdfusion_edge.metrics import Scores, evaluate
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.executors.base import Looked
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.heads.base import Comparison, HeadGap, Seen, beyond
from tdfusion_edge.runtime.heads.boxes.compare import LEEWAY
from tdfusion_edge.runtime.picture.stretch import Stretch
from tdfusion_edge.runtime.picture.units import UNIT

F32: TypeAlias = npt.NDArray[np.float32]
Key = TypeVar("Key")

REFERENCE = "onnxruntime"
"""The back end that the others are measured against, in float32."""


class Gap(NamedTuple):
    """How far one set of engines is from the reference."""

    pairs: int
    max_error: float
    """Largest difference of the fused luma, of 1."""
    mean_error: float
    psnr_db: float
    """Of the fused luma over all pairs; infinite where there is no difference."""
    qabf_change: float
    ssim_change: float
    """Of the means over all pairs, of the 8-bit pictures; below 0 is worse."""
    heads: Mapping[str, HeadGap] = MappingProxyType({})
    """How far the findings of each head are, by its kind."""
    colour_levels: float | None = None
    """Largest difference of a channel of the pictures that are shown, grey levels; None where fused lumas
    are compared. Where it is known, all other figures are of these pictures' luma in 8 bits."""
    colour_psnr_db: float | None = None
    """Of all channels of these pictures; None likewise."""

    def figures(self) -> dict[str, float]:
        """Everything measured, by name: of the fused luma, then of every head."""
        known = {name: value for name, value in self._asdict().items() if value is not None}
        plain = {name: value for name, value in known.items() if name != "heads"}
        for gap in self.heads.values():
            plain |= gap.figures()
        return plain

    def offences(self, precision: Precision) -> list[str]:
        """Every limit of a precision that is passed, as "what: expected ..., got ..."; NaN passes them all.

        Args:
            precision: What was compared with float32.
        """
        limits, across = LIMITS[precision], self.colour_levels is not None
        rows = [
            ("largest error of the fused luma", self.max_error, limits.max_error),
            ("PSNR of the fused luma in dB", -self.psnr_db, -limits.psnr_db),
        ]
        if self.colour_levels is not None and self.colour_psnr_db is not None:
            most = LEVELS + 255 * limits.max_error
            rows = [
                ("largest error of a colour in grey levels", self.colour_levels, most),
                ("PSNR of the pictures in colour in dB", -self.colour_psnr_db, -PSNR_IN_COLOUR),
            ]
        change = max(abs(self.qabf_change), abs(self.ssim_change))
        said = beyond([*rows, ("change of Qabf or SSIM", change, limits.metric_change)])
        heads = (gap.offences(precision, across=across) for gap in self.heads.values())
        return [*said, *itertools.chain.from_iterable(heads)]


class Limits(NamedTuple):
    """What a precision may cost the fused luma."""

    max_error: float
    psnr_db: float
    metric_change: float
    """Of Qabf and SSIM, either way."""


LIMITS: Mapping[Precision, Limits] = MappingProxyType(
    {"fp32": Limits(1e-4, 90.0, 1e-3), "fp16": Limits(0.02, 60.0, 2e-3), "int8": Limits(0.05, 50.0, 5e-3)}
)
"""INT8 of ``edge`` that was calibrated on one real pair or on thirty has 66.9 to 72.4 dB, errors of .005 to
.011 and changes of up to .0007 on MSRS and on simulated pairs; of older weights 56 dB and more. Scales of
black pictures have 38.7 to 43.4 dB and errors of .18 to .20."""
LEVELS = 3
"""Grey levels between the pictures of the two ways in float32: staged, chroma is rounded to 8 bits on its way
through OpenCV. Two were the most on 8 simulated pairs and 12 of MSRS."""
PSNR_IN_COLOUR = 46.0
"""In decibels, likewise: 52.1 to 52.5 there, in float32 and in float16."""


def least_score(manifest: Manifest, *, scored: bool) -> float | None:
    """From which score on boxes are compared; None where nothing gives boxes.

    Args:
        manifest: Of the bundle.
        scored: There are labelled boxes: down to the lowest score that an average precision counts.
    """
    if manifest.head("boxes") is None:
        return None
    least = max(0.0, manifest.score_threshold - LEEWAY)
    return min(least, detection_scores.THRESHOLD) if scored else least


class Looks(Protocol):
    """What can be compared: a :class:`~tdfusion_edge.Fuser`."""

    @property
    def heads(self) -> Mapping[str, object]:
        """The heads by their kind."""

    def look(self, infrared: U8, visible: Image) -> Looked:
        """What it makes of an aligned pair, as :meth:`tdfusion_edge.Fuser.look` says."""


def measure(
    pairs: Iterable[LabelledPair],
    reference: Looks,
    other: Looks,
    threshold: float = 0.25,
) -> Gap:
    """How far ``other`` is from the reference; arguments and errors are those of :func:`measure_each`."""
    return measure_each(pairs, reference, {None: other}, threshold)[None]


def measure_each(
    pairs: Iterable[LabelledPair],
    reference: Looks,
    others: Mapping[Key, Looks],
    threshold: float = 0.25,
    *,
    across: bool = False,
) -> dict[Key, Gap]:
    """Run the reference once over all pairs, and all others.

    Args:
        pairs: At least one; where all are labelled, what the heads find is scored as well.
        reference: The float32 graphs, opened with :func:`least_score`.
        others: What is measured, by any key, opened likewise.
        threshold: Score above which a box of the reference counts: the bundle's.
        across: The others go in one pass and the reference network by network: pictures are compared as they
            are shown, in colour and in 8 bits. Some pair should have colours.

    Raises:
        ValueError: there is no pair.
        RequestError: the boxes cannot be scored.
    """
    sums = {key: _Sums(threshold, other, across) for key, other in others.items()}
    for pair in pairs:
        want = _run(reference, pair, across)
        for key, other in others.items():
            sums[key].add(pair, want, _run(other, pair, across))
    gaps = {key: one.gap() for key, one in sums.items()}
    if any(gap is None for gap in gaps.values()):
        raise ValueError("there is no pair to compare")
    return {key: gap for key, gap in gaps.items() if gap is not None}


def _run(fuser: Looks, pair: LabelledPair, shown: bool) -> tuple[Looked, Scores]:
    # In colour where there is any: swapped channels would not show in a grey picture.
    looked = fuser.look(pair.infrared, pair.visible if pair.colour is None else pair.colour)
    if shown:
        assert looked.picture is not None
        looked = looked._replace(fused=luma(looked.picture) * UNIT)
    return looked, evaluate(Stretch("none").apply(looked.fused, 0), pair.infrared, pair.visible)


class _Sums:
    """What one set of engines has shown up to now beside the reference."""

    def __init__(self, threshold: float, fuser: Looks, shown: bool) -> None:
        self._largest, self._absolute, self._squared, self._pixels = 0.0, 0.0, 0.0, 0
        self._changes: list[tuple[float, float]] = []
        self._shown, self._levels, self._squared_levels, self._values = shown, 0, 0, 0
        self._heads: dict[str, Comparison] = {
            kind: kind_of(kind).comparison(threshold) for kind in fuser.heads
        }

    def add(self, pair: LabelledPair, want: tuple[Looked, Scores], got: tuple[Looked, Scores]) -> None:
        """Count one more pair."""
        error = np.abs(want[0].fused.astype(np.float64) - got[0].fused)
        # NaN has to win: max() of Python would let it pass or not by its place.
        self._largest = float(np.maximum(self._largest, error.max()))
        self._absolute += float(error.sum())
        self._squared += float(np.square(error).sum())
        self._pixels += error.size
        self._changes.append((got[1].qabf - want[1].qabf, got[1].ssim - want[1].ssim))
        if self._shown:
            self._add_colours(want[0].picture, got[0].picture)
        for kind, comparison in self._heads.items():
            both = (Seen(pair, one.findings[kind]) for one in (want[0], got[0]))
            comparison.add(*both)

    def _add_colours(self, want: Image | None, got: Image | None) -> None:
        assert want is not None
        assert got is not None
        levels = np.abs(want.astype(np.int64) - got)
        self._levels = max(self._levels, int(levels.max()))
        self._squared_levels += int(np.square(levels).sum())
        self._values += levels.size

    def gap(self) -> Gap | None:
        """How far these engines are over all pairs; None where there was no pair."""
        if not self._changes:
            return None
        qabf, ssim = (float(part) for part in np.mean(self._changes, axis=0))
        mean_square = self._squared / self._pixels
        return Gap(
            len(self._changes),
            self._largest,
            self._absolute / self._pixels,
            _psnr_db(mean_square),
            qabf,
            ssim,
            {kind: comparison.gap() for kind, comparison in self._heads.items()},
            float(self._levels) if self._shown else None,
            _psnr_db(self._squared_levels / self._values / 255**2) if self._shown else None,
        )


def _psnr_db(mean_square: float) -> float:
    """Of values in [0, 1]; infinite for no difference."""
    return float("inf") if mean_square == 0 else float(-10 * np.log10(mean_square))
