"""The writing thread: nothing is lost in silence, nothing hangs, the first failure comes through."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_results import numbers, result

from tdfusion_edge.errors import SinkError
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.pipeline.worker import Mode, SinkWorker
from tdfusion_edge.runtime.sinks.folder import FolderSink
from tdfusion_edge.runtime.sinks.jsonl import JsonlSink
from tdfusion_edge.runtime.sinks.video import VideoSink
from tdfusion_edge.runtime.sinks.window import WindowSink

PATIENCE_S = 30.0
"""Far beyond what any step here takes: a test that would hang fails instead."""


class FakeSink:
    """Notes what happens to it; can hold at a gate and fail at will."""

    def __init__(
        self,
        *,
        gate: threading.Event | None = None,
        fail_at: int | None = None,
        error: BaseException | None = None,
        close_error: BaseException | None = None,
    ) -> None:
        self.written: list[int] = []
        self.ends: list[str] = []
        self.threads: set[int] = set()
        self.entered = threading.Event()
        self._gate, self._fail_at, self._close_error = gate, fail_at, close_error
        self._error = error or SinkError("disk full", hint="Free space.")

    def write(self, result: Result) -> None:
        self.threads.add(threading.get_ident())
        self.entered.set()
        if self._gate is not None:
            assert self._gate.wait(PATIENCE_S)
        if result.index == self._fail_at:
            raise self._error
        self.written.append(result.index)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.ends.append("close")
        if self._close_error is not None:
            raise self._close_error

    def abort(self) -> None:
        self.threads.add(threading.get_ident())
        self.ends.append("abort")


def finish(work: Callable[[], Any]) -> BaseException | None:
    """What ``work`` raises; a test failure where it never returns."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it hangs"
    return outcome[0]


def put_all(worker: SinkWorker, count: int) -> None:
    for index in range(count):
        worker.put(result(index))


