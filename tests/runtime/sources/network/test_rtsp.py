"""A real RTSP server on loopback: frames and their times, every failure by its name, and coming back."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from recordings import bars, number_in

from benchmarks.live.rtsp_streams import FPS, Server, absent, encode, free_port, true_times_ns
from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.base import Source

pytestmark = pytest.mark.slow

MS = 1_000_000
COUNT = 256
SECRET = "pa/ss@QZX%#1"
ESCAPED = "pa%2Fss%40QZX%25%231"


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two streams whose pictures tell their number; visible is larger."""
    if (why := absent()) is not None:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("rtsp")
    pictures = {
        name: [np.kron(bars(number), np.ones((scale, scale), np.uint8)) for number in range(COUNT)]
        for name, scale in (("ir", 2), ("vis", 4))
    }
    return {name: encode(folder / f"{name}.au", shown) for name, shown in pictures.items()}


@pytest.fixture
def server(streams: dict[str, Path]) -> Iterator[Server]:
    with Server(streams) as server:
        yield server


def camera(address: str, role: rig.Role = "infrared", password_file: str | None = None) -> Source:
    """Opened; once more where it is silent: GStreamer's server now and then sends nothing to the first."""
    described = rig.Camera(uri=address, password_file=password_file)
    try:
        return open_source("cam", described, role, epoch_ns=0)
    except SourceError as error:
        if error.kind != "timeout":
            raise
    return open_source("cam", described, role, epoch_ns=0)


def number_of(frame: Frame) -> int:
    scale = frame.image.shape[1] // 80
    grey = frame.image if frame.image.ndim == 2 else frame.image[..., 1]
    return number_in(grey[::scale, ::scale])


def read(source: Source) -> Frame:
    frame = source.read()
    assert frame is not None
    return frame


def late_ms(frame: Frame) -> float:
    """By how much a frame's capture time is later than the moment at which it was shown."""
    behind = frame.time_ns - true_times_ns(number_of(frame), COUNT)
    return float(behind[np.abs(behind).argmin()] / MS)


