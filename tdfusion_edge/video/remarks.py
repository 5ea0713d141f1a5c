"""What two recordings do not share, and what is lost when they are read: a line each, for people."""

from __future__ import annotations

from fractions import Fraction

from tdfusion_edge.video.beginning import apart
from tdfusion_edge.video.reader import VideoReader


def remarks(
    infrared: VideoReader | None, visible: VideoReader | None, *, tolerance_ms: float | None, remedy: str = ""
) -> list[str]:
    """What is to be said of two recordings that are about to be paired.

    Args:
        infrared: One of them, nothing of it read yet; None where it is no video.
        visible: The other.
        tolerance_ms: A difference of their beginnings up to this does not count, milliseconds; None where
            they are not to be compared.
        remedy: What to do about such a difference, with ``{later_ms}`` where the number stands.
    """
    lines = [line for reader in (infrared, visible) if reader is not None for line in _pixels(reader)]
    if infrared is not None and infrared.bits > 8 and infrared.converted:
        lines.append(
            f"{infrared.path} has {infrared.bits} bits in colours ({infrared.layout}), of which the upper 8 "
            "are taken; as grey (gray16le, FFV1) all would be"
        )
    if infrared is None or visible is None or tolerance_ms is None:
        return lines
    found = apart(infrared.beginning, visible.beginning, Fraction(tolerance_ms) / 1000)
    if found is not None:
        later_ms, clock = round(float(found[0] * 1000), 3), found[1]
        lines.append(
            f"{visible.path} begins {abs(later_ms):.12g} ms {'after' if later_ms > 0 else 'before'} "
            f"{infrared.path} by their {clock}, and their first pictures count as taken at one moment all "
            f"the same. {remedy.format(later_ms=f'{later_ms:.12g}')}"
        )
    return lines


def _pixels(reader: VideoReader) -> list[str]:
    aspect = reader.pixel_aspect
    if aspect == 1:
        return []
    return [
        f"{reader.path} has pixels of {aspect.numerator}:{aspect.denominator}, which a player shows wider or "
        "narrower; its pictures stay as they are stored"
    ]
