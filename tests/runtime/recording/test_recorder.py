"""A recording holds what the cameras gave, to bit and nanosecond, and plays as the rig that it was."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdfusion_edge.cli import main
from tdfusion_edge.errors import FrameLost, InputMissing, RequestError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.pairs.videos import nearest, read_videos
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.pairing.sync import Synchroniser
from tdfusion_edge.runtime.recording import recorder as recorders
from tdfusion_edge.runtime.recording import rig_file
from tdfusion_edge.runtime.recording.recorder import Recorder, opened
from tdfusion_edge.runtime.sinks.kinds import VisibleCodec
from tdfusion_edge.runtime.sinks.output import StreamFile
from tdfusion_edge.runtime.sinks.segments import Budget, Limits
from tdfusion_edge.runtime.sources.base import Source
from tdfusion_edge.runtime.sources.listing import cameras
from tdfusion_edge.runtime.sources.recording import RecordingSource
from tdfusion_edge.runtime.sources.video import VideoSource
from tdfusion_edge.runtime.temperatures.tables import Measure, Radiometry
from tdfusion_edge.runtime.tracking.tables import Tracks
from tdfusion_edge.runtime.zones.tables import Line, Zone
from tdfusion_edge.video.reader import VideoReader
from tdfusion_edge.video.times import FOLDERS, Piece, Stamp, Times, beside, pieces

SECOND = 10**9
MILLISECOND = 10**6
ROLES: tuple[rig.Role, rig.Role] = ("infrared", "visible")
CAMERAS: dict[rig.Role, rig.Camera] = {
    "infrared": rig.Camera(uri="sim://ir", range=rig.ThermalRange(mode="linear", low=7000, high=9000)),
    "visible": rig.Camera(uri="sim://vis", offset_ms=3),
}
SYNC = rig.Sync(tolerance_ms=15, policy="drop")
REGISTRATION = rig.Registration(
    homography=((1.0, 0.0, 2.5), (0.0, 1.0, -1e-7), (0.0, 0.0, 1.0)),
    infrared_size=(64, 48),
    visible_size=(80, 60),
)


def noise(seed: int, shape: tuple[int, ...], dtype: Any = np.uint8) -> Image:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def recorder(folder: Path, visible: VisibleCodec = "ffv1", **options: Any) -> Recorder:
    return opened(folder, CAMERAS, SYNC, REGISTRATION, visible=visible, **options)


def frames(
    times: Sequence[int], shape: tuple[int, ...] = (32, 40), dtype: Any = np.uint8, first: int = 0
) -> list[Frame]:
    return [Frame(noise(index, shape, dtype), at, first + index, "camera") for index, at in enumerate(times)]


def record(folder: Path, given: dict[rig.Role, list[Frame]], **options: Any) -> Recorder:
    """Record frames in the order of their time."""
    both = sorted(
        ((frame.time_ns, role, frame) for role in given for frame in given[role]), key=lambda one: one[0]
    )
    with recorder(folder, **options) as one:
        for _, role, frame in both:
            one.put(role, frame, camera=role, wait=True)
    return one


def played(source: Source) -> list[Frame]:
    with ExitStack() as stack:
        stack.callback(source.close)
        return list(iter(source.read, None))


def replayed(folder: Path) -> dict[rig.Role, list[Frame]]:
    """What the rig of a recording gives."""
    cameras = choose_cameras("ir0,vis0", folder / "rig.toml")
    with ExitStack() as stack:
        return {role: played(source) for role, source in cameras.open(stack).items()}


TIMES = [SECOND + step for step in (0, 33_333_333, 66_666_667, 100_000_001, 250_000_000)]


@pytest.mark.parametrize(
    ("role", "shape", "dtype"),
    [
        ("infrared", (48, 64), np.uint16),
        ("infrared", (31, 33), np.uint16),
        ("infrared", (32, 40), np.uint8),
        ("infrared", (32, 40, 3), np.uint8),
        ("visible", (33, 41, 3), np.uint8),
        ("visible", (32, 40), np.uint8),
    ],
)
def test_frames_come_back_to_the_bit(
    tmp_path: Path, role: rig.Role, shape: tuple[int, ...], dtype: Any
) -> None:
    given = frames(TIMES, shape, dtype, first=7)
    one = record(tmp_path / "rec", {role: given})
    assert one.counts() == {
        "recorded": {**dict.fromkeys(ROLES, 0), role: 5},
        "dropped": dict.fromkeys(ROLES, 0),
        "failures": 0,
        "removed": 0,
    }
    folder = tmp_path / "rec" / ("ir" if role == "infrared" else "vi")
    got = played(RecordingSource("x", folder, epoch_ns=0))
    assert all(
        np.array_equal(a.image, b.image) and a.image.dtype == b.image.dtype
        for a, b in zip(given, got, strict=True)
    )
    assert [frame.sequence for frame in got] == [7, 8, 9, 10, 11]
    shift = given[0].time_ns - got[0].time_ns
    assert [frame.time_ns + shift for frame in got] == TIMES
    # Each file alone too, as a player or `--camera FILE,FILE` has it.
    (path,) = pieces(folder)
    assert [frame.time_ns for frame in played(VideoSource("x", path, epoch_ns=0))] == [
        SECOND + time - TIMES[0] for time in TIMES
    ]


def test_visible_is_of_high_quality_by_default(tmp_path: Path) -> None:
    smooth = np.dstack([np.add.outer(np.arange(48), np.arange(64) + shift) for shift in (0, 60, 120)])
    given = [Frame(smooth.astype(np.uint8), at, index, "v") for index, at in enumerate(TIMES)]
    record(tmp_path / "rec", {"visible": given}, visible="h264")
    got = played(RecordingSource("x", tmp_path / "rec" / "vi", epoch_ns=0))
    for frame in got:
        error = frame.image.astype(float) - given[0].image
        assert 10 * np.log10(255**2 / (error**2).mean()) > 40


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recording_pairs_as_the_cameras_did(tmp_path: Path, data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    start = data.draw(st.integers(0, 10**15))
    given: dict[rig.Role, list[Frame]] = {}
    for role, rate in zip(
        ROLES, data.draw(st.sampled_from([(30, 30), (9, 30), (30, 9), (50, 30)])), strict=True
    ):
        count = 24 * rate // 30
        jitter = data.draw(
            st.lists(st.integers(-8 * MILLISECOND, 8 * MILLISECOND), min_size=count, max_size=count)
        )
        lost = data.draw(st.sets(st.integers(1, count), max_size=4))
        offset = data.draw(st.integers(0, 400 * MILLISECOND))
        times = [start + offset + round(n * SECOND / rate) + jitter[n] + SECOND for n in range(count)]
        given[role] = [
            Frame(np.full((32, 32), n, np.uint8), at, n, role) for n, at in enumerate(times) if n not in lost
        ]
    record(folder, given)
    live, again = paired(given), paired(replayed(folder))
    assert again == live
    shutil.rmtree(folder)


def paired(given: dict[rig.Role, list[Frame]]) -> list[tuple[int | None, int | None, int | None]]:
    """Sequence numbers and skew of the pairs that the rig's synchroniser makes of recorded frames."""
    sync = Synchroniser(SYNC, live=False)
    rest = {role: list(one) for role, one in given.items()}
    found: list[Pair] = []
    for role in ROLES:
        if not rest[role]:
            sync.finish(role)
    while any(rest.values()):
        for role in ROLES:
            while rest[role] and sync.room(role):
                sync.push(role, rest[role].pop(0), 0)
                if not rest[role]:
                    sync.finish(role)
        found += sync.ready(0)
    found += sync.ready(0)
    return [
        (one.infrared and one.infrared.sequence, one.visible and one.visible.sequence, one.skew_ns)
        for one in found
    ]


