"""How good a fused picture is, without a reference: the eight customary numbers, higher is better.

EN, SF, SD and AG look at the fused picture alone: how much it shows. SCD, VIF, Qabf and SSIM ask how
much of the infrared and of the visible picture is found in it again. Published tables differ in
conventions more than in pictures; these are the conventions here:

- every picture is 8-bit luma, and a value belongs to one picture (average the values, not the pixels);
- VIF and SSIM are the mean over the two sources (tables with a VIF of 0.9 and more print the sum);
- Qabf continues a picture by zeros, so that its frame counts as an edge: the published evaluators'
  habit, worth some 0.003 to 0.01 on street scenes;
- a ratio or correlation that is 0/0, because a picture has no variation or no edge at all, counts as
  0: nothing was there to be carried over, so nothing was carried over, and a mean stays a number.

OpenCV does the filtering, in float64, and is imported at use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import fsum, sqrt
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image

F64 = npt.NDArray[np.float64]

VIF_NOISE = 2.0
"""Variance of the visual noise in VIF, grey levels squared."""
VIF_WINDOWS = (17, 9, 5, 3)
"""Side of the Gaussian window at each scale of VIF, pixels; its sigma is a fifth of it."""
VIF_MIN_SIDE = 41
"""Least height and width whose coarsest VIF scale still holds one whole window."""
VIF_EPSILON = 1e-10
"""Variance below which VIF takes a window for flat."""

SSIM_WINDOW = 7
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

QABF_STRENGTH = (0.9994, -15.0, 0.5)
QABF_ANGLE = (0.9879, -22.0, 0.8)
"""Ceiling, slope and middle of the sigmoids of Xydeas and Petrovic (2000)."""


class Scores(NamedTuple):
    """Metrics of one fused picture, or their means over several."""

    en: float
    """Entropy, bits per pixel, 0 to 8."""
    sf: float
    """Spatial frequency, grey levels."""
    sd: float
    """Standard deviation, grey levels."""
    ag: float
    """Average gradient, grey levels per pixel."""
    scd: float
    """Sum of the correlations of differences, -2 to 2."""
    vif: float
    """Visual information fidelity, mean over the sources; 1 for a copy of both, more is possible."""
    qabf: float
    """Edge preservation, 0 to 0.975."""
    ssim: float
    """Structural similarity, mean over the sources, -1 to 1."""


def evaluate(fused: Image, infrared: Image, visible: Image) -> Scores:
    """All metrics of one fused picture.

    Args:
        fused: Luma, uint8 (H, W), at least 41 x 41.
        infrared: The infrared source, of the same dtype and size.
        visible: Luma of the visible source, of the same dtype and size.

    Raises:
        RequestError: a picture of another dtype, more than one channel, another size, or too small.
    """
    _check(VIF_MIN_SIDE, fused=fused, infrared=infrared, visible=visible)
    return Scores(
        en=entropy(fused),
        sf=spatial_frequency(fused),
        sd=standard_deviation(fused),
        ag=average_gradient(fused),
        scd=scd(fused, infrared, visible),
        vif=vif(fused, infrared, visible),
        qabf=qabf(fused, infrared, visible),
        ssim=ssim(fused, infrared, visible),
    )


def mean(scores: Iterable[Scores]) -> Scores:
    """Mean of every metric over pictures that count alike.

    Raises:
        RequestError: there are no scores.
    """
    rows = list(scores)
    if not rows:
        raise RequestError("no mean of no scores", expected="at least one evaluated picture", got="none")
    return Scores(*(fsum(column) / len(rows) for column in zip(*rows, strict=True)))


def entropy(fused: Image) -> float:
    """EN: Shannon entropy of the 256-bin histogram of a uint8 (H, W) picture, bits per pixel."""
    _check(1, fused=fused)
    counts = np.bincount(fused.ravel())
    p = counts[counts > 0] / fused.size
    # The sum of one bin is -0.0, which would print as such.
    return abs(float(p @ np.log2(p)))


def spatial_frequency(fused: Image) -> float:
    """SF: root of the mean squared differences of neighbours, along rows plus along columns.

    uint8 (H, W), at least 2 x 2. Each mean runs over the pairs that exist, H (W - 1) and (H - 1) W.
    """
    _check(2, fused=fused)
    # A difference of two bytes needs 9 bits and its square 16.
    pixels = fused.astype(np.int32)
    along_rows, along_columns = np.diff(pixels, axis=1), np.diff(pixels, axis=0)
    return sqrt(_mean_square(along_rows) + _mean_square(along_columns))


def standard_deviation(fused: Image) -> float:
    """SD: standard deviation over the pixels of a uint8 (H, W) picture, in grey levels."""
    _check(1, fused=fused)
    return float(np.std(fused, dtype=np.float64))


def average_gradient(fused: Image) -> float:
    """AG: mean of sqrt((Gx^2 + Gy^2) / 2) over a uint8 (H, W) picture, at least 2 x 2.

    Gradients are central differences, one-sided at the border.
    """
    _check(2, fused=fused)
    gy, gx = np.gradient(fused.astype(np.float64))
    return float(np.mean(np.sqrt((gx * gx + gy * gy) / 2)))


def scd(fused: Image, infrared: Image, visible: Image) -> float:
    """SCD: corr(fused - visible, infrared) + corr(fused - infrared, visible), Pearson over all pixels.

    Three uint8 (H, W) pictures of one size. A correlation with a constant picture counts as 0.
    """
    _check(1, fused=fused, infrared=infrared, visible=visible)
    f, a, b = (picture.ravel().astype(np.float64) for picture in (fused, infrared, visible))
    return _correlation(f - b, a) + _correlation(f - a, b)


def vif(fused: Image, infrared: Image, visible: Image) -> float:
    """VIF: pixel-domain visual information fidelity of each source in the fused picture, their mean.

    Three uint8 (H, W) pictures of one size, at least 41 x 41. Four scales, Gaussian windows that lie
    wholly inside the picture. A constant source has no information and counts as 0.
    """
    _check(VIF_MIN_SIDE, fused=fused, infrared=infrared, visible=visible)
    flat = [source.min() == source.max() for source in (infrared, visible)]
    f, *sources = (picture.astype(np.float64) for picture in (fused, infrared, visible))
    kept, held = np.zeros(2), np.zeros(2)
    for scale, window in enumerate(VIF_WINDOWS):
        blur = _gaussian(window)
        if scale > 0:
            f, *sources = (blur(picture)[::2, ::2] for picture in (f, *sources))
        mean_f = blur(f)
        var_f = np.maximum(blur(f * f) - mean_f * mean_f, 0)
        for i, source in enumerate(sources):
            mean_s = blur(source)
            var_s = np.maximum(blur(source * source) - mean_s * mean_s, 0)
            covariance = blur(source * f) - mean_s * mean_f
            more_kept, more_held = _information(var_s, var_f, covariance)
            kept[i] += more_kept
            held[i] += more_held
    # Rounding leaves a constant source with some 1e-11 of variance, so it is told by its pixels.
    return fsum(0.0 if flat[i] else kept[i] / held[i] for i in range(2)) / 2


def qabf(fused: Image, infrared: Image, visible: Image) -> float:
    """Qabf: how much of the edges of both sources is kept, in strength and angle (Xydeas-Petrovic).

    Three uint8 (H, W) pictures of one size. Edges are Sobel's, the picture being continued by zeros;
    pixels weigh by the edge strength of the source. Sources without any edge, black ones, give 0.
    """
    _check(1, fused=fused, infrared=infrared, visible=visible)
    strength_f, angle_f = _edges(fused)
    kept = held = 0.0
    for source in (infrared, visible):
        strength, angle = _edges(source)
        weaker, stronger = np.minimum(strength, strength_f), np.maximum(strength, strength_f)
        ratio = np.divide(weaker, stronger, out=np.zeros_like(weaker), where=stronger > 0)
        alignment = 1 - np.abs(angle - angle_f) / (np.pi / 2)
        quality = _sigmoid(ratio, QABF_STRENGTH) * _sigmoid(alignment, QABF_ANGLE)
        kept += float(np.vdot(quality, strength))
        held += float(np.sum(strength))
    return kept / held if held else 0.0


def ssim(fused: Image, infrared: Image, visible: Image) -> float:
    """SSIM: structural similarity of the fused picture to each source, their mean.

    Three uint8 (H, W) pictures of one size, at least 7 x 7. Uniform 7 x 7 windows that lie wholly
    inside the picture, sample covariance, range 255.
    """
    _check(SSIM_WINDOW, fused=fused, infrared=infrared, visible=visible)
    unbias = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    f, *sources = (picture.astype(np.float64) for picture in (fused, infrared, visible))
    mean_f = _box(f)
    var_f = unbias * (_box(f * f) - mean_f * mean_f)
    total = 0.0
    for source in sources:
        mean_s = _box(source)
        var_s = unbias * (_box(source * source) - mean_s * mean_s)
        covariance = unbias * (_box(source * f) - mean_s * mean_f)
        above = (2 * mean_s * mean_f + SSIM_C1) * (2 * covariance + SSIM_C2)
        below = (mean_s * mean_s + mean_f * mean_f + SSIM_C1) * (var_s + var_f + SSIM_C2)
        total += float(np.mean(above / below))
    return total / 2


def _check(least: int, **pictures: Image) -> None:
    """Refuse what is no uint8 (H, W) picture of at least ``least`` pixels a side, or of unequal size."""
    first, shape = next((name, picture.shape) for name, picture in pictures.items())
    for name, picture in pictures.items():
        if picture.dtype != np.uint8 or picture.ndim != 2:
            raise RequestError(
                f"the {name} picture cannot be evaluated",
                expected="luma, uint8 (H, W)",
                got=f"{picture.dtype} {picture.shape}",
                hint="tdfusion_edge.color.luma gives the luma of a colour picture.",
            )
        if picture.shape != shape:
            raise RequestError(
                f"the {name} picture is not of the {first} picture's size",
                expected=f"{shape[1]}x{shape[0]}",
                got=f"{picture.shape[1]}x{picture.shape[0]}",
            )
    if min(shape) < least:
        raise RequestError(
            f"the {first} picture is too small",
            expected=f"at least {least}x{least}",
            got=f"{shape[1]}x{shape[0]}",
        )


def _mean_square(difference: npt.NDArray[np.int32]) -> float:
    return float(np.mean(np.square(difference)))


def _correlation(x: F64, y: F64) -> float:
    """Pearson's, 0 where x or y is constant; x and y hold integers, so that their sums are exact."""
    n = x.size
    sum_x, sum_y = int(x.sum()), int(y.sum())
    spread_x = n * int(x @ x) - sum_x * sum_x
    spread_y = n * int(y @ y) - sum_y * sum_y
    if spread_x == 0 or spread_y == 0:
        return 0.0
    return (n * int(x @ y) - sum_x * sum_y) / (sqrt(spread_x) * sqrt(spread_y))


