"""A pipeline in GStreamer's own words, ended by a sink that hands its pictures over."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any

from tdfusion_edge.errors import FailureKind, RequestError, SourceError
from tdfusion_edge.runtime.sources.gstreamer.library import INSTALL, GStreamer, gstreamer
from tdfusion_edge.runtime.sources.gstreamer.secrets import hidden_in, secrets

log = logging.getLogger(__name__)

FORMATS = ("GRAY16_LE", "GRAY16_BE", "GRAY8", "BGR", "BGRx", "BGRA", "RGB", "RGBx", "RGBA")
"""What the sink takes. ``videoconvert`` before it passes these on untouched, and makes of others the one that
loses least: of NV12 or YUY2 ``BGRx``, by the colour matrix that their caps name."""

SINK = "tdfusion_edge_sink"
_END = (
    f" ! videoconvert ! appsink name={SINK} sync=false drop=false max-buffers=4 "
    f"caps=video/x-raw,format=(string){{{','.join(FORMATS)}}}"
)
STOP_S = 2.0
"""Longest wait for a pipeline to stop: a driver that hangs must not hold up the end of a run."""
REASON_NS = 1_000_000_000
"""Longest wait for the word of an element that kept a pipeline from starting."""
_STOCK = {
    "nvarguscamerasrc": "It comes with JetPack, for the CSI cameras of a Jetson.",
    "nvvidconv": "It comes with JetPack; elsewhere use videoconvert.",
    "avdec_h264": "sudo apt install gstreamer1.0-libav",
}


class Pipeline:
    """A pipeline that is built and not started.

    Args:
        text: GStreamer's words up to the last element before the sink; a bare ``appsink`` at the end is
            taken off.
        name: Of the source, for messages.

    Raises:
        RequestError: GStreamer is not there, knows no such element or property, cannot link two of them, or
            the text ends in a sink of the user's own.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._secrets = secrets(text)
        self.library: GStreamer = gstreamer()
        gst = self.library.gst
        try:
            self._pipeline = gst.parse_launch(_head(text, name) + _END)
        except self.library.error as error:
            raise self._unusable(str(error.message)) from error
        self.sink = self._pipeline.get_by_name(SINK)
        self._clock = gst.SystemClock.obtain()
        self._pipeline.use_clock(self._clock)

    def clock_ns(self) -> int:
        """The pipeline's clock now, in nanoseconds: the system's, which is monotonic."""
        return int(self._clock.get_time())

    def base_ns(self) -> int:
        """Where running time begins on that clock."""
        return int(self._pipeline.get_base_time())

    def pause(self, wait_s: float) -> bool | None:
        """Open the devices and files.

        Returns:
            Whether the pipeline is live, as GStreamer has it: what gives no frame while it is paused is. None
            where that is not decided within ``wait_s``; ask again.

        Raises:
            SourceError: an element failed; it is named.
        """
        gst = self.library.gst
        change = self._pipeline.set_state(gst.State.PAUSED)
        if change == gst.StateChangeReturn.ASYNC:
            change, _, _ = self._pipeline.get_state(int(wait_s * gst.SECOND))
        self.check(failed=change == gst.StateChangeReturn.FAILURE)
        if change == gst.StateChangeReturn.ASYNC:
            return None
        return bool(change == gst.StateChangeReturn.NO_PREROLL)

    def play(self, *, live: bool) -> None:
        """Let frames come: live the newest only, of a recording all of them.

        Raises:
            SourceError: an element failed; it is named.
        """
        gst = self.library.gst
        if live:
            self.sink.set_property("max-buffers", 1)
            self.sink.set_property("drop", True)
        change = self._pipeline.set_state(gst.State.PLAYING)
        self.check(failed=change == gst.StateChangeReturn.FAILURE)

    def check(self, *, failed: bool = False) -> None:
        """Ask the bus.

        Args:
            failed: A state was not reached: if nobody says why, that is an error as well.

        Raises:
            SourceError: an element failed; it is named, with what it says.
        """
        gst = self.library.gst
        # Where a state was not reached the reason may still be on its way.
        patience_ns = REASON_NS if failed else 0
        message = self._pipeline.get_bus().timed_pop_filtered(patience_ns, gst.MessageType.ERROR)
        if message is None and not failed:
            return
        if message is None:
            raise SourceError(f"{self.name}: the pipeline cannot start", hint="Try it: gst-launch-1.0 ...")
        error, details = message.parse_error()
        factory = message.src.get_factory() if hasattr(message.src, "get_factory") else None
        kind = f" ({factory.get_name()})" if factory else ""
        last = (details or "").strip().splitlines()[-1:]
        # The first line names a place in GStreamer's sources.
        told = [str(error.message), *(line for line in last if ".c(" not in line)]
        raise SourceError(
            f"{self.name}: element {message.src.get_name()}{kind} failed: "
            + hidden_in(" ".join(told), self._secrets),
            hint=_remedy(str(error.message), details or ""),
            kind=_kind(error, details or ""),
        )

    def stop(self) -> None:
        """Release devices and files; gives up waiting for a driver that hangs after :data:`STOP_S`."""
        null = self.library.gst.State.NULL
        stopping = threading.Thread(
            target=self._pipeline.set_state, args=(null,), name=f"stop {self.name}", daemon=True
        )
        stopping.start()
        stopping.join(STOP_S)
        if stopping.is_alive():
            log.warning("%s: the pipeline does not stop; its device stays taken until the end", self.name)

    def _unusable(self, said: str) -> RequestError:
        missing = re.fullmatch(r'no element "(.+)"', said)
        hint = "Try it: gst-launch-1.0 PIPELINE ! fakesink"
        if missing:
            hint = _STOCK.get(missing[1], f"{INSTALL}; what is there: gst-inspect-1.0")
        elif "no property" in said:
            hint = f"What it takes: gst-inspect-1.0 {said.rpartition(' ')[2]}".replace('"', "")
        elif "link" in said:
            hint = (
                "It must end in raw video. Put a decoder before the end for compressed video (decodebin), "
                "and nvvidconv for memory:NVMM."
            )
        return RequestError(f"{self.name}: no such pipeline: {hidden_in(said, self._secrets)}", hint=hint)


