"""The line file and the picture folder."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sink_results import number_of, numbered, result

from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.folder import FolderSink, write_picture
from tdfusion_edge.runtime.sinks.jsonl import JsonlSink, Record
from tdfusion_edge.runtime.sinks.output import SYNC_INTERVAL_NS, StreamFile

HELPERS = str(Path(__file__).resolve().parents[2])
PEOPLE = Detections(
    np.array([[1.234, 2, 30.5, 40], [0, 0, 5, 5]], np.float32),
    np.array([0.98761, 0.5], np.float32),
    np.array([1, 0], np.int64),
    ("car", "Fußgänger"),
)


# -- JSONL -------------------------------------------------------------------------------------------


def test_a_line_is_the_documented_record(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    frame = np.zeros((2, 2), np.uint8)
    start = 10**18
    pair = Pair(Frame(frame, start + 4_500_000, 17, "ir0"), Frame(frame, start, 21, "vis0"), held=True)
    sink.write(Result(5, pair, numbered(5), {"boxes": PEOPLE}, degraded="held"))
    alone = Pair(Frame(frame, start + 33_333_333, 18, "ir0"), None)
    sink.write(Result(7, alone, numbered(7), degraded="visible missing"))
    sink.close()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {
        "version": 1,
        "index": 5,
        "time_ns": start,
        "utc": None,
        "t": 0.0,
        "skew_ms": 4.5,
        "infrared_age_ms": -4.5,
        "infrared_sequence": 17,
        "visible_sequence": 21,
        "size": [80, 32],
        "degraded": "held",
        "detections": [
            {"box": [1.23, 2.0, 30.5, 40.0], "score": 0.9876, "class": "Fußgänger", "track": None},
            {"box": [0.0, 0.0, 5.0, 5.0], "score": 0.5, "class": "car", "track": None},
        ],
        "class_shares": None,
        "events": [],
        "temperatures": None,
    }
    assert lines[1]["t"] == 0.033333333
    assert (lines[1]["skew_ms"], lines[1]["visible_sequence"]) == (None, None)
    assert set(lines[0]) == {field.name for field in msgspec.structs.fields(Record)}


def test_lines_read_back_as_records(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    for index in range(20):
        sink.write(result(index, detections=PEOPLE))
    sink.close()
    records = [msgspec.json.decode(line, type=Record) for line in path.read_bytes().splitlines()]
    assert [record.index for record in records] == list(range(20))


def test_each_line_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    for index in range(5):
        sink.write(result(index))
        lines = path.read_bytes().split(b"\n")
        assert lines[-1] == b""
        assert [json.loads(line)["index"] for line in lines[:-1]] == list(range(index + 1))
    sink.abort()
    sink.abort()
    with pytest.raises(ValueError, match="closed output"):
        sink.write(result(5))


def test_a_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    script = (
        f"import sys; sys.path.insert(0, {HELPERS!r})\n"
        "from pathlib import Path\n"
        "from sink_results import result\n"
        "from tdfusion_edge.runtime.sinks.jsonl import JsonlSink\n"
        f"sink = JsonlSink(Path({str(path)!r}))\n"
        "for index in range(10_000):\n"
        "    sink.write(result(index))\n"
        "    print(index, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        written = next(int(line) for line in process.stdout if int(line) >= 50)
        process.send_signal(signal.SIGKILL)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert len(lines) > written


def test_an_existing_line_file_stays_until_the_first_result(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"precious\n" * 100)
    JsonlSink(path).close()
    assert path.read_bytes() == b"precious\n" * 100
    sink = JsonlSink(path)
    sink.write(result(0))
    sink.close()
    assert [json.loads(line)["index"] for line in path.read_bytes().splitlines()] == [0]


def test_requests_for_line_files_that_cannot_be_met(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"expected \.jsonl"):
        JsonlSink(tmp_path / "out.json")
    with pytest.raises(RequestError, match="mkdir -p"):
        JsonlSink(tmp_path / "absent" / "out.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_lines_for_a_full_device(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.symlink_to("/dev/full")
    sink = JsonlSink(path)
    with pytest.raises(SinkError, match="disk full after 0 lines") as caught:
        sink.write(result(0))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    with pytest.raises(SinkError, match="failed before"):
        sink.write(result(1))
    sink.close()


LIMITED = (
    f"import sys, resource; sys.path.insert(0, {HELPERS!r})\n"
    "from pathlib import Path\n"
    "from sink_results import noisy, result\n"
    "from tdfusion_edge.errors import SinkError\n"
    "from tdfusion_edge.runtime.sinks import open_sink\n"
    "limit = int(sys.argv[2])\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
    "sink = open_sink(sys.argv[1])\n"
    "try:\n"
    "    for index in range(1000):\n"
    "        sink.write(result(index, image=noisy(index, (80 * (1 + index // 3), 32))))\n"
    "except SinkError as error:\n"
    "    sink.close()\n"
    "    print(error)\n"
)


def run_limited(target: str, limit: int) -> str:
    """Write to ``target`` until a file would grow over ``limit`` bytes; what the error says."""
    command = [sys.executable, "-c", LIMITED, target, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_lines_that_may_not_grow_end_in_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    message = run_limited(str(path), 1000)
    lines = path.read_bytes().splitlines(keepends=True)
    assert 0 < path.stat().st_size <= 1000
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert f"after {len(lines)} lines" in message


@given(pace=st.lists(st.integers(0, SYNC_INTERVAL_NS), min_size=1, max_size=30))
def test_no_commit_is_further_from_a_sync_than_the_interval(
    tmp_path_factory: pytest.TempPathFactory, pace: list[int]
) -> None:
    now = [0]
    synced: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: synced.append(now[0]))
        file = StreamFile(tmp_path_factory.mktemp("sync") / "f", clock=lambda: now[0])
        for step in pace:
            now[0] += step
            file.write(b"x")
            assert file.commit()
            assert now[0] - max(synced, default=0) < SYNC_INTERVAL_NS
        file.close()
    assert len(synced) <= sum(pace) // SYNC_INTERVAL_NS


# -- folder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [False, True])
def test_pictures_come_back_to_the_last_bit(tmp_path: Path, colour: bool) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (33, 47, 3) if colour else (33, 47), np.uint8) for _ in range(3)]
    sink = FolderSink(tmp_path / "out")
    for index, picture in enumerate(pictures):
        sink.write(result(index, image=picture))
    sink.close()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png"]
    for name, picture in zip(names, pictures, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out" / name), cv2.IMREAD_UNCHANGED), picture)


def test_the_number_is_the_result_s_own(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "out")
    for index in (3, 900):  # a live run drops some
        sink.write(result(index))
    for index in (3, 900):
        picture = cv2.imread(str(tmp_path / "out" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert number_of(picture) == index


def test_stems_name_the_pictures_and_no_picture_replaces_another(tmp_path: Path) -> None:
    names = {0: "street.a", 1: "street.b", 2: "street.a", 3: "../escape", 4: "", 5: ".."}
    sink = FolderSink(tmp_path / "out", stem=lambda r: names[r.index])
    sink.write(result(0))
    sink.write(result(1))
    with pytest.raises(SinkError, match=r"second result is called 'street\.a'"):
        sink.write(result(2))
    for index in (3, 4, 5):
        with pytest.raises(SinkError, match="is no name for a file"):
            sink.write(result(index))
    sink.close()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png")) == [
        "out/street.a.png",
        "out/street.b.png",
    ]
    assert number_of(cv2.imread(str(tmp_path / "out" / "street.a.png"), cv2.IMREAD_UNCHANGED)) == 0


def test_pictures_that_were_there_are_replaced_one_by_one(tmp_path: Path) -> None:
    for index in range(3):
        write_picture(tmp_path / f"{index:06d}.png", numbered(500))
    sink = FolderSink(tmp_path)
    sink.write(result(1))
    found = [number_of(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in sorted(tmp_path.iterdir())]
    assert found == [500, 1, 500]


def test_the_folder_is_made_at_the_first_result(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "out")
    sink.abort()
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RequestError, match="is a file"):
        FolderSink(tmp_path / "file")
    with pytest.raises(RequestError, match="mkdir -p"):
        FolderSink(tmp_path / "absent" / "out")


def test_no_half_picture_stays_where_the_disk_refuses(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    message = run_limited(f"{folder}/", 6000)  # the pictures grow until one does not fit
    found = sorted(folder.iterdir())
    assert found
    assert [path.name for path in found] == [f"{index:06d}.png" for index in range(len(found))]
    assert all(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None for path in found)
    assert f"after {len(found)} pictures" in message


def test_a_folder_that_is_gone_does_not_come_back(tmp_path: Path) -> None:
    """A card that was pulled out leaves a place on another disk, which must not be filled."""
    sink = FolderSink(tmp_path / "out")
    sink.write(result(0))
    (tmp_path / "out" / "000000.png").unlink()
    (tmp_path / "out").rmdir()
    with pytest.raises(SinkError, match="after 1 pictures"):
        sink.write(result(1))
    assert not (tmp_path / "out").exists()


def test_a_picture_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    before: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda number: before.append((os.fstat(number).st_size, path.exists())))
    size = write_picture(path, numbered(1))
    assert before == [(size, False)]


def test_a_failed_picture_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    write_picture(path, numbered(1))
    with pytest.raises(SinkError, match="no picture"):
        write_picture(path, np.zeros((4, 4, 7), np.uint8))
    with pytest.raises(RequestError, match=r"expected \.png"):
        write_picture(tmp_path / "picture.gif", numbered(1))
    assert list(tmp_path.iterdir()) == [path]
    assert number_of(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) == 1


def test_single_pictures_may_be_jpeg_or_16_bits(tmp_path: Path) -> None:
    assert write_picture(tmp_path / "a.JPG", numbered(5)) == (tmp_path / "a.JPG").stat().st_size
    assert number_of(cv2.imread(str(tmp_path / "a.JPG"), cv2.IMREAD_UNCHANGED)) == 5
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    write_picture(tmp_path / "deep.png", deep)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "deep.png"), cv2.IMREAD_UNCHANGED), deep)