def test_the_rig_file_says_what_the_cameras_were(tmp_path: Path) -> None:
    record(tmp_path / "rec", {role: frames(TIMES) for role in ROLES})
    found = rig.read(tmp_path / "rec" / "rig.toml")
    assert found.sync == SYNC
    assert found.registration == REGISTRATION
    assert found.cameras["ir0"].range == CAMERAS["infrared"].range
    assert {camera.offset_ms for camera in found.cameras.values()} == {0}  # it is in the times
    moved = shutil.move(tmp_path / "rec", tmp_path / "elsewhere")
    assert len(replayed(Path(moved))["visible"]) == 5


def test_the_rig_file_has_the_places(tmp_path: Path) -> None:
    infrared = rig.Camera(uri="sim://ir", radiometry=Radiometry(scale=0.01, unit="celsius"))
    places = rig.Rig(
        cameras={},
        tracks=Tracks(lost_s=2.5),
        zones={
            'Tür "1".\x7f🚪': Zone(
                polygon=((0, 0), (9.5, 0), (9, 9)), classes=("car",), dwell_s=3, draw=False
            )
        },
        lines={"a b": Line(points=((0, 0.5), (1, 0.5)), units="fraction")},
        measure={"spot": Measure(spot=(3, 4), above=80)},
    )
    rig_file.write(tmp_path, {**CAMERAS, "infrared": infrared}, SYNC, None, places)
    found = rig.read(tmp_path / "rig.toml")
    assert found.cameras["ir0"].radiometry == infrared.radiometry
    assert (found.tracks, found.zones, found.lines, found.measure) == (
        places.tracks, places.zones, places.lines, places.measure,
    )  # fmt: skip


