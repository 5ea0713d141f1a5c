"""The reader of V4L2 cameras on a driver that is emulated: no kernel of a test machine has a camera."""

from __future__ import annotations

import errno
import mmap
import os
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from emulated_v4l2 import SECOND, ControlState, Driver, counts
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.uri import parse
from tdfusion_edge.runtime.sources.v4l2 import V4L2Source, from_uri
from tdfusion_edge.runtime.sources.video4linux import capture, layouts
from tdfusion_edge.runtime.sources.video4linux.capture import open_capture
from tdfusion_edge.runtime.sources.video4linux.decode import LAYOUTS, decoded
from tdfusion_edge.runtime.sources.video4linux.device import DeviceFile

PATH = "/dev/video7"


def source(driver: Driver, options: str = "", **limits: Any) -> V4L2Source:
    uri = parse(f"v4l2://{PATH}{options}")
    opener = partial(
        open_capture,
        name="ir0",
        pixel_format=uri.query.get("format"),
        exposure_ms=uri.number("exposure", ""),
        gain=uri.number("gain", ""),
        open_device=driver.open,
    )
    return V4L2Source(
        "ir0", uri.path, pixel_format=uri.query.get("format"), size=uri.size(), fps=uri.fps(),
        clock=driver.clock, opener=opener, **limits,
    )  # fmt: skip


def read(camera: V4L2Source) -> Frame:
    frame = camera.read()
    assert frame is not None
    return frame


@pytest.mark.parametrize("padding", [0, 6])
def test_counts_come_with_the_drivers_time_and_number(padding: int) -> None:
    driver = Driver(counts, padding=padding, first_number=5)
    ir = source(driver, "?format=Y16&size=32x24&fps=10")
    frames = [read(ir) for _ in range(9)]
    for number, frame in enumerate(frames):
        assert frame.image.dtype == np.uint16
        assert frame.image.shape == (24, 32)
        # Each has its own memory: the driver has filled its three buffers three times.
        assert (frame.image == 1005 + number).all()
        assert frame.time_ns == 100 * SECOND + (number + 1) * SECOND // 10
        assert frame.sequence == number
    ir.close()
    assert driver.opened == driver.closed == 1


@settings(deadline=None, max_examples=40)
@given(pauses=st.lists(st.integers(0, 9), max_size=12), start=st.sampled_from([0, 7, (1 << 32) - 4]))
def test_every_frame_that_the_driver_drops_is_a_gap(pauses: list[int], start: int) -> None:
    driver = Driver(counts, first_number=start)
    ir = source(driver, "?format=GREY")
    frames = [read(ir)]
    for periods in pauses:
        driver.now_ns += periods * SECOND // 10
        frames.append(read(ir))
    # The number in the pixels is what the sensor really gave.
    painted = [(int(frame.image[0, 0]) - start) % 256 for frame in frames]
    assert [frame.sequence for frame in frames] == painted
    assert [frame.time_ns for frame in frames] == [100 * SECOND + (n + 1) * SECOND // 10 for n in painted]


def test_all_buffers_are_the_drivers_while_nobody_reads() -> None:
    driver = Driver(counts)
    ir = source(driver, "?format=GREY")
    first = read(ir)
    driver.now_ns += 2 * SECOND
    later = [read(ir).sequence for _ in range(3)]
    assert later == [first.sequence + 1, first.sequence + 2, first.sequence + 3]


def test_a_driver_that_counts_anew_loses_nothing() -> None:
    driver = Driver(counts)
    ir = source(driver, "?format=GREY")
    read(ir), read(ir)
    device = ir._capture._device  # type: ignore[union-attr]
    device.number = 0
    assert [read(ir).sequence, read(ir).sequence] == [2, 3]


@pytest.mark.parametrize("fault", ["damaged", "short"])
def test_a_frame_that_is_not_whole_is_skipped_and_leaves_a_gap(fault: str) -> None:
    driver = Driver(counts, **{fault: lambda number: number in (1, 2)})
    ir = source(driver, "?format=Y16")
    frames = [read(ir), read(ir)]
    assert [frame.sequence for frame in frames] == [0, 3]
    assert [int(frame.image[0, 0]) for frame in frames] == [1000, 1003]


def test_without_a_format_the_camera_chooses() -> None:
    assert read(source(Driver(counts, formats=("Y16", "GREY")))).image.dtype == np.uint16
    assert read(source(Driver(counts, formats=("GREY", "Y16")))).image.dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "expected", "got", "offers"),
    [
        ("?format=YUYV", "YUYV", "Y16", ""),
        ("?format=Y16&size=640x480", "640x480", "32x24", "It offers Y16 32x24@9, 16x12@9. "),
        ("?format=Y16&fps=30", "30 frames a second", "9", "It offers Y16 32x24@9, 16x12@9. "),
    ],
)
def test_what_the_camera_does_not_have_is_refused(options: str, expected: str, got: str, offers: str) -> None:
    driver = Driver(counts, sizes=((32, 24), (16, 12)), rates=(9,))
    with pytest.raises(RequestError, match="camera ir0 does not have that") as caught:
        source(driver, options)
    assert (caught.value.expected, caught.value.got) == (expected, got)
    assert caught.value.hint == f"{offers}See all: tdfusion-edge cameras"
    assert driver.opened == driver.closed == 1


