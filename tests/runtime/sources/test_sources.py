from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import InputMissing, RequestError, SourceError, TdfusionError
from tdfusion_edge.runtime import sources
from tdfusion_edge.runtime.rig import Camera
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.base import Source

EPOCH = 3_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of 16 bits, then nothing."""
    path = tmp_path / "ir"
    path.mkdir()
    for number in range(3):
        cv2.imwrite(str(path / f"{number}.png"), np.full((4, 6), 256 * number, np.uint16))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "vis.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 6, 4, "gray"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((4, 6), number, np.uint8), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def times(source: Source) -> list[int]:
    taken = [frame.time_ns for frame in iter(source.read, None)]
    source.close()
    return taken


def test_a_folder_plays_at_the_rate_of_the_rig_with_its_offset(folder: Path) -> None:
    camera = Camera(uri=str(folder), fps=8, offset_ms=-12.5)
    source = open_source("ir0", camera, "infrared", epoch_ns=EPOCH)
    assert (source.name, source.live) == ("ir0", False)
    assert times(source) == [EPOCH - 12_500_000 + index * 125_000_000 for index in range(3)]


def test_an_address_may_name_the_rate_itself(folder: Path) -> None:
    source = open_source("ir0", Camera(uri=f"file://{folder}?fps=8"), "infrared", epoch_ns=0)
    assert times(source) == [0, 125_000_000, 250_000_000]
    with pytest.raises(RequestError, match="fps is given twice"):
        open_source("ir0", Camera(uri=f"file://{folder}?fps=8", fps=9), "infrared", epoch_ns=0)


def test_a_rate_keeps_its_digits(folder: Path) -> None:
    source = open_source("ir0", Camera(uri=str(folder), fps=30000 / 1001), "infrared", epoch_ns=0)
    assert times(source) == [0, 33_366_667, 66_733_333]


def test_a_video_plays_at_its_own_times(video: Path) -> None:
    for camera in (Camera(uri=str(video)), Camera(uri=f"file://{video}", offset_ms=1)):
        source = open_source("vis0", camera, "visible", epoch_ns=EPOCH)
        assert source.live is False
        begin = EPOCH + round(camera.offset_ms * 1e6)
        assert times(source) == [begin, begin + 100_000_000, begin + 200_000_000]
    with pytest.raises(RequestError, match="brings its own times and size"):
        open_source("vis0", Camera(uri=str(video), fps=30), "visible", epoch_ns=0)


def test_a_single_picture_is_a_source(folder: Path) -> None:
    source = open_source("ir0", Camera(uri=str(folder / "1.png")), "infrared", epoch_ns=EPOCH)
    assert times(source) == [EPOCH]


def test_sixteen_bits_are_no_visible_picture(folder: Path) -> None:
    source = open_source("vis0", Camera(uri=str(folder)), "visible", epoch_ns=0)
    with pytest.raises(RequestError, match="vis0 gives 16-bit frames") as caught:
        source.read()
    assert "role" in str(caught.value)


def test_a_size_is_asked_of_cameras_only(folder: Path) -> None:
    with pytest.raises(RequestError, match="unknown option 'size'"):
        open_source("ir0", Camera(uri=str(folder), size=(640, 512)), "infrared", epoch_ns=0)


def test_size_and_rate_of_the_rig_reach_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def from_uri(name: str, uri: Any, *, epoch_ns: int, clock: Any) -> None:
        asked.update(name=name, size=uri.size(), fps=uri.fps(), format=uri.query["format"], clock=clock())
        raise SourceError("as far as that")

    monkeypatch.setattr("tdfusion_edge.runtime.sources.v4l2.from_uri", from_uri)
    camera = Camera(uri="v4l2:///dev/video0?format=Y16", size=(640, 512), fps=8.6)
    with pytest.raises(SourceError, match="as far as that"):
        open_source("ir0", camera, "infrared", epoch_ns=0, clock=lambda: 17)
    assert asked == {"name": "ir0", "size": (640, 512), "fps": 8.6, "format": "Y16", "clock": 17}


def test_a_simulated_camera_takes_size_rate_and_offset_of_the_rig() -> None:
    camera = Camera(uri="sim://vis?realtime=0&frames=3&seed=2", size=(320, 240), fps=8, offset_ms=5)
    source = open_source("vis0", camera, "visible", epoch_ns=EPOCH)
    frames = list(iter(source.read, None))
    assert [frame.size for frame in frames] == [(320, 240)] * 3
    assert [frame.time_ns for frame in frames] == [EPOCH + 5_000_000 + n * 125_000_000 for n in range(3)]
    with pytest.raises(RequestError, match="unknown key 'sed'"):
        open_source("vis0", Camera(uri="sim://vis?sed=2"), "visible", epoch_ns=0)


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    for uri in (str(tmp_path / "none"), "/dev/no-such-video"):
        with pytest.raises(InputMissing):
            open_source("ir0", Camera(uri=uri), "infrared", epoch_ns=0)


@pytest.mark.parametrize("secret", ["secret", "se@cret", "se/cret", "se%40cret"])
def test_no_credentials_in_names_and_errors(folder: Path, secret: str) -> None:
    address = f"rtsp://admin:{secret}@cam/1"
    source = open_source(address, Camera(uri=str(folder)), "infrared", epoch_ns=0)
    frame = source.read()
    assert frame is not None
    assert frame.source == source.name == "rtsp://***@cam/1"
    with pytest.raises(TdfusionError) as caught:
        open_source(address, Camera(uri=address), "infrared", epoch_ns=0)
    assert "cret" not in str(caught.value)
    assert "admin" not in str(caught.value)


def test_every_opener_exists() -> None:
    for target in sources.OPENERS.values():
        module, function = target.split(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_the_package_imports_no_decoder_until_a_source_is_opened() -> None:
    probe = (
        "import sys, tdfusion_edge.runtime.sources; sys.exit(bool({'cv2', 'av', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_a_user_that_is_not_there_is_missing() -> None:
    for uri in ("~no-such-user-here/ir", "file://~no-such-user-here/ir.mkv"):
        with pytest.raises(InputMissing, match="~no-such-user-here"):
            open_source("ir0", Camera(uri=uri), "infrared", epoch_ns=0)
