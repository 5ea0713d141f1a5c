"""Faults of a rig in an order that a seed gives, and two cameras that have them.

Both cameras play pictures of the simulated street, over and over, at 30 Hz against the real clock. One fault
is on at a time, with quiet seconds between two, so that what a run makes of it can be told from what came
before.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias, get_args

import cv2
import numpy as np

from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime.rig import Role

FPS = 30
QUIET_S = (3.0, 5.0)
"""Seconds between two faults."""
LASTS_S = (4.0, 6.0)
"""Seconds that a fault is on."""
PATIENCE_S = 2.0
"""A camera that gives nothing fails after so long, as a driver's does."""

Kind: TypeAlias = Literal[
    "silent", "failing", "dead", "frozen", "lossy", "late", "doubled",
    "clock ahead", "clock behind", "noisy", "gain", "resized",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
INFRARED_ALONE: tuple[Kind, ...] = ("gain", "resized")


class Fault(NamedTuple):
    """One fault of one camera."""

    kind: Kind
    role: Role
    start_s: float
    """Since the beginning of the run."""
    seconds: float

    def on(self, at_s: float) -> bool:
        """Whether it is on at a time."""
        return self.start_s <= at_s < self.start_s + self.seconds


def schedule(seed: int, seconds: float, *, first_s: float = 4.0) -> list[Fault]:
    """Faults of a run, in the order of their time; all kinds come once before one comes again.

    Args:
        seed: Names the order, the cameras and the times.
        seconds: Length of the run; the last fault ends before it.
        first_s: Quiet time at the beginning.
    """
    random = np.random.default_rng(seed)
    faults: list[Fault] = []
    at_s = first_s
    while True:
        for kind in random.permutation(np.array(KINDS)).tolist():
            lasts_s = float(random.uniform(*LASTS_S))
            if at_s + lasts_s + QUIET_S[0] > seconds:
                return faults
            role: Role = "infrared" if kind in INFRARED_ALONE or random.random() < 0.5 else "visible"
            faults.append(Fault(kind, role, at_s, lasts_s))
            at_s += lasts_s + float(random.uniform(*QUIET_S))


class FaultyCamera:
    """A live camera that plays pictures and has the faults of a schedule.

    Args:
        role: Which of the two it is.
        pictures: Played over and over.
        faults: Of both cameras; those of the other one are left out.
        epoch_ns: Beginning of the run.
        clock: Monotonic nanoseconds.
        pause: Waits a number of seconds; None waits so that closing ends it.
    """

    live = True

    def __init__(
        self,
        role: Role,
        pictures: Sequence[Image],
        faults: Sequence[Fault],
        *,
        epoch_ns: int,
        clock: Callable[[], int] = time.monotonic_ns,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.name = f"{role} of the faults"
        self.counts: Counter[str] = Counter()
        """What it did: frames ``given``, ``lost`` and given ``again``, and reads that ``failed``."""
        self._pictures, self._role = pictures, role
        self._faults = [fault for fault in faults if fault.role == role]
        self._epoch_ns, self._clock = epoch_ns, clock
        self._number, self._sequence = -1, 0
        """Place of the last frame in time, and the number of the next one, which only frames move."""
        self._again: Frame | None = None
        self._stuck: Image | None = None
        self._closing = threading.Event()
        self._pause = pause or self._closing.wait

    def read(self) -> Frame | None:
        """The next frame, at its time.

        Raises:
            SourceError: a fault has it so.
        """
        if self._again is not None:
            again, self._again = self._again, None
            self.counts["again"] += 1
            return again
        waited_since_s = self._now_s()
        while not self._closing.is_set():
            number = max(self._number + 1, math.floor(self._now_s() * FPS))
            self._wait_until(number / FPS)
            at_s = number / FPS
            fault = next((fault for fault in self._faults if fault.on(at_s)), None)
            kind = None if fault is None else fault.kind
            if kind == "failing":
                self._pause(0.25)
                raise self._failure("is gone: no such device")
            if kind == "silent":
                if self._now_s() - waited_since_s > PATIENCE_S:
                    raise self._failure(f"gave no frame for {PATIENCE_S:g} s")
                self._pause(0.02)
                self._number = max(self._number, number)  # it takes no pictures, and loses none
                continue
            # What a reader that came too late has missed is a gap in the numbers, as of a driver.
            self._lost(number - self._number - 1)
            self._number = number
            if kind == "lossy" and number % 3:
                self._lost(1)
                continue
            return self._given(number, at_s, kind)
        return None

    def close(self) -> None:
        """End the stream."""
        self._closing.set()

    def _given(self, number: int, at_s: float, kind: Kind | None) -> Frame:
        image = self._shown(number, kind)
        stamp_ns = self._epoch_ns + round(at_s * 1e9)
        frame = Frame(image, stamp_ns, self._sequence, self.name)
        self._sequence += 1
        if kind == "late":
            self._pause(0.08)
        elif kind == "doubled":
            self._again = frame
        elif kind in ("clock ahead", "clock behind"):
            frame = replace(frame, time_ns=stamp_ns + (2 if kind == "clock ahead" else -2) * 1_000_000_000)
        self.counts["given"] += 1
        return frame

    def _shown(self, number: int, kind: Kind | None) -> Image:
        image = self._pictures[number % len(self._pictures)]
        if kind == "frozen":
            self._stuck = image if self._stuck is None else self._stuck
            return self._stuck
        self._stuck = None
        if kind == "dead":
            return np.zeros_like(image)
        if kind == "noisy":
            noise = np.random.default_rng(number).normal(0, 12, image.shape[:2])
            scale = 1 if image.dtype == np.uint8 else 32
            noise = noise[..., None] if image.ndim == 3 else noise
            limit = np.iinfo(image.dtype).max
            noisy: Image = (image + noise * scale).clip(0, limit).astype(image.dtype)
            return noisy
        if kind == "gain":
            return cv2.addWeighted(image, 1.4, image, 0.0, -2000.0)
        if kind == "resized":
            return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return image

    def _lost(self, frames: int) -> None:
        self.counts["lost"] += frames
        self._sequence += frames

    def _failure(self, what: str) -> SourceError:
        self.counts["failed"] += 1
        self._number = max(self._number, math.floor(self._now_s() * FPS))
        return SourceError(f"{self.name} {what}")

    def _now_s(self) -> float:
        return (self._clock() - self._epoch_ns) / 1e9

    def _wait_until(self, at_s: float) -> None:
        left_s = at_s - self._now_s()
        if left_s > 0:
            self._pause(left_s)
