"""The part of OpenCV's V4L2 capture that a camera source needs, behind a seam that tests can fill."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TypeAlias

import cv2

from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime.sources.video4linux.device import opened


class Capture(Protocol):
    """An open device; its properties are OpenCV's ``CAP_PROP_*``."""

    def set(self, prop: int, value: float) -> bool:
        """Ask for a property; False where the device refuses it."""

    def get(self, prop: int) -> float:
        """What a property is now; 0 or -1 where it is not known."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next frame; False where none came in time.

        Raises:
            SourceError: the device is gone.
        """

    def number(self) -> int | None:
        """Number of the frame that was waited for and not taken yet, by the driver; None where unknown."""

    def offers(self, pixel_format: str) -> str:
        """Sizes and rates of a format, for people; empty where they are not known."""

    def take(self) -> Image | None:
        """The frame that was waited for, as OpenCV hands it out; None where it cannot be decoded."""

    def release(self) -> None:
        """Close the device."""


Opener: TypeAlias = Callable[[str], Capture]
"""Opens the device at a path.

Raises:
    InputMissing: there is none.
    SourceError: it is taken, may not be used or is no camera.
"""


class OpenCVCapture:
    """A V4L2 device through OpenCV."""

    def __init__(self, path: str) -> None:
        os.close(opened(path))  # OpenCV does not tell why it cannot
        self._path = path
        self._capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
        self._started = False
        if not self._capture.isOpened():
            raise SourceError(
                f"{path} gives no video",
                expected="a camera that no other program uses",
                hint=f"See who has it: fuser -v {path}; which devices give video: tdfusion-edge cameras",
            )

    def set(self, prop: int, value: float) -> bool:
        """Ask for a property."""
        return bool(self._capture.set(prop, value))

    def get(self, prop: int) -> float:
        """What a property is now."""
        return float(self._capture.get(prop))

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next frame.

        The very first frame is waited for up to 10 s, whatever ``timeout_s``: it is the limit built
        into OpenCV, whose V4L2 back end knows no CAP_PROP_READ_TIMEOUT_MSEC. Later frames go
        through ``waitAny``, which takes a limit but starts no stream.
        """
        if not self._started:
            self._started = bool(self._capture.grab())
            return self._started
        try:
            _, ready = cv2.VideoCapture.waitAny([self._capture], max(1, int(timeout_s * 1e9)))
        except cv2.error as error:
            raise SourceError(f"{self._path} is gone: {redact(error.err)}", kind="gone") from error
        return len(ready) > 0

    def number(self) -> int | None:
        """OpenCV does not tell."""
        return None

    def offers(self, pixel_format: str) -> str:
        """OpenCV does not tell."""
        return ""

    def take(self) -> Image | None:
        """The frame that was waited for."""
        whole, image = self._capture.retrieve()
        return image if whole else None

    def release(self) -> None:
        """Close the device."""
        self._capture.release()
