"""The rough place of infrared in visible, from nothing: scale, turn and shift, by trying all of them.

Small pictures, and for every scale and turn one correlation by Fourier transform, which tries all shifts. The
correlations of all pairs are added up before the best is looked for: the cameras do not move against each
other, so what speaks for the true place adds up and what is chance does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.runtime.calibration.features import F32, U8, orientations

F64: TypeAlias = npt.NDArray[np.float64]
C64: TypeAlias = npt.NDArray[np.complex64]

WIDTHS = (64, 128)
"""Widths of the visible picture at which everything is tried, and the best again."""
SCALES = np.geomspace(0.4, 2.0, 22)
"""Width of infrared's view in widths of visible's; neighbours are 8 % apart."""
TURNS = (-6.0, 0.0, 6.0)
"""Degrees."""
FINER_SCALES, FINER_TURNS = (0.96, 1.0, 1.04), (-3.0, 0.0, 3.0)
BEST = 3
"""Candidates of the first width that are tried again at the second."""
LEAST_SHARED = 0.3
"""Least share of the smaller picture that lies in the other one."""


class Place(NamedTuple):
    """A guess where infrared lies, by its score."""

    score: float
    """Correlation of the features where both pictures are, -1 to 1."""
    scale: float
    turn: float
    shift: tuple[float, float]
    """Of infrared's centre from visible's, in widths of the visible picture."""

    def homography(self, infrared: tuple[int, int], visible: tuple[int, int]) -> F64:
        """3 x 3 from infrared pixels to visible ones, of pictures (width, height)."""
        a = np.deg2rad(self.turn)
        s = self.scale * visible[0] / infrared[0]
        turn = np.array([[s * np.cos(a), -s * np.sin(a)], [s * np.sin(a), s * np.cos(a)]])
        from_, to = ((np.array(size) - 1) / 2 for size in (infrared, visible))
        to = to + np.array(self.shift) * visible[0]
        whole = np.eye(3)
        whole[:2, :2], whole[:2, 2] = turn, to - turn @ from_
        return whole


def rough_place(infrared: Sequence[F32], visible: Sequence[F32]) -> Place:
    """Where infrared lies in visible by all pairs together.

    Args:
        infrared: Levelled pictures of one size, float32 (h, w).
        visible: Those of the same moments, float32 (H, W).
    """
    narrow, wide = WIDTHS
    every = [(scale, turn) for scale in SCALES for turn in TURNS]
    first = sorted(_tried(infrared, visible, narrow, every), reverse=True)[:BEST]
    again = {
        (round(place.scale * scale, 4), round(place.turn + turn, 2))
        for place in first
        for scale in FINER_SCALES
        for turn in FINER_TURNS
    }
    return max(_tried(infrared, visible, wide, sorted(again)))


def _tried(
    infrared: Sequence[F32], visible: Sequence[F32], width: int, choices: Sequence[tuple[float, float]]
) -> Iterator[Place]:
    """The best shift for each scale and turn."""
    height = round(width * visible[0].shape[0] / visible[0].shape[1])
    size = (width, height)
    small = [cast(F32, cv2.resize(picture, size, interpolation=cv2.INTER_AREA)) for picture in visible]
    features = [orientations(picture) for picture in small]
    energy = np.sum([_length2(one) for one in features], axis=0)
    own = infrared[0].shape[1], infrared[0].shape[0]
    for scale, turn in choices:
        # Infrared on a canvas of its own, centre on centre, that holds it whatever the turn.
        tall = max(own[1] / own[0], 1.0)
        side = 2 * int(np.ceil(0.56 * width * scale * tall)) + 8
        shape = (cv2.getOptimalDFTSize(side + height), cv2.getOptimalDFTSize(side + width))
        centred = Place(0, scale, turn, (0, 0)).homography(own, (width, height))
        centred[:2, 2] += (np.array([side, side]) - (width, height)) / 2
        warped, mask = _on_canvas(infrared, centred, side, scale * width / own[0])
        total = sum(
            (np.conj(_spectrum(one, shape)) * _spectrum(other, shape)).sum(axis=0)
            for one, other in zip(warped, features, strict=True)
        )
        inside = _spectrum(mask, shape)
        area = _spectrum(np.ones((height, width), np.float32), shape)
        length = np.sum([_length2(one) for one in warped], axis=0)
        shared = _correlated(inside, area, shape)
        power = np.maximum(_correlated(inside, _spectrum(energy, shape), shape), 0)
        power = power * np.maximum(_correlated(_spectrum(length, shape), area, shape), 0)
        enough = shared >= LEAST_SHARED * min(float(mask.sum()), float(width * height))
        score = np.where(enough, np.fft.irfft2(total, shape) / np.sqrt(np.maximum(power, 1e-9)), -1)
        # A small overlap reaches a high correlation by chance: its score is held down by its share.
        score = score * np.clip(shared / (width * height), 0, 1) ** 0.25
        y, x = divmod(int(np.argmax(score)), shape[1])
        # What is at p of infrared's canvas is at p + d of visible; a shift to the left comes in from the
        # right.
        d = np.array([x - shape[1] if x >= width else x, y - shape[0] if y >= height else y])
        shift = (d + (np.array([side, side]) - (width, height)) / 2) / width
        yield Place(float(score[y, x]), float(scale), float(turn), (float(shift[0]), float(shift[1])))


def _on_canvas(infrared: Sequence[F32], to: F64, side: int, density: float) -> tuple[list[F32], F32]:
    """Features of the infrared pictures on a square canvas, and 1 where they are and 0 elsewhere."""
    blur = 0.4 / density if density < 0.67 else 0.0  # pixels that are skipped would alias
    size = (side, side)
    mask = cv2.warpAffine(np.full(infrared[0].shape, 255, np.uint8), to[:2], size, flags=cv2.INTER_NEAREST)
    warped = []
    for picture in infrared:
        smooth = cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture
        drawn = cv2.warpAffine(smooth, to[:2], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        warped.append(orientations(cast(F32, drawn), cast(U8, mask)))
    return warped, (mask > 0).astype(np.float32)


def _length2(features: F32) -> F32:
    return cast(F32, np.einsum("hwc,hwc->hw", features, features))


def _correlated(first: C64, second: C64, shape: tuple[int, int]) -> F32:
    return np.fft.irfft2(np.conj(first) * second, shape).astype(np.float32)


def _spectrum(features: F32, shape: tuple[int, int]) -> C64:
    """Of (H, W), or of every channel of (H, W, C), which come first."""
    planes = features if features.ndim == 2 else np.ascontiguousarray(np.moveaxis(features, 2, 0))
    return np.fft.rfft2(planes, shape).astype(np.complex64)