def test_a_camera_that_never_came_is_no_folder_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "rec", {"visible": frames(TIMES)})
    (tmp_path / "ir").mkdir()
    monkeypatch.chdir(tmp_path)
    assert rig.read(tmp_path / "rec" / "rig.toml").cameras["ir0"].uri == str(tmp_path / "rec" / "ir")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("way", ["as it was", "copied without empty folders", "by its folders"])
def test_a_recording_of_one_camera_shows_it_alone(
    tmp_path: Path, mean_bundle_path: Path, role: rig.Role, way: str
) -> None:
    with opened(tmp_path / "rec", CAMERAS, rig.Sync(), None, visible="ffv1") as one:
        for frame in frames(TIMES, (48, 64)):
            one.put(role, frame, wait=True)
    if way != "as it was":
        (tmp_path / "rec" / FOLDERS[rig.OTHER[role]]).rmdir()
    named = ["--rig", f"{tmp_path}/rec/rig.toml", "--camera", "ir0,vis0"]
    if way == "by its folders":
        named = ["--camera", f"{tmp_path}/rec/ir,{tmp_path}/rec/vi"]
    out = tmp_path / "out.jsonl"
    assert main(["run", *named, "--bundle", str(mean_bundle_path), "-o", str(out), "-q"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["degraded"] for line in lines] == [f"{rig.OTHER[role]} missing"] * len(TIMES)
    assert {tuple(line["size"]) for line in lines} == {(64, 48)}
    problems = {one.name: one.problem for one in cameras(rig.read(tmp_path / "rec" / "rig.toml"))}
    ours = rig_file.NAMES[rig.OTHER[role]]
    assert problems.pop(ours) == "no frame of it was recorded"
    assert problems[rig_file.NAMES[role]] is None


def test_a_recording_calibrates_and_fuse_says_how_it_plays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path / "rec", CAMERAS, rig.Sync(), None, visible="ffv1") as one:
        for role in ROLES:
            for frame in frames(TIMES, (48, 64)):
                one.put(role, frame, wait=True)
    folders = [f"{tmp_path}/rec/{name}" for name in FOLDERS.values()]
    points = [f"--point={x},{y},{x},{y}" for x, y in ((2, 2), (60, 3), (3, 44), (61, 45), (30, 20))]
    found = tmp_path / "found.toml"
    assert main(["calibrate", "--camera", ",".join(folders), *points, "-o", str(found), "-q"]) == 0
    made = rig.read(found).registration
    assert made is not None
    assert (made.infrared_size, made.visible_size) == ((64, 48), (64, 48))
    assert main(["fuse", *folders, "-o", str(tmp_path / "fused")]) == 2
    assert f"run --camera {','.join(folders)} -o fused.mp4" in capsys.readouterr().err


