"""Two sources become pairs: order, modes, failures and the end."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import pytest

from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.streams import Streams

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
        Frame(np.full((32, 32), number, np.uint8), round(time * MS), number, name)
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


def test_a_damaged_recording_gives_what_came_before_and_keeps_its_error() -> None:
    broken = [*frames("ir", range(0, 100, 20)), SourceError("ir.mp4 is cut at frame 5")]
    with streams(Script("ir", broken), Script("vis", frames("vis", range(0, 400, 20)))) as both:
        assert len(list(both)) == 5
    assert both.failure is not None
    assert "cut at frame 5" in str(both.failure)


def test_a_live_camera_that_fails_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    one, two, three = frames("ir", (0, 20, 40))
    failing = [one, SourceError("rtsp://user:secret@cam is silent"), SourceError("still silent"), two, three]
    infrared = Script("ir", failing, live=True)
    visible = Script("vis", frames("vis", (0, 20, 40)), live=True)
    with streams(infrared, visible, mode="every", clock=lambda: 40 * MS) as both:
        pairs = list(both)
    assert [pair.time_ns for pair in pairs] == [0, 20 * MS, 40 * MS]
    assert both.failures == {"infrared": 2, "visible": 0}
    assert both.failure is None
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2, "a camera that stays away is not reported at every read"
    assert "secret" not in messages[0]
    assert "is silent" in messages[0]
    assert "is back" in messages[1]


def test_latest_gives_the_newest_pair_and_counts_the_others() -> None:
    times = (0, 20, 40, 60)
    infrared, visible = (Script(name, frames(name, times), live=True) for name in ("ir", "vis"))
    both = streams(infrared, visible, mode="latest", clock=lambda: 60 * MS)
    for thread in both._threads:
        thread.join()
    with both:
        pairs = list(both)
    assert [pair.time_ns for pair in pairs] == [60 * MS]
    for role in ("infrared", "visible"):
        assert both.synchroniser.counts[role]["superseded"] == 3  # type: ignore[index]


def test_a_defect_in_a_source_is_raised_where_the_stream_is_read() -> None:
    with (
        streams(Script("ir", [ZeroDivisionError("defect")]), Script("vis", frames("vis", (0, 20)))) as both,
        pytest.raises(ZeroDivisionError, match="defect"),
    ):
        list(both)
