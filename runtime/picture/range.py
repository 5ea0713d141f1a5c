"""Thermal range: infrared counts become 8 bits without flicker.

A thermal camera with 14 or 16 bits fills a few per cent of them. Limits taken from every frame
on its own make the picture pump; here they follow the scene with a time constant.
"""

from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime import rig

MIN_SPAN_16BIT = 64.0
"""Narrowest limits for 16-bit frames, in counts. A flat scene is 5 to 10 counts of noise wide."""
MIN_SPAN_8BIT = 32.0
"""Narrowest limits for 8-bit frames, in grey levels: a gain of 8 at most."""
SNAP_FRACTION = 0.5
"""Limits that would clip more than this share of a frame are given up at once."""
JUMP, LEAST_JUMP = 1 / 128, 4.0
"""Share of the limits' distance (2 grey levels), and counts: all counts that move by less than one of them
from a frame to the next are followed slowly."""
UNIFORM, UNIFORM_WITHIN = 0.8, 0.2
"""So many of the percentiles have to move by the same, to this share of it: then it was no object."""
SAMPLES = 16384
"""About so many pixels are looked at for percentiles: 0.1 % of them are still 16 pixels."""
PROFILE = np.linspace(5, 95, 19)
"""Percentiles that frames are compared by; the ends, where hot objects and hot pixels are, count little."""
# Pairs of percentiles far apart: they are whole levels, and between neighbours that is all one sees.
_LOWER, _UPPER = np.triu_indices(PROFILE.size, PROFILE.size // 3)
STEADY_GAIN = 4.0
"""Largest correction of contrast by ``steady``, up or down."""
UNCHANGED_GAIN, UNCHANGED_OFFSET = 1 / 256, 0.5
"""Corrections of ``steady`` below these change no grey level and are left out."""
CLAHE_CLIP, CLAHE_TILES = 2.0, (8, 8)


class ThermalRange:
    """Turns the frames of one infrared camera into uint8, in capture order.

    The limits of ``percentile`` and ``clahe`` follow those of the frame exponentially, with the
    time constant ``smoothing_s`` in capture time: 95 % of a change in three of them. They jump only
    where they have become useless: after a change of the sensor's gain or a pan onto the sky they
    would clip more than half of the picture. A hot object that enters covers less than that, so the
    background does not jump.

    A camera's shutter (a flat-field correction) can raise or lower all counts at once. That is seen by
    the percentiles of the frame, of which nearly all move by one amount: the limits move with them in
    the same frame, and the picture stays as it was. A hot object moves the upper ones alone.

    ``steady`` undoes the jumps of a camera's own gain control: percentiles of the frame are mapped
    onto the same percentiles smoothed over time, by the gain and offset that fit them best. So a
    jump becomes a glide, and a frame that is like those before it passes unchanged.

    Args:
        config: ``[cameras.NAME.range]`` of the rig.
        source: Name of the camera, for messages.
    """

    def __init__(self, config: rig.ThermalRange, source: str = "infrared") -> None:
        self._mode = config.mode
        self._wanted = (0.0, 0.0) if config.mode in ("camera", "steady") else config.limits
        self._smoothing_s = config.smoothing_s
        self._source = source
        self._limits: tuple[float, float] | None = self._wanted if config.mode == "linear" else None
        self._dtype: np.dtype[Any] | None = None
        self._profile: npt.NDArray[np.float64] | None = None
        """Percentiles of the frame before, for ``steady`` smoothed over time."""
        self._samples = 0
        self._ranks = np.zeros(0, np.int64)
        """Where the percentiles of ``PROFILE`` stand among ``_samples`` pixels in order."""
        self._time_ns = 0
        self._clahe = cv2.createCLAHE(CLAHE_CLIP, CLAHE_TILES) if config.mode == "clahe" else None

    @property
    def limits(self) -> tuple[float, float] | None:
        """Counts shown as 0 and 255; None before the first frame, and for ``camera`` and ``steady``."""
        return self._limits

    def apply(self, image: Image, time_ns: int) -> U8:
        """The picture in 8 bits.

        Args:
            image: uint8 or uint16 (H, W).
            time_ns: Capture time in nanoseconds; the limits stand still where it does not advance.

        Returns:
            uint8 (H, W); the very same array where nothing is to be changed.

        Raises:
            RequestError: mode ``camera`` or ``steady`` and a 16-bit frame.
            ValueError: an image of another dtype or shape.
        """
        correction = self.correction(image, time_ns)
        if correction is None:
            return cast(U8, image)
        picture = _corrected(image, *correction)
        return cast(U8, self._clahe.apply(picture)) if self._clahe is not None else picture

    def correction(self, image: Image, time_ns: int) -> tuple[float, float] | None:
        """What :meth:`apply` does to every count but for ``clahe``: ``gain * count + offset`` is its level.

        Args:
            image: As there.
            time_ns: As there.

        Returns:
            Gain and offset; None where counts are levels.

        Raises:
            RequestError, ValueError: as there.
        """
        if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"infrared must be uint8 or uint16 (H, W), got {image.dtype} {image.shape}")
        deep = image.dtype == np.uint16
        if image.dtype != self._dtype:
            self._begin(image.dtype)
        if self._mode in ("camera", "steady") or (self._mode == "auto" and not deep):
            if deep:
                raise RequestError(
                    f"{self._source}: range mode '{self._mode}' shows the camera's own 8 bits",
                    expected="uint8 frames",
                    got="uint16 frames",
                    hint='Set mode = "auto" in [cameras.NAME.range], or ask the camera for 8 bits.',
                )
            return None if self._mode == "camera" else self._steadied(cast(U8, image), time_ns)
        if self._mode != "linear":
            self._follow(image, time_ns, MIN_SPAN_16BIT if deep else MIN_SPAN_8BIT)
        assert self._limits is not None
        return _correction_between(*self._limits)

    def _begin(self, dtype: np.dtype[Any]) -> None:
        """Forget the frames before: limits in levels mean nothing in counts."""
        self._dtype, self._profile = dtype, None
        if self._mode != "linear":
            self._limits = None

    def _steadied(self, image: U8, time_ns: int) -> tuple[float, float] | None:
        profile = self._percentiles(in_order(image))
        if self._profile is None:
            self._profile = profile
        share = smoothing_share((time_ns - self._time_ns) / 1e9, self._smoothing_s)
        self._profile = self._profile + share * (profile - self._profile)
        self._time_ns = time_ns
        gain, offset = _affine(profile, self._profile)
        if abs(gain - 1) < UNCHANGED_GAIN and abs(offset) < UNCHANGED_OFFSET:
            return None
        return gain, offset

    def _follow(self, image: Image, time_ns: int, min_span: float) -> None:
        ordered = in_order(image)
        low, high = (float(ordered[round((ordered.size - 1) * percent / 100)]) for percent in self._wanted)
        target = _widened(low, high, min_span)
        profile, before = self._percentiles(ordered), self._profile
        if self._limits is not None and before is not None:
            low, high = self._limits
            shift = common_shift(before, profile, max(JUMP * (high - low), LEAST_JUMP))
            self._limits = low + shift, high + shift
        if self._limits is None or _clipped(ordered, *self._limits) > SNAP_FRACTION:
            self._limits = target
        else:
            share = smoothing_share((time_ns - self._time_ns) / 1e9, self._smoothing_s)
            low, high = self._limits
            self._limits = (low + share * (target[0] - low), high + share * (target[1] - high))
        self._time_ns, self._profile = time_ns, profile

    def _percentiles(self, ordered: Image) -> npt.NDArray[np.float64]:
        if ordered.size != self._samples:
            self._samples = ordered.size
            self._ranks = np.rint((ordered.size - 1) * PROFILE / 100).astype(np.int64)
        return ordered[self._ranks].astype(np.float64)


