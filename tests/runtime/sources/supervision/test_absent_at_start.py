"""A camera that is not there at the start: a run begins with the other one, and takes it when it comes."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from scripted import Scripted, opening

from tdfusion_edge.errors import InputMissing, RequestError, SourceError, TdfusionError
from tdfusion_edge.runtime import cameras as runtime_cameras
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import Cameras
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.sources.base import Source
from tdfusion_edge.runtime.sources.supervision.source import SupervisedSource

MS = 1_000_000


def both(infrared: rig.Camera, visible: rig.Camera, sync: rig.Sync) -> Cameras:
    """A rig of the two, and of nothing else."""
    tables = rig.Rig(cameras={"ir": infrared, "vis": visible}, sync=sync)
    return Cameras(("ir", infrared), ("vis", visible), sync, None, described=True, tables=tables)


def opened(
    monkeypatch: pytest.MonkeyPatch,
    policy: rig.Policy,
    *,
    address: str = "v4l2:///dev/{}",
    later: Source | None = None,
    why: TdfusionError | None = None,
    **there: Source,
) -> dict[rig.Role, Source]:
    """The cameras of a rig, of which those in ``there`` can be opened, and the other one ``later``."""
    missing = why or InputMissing("there is no camera ir")

    def open_source(
        name: str, camera: rig.Camera, role: rig.Role, *, epoch_ns: int, first: TdfusionError | None = None
    ) -> Source:
        if first is not None:
            answers = [SourceError("still away"), *([] if later is None else [later])]
            return SupervisedSource(name, opening(*answers), first=first, pause=lambda seconds: None)
        if role not in there:
            raise missing
        return there[role]

    monkeypatch.setattr(runtime_cameras, "open_source", open_source)
    infrared, visible = (rig.Camera(uri=address.format(name)) for name in ("ir", "vis"))
    cameras = both(infrared, visible, rig.Sync(policy=policy))
    with ExitStack() as stack:
        sources = cameras.open(stack)
        stack.pop_all()
    return sources


@pytest.mark.parametrize("address", ["v4l2:///dev/{}", "rtsp://cam/{}", "http://cam/{}"])
def test_a_run_begins_with_the_camera_that_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    visible = Scripted(*(time * MS for time in range(0, 2000, 20)), None)
    infrared = Scripted(*(time * MS for time in range(0, 2000, 20)), None)
    sources = opened(monkeypatch, "single", address=address, visible=visible, later=infrared)
    now = iter(range(0, 10**15, 5 * MS))
    lock = threading.Lock()

    def clock() -> int:
        with lock:
            return next(now)

    stop = threading.Event()
    with Streams(sources, rig.Sync(policy="single"), mode="every", stop=stop, clock=clock) as both:
        list(both)
        states = both.states(clock())
    assert both.failure is None
    assert both.failures["infrared"] == 2
    assert states["infrared"].returns == 1, "it came"
    assert [record.getMessage().splitlines()[0] for record in caplog.records][:1] == [
        "infrared camera: there is no camera ir"
    ]


@pytest.mark.parametrize("policy", ["drop", "hold-last"])
def test_other_policies_need_both(monkeypatch: pytest.MonkeyPatch, policy: rig.Policy) -> None:
    with pytest.raises(InputMissing, match="there is no camera ir"):
        opened(monkeypatch, policy, visible=Scripted())


def test_what_is_wrong_with_the_request_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="no such format"):
        opened(monkeypatch, "single", visible=Scripted(), why=RequestError("it has no such format"))


def test_none_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputMissing, match=r"neither camera can be opened: there is no camera ir"):
        opened(monkeypatch, "single")


def test_a_camera_beside_a_recording_is_refused_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    infrared, visible = rig.Camera(uri="rtsp://cam/1"), rig.Camera(uri="walk.mp4")
    cameras = both(infrared, visible, rig.Sync())
    monkeypatch.setattr(runtime_cameras, "open_source", None)
    with ExitStack() as stack, pytest.raises(RequestError, match="do not share a clock") as caught:
        cameras.open(stack)
    assert caught.value.got == "live and recorded"
