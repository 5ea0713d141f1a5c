from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.uri import parse
from tdfusion_edge.runtime.sources.v4l2 import V4L2Source, from_uri

SECOND = 1_000_000_000
WIDTH, HEIGHT = 32, 24
EXPOSURE_NS = 7_000_000
"""Between the kernel's stamp and the arrival of a frame."""


def code(fourcc: str) -> float:
    return float(cv2.VideoWriter.fourcc(*fourcc.ljust(4)))


@dataclass
class Camera:
    """A camera on an imagined bus, with a clock of its own that only waiting moves.

    A frame arrives at every multiple of the period; the counts of number n are 1000 + n.
    """

    formats: tuple[str, ...] = ("YUYV", "Y16")
    size: tuple[int, int] = (WIDTH, HEIGHT)
    rate: float = 10.0
    reported_rate: float | None = None
    now_ns: int = 100 * SECOND
    next_number: int = 0
    silent: Callable[[int], bool] = lambda now_ns: False
    gone: Callable[[int], Exception | None] = lambda now_ns: None
    damaged: Callable[[int], bool] = lambda number: False
    shape: str = "2-D"
    """How OpenCV hands out what it does not convert: as a picture or, as some versions do, flat."""
    converts_anyway: bool = False
    sixteen_anyway: bool = False
    stamp_offset_ns: int = 0
    opened: int = 0
    released: int = 0

    def clock(self) -> int:
        return self.now_ns

    def open(self, path: str) -> Capture:
        if (error := self.gone(self.now_ns)) is not None:
            raise error
        self.opened += 1
        return Capture(self)


