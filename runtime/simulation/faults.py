"""Faults to order: what cameras do to a pair in practice, at chosen strength and times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.rig import DAY_MS
from tdfusion_edge.runtime.simulation.noise import uniform
from tdfusion_edge.runtime.simulation.view import SIZES, is_size

Row: TypeAlias = tuple[float, float, float]
Matrix: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with one simulated camera; the default is a perfect one.

    Times are seconds since the epoch of the source. Random faults depend on ``seed`` and the frame's
    number only.

    Raises:
        RequestError: a value outside its range.
    """

    size: tuple[int, int] | None = None
    """Width and height of the infrared picture where they differ from the scene's."""
    homography: tuple[Row, Row, Row] | None = None
    """Maps infrared pixels onto visible pixels; None: both show the same view edge to edge."""
    offset_ms: float = 0.0
    """Added to every reported capture time."""
    drift_ppm: float = 0.0
    """The camera's clock runs so many parts in a million fast; reported capture times walk away with it."""
    jump: tuple[float, float] | None = None
    """Time, and seconds by which the camera's clock is set forward then, back if negative."""
    jitter_ms: float = 0.0
    """Standard deviation of the reported capture time; kept under half a frame, so that order stays."""
    drop: float = 0.0
    """Probability in [0, 1] that a frame is lost."""
    gain_jump: tuple[float, float, float] | None = None
    """Time, gain and offset: from then on infrared counts are counts x gain + offset."""
    freeze: tuple[float, float] | None = None
    """Time and duration of a closed shutter: the last picture repeats, stamps and numbers run on."""
    silence: tuple[float, float] | None = None
    """Time and duration without any frame."""
    dead: tuple[float, float] | None = None
    """Time and duration of pictures that are black all over, as behind a cap; ``noise`` is added to them."""
    noise: float = 0.0
    """Standard deviation of additional noise, in 8-bit levels."""
    seed: int = 0
    """Seed of the random faults."""

    def __post_init__(self) -> None:
        checks = (
            ("drop", self.drop, 0 <= self.drop <= 1, "a probability from 0 to 1"),
            ("jitter_ms", self.jitter_ms, 0 <= self.jitter_ms <= DAY_MS, "milliseconds, 0 to a day"),
            ("offset_ms", self.offset_ms, abs(self.offset_ms) <= DAY_MS, "milliseconds, a day at most"),
            ("drift_ppm", self.drift_ppm, abs(self.drift_ppm) <= 10_000, "parts in a million, 10000 at most"),
            ("jump", self.jump, _is_step(self.jump), "time 0 or more, and seconds, a day at most"),
            ("noise", self.noise, 0 <= self.noise <= 64, "8-bit levels from 0 to 64"),
            ("size", self.size, self.size is None or is_size(self.size), SIZES),
            ("freeze", self.freeze, _is_span(self.freeze), "time and duration in seconds, 0 or more"),
            ("silence", self.silence, _is_span(self.silence), "time and duration in seconds, 0 or more"),
            ("dead", self.dead, _is_span(self.dead), "time and duration in seconds, 0 or more"),
            ("gain_jump", self.gain_jump, _is_jump(self.gain_jump), "time 0 or more, gain above 0, offset"),
            ("homography", self.homography, _is_invertible(self.homography), "an invertible 3 x 3 matrix"),
        )
        for name, value, right, expected in checks:
            if not right:
                raise RequestError(f"simulated fault '{name}'", expected=expected, got=str(value))

    def lost(self, frame: int, fps: float) -> bool:
        """Whether a frame never arrives."""
        if self.silence and _within(self.silence, frame / fps):
            return True
        return self.drop > 0 and uniform(self.seed, frame, 101) < self.drop

    def shown(self, frame: int, fps: float) -> int:
        """Number of the frame whose picture is seen: an earlier one's while the shutter is closed."""
        if not self.freeze or not _within(self.freeze, frame / fps):
            return frame
        return max(math.ceil(self.freeze[0] * fps) - 1, 0)

    def black(self, moment_s: float) -> bool:
        """Whether nothing is seen at a time."""
        return self.dead is not None and _within(self.dead, moment_s)

    def stamp_error_ns(self, frame: int, fps: float) -> int:
        """Reported minus true capture time in nanoseconds."""
        time_s = frame / fps
        error_ms = self.offset_ms + time_s * self.drift_ppm / 1e3
        if self.jump and time_s >= self.jump[0]:
            error_ms += self.jump[1] * 1e3
        if self.jitter_ms:
            limit = 0.49e3 / fps
            error_ms += min(max(self.jitter_ms * _normal(self.seed, frame, 102), -limit), limit)
        return round(error_ms * 1e6)

    def infrared_to_visible(self, scene_size: tuple[int, int]) -> Matrix:
        """The true 3 x 3 homography from infrared pixels (centres at whole numbers) onto visible ones."""
        if self.homography is not None:
            return np.array(self.homography, np.float64)
        width, height = self.size or scene_size
        x, y = scene_size[0] / width, scene_size[1] / height
        return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])


def _within(span: tuple[float, float], time_s: float) -> bool:
    return span[0] <= time_s < span[0] + span[1]


def _is_span(span: tuple[float, float] | None) -> bool:
    return span is None or all(0 <= value < math.inf for value in span)


def _is_step(step: tuple[float, float] | None) -> bool:
    return step is None or (0 <= step[0] < math.inf and abs(step[1]) <= DAY_MS / 1e3)


def _is_jump(jump: tuple[float, float, float] | None) -> bool:
    return jump is None or (jump[0] >= 0 and 0 < jump[1] < math.inf and math.isfinite(jump[2]))


def _is_invertible(matrix: tuple[Row, Row, Row] | None) -> bool:
    if matrix is None:
        return True
    array = np.array(matrix, np.float64)
    return array.shape == (3, 3) and bool(np.isfinite(array).all()) and abs(np.linalg.det(array)) > 1e-12


def _normal(*keys: int) -> float:
    """A standard normal number that is the same for the same integers (Box and Muller's method)."""
    radius = math.sqrt(-2 * math.log(1 - uniform(*keys, 1)))
    return radius * math.cos(2 * math.pi * uniform(*keys, 2))


NONE = Faults()
"""A perfect camera."""
