"""What a network camera's failure is called, from what FFmpeg says of it."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

import av

from tdfusion_edge.errors import FailureKind, SourceError

Phase: TypeAlias = Literal["opening", "reading"]


class Told(NamedTuple):
    """What is said of one kind of failure."""

    what: str
    """With ``{camera}`` for its name."""
    hint: str


TOLD: Mapping[FailureKind, Told] = MappingProxyType({
    "unauthorised": Told(
        "camera {camera} refuses user and password",
        "Check them; in an address '/' is written %2F, '@' %40, ':' %3A, '#' %23, '%' %25. It is asked again "
        "after half a minute and more, because cameras lock accounts.",
    ),
    "not-found": Told(
        "camera {camera} has no such stream", "Check the path in its address, behind host and port."
    ),
    "unreachable": Told(
        "camera {camera} cannot be reached", "Check address, port, cable and power; try: ping HOST"
    ),
    "timeout": Told(
        "camera {camera} is silent", "Check its network; another transport may help: #transport=udp or tcp"
    ),
    "format": Told(
        "camera {camera} gives no video that can be read", "Set it to H.264, H.265 or MJPEG."
    ),
    "ended": Told("camera {camera} ended its stream", "It may have been restarted; it is opened anew."),
    "other": Told("camera {camera} fails", "See what FFmpeg says of it: ffprobe ADDRESS"),
})  # fmt: skip

_REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
_BROKEN = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN}
_AWAY = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
_FORMATS = (
    av.error.InvalidDataError, av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError,
    av.error.ProtocolNotFoundError, av.error.PatchWelcomeError,
)  # fmt: skip


def kind_of(error: BaseException, phase: Phase) -> FailureKind:
    """Why a call into FFmpeg failed."""
    if isinstance(error, _REFUSED):
        return "unauthorised"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "not-found"
    if isinstance(error, av.error.ExitError):  # FFmpeg was interrupted, as its time was over
        return "timeout"
    number = getattr(error, "errno", None)
    if number == errno.ETIMEDOUT:
        return "timeout"
    if isinstance(error, EOFError) or number in _BROKEN or (phase == "reading" and number == errno.EIO):
        return "ended"
    # A host whose name is not known is an error of input and output to FFmpeg.
    if number in _AWAY or number == errno.EIO:
        return "unreachable"
    if isinstance(error, _FORMATS):
        return "format"
    return "other"


def failure(
    camera: str, kind: FailureKind, *, expected: str | None = None, got: str | None = None
) -> SourceError:
    """The error of one kind.

    Args:
        camera: Its name, without credentials.
        kind: One of :data:`TOLD`.
        expected: What would have been right.
        got: What came instead.
    """
    told = TOLD[kind]
    return SourceError(told.what.format(camera=camera), expected=expected, got=got, hint=told.hint, kind=kind)


def from_ffmpeg(
    camera: str, error: BaseException, phase: Phase, timeout_s: float, passed_s: float = 0.0
) -> SourceError:
    """The error for one of FFmpeg's, without the address that FFmpeg puts into it.

    Args:
        camera: Its name, without credentials.
        error: FFmpeg's.
        phase: When it came.
        timeout_s: How long the call might take.
        passed_s: How long it took.
    """
    kind = kind_of(error, phase)
    # Interrupted, FFmpeg's RTSP says of half an answer that it cannot be read.
    if passed_s >= timeout_s and kind in ("format", "ended", "unreachable", "other"):
        kind = "timeout"
    if kind == "timeout":
        answer = "an answer" if phase == "opening" else "a frame"
        return failure(camera, kind, expected=f"{answer} within {timeout_s:g} s", got="none")
    return failure(camera, kind, got=getattr(error, "strerror", None) or type(error).__name__)
