"""The newest picture for everybody, and a viewer that stalls costs nobody anything."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sink_results import number_of, numbered, result

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.live.encoder import Encoder
from tdfusion_edge.runtime.live.hub import MOST_VIEWERS, MOST_VIEWS, WINDOW, Hub, Packet
from tdfusion_edge.runtime.live.views import Painter, View

STEPS = st.lists(st.sampled_from(["offer", "work", "a", "b", "turn"]), max_size=60)


def shown(packet: Packet) -> int:
    """The number that a picture carries in its pixels."""
    return number_of(cv2.imdecode(np.frombuffer(packet.jpeg, np.uint8), cv2.IMREAD_COLOR))


@given(STEPS)
def test_whatever_happens_a_viewer_gets_the_newest_and_never_more_than_it_has_room_for(
    steps: list[str],
) -> None:
    hub, newest = Hub(), -1
    got: dict[str, list[int]] = {"a": [], "b": []}
    viewers = {name: hub.attach(View(), lambda packet: None) for name in got}
    for step in steps:
        if step == "offer":
            newest += 1
            hub.offer(result(newest))
        elif step == "turn":
            hub.turn(viewers["a"], View(boxes=not viewers["a"].view.boxes))
        elif step in viewers:
            hub.taken(viewers[step])
        elif (work := hub._due()) is not None:
            assert work.result.index == newest
            for served in work.views.values():
                for name, viewer in viewers.items():
                    got[name] += [newest] * served.count(viewer)
        for viewer in viewers.values():
            assert 0 <= viewer.travelling <= WINDOW
    for numbers in got.values():
        assert numbers == sorted(numbers)


def test_equal_views_are_drawn_once_and_a_stalled_viewer_is_not_drawn_for() -> None:
    drawn: list[tuple[int, str]] = []

    class Counting(Painter):
        def paint(self, result: Result, view: View) -> Image:
            drawn.append((result.index, view.kind))
            return super().paint(result, view)

    hub, arrived = Hub(), threading.Semaphore(0)
    got: dict[str, list[Packet]] = {"one": [], "other": [], "stalled": []}
    viewers = {}
    for name, kept in got.items():
        view = View(kind="visible" if name == "stalled" else "fused", boxes=False)

        def give(packet: Packet | None, name: str = name, kept: list[Packet] = kept) -> None:
            assert packet is not None
            kept.append(packet)
            arrived.release()

        viewers[name] = hub.attach(view, give)
    encoder = Encoder(hub, Counting(None, lambda one: one.picture), sleep=lambda seconds: None)
    encoder.start()
    for index in range(6):
        hub.offer(result(index, image=numbered(index, (80, 32))))
        for _ in range(3 if index < WINDOW else 2):
            assert arrived.acquire(timeout=10)
        hub.taken(viewers["one"])
        hub.taken(viewers["other"])
    late = hub.attach(View(boxes=False), lambda packet: arrived.release())
    assert arrived.acquire(timeout=10)  # it gets what was drawn for the others
    for viewer in (*viewers.values(), late):
        hub.detach(viewer)
    hub.close()
    encoder.join(10)
    assert [shown(packet) for packet in got["one"]] == list(range(6))
    assert [id(packet) for packet in got["one"]] == [id(packet) for packet in got["other"]]
    assert len(got["stalled"]) == WINDOW
    assert drawn.count((5, "fused")) == 1
    assert [index for index, kind in drawn if kind == "visible"] == [0, 1]


def test_a_late_viewer_gets_the_picture_that_is_there_and_a_turned_one_the_new_view() -> None:
    hub = Hub()
    assert hub._due() is None
    hub.offer(result(7))
    assert hub._due() is None  # nobody looks, nothing is drawn
    viewer = hub.attach(View(), lambda packet: None)
    work = hub._due()
    assert work is not None
    assert work.result.index == 7
    assert hub._due() is None  # not twice
    hub.turn(viewer, View(kind="pair"))
    work = hub._due()
    assert work is not None
    assert list(work.views) == [View(kind="pair")]


def test_viewers_and_views_are_limited_and_the_end_is_told() -> None:
    hub, told = Hub(), list[Packet | None]()
    viewers = [hub.attach(View(hottest=1.0 + n), told.append) for n in range(MOST_VIEWS)]
    with pytest.raises(RequestError, match="different views"):
        hub.attach(View(), told.append)
    with pytest.raises(RequestError, match="different views"):
        hub.turn(hub.attach(viewers[0].view, told.append), View())
    hub.turn(viewers[-1], viewers[0].view)
    hub.attach(View(), told.append)
    while len(hub) < MOST_VIEWERS:
        hub.attach(View(), told.append)
    with pytest.raises(RequestError, match="too many viewers"):
        hub.attach(View(), told.append)
    hub.close()
    assert told == [None] * MOST_VIEWERS
    assert hub.work() is None
    with pytest.raises(RequestError, match="over"):
        hub.attach(View(), told.append)


def test_a_view_that_cannot_be_drawn_ends_neither_the_page_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub, arrived, got = Hub(), threading.Semaphore(0), list[Packet]()

    def give(packet: Packet | None) -> None:
        assert packet is not None
        got.append(packet)
        arrived.release()

    class Failing(Painter):
        def paint(self, result: Result, view: View) -> Image:
            if view.kind == "edges":
                raise RuntimeError("rtsp://admin:QZXQZX@cam cannot be drawn")
            return super().paint(result, view)

    hub.attach(View(kind="edges"), give)
    good = hub.attach(View(boxes=False), give)
    encoder = Encoder(hub, Failing(None, lambda one: one.picture), sleep=lambda seconds: None)
    encoder.start()
    for index in range(3):
        hub.offer(result(index, image=numbered(index)))
        assert arrived.acquire(timeout=10)
        hub.taken(good)
    assert [shown(packet) for packet in got] == [0, 1, 2]
    assert sum("cannot be drawn" in record.getMessage() for record in caplog.records) == 1
    hub.detach(good)
    hub._viewers.clear()
    hub.close()
    encoder.join(10)
