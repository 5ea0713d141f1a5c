"""What is left of a video after a crash, a power cut or a full disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from sink_results import fill, noisy, numbers, record, result

from tdfusion_edge.errors import SinkError
from tdfusion_edge.runtime.sinks.fragments import PAGE, FragmentFile
from tdfusion_edge.runtime.sinks.video import VideoSink

SUFFIXES = (".mp4", ".mkv")
HELPERS = str(Path(__file__).resolve().parents[2])


@pytest.mark.parametrize("scene", ["noisy", "numbered"])  # large fragments, and tiny ones
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_process_loses_at_most_a_second(tmp_path: Path, suffix: str, scene: str) -> None:
    path = tmp_path / f"out{suffix}"
    script = (
        f"import sys; sys.path.insert(0, {HELPERS!r})\n"
        "from pathlib import Path\n"
        "from sink_results import noisy, numbered, result\n"
        "from tdfusion_edge.runtime.sinks.video import VideoSink\n"
        f"sink = VideoSink(Path({str(path)!r}))\n"
        "for index in range(1000):\n"
        f"    sink.write(result(index, image={scene}(index)))\n"
        "    print(index, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        written = next(int(line) for line in process.stdout if int(line) >= 100)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    survived = numbers(path)
    assert survived == list(range(len(survived)))
    assert len(survived) >= written + 1 - 30


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_closed_video_is_on_the_disk(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"out{suffix}"
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    record(path, 10)
    assert synced[-1] == path.stat().st_size


@pytest.fixture(scope="module", params=SUFFIXES)
def recording(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[int, int]]:
    """A video of sixty fragments, few of which end where a page of the disk does."""
    path = tmp_path_factory.mktemp("recording") / f"out{request.param}"
    return path, record(path, 120, 400_000_000)


def boxes(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, first byte and end of the boxes of an MP4 file."""
    found, start = [], 0
    while start < len(data):
        end = start + int.from_bytes(data[start : start + 4], "big")
        found.append((data[start + 4 : start + 8], start, end))
        start = end
    return found


def check_cut(path: Path, data: bytes, cut: int, lost_blocks: bool, sizes: dict[int, int]) -> None:
    # After a power cut a file may have its full length, with zeros where no block was written.
    path.write_bytes(data[:cut] + (b"\0" * (len(data) - cut) if lost_blocks else b""))
    promised = max((count for size, count in sizes.items() if size <= cut), default=0)
    # A fragment that was cut itself may give some frames more; the last of those may be damaged.
    assert numbers(path)[:promised] == list(range(promised))


@pytest.mark.parametrize("lost_blocks", [False, True])
def test_a_torn_write_spoils_no_earlier_fragment(
    tmp_path: Path, recording: tuple[Path, dict[int, int]], lost_blocks: bool
) -> None:
    whole, sizes = recording
    data = whole.read_bytes()
    assert len(data) > 20 * PAGE
    for cut in range(PAGE, len(data), PAGE):
        check_cut(tmp_path / whole.name, data, cut, lost_blocks, sizes)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.02, 1.0), lost_blocks=st.booleans())
def test_a_cut_file_plays_up_to_its_last_whole_fragment(
    tmp_path: Path, recording: tuple[Path, dict[int, int]], share: float, lost_blocks: bool
) -> None:
    whole, sizes = recording
    data = whole.read_bytes()
    cut = int(len(data) * share)
    if whole.suffix == ".mp4":
        # libav refuses a file that ends within an index; the test above shows that none does.
        assume(not any(start < cut < end for name, start, end in boxes(data) if name in (b"moof", b"mfra")))
    check_cut(tmp_path / whole.name, data, cut, lost_blocks, sizes)


