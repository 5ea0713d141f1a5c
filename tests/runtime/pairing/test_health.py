"""The state of a camera tells what is now, and not what was counted once."""

from __future__ import annotations

import numpy as np
import pytest

from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.pairing.health import Health

SECOND = 1_000_000_000
PICTURE = np.zeros((32, 32), np.uint8)


def fed(health: Health, *, begin_ns: int, count: int, rate_hz: float = 30, first: int = 0) -> int:
    """Feed so many frames; the time of the last."""
    at_ns = begin_ns
    for number in range(first, first + count):
        at_ns = begin_ns + round((number - first) * SECOND / rate_hz)
        health.frame(Frame(PICTURE, at_ns, number, "ir"), at_ns)
    return at_ns


def test_a_camera_goes_from_opening_to_live_to_silent_and_its_rate_to_zero() -> None:
    health = Health(SECOND // 2)
    assert health.state(0).state == "opening"
    assert health.state(9 * SECOND).age_s is None
    last_ns = fed(health, begin_ns=0, count=120)
    state = health.state(last_ns)
    assert state.state == "live"
    assert state.rate_hz == pytest.approx(30, abs=1)
    assert state.age_s == 0
    assert health.state(last_ns + SECOND // 2).state == "silent"
    later = health.state(last_ns + 2 * SECOND + 1)
    assert later.rate_hz == 0
    assert later.age_s == pytest.approx(2)


def test_a_frame_that_comes_again_and_again_is_not_fresh() -> None:
    health = Health(SECOND // 2)
    frame = Frame(PICTURE, 5, 7, "ir")
    for at_ns in range(0, 3 * SECOND, SECOND // 30):
        health.frame(frame, at_ns)
    assert health.state(3 * SECOND).state == "silent"
    assert health.state(3 * SECOND).rate_hz == 0


def test_a_failure_is_told_until_a_frame_comes_and_without_credentials() -> None:
    health = Health(SECOND // 2)
    fed(health, begin_ns=0, count=3)
    health.failed(SourceError("rtsp://root:hunter2@10.0.0.1/ is gone", hint="Plug it in.", kind="gone"))
    state = health.state(SECOND // 10)
    assert state.state == "failing"
    assert state.failures == 1
    assert (state.kind, state.returns) == ("gone", 0)
    assert state.failure is not None
    assert "hunter2" not in state.failure
    assert "Plug" not in state.failure
    last_ns = fed(health, begin_ns=SECOND, count=2, first=3)
    assert (health.state(last_ns).kind, health.state(last_ns).returns) == (None, 1)
    assert health.state(last_ns).state == "live"
    assert health.state(last_ns).failure is None
    health.ended()
    assert health.state(last_ns).state == "ended"
