"""A camera that is not there at the start: asked for again and again, and its frames when it comes."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import numpy as np
import pytest

from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import cameras as runtime_cameras
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import Cameras
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.sources.absent import AbsentSource
from tdfusion_edge.runtime.sources.base import Source

MS = 1_000_000
PATIENCE_S = 30.0


class Camera:
    """A live camera with a few frames."""

    live = True

    def __init__(self, name: str, times_ms: range) -> None:
        self.name, self.closed = name, 0
        self._times = iter(times_ms)
        self._sequence = 0

    def read(self) -> Frame | None:
        time = next(self._times, None)
        if time is None:
            return None
        self._sequence += 1
        return Frame(np.full((32, 32), time % 256, np.uint8), time * MS, self._sequence, self.name)

    def close(self) -> None:
        self.closed += 1


def test_it_is_asked_for_with_longer_and_longer_pauses_and_then_gives_its_frames() -> None:
    camera, pauses = Camera("ir", range(0, 40, 20)), list[float]()
    answers: list[Exception | Source] = [
        InputMissing("there is no camera"),
        SourceError("it is silent"),
        RequestError("it has no such format", hint="Ask for another."),
        *[SourceError("taken")] * 4,
        camera,
    ]

    def reopen() -> Source:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    source = AbsentSource("ir", SourceError("not there"), reopen, pause=pauses.append)
    said = []
    while True:
        try:
            frame = source.read()
            break
        except SourceError as error:  # a live source may be read again after it, whatever it was
            said.append(error.what)
    assert said[:4] == ["not there", "there is no camera", "it is silent", "it has no such format"]
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert frame is not None
    assert frame.time_ns == 0
    assert source.read() is not None
    assert source.read() is None
    source.close()
    assert camera.closed == 1


def test_closing_ends_the_pause_and_closes_what_is_just_being_opened() -> None:
    waiting = AbsentSource("ir", SourceError("not there"), lambda: Camera("ir", range(1)))
    waiting._first = None
    waiting.close()
    assert waiting.read() is None

    opening, go, camera = threading.Event(), threading.Event(), Camera("ir", range(1))

    def reopen() -> Source:
        opening.set()
        assert go.wait(PATIENCE_S)
        return camera

    source = AbsentSource("ir", SourceError("not there"), reopen, pause=lambda seconds: None)
    source._first = None
    got: list[Frame | None] = []
    thread = threading.Thread(target=lambda: got.append(source.read()))
    thread.start()
    assert opening.wait(PATIENCE_S)
    source.close()
    go.set()
    thread.join(PATIENCE_S)
    assert got == [None]
    assert camera.closed == 1, "nobody else would"


def opened(monkeypatch: pytest.MonkeyPatch, policy: rig.Policy, **there: object) -> dict[rig.Role, Source]:
    """The cameras of a rig of two devices, of which those in ``there`` can be opened."""

    def open_source(name: str, camera: rig.Camera, role: rig.Role, *, epoch_ns: int) -> Source:
        found = there.get(role)
        if found is None:
            raise InputMissing(f"there is no camera {name}")
        return found  # type: ignore[return-value]

    monkeypatch.setattr(runtime_cameras, "open_source", open_source)
    infrared, visible = (rig.Camera(uri=f"v4l2:///dev/{name}") for name in ("ir", "vis"))
    cameras = Cameras(("ir", infrared), ("vis", visible), rig.Sync(policy=policy), None, described=True)
    with ExitStack() as stack:
        sources = cameras.open(stack)
        stack.pop_all()
    return sources


def test_a_run_begins_with_the_camera_that_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    visible = Camera("vis", range(0, 2000, 20))
    sources = opened(monkeypatch, "single", visible=visible)
    assert isinstance(sources["infrared"], AbsentSource)
    now = iter(range(0, 10**15, 5 * MS))
    lock = threading.Lock()

    def clock() -> int:
        with lock:
            return next(now)

    sync = rig.Sync(policy="single", silent_ms=100)
    with Streams(sources, sync, mode="every", stop=threading.Event(), seconds=2.0, clock=clock) as both:
        pairs = list(both)
    assert pairs
    assert all(pair.infrared is None and pair.visible is not None for pair in pairs)
    assert both.failure is None
    assert both.failures["infrared"] >= 1
    assert [record.getMessage().splitlines()[0] for record in caplog.records][:1] == [
        "infrared camera: there is no camera ir"
    ]


@pytest.mark.parametrize("policy", ["drop", "hold-last"])
def test_other_policies_need_both(monkeypatch: pytest.MonkeyPatch, policy: rig.Policy) -> None:
    with pytest.raises(InputMissing, match="there is no camera ir"):
        opened(monkeypatch, policy, visible=Camera("vis", range(1)))


def test_none_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputMissing, match=r"neither camera can be opened: there is no camera ir; .* vis"):
        opened(monkeypatch, "single")
