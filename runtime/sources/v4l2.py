"""Cameras on V4L2 (USB, and whatever else appears as ``/dev/video*``), 8-bit and 16-bit."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime.sources.capture import Capture, OpenCVCapture, Opener
from tdfusion_edge.runtime.sources.pixel_format import CONVERTED, FORMATS, as_picture, configure
from tdfusion_edge.runtime.sources.uri import SourceUri
from tdfusion_edge.runtime.sources.video4linux.capture import open_capture

TIMEOUT_S = 5.0
"""Silence after which a read fails. A shutter of a thermal camera (up to 3 s) is no failure."""
_SLICE_S = 0.1
"""A wait is cut into pieces of this length, so that closing never takes longer."""
_NUMBERS = 1 << 32
"""The kernel counts frames in 32 bits."""
_STAMP_AGE_NS = 2_000_000_000
"""A first frame older than this carries the stamp of another clock."""


class V4L2Source:
    """One V4L2 camera, opened and checked at once.

    Frames carry the kernel's capture time, which is monotonic; where a driver stamps with another
    clock it is the moment at which the frame arrived. A frame that arrives damaged is skipped and
    leaves a gap in the sequence, and so does one that the driver drops. (Not with the formats that
    OpenCV reads, :func:`.video4linux.capture.open_capture`: it does not tell of them.)

    After an error it is to be closed and opened anew, which
    :class:`~tdfusion_edge.runtime.sources.supervision.source.SupervisedSource` does.

    Args:
        name: Name for messages and frames, without credentials.
        path: Device file, ``/dev/video0`` or a link below ``/dev/v4l/by-id``.
        pixel_format: One of :data:`.pixel_format.FORMATS`, None for the camera's own choice.
        size: Width and height in pixels, None for the camera's choice near 640 x 480.
        fps: Frames a second, None for the camera's choice.
        timeout_s: Silence after which a read fails.
        clock: Monotonic nanoseconds, the clock that stamps the frames.
        opener: Opens the device.

    Raises:
        RequestError: the camera has no such format, size or rate.
        InputMissing: there is no such device.
        SourceError: it is taken, may not be used, is silent, or gives other frames than its format
            promises.
    """

    live = True

    def __init__(
        self,
        name: str,
        path: str,
        *,
        pixel_format: str | None = None,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], int] = time.monotonic_ns,
        opener: Opener = OpenCVCapture,
    ) -> None:
        self.name = name
        self._path, self._asked = path, (pixel_format, size, fps)
        self._timeout_ns = int(timeout_s * 1e9)
        self._clock, self._opener = clock, opener
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._sequence = 0
        self._capture: Capture | None = None
        self._format, self._size = CONVERTED, (0, 0)
        self._kernel_clock = False
        self._number: int | None = None
        """Of the last frame, by the driver."""
        self._first: Frame | None = None
        self._open()

    def read(self) -> Frame | None:
        """The next frame; None once the source is closed.

        Raises:
            SourceError: no frame came in time, the camera is gone, or it gives other frames than before.
        """
        with self._lock:
            if self._closing.is_set() or self._capture is None:
                return None
            frame, self._first = self._first or self._next(self._capture), None
            return frame

    def close(self) -> None:
        """Release the device; a read that is waiting in another thread ends with None."""
        self._closing.set()
        with self._lock:
            if self._capture is not None:
                self._capture.release()
            self._capture, self._first = None, None

    def _open(self) -> None:
        """Open and set up the device and take a first frame, which shows what it really gives."""
        capture, self._number = self._opener(self._path), None
        try:
            self._format, self._size = configure(capture, self.name, *self._asked)
            self._first = self._next(capture, opening=True)
        except BaseException:
            capture.release()
            raise
        self._capture = capture

    def _next(self, capture: Capture, *, opening: bool = False) -> Frame | None:
        """The next whole frame, None when closed meanwhile."""
        deadline = self._clock() + self._timeout_ns
        while self._wait(capture, deadline):
            time_ns = self._stamp(capture, opening)
            number = capture.number()
            raw = capture.take()
            sequence = self._sequence + self._lost(number)
            self._number, self._sequence = number, sequence + 1
            image = None if raw is None else as_picture(raw, self._size, self._format)
            if image is not None:
                self._check_bits(image)
                return Frame(image, time_ns, sequence, self.name)
            if self._clock() >= deadline:
                raise self._silent("damaged ones only")
        return None

    def _lost(self, number: int | None) -> int:
        """Frames that the driver dropped before the one that it calls ``number``."""
        if number is None or self._number is None:
            return 0
        step = (number - self._number) % _NUMBERS
        # A driver that starts anew counts from 0 again.
        return max(step - 1, 0) if step < _NUMBERS // 2 else 0

    def _wait(self, capture: Capture, deadline: int) -> bool:
        """Wait for a frame; False when closed meanwhile."""
        while not capture.wait(_SLICE_S):
            if self._closing.is_set():
                return False
            if self._clock() >= deadline:
                raise self._silent("none")
        return True

    def _silent(self, got: str) -> SourceError:
        return SourceError(
            f"camera {self.name} is silent",
            expected=f"a frame within {self._timeout_ns / 1e9:g} s",
            got=got,
            hint=f"Check the cable and the power of {self._path}; unplug it and plug it in again.",
            kind="timeout",
        )

    def _stamp(self, capture: Capture, opening: bool) -> int:
        """Capture time of the frame that was waited for, in nanoseconds on the clock."""
        now = self._clock()
        # OpenCV hands out the microseconds of the kernel as a floating-point number of milliseconds.
        stamp = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1000) * 1000
        if opening:
            self._kernel_clock = 0 <= now - stamp < _STAMP_AGE_NS
        return stamp if self._kernel_clock and 0 < stamp <= now else now

    def _check_bits(self, image: Image) -> None:
        named = self._asked[0] or "the camera's own format"
        if self._format.bits == 16 and (image.dtype != np.uint16 or image.ndim != 2):
            raise SourceError(
                f"camera {self.name} gives no 16-bit frames although {named} promises them",
                expected="uint16 (H, W)",
                got=f"{image.dtype} {image.shape}",
                hint="This OpenCV converts them: python -m pip install --upgrade opencv-python-headless. "
                "To go on with 8 bits name another format, such as ?format=GREY",
                kind="format",
            )
        if self._format.bits == 8 and image.dtype != np.uint8:
            raise SourceError(
                f"camera {self.name} gives 16-bit frames although {named} promises 8 bits",
                expected="uint8",
                got=f"{image.dtype} {image.shape}",
                hint=f"Ask for them by name: v4l2://{self._path}?format=Y16",
                kind="format",
            )


def from_uri(
    name: str,
    uri: SourceUri,
    *,
    epoch_ns: int,
    clock: Callable[[], int] = time.monotonic_ns,
    opener: Opener | None = None,
) -> V4L2Source:
    """The source for an address; takes the options ``format``, ``size``, ``fps``, ``exposure`` and ``gain``.

    Exposure is in milliseconds, gain in the driver's unit; what is not given is the camera's own control.

    Raises:
        RequestError: an unknown option or format, besides what :class:`V4L2Source` raises.
    """
    uri.refuse_unknown(("format", "size", "fps", "exposure", "gain"))
    pixel_format = uri.query.get("format")
    if pixel_format is not None and (pixel_format := pixel_format.strip().upper()) not in FORMATS:
        near = difflib.get_close_matches(pixel_format, FORMATS, n=1)
        raise RequestError(
            f"{uri}: unknown format '{pixel_format}'",
            expected=f"one of {', '.join(FORMATS)}",
            hint=f"Did you mean {near[0]}?" if near else "See what it offers: tdfusion-edge cameras",
        )
    opener = opener or partial(
        open_capture,
        name=name,
        pixel_format=pixel_format,
        exposure_ms=uri.number("exposure", "milliseconds above 0"),
        gain=uri.number("gain", "a number above 0 in the camera's unit"),
    )
    return V4L2Source(
        name, uri.path, pixel_format=pixel_format, size=uri.size(), fps=uri.fps(), clock=clock, opener=opener
    )