def _head(text: str, name: str) -> str:
    """The pipeline without an ``appsink`` at its end.

    Raises:
        RequestError: nothing is left, or the sink at its end is not ours to replace.
    """
    before, mark, last = text.strip().rpartition("!")
    words = last.split()
    if words and words[0] == "appsink":
        if len(words) > 1:
            raise RequestError(
                f"{name}: the pipeline ends in an appsink of its own",
                expected="a pipeline without a sink; the newest frame is taken from its end",
                got=last.strip(),
                hint="Leave out what stands behind the last '!'.",
            )
        text = before
    elif mark and words and words[0].endswith("sink"):
        raise RequestError(f"{name}: the pipeline ends in {words[0]}", expected="a pipeline without a sink")
    if not text.strip():
        raise RequestError(
            f"{name}: an empty pipeline",
            expected="gst: and elements, such as gst:v4l2src device=/dev/video0 ! videoconvert",
        )
    return text.strip()


_KINDS: Mapping[tuple[str, int], FailureKind] = {
    ("gst-resource-error-quark", 3): "not-found",
    ("gst-resource-error-quark", 5): "unreachable",  # open for reading
    ("gst-resource-error-quark", 7): "unreachable",  # for reading and writing, as a network stream is
    ("gst-resource-error-quark", 9): "gone",  # read
    ("gst-resource-error-quark", 13): "format",  # settings
    ("gst-resource-error-quark", 15): "unauthorised",
    ("gst-core-error-quark", 7): "format",  # negotiation
    **{("gst-stream-error-quark", code): "format" for code in (3, 4, 5, 6, 7, 9)},
}
"""By the number in ``GstResourceError``, ``GstCoreError`` and ``GstStreamError``, there of: type not found,
wrong type, no codec, decoding, encoding, format."""


def _kind(error: Any, details: str) -> FailureKind:
    """Why an element failed."""
    if "not-negotiated" in details:
        return "format"
    return _KINDS.get((str(error.domain), int(error.code)), "other")


def _remedy(message: str, details: str) -> str | None:
    """What helps against the errors that people meet."""
    if "not-negotiated" in details or "negotiat" in message.lower():
        return "Two elements have no format in common: put videoconvert, a decoder or nvvidconv between them."
    if "unauthorized" in details.lower() or "not authorized" in message.lower():
        return "User or password is wrong: user-id and user-pw of rtspsrc."
    return None