def scale_to_8bit(image: Image, low: float, high: float) -> U8:
    """``round(255 * (image - low) / (high - low))`` clipped to 0..255.

    Args:
        image: uint8, uint16 or float32 (H, W).
        low: Value that becomes 0.
        high: Value that becomes 255, above ``low``.
    """
    return _corrected(image, *_correction_between(low, high))


def _correction_between(low: float, high: float) -> tuple[float, float]:
    gain = 255.0 / (high - low)
    return gain, -low * gain


def _corrected(image: Image, gain: float, offset: float) -> U8:
    # addWeighted saturates at both ends; convertScaleAbs would fold what is below 0 upwards.
    return cast(U8, cv2.addWeighted(image, gain, image, 0.0, offset, dtype=cv2.CV_8U))


def subsample(image: Image) -> Image:
    """About ``SAMPLES`` pixels of an (H, W) image, flat, on a grid of odd step.

    Odd, so that column noise, which repeats every second or fourth column, is not missed.
    """
    step = sample_step(image.size)
    return image[::step, ::step].ravel()


def sample_step(pixels: int) -> int:
    """Step of that grid in a picture of so many pixels."""
    return max(1, math.isqrt(pixels // SAMPLES)) | 1


def in_order(image: Image) -> Image:
    """The :func:`subsample` of an (H, W) image, ascending."""
    # Stable is a radix sort for 8 and 16 bits, as quick as a partition at two ranks.
    return np.sort(subsample(image), kind="stable")


def percentiles(sample: Image, low: float, high: float) -> tuple[float, float]:
    """Two percentiles in [0, 100] of a flat sample, each the value of a pixel (nearest rank)."""
    ranks = [round((sample.size - 1) * percent / 100) for percent in (low, high)]
    ordered = np.partition(sample, ranks)
    return float(ordered[ranks[0]]), float(ordered[ranks[1]])


def common_shift(before: npt.NDArray[np.float64], now: npt.NDArray[np.float64], least: float) -> float:
    """By how much all of a picture became warmer from one frame to the next.

    Args:
        before: Percentiles of a frame, ascending, float64 (N,).
        now: The same of the next one.
        least: What is smaller is no jump, in their unit.

    Returns:
        The middle one of their differences; 0 where it is small, or fewer than ``UNIFORM`` are near it.
    """
    moved = now - before
    shift = float(np.sort(moved)[moved.size // 2])  # np.median takes 20 us more
    if abs(shift) < least:
        return 0.0
    near = np.count_nonzero(np.abs(moved - shift) <= UNIFORM_WITHIN * abs(shift))
    return shift if near >= UNIFORM * moved.size else 0.0


def smoothing_share(elapsed_s: float, time_constant_s: float) -> float:
    """Share of the way to its target that an exponential average covers in the elapsed time."""
    if elapsed_s <= 0:
        return 0.0
    return 1.0 if time_constant_s == 0 else -math.expm1(-elapsed_s / time_constant_s)


def _affine(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Gain and offset that bring most of one profile to another: medians (Theil and Sen).

    A hot object that enters changes the upper percentiles alone, and must not dim all the others.
    """
    rises = source[_UPPER] - source[_LOWER]
    usable = rises > 0
    gain = 1.0
    if usable.any():
        gain = float(np.median((target[_UPPER] - target[_LOWER])[usable] / rises[usable]))
    gain = min(max(gain, 1 / STEADY_GAIN), STEADY_GAIN)
    return gain, float(np.median(target - gain * source))


def _widened(low: float, high: float, min_span: float) -> tuple[float, float]:
    grow = max(0.0, min_span - (high - low)) / 2
    return low - grow, high + grow


def _clipped(ordered: Image, low: float, high: float) -> float:
    """Share of an ascending sample outside the limits."""
    below, upto = np.searchsorted(ordered, low), np.searchsorted(ordered, high, side="right")
    return 1 - float(upto - below) / ordered.size