class Capture:
    """What OpenCV does with the camera: properties are remembered, frames converted or not."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.fourcc, self.converts = camera.formats[0], True
        self.taken = -1

    def set(self, prop: int, value: float) -> bool:
        if prop == cv2.CAP_PROP_FOURCC:
            named = [fourcc for fourcc in self.camera.formats if code(fourcc) == value]
            self.fourcc = (named or [self.fourcc])[0]
            self.converts = True  # a change of format turns the conversion on again
        if prop == cv2.CAP_PROP_CONVERT_RGB:
            self.converts = bool(value) or self.camera.converts_anyway
        return True

    def get(self, prop: int) -> float:
        camera = self.camera
        stamp_ns = camera.now_ns - EXPOSURE_NS + camera.stamp_offset_ns
        return {
            cv2.CAP_PROP_FOURCC: code(self.fourcc),
            cv2.CAP_PROP_FRAME_WIDTH: float(camera.size[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(camera.size[1]),
            cv2.CAP_PROP_FPS: camera.rate if camera.reported_rate is None else camera.reported_rate,
            cv2.CAP_PROP_POS_MSEC: stamp_ns / 1e6,
        }[prop]

    def wait(self, timeout_s: float) -> bool:
        camera = self.camera
        period = int(SECOND / camera.rate)
        due = (camera.now_ns // period + 1) * period
        limit = camera.now_ns + int(timeout_s * SECOND)
        if (error := camera.gone(camera.now_ns)) is not None:
            raise error
        if due > limit or camera.silent(due):
            camera.now_ns = limit
            return False
        camera.now_ns = due
        self.taken, camera.next_number = camera.next_number, camera.next_number + 1
        return True

    def number(self) -> int | None:
        return None  # OpenCV does not tell

    def offers(self, pixel_format: str) -> str:
        return ""

    def take(self) -> Any:
        if self.camera.damaged(self.taken):
            return None
        width, height = self.camera.size
        counts = np.full((height, width), 1000 + self.taken, np.uint16)
        if self.camera.sixteen_anyway:
            return counts
        if not self.converts and self.fourcc == "Y16":
            flat = counts.view(np.uint8).reshape(1, -1)
            return {"2-D": counts, "row": flat, "column": flat.T}[self.camera.shape]
        grey = np.full((height, width), self.taken, np.uint8)
        return grey if not self.converts else np.dstack([grey] * 3)

    def release(self) -> None:
        self.camera.released += 1


def source(camera: Camera, **asked: Any) -> V4L2Source:
    return V4L2Source("ir0", "/dev/video7", clock=camera.clock, opener=camera.open, **asked)


def read(camera_source: V4L2Source) -> Frame:
    frame = camera_source.read()
    assert frame is not None
    return frame


@pytest.mark.parametrize("shape", ["2-D", "row", "column"])
def test_sixteen_bits_come_as_counts_with_the_kernels_time(shape: str) -> None:
    camera = Camera(shape=shape)
    start = camera.now_ns
    ir = source(camera, pixel_format="Y16", size=(WIDTH, HEIGHT), fps=10)
    frames = [read(ir) for _ in range(3)]
    for number, frame in enumerate(frames):
        assert frame.image.dtype == np.uint16
        assert frame.image.shape == (HEIGHT, WIDTH)
        assert (frame.image == 1000 + number).all()
        assert frame.time_ns == start + (number + 1) * SECOND // 10 - EXPOSURE_NS
        assert (frame.sequence, frame.source) == (number, "ir0")
    assert ir.live is True


def test_eight_bit_colour_comes_converted() -> None:
    frame = read(source(Camera(), pixel_format="YUYV"))
    assert frame.image.dtype == np.uint8
    assert frame.image.shape == (HEIGHT, WIDTH, 3)


def test_a_camera_with_sixteen_bits_only_gives_them_unasked() -> None:
    assert read(source(Camera(formats=("Y16",)))).image.dtype == np.uint16


@pytest.mark.parametrize("offset_s", [1_700_000_000, -60])
def test_the_time_of_another_clock_is_not_believed(offset_s: int) -> None:
    camera = Camera(stamp_offset_ns=offset_s * SECOND)
    ir = source(camera, pixel_format="Y16")
    first = read(ir)
    assert first.time_ns == 100 * SECOND + SECOND // 10
    assert read(ir).time_ns == camera.now_ns


def test_a_late_reader_still_gets_the_time_of_capture() -> None:
    camera = Camera()
    ir = source(camera, pixel_format="Y16")
    read(ir)
    camera.stamp_offset_ns = -3 * SECOND  # the frame waited in the driver's queue
    assert read(ir).time_ns == camera.now_ns - EXPOSURE_NS - 3 * SECOND


@pytest.mark.parametrize(
    ("asked", "expected", "got"),
    [
        ({"pixel_format": "GREY"}, "GREY", "YUYV"),
        ({"size": (640, 512)}, "640x512", f"{WIDTH}x{HEIGHT}"),
        ({"fps": 60.0}, "60 frames a second", "10"),
    ],
)
def test_what_the_camera_does_not_have_is_refused(asked: dict[str, Any], expected: str, got: str) -> None:
    camera = Camera()
    with pytest.raises(RequestError, match="camera ir0 does not have that") as caught:
        source(camera, **asked)
    assert (caught.value.expected, caught.value.got) == (expected, got)
    assert "tdfusion-edge cameras" in str(caught.value)
    assert camera.released == camera.opened == 1


@pytest.mark.parametrize(("named", "reported"), [(9.0, 8.6), (30.0, 29.97), (30.0, 0.0), (30.0, -1.0)])
def test_a_rate_that_the_driver_rounds_or_does_not_know_is_taken(named: float, reported: float) -> None:
    assert read(source(Camera(reported_rate=reported), fps=named)).sequence == 0


def test_sixteen_bits_that_were_converted_are_an_error_with_the_fix() -> None:
    camera = Camera(converts_anyway=True)
    with pytest.raises(SourceError, match="gives no 16-bit frames although Y16 promises them") as caught:
        source(camera, pixel_format="Y16")
    assert caught.value.got == f"uint8 ({HEIGHT}, {WIDTH}, 3)"
    assert caught.value.hint is not None
    assert "?format=GREY" in caught.value.hint
    assert camera.released == 1


def test_sixteen_bits_where_eight_are_named_are_an_error_with_the_fix() -> None:
    with pytest.raises(SourceError, match="gives 16-bit frames although YUYV promises 8 bits") as caught:
        source(Camera(sixteen_anyway=True), pixel_format="YUYV")
    assert caught.value.hint == "Ask for them by name: v4l2:///dev/video7?format=Y16"


def test_a_damaged_frame_is_skipped_and_leaves_a_gap() -> None:
    ir = source(Camera(damaged=lambda number: number in (1, 2)), pixel_format="Y16")
    frames = [read(ir) for _ in range(2)]
    assert [frame.sequence for frame in frames] == [0, 3]
    assert [int(frame.image[0, 0]) for frame in frames] == [1000, 1003]


def test_a_camera_that_sends_damage_only_fails_in_time() -> None:
    camera = Camera(damaged=lambda number: number > 0)
    ir = source(camera, pixel_format="Y16", timeout_s=2)
    read(ir)
    begin = camera.now_ns
    with pytest.raises(SourceError, match="got damaged ones only"):
        ir.read()
    assert camera.now_ns - begin < 3 * SECOND


def test_a_silent_camera_fails_when_it_is_opened_and_is_released() -> None:
    camera = Camera(silent=lambda now_ns: True)
    begin = camera.now_ns
    with pytest.raises(SourceError, match="camera ir0 is silent") as caught:
        source(camera, timeout_s=2)
    assert caught.value.expected == "a frame within 2 s"
    assert 2 * SECOND <= camera.now_ns - begin < 3 * SECOND
    assert camera.released == camera.opened == 1


def test_a_pause_of_a_thermal_shutter_is_no_failure() -> None:
    camera = Camera(silent=lambda now_ns: 101 * SECOND < now_ns < 104 * SECOND)
    ir = source(camera, pixel_format="Y16")
    times = [read(ir).time_ns for _ in range(12)]
    assert max(np.diff(times)) > 2 * SECOND
    assert camera.opened == 1


def test_a_camera_that_stops_fails_in_time_and_can_be_opened_anew() -> None:
    camera = Camera(silent=lambda now_ns: 101 * SECOND < now_ns < 104 * SECOND)
    ir = source(camera, pixel_format="Y16", timeout_s=1)
    with pytest.raises(SourceError, match="camera ir0 is silent") as caught:
        list(iter(ir.read, None))
    assert caught.value.kind == "timeout"
    assert camera.now_ns <= 102.2 * SECOND
    ir.close()
    assert camera.opened == camera.released == 1
    camera.now_ns = 104 * SECOND
    assert int(read(source(camera, pixel_format="Y16")).image[0, 0]) == 1010, "a new frame, none from before"


def test_a_closed_camera_is_at_its_end() -> None:
    camera = Camera()
    ir = source(camera)
    ir.close()
    ir.close()
    assert ir.read() is None
    assert camera.released == 1


def test_closing_ends_a_read_that_waits() -> None:
    camera, waiting = Camera(), threading.Event()
    # The clock stands still: only closing can end the wait.
    ir = V4L2Source("ir0", "/dev/video7", clock=lambda: 0, opener=camera.open)
    read(ir)

    def silent(now_ns: int) -> bool:
        waiting.set()
        return True

    camera.silent = silent
    answers: list[Frame | None] = []
    reader = threading.Thread(target=lambda: answers.append(ir.read()))
    reader.start()
    assert waiting.wait(10)
    ir.close()
    reader.join(10)
    assert answers == [None]
    assert camera.released == 1


def test_an_address_names_format_size_and_rate() -> None:
    camera = Camera()
    uri = parse(f"v4l2:///dev/video7?format=y16&size={WIDTH}x{HEIGHT}&fps=10")
    ir = from_uri("ir0", uri, epoch_ns=0, clock=camera.clock, opener=camera.open)
    assert read(ir).image.dtype == np.uint16
    with pytest.raises(RequestError, match="unknown format 'Y61'") as caught:
        from_uri("ir0", parse("v4l2:///dev/video7?format=Y61"), epoch_ns=0, opener=camera.open)
    assert caught.value.hint == "Did you mean Y16?"
    with pytest.raises(RequestError, match="unknown option 'rate'"):
        from_uri("ir0", parse("v4l2:///dev/video7?rate=10"), epoch_ns=0, opener=camera.open)