@pytest.mark.parametrize(
    ("request_code", "error", "says"),
    [
        (layouts.REQBUFS, errno.EBUSY, "taken by another program"),
        (layouts.S_FMT, errno.EBUSY, "taken by another program"),
        (layouts.STREAMON, errno.ENOSPC, "is gone"),
        (0, errno.ENODEV, "is gone"),
    ],
)
def test_a_device_that_fails_says_so_and_is_closed(request_code: int, error: int, says: str) -> None:
    driver = Driver(counts, fails=lambda request, now_ns: error if request == request_code else None)
    with pytest.raises(SourceError, match=says):
        source(driver, "?format=Y16")
    assert driver.opened == driver.closed == 1


def test_an_unplugged_camera_fails() -> None:
    driver = Driver(counts)
    ir = source(driver, "?format=Y16")
    read(ir)
    driver.fails = lambda request, now_ns: errno.ENODEV
    with pytest.raises(SourceError, match="/dev/video7 is gone") as caught:
        ir.read()
    assert caught.value.kind == "gone"
    ir.close()


def test_a_silent_camera_fails_in_time() -> None:
    driver = Driver(counts, rates=(10,))
    ir = source(driver, "?format=Y16", timeout_s=2)
    read(ir)
    begin = driver.now_ns
    ir._capture._device.last_ns += 60 * SECOND  # type: ignore[union-attr]
    with pytest.raises(SourceError, match="camera ir0 is silent"):
        ir.read()
    assert 2 * SECOND <= driver.now_ns - begin < 3 * SECOND


