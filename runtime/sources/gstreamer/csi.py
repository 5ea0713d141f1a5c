"""CSI cameras of a Jetson: ``csi://0``, through libargus and its GStreamer element."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from fractions import Fraction

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.sources.gstreamer.source import GStreamerSource
from tdfusion_edge.runtime.sources.uri import SourceUri

FLIPS: Mapping[str, int] = {"90": 3, "180": 2, "270": 1, "horizontal": 4, "vertical": 6}
"""``flip=``: degrees clockwise, or a mirror, and the number that ``nvvidconv`` has for it."""


def pipeline(uri: SourceUri) -> str:
    """GStreamer's words for a CSI camera.

    Frames stay in the GPU's memory until ``nvvidconv`` hands them out as BGRx.

    Args:
        uri: ``csi://SENSOR`` with the options ``mode`` (number of the sensor's mode), ``size``, ``fps``,
            ``flip`` (:data:`FLIPS`), ``exposure`` (milliseconds) and ``gain``.

    Raises:
        RequestError: an unknown option, or a value that it cannot have.
    """
    uri.refuse_unknown(("mode", "size", "fps", "flip", "exposure", "gain"))
    camera = f"nvarguscamerasrc sensor-id={_whole(uri, 'sensor', uri.path)}"
    if (mode := uri.query.get("mode")) is not None:
        camera += f" sensor-mode={_whole(uri, 'mode', mode)}"
    # A range of one number: libargus controls within it, and so holds it.
    if (exposure := uri.number("exposure", "milliseconds above 0")) is not None:
        camera += f' exposuretimerange="{round(exposure * 1e6)} {round(exposure * 1e6)}"'
    if (gain := uri.number("gain", "a factor above 0")) is not None:
        camera += f' gainrange="{gain:g} {gain:g}"'
    caps = "video/x-raw(memory:NVMM),format=NV12"
    if (size := uri.size()) is not None:
        caps += f",width={size[0]},height={size[1]}"
    if (fps := uri.fps()) is not None:
        rate = Fraction(fps).limit_denominator(1001)
        caps += f",framerate={rate.numerator}/{rate.denominator}"
    turn = ""
    if (flip := uri.query.get("flip")) is not None:
        if flip not in FLIPS:
            raise RequestError(f"{uri}: bad flip", expected=", ".join(FLIPS), got=f"'{flip}'")
        turn = f" flip-method={FLIPS[flip]}"
    return f"{camera} ! {caps} ! nvvidconv{turn} ! video/x-raw,format=BGRx"


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> GStreamerSource:
    """The source for an address; errors as :func:`pipeline` and :class:`GStreamerSource`."""
    return GStreamerSource(name, pipeline(uri), epoch_ns=epoch_ns, clock=clock)


def _whole(uri: SourceUri, what: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 256):
        raise RequestError(f"{uri}: bad {what}", expected="a number such as 0", got=f"'{text}'")
    return int(text)
