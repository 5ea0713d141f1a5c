"""What a run is doing, as JSON for the page and for those who ask for its health."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from tdfusion_edge.redact import redact_all
from tdfusion_edge.runtime.live.health import Verdict
from tdfusion_edge.runtime.pipeline.controls import Settings
from tdfusion_edge.runtime.pipeline.monitor import Snapshot


def status(
    snapshot: Snapshot,
    settings: Settings | None,
    viewers: int,
    title: str,
    alignment: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that the page shows beside the picture, without credentials.

    Args:
        snapshot: The run.
        settings: What can be changed; None before the run begins.
        viewers: How many look.
        title: What runs, for people.
        alignment: How infrared lies on visible; None where the page cannot change it.
    """
    plain: dict[str, Any] = msgspec.to_builtins(
        {
            "type": "status",
            "title": title,
            "running": snapshot.running,
            "pictures": snapshot.pictures,
            "rate_hz": snapshot.rate_hz,
            "age_s": snapshot.age_s,
            "cameras": dict(snapshot.cameras),
            "figures": dict(snapshot.figures),
            "settings": settings,
            "alignment": alignment,
            "viewers": viewers,
            "utc_ms": time.time_ns() / 1e6,
        }
    )
    return dict(redact_all(plain))


def health(verdict: Verdict, snapshot: Snapshot, word: str) -> dict[str, Any]:
    """The body of an answer about health; it says nothing of addresses.

    Args:
        verdict: The answer.
        snapshot: The run that it is about.
        word: What a good one is called.
    """
    return {
        "status": word if verdict.good else "failing",
        "reasons": list(verdict.reasons),
        "running": snapshot.running,
        "pictures": snapshot.pictures,
        "age_s": snapshot.age_s,
        "loop_age_s": snapshot.loop_age_s,
        "rate_hz": snapshot.rate_hz,
        "cameras": {
            role: {"state": camera.state, "rate_hz": camera.rate_hz, "age_s": camera.age_s}
            for role, camera in snapshot.cameras.items()
        },
    }