@pytest.mark.parametrize("unknown", [{"formats": ("YU12",)}, {"capabilities": 0x04201000}])
def test_what_this_reader_does_not_know_is_opencvs(
    unknown: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(counts, **unknown)
    given: list[str] = []
    monkeypatch.setattr(capture, "OpenCVCapture", lambda path: given.append(path) or "opencv")
    assert open_capture(PATH, name="ir0", open_device=driver.open) == "opencv"
    assert given == [PATH]
    assert driver.opened == driver.closed


def usb() -> dict[int, ControlState]:
    """The controls of a USB camera that was left at manual exposure."""
    return {
        layouts.EXPOSURE_AUTO: ControlState(0, 3, 1, menu=(1, 3)),
        layouts.EXPOSURE_ABSOLUTE: ControlState(3, 2047, 250),
        layouts.AUTOGAIN: ControlState(0, 1, 0),
        layouts.GAIN: ControlState(0, 100, 50),
    }


def test_exposure_and_gain_are_set() -> None:
    driver = Driver(counts, controls=usb())
    driver.controls[layouts.EXPOSURE_AUTO].value = driver.controls[layouts.AUTOGAIN].value = 3
    source(driver, "?format=Y16&exposure=8.5&gain=12")
    values = {number: control.value for number, control in driver.controls.items()}
    assert values == {
        layouts.EXPOSURE_AUTO: 1,
        layouts.EXPOSURE_ABSOLUTE: 85,
        layouts.AUTOGAIN: 0,
        layouts.GAIN: 12,
    }


def test_what_is_not_given_is_the_cameras_own_control() -> None:
    driver = Driver(counts, controls=usb())
    source(driver, "?format=Y16")
    assert driver.controls[layouts.EXPOSURE_AUTO].value == 3
    assert driver.controls[layouts.AUTOGAIN].value == 1
    # Another kind of driver calls it fully automatic.
    driver.controls[layouts.EXPOSURE_AUTO] = ControlState(0, 3, 1, menu=(0, 1))
    source(driver, "?format=Y16")
    assert driver.controls[layouts.EXPOSURE_AUTO].value == 0


@pytest.mark.parametrize(
    ("option", "expected", "got"),
    [("exposure=500", "0.3 to 204.7 ms", "500 ms"), ("gain=101", "0 to 100", "101")],
)
def test_a_value_out_of_range_names_the_range(option: str, expected: str, got: str) -> None:
    driver = Driver(counts, controls=usb())
    with pytest.raises(RequestError, match="camera ir0 does not have that") as caught:
        source(driver, f"?format=Y16&{option}")
    assert (caught.value.expected, caught.value.got) == (expected, got)
    assert driver.opened == driver.closed == 1


@pytest.mark.parametrize("option", ["exposure=5", "gain=5"])
def test_a_camera_without_the_control_says_so(option: str) -> None:
    with pytest.raises(RequestError, match="that can be set") as caught:
        source(Driver(counts), f"?{option}")
    assert "v4l2-ctl -d /dev/video7 --list-ctrls" in str(caught.value)


@pytest.mark.parametrize("option", ["exposure=0", "gain=-1", "exposure=fast", "gain=nan"])
def test_a_value_that_is_none_is_refused(option: str) -> None:
    with pytest.raises(RequestError, match=r"bad (exposure|gain)"):
        from_uri("ir0", parse(f"v4l2://{PATH}?{option}"), epoch_ns=0)


@settings(deadline=None, max_examples=60)
@given(
    fourcc=st.sampled_from(["GREY", "Y16", "Y12", "BGR3", "RGB3"]),
    width=st.integers(1, 20),
    height=st.integers(1, 20),
    padding=st.integers(0, 7),
)
def test_what_is_not_converted_keeps_every_bit(fourcc: str, width: int, height: int, padding: int) -> None:
    channels = 3 if fourcc.endswith("3") else 1
    dtype = "<u2" if fourcc.startswith("Y") else np.uint8
    picture = np.random.default_rng(height).integers(0, 256, (height, width, channels)).astype(dtype)
    rows = np.ascontiguousarray(picture).reshape(height, -1).view(np.uint8)
    flat = np.pad(rows, ((0, 0), (0, padding))).reshape(-1)
    stride = rows.shape[1] + padding
    image = decoded(flat[: len(flat) - padding], fourcc, (width, height), stride)
    assert image is not None
    expected = picture[..., ::-1] if fourcc == "RGB3" else picture
    assert np.array_equal(image, expected if channels == 3 else expected[..., 0])
    assert not np.shares_memory(image, flat)
    assert decoded(flat[: stride * height - padding - 1], fourcc, (width, height), stride) is None


def yuv(fourcc: str, y: int, u: int, v: int, width: int, height: int, padding: int) -> bytes:
    """A picture of one colour, by the format's definition in the kernel's documentation."""
    pad = b"\xee" * padding
    if fourcc == "NV12":
        luma, chroma = bytes([y]) * width + pad, bytes([u, v]) * (width // 2) + pad
        return luma * height + chroma * (height // 2)
    quad = bytes([y, u, y, v]) if fourcc == "YUYV" else bytes([u, y, v, y])
    return (quad * (width // 2) + pad) * height


@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12"])
@pytest.mark.parametrize(
    ("components", "bgr"),
    # ITU-R BT.601: black, white, and the primary red at 100 %.
    [((16, 128, 128), (0, 0, 0)), ((235, 128, 128), (255, 255, 255)), ((81, 90, 240), (0, 0, 255))],
)
def test_colours_are_those_of_bt_601(
    fourcc: str, components: tuple[int, int, int], bgr: tuple[int, int, int]
) -> None:
    data = yuv(fourcc, *components, 8, 4, padding=4)
    image = decoded(np.frombuffer(data, np.uint8), fourcc, (8, 4), 8 * LAYOUTS[fourcc].sample_bytes + 4)
    assert image is not None
    assert image.shape == (4, 8, 3)
    assert np.abs(image.astype(int) - bgr).max() <= 2


def test_jpeg_is_decoded_and_damage_is_seen() -> None:
    picture = np.full((24, 32, 3), (10, 200, 60), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    driver = Driver(
        lambda number, *_: b"no picture" if number == 1 else jpeg, formats=("MJPG",), sizes=((32, 24),)
    )
    camera = source(driver, "?format=MJPG")
    frames = [read(camera), read(camera)]
    assert [frame.sequence for frame in frames] == [0, 2]
    assert np.abs(frames[0].image.astype(int) - picture).max() <= 4


def test_a_device_file_maps_and_waits(tmp_path: Path) -> None:
    # No camera, but the same calls of the kernel: a file can be mapped, a pipe waited for.
    file = tmp_path / "file"
    file.write_bytes(bytes(mmap.PAGESIZE) + b"picture" + bytes(mmap.PAGESIZE))
    device = DeviceFile(str(file))
    view = device.map(mmap.PAGESIZE, mmap.PAGESIZE)
    assert bytes(view[:7]) == b"picture"
    with pytest.raises(OSError, match="ioctl"):
        device.ioctl(layouts.QUERYCAP, layouts.Capability())
    device.close()
    device.close()
    assert bytes(view[:7]) == b"picture"
    with pytest.raises(OSError, match="descriptor"):
        device.wait(0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    device = DeviceFile(str(pipe))
    assert device.wait(0) is False
    writer = os.open(pipe, os.O_WRONLY)
    os.write(writer, b"x")
    assert device.wait(10) is True
    os.close(writer)
    device.close()


def test_a_file_is_no_camera(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    with pytest.raises(SourceError, match="gives no video"):
        from_uri("ir0", parse(f"v4l2://{tmp_path / 'video0'}"), epoch_ns=0)