@given(
    lengths=st.lists(st.tuples(st.integers(8, 3000), st.integers(8, 9000)), max_size=12),
    pieces=st.lists(st.integers(1, 9000)),
)
@example(lengths=[(8, PAGE - 4 - 36), (20, 20)], pieces=[])  # four bytes are too few for a box
def test_fragments_are_padded_however_they_arrive(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[tuple[int, int]], pieces: list[int]
) -> None:
    path = tmp_path_factory.mktemp("boxes") / "out.mp4"
    sizes = [
        (b"ftyp", 28),
        *((k, n) for pair in lengths for k, n in zip((b"moof", b"mdat"), pair, strict=True)),
    ]
    # The content of a box looks like a box itself.
    stream = b"".join(n.to_bytes(4, "big") + k + (b"\0\0\0\x09moof" * n)[: n - 8] for k, n in sizes)
    file = FragmentFile(path)
    rest = stream
    for piece in (*pieces, len(stream)):
        assert file.write(rest[:piece]) == len(rest[:piece])
        rest = rest[piece:]
    file.close()
    data = path.read_bytes()
    found = boxes(data)
    assert all(start // PAGE == (end - 1) // PAGE for name, start, end in found if name == b"moof")
    assert b"".join(data[start:end] for name, start, end in found if name != b"free") == stream


def test_the_list_of_fragments_is_right(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    record(path, 120, 400_000_000)
    data = path.read_bytes()
    found = boxes(data)
    starts = [start for name, start, _ in found if name == b"moof"]
    assert any(name == b"free" for name, _, _ in found)  # some padding came between
    assert found[-1][0] == b"mfra"
    # ISO 14496-12, 8.8.10: after 32 bytes of headers, each entry is a time, an offset, three numbers.
    index = data[found[-1][1] :]
    entries = [index[32 + 19 * number :][:16] for number in range(len(starts))]
    assert [int.from_bytes(entry[8:], "big") for entry in entries] == starts
    assert int.from_bytes(entries[1][:8], "big") == 2 * 36_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_device_is_reported_with_its_cause(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.symlink_to("/dev/full")
    sink = VideoSink(path)
    with pytest.raises(SinkError, match=r"out\.m..: disk full after 0 frames") as caught:
        fill(sink)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    with pytest.raises(SinkError, match="failed before"):
        sink.write(result(100))
    sink.close()
    sink.abort()
    assert path.is_symlink()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("limit", [400, 2000, 60_000])  # within the header, a fragment, the third
def test_a_file_that_may_not_grow_ends_behind_its_last_whole_fragment(
    tmp_path: Path, suffix: str, limit: int
) -> None:
    path = tmp_path / f"out{suffix}"
    script = (
        f"import sys, resource; sys.path.insert(0, {HELPERS!r})\n"
        "from pathlib import Path\n"
        "from sink_results import noisy, result\n"
        "from tdfusion_edge.errors import SinkError\n"
        "from tdfusion_edge.runtime.sinks.video import VideoSink\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"sink = VideoSink(Path({str(path)!r}))\n"
        "try:\n"
        "    for index in range(1000):\n"
        "        sink.write(result(index, image=noisy(index)))\n"
        "except SinkError as error:\n"
        "    sink.close()\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "no larger file" in done.stdout
    assert done.stderr == ""
    if limit < 60_000:
        assert "after 0 frames" in done.stdout
        assert not path.exists()
    else:
        kept = len(numbers(path))
        assert kept >= 30
        assert f"after {kept} frames" in done.stdout
        assert numbers(path) == list(range(kept))
        assert path.stat().st_size < limit


def test_a_full_disk_leaves_a_video_that_plays(full_disk: Path) -> None:
    path = full_disk / "out.mp4"
    sink = VideoSink(path)
    with pytest.raises(SinkError, match="disk full after") as caught:
        fill(sink)
    kept = len(numbers(path))
    assert kept >= 30
    assert f"after {kept} frames" in str(caught.value)
    assert numbers(path) == list(range(kept))
    sink.close()


def test_a_disk_that_fills_at_the_end_is_reported_by_close(full_disk: Path) -> None:
    path = full_disk / "out.mp4"
    sink = VideoSink(path)
    for index in range(40):
        sink.write(result(index, image=noisy(index)))
    kept = len(numbers(path))
    with pytest.raises(OSError, match="No space"):
        (full_disk / "filler").write_bytes(bytes(200_000))
    with pytest.raises(SinkError, match=f"disk full after {kept} frames"):
        sink.close()
    sink.close()
    assert numbers(path) == list(range(kept))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
