"""Two sources become pairs: order, modes, failures and the end."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import pytest

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.streams import Streams

MS = 1_000_000


class Script:
    """A source that plays a list: frames, and errors to raise."""

    def __init__(self, name: str, steps: Iterable[Frame | Exception], *, live: bool = False) -> None:
        self.name, self.live = name, live
        self.closed = 0
        self._steps = iter(steps)

    def read(self) -> Frame | None:
        step = next(self._steps, None)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


def frames(name: str, times_ms: Iterable[float]) -> list[Frame]:
    """Frames whose grey level is their number."""
    return [
        Frame(np.full((32, 32), number % 256, np.uint8), round(time * MS), number, name)
        for number, time in enumerate(times_ms)
    ]


def streams(infrared: Script, visible: Script, **options: object) -> Streams:
    settings: dict[str, object] = {"mode": "every", "stop": threading.Event(), **options}
    sync = rig.Sync(tolerance_ms=10, policy="drop")
    return Streams({"infrared": infrared, "visible": visible}, sync, **settings)  # type: ignore[arg-type]


def test_every_pair_of_two_recordings_comes_once_and_in_order() -> None:
    times = [i * 33.3 for i in range(200)]
    infrared, visible = Script("ir", frames("ir", times)), Script("vis", frames("vis", times))
    with streams(infrared, visible) as both:
        pairs = list(both)
    numbers = [
        (pair.infrared.image[0, 0], pair.visible.image[0, 0])
        for pair in pairs
        if pair.infrared and pair.visible
    ]
    assert numbers == [(i, i) for i in range(200)]
    assert (infrared.closed, visible.closed) == (1, 1)


def test_recordings_of_different_length_leave_the_rest_unmatched() -> None:
    short, long = frames("ir", range(0, 330, 33)), frames("vis", range(0, 660, 33))
    with streams(Script("ir", short), Script("vis", long)) as both:
        assert len(list(both)) == 10
        counts = both.synchroniser.counts
    assert counts["visible"]["unmatched"] == 10
    assert counts["infrared"]["unmatched"] == 0


def test_a_recording_ends_after_the_asked_time_of_its_own() -> None:
    times = range(0, 2000, 20)
    with streams(Script("ir", frames("ir", times)), Script("vis", frames("vis", times)), seconds=0.5) as both:
        pairs = list(both)
    assert [pair.time_ns for pair in pairs] == [t * MS for t in range(0, 500, 20)]


def test_stop_ends_the_stream_between_two_pairs() -> None:
    stop = threading.Event()
    times = range(0, 2000, 20)
    seen = 0
    with streams(Script("ir", frames("ir", times)), Script("vis", frames("vis", times)), stop=stop) as both:
        for _ in both:
            seen += 1
            if seen == 3:
                stop.set()
    assert seen == 3
    for counts in both.synchroniser.counts.values():
        pushed = sum(count for reason, count in counts.items() if reason != "missing")
        assert counts["paired"] == 3
        assert counts["left"] == pushed - 3, "what was read and not shown is counted too"


def test_a_damaged_recording_gives_what_came_before_and_keeps_its_error() -> None:
    broken = [*frames("ir", range(0, 100, 20)), SourceError("ir.mp4 is cut at frame 5")]
    with streams(Script("ir", broken), Script("vis", frames("vis", range(0, 400, 20)))) as both:
        assert len(list(both)) == 5
    assert both.failure is not None
    assert "cut at frame 5" in str(both.failure)


class Later(Script):
    """A source that gives nothing before an event has come."""

    def __init__(self, name: str, steps: Iterable[Frame | Exception], event: threading.Event) -> None:
        super().__init__(name, steps)
        self._event = event

    def read(self) -> Frame | None:
        assert self._event.wait(20)
        return super().read()


class Breaking(Script):
    """A source that is damaged behind its frames, and says when that was found."""

    def __init__(self, name: str, steps: Iterable[Frame | Exception], event: threading.Event) -> None:
        super().__init__(name, steps)
        self._event = event

    def read(self) -> Frame | None:
        try:
            return super().read()
        except SourceError:
            self._event.set()
            raise


@pytest.mark.parametrize("failed", ["infrared", "visible"])
@pytest.mark.parametrize("policy", ["drop", "single", "hold-last"])
def test_what_a_damaged_recording_gave_waits_for_the_other_camera(failed: str, policy: rig.Policy) -> None:
    """Every pair of before the damage comes, whichever thread is the quicker, and none of after it."""
    event = threading.Event()
    broken = Breaking(failed, [*frames(failed, range(0, 100, 20)), SourceError("cut")], event)
    whole = Later("whole", frames("whole", range(0, 4000, 20)), event)
    sources = {"infrared": broken, "visible": whole}
    if failed == "visible":
        sources = {"infrared": whole, "visible": broken}
    sync = rig.Sync(tolerance_ms=10, policy=policy, silent_ms=100)
    with Streams(sources, sync, mode="every", stop=threading.Event()) as both:  # type: ignore[arg-type]
        pairs = list(both)
    assert [pair.time_ns for pair in pairs] == [t * MS for t in range(0, 100, 20)]
    assert all(pair.infrared and pair.visible for pair in pairs)
    for role, counts in both.synchroniser.counts.items():
        assert counts["paired"] == 5, role
        assert counts["single"] == counts["held"] == 0, role


def test_a_live_camera_that_fails_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    one, two, three = frames("ir", (0, 20, 40))
    silent = SourceError("rtsp://user:secret@cam is silent", hint="Look at it.")
    failing = [one, silent, SourceError("still silent"), two, three]
    infrared = Script("ir", failing, live=True)
    visible = Script("vis", frames("vis", (0, 20, 40)), live=True)
    with streams(infrared, visible, mode="every", clock=lambda: 40 * MS) as both:
        pairs = list(both)
    assert [pair.time_ns for pair in pairs] == [0, 20 * MS, 40 * MS]
    assert both.failures == {"infrared": 2, "visible": 0}
    assert both.last_failures == {"infrared": "still silent"}
    assert both.failure is None
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2, "a camera that stays away is not reported at every read"
    assert messages[0] == "infrared camera: rtsp://***@cam is silent. Look at it", "a warning is one line"
    assert "is back" in messages[1]


def test_latest_gives_the_newest_pair_and_counts_the_others() -> None:
    times = (0, 20, 40, 60)
    infrared, visible = (Script(name, frames(name, times), live=True) for name in ("ir", "vis"))
    both = streams(infrared, visible, mode="latest", clock=lambda: 60 * MS)
    for thread in both._threads.values():
        thread.join()
    with both:
        pairs = list(both)
    assert [pair.time_ns for pair in pairs] == [60 * MS]
    for role in ("infrared", "visible"):
        counts = both.synchroniser.counts[role]  # type: ignore[index]
        assert (counts["superseded"], counts["paired"]) == (3, 1), "each frame is counted once"


def test_a_defect_in_a_source_is_raised_where_the_stream_is_read() -> None:
    with (
        streams(Script("ir", [ZeroDivisionError("defect")]), Script("vis", frames("vis", (0, 20)))) as both,
        pytest.raises(ZeroDivisionError, match="defect"),
    ):
        list(both)


def test_a_defect_is_raised_even_while_the_other_camera_goes_on() -> None:
    broken = Script("ir", [*frames("ir", (0, 20)), ZeroDivisionError("defect")])
    with (
        streams(broken, Script("vis", frames("vis", range(0, 20_000, 20)))) as both,
        pytest.raises(ZeroDivisionError, match="defect"),
    ):
        list(both)


def test_what_cannot_get_better_ends_a_live_stream_at_once() -> None:
    wrong = RequestError("vis gives 16-bit frames", expected="8 bits", got="uint16")
    visible = Script("vis", [wrong, *frames("vis", range(0, 2000, 20))], live=True)
    with streams(Script("ir", frames("ir", (0, 20)), live=True), visible, clock=lambda: 0) as both:
        list(both)
    assert both.failure is wrong
    assert both.failures == {"infrared": 0, "visible": 0}


def test_a_long_stretch_without_partners_is_skipped_without_waiting() -> None:
    waits = 0
    late = frames("ir", range(100_000, 100_200, 20))
    early = frames("vis", [*range(0, 60_000, 20), *range(100_000, 100_200, 20)])
    both = streams(Script("ir", late), Script("vis", early))
    wait = both._changed.wait

    def counted(timeout: float | None = None) -> bool:
        nonlocal waits
        woken = wait(timeout)
        waits += not woken
        return woken

    both._changed.wait = counted  # type: ignore[method-assign]
    with both:
        assert len(list(both)) == 10
    assert waits < 50, "the reader is woken by what is dropped, not by its time-out"


def test_a_silent_live_camera_does_not_hold_up_the_end() -> None:
    class Silent(Script):
        """Waits for a frame until it is closed, as a camera does."""

        def __init__(self) -> None:
            super().__init__("ir", [], live=True)
            self.over = threading.Event()

        def read(self) -> Frame | None:
            assert self.over.wait(60)
            return None

        def close(self) -> None:
            super().close()
            self.over.set()

    silent = Silent()
    both = streams(silent, Script("vis", frames("vis", (0, 20)), live=True))
    both.close()
    assert silent.closed
    assert not any(thread.is_alive() for thread in both._threads.values())


def test_a_look_ahead_changes_nothing_in_every_mode() -> None:
    times = [i * 33.3 for i in range(50)]
    seen, ahead = [], []
    with streams(Script("ir", frames("ir", times)), Script("vis", frames("vis", times))) as both:
        for pair in both:
            seen.append(pair.time_ns)
            following = both.peek()
            again = both.peek()
            assert again is None or following is None or again is following
            ahead.append(None if following is None else following.time_ns)
        counts = both.synchroniser.counts
    assert seen == [round(time * MS) for time in times]
    assert all(one in (None, later) for one, later in zip(ahead[:-1], seen[1:], strict=True))
    assert ahead[-1] is None
    assert counts["visible"]["unmatched"] == counts["infrared"]["unmatched"] == 0


def test_in_latest_a_newer_pair_may_come_instead_of_the_one_that_was_seen() -> None:
    """What was looked at and did not come is counted once, as superseded; at the end, as left."""
    times = [i * 33.3 for i in range(8)]
    both = streams(Script("ir", frames("ir", times)), Script("vis", frames("vis", times)), mode="latest")
    with both:
        for thread in both._threads.values():
            thread.join()
        iterator = iter(both)
        first = next(iterator)
        assert first.time_ns == round(times[-1] * MS)
        assert both.peek() is None
    counts = {role: dict(both.figures()[0][role]) for role in ("infrared", "visible")}
    assert counts["visible"]["superseded"] == counts["infrared"]["superseded"] == 7

    both = streams(Script("ir", frames("ir", times)), Script("vis", frames("vis", times)), mode="latest")
    with both:
        for thread in both._threads.values():
            thread.join()
        seen = both.peek()
        assert seen is not None
        assert seen.time_ns == round(times[-1] * MS)
        assert next(iter(both)) is seen
    assert both.figures()[0]["visible"]["superseded"] == 7

    both = streams(Script("ir", frames("ir", times)), Script("vis", frames("vis", times)))
    with both:
        for thread in both._threads.values():
            thread.join()
        assert both.peek() is not None
    assert both.figures()[0]["visible"]["left"] == 8