def test_a_folder_that_is_empty_beside_no_recording_is_none(tmp_path: Path) -> None:
    for name in FOLDERS.values():
        (tmp_path / name).mkdir()
    with pytest.raises(InputMissing, match="holds no images"), ExitStack() as stack:
        choose_cameras(f"{tmp_path}/ir,{tmp_path}/vi").open(stack)


def test_a_folder_with_a_rig_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text('[cameras.a]\nuri = "sim://ir"\n')
    with pytest.raises(RequestError, match="is no recording's"):
        recorder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rig.toml"]


# -- pieces ------------------------------------------------------------------------------------------


def test_pieces_are_whole_and_play_as_one(tmp_path: Path) -> None:
    times = [5 * SECOND + n * 100 * MILLISECOND for n in range(25)]
    given: dict[rig.Role, list[Frame]] = {
        "infrared": frames(times, dtype=np.uint16),
        "visible": frames([at + 7 * MILLISECOND for at in times], (32, 40, 3)),
    }
    wall = itertools.count(1_772_366_400 * SECOND, SECOND)
    describe = Recorder(tmp_path / "x", lambda folder: None)
    describe.close()
    one = Recorder(
        tmp_path / "rec",
        lambda folder: None,
        limits=Limits(seconds=1.0),
        visible="ffv1",
        wall_clock=lambda: next(wall),
    )
    for pair in zip(*given.values(), strict=True):
        for role, frame in zip(given, pair, strict=True):
            one.put(role, frame, wait=True)
    one.close()
    for role, name in (("infrared", "ir"), ("visible", "vi")):
        found = pieces(tmp_path / "rec" / name)
        assert len(found) == 3
        assert all(len(path.stem) == len("20260301T120000.250Z") for path in found)
        for path in found:
            reader = VideoReader(path)
            assert len(list(iter(reader.read, None))) == 10 or path == found[-1]
            reader.close()
        got = played(RecordingSource(name, tmp_path / "rec" / name, epoch_ns=0))
        assert [frame.sequence for frame in got] == list(range(25))
        assert all(np.array_equal(a.image, b.image) for a, b in zip(given[role], got, strict=True))
    assert [path.name for path in pieces(tmp_path / "rec" / "ir")] == [
        path.name for path in pieces(tmp_path / "rec" / "vi")
    ]


