"""A live camera fails in every way, and is opened anew; nothing that it does holds up its reader."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from scripted import PATIENCE_S, WAIT, Scripted, opening

from tdfusion_edge.errors import FrameLost, InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.base import Source
from tdfusion_edge.runtime.sources.supervision.connection import LOST_S
from tdfusion_edge.runtime.sources.supervision.source import MOST_HANGING, SupervisedSource, supervised

SECOND = 1_000_000_000


class Clock:
    """Moved by pauses alone."""

    def __init__(self) -> None:
        self.now_ns, self.pauses = 0, list[float]()

    def __call__(self) -> int:
        return self.now_ns

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_ns += round(seconds * SECOND)


def source(*answers: Exception | Source, clock: Clock | None = None, **asked: Any) -> SupervisedSource:
    clock = clock or Clock()
    return SupervisedSource(
        "ir", opening(*answers), clock=clock, pause=clock.pause, random=lambda: 0.0, **asked
    )


def read(camera: Source) -> Frame:
    frame = camera.read()
    assert frame is not None
    return frame


def numbers_and_failures(camera: Source, frames: int) -> tuple[list[int], list[SourceError]]:
    """Read until so many frames came: their numbers, and what failed between them."""
    numbers, failures = list[int](), list[SourceError]()
    while len(numbers) < frames:
        try:
            numbers.append(read(camera).sequence)
        except SourceError as error:
            failures.append(error)
    return numbers, failures


def test_a_camera_that_is_not_there_is_asked_for_with_longer_and_longer_pauses() -> None:
    clock, camera = Clock(), Scripted(0, 1, None)
    away = [SourceError("refused", kind="unreachable") for _ in range(4)]
    ir = source(*away, camera, clock=clock, first=SourceError("not there", kind="unreachable"))
    numbers, failures = numbers_and_failures(ir, 2)
    assert [error.what for error in failures] == ["not there", *["refused"] * 4]
    assert clock.pauses == [0.5, 1, 2, 2, 2]
    assert numbers == [0, 1]
    assert ir.read() is None
    ir.close()
    assert camera.closed >= 1


def test_whatever_it_is_at_the_start_later_it_is_the_camera_that_fails() -> None:
    ir = source(InputMissing("no camera", hint="Plug it in."), RequestError("no such format"), Scripted(0))
    with pytest.raises(SourceError, match="no camera") as missing:
        ir.read()
    assert (missing.value.kind, missing.value.hint) == ("not-found", "Plug it in.")
    with pytest.raises(SourceError, match="no such format") as wrong:
        ir.read()
    assert wrong.value.kind == "format"
    assert read(ir).sequence == 0
    ir.close()


def test_frames_are_numbered_on_across_openings_and_may_have_another_size() -> None:
    first = Scripted(0, 1, 4, SourceError("cable", kind="gone"))
    second = Scripted(3, 4, SourceError("again"), side=64)
    third = Scripted(0)
    ir = source(first, second, third)
    frames: list[Frame] = []
    failures = 0
    while len(frames) < 6:
        try:
            frames.append(read(ir))
        except SourceError:
            failures += 1
    assert [frame.sequence for frame in frames] == [0, 1, 4, 5, 6, 7]
    assert [frame.size[0] for frame in frames] == [32, 32, 32, 64, 64, 32]
    assert failures == 2
    assert first.closed >= 1
    assert second.closed >= 1
    ir.close()


def test_a_damaged_frame_is_no_reason_to_open_it_anew() -> None:
    ir = source(Scripted(0, FrameLost("damaged"), 2))
    assert read(ir).sequence == 0
    with pytest.raises(FrameLost):
        ir.read()
    assert read(ir).sequence == 2
    ir.close()


class Damaged(Scripted):
    """Says at once, whenever it is asked, that a frame is damaged."""

    reads = 0

    def read(self) -> Frame | None:
        self.reads += 1
        raise FrameLost("damaged")


def test_damaged_frames_without_end_take_no_core() -> None:
    camera, began = Damaged(), time.monotonic()
    ir = source(camera)
    for _ in range(20):
        with pytest.raises(FrameLost):
            ir.read()
    reads, passed_s = camera.reads, time.monotonic() - began
    assert 20 <= reads <= passed_s / LOST_S + 2
    ir.close()


def test_a_camera_that_gives_nothing_but_damaged_frames_is_opened_anew() -> None:
    clock = Clock()
    ir = source(Scripted(0, FrameLost("damaged"), 2, *[FrameLost("cut short")] * 4), Scripted(0), clock=clock)
    assert read(ir).sequence == 0
    with pytest.raises(FrameLost):
        ir.read()
    clock.pause(7.5)  # what lies before a whole frame does not count
    assert read(ir).sequence == 2
    for _ in range(2):
        with pytest.raises(FrameLost):
            ir.read()
        clock.pause(3.5)
    with pytest.raises(SourceError, match="nothing but damaged frames") as caught:
        ir.read()
    assert (caught.value.got, caught.value.kind) == ("cut short", "other")
    assert read(ir).sequence == 3
    ir.close()


def test_closing_ends_a_read_that_waits() -> None:
    waiting = threading.Event()
    camera = Scripted(0, lambda: waiting.set() or 1, WAIT)
    ir = source(camera)
    got: list[Frame | None] = []
    assert [read(ir).sequence, read(ir).sequence] == [0, 1]
    reader = threading.Thread(target=lambda: got.append(ir.read()))
    reader.start()
    assert waiting.wait(PATIENCE_S)
    ir.close()
    ir.close()
    reader.join(PATIENCE_S)
    assert got == [None]
    assert ir.read() is None
    assert camera.closed >= 1


def test_closing_ends_a_pause() -> None:
    ir = SupervisedSource("ir", opening(SourceError("away")), random=lambda: 0.0)
    with pytest.raises(SourceError, match="away"):
        ir.read()
    ir.close()
    assert ir.read() is None


def test_what_is_opened_while_it_is_closed_is_closed() -> None:
    begun, go, camera = threading.Event(), threading.Event(), Scripted(0)

    def opener() -> Source:
        begun.set()
        assert go.wait(PATIENCE_S)
        return camera

    ir = SupervisedSource("ir", opener)
    got: list[Frame | None] = []
    reader = threading.Thread(target=lambda: got.append(ir.read()))
    reader.start()
    assert begun.wait(PATIENCE_S)
    closer = threading.Thread(target=ir.close)
    closer.start()
    reader.join(PATIENCE_S)
    assert got == [None], "the reader does not wait for a driver that hangs"
    go.set()
    closer.join(PATIENCE_S)
    for thread in threading.enumerate():
        if thread.name == "camera ir":
            thread.join(PATIENCE_S)
    assert camera.closed >= 1


def test_a_call_that_hangs_is_a_failure_and_hangs_nobody() -> None:
    release = threading.Event()

    class Hanging(Scripted):
        def read(self) -> Frame | None:
            release.wait(PATIENCE_S)
            return None

        def close(self) -> None:
            release.wait(PATIENCE_S)

    def hang() -> Source:
        release.wait(PATIENCE_S)
        raise SourceError("too late")

    hanging: list[Any] = [lambda: Hanging(), hang, hang]
    assert len(hanging) == MOST_HANGING
    clock = Clock()
    ir = SupervisedSource(
        "ir", lambda: hanging.pop(0)(), open_s=0.02, read_s=0.02, clock=clock, pause=clock.pause
    )  # fmt: skip
    try:
        said = []
        for _ in range(MOST_HANGING + 2):
            with pytest.raises(SourceError) as caught:
                ir.read()
            said.append((caught.value.kind, caught.value.what))
        assert said == [
            ("timeout", "camera ir is silent"),
            *[("timeout", "camera ir cannot be opened")] * 2,
            *[("timeout", "camera ir is not opened again: 3 calls into its driver hang")] * 2,
        ]
        ir.close()
    finally:
        release.set()
    for thread in threading.enumerate():
        if thread.name in ("camera ir", "close camera"):
            thread.join(PATIENCE_S)
    assert not [thread for thread in threading.enumerate() if thread.name == "camera ir"]


def test_frames_that_nobody_takes_are_dropped_the_oldest_first() -> None:
    taken, done = threading.Event(), threading.Event()
    late = [lambda: taken.wait(PATIENCE_S) and 1, *range(2, 20), lambda: done.set() or 20, WAIT]
    ir = source(Scripted(0, *late))
    assert read(ir).sequence == 0
    taken.set()
    assert done.wait(PATIENCE_S)
    left = [read(ir).sequence]
    while left[-1] < 20:
        left.append(read(ir).sequence)
    assert left == list(range(left[0], 21)), "what is left is the newest, without a gap"
    assert len(left) <= 9
    ir.close()


def test_a_defect_is_raised_where_the_frames_are_read() -> None:
    ir = source(Scripted(0, ZeroDivisionError("of the source")))
    assert read(ir).sequence == 0
    with pytest.raises(ZeroDivisionError):
        ir.read()
    ir.close()


def test_one_that_is_there_is_opened_at_once_and_one_that_is_not_says_why() -> None:
    camera = Scripted(0)
    ir = supervised("ir", lambda: camera)
    assert read(ir).sequence == 0
    ir.close()
    with pytest.raises(InputMissing, match="no camera"):
        supervised("ir", opening(InputMissing("no camera")))


def test_what_is_not_live_is_left_to_itself() -> None:
    class Recording(Scripted):
        live = False  # type: ignore[assignment]

    recording = Recording(0, 1, None)
    assert supervised("ir", lambda: recording) is recording
    assert read(recording).sequence == 0
    assert recording.closed == 0
