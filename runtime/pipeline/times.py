"""What a report says of the cameras' times: skew by their stamps, skew by the pictures' content, clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tdfusion_edge.runtime.pairing.timing import TimeReport


def facts(times: TimeReport, median_ms: float | None) -> dict[str, Any]:
    """What stands beside the skew by stamps, as ``--json`` prints it.

    Args:
        times: Clocks and content.
        median_ms: The skew by stamps.
    """
    content = None if times.content is None else asdict(times.content)
    if content is not None:
        content["skew_ms"] = None if median_ms is None else median_ms + content["offset_ms"]
    return {"content": content, "clocks": {role: asdict(clock) for role, clock in times.clocks.items()}}


def lines(skew: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    told = []
    content = skew["content"]
    if skew["median_ms"] is not None:
        drift = skew["drift_ms_per_minute"]
        slope = "" if drift is None else f", drift {drift:+.2f} ms a minute"
        seen = "" if content is None else " by their times"
        told.append(f"skew:      infrared {skew['median_ms']:+.2f} ms against visible (median){seen}{slope}")
    if content is not None and content["skew_ms"] is not None:
        doubt = "" if content["confidence"] == "good" else ", not reliable"
        told.append(
            f"content:   infrared {content['skew_ms']:+.1f} ms against visible by what moves in both "
            f"(± {content['error_ms']:.1f}{doubt})"
        )
    clocks = [f"{role} {_clock(clock)}" for role, clock in skew["clocks"].items() if _clock(clock)]
    return [*told, "clocks:    " + "; ".join(clocks)] if clocks else told


def _clock(clock: Mapping[str, Any]) -> str:
    parts = []
    if clock["drift_ppm"] is not None:
        parts.append(f"{clock['drift_ppm']:+.1f} ppm (± {clock['error_ppm']:.1f})")
    if clock["jumps"]:
        parts.append(f"jumps: {clock['jumps']}")
    if clock["steps"]:
        parts.append(f"steps: {clock['steps']}")
    return ", ".join(parts)
