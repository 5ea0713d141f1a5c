"""What is not whole is refused with a command that helps; what stands behind a whole file does not matter."""

from __future__ import annotations

import os
import re
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recordings import FRAGMENTED, MKV, MP4, TS, Kind, bars, number_in, record

from tdfusion_edge.errors import InputMissing, SourceError
from tdfusion_edge.integrity import video_bytes_missing
from tdfusion_edge.video.reader import VideoReader


def read(path: Path) -> list[int]:
    reader = VideoReader(path)
    try:
        return [number_in(frame.image) for frame in iter(reader.read, None)]
    finally:
        reader.close()


def noisy(count: int = 40) -> list[np.ndarray]:
    """Numbered pictures that take some bytes."""
    rng = np.random.default_rng(4)
    return [(bars(index) + rng.integers(-30, 31, bars(0).shape)).astype(np.uint8) for index in range(count)]


def damaged(path: Path, frame: int, length: int = 40) -> Path:
    """Overwrite the middle of the packet whose picture is ``frame``."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        packet = sorted(packets, key=lambda packet: packet.pts or 0)[frame]
        at = (packet.pos or 0) + packet.size // 2
    data = bytearray(path.read_bytes())
    data[at : at + length] = b"\xff" * length
    path.write_bytes(data)
    return path


KEYS = {"x264-params": "keyint=10:min-keyint=10:scenecut=0"}


@pytest.mark.parametrize("kind", [MP4, MKV, TS], ids=lambda kind: kind.suffix)
def test_the_command_for_a_damage_inside_helps(tmp_path: Path, kind: Kind) -> None:
    path = record(tmp_path / "vis", kind, pictures=noisy(), codec_options=KEYS)
    assert read(path) == list(range(40))
    damaged(path, 20, 300)
    with pytest.raises(SourceError) as refused:
        read(path)
    message = str(refused.value)
    assert re.search(r"got \d+ frames up to 0\.\d+ s", message)
    hint = re.search(rf"ffmpeg -i (\S+) -t (\d+\.\d+) -c copy whole\{kind.suffix};", message)
    assert hint is not None
    assert hint[1] == str(path)
    kept = read(copied(path, tmp_path / f"whole{kind.suffix}", float(hint[2])))
    assert kept == list(range(len(kept)))
    assert 16 <= len(kept) <= 20
    assert f"ffmpeg -i {path} -c:v ffv1 scarred.mkv" in message
    assert len(read(coded_anew(path, tmp_path / "scarred.mkv"))) == 40


def copied(path: Path, to: Path, seconds: float) -> Path:
    """What ``ffmpeg -t SECONDS -c copy`` keeps: packets that are decoded before that."""
    with av.open(str(path)) as old, av.open(str(to), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        start = (old.start_time or 0) / 1_000_000
        for packet in old.demux(video=0):
            if packet.size and (packet.dts is None or packet.dts * packet.time_base - start < seconds):
                packet.stream = stream
                new.mux(packet)
    return to


def coded_anew(path: Path, to: Path) -> Path:
    """What ``ffmpeg -c:v ffv1`` keeps: every picture that can be shown, the guessed ones too."""
    with av.open(str(path)) as old, av.open(str(to), "w") as new:
        source = old.streams.video[0]
        stream = new.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = source.time_base
        for frame in old.decode(source):
            new.mux(stream.encode(frame))
        new.mux(stream.encode(None))
    return to


def test_a_damaged_first_picture_leaves_only_the_second_way(tmp_path: Path) -> None:
    path = damaged(record(tmp_path / "vis", pictures=noisy()), 0)
    with pytest.raises(SourceError, match="is damaged: expected a whole video, got no frame") as refused:
        read(path)
    assert str(refused.value).endswith(f"damage included: ffmpeg -i {path} -c:v ffv1 scarred.mkv")


TRAILERS = {
    "text": b"APPENDED BY A CAMERA, the model of which does not matter here",
    "zeros": bytes(4),
    "many zeros": bytes(4096),
    "a byte": b"\x00",
    "a magic": bytes(range(200, 240)) + b"8db42d694ccc418790edff439fe026bf",
    "a box": (16).to_bytes(4, "big") + b"vend" + bytes(8),
    "a box that is cut": (400).to_bytes(4, "big") + b"vend" + bytes(8),
    "filling that is cut": (400).to_bytes(4, "big") + b"free" + bytes(8),
}


@pytest.mark.parametrize("kind", [MP4, FRAGMENTED, Kind(".mov")], ids=["mp4", "fragments", "mov"])
@pytest.mark.parametrize("trailer", TRAILERS)
def test_what_stands_behind_the_last_box_is_no_part_of_it(tmp_path: Path, kind: Kind, trailer: str) -> None:
    path = record(tmp_path / "vis", kind)
    path.write_bytes(path.read_bytes() + TRAILERS[trailer])
    assert video_bytes_missing(path) == 0
    assert read(path) == list(range(20))


@pytest.fixture(scope="module")
def fragments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = Kind(".mp4", options={"movflags": "frag_every_frame+empty_moov"})
    return record(tmp_path_factory.mktemp("fragments") / "vis", kind, count=12)


@settings(deadline=None, max_examples=60)
@given(share=st.floats(0.05, 1, exclude_max=True))
@example(share=0.2205)
def test_no_beginning_of_a_fragmented_file_passes_for_the_whole(fragments: Path, share: float) -> None:
    data = fragments.read_bytes()
    end = int(len(data) * share)
    cut = fragments.with_name("cut.mp4")
    cut.write_bytes(data[:end])
    boundary = end in boxes(data)
    # A cut between two boxes cannot be seen, and up to three bytes behind one are zeros as padding is.
    nearest = min(end - at for at in boxes(data) if at <= end)
    first = boxes(data)[2]  # behind "ftyp" and "moov"
    if first < end < first + 8:  # in the head of the first fragment: no picture yet, and no loss
        assert read(cut) == []
    elif nearest > 4:
        assert video_bytes_missing(cut) > 0
    elif boundary:
        assert video_bytes_missing(cut) == 0


def boxes(data: bytes) -> list[int]:
    """Where the boxes of a file begin."""
    found = [0]
    while found[-1] < len(data):
        found.append(found[-1] + int.from_bytes(data[found[-1] : found[-1] + 4], "big"))
    return found


def test_every_part_of_a_large_avi_counts(tmp_path: Path) -> None:
    path = record(tmp_path / "vis", Kind(".avi", "mjpeg", "yuvj420p"), ticks=30)
    data = path.read_bytes()
    extension = b"RIFF" + (1000).to_bytes(4, "little") + b"AVIX" + bytes(996)
    path.write_bytes(data + extension)
    assert video_bytes_missing(path) == 0
    path.write_bytes(data + extension[:-300])
    assert video_bytes_missing(path) == 300
    path.write_bytes(data + b"RIFX and so on, which is no part of it")
    assert video_bytes_missing(path) == 0


def test_a_file_that_is_not_there_or_no_video(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="does not exist"):
        VideoReader(tmp_path / "none.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputMissing, match="is no file"):
        VideoReader(tmp_path / "pipe.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(SourceError, match=r"text\.mp4 cannot be opened as a video"):
        VideoReader(tmp_path / "text.mp4")