def when_put_waits(worker: SinkWorker, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a caller waits for room; the worker's own thread has to be held elsewhere."""
    waits = threading.Event()
    wait = worker._changed.wait

    def noticed(timeout: float | None = None) -> bool:
        waits.set()
        return wait(timeout)

    monkeypatch.setattr(worker._changed, "wait", noticed)
    return waits


@pytest.mark.parametrize("capacity", [1, 3, 100])
def test_every_loses_nothing_and_keeps_the_order(capacity: int) -> None:
    first, second = FakeSink(), FakeSink()
    worker = SinkWorker([first, second], mode="every", capacity=capacity)
    assert finish(lambda: put_all(worker, 50)) is None
    worker.close()
    assert first.written == second.written == list(range(50))
    assert (worker.written, worker.dropped, worker.waiting) == (50, 0, 0)
    assert first.ends == second.ends == ["close"]


def test_sinks_live_in_one_thread_that_is_not_the_caller_s() -> None:
    sinks = [FakeSink(), FakeSink()]
    with SinkWorker(sinks, mode="every") as worker:
        put_all(worker, 5)
    (thread,) = sinks[0].threads | sinks[1].threads
    assert thread != threading.get_ident()


@settings(max_examples=20, deadline=None)
@given(capacity=st.integers(1, 5), count=st.integers(1, 20))
def test_latest_never_waits_and_keeps_the_newest(capacity: int, count: int) -> None:
    gate = threading.Event()
    sink = FakeSink(gate=gate)
    worker = SinkWorker([sink], mode="latest", capacity=capacity)
    worker.put(result(0))
    assert sink.entered.wait(PATIENCE_S)  # the sink holds 0; the others queue up behind it
    for index in range(1, count):
        worker.put(result(index))
        assert worker.waiting == min(index, capacity)
    gate.set()
    worker.close()
    assert sink.written == [0, *range(1, count)[-capacity:]]
    assert worker.dropped == count - len(sink.written)
    assert worker.written == len(sink.written)


def test_every_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    sink = FakeSink(gate=gate)
    worker = SinkWorker([sink], mode="every", capacity=1)
    worker.put(result(0))
    assert sink.entered.wait(PATIENCE_S)
    worker.put(result(1))
    waits, passed = when_put_waits(worker, monkeypatch), threading.Event()
    threading.Thread(target=lambda: (worker.put(result(2)), passed.set()), daemon=True).start()
    assert waits.wait(PATIENCE_S)
    assert not passed.is_set()
    assert worker.waiting == 1
    gate.set()
    assert passed.wait(PATIENCE_S)
    worker.close()
    assert sink.written == [0, 1, 2]


@pytest.mark.parametrize("end", ["failure", "abort"])
def test_a_caller_that_already_waits_is_told(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    gate = threading.Event()
    sink = FakeSink(gate=gate, fail_at=0)
    worker = SinkWorker([sink], mode="every", capacity=1)
    worker.put(result(0))
    assert sink.entered.wait(PATIENCE_S)
    worker.put(result(1))
    waits, told = when_put_waits(worker, monkeypatch), threading.Event()
    errors: list[BaseException | None] = []
    threading.Thread(
        target=lambda: (errors.append(finish(lambda: worker.put(result(2)))), told.set()), daemon=True
    ).start()
    assert waits.wait(PATIENCE_S)
    if end == "abort":
        assert worker.abort(timeout_s=0) is False
    else:
        gate.set()
    assert told.wait(PATIENCE_S)
    assert isinstance(errors[0], RuntimeError if end == "abort" else SinkError)
    gate.set()
    assert worker.abort(PATIENCE_S)


@pytest.mark.parametrize("mode", ["every", "latest"])
def test_a_failing_sink_never_leaves_the_caller_waiting(mode: Mode) -> None:
    sink = FakeSink(fail_at=3)
    worker = SinkWorker([sink], mode=mode, capacity=1)

    def endless() -> None:
        index = 0
        while True:
            worker.put(result(index if mode == "every" else 3))
            index += 1

    error = finish(endless)
    assert isinstance(error, SinkError)
    assert "disk full" in str(error)
    assert "Free space." in str(error)
    assert isinstance(error.__cause__, SinkError)
    assert error is not error.__cause__
    assert isinstance(finish(worker.close), SinkError)
    assert worker.close() is None
    assert sink.ends == ["abort"]


@pytest.mark.parametrize("mode", ["every", "latest"])
def test_a_sink_that_fails_is_told_of_once_and_the_others_go_on(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    broken, healthy, third = FakeSink(fail_at=1), FakeSink(), FakeSink()
    worker = SinkWorker([healthy, broken, third], mode=mode, capacity=100)
    put_all(worker, 50)
    assert finish(worker.close) is None
    assert broken.written == [0]
    assert healthy.written == third.written == list(range(50))
    assert (healthy.ends, broken.ends, third.ends) == (["close"], ["abort"], ["close"])
    assert (worker.written, worker.failed) == (50, 1)
    (said,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert said.getMessage() == "disk full; the other outputs go on\n  Free space."


def test_the_last_sink_ends_the_run_and_is_told_of_by_its_error_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, last = FakeSink(fail_at=1), FakeSink(fail_at=3, error=SinkError("card pulled"))
    worker = SinkWorker([first, last], mode="every", capacity=1)
    error = finish(lambda: put_all(worker, 100))
    assert isinstance(error, SinkError)
    assert str(error) == "card pulled"
    assert isinstance(finish(worker.close), SinkError)
    assert (worker.written, worker.failed) == (3, 2)
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["disk full"]


def test_sinks_that_belong_together_end_together(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    broken, healthy = FakeSink(gate=gate, fail_at=1), FakeSink()
    worker = SinkWorker([broken, healthy], mode="every", capacity=10, together=True)
    put_all(worker, 5)
    gate.set()
    error = finish(worker.close)
    assert isinstance(error, SinkError)
    assert healthy.written == [0, 1, 2, 3, 4], "what is queued is written"
    assert (broken.ends, healthy.ends) == (["abort"], ["close"])
    assert caplog.records == []


@pytest.mark.parametrize("raised", [ValueError("a bug"), SystemExit(3), MemoryError()])
def test_what_is_no_sink_error_becomes_one_with_its_cause(raised: BaseException) -> None:
    sink = FakeSink(fail_at=0, error=raised)
    worker = SinkWorker([sink], mode="every")
    worker.put(result(0))
    error = finish(worker.close)
    assert isinstance(error, SinkError)
    assert error.__cause__ is raised
    assert "FakeSink failed" in str(error)


def test_every_sink_is_closed_even_if_some_fail_and_each_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sinks = [
        FakeSink(),
        FakeSink(close_error=SinkError("first")),
        FakeSink(close_error=SinkError("second")),
        FakeSink(),
    ]
    worker = SinkWorker(sinks, mode="every")
    worker.put(result(0))
    assert finish(worker.close) is None
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["first", "second"]
    assert worker.failed == 2
    assert [sink.ends for sink in sinks] == [["close"]] * 4
    assert [sink.written for sink in sinks] == [[0]] * 4


def test_an_exception_in_the_block_aborts_and_comes_through() -> None:
    gate = threading.Event()
    sink = FakeSink(gate=gate)
    worker = SinkWorker([sink], mode="every", capacity=10)

    def interrupted() -> None:
        with worker:
            put_all(worker, 5)
            assert sink.entered.wait(PATIENCE_S)
            gate.set()
            raise KeyboardInterrupt

    assert isinstance(finish(interrupted), KeyboardInterrupt)
    assert sink.ends == ["abort"]
    assert worker.dropped + len(sink.written) == 5
    with pytest.raises(RuntimeError, match="closed"):
        worker.put(result(9))


def test_abort_does_not_wait_for_a_sink_that_hangs() -> None:
    gate = threading.Event()
    sink = FakeSink(gate=gate)
    worker = SinkWorker([sink], mode="every", capacity=10)
    put_all(worker, 5)
    assert sink.entered.wait(PATIENCE_S)
    assert worker.abort(timeout_s=0.01) is False
    gate.set()
    assert worker.abort(timeout_s=PATIENCE_S) is True
    assert sink.written == [0]
    assert sink.ends == ["abort"]
    assert worker.dropped == 4


def test_put_after_close_is_refused_and_close_may_come_twice() -> None:
    sink = FakeSink()
    worker = SinkWorker([sink], mode="latest")
    worker.close()
    worker.close()
    assert worker.abort() is True
    with pytest.raises(RuntimeError, match="closed"):
        worker.put(result(0))
    assert sink.ends == ["close"]


def test_the_time_of_writing_is_reported_once_all_sinks_have_it() -> None:
    ticks = iter(range(1000, 2000))
    first, second = FakeSink(), FakeSink()
    seen: list[tuple[int, int, int]] = []

    def on_written(result: Result, done_ns: int) -> None:
        assert first.written[-1] == second.written[-1] == result.index
        seen.append((result.index, done_ns, threading.get_ident()))

    with SinkWorker(
        [first, second], mode="every", on_written=on_written, clock=lambda: next(ticks)
    ) as worker:
        put_all(worker, 4)
    assert [(index, done) for index, done, _ in seen] == [(0, 1000), (1, 1001), (2, 1002), (3, 1003)]
    assert {thread for _, _, thread in seen} == first.threads


def test_a_callback_that_raises_is_a_failure() -> None:
    def on_written(result: Result, done_ns: int) -> None:
        raise KeyError("latency")

    sink = FakeSink()
    worker = SinkWorker([sink], mode="every", on_written=on_written)
    worker.put(result(0))
    error = finish(worker.close)
    assert isinstance(error, SinkError)
    assert isinstance(error.__cause__, KeyError)
    assert sink.ends == ["close"]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        SinkWorker([], mode="every", capacity=0)
    with pytest.raises(ValueError, match="mode"):
        SinkWorker([], mode="newest")  # type: ignore[arg-type]


def test_real_sinks_are_whole_after_close(tmp_path: Path) -> None:
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    with SinkWorker([VideoSink(video), JsonlSink(lines)], mode="every", capacity=2) as worker:
        put_all(worker, 70)
    assert numbers(video) == list(range(70))
    assert lines.read_bytes().count(b"\n") == 70


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_stops_its_own_output_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full, video = tmp_path / "full.jsonl", tmp_path / "out.mp4"
    full.symlink_to("/dev/full")
    worker = SinkWorker([JsonlSink(full), VideoSink(video)], mode="every", capacity=2)
    put_all(worker, 100)
    assert finish(worker.close) is None
    assert numbers(video) == list(range(100))
    (said,) = caplog.records
    assert "full.jsonl: disk full after 0 lines; the other outputs go on" in said.getMessage()


def test_a_folder_that_was_removed_and_a_window_that_died_stop_no_video(tmp_path: Path) -> None:
    class Dead:
        """HighGUI on a display that has gone."""

        def getBuildInformation(self) -> str:  # noqa: N802, OpenCV's name
            return "GUI: QT5"

        def imshow(self, title: str, picture: object) -> None:
            raise cv2.error("no display")

    class Removing(FakeSink):
        """Takes the folder away behind the third picture."""

        def write(self, result: Result) -> None:
            super().write(result)
            if result.index == 2:
                shutil.rmtree(tmp_path / "png")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", ":9")
        window = WindowSink(highgui=Dead())
    sinks = [FolderSink(tmp_path / "png"), Removing(), window, VideoSink(tmp_path / "out.mp4")]
    worker = SinkWorker(sinks, mode="every", capacity=2)
    put_all(worker, 30)
    assert finish(worker.close) is None
    assert (worker.failed, worker.written) == (2, 30)
    assert numbers(tmp_path / "out.mp4") == list(range(30))
    assert not (tmp_path / "png").exists()


@pytest.mark.parametrize("mode", ["every", "latest"])
def test_the_last_sink_that_fails_in_the_block_hides_nothing(mode: Mode) -> None:
    failed = threading.Event()

    class Broken(FakeSink):
        def write(self, result: Result) -> None:
            failed.set()
            raise SinkError("disk full")

    broken = Broken()

    def run() -> None:
        with SinkWorker([broken], mode=mode, capacity=10) as worker:
            worker.put(result(0))
            assert failed.wait(PATIENCE_S)
            while True:
                worker.put(result(1))

    error = finish(run)
    assert isinstance(error, SinkError)
    assert error.__context__ is None, "a second error hides the first"
    assert broken.ends == ["abort"]
