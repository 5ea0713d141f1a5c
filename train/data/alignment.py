"""How far two sensors' pictures of one scene are shifted against each other: an estimate.

Infrared and visible share edges, not brightness: what is dark in one may be bright in the other. So the
direction of the gradients is correlated with its angle doubled, under which an edge and its negative are
the same (after orientation correlation: Fitch et al., BMVC 2002). A shift is all that this finds: a
turn, another focal length or parallax shows as a large spread between pairs, or as little trust.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8

LONGEST = 640
"""Pictures with a longer side are reduced to this first, pixels."""
REACH = 0.1
"""Shifts of up to this share of the shorter side are looked for."""
TRUSTED = 5.0
"""Least height of the peak over the other shifts, in their standard deviations.

Of 151 pairs put together from different scenes of MSRS, RoadScene and TNO, none came to 4.8; of made-up
scenes that consist of edges alone, 3 in 100 come to more."""

C64 = npt.NDArray[np.complex64]
F32 = npt.NDArray[np.float32]


class Shift(NamedTuple):
    """Where the infrared picture shows what the visible one shows at (0, 0)."""

    dx: float
    """To the right, pixels."""
    dy: float
    """Downwards, pixels."""
    height: float
    """Of the correlation's peak over all other shifts, in their standard deviations."""

    @property
    def trusted(self) -> bool:
        """Whether the peak stands out."""
        return self.height >= TRUSTED


def estimate_shift(infrared: U8, visible: U8) -> Shift:
    """Shift between two pictures of one size, (H, W) uint8, to about half a pixel."""
    scale = min(1.0, LONGEST / max(visible.shape))
    left, right = (_edges(image, scale) for image in (infrared, visible))
    surface = np.fft.ifft2(np.fft.fft2(left) * np.conj(np.fft.fft2(right))).real
    reach = max(2, int(REACH * min(visible.shape) * scale))
    # Shift (0, 0) to the middle, and no further than the reach.
    near = np.roll(surface, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    rest = np.ones(near.shape, bool)
    rest[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = False
    spread = float(near[rest].std()) if rest.any() else 0.0
    height = float(near[y, x] - near[rest].mean()) / spread if spread > 0 else 0.0
    on_rim = y in (0, 2 * reach) or x in (0, 2 * reach)
    dx = (int(x) - reach + _vertex(near[y, :], int(x))) / scale
    dy = (int(y) - reach + _vertex(near[:, x], int(y))) / scale
    return Shift(dx, dy, 0.0 if on_rim else height)


def _edges(image: U8, scale: float) -> C64:
    """Direction of the gradient with its angle doubled, by how clear the edge is; (h, w)."""
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 1.5)
    gx, gy = (cv2.Scharr(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    length = np.hypot(gx, gy)
    # Above the usual gradient all edges count alike, so that a lamp does not outvote the scene.
    typical = float(length.mean()) + 1e-3
    direction = (gx + 1j * gy) ** 2 / (length**2 + typical**2)
    window = np.outer(np.hanning(direction.shape[0]), np.hanning(direction.shape[1]))
    return np.asarray((direction - direction.mean()) * window, np.complex64)


def _vertex(line: npt.NDArray[np.float64], at: int) -> float:
    """Offset of the maximum of a parabola through three values, in -0.5..0.5."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, peak, after = (float(value) for value in line[at - 1 : at + 2])
    curvature = before - 2 * peak + after
    return 0.5 * (before - after) / curvature if curvature < 0 else 0.0
