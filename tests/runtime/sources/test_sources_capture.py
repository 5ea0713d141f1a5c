from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import InputMissing, SourceError
from tdfusion_edge.runtime.sources.capture import OpenCVCapture
from tdfusion_edge.runtime.sources.pixel_format import FORMATS, PixelFormat, as_picture


def test_no_such_device_names_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "tdfusion_edge.runtime.sources.video4linux.device.device_nodes"
    monkeypatch.setattr(module, lambda: [(Path("/dev/video0"), "Boson"), (Path("/dev/video2"), "Webcam")])
    with pytest.raises(InputMissing, match=r"there is no camera .*expected one of /dev/video0, /dev/video2"):
        OpenCVCapture("/dev/no-such-video")
    monkeypatch.setattr(module, list)
    with pytest.raises(InputMissing, match="none is connected"):
        OpenCVCapture("/dev/no-such-video")


@pytest.mark.parametrize(
    ("number", "says", "fix"),
    [
        (errno.EACCES, "no permission to use", "usermod -aG video"),
        (errno.EBUSY, "is taken by another program", "fuser -v"),
        (errno.ENODEV, "cannot be opened", "plug it in again"),
    ],
)
def test_a_device_that_cannot_be_opened_says_why(
    monkeypatch: pytest.MonkeyPatch, number: int, says: str, fix: str
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr("tdfusion_edge.runtime.sources.video4linux.device.os.open", refuse)
    with pytest.raises(SourceError, match=says) as caught:
        OpenCVCapture("/dev/video0")
    assert fix in str(caught.value)


def test_a_file_that_is_no_camera_gives_no_video(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    with pytest.raises(SourceError, match="gives no video"):
        OpenCVCapture(str(tmp_path / "video0"))


@settings(deadline=None)
@given(
    width=st.integers(2, 40),
    height=st.integers(2, 40),
    padding=st.integers(0, 9),
    raw=st.sampled_from(["Y16", "GREY", "BGR3"]),
)
def test_a_flat_frame_gets_its_shape_back(width: int, height: int, padding: int, raw: str) -> None:
    pixel_format = FORMATS[raw]
    shape = (height, width, 3) if raw == "BGR3" else (height, width)
    dtype = np.dtype("<u2") if pixel_format.bits == 16 else np.dtype(np.uint8)
    picture = np.random.default_rng(width).integers(0, 2**pixel_format.bits, shape).astype(dtype)
    rows = picture.reshape(height, -1).view(np.uint8)
    flat = np.pad(rows, ((0, 0), (0, padding))).reshape(1, -1)
    shaped = as_picture(flat, (width, height), pixel_format)
    assert shaped is not None
    assert np.array_equal(shaped, picture)
    assert shaped.dtype == picture.dtype
    assert as_picture(flat[:, : rows.size - 1], (width, height), pixel_format) is None


def test_an_empty_frame_is_not_whole() -> None:
    assert as_picture(np.zeros((0, 0), np.uint8), (4, 4), PixelFormat(8, raw=False)) is None
