"""Whatever a recording is stored as, the reader shows what OpenCV's own reader shows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import FRAGMENTED, GREY16, MKV, MP4, QUARTERS, TS, Kind, hold, number_in, record

from tdfusion_edge.video.reader import VideoReader

KINDS = {
    "mp4": MP4,
    "fragmented mp4": FRAGMENTED,
    "mov": Kind(".mov"),
    "mkv": MKV,
    "ts": TS,
    "avi": Kind(".avi", "mjpeg", "yuvj420p"),
    "webm": Kind(".webm", "libvpx"),
    "grey": Kind(".mkv", "ffv1", "gray"),
    "16 bits": GREY16,
    "10 bits": Kind(".mp4", "libx264", "yuv420p10le"),
    "colours": Kind(".mkv", "ffv1", "bgr0"),
    "16 bits in three channels": Kind(".mov", "png", "rgb48be"),
}
TURNED = ("mp4", "fragmented mp4", "mov", "10 bits")
"""Where a display matrix can be put."""
SOUNDLESS = ("webm",)
RATES = {"avi": (RATE := 30,), "webm": (1000,)}
"""Ticks a second that a kind allows; any of those below for the others."""


def shown(path: Path) -> tuple[list[npt.NDArray[Any]], list[int]]:
    """Pictures and nanoseconds of the reader."""
    reader = VideoReader(path)
    frames = list(iter(reader.read, None))
    reader.close()
    return [frame.image for frame in frames], [frame.time_ns for frame in frames]


def shown_by_opencv(path: Path) -> tuple[list[npt.NDArray[Any]], list[float]]:
    """Pictures and milliseconds of ``cv2.VideoCapture``, which turns them, and counts from the first one."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    pictures, times = [], []
    while (read := capture.read())[0]:
        pictures.append(read[1])
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    return pictures, times


@st.composite
def recordings(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(KINDS)))
    ticks = draw(st.sampled_from(RATES.get(name, (90_000, 15_360, 1000))))
    shortest = 1 if ticks == RATE else ticks // 100
    gap = st.integers(shortest, shortest if ticks == RATE else ticks // 5)
    gaps = draw(st.lists(gap, min_size=3, max_size=12))
    first = draw(st.sampled_from((0, 0, ticks // 8))) if ticks != RATE else 0
    sound = draw(st.sampled_from((None, -1024, 0, 24_000))) if name not in SOUNDLESS else None
    return {
        "name": name,
        "ticks": ticks,
        "times": [first + sum(gaps[:index]) for index in range(len(gaps) + 1)],
        "sound_from": sound,
        "turn": draw(st.sampled_from(sorted(QUARTERS))) if name in TURNED else 0,
    }


@settings(deadline=None, max_examples=40)
@given(what=recordings())
def test_frames_times_and_orientation_are_those_that_opencv_shows(what: dict[str, Any]) -> None:
    kind, times = KINDS[what["name"]], what["times"]
    with tempfile.TemporaryDirectory() as folder:
        path = record(Path(folder) / "clip", kind, times, ticks=what["ticks"], sound_from=what["sound_from"])
        if what["turn"]:
            hold(path, QUARTERS[what["turn"]])
        pictures, times_ns = shown(path)
        others, times_ms = shown_by_opencv(path)
    # What was recorded is the truth; Matroska keeps milliseconds. With sound, two muxers move pictures.
    if what["sound_from"] is None or what["name"] not in ("avi", "fragmented mp4"):
        np.testing.assert_allclose(
            np.array(times_ns) / 1e9, (np.array(times) - times[0]) / what["ticks"], atol=0.00101
        )
    turns = what["turn"] // 90
    assert [number_in(np.rot90(picture, turns)) for picture in pictures] == list(range(len(times)))
    # And so does the other reader say.
    np.testing.assert_allclose(np.array(times_ns) / 1e6, times_ms, atol=0.01)
    assert len(pictures) == len(others)
    for picture, other in zip(pictures, others, strict=True):
        assert picture.shape[:2] == other.shape[:2]
        seen = picture / 257 if picture.dtype == np.uint16 else picture
        luma = seen if seen.ndim == 2 else seen[..., 0]
        assert np.abs(luma - other[..., 0].astype(float)).mean() < 2


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_is_read_in_order(name: str, tmp_path: Path) -> None:
    pictures, times_ns = shown(
        record(tmp_path / "clip", KINDS[name], ticks=RATES.get(name, (90_000,))[0], count=12)
    )
    assert [number_in(picture) for picture in pictures] == list(range(12))
    np.testing.assert_allclose(times_ns, np.arange(12) / 30 * 1e9, atol=1_000_000)
