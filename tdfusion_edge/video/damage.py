"""What is said of a video that cannot be read to its end, and the commands that help."""

from __future__ import annotations

import shlex
from fractions import Fraction
from pathlib import Path

from tdfusion_edge.errors import SourceError
from tdfusion_edge.redact import redact


def damaged(path: Path, what: str, got: str, cause: BaseException | None, hint: str | None) -> SourceError:
    """The error for a file that is not whole.

    Args:
        path: The file.
        what: What is wrong.
        got: How far it was read.
        cause: What the decoder raised.
        hint: The next command.
    """
    reason = f": {redact(getattr(cause, 'strerror', None) or str(cause))}" if cause else ""
    return SourceError(f"{path} {what}{reason}", expected="a whole video", got=got, hint=hint)


def no_counts(path: Path, layout: str, got: str) -> SourceError:
    """The error for a pixel format that is not taken."""
    return SourceError(
        f"{path} has pixels of a kind that is not taken here ({layout})",
        expected="8- or 16-bit grey, 8-bit colour, or YUV; more than 8 bits in three equal channels",
        got=got,
        hint=f"Convert it: ffmpeg -i {shlex.quote(str(path))} -c:v ffv1 -pix_fmt bgr0 colour.mkv (gray16le "
        "keeps the counts of a thermal one)",
    )


def keep_all(path: Path) -> str:
    """How to keep what is whole of a file that only ends too early."""
    return f"Keep what is whole: ffmpeg -i {shlex.quote(str(path))} -c copy whole{path.suffix}"


def keep_around(path: Path, until: Fraction | None) -> str:
    """How to keep what a file has around a damage inside: a copy of all would take the damage along.

    Args:
        path: The file.
        until: When the first damaged packet is decoded, seconds after the file's start; None where that is
            not known, or nothing lies before it.
    """
    name = shlex.quote(str(path))
    scarred = f"ffmpeg -i {name} -c:v ffv1 scarred.mkv"
    if until is None or until < Fraction(1, 1000):
        return f"Keep what can be shown, damage included: {scarred}"
    # Rounded down: the damaged packet itself must stay out.
    return (
        f"Keep what is whole before it: ffmpeg -i {name} -t {int(until * 1000) / 1000:.3f} -c copy "
        f"whole{path.suffix}; or all that can be shown, damage included: {scarred}"
    )
