"""Policy nearest, and which of the two cameras may be missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_helpers import MS, ROLES, arriving, frame, frames, live, recorded, sequences

from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.sync import Synchroniser

times = st.lists(st.integers(0, 400), max_size=30, unique=True).map(sorted)
AGE_MS = 60
NEAREST = rig.Sync(policy="nearest", age_ms=AGE_MS, silent_ms=1000)


@settings(deadline=None, max_examples=50)
@given(times, times, st.lists(st.sampled_from(ROLES), max_size=60))
def test_every_visible_frame_of_a_recording_gets_the_nearest_infrared_one(
    infrared: list[int], visible: list[int], order: list[rig.Role]
) -> None:
    pairs, paired = recorded(frames("infrared", infrared), frames("visible", visible), NEAREST, order)
    paired.close()
    expected = []
    for number, time in enumerate(visible):
        away = [abs(time - other) for other in infrared]
        if away and min(away) <= AGE_MS:
            expected.append((away.index(min(away)), number))  # the older one of two
    if infrared and visible:
        assert [couple for couple in sequences(pairs) if couple[0] is not None and couple[1] is not None] == (
            expected
        )
    shown = {couple[0] for couple in expected}
    assert paired.counts["infrared"]["paired"] == len(shown)
    for role, stream in zip(ROLES, (infrared, visible), strict=True):
        assert sum(paired.counts[role].values()) == len(stream), "each frame is counted once"


def test_live_30_and_9_hz_give_30_pictures_a_second_none_of_them_degraded() -> None:
    infrared = frames("infrared", np.arange(4, 3000, 1000 / 9))
    visible = frames("visible", np.arange(0, 3000, 1000 / 30))
    pairs, paired = live(arriving("infrared", infrared, 20) + arriving("visible", visible, 8), NEAREST)
    shown = [pair for pair, _ in pairs]
    assert [pair.visible for pair in shown] == visible[:-1], "no infrared frame follows the last one"
    assert max(abs(pair.skew_ns or 0) for pair in shown) <= 56 * MS
    assert all(pair.current for pair in shown[10:] if pair.held)
    assert paired.counts["infrared"]["paired"] == 27
    waits = [out_ms - pair.time_ns / MS - 8 for pair, out_ms in pairs[10:]]
    assert max(waits) <= 56 + 12 + 1, "half an infrared interval, and its longer way"
    assert sorted(waits)[len(waits) // 2] <= 30


def test_infrared_shown_again_behind_a_lost_frame_is_not_current() -> None:
    infrared = frames("infrared", np.arange(0, 3000, 1000 / 9))
    lost = infrared[:15] + infrared[17:]
    visible = frames("visible", np.arange(0, 3000, 1000 / 30))
    sync = rig.Sync(policy="nearest", age_ms=200, silent_ms=1000)
    pairs, _ = live(arriving("infrared", lost, 20) + arriving("visible", visible, 8), sync)
    old = [pair for pair, _ in pairs if pair.held and not pair.current and pair.time_ns > 1000 * MS]
    assert 1 <= len(old) <= 4
    assert all(abs(pair.skew_ns or 0) > 111 * MS for pair in old)


def test_hold_last_shows_infrared_again_up_to_the_stated_age() -> None:
    sync = rig.Sync(policy="hold-last", age_ms=90, silent_ms=1000)
    pairs, _ = recorded(frames("infrared", [0]), frames("visible", range(0, 200, 30)), sync)
    assert [pair.time_ns // MS for pair in pairs] == [0, 30, 60, 90]


@pytest.mark.parametrize("policy", ["single", "nearest"])
@pytest.mark.parametrize("missing", ROLES)
@pytest.mark.parametrize("borne", [None, *ROLES])
def test_only_the_camera_that_may_be_missing_is_gone_without(
    policy: Any, missing: rig.Role, borne: rig.Role | None
) -> None:
    sync = rig.Sync(policy=policy, on_missing=borne, silent_ms=300)
    present = rig.OTHER[missing]
    pushes = arriving(present, frames(present, range(0, 2000, 40)), 5)
    pushes += arriving(missing, frames(missing, range(0, 400, 40)), 5)
    pairs, _ = live(pushes, sync)
    alone = [pair for pair, _ in pairs if (pair.infrared if missing == "infrared" else pair.visible) is None]
    assert bool(alone) == (borne in (None, missing))
    assert len(pairs) - len(alone) >= 9


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 40), st.integers(0, 60)), max_size=40),
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 40), st.integers(0, 60)), max_size=40),
    st.integers(2, 8),
)
def test_whatever_arrives_no_visible_frame_comes_twice_and_little_waits(
    infrared: list[tuple[int, int, int]], visible: list[tuple[int, int, int]], capacity: int
) -> None:
    paired = Synchroniser(NEAREST, live=True, capacity=capacity)
    pushes = sorted(
        (
            ((time + delay) * MS, role, frame(role, sequence, time))
            for role, stream in zip(ROLES, (infrared, visible), strict=True)
            for time, sequence, delay in stream
        ),
        key=lambda push: push[0],
    )
    pairs = []
    for now_ns, role, picture in pushes:
        paired.push(role, picture, now_ns)
        pairs += paired.ready(now_ns)
        assert all(paired.waiting(each) <= capacity for each in ROLES)
    pairs += paired.ready(9000 * MS)
    paired.close()
    shown = [id(pair.visible) for pair in pairs if pair.visible]
    assert len(shown) == len(set(shown))
    fresh = [id(pair.infrared) for pair in pairs if pair.infrared and not pair.held]
    assert len(fresh) == len(set(fresh))
    assert all(abs(pair.skew_ns or 0) <= AGE_MS * MS for pair in pairs)
    for role, stream in zip(ROLES, (infrared, visible), strict=True):
        fates = {reason: count for reason, count in paired.counts[role].items() if reason != "missing"}
        assert sum(fates.values()) == len(stream), role
