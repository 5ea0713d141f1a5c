"""How often a camera that fails is asked again."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.errors import FailureKind
from tdfusion_edge.runtime.sources.supervision.pace import BUDGET, FLAPPING_S, Pace

SECOND = 1_000_000_000
KINDS = get_args(FailureKind)


def test_a_camera_that_refuses_a_password_is_asked_rarely() -> None:
    pace = Pace(lambda: 0, lambda: 0.0)
    pauses = []
    for _ in range(6):
        pace.failed("unauthorised", lost=False)
        pauses.append(pace.pause_s())
    assert pauses == [60, 120, 240, 480, 600, 600]
    pace.failed("unreachable", lost=False)
    assert pace.pause_s() == 0.5, "it is being restarted: that is another failure"


def test_a_camera_that_worked_is_asked_soon() -> None:
    pace = Pace(lambda: 0, lambda: 0.0)
    for _ in range(5):
        pace.failed("timeout", lost=False)
    assert pace.pause_s() == 2
    pace.came()
    pace.failed("timeout", lost=True)
    assert pace.pause_s() == 0.5


def test_a_stream_that_breaks_again_and_again_is_opened_slowly_and_that_is_told_once() -> None:
    now_ns = 0
    pace = Pace(lambda: now_ns, lambda: 0.0)

    def lose() -> str | None:
        pace.came()
        return pace.failed("ended", lost=True)

    told = []
    for number in range(BUDGET + 3):
        now_ns = number * SECOND
        told.append(lose())
    assert [word is not None for word in told] == [False] * (BUDGET - 1) + [True] + [False] * 3
    assert f"every {FLAPPING_S:g} s" in (told[BUDGET - 1] or "")
    assert pace.flapping
    assert pace.pause_s() == FLAPPING_S
    now_ns += 60 * SECOND
    assert not pace.flapping
    assert lose() is None
    assert pace.pause_s() == 0.5


def test_the_budget_is_one_of_streams_that_broke_and_not_of_refusals() -> None:
    pace = Pace(lambda: 0, lambda: 0.0)
    assert not any(pace.failed("unreachable", lost=False) for _ in range(50))
    assert not pace.flapping


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.booleans(), st.floats(0, 100)), min_size=1),
    st.floats(0, 1, exclude_max=True),
)
def test_no_pause_is_shorter_than_a_quarter_second_or_longer_than_ten_minutes(
    failures: list[tuple[FailureKind, bool, float]], random: float
) -> None:
    times = itertools.accumulate(round(apart * SECOND) for _, _, apart in failures)
    now_ns = 0
    pace = Pace(lambda: now_ns, lambda: random)
    for (kind, lost, _), at_ns in zip(failures, times, strict=True):
        now_ns = at_ns
        pace.failed(kind, lost=lost)
        pause_s = pace.pause_s()
        assert 0.25 <= pause_s <= 600
        if kind not in ("unauthorised", "format") and not pace.flapping:
            assert pause_s <= 2, "a camera that is back is back within three seconds"
        if kind == "unauthorised":
            assert pause_s >= 30


def test_jitter_is_between_half_of_a_pause_and_all_of_it() -> None:
    pauses = []
    for random in (0.0, 0.5, 0.999):
        pace = Pace(lambda: 0, lambda random=random: random)  # type: ignore[misc]
        pace.failed("ended", lost=False)
        pauses.append(pace.pause_s())
    assert pauses == pytest.approx([0.5, 0.375, 0.25], abs=0.001)