def test_a_picture_of_another_kind_begins_a_piece(tmp_path: Path) -> None:
    given = [*frames(TIMES[:2]), *frames(TIMES[2:4], (48, 64)), *frames(TIMES[4:], (48, 64), np.uint16)]
    record(tmp_path / "rec", {"infrared": given})
    got = played(RecordingSource("x", tmp_path / "rec" / "ir", epoch_ns=0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(given, got, strict=True))
    assert len(pieces(tmp_path / "rec" / "ir")) == 3


def test_the_budget_takes_whole_pieces_of_ours_and_the_oldest_ones(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    (folder / "ir").mkdir(parents=True)
    kept = folder / "ir" / "20200101T000000.000Z-kept.mkv"
    for path in (kept, folder / "ir" / "mine.mkv"):
        path.write_bytes(bytes(100_000))
    times = [n * 500 * MILLISECOND for n in range(1, 30)]
    one = record(
        folder, {role: frames(times, (64, 64)) for role in ROLES},
        limits=Limits(seconds=2.0), budget=Budget(150_000),
    )  # fmt: skip
    assert one.counts()["removed"]
    assert kept.stat().st_size == (folder / "ir" / "mine.mkv").stat().st_size == 100_000
    left = [[path.stem for path in pieces(folder / name)] for name in ("ir", "vi")]
    assert left[0] == left[1]
    assert 1 <= len(left[0]) < 8
    # What is left plays, from its first piece on.
    assert replayed(folder)["visible"][-1].sequence == 28


# -- disks -------------------------------------------------------------------------------------------


def test_a_disk_that_is_too_slow_costs_frames_that_are_counted_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, write = threading.Event(), StreamFile.write

    def slow(self: StreamFile, data: bytes | memoryview) -> int:
        stuck.wait()
        return write(self, data)

    monkeypatch.setattr(StreamFile, "write", slow)
    one = Recorder(tmp_path / "rec", lambda folder: None, waiting=10 * 32 * 40)
    for frame in frames([SECOND + n * 33_333_333 for n in range(40)]):
        one.put("infrared", frame)  # would never come back if it waited
    dropped = one.dropped["infrared"]
    assert dropped >= 28
    stuck.set()
    one.close()
    assert one.recorded["infrared"] + dropped == 40
    assert len(played(RecordingSource("x", tmp_path / "rec" / "ir", epoch_ns=0))) == 40 - dropped


def test_a_folder_that_is_gone_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with recorder(tmp_path / "rec", limits=Limits(seconds=0.1)) as one:
        for number, frame in enumerate(frames([SECOND, 2 * SECOND])):
            one.put("infrared", frame, wait=True)
            while one.recorded["infrared"] + one.dropped["infrared"] <= number:
                time.sleep(0.001)
            shutil.rmtree(tmp_path / "rec", ignore_errors=True)
    assert one.dropped["infrared"] == 1
    assert f"{tmp_path / 'rec'} cannot be written: No such file or directory;" in caplog.text


@pytest.mark.parametrize("fault", ["full", "removed"])
def test_a_disk_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    now = [0]
    folder = tmp_path / "rec"
    one = Recorder(folder, lambda folder: None, clock=lambda: now[0], wall_clock=lambda: SECOND + now[0])
    numbers = iter(range(1000))

    def put(count: int) -> None:
        for number in itertools.islice(numbers, count):
            before = one.recorded["infrared"] + one.dropped["infrared"]
            one.put("infrared", Frame(noise(number, (32, 40)), SECOND + number * 33_333_333, number, "ir"))
            while one.recorded["infrared"] + one.dropped["infrared"] == before:
                time.sleep(0.001)

    with caplog.at_level(logging.ERROR):
        put(5)
        if fault == "full":
            with monkeypatch.context() as patch:
                patch.setattr(StreamFile, "write", full)
                now[0] += SECOND
                put(10)
        else:
            shutil.rmtree(folder)
            now[0] += SECOND
            put(10)
        assert one.failures == 1
        assert one.dropped["infrared"] == 10
        folder.mkdir(exist_ok=True)
        now[0] += recorders.AGAIN_NS
        put(7)
        one.close()
    assert len(caplog.records) == 1
    assert ("disk full" if fault == "full" else "was removed") in caplog.text
    source = RecordingSource("x", folder / "ir", epoch_ns=0)
    assert played(source)[-1].sequence == 21


def full(self: StreamFile, data: bytes | memoryview) -> int:
    self.failed = True
    raise OSError(28, "No space left on device")


# -- reading -----------------------------------------------------------------------------------------


def test_a_damaged_piece_costs_its_end_alone(tmp_path: Path) -> None:
    times = [SECOND + n * 200 * MILLISECOND for n in range(20)]
    record(tmp_path / "rec", {"infrared": frames(times)}, limits=Limits(seconds=2.0))
    first, _ = pieces(tmp_path / "rec" / "ir")
    first.write_bytes(first.read_bytes()[:-5000])
    source = RecordingSource("x", tmp_path / "rec" / "ir", epoch_ns=0)
    got, lost = [], 0
    while True:
        try:
            frame = source.read()
        except FrameLost:
            lost += 1
            continue
        if frame is None:
            break
        got.append(frame.sequence)
    assert lost == 1
    assert got[-10:] == list(range(10, 20))
    assert got[:3] == [0, 1, 2]
    source.close()


def test_recordings_of_several_starts_lie_by_the_wall_clock(tmp_path: Path) -> None:
    for start, clock in ((10, 500), (100, 3)):
        walls = itertools.repeat((1000 + start) * SECOND)
        one = Recorder(
            tmp_path, lambda folder: None, visible="ffv1", clock=lambda: clock * SECOND,  # noqa: B023
            wall_clock=lambda: next(walls),  # noqa: B023
        )  # fmt: skip
        for frame in frames([clock * SECOND + n * 40 * MILLISECOND for n in range(3)], first=clock):
            one.put("visible", frame, wait=True)
        one.close()
    got = played(RecordingSource("x", tmp_path / "vi", epoch_ns=0))
    assert [frame.time_ns for frame in got] == [
        at * SECOND + n * 40 * MILLISECOND for at in (0, 90) for n in range(3)
    ]
    assert [frame.sequence for frame in got] == [500, 501, 502, 503, 504, 505], "nothing is missing between"


def test_frames_without_a_line_take_the_time_of_the_video(tmp_path: Path) -> None:
    piece = Piece(
        version=1,
        recording="r",
        role="infrared",
        camera="c",
        begun_ns=0,
        begun_utc_ns=0,
        origin_ns=5 * SECOND,
    )
    times = Times(piece, [Stamp(5 * SECOND + 100_400_000, 3), Stamp(5 * SECOND + 133_000_000, 4)])
    assert times.of(100 * MILLISECOND) == Stamp(5 * SECOND + 100_400_000, 3)
    assert times.of(133 * MILLISECOND) == Stamp(5 * SECOND + 133_000_000, 4)
    assert times.of(166 * MILLISECOND) == Stamp(5 * SECOND + 166_000_000, 5)


def test_lines_of_somebody_else_beside_a_video_are_no_times(tmp_path: Path) -> None:
    record(tmp_path / "rec", {"infrared": frames(TIMES)})
    (path,) = pieces(tmp_path / "rec" / "ir")
    beside(path).write_text('{"version":1,"index":0,"detections":[]}\n')
    got = played(VideoSource("x", path, epoch_ns=0))
    assert got[0].time_ns == 0
    assert pieces(path.parent) == []


# -- training ----------------------------------------------------------------------------------------


def test_a_training_reads_a_recording_by_time_and_in_8_bits(tmp_path: Path) -> None:
    counts = [np.full((32, 40), 7000, np.uint16) + (np.arange(40) * 10).astype(np.uint16) for _ in range(8)]
    infrared = [Frame(one, SECOND + n * 100 * MILLISECOND, n, "i") for n, one in enumerate(counts)]
    visible = frames([SECOND + n * 33 * MILLISECOND + 5 * MILLISECOND for n in range(24)])
    record(tmp_path / "rec", {"infrared": infrared, "visible": visible})
    (ir,), (vi,) = (pieces(tmp_path / "rec" / name) for name in ("ir", "vi"))
    pairs = read_videos("walk", ir, vi, 2)
    assert [pair.name for pair in pairs] == ["walk#0", "walk#6", "walk#12", "walk#18"]
    assert all(
        np.array_equal(pair.visible, visible[n].image) for pair, n in zip(pairs, (0, 6, 12, 18), strict=True)
    )
    level = pairs[0].infrared[0].astype(int)
    assert level[0] == 0
    assert level[-1] == 255
    assert (np.diff(level) >= 0).all()
    assert 5 <= np.diff(level)[5:-5].mean() <= 8


@given(
    left=st.lists(st.integers(0, 2000), unique=True).map(sorted),
    right=st.lists(st.integers(0, 2000), unique=True).map(sorted),
    tolerance=st.integers(0, 60),
)
def test_pairs_by_time_are_each_other_s_nearest(left: list[int], right: list[int], tolerance: int) -> None:
    found = nearest(left, right, tolerance)
    for index, at in enumerate(left):
        # Ties go to the earlier one, on both sides.
        mine = min(range(len(right)), key=lambda n: (abs(right[n] - at), n), default=None)
        if mine is None:
            continue
        back = min(range(len(left)), key=lambda n: (abs(left[n] - right[mine]), n))
        assert ((index, mine) in found) == (back == index and abs(right[mine] - at) <= tolerance)
    assert len({one for one, _ in found}) == len({other for _, other in found}) == len(found)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [one for one in threading.enumerate() if one.name == "record"]


def test_lines_are_json(tmp_path: Path) -> None:
    record(tmp_path / "rec", {"infrared": frames(TIMES)})
    (path,) = pieces(tmp_path / "rec" / "ir")
    head, *lines = [json.loads(line) for line in beside(path).read_text().splitlines()]
    assert head["role"] == head["camera"] == "infrared"
    assert [line["time_ns"] for line in lines] == TIMES
