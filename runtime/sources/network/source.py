"""A live stream from the network through FFmpeg, never further behind than the network itself."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import av

from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime.sources.network.failures import failure, from_ffmpeg
from tdfusion_edge.runtime.sources.network.lag import Lag
from tdfusion_edge.runtime.sources.network.options import Options, options
from tdfusion_edge.runtime.sources.network.stamps import Origin, Stamps
from tdfusion_edge.runtime.sources.uri import SourceUri
from tdfusion_edge.video.pixels import NoCounts, taker

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS: the demuxer invents the times."""
KEY_NS = 15_000_000_000
"""So much longer may the first picture take that needs no other: some cameras send one in ten seconds."""
_PARSED = ("h264", "hevc")
"""FFmpeg knows that a picture is whole when the next one begins, and hands it out then."""
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto"
"""A playlist from the network may name no file of this machine."""


class NetworkSource:
    """The first video stream at an address, opened at once, up to its first frame.

    Frames carry the moment of capture as far as the stream tells it: see :class:`.stamps.Stamps`. A grey
    stream comes as (H, W), others as uint8 (H, W, 3) BGR. Where the machine is too slow, frames that are not
    the newest are left out, which leaves gaps in their numbers. So does a frame that arrives damaged.

    A read that waits is not ended by :meth:`close`: FFmpeg's call returns within the time-out, and the stream
    is closed then.

    Args:
        name: Name for messages and frames, without credentials.
        address: ``rtsp://...`` or another that FFmpeg opens, with credentials.
        asked: How it is opened.
        clock: Monotonic nanoseconds, the clock of the capture times.
        wall_clock: Nanoseconds since 1970.

    Raises:
        SourceError: it cannot be opened; ``kind`` says why.
    """

    live = True

    def __init__(
        self,
        name: str,
        address: str,
        asked: Options = Options(),  # noqa: B008  (it cannot be changed)
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self._asked, self._clock = asked, clock
        self._timeout_ns = round(asked.timeout_s * 1e9)
        self._closing = threading.Event()
        self._reading = threading.Lock()
        self._container = self._opened(address)
        self._packets: Iterator[Packet[Any]] = iter(())
        self._stamps = Stamps(name, self._times(), wall_clock() - clock())
        self._lag = Lag(clock())
        self._before_ns: int | None = None
        """When the packet before came."""
        self._layout = ""
        self._take: Callable[[VideoFrame], Image] = _no_taker
        self._decode: Callable[[Packet[Any]], list[VideoFrame]] = _nothing
        self._sequence = 0
        self._begun = False
        """A picture that needs no other was seen."""
        self._first: Frame | None = None
        try:
            stream = self._video()
            self._parsed = stream.codec_context.name in _PARSED
            self._packets, self._decode = self._container.demux(stream), stream.decode
            self._first = self.read()
        except BaseException:
            self._container.close()
            raise

    @property
    def origin(self) -> Origin | None:
        """What the capture time of the last frame rests on; None before the first."""
        return self._stamps.origin

    def read(self) -> Frame | None:
        """The next frame; None once the source is closed.

        Raises:
            SourceError: the stream is silent, has ended, or cannot be decoded.
        """
        with self._reading:
            try:
                first, self._first = self._first, None
                return first or self._next()
            except av.FFmpegError as error:
                # Not as its cause: FFmpeg quotes the address.
                raise from_ffmpeg(self.name, error, "reading", self._asked.timeout_s) from None
            finally:
                if self._closing.is_set():
                    self._release()

    def close(self) -> None:
        """Release the stream, at once or when the read that is under way returns; safe to call twice."""
        self._closing.set()
        # Closed under a call that still runs, FFmpeg would take the process with it.
        if self._reading.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._reading.release()

    def _release(self) -> None:
        """Close the stream.

        Decoder and converter have threads of their own, and a traceback may hold this object for long:
        they are let go here.
        """
        self._packets, self._first = iter(()), None
        self._decode, self._take = _nothing, _no_taker
        self._container.close()

    def _opened(self, address: str) -> InputContainer:
        limit_s = self._asked.timeout_s
        # The rate is not guessed from many pictures first: that takes a second. What was read to see what the
        # stream is, is kept: with FFmpeg's "nobuffer" it would be lost, and with it the first whole picture.
        asked = {"fpsprobesize": "0", "analyzeduration": "2000000", "protocol_whitelist": _PROTOCOLS}
        if address.lower().startswith("rtsp"):
            asked |= {
                "rtsp_transport": self._asked.transport, "allowed_media_types": "video",
                "max_delay": "100000", "buffer_size": "4194304",
            }  # fmt: skip
        begun_ns = self._clock()
        try:
            container = av.open(address, options=asked, timeout=(limit_s, limit_s))
        except av.FFmpegError as error:
            passed_s = (self._clock() - begun_ns) / 1e9
            raise from_ffmpeg(self.name, error, "opening", limit_s, passed_s) from None
        # A server may describe its stream and send nothing of it, which is no error to FFmpeg.
        if self._clock() - begun_ns >= self._timeout_ns:
            container.close()
            raise failure(self.name, "timeout", expected=f"a frame within {limit_s:g} s", got="none")
        return container

    def _times(self) -> Any:
        invented = int(self._container.format.flags) & _NO_TIMESTAMPS
        return "arrival" if invented else self._asked.times

    def _video(self) -> VideoStream:
        if not self._container.streams.video:
            raise failure(self.name, "format", got="no video")
        stream = self._container.streams.video[0]
        if stream.codec_context is None:
            raise failure(self.name, "format", got="an unknown codec")
        # A picture is handed out when it is decoded: decoding several at once holds each back.
        stream.thread_type = "SLICE"
        stream.codec_context.options = {"flags": "low_delay"}
        return stream

    def _next(self) -> Frame | None:
        deadline_ns = self._clock() + self._timeout_ns + (0 if self._begun else KEY_NS)
        got = "none"
        while not self._closing.is_set():
            before_ns = self._clock()
            packet = next(self._packets, None)
            arrival_ns = self._clock()
            if packet is None or not packet.size:  # an empty one tells the decoder that the stream is over
                raise failure(self.name, "ended")
            # FFmpeg gives out what it has of a picture when its time is over, and says that when asked again.
            if arrival_ns - before_ns >= self._timeout_ns:
                break
            self._lag.waited(before_ns, arrival_ns)
            self._note(packet, arrival_ns)
            if not self._wanted(packet):
                got = "none that stands by itself"
            else:
                frame = self._decoded(packet, arrival_ns)
                if frame is not None:
                    return frame
                got = "damaged ones"
            if arrival_ns >= deadline_ns:
                break
        if self._closing.is_set():
            return None
        expected = f"a frame within {self._asked.timeout_s:g} s"
        raise failure(self.name, "timeout", expected=expected, got=got)

    def _wanted(self, packet: Packet[Any]) -> bool:
        """Whether a packet is to be decoded: from the first picture on that stands by itself."""
        if packet.is_keyframe:
            self._begun = True
            self._lag.key()
        if not self._begun:
            return False
        if self._lag.hopeless:
            self._sequence += 1
            return False
        return True

    def _note(self, packet: Packet[Any], arrival_ns: int) -> None:
        """When a picture was here, and the sender's wall clock where that is known."""
        before_ns, self._before_ns = self._before_ns, arrival_ns
        base = packet.time_base
        if packet.pts is None or base is None:
            return
        stamp_ns = _nanoseconds(packet.pts, base)
        # What ended the picture before was the beginning of this one.
        began_ns = before_ns if self._parsed else arrival_ns
        if began_ns is not None:
            self._stamps.came(stamp_ns, began_ns)
        wall_us = _sender_us(packet, self._container)
        if wall_us is not None:
            self._stamps.sent(stamp_ns, wall_us * 1000, arrival_ns)

    def _decoded(self, packet: Packet[Any], arrival_ns: int) -> Frame | None:
        """The newest whole picture in a packet; None where there is none, or it is too late to show it."""
        try:
            pictures = self._decode(packet)
        except av.error.InvalidDataError:  # of a packet that the network damaged
            self._sequence += 1
            return None
        newest: tuple[VideoFrame, int, int] | None = None
        for picture in pictures:
            sequence, self._sequence = self._sequence, self._sequence + 1
            base = picture.time_base
            stamp_ns = None if picture.pts is None or base is None else _nanoseconds(picture.pts, base)
            time_ns = self._stamps.time_ns(stamp_ns, arrival_ns)
            if time_ns is not None and not picture.is_corrupt:
                newest = picture, time_ns, sequence
        if newest is None or not self._lag.shows(arrival_ns):
            return None
        return Frame(self._image(newest[0]), newest[1], newest[2], self.name)

    def _image(self, picture: VideoFrame) -> Image:
        layout = picture.format
        try:
            if layout.name != self._layout:
                self._layout, self._take = layout.name, taker(layout)
            return self._take(picture)
        except NoCounts as error:
            raise failure(
                self.name, "format", expected="grey, or colours of 8 bits", got=f"pixel format {error}"
            ) from None


def _no_taker(picture: VideoFrame) -> Image:
    raise AssertionError("a picture of a layout that was not looked at")


def _nothing(packet: Packet[Any]) -> list[VideoFrame]:
    return []


def _nanoseconds(ticks: int, base: Any) -> int:
    return int(ticks * 1_000_000_000 * base.numerator // base.denominator)


def _sender_us(packet: Packet[Any], container: InputContainer) -> int | None:
    """The sender's wall clock at a packet's stamp, microseconds since 1970; None where it is not known.

    FFmpeg reckons it anew from each report of the sender and lays it beside the packet (``prft``). Where PyAV
    is too old to show that, it may know the wall clock of stamp 0.
    """
    if hasattr(packet, "has_sidedata"):
        if packet.has_sidedata("prft"):
            # struct AVProducerReferenceTime { int64_t wallclock; int flags; }
            return int.from_bytes(bytes(packet.get_sidedata("prft"))[:8], sys.byteorder, signed=True)
        return None
    start_us: int | None = getattr(container, "start_time_realtime", None)
    if start_us is None or packet.pts is None:
        return None
    return start_us + _nanoseconds(packet.pts, packet.time_base) // 1000


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> NetworkSource:
    """The source for an address; takes the options of :class:`.options.Options` behind ``#``.

    Raises:
        RequestError: an unknown option or a bad value, besides what :class:`NetworkSource` raises.
    """
    return NetworkSource(name, uri.remote(), options(uri), clock=clock)
