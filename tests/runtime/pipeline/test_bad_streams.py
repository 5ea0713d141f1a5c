"""What a source may do wrong while it runs: a counted degradation or a clear error, never a wrong picture."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge import bundle
from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.pairing import streams
from tdfusion_edge.runtime.pairing.apart import Apart
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.pairing.sync import Synchroniser
from tdfusion_edge.runtime.pipeline.loop import Plan, results

MS = 1_000_000
FRAME_MS = 33
HOUR_MS = 3_600_000


# --- pictures ------------------------------------------------------------------------------------


def laid_out(image: np.ndarray[Any, Any], how: str) -> np.ndarray[Any, Any]:
    """The same picture, otherwise in memory."""
    if how == "every second column":
        return np.repeat(image, 2, axis=1)[:, ::2]
    if how == "upside down":
        return np.ascontiguousarray(image[::-1])[::-1]
    if how == "mirrored":
        return np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    if how == "columns first":
        return np.asfortranarray(image)
    if how == "read only":
        image = image.copy()
        image.setflags(write=False)
        return image
    if image.ndim == 2:
        return image
    if how == "channels backwards":
        return np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    return np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)


LAYOUTS = (
    "every second column",
    "upside down",
    "mirrored",
    "columns first",
    "read only",
    "channels backwards",
    "planes",
)


@pytest.fixture(scope="module")
def fuser(mean_bundle: bundle.Bundle) -> Iterator[Fuser]:
    with Fuser(mean_bundle, threads=1) as opened:
        yield opened


@settings(max_examples=40)
@given(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.booleans(), st.booleans(), st.integers(0, 99))
def test_how_a_picture_lies_in_memory_changes_nothing(
    fuser: Fuser, first: str, second: str, deep: bool, colour: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    infrared = rng.integers(0, 256, (40, 56), np.uint8)
    if deep:
        infrared = 7000 + 5 * infrared.astype(np.uint16)
    visible = rng.integers(0, 256, (48, 64, 3) if colour else (48, 64), np.uint8)
    expected = fuser(infrared, visible).picture
    assert np.array_equal(fuser(laid_out(infrared, first), laid_out(visible, second)).picture, expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ma.masked_array(np.zeros((48, 64), np.uint8), False), "expected a NumPy array, got MaskedArray"),
        (np.zeros((48, 64), ">u2"), r"got >u2 \(48, 64\)\n.*image.astype\(np.uint16\)"),
        (np.full((48, 64), np.nan), "got float64"),
    ],
)
def test_what_is_no_picture_is_refused(fuser: Fuser, image: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        fuser(image, np.zeros((48, 64), np.uint8))


# --- times ---------------------------------------------------------------------------------------

NO_TIMES = (math.nan, math.inf, 1.5, np.float64(3), "3", 1 << 63, -(1 << 63) - 1)


@pytest.mark.parametrize("time", NO_TIMES, ids=repr)
def test_a_time_that_is_none_is_refused(fuser: Fuser, time: Any) -> None:
    image = np.zeros((48, 64), np.uint8)
    with pytest.raises(SourceError, match="time_ns: expected a whole number of 64 bits, got"):
        fuser(image, image, time_ns=time)
    for wrong in ({"time_ns": time, "sequence": 0}, {"time_ns": 0, "sequence": time}):
        with pytest.raises(SourceError, match=r"cam: .* of a frame: expected a whole number"):
            Frame(image, source="cam", **wrong)


def test_numpy_s_whole_numbers_are_whole_numbers() -> None:
    frame = Frame(np.zeros((4, 4), np.uint8), np.int64(5), np.uint16(7), "cam")  # type: ignore[arg-type]
    assert json.dumps([frame.time_ns, frame.sequence]) == "[5, 7]"


class Cam:
    """A live camera that plays a list of times in nanoseconds; what is no time fails as a read does."""

    live = True

    def __init__(self, name: str, times: list[Any]) -> None:
        self.name, self._times = name, list(enumerate(times))

    def read(self) -> Frame | None:
        if not self._times:
            return None
        number, time = self._times.pop(0)
        return Frame(np.full((48, 64), number, np.uint8), time, number, self.name)

    def close(self) -> None:
        self._times = []


class Recording(Cam):
    """The same from a file."""

    live = False


def test_a_live_camera_without_times_is_counted_as_failing(mean_bundle: bundle.Bundle) -> None:
    times = [number * FRAME_MS * MS for number in range(6)]
    odd: list[Any] = list(times)
    odd[2] = odd[3] = math.nan
    with Fuser(mean_bundle, threads=1) as opened:
        sources: dict[rig.Role, Any] = {"infrared": Cam("ir", odd), "visible": Cam("vis", list(times))}
        plan = Plan(sources, rig.Sync(policy="drop"), opened, "every", clock=lambda: 200 * MS)
        found = [result.pair.time_ns for result in results(plan)]
    assert found == [times[number] for number in (0, 1, 4, 5)]


def live(jumper: rig.Role, jumps: dict[int, int], policy: rig.Policy = "single") -> tuple[list[int], Any]:
    """Numbers of the frames that a pair was made of, and the counts of two cameras of 30 frames a second.

    Args:
        jumper: Whose times are wrong.
        jumps: From which frame on they are wrong by how many milliseconds.
        policy: Of the synchroniser.
    """
    paired = Synchroniser(rig.Sync(policy=policy), live=True)
    joined, wrong = [], 0
    for number in range(120):
        now = number * FRAME_MS * MS
        wrong = jumps.get(number, wrong)
        for role in ("infrared", "visible"):
            time = now - 5 * MS + (wrong * MS if role == jumper else 0)
            paired.push(role, Frame(np.zeros((2, 2), np.uint8), time, number, role), now)  # type: ignore[arg-type]
        for step in range(0, FRAME_MS, 5):
            for pair in paired.ready(now + step * MS):
                if pair.infrared is not None and pair.visible is not None:
                    assert pair.infrared.sequence == pair.visible.sequence
                    joined.append(pair.visible.sequence)
    paired.close()
    return joined, paired.counts


@pytest.mark.parametrize("jumper", ["infrared", "visible"])
@pytest.mark.parametrize("jump", [HOUR_MS, 60_000, -200, -HOUR_MS])
def test_one_wrong_time_costs_a_live_rig_the_silent_time_at_most(jumper: rig.Role, jump: int) -> None:
    joined, counts = live(jumper, {50: jump, 51: 0})
    assert joined[:50] == list(range(50))
    assert joined[-30:] == list(range(90, 120)), "18 frames are 600 ms"
    for role, count in counts.items():
        fates = {reason: n for reason, n in count.items() if reason != "missing"}
        assert sum(fates.values()) == 120, role
    assert counts[jumper]["late"] + counts[jumper]["unmatched"] >= 1


def told(visible: Callable[[int], bool], infrared_ms: int, *, shown: Callable[[int], bool]) -> list[str]:
    """What is said within 20 s of two cameras whose times are so far apart."""
    apart, said = Apart(), list[str]()
    image = np.zeros((2, 2), np.uint8)
    for number in range(600):
        now = number * FRAME_MS * MS
        apart.came("infrared", Frame(image, now + infrared_ms * MS, number, "ir"), now)
        if visible(number):
            apart.came("visible", Frame(image, now, number, "vis"), now)
        line = apart.told(now, shown=shown(number))
        said += [] if line is None else [f"{now // (1000 * MS)} s: {line}"]
    return said


def test_live_cameras_whose_clocks_part_are_told_of_once() -> None:
    """Both deliver and no picture comes: without a word that would look like a hang."""
    (said,) = told(lambda number: True, HOUR_MS, shown=lambda number: number <= 30)
    assert said.startswith("6 s: no picture for 5 s though both cameras deliver")
    assert "infrared is +3600.000 s from visible; correct that with offset_ms" in said


def test_a_camera_that_is_silent_and_pictures_that_come_are_no_reason() -> None:
    assert told(lambda number: number < 30, 0, shown=lambda number: False) == []
    assert told(lambda number: True, 0, shown=lambda number: number % 100 == 0) == []


@pytest.mark.parametrize("kind", [Cam, Recording])
def test_a_stream_asks_it_of_live_cameras_alone(
    kind: type[Cam], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Always(Apart):
        def told(self, now_ns: int, *, shown: bool) -> str | None:
            return "they are apart"

    monkeypatch.setattr(streams, "Apart", Always)
    times: list[Any] = [0, FRAME_MS * MS]
    sources: dict[rig.Role, Any] = {"infrared": kind("ir", times), "visible": kind("vis", times)}
    with Streams(sources, rig.Sync(), mode="every", stop=threading.Event(), clock=lambda: 0) as both:
        list(both)
    assert ("they are apart" in caplog.text) == (kind is Cam)


# --- size and depth ------------------------------------------------------------------------------


def write_folder(folder: Path, pictures: list[np.ndarray[Any, Any]]) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def test_a_visible_size_that_changes_ends_the_video_with_a_reason_and_nothing_else(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [(48, 64)] * 5 + [(60, 80)] * 5
    infrared = write_folder(tmp_path / "ir", [np.full((48, 64), 80 + n, np.uint8) for n in range(10)])
    visible = write_folder(
        tmp_path / "vis", [np.full(size, 20 * n, np.uint8) for n, size in enumerate(sizes)]
    )
    video, lines, folder = tmp_path / "out.mp4", tmp_path / "out.jsonl", tmp_path / "out"
    outputs = [part for output in (video, lines, folder) for part in ("-o", str(output))]
    command = ["run", "--camera", f"{infrared},{visible}", "--bundle", str(mean_bundle_path), *outputs]
    assert main([*command, "--stretch", "none", "--range", "camera"]) == 1
    said = capsys.readouterr().err
    assert said.count("out.mp4: the size changed at frame 5: expected 64x48 as before, got 80x60") == 1
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [tuple(row["size"][::-1]) for row in rows] == sizes
    shown = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())]
    assert [picture.shape for picture in shown] == sizes
    levels = [round((80 + n + 20 * n) / 2) for n in range(10)]
    assert [int(picture[10, 10]) for picture in shown] == pytest.approx(levels, abs=1)
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_an_infrared_size_that_no_longer_fits_the_registration_is_an_error(
    tmp_path: Path, mean_bundle: bundle.Bundle
) -> None:
    one = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    placed = rig.Registration(homography=one, infrared_size=(64, 48), visible_size=(64, 48))
    visible = np.zeros((48, 64), np.uint8)
    with Fuser(mean_bundle, threads=1, registration=placed) as opened:
        assert opened(np.zeros((48, 64), np.uint8), visible, time_ns=0).picture.shape == (48, 64)
        with pytest.raises(RequestError, match=r"80x48|64x48"):
            opened(np.zeros((48, 80), np.uint8), visible, time_ns=1)


def test_a_depth_that_changes_in_between_is_followed(mean_bundle: bundle.Bundle) -> None:
    """8 bits, 16 bits and 8 bits again, grey and in three channels: each as if it were the first."""
    level = np.linspace(40, 200, 48 * 64).reshape(48, 64)
    grey = level.astype(np.uint8)
    kinds = [grey, (7000 + 3 * level).astype(np.uint16), cv2.merge([grey] * 3), grey]
    visible = np.full((48, 64), 90, np.uint8)
    with Fuser(mean_bundle, threads=1, stretch="none") as opened:
        fresh = [opened(image, visible).picture for image in kinds]
        stream = [opened(image, visible, time_ns=n * FRAME_MS * MS).picture for n, image in enumerate(kinds)]
    for number, (one, other) in enumerate(zip(stream, fresh, strict=True)):
        assert np.array_equal(one, other), number
