"""A camera that looks at the simulated street: the demo's picture and the tests' instrument."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime.rig import Role
from tdfusion_edge.runtime.simulation.faults import NONE, Faults, Matrix
from tdfusion_edge.runtime.simulation.mark import draw_mark
from tdfusion_edge.runtime.simulation.noise import Grain
from tdfusion_edge.runtime.simulation.scene import COUNTS_BASE, COUNTS_PER_LEVEL, Scene
from tdfusion_edge.runtime.simulation.uri import parse
from tdfusion_edge.runtime.simulation.view import REFERENCE

_LOOK_BACK = 3
"""Frames that a camera's driver keeps for a late reader; the newest of them that arrived is read."""
_HOPELESS = 100_000


class SimulatedSource:
    """One camera of the simulated pair; sources with the same scene and epoch see the same moments.

    Frame ``n`` is exposed ``n / fps`` seconds after the epoch. In real time a reader waits for it, and
    one that comes late finds the newest frame and a gap in the numbers. Otherwise every frame comes
    at once.

    Args:
        name: Name for messages.
        role: Which spectrum: ``infrared`` or ``visible``.
        scene: What the camera looks at.
        fps: Frames per second.
        faults: What is wrong with the camera.
        clock: Monotonic nanoseconds.
        sleep: Waits a number of seconds.
        realtime: Keep to the clock.
        frames: End the stream after so many; None: it never ends.
        epoch_ns: Time of frame 0 on the clock; None: now, or 0 where not in real time.
        mark: Draw the frame's number, see :mod:`tdfusion_edge.runtime.simulation.mark`.
        timeout_s: Longest wait for a frame in seconds.

    Raises:
        RequestError: a rate or timeout that is not positive, or a fault that a visible camera cannot have.
    """

    def __init__(
        self,
        name: str,
        role: Role,
        scene: Scene,
        fps: float = 30.0,
        faults: Faults = NONE,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
        realtime: bool = True,
        frames: int | None = None,
        epoch_ns: int | None = None,
        mark: bool = False,
        timeout_s: float = 2.0,
    ) -> None:
        if not (0 < fps < math.inf and 0 < timeout_s < math.inf):
            raise RequestError(f"{name}: fps and timeout_s", expected="above 0", got=f"{fps} and {timeout_s}")
        if role == "visible" and (faults.homography or faults.size or faults.gain_jump):
            raise RequestError(
                f"{name}: 'homography', 'size' and 'gain_jump' are faults of the infrared camera"
            )
        self._name, self._role, self._scene, self._fps, self._faults = name, role, scene, fps, faults
        self._clock, self._sleep, self._realtime = clock, sleep, realtime
        self._frames, self._mark, self._timeout_ns = frames, mark, round(timeout_s * 1e9)
        self._next, self._closed = 0, False
        self._depth16 = scene.depth16 and role == "infrared"
        self._homography = faults.infrared_to_visible(scene.size)
        self._grain = self._extra_noise()
        self._picture(0)  # the scene is drawn before the clock starts, not while the first reader waits
        self._epoch_ns = (clock() if realtime else 0) if epoch_ns is None else epoch_ns

    @property
    def name(self) -> str:
        """Name for messages and counters."""
        return self._name

    @property
    def live(self) -> bool:
        """True in real time."""
        return self._realtime

    @property
    def homography(self) -> Matrix:
        """Ground truth of the registration: float64 (3, 3) from this camera's pixels onto visible ones."""
        return self._homography.copy()

    def read(self) -> Frame | None:
        """The next frame; None at the end of the stream or after :meth:`close`.

        Raises:
            SourceError: no frame within the timeout (``drop``, ``silence``); reading again goes on.
        """
        number = self._wait() if self._realtime else self._following()
        if number is None or self._closed:
            return None
        self._next = number + 1
        stamp = self._exposed_ns(number) + self._faults.stamp_error_ns(number, self._fps)
        image = self._picture(self._faults.shown(number, self._fps))
        return Frame(image, stamp, number, self._name)

    def close(self) -> None:
        """End the stream; safe to call twice."""
        self._closed = True

    def _following(self) -> int | None:
        number = self._next
        while not self._over(number) and not self._closed:
            if not self._faults.lost(number, self._fps):
                return number
            number += 1
            if number - self._next > _HOPELESS:
                raise SourceError(f"{self._name}: the last {_HOPELESS} frames were all lost, as ordered")
        return None

    def _wait(self) -> int | None:
        """Number of the newest frame that has not been read, waiting for one if need be."""
        now = self._clock()
        newest = math.floor((now - self._epoch_ns) * self._fps / 1e9 + 1e-6)
        if self._frames is not None:
            newest = min(newest, self._frames - 1)
        for number in range(newest, max(self._next, newest - _LOOK_BACK) - 1, -1):
            if not self._faults.lost(number, self._fps):
                return number
        number = max(newest + 1, self._next)
        deadline = now + self._timeout_ns
        while not self._over(number) and self._exposed_ns(number) <= deadline:
            if not self._faults.lost(number, self._fps):
                self._sleep_until(self._exposed_ns(number))
                return number
            number += 1
        if self._over(number):
            return None
        self._sleep_until(deadline)
        if self._closed:
            return None
        raise self._silent()

    def _sleep_until(self, moment_ns: int) -> None:
        while not self._closed and (left := moment_ns - self._clock()) > 0:
            self._sleep(left / 1e9)

    def _exposed_ns(self, number: int) -> int:
        return self._epoch_ns + round(number * 1e9 / self._fps)

    def _over(self, number: int) -> bool:
        return self._frames is not None and number >= self._frames

    def _silent(self) -> SourceError:
        return SourceError(
            f"{self._name}: no frame for {self._timeout_ns / 1e9:g} s",
            hint="The simulated camera is silent as ordered; read again.",
        )

    def _picture(self, number: int) -> Image:
        """What the sensor gives for frame ``number``."""
        moment = number / self._fps
        if self._role == "visible":
            image: Image = self._scene.visible(moment)
        else:
            image = self._projected(self._scene.infrared(moment))
        jump = self._faults.gain_jump
        if jump and moment >= jump[0]:
            image = cv2.addWeighted(image, jump[1], image, 0.0, jump[2])
        if self._faults.black(moment):
            image = np.zeros_like(image)
        if self._grain:
            self._grain.add_to(image, number)
        if self._mark:
            black, white = (COUNTS_BASE, COUNTS_BASE + 255 * COUNTS_PER_LEVEL) if self._depth16 else (0, 255)
            draw_mark(image, number, black, white)
        return image

    def _projected(self, image: Image) -> Image:
        """The infrared view through the camera's own lens: another size, shifted or turned."""
        size = self._faults.size or self._scene.size
        if self._faults.homography is not None:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            return cv2.warpPerspective(
                image, self._homography, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
        if size == self._scene.size:
            return image
        shrinks = size[0] < self._scene.size[0]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def _extra_noise(self) -> Grain | None:
        if not self._faults.noise:
            return None
        width, height = self._faults.size or self._scene.size
        shape = (height, width, 3) if self._role == "visible" else (height, width)
        scale = COUNTS_PER_LEVEL if self._depth16 else 1
        dtype = np.uint16 if self._depth16 else np.uint8
        return Grain(shape, self._faults.noise * scale, self._faults.seed + 21, dtype)


def from_uri(
    name: str,
    uri: str,
    *,
    epoch_ns: int | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> SimulatedSource:
    """The simulated camera that a URI describes.

    ``sim://ir?seed=3&fps=9&size=320x256&depth=16&freeze=5:2`` or ``sim://vis?seed=3&mark=1``. Cameras of
    one seed and epoch look at the same moments. An infrared camera whose visible partner is not 640x480
    is told so with ``view=WIDTHxHEIGHT``.

    Args:
        name: Name for messages.
        uri: The URI.
        epoch_ns: Time of frame 0 on the clock, shared by both cameras of a pair.
        clock: Monotonic nanoseconds.
        sleep: Waits a number of seconds.

    Raises:
        RequestError: the URI cannot be read, see :func:`tdfusion_edge.runtime.simulation.uri.parse`.
    """
    wish = parse(uri)
    own = wish.view if wish.role == "infrared" else wish.size
    seen = own or REFERENCE
    differs = wish.role == "infrared" and wish.size not in (None, seen)
    faults = replace(wish.faults, size=wish.size) if differs else wish.faults
    return SimulatedSource(
        name,
        wish.role,
        Scene(wish.seed, seen, wish.depth16, fog=wish.fog),
        wish.fps,
        faults,
        clock=clock,
        sleep=sleep,
        realtime=wish.realtime,
        frames=wish.frames,
        epoch_ns=epoch_ns,
        mark=wish.mark,
        timeout_s=wish.timeout_s,
    )