def _gaussian(side: int) -> Callable[[F64], F64]:
    """Weighted mean in the Gaussian windows of ``side`` pixels that lie wholly inside a picture."""
    import cv2

    margin = side // 2
    kernel = np.exp(-(np.arange(-margin, margin + 1) ** 2) / (2 * (side / 5) ** 2))
    kernel /= kernel.sum()

    def blur(picture: F64) -> F64:
        blurred = cast(F64, cv2.sepFilter2D(picture, -1, kernel, kernel))
        return blurred[margin:-margin, margin:-margin]

    return blur


def _box(picture: F64) -> F64:
    """Plain mean in the SSIM windows that lie wholly inside a picture."""
    import cv2

    margin = SSIM_WINDOW // 2
    blurred = cast(F64, cv2.boxFilter(picture, -1, (SSIM_WINDOW, SSIM_WINDOW)))
    return blurred[margin:-margin, margin:-margin]


def _information(var_s: F64, var_f: F64, covariance: F64) -> tuple[float, float]:
    """Information of the source that the fused picture keeps, and that the source holds (VIF)."""
    gain = covariance / (var_s + VIF_EPSILON)
    # A window that is flat on either side carries nothing, and neither does a negative of the source.
    gain[(gain < 0) | (np.minimum(var_s, var_f) < VIF_EPSILON)] = 0
    noise = var_f - gain * covariance
    kept = np.log1p(gain * gain * var_s / (noise + VIF_NOISE))
    held = np.log1p(var_s / VIF_NOISE)
    return float(kept.sum()), float(held.sum())


def _edges(picture: Image) -> tuple[F64, F64]:
    """Sobel's edge strength, and angle in radians from -pi/2 (excluded) to pi/2."""
    import cv2

    right_left = cast(F64, cv2.Sobel(picture, cv2.CV_64F, 1, 0, borderType=cv2.BORDER_CONSTANT))
    down_up = cast(F64, cv2.Sobel(picture, cv2.CV_64F, 0, 1, borderType=cv2.BORDER_CONSTANT))
    # Angles are compared without wrapping, so that pi/2 is far from -pi/2 and the direction in which
    # they are counted shows in the result: against the clock, as published evaluators do.
    slope = np.divide(down_up, -right_left, out=np.full_like(down_up, np.inf), where=right_left != 0)
    return np.sqrt(right_left * right_left + down_up * down_up), np.arctan(slope)


def _sigmoid(x: F64, shape: tuple[float, float, float]) -> F64:
    ceiling, slope, middle = shape
    curve: F64 = ceiling / (1 + np.exp(slope * (x - middle)))
    return curve
