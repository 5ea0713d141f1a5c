"""Tracks: the matching against SciPy's, the filter against the textbook's, and all of it on the street."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from benchmarks.seen_street import figures, street
from tdfusion_edge.detections import Detections
from tdfusion_edge.runtime.tracking import Tracker, kalman
from tdfusion_edge.runtime.tracking import tracker as module
from tdfusion_edge.runtime.tracking.assignment import match, overlaps
from tdfusion_edge.runtime.tracking.tables import Tracks

SECOND = 1_000_000_000
NAMES = ("person", "car")


def seen(*boxes: tuple[float, float, float, float], score: float = 0.9, class_id: int = 0) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4), np.full(count, score, np.float32),
        np.full(count, class_id, np.int64), NAMES,
    )  # fmt: skip


def ids(found: Detections) -> list[int]:
    assert found.track_ids is not None
    return found.track_ids.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_the_matching_gains_what_scipys_gains(rows: int, columns: int, seed: int, empty: float) -> None:
    dice = np.random.default_rng(seed)
    gains = dice.random((rows, columns)) * (dice.random((rows, columns)) >= empty)
    pairs = match(gains, 0.2)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(gains[pair] > 0.2 for pair in pairs)
    worth = np.where(gains > 0.2, gains - 0.2, 0.0)
    best = worth[linear_sum_assignment(-worth)].sum()
    assert sum(worth[pair] for pair in pairs) == pytest.approx(best)


def test_overlaps_are_those_of_plain_numbers() -> None:
    first = np.array([[0, 0, 10, 10], [5, 5, 5, 9]], float)
    second = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [20, 20, 30, 30]], float)
    assert overlaps(first, second) == pytest.approx(np.array([[1 / 3, 1, 0], [0, 0, 0]]))


def test_the_filter_is_the_textbooks() -> None:
    """Against matrices of 8 x 8: F P F' + Q, then K = P H' (H P H' + R)^-1."""
    dice, state = np.random.default_rng(1), kalman.begun(np.array([[10.0, 20, 40, 90]]))
    mean = np.concatenate((state.place[0], state.speed[0]))
    spread = np.diag(np.concatenate((state.spread[0, :, 0], state.spread[0, :, 2])))
    see = np.eye(4, 8)
    for seconds in (0.033, 0.1, 0.0, 0.5):
        move = np.eye(8) + seconds * np.eye(8, k=4)
        unrest = np.diag((kalman.UNREST * mean[3]) ** 2)
        noise = np.block(
            [[unrest * seconds**3 / 3, unrest * seconds**2 / 2], [unrest * seconds**2 / 2, unrest * seconds]]
        )
        mean, spread = move @ mean, move @ spread @ move.T + noise
        box = np.array([12.0, 21, 44, 93]) + dice.standard_normal(4)
        place = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]])
        error = np.eye(4) * (kalman.WOBBLE * place[3]) ** 2
        gain = spread @ see.T @ np.linalg.inv(see @ spread @ see.T + error)
        mean, spread = mean + gain @ (place - see @ mean), (np.eye(8) - gain @ see) @ spread
        state = kalman.corrected(kalman.predicted(state, seconds), box[None])
        assert np.concatenate((state.place[0], state.speed[0])) == pytest.approx(mean)
        assert state.spread[0, :, 1] == pytest.approx(np.diag(spread[:4, 4:]))