def failure(address: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        camera(address).read()
    return caught.value


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_come_in_order_with_the_moment_of_their_capture(server: Server, transport: str) -> None:
    source = camera(server.address("ir") + f"#transport={transport}")
    frames = [read(source) for _ in range(3 * FPS)]
    source.close()
    numbers = [number_of(frame) for frame in frames]
    steps, counted = np.diff(numbers) % COUNT, np.diff([frame.sequence for frame in frames])
    # On a busy machine the server leaves out a picture, which nobody can count.
    assert (steps >= counted).all()
    assert np.mean(steps == counted) > 0.8
    assert (counted >= 1).all()
    assert frames[0].image.shape == (96, 160, 3)
    # Until the sender has told its clock, by its stamps and the arrival; then by its clock.
    assert np.median(np.abs([late_ms(frame) for frame in frames])) < 5
    assert max(abs(late_ms(frame)) for frame in frames[10:]) < 40


def test_two_streams_are_paired_by_the_moment_that_they_show(server: Server) -> None:
    cameras: dict[rig.Role, Source] = {
        "infrared": camera(server.address("ir")), "visible": camera(server.address("vis"), "visible")
    }  # fmt: skip
    stop, sync = threading.Event(), rig.Sync(tolerance_ms=16)
    with Streams(cameras, sync, mode="every", stop=stop, seconds=4) as both:
        pairs = [pair for pair in both if pair.infrared is not None and pair.visible is not None]
    assert len(pairs) > 2 * FPS
    assert all(abs(pair.skew_ns or 0) <= 16 * MS for pair in pairs)
    assert np.mean([one_moment(pair) for pair in pairs]) > 0.95


def one_moment(pair: Pair) -> bool:
    assert pair.infrared is not None
    assert pair.visible is not None
    return number_of(pair.infrared) == number_of(pair.visible)


def test_real_videos_are_paired(data: Path, tmp_path: Path) -> None:
    if (why := absent()) is not None:
        pytest.skip(why)
    name = "0111_1716.mp4"
    if not (data / "m3svd" / "ir" / name).is_file():
        pytest.skip("m3svd is absent")
    shown, means = {}, {}
    for sensor, role in (("ir", "infrared"), ("vi", "visible")):
        with av.open(str(data / "m3svd" / sensor / name)) as video:
            frames = video.decode(video=0)
            pictures = [next(frames).reformat(320, 240, "bgr24").to_ndarray() for _ in range(60)]
        encode(tmp_path / f"{sensor}.au", pictures)
        shown[sensor] = tmp_path / f"{sensor}.au"
        means[role] = np.array([picture[::8, ::8, 1].astype(np.float32) for picture in pictures])
    with Server(shown) as server:
        cameras: dict[rig.Role, Source] = {
            "infrared": camera(server.address("ir")), "visible": camera(server.address("vi"), "visible")
        }  # fmt: skip
        with Streams(cameras, rig.Sync(), mode="every", stop=threading.Event(), seconds=4) as both:
            pairs = [pair for pair in both if pair.infrared is not None and pair.visible is not None]
    apart = [
        nearest(pair.infrared, means["infrared"]) - nearest(pair.visible, means["visible"]) for pair in pairs
    ]
    assert len(pairs) > 2 * FPS
    assert all(abs(pair.skew_ns or 0) <= 20 * MS for pair in pairs)
    assert np.median(np.abs(apart)) <= 1


def nearest(frame: Frame | None, pictures: np.ndarray) -> int:
    """Number of the picture that a frame shows."""
    assert frame is not None
    assert frame.size == (320, 240)
    apart = np.abs(pictures - frame.image[::8, ::8, 1]).mean(axis=(1, 2))
    return int(apart.argmin())


def test_a_camera_that_is_restarted_twice_is_back_within_three_seconds_and_leaves_nothing(
    server: Server,
) -> None:
    source = camera(server.address("ir") + "#timeout_s=1")
    for _ in range(FPS):
        last = read(source)
    before = open_things()
    for _ in range(2):
        server.kill()
        kinds = []
        back = threading.Timer(1.0, server.start)
        back.start()
        came: Frame | None = None
        while came is None:
            try:
                frame = read(source)
                came = frame if kinds else None
            except SourceError as error:
                kinds.append(error.kind)
        seconds = time.monotonic()
        back.join()
        assert seconds - server.ready < 3
        assert kinds[0] == "ended"
        assert set(kinds[1:]) <= {"unreachable", "timeout"}
        assert came.sequence > last.sequence
        assert came.time_ns > last.time_ns
        for _ in range(FPS):
            last = read(source)
        assert abs(late_ms(last)) < 40
    deadline = time.monotonic() + 10
    while open_things() > before and time.monotonic() < deadline:
        read(source)
    assert open_things() <= before
    source.close()


def open_things() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    process = psutil.Process()
    return process.num_fds(), process.num_threads()


def test_a_wrong_password_a_wrong_path_and_a_right_one(streams: dict[str, Path]) -> None:
    with Server(streams, user=f"admin:{SECRET}") as server:
        refused = failure(server.address("ir", "admin:wrongQZX"))
        assert refused.kind == "unauthorised"
        assert failure(server.address("ir")).kind == "unauthorised"
        missing = failure(server.address("none", f"admin:{ESCAPED}"))
        assert missing.kind == "not-found"
        assert not any("QZX" in str(error) for error in (refused, missing))
        source = camera(server.address("ir", f"admin:{ESCAPED}"))
        assert read(source).size == (160, 96)
        source.close()


def test_a_password_from_a_file(streams: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    with Server(streams, user=f"admin:{SECRET}") as server:
        source = camera(server.address("ir", "admin"), password_file=str(file))
        assert read(source).size == (160, 96)
        source.close()


def test_a_server_that_stops_in_mid_stream_is_silent_in_time_and_comes_back(server: Server) -> None:
    source = camera(server.address("ir") + "#timeout_s=1.5")
    for _ in range(FPS):
        read(source)
    server.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(SourceError) as caught:
            list(iter(source.read, None))
        assert time.monotonic() - begun < 3
        assert caught.value.kind == "timeout"
    finally:
        server.process.send_signal(signal.SIGCONT)
    begun = time.monotonic()
    frame = until_a_frame(source)
    assert time.monotonic() - begun < 6
    assert abs(late_ms(frame)) < 60
    source.close()


def until_a_frame(source: Source) -> Frame:
    while True:
        try:
            return read(source)
        except SourceError:
            continue


def test_closing_ends_a_read_of_a_server_that_hangs(server: Server) -> None:
    source = camera(server.address("ir"))
    read(source)
    server.process.send_signal(signal.SIGSTOP)
    try:
        ended, newest = list[float](), [time.monotonic()]

        def until_the_end() -> None:
            while source.read() is not None:
                newest.append(time.monotonic())
            ended.append(time.monotonic())

        reader = threading.Thread(target=until_the_end)
        reader.start()
        while time.monotonic() - newest[-1] < 0.5:  # what was on its way is read
            time.sleep(0.05)
        begun = time.monotonic()
        source.close()
        reader.join(10)
        assert ended
        assert ended[0] - begun < 1
        assert time.monotonic() - begun < 3
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_no_credential_comes_out_of_a_run(streams: dict[str, Path], tmp_path: Path) -> None:
    with Server(streams, user=f"admin:{SECRET}") as server:
        bad, good = server.address("ir", "admin:wrongQZX"), server.address("vis", f"admin:{ESCAPED}")
        gone = f"rtsp://admin:{ESCAPED}@127.0.0.1:{free_port()}/ir"
        lines = tmp_path / "out.jsonl"
        command = [
            sys.executable,
            "-m",
            "tdfusion_edge",
            "run",
            "-v",
            "--seconds",
            "1",
            "--no-detect",
            "--json",
        ]
        for cameras, code in ((f"{bad},{good}", 0), (f"{gone},{bad}", 1)):
            asked = [*command, "-o", str(lines), "--camera", cameras]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
            told = done.stdout + done.stderr
            assert done.returncode == code
            assert "QZX" not in told
            assert "refuses user and password" in told
            assert ("cannot be reached" in told) == (gone in cameras)
    assert lines.read_text().count('"infrared missing"') > 3
    assert "QZX" not in lines.read_text()
