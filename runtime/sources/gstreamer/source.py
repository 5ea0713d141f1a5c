"""A GStreamer pipeline as a source of frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.gstreamer.pictures import picture
from tdfusion_edge.runtime.sources.gstreamer.pipeline import Pipeline
from tdfusion_edge.runtime.sources.uri import SourceUri

OPEN_S = 10.0
"""Longest wait for a pipeline to start: a network camera answers within."""
TIMEOUT_S = 5.0
"""Silence after which a read fails. A shutter of a thermal camera (up to 3 s) is no failure."""
_SLICE_S = 0.1
"""A wait is cut into pieces of this length, so that closing never takes longer."""


class GStreamerSource:
    """The pictures of one pipeline, opened and checked at once.

    GStreamer itself says whether it is live: a camera is, a file is not. Of a live one the newest frame is
    taken; it carries its presentation time, put onto the monotonic clock. Of a file every frame comes, at
    ``epoch_ns`` plus its presentation time, and the end of the file is the end.

    Grey of 8 and 16 bits comes as it is, all else as BGR of 8 bits. Sequence numbers follow those of the
    source where it has some (V4L2 through ``v4l2src`` has), so that a gap tells of frames lost before they
    came here; else frames are counted as they arrive.

    Args:
        name: Name for messages and frames, without credentials.
        pipeline: GStreamer's words, up to the last element before the sink.
        epoch_ns: Monotonic nanoseconds at which a file begins.
        open_s: Longest wait until the pipeline runs, seconds.
        timeout_s: Silence after which a read fails, seconds.
        clock: Monotonic nanoseconds, the clock that stamps the frames.

    Raises:
        RequestError: GStreamer is not there, or knows no such pipeline.
        SourceError: an element failed, or no frame came in time.
    """

    def __init__(
        self,
        name: str,
        pipeline: str,
        *,
        epoch_ns: int,
        open_s: float = OPEN_S,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = name
        self.live = True
        """Whether the world sets the pace."""
        self._epoch_ns, self._timeout_s, self._clock = epoch_ns, timeout_s, clock
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._sequence, self._offset = -1, None
        self._pipeline: Pipeline | None = Pipeline(pipeline, name)
        try:
            self.live = self._started(self._pipeline, open_s)
            self._shift_ns = _shift_ns(self._pipeline, clock)
            self._first = self._next(self._pipeline, max(open_s, timeout_s))
            if self._first is None:
                raise SourceError(f"{name}: the pipeline ended without a frame", expected="video")
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame | None:
        """The next frame; None once the source is closed, and at the end of a file.

        Raises:
            SourceError: no frame came in time, an element failed, or a live stream has ended.
        """
        with self._lock:
            if self._pipeline is None:
                return None
            frame, self._first = self._first, None
            return frame or self._next(self._pipeline, self._timeout_s)

    def close(self) -> None:
        """Stop the pipeline; a read that is waiting in another thread ends with None."""
        self._closing.set()
        with self._lock:
            pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.stop()

    def _started(self, pipeline: Pipeline, open_s: float) -> bool:
        """Start it; whether it is live."""
        deadline = self._clock() + int(open_s * 1e9)
        while (live := pipeline.pause(_SLICE_S)) is None:
            if self._clock() >= deadline:
                raise SourceError(
                    f"{self.name}: the pipeline does not start",
                    expected=f"a first frame within {open_s:g} s",
                    got="none",
                    kind="timeout",
                )
        pipeline.play(live=live)
        return live

    def _next(self, pipeline: Pipeline, timeout_s: float) -> Frame | None:
        """The next frame; None at the end of a file, or when closed meanwhile."""
        deadline = self._clock() + int(timeout_s * 1e9)
        slice_ns = int(_SLICE_S * 1e9)
        while (sample := pipeline.sink.try_pull_sample(slice_ns)) is None:
            if self._closing.is_set():
                return None
            pipeline.check()
            if pipeline.sink.is_eos():
                if not self.live:
                    return None
                raise SourceError(
                    f"{self.name}: the stream has ended", expected="a live stream goes on", kind="ended"
                )
            if self._clock() >= deadline:
                raise SourceError(
                    f"{self.name}: the pipeline is silent",
                    expected=f"a frame within {timeout_s:g} s",
                    got="none",
                    kind="timeout",
                )
        image = picture(sample, pipeline.library, self.name)
        return Frame(image, self._time_ns(pipeline, sample), self._number(sample.get_buffer()), self.name)

    def _time_ns(self, pipeline: Pipeline, sample: Any) -> int:
        """When the frame was captured, on our clock."""
        gst = pipeline.library.gst
        running = none = gst.CLOCK_TIME_NONE
        if (stamp := sample.get_buffer().pts) != none:
            running = sample.get_segment().to_running_time(gst.Format.TIME, stamp)
        if not self.live:
            if running == none:
                raise SourceError(
                    f"{self.name}: a frame without a time",
                    hint="Give the pipeline a rate, such as ! videorate ! video/x-raw,framerate=30/1",
                )
            return self._epoch_ns + int(running)
        now = self._clock()
        captured = 0 if running == none else pipeline.base_ns() + int(running) + self._shift_ns
        # What is stamped by another clock, or not at all, counts from its arrival.
        return captured if 0 < captured <= now else now

    def _number(self, buffer: Any) -> int:
        """The frame's number: a source that counts its frames writes the next one as the end."""
        counts = buffer.offset_end == buffer.offset + 1
        step = 1 if self._offset is None or not counts else buffer.offset - self._offset
        self._sequence += max(step, 1)
        self._offset = buffer.offset if counts else None
        return self._sequence


def _shift_ns(pipeline: Pipeline, clock: Callable[[], int]) -> int:
    """What to add to the pipeline's clock for ours: 0 where they are the same, as on Linux."""
    before, there, after = clock(), pipeline.clock_ns(), clock()
    return 0 if before <= there <= after else (before + after) // 2 - there


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> GStreamerSource:
    """The source for ``gst:`` and a pipeline.

    Raises:
        RequestError: the rig asks for a size or a rate, besides what :class:`GStreamerSource` raises.
    """
    if uri.query:
        raise RequestError(
            f"{name}: size and rate of a pipeline stand in its caps",
            expected="... ! video/x-raw,width=640,height=480,framerate=30/1",
            got=", ".join(sorted(uri.query)),
            hint="Remove them from the rig.",
        )
    return GStreamerSource(name, uri.path, epoch_ns=epoch_ns, clock=clock)
