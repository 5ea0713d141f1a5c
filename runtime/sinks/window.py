"""Fused pictures in a window (``--show``)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import cv2

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result

# The two packages hold the same files, so the one without windows has to go first.
INSTALL = "pip uninstall -y opencv-python-headless && pip install --force-reinstall --no-deps opencv-python"

_STOP_KEYS = (ord("q"), ord("Q"), 27)  # 27 is Esc


def require_windows(build: str, platform: str, environ: Mapping[str, str]) -> None:
    """Refuse where no window can open.

    Args:
        build: What ``cv2.getBuildInformation()`` says.
        platform: ``sys.platform``.
        environ: The process's environment, which names the display on Linux.

    Raises:
        RequestError: OpenCV was built without windows, or there is no display.
    """
    if re.search(r"^\s*GUI:\s*NONE\s*$", build, re.MULTILINE):
        raise RequestError(
            "--show needs an OpenCV that can open windows",
            expected="opencv-python",
            got="opencv-python-headless or another build without GUI",
            hint=f"{INSTALL}\n  or leave --show out.",
        )
    # Qt ends the process where it finds no display, so OpenCV cannot be asked.
    if platform.startswith("linux") and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        raise RequestError(
            "--show needs a display",
            expected="DISPLAY or WAYLAND_DISPLAY to be set",
            got="neither",
            hint="Run it on the desktop, over `ssh -X`, or leave --show out and record with -o out.mp4.",
        )


class WindowSink:
    """Show results in a window; ``q``, Esc or the window's own button sets :attr:`closed`.

    The window opens at the first result, in the thread that writes, and belongs to that thread;
    macOS allows the main thread only.

    Args:
        title: Title of the window.
        picture: What of a result is shown, e.g. with its boxes drawn; the fused picture as it is
            where none is given.
        on_close: Called once when the user asks to stop.
        highgui: ``cv2``, or what stands in for it.

    Raises:
        RequestError: no window can open here; says which package or display is missing.
    """

    def __init__(
        self,
        title: str = "tdfusion-edge",
        *,
        picture: Callable[[Result], Image] | None = None,
        on_close: Callable[[], None] | None = None,
        highgui: Any = cv2,
    ) -> None:
        require_windows(highgui.getBuildInformation(), sys.platform, os.environ)
        self._title = title
        self._picture = picture
        self._on_close = on_close
        self._gui = highgui
        self._open = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once the user asked to stop; later results are not shown."""
        return self._closed

    def write(self, result: Result) -> None:
        """Show one picture and look at the keyboard; about a millisecond.

        Raises:
            SinkError: the window cannot be opened or is gone with its display.
        """
        if self._closed:
            return
        try:
            if self._open and self._gui.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                self._stop()  # by the window's own button; imshow would open it again
                return
            self._gui.imshow(self._title, result.picture if self._picture is None else self._picture(result))
            self._open = True
            if self._gui.waitKey(1) & 0xFF in _STOP_KEYS:
                self._stop()
        except cv2.error as error:
            self._closed = True
            raise SinkError(
                f"the window cannot be shown: {str(error).strip()}",
                hint=f"An OpenCV with windows: {INSTALL}",
            ) from error

    def _stop(self) -> None:
        self._closed = True
        if self._on_close is not None:
            self._on_close()

    def close(self) -> None:
        """Close the window; safe to call twice."""
        if not self._open:
            return
        self._open = False
        try:
            self._gui.destroyWindow(self._title)
        except cv2.error:
            return  # the user closed it first

    def abort(self) -> None:
        """Close the window."""
        self.close()