def test_a_thing_keeps_its_number_while_it_is_hidden_and_not_for_longer() -> None:
    for hidden_s, same in ((0.9, True), (1.2, False)):
        tracker, time_ns = Tracker(Tracks(lost_s=1.0)), 0
        for step in range(10):
            time_ns = step * SECOND // 10
            found = tracker.update(seen((100 + 5 * step, 50, 130 + 5 * step, 150)), time_ns)
        assert ids(found) == [1]
        assert ids(tracker.update(seen(), time_ns + SECOND // 20)) == []
        assert tracker.numbers == {1}
        moved = 145 + 50 * hidden_s  # as before it was hidden
        later = [time_ns + round(hidden_s * SECOND), time_ns + round((hidden_s + 0.1) * SECOND)]
        got = [ids(tracker.update(seen((moved, 50, moved + 30, 150)), at)) for at in later]
        assert got == ([[1], [1]] if same else [[-1], [2]])


def test_a_number_needs_two_boxes_and_a_sure_one_to_begin() -> None:
    tracker = Tracker()
    assert ids(tracker.update(seen((0, 0, 20, 40)), 0)) == [-1]
    assert ids(tracker.update(seen((0, 0, 20, 40)), SECOND // 30)) == [1]
    assert ids(tracker.update(seen((0, 0, 20, 40), score=0.3), 2 * SECOND // 30)) == [1], (
        "an unsure one goes on"
    )
    for step in range(3, 6):
        assert ids(tracker.update(seen((200, 0, 220, 40), score=0.3), step * SECOND // 30)) == [-1]


def test_classes_do_not_mix() -> None:
    tracker = Tracker()
    for step in range(2):
        tracker.update(seen((0, 0, 20, 40)), step)
    assert ids(tracker.update(seen((0, 0, 20, 40), class_id=1), 2)) == [-1]


def test_a_long_gap_and_a_time_that_goes_back_are_survived() -> None:
    tracker = Tracker()
    got = [ids(tracker.update(seen((0, 0, 20, 40)), at)) for at in (SECOND, SECOND, 0, 10**18, 10**18 + 1)]
    assert got == [[-1], [1], [1], [-1], [2]]


boxes = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 80), st.integers(0, 80)), max_size=6
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(boxes, st.integers(-(10**8), 10**9), st.integers(0, 2**16)), max_size=25))
def test_whatever_comes_numbers_are_unique_new_and_few(
    pictures: list[tuple[list[tuple[int, int, int, int]], int, int]],
) -> None:
    tracker, time_ns, last_of, highest = Tracker(), 0, dict[int, int](), 0
    for number, (corners, step_ns, seed) in enumerate(pictures):
        time_ns += step_ns
        dice, count = np.random.default_rng(seed), len(corners)
        given = Detections(
            np.array([(x, y, x + w, y + h) for x, y, w, h in corners], np.float32).reshape(count, 4),
            dice.random(count, np.float32), dice.integers(0, 2, count), NAMES,
        )  # fmt: skip
        found = tracker.update(given, time_ns)
        assert found.boxes is given.boxes
        tracks = [one for one in ids(found) if one != -1]
        assert len(set(tracks)) == len(tracks), "one thing is at one place"
        new = sorted(set(tracks) - set(last_of))
        assert new == list(range(highest + 1, highest + 1 + len(new))), "numbers follow each other"
        highest += len(new)
        last_of |= dict.fromkeys(tracks, number)
        assert set(tracks) <= tracker.numbers


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TRACKS", 20)
    tracker = Tracker(Tracks(lost_s=3600))
    for step in range(40):
        x = 50.0 * (step // 2)
        tracker.update(seen(*((x, 100.0 * row, x + 20, 100.0 * row + 50) for row in range(3))), step)
        assert len(tracker._numbers) <= 20
    assert max(tracker.numbers) == 60, "the newest are kept"


def test_the_street_is_followed() -> None:
    """Nine pictures a second with a tenth of all boxes missing, wobble and boxes that are not there."""
    tracker = Tracker()
    result = figures((one.true, tracker.update(one.found, one.time_ns)) for one in street(14, 9))
    assert result.things > 10
    assert result.mota > 0.8
    assert result.idf1 > 0.8
    assert result.switches <= result.things // 2


def test_the_figures_see_a_bad_tracker() -> None:
    pictures = list(street(6, 9))
    again = [(one.true, Tracker().update(one.found, one.time_ns)) for one in pictures]
    assert figures(again).mota <= 0, "a tracker that forgets everything numbers nothing"
    perfect = figures((one.true, one.true) for one in pictures)
    assert (perfect.mota, perfect.idf1, perfect.switches) == (1, 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(("fps", "dropped"), [(30, 0.3), (9, 0.0)])
def test_the_street_is_followed_for_a_minute(seed: int, fps: float, dropped: float) -> None:
    """Roboflow's ByteTrack (trackers 2.6.1) gets 0.87 to 0.89 and 0.84 to 0.88 of the same boxes."""
    tracker = Tracker()
    pictures = street(60, fps, seed=seed, dropped=dropped)
    result = figures((one.true, tracker.update(one.found, one.time_ns)) for one in pictures)
    assert result.mota > 0.83
    assert result.idf1 > 0.8
