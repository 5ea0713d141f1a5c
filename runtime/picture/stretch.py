"""Output stretch: fused luma in floating point becomes an 8-bit picture.

The paper stretches every picture from its own minimum to its own maximum. In a video one hot
pixel then dims the whole picture for one frame; ``temporal`` is the stretch for streams.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.picture.range import percentiles, scale_to_8bit, smoothing_share, subsample

StretchName: TypeAlias = Literal["none", "image", "temporal"]
F32: TypeAlias = npt.NDArray[np.float32]
Limits: TypeAlias = tuple[float, float]

PERCENTILES = (0.1, 99.9)
"""Limits of ``temporal``, in per cent of the pixels: wide, because what they cut is lost."""
SMOOTHING_S = 0.5
"""Time constant of the limits in seconds: keeps the noise of the percentiles out of the picture."""
FLAT = 1e-6
"""A picture with less between its extremes counts as constant: a float32 rounding error."""
UNIT: Limits = (0.0, 1.0)


class Stretch:
    """Turns the fused pictures of one stream into uint8, in the order of their time.

    - ``none``: ``round(255 * x)``.
    - ``image``: the picture's own minimum to 0 and maximum to 255; a constant picture as ``none``.
    - ``temporal``: the 0.1 and 99.9 percentiles, smoothed with a time constant of 0.5 s, never
      faster than ``slew_per_s``. The first picture sets them. There is no jump: after a change of
      gain the brightness glides.

    Args:
        mode: One of the three.
        slew_per_s: Largest speed of a limit, in units of the fused range a second (``temporal``).
        max_gain: Largest contrast gain of ``temporal``: its limits stay ``1 / max_gain`` apart.

    Raises:
        RequestError: another mode, a slew of 0 or less, or a gain below 1.
    """

    def __init__(
        self, mode: StretchName = "temporal", *, slew_per_s: float = 0.25, max_gain: float = 4.0
    ) -> None:
        if mode not in get_args(StretchName):
            raise RequestError("output stretch", expected=" | ".join(get_args(StretchName)), got=repr(mode))
        if not (slew_per_s > 0 and 1 <= max_gain < float("inf")):
            raise RequestError(
                "output stretch",
                expected="slew_per_s above 0 and a finite max_gain of 1 or more",
                got=f"{slew_per_s:g} and {max_gain:g}",
            )
        self.mode: StretchName = mode
        self._slew_per_s, self._min_span = slew_per_s, 1.0 / max_gain
        self._limits: Limits | None = None
        self._time_ns = 0

    @property
    def limits(self) -> Limits:
        """Fused values that the last picture showed as 0 and 255; (0, 1) before the first one."""
        return UNIT if self._limits is None else _at_least(*self._limits, self._span)

    @property
    def begun(self) -> bool:
        """Whether there was a picture yet."""
        return self._limits is not None

    @property
    def _span(self) -> float:
        return self._min_span if self.mode == "temporal" else 0.0

    def apply(self, fused: F32, time_ns: int) -> U8:
        """The picture in 8 bits.

        Args:
            fused: float32 (H, W), meant to lie in [0, 1]; NaN becomes 0.
            time_ns: Capture time in nanoseconds; the limits stand still where it does not advance.

        Returns:
            uint8 (H, W).

        Raises:
            ValueError: an array of another dtype or shape.
        """
        if fused.ndim != 2 or fused.dtype != np.float32:
            raise ValueError(f"fused must be float32 (H, W), got {fused.dtype} {fused.shape}")
        if self.mode == "image":
            self._limits = _extremes(fused)
        elif self.mode == "temporal":
            self.follow(percentiles(subsample(fused), *PERCENTILES), time_ns)
        return scale_to_8bit(fused, *self.limits)

    def follow(self, target: Limits, time_ns: int) -> None:
        """Move the limits of ``temporal`` towards those of a picture.

        Args:
            target: The picture's own percentiles; what is not finite is passed over.
            time_ns: As :meth:`apply` takes it.
        """
        if not np.isfinite(target).all():
            return
        if self._limits is None:
            self._limits = target
        else:
            elapsed_s = max(0.0, (time_ns - self._time_ns) / 1e9)
            share, most = smoothing_share(elapsed_s, SMOOTHING_S), self._slew_per_s * elapsed_s
            low, high = (
                old + max(-most, min(most, share * (new - old)))
                for old, new in zip(self._limits, target, strict=True)
            )
            self._limits = low, high
        self._time_ns = time_ns


def _extremes(fused: F32) -> Limits:
    low, high, *_ = cv2.minMaxLoc(fused)
    return (low, high) if FLAT < high - low < float("inf") else UNIT


def _at_least(low: float, high: float, span: float) -> Limits:
    """Limits widened around their middle to ``span``, but not out of [0, 1] where they were inside.

    So a dark flat picture stays dark. The result moves no faster than the faster of the two limits.
    """
    grow = (span - (high - low)) / 2
    if grow <= 0:
        return low, high
    wide_low = min(max(low - grow, min(low, 0.0)), max(high, 1.0) - span)
    return wide_low, wide_low + span
