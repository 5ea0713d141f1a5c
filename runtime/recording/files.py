"""One piece of a recording: a video a camera, and its capture times beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from tdfusion_edge.errors import SinkError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.sinks.encoding import FFV1, H264_FINE, Codec
from tdfusion_edge.runtime.sinks.kinds import VisibleCodec
from tdfusion_edge.runtime.sinks.output import StreamFile, sink_error
from tdfusion_edge.runtime.sinks.video import VideoFile
from tdfusion_edge.video.times import Piece, Stamp, beside


def codec_of(role: rig.Role, image: Image, visible: VisibleCodec) -> Codec:
    """How a camera's pictures are stored: infrared without loss, visible as asked.

    H.264 doubles the last column or row of odd sizes and gives grey back as colours, so such pictures are
    stored without loss too.
    """
    height, width = image.shape[:2]
    odd = height % 2 or width % 2 or image.ndim == 2
    return FFV1 if role == "infrared" or visible == "ffv1" or odd else H264_FINE


class CameraFile:
    """The files of one camera in one piece; made at its first frame.

    Args:
        path: ``DIR/ir/STAMP.mkv``.
        piece: What the file is a piece of.
        codec: How its pictures are encoded.
        like: Its first frame; those that follow must have the same size and type.
        clock: Monotonic nanoseconds, for the pace of syncs.

    Raises:
        SinkError: a folder is not there or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        piece: Piece,
        codec: Codec,
        like: Image,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.path = path
        self._like = like.shape, like.dtype
        self._encode = msgspec.json.Encoder().encode
        self._lines = StreamFile(beside(path), clock=clock)
        try:
            # One level alone: a disk that is gone must not come back as a folder.
            path.parent.mkdir(exist_ok=True)
            self._video = VideoFile(
                path, codec=codec, origin_ns=piece.origin_ns, clock=clock,
                tags={"TDFUSION_RECORDING": piece.recording},
            )  # fmt: skip
            self._lines.write(self._encode(piece) + b"\n")
        except OSError as error:
            raise sink_error(path, error, "0 frames") from error

    def fits(self, image: Image) -> bool:
        """Whether a picture can follow those before it."""
        return (image.shape, image.dtype) == self._like

    @property
    def size(self) -> int:
        """Bytes of the video so far."""
        return self._video.size

    def write(self, frame: Frame) -> None:
        """Add a frame.

        Raises:
            SinkError: the disk is full or gone.
        """
        self._video.write(frame.image, frame.time_ns)
        try:
            self._lines.write(self._encode(Stamp(frame.time_ns, frame.sequence)) + b"\n")
            self._lines.commit()
        except OSError as error:
            raise sink_error(self._lines.path, error, "some frames") from error

    def require_there(self) -> None:
        """Notice that somebody removed the file: what is written into it goes nowhere.

        Raises:
            SinkError: it is gone.
        """
        if self._lines.size and not os.access(self._lines.path, os.F_OK):
            raise SinkError(f"{self.path} was removed while it was being written")

    def close(self) -> None:
        """Finish both files; safe to call twice. Raises SinkError where the disk refuses."""
        try:
            self._video.close()
        finally:
            try:
                if not self._lines.failed:
                    self._lines.commit(sync=True)
            except OSError as error:
                raise sink_error(self._lines.path, error, "some frames") from error
            finally:
                self._lines.close()

    def abort(self) -> None:
        """Finish what there is; never raises."""
        try:
            self.close()
        except (SinkError, ValueError):
            self._lines.close()
        if self._lines.size and not self.path.exists():  # no frame is left that they could speak of
            with suppress(OSError):
                self._lines.path.unlink(missing_ok=True)
