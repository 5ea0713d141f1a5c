"""Simulated cameras: pacing, loss, stamps and every fault that can be ordered."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.rig import Camera
from tdfusion_edge.runtime.simulation.faults import NONE, Faults
from tdfusion_edge.runtime.simulation.mark import read_mark
from tdfusion_edge.runtime.simulation.scene import COUNTS_BASE, COUNTS_PER_LEVEL, Scene
from tdfusion_edge.runtime.simulation.uri import parse
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.simulated import SimulatedSource, from_uri

SIZE = (160, 120)
SECOND = 1_000_000_000
# Drawn when first asked for.
TINY, STREET = Scene(0, (80, 60)), Scene(0)


@dataclass
class Clock:
    """A clock that only sleeping and the test move."""

    now: int = 5 * SECOND
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += round(seconds * SECOND)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(0, SIZE)


@pytest.fixture(scope="module")
def deep_scene() -> Scene:
    return Scene(0, SIZE, depth16=True)


def live(
    scene: Scene, clock: Clock, role: Any = "infrared", faults: Faults = NONE, **options: Any
) -> SimulatedSource:
    return SimulatedSource("cam", role, scene, faults=faults, clock=clock, sleep=clock.sleep, **options)


def recorded(scene: Scene, role: Any = "infrared", faults: Faults = NONE, **options: Any) -> SimulatedSource:
    return SimulatedSource("cam", role, scene, faults=faults, realtime=False, **options)


def read_all(source: SimulatedSource) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def numbers(frames: list[Frame]) -> list[int]:
    return [frame.sequence for frame in frames]


def test_a_recording_gives_every_frame_at_its_exposure_time_and_ends(scene: Scene) -> None:
    source = recorded(scene, fps=10, frames=5)
    frames = read_all(source)
    assert not source.live
    assert numbers(frames) == [0, 1, 2, 3, 4]
    assert [frame.time_ns for frame in frames] == [k * SECOND // 10 for k in range(5)]
    assert source.read() is None
    for k, frame in enumerate(frames):
        assert np.array_equal(frame.image, scene.infrared(k / 10))


def test_a_live_camera_paces_its_reader(scene: Scene) -> None:
    clock = Clock()
    source = live(scene, clock, fps=25)
    assert source.live
    for k in range(6):
        frame = source.read()
        assert frame is not None
        assert frame.sequence == k
        assert clock.now >= frame.time_ns
        assert frame.time_ns == 5 * SECOND + k * SECOND // 25
    assert sum(clock.slept) == pytest.approx(5 / 25)


def test_a_late_reader_of_a_live_camera_loses_frames(scene: Scene) -> None:
    clock = Clock()
    source = live(scene, clock, fps=10, mark=True)
    assert source.read().sequence == 0  # type: ignore[union-attr]
    clock.now += round(0.47 * SECOND)
    frame = source.read()
    assert frame is not None
    assert (frame.sequence, read_mark(frame.image)) == (4, 4)
    assert clock.slept == []
    assert source.read().sequence == 5  # type: ignore[union-attr]


def test_a_live_stream_with_an_end_ends(scene: Scene) -> None:
    clock = Clock()
    source = live(scene, clock, fps=10, frames=3)
    assert numbers(read_all(source)) == [0, 1, 2]
    late = live(scene, clock, fps=10, frames=3)
    clock.now += 60 * SECOND
    assert numbers(read_all(late)) == [2]


def test_an_epoch_in_the_future_is_waited_for(scene: Scene) -> None:
    clock = Clock()
    frame = live(scene, clock, epoch_ns=6 * SECOND).read()
    assert frame is not None
    assert (frame.sequence, frame.time_ns, clock.now) == (0, 6 * SECOND, 6 * SECOND)


def test_two_cameras_of_one_epoch_see_the_same_moments(scene: Scene) -> None:
    """At 30 and 15 Hz every second infrared frame shows what a visible one shows, under one stamp."""
    infrared = read_all(recorded(scene, fps=30, frames=20, epoch_ns=77))
    visible = read_all(recorded(scene, "visible", fps=15, frames=10, epoch_ns=77))
    by_time = {frame.time_ns: frame for frame in infrared}
    for frame in visible:
        partner = by_time[frame.time_ns]
        assert partner.sequence == 2 * frame.sequence
        assert np.array_equal(frame.image, scene.visible(frame.sequence / 15))
        assert np.array_equal(partner.image, scene.infrared(frame.sequence / 15))


@settings(deadline=None)  # the first example draws the scene
@given(st.integers(0, 3000), st.sampled_from([7.5, 9, 25, 29.97, 30, 60]), st.integers(0, 10**15))
def test_a_live_frame_is_never_early_and_never_older_than_one_period(
    late_ms: int, fps: float, start: int
) -> None:
    clock = Clock(start)
    source = live(TINY, clock, fps=fps)
    last = -1
    for _ in range(3):
        frame = source.read()
        assert frame is not None
        assert frame.sequence > last
        assert 0 <= clock.now - frame.time_ns <= SECOND / fps + 1
        last = frame.sequence
        clock.now += late_ms * 1_000_000


def test_offset_is_added_to_every_stamp(scene: Scene) -> None:
    plain, shifted = (read_all(recorded(scene, faults=f, frames=4)) for f in (NONE, Faults(offset_ms=-12.5)))
    assert [b.time_ns - a.time_ns for a, b in zip(plain, shifted, strict=True)] == [-12_500_000] * 4
    assert all(np.array_equal(a.image, b.image) for a, b in zip(plain, shifted, strict=True))


def test_jitter_has_its_deviation_and_no_mean_and_keeps_the_order() -> None:
    faults = Faults(jitter_ms=4, seed=3)
    errors = np.array([faults.stamp_error_ns(k, 30) for k in range(20_000)]) / 1e6
    assert abs(errors.mean()) < 0.1
    assert errors.std() == pytest.approx(4, rel=0.03)
    assert np.abs(errors).max() < 0.5 * 1000 / 30
    wild = Faults(jitter_ms=500, seed=3)
    stamps = [k / 30 * 1e9 + wild.stamp_error_ns(k, 30) for k in range(500)]
    assert (np.diff(stamps) > 0).all()


def test_random_faults_repeat_with_their_seed_and_differ_with_another() -> None:
    one, same, other = Faults(drop=0.5, seed=1), Faults(drop=0.5, seed=1), Faults(drop=0.5, seed=2)
    lost = [[faults.lost(k, 30) for k in range(64)] for faults in (one, same, other)]
    assert lost[0] == lost[1] != lost[2]


def test_drop_loses_its_share_of_frames_and_numbers_show_it(scene: Scene) -> None:
    lost = [Faults(drop=0.1).lost(k, 30) for k in range(20_000)]
    assert np.mean(lost) == pytest.approx(0.1, abs=0.01)
    got = numbers(read_all(recorded(scene, faults=Faults(drop=0.1), frames=60)))
    assert got == [k for k in range(60) if not lost[k]]
    assert len(got) < 60


def test_a_camera_that_loses_every_frame_is_an_error_and_not_a_hang(scene: Scene) -> None:
    with pytest.raises(SourceError, match="lost"):
        recorded(scene, faults=Faults(drop=1)).read()
    assert read_all(recorded(scene, faults=Faults(drop=1), frames=30)) == []
    clock = Clock()
    source = live(scene, clock, faults=Faults(drop=1), timeout_s=1.5)
    for round_ in (1, 2):
        with pytest.raises(SourceError, match=r"no frame for 1\.5 s"):
            source.read()
        assert clock.now == 5 * SECOND + round_ * 1_500_000_000


def test_freeze_repeats_one_picture_while_stamps_and_numbers_run(scene: Scene) -> None:
    frames = read_all(
        recorded(scene, fps=10, frames=12, faults=Faults(freeze=(0.45, 0.4), noise=3), mark=True)
    )
    assert numbers(frames) == list(range(12))
    assert np.diff([frame.time_ns for frame in frames]).tolist() == [SECOND // 10] * 11
    assert [read_mark(frame.image) for frame in frames] == [0, 1, 2, 3, 4, 4, 4, 4, 4, 9, 10, 11]
    assert all(np.array_equal(frame.image, frames[4].image) for frame in frames[5:9])
    assert not np.array_equal(frames[3].image, frames[4].image)
    assert not np.array_equal(frames[9].image, frames[8].image)


def test_freeze_from_the_start_shows_the_first_picture(scene: Scene) -> None:
    frames = read_all(recorded(scene, fps=10, frames=4, faults=Faults(freeze=(0, 0.25)), mark=True))
    assert [read_mark(frame.image) for frame in frames] == [0, 0, 0, 3]


def test_silence_of_a_live_camera_raises_after_the_timeout_and_then_comes_back(scene: Scene) -> None:
    clock = Clock()
    source = live(scene, clock, fps=10, faults=Faults(silence=(0.3, 3.0)), timeout_s=2.0)
    got = [source.read().sequence for _ in range(3)]  # type: ignore[union-attr]
    before = clock.now
    with pytest.raises(SourceError, match="cam: no frame for 2 s"):
        source.read()
    assert clock.now - before == 2 * SECOND
    frame = source.read()
    assert frame is not None
    assert (got, frame.sequence) == ([0, 1, 2], 33)
    assert frame.time_ns == 5 * SECOND + 3_300_000_000


def test_silence_of_a_recording_is_a_gap(scene: Scene) -> None:
    frames = read_all(recorded(scene, fps=10, frames=40, faults=Faults(silence=(0.3, 3.0))))
    assert numbers(frames) == [0, 1, 2, 33, 34, 35, 36, 37, 38, 39]


def test_gain_jump_changes_counts_from_its_time_on(deep_scene: Scene) -> None:
    frames = read_all(recorded(deep_scene, fps=10, frames=6, faults=Faults(gain_jump=(0.3, 1.6, 20))))
    for k, frame in enumerate(frames):
        plain = deep_scene.infrared(k / 10).astype(float)
        expected = plain if k < 3 else np.clip(plain * 1.6 + 20, 0, 65535)
        assert np.abs(frame.image - expected).max() <= 1


def test_gain_jump_saturates(scene: Scene) -> None:
    (frame,) = read_all(recorded(scene, frames=1, faults=Faults(gain_jump=(0, 4.0, 90))))
    expected = np.clip(scene.infrared(0.0).astype(int) * 4 + 90, 0, 255)
    assert np.array_equal(frame.image, expected)
    assert frame.image.max() == 255


@pytest.mark.parametrize("role", ["infrared", "visible"])
def test_noise_is_added_and_new_in_every_frame(scene: Scene, role: str) -> None:
    frames = read_all(recorded(scene, role, frames=2, faults=Faults(noise=6)))
    extra = [frame.image.astype(float) - getattr(scene, role)(frame.sequence / 30) for frame in frames]
    bright = getattr(scene, role)(0.0) > 40  # the dark end is clipped
    assert np.std(extra[0][bright]) == pytest.approx(6, rel=0.1)
    assert not np.array_equal(extra[0], extra[1])


def test_noise_of_counts_is_in_levels(deep_scene: Scene) -> None:
    (frame,) = read_all(recorded(deep_scene, frames=1, faults=Faults(noise=5)))
    extra = frame.image.astype(float) - deep_scene.infrared(0.0)
    assert np.std(extra) == pytest.approx(5 * COUNTS_PER_LEVEL, rel=0.05)


HOMOGRAPHY = ((1.9, 0.08, -14.0), (-0.06, 2.05, 9.0), (1e-5, -2e-5, 1.0))


@pytest.mark.parametrize(
    "faults",
    [
        Faults(size=(320, 256)),
        Faults(size=(800, 600)),
        Faults(size=(320, 240), homography=HOMOGRAPHY),
        Faults(homography=((1, 0, 12), (0, 1, -7), (0, 0, 1))),
    ],
    ids=["smaller", "larger", "warped", "shifted"],
)
def test_the_true_homography_registers_the_infrared_picture(faults: Faults) -> None:
    scene = STREET
    source = recorded(scene, faults=faults, frames=1)
    (frame,) = read_all(source)
    assert frame.size == (faults.size or scene.size)
    registered = cv2.warpPerspective(frame.image, source.homography, scene.size)
    inside = cv2.warpPerspective(np.full_like(frame.image, 255), source.homography, scene.size) == 255
    straight = cv2.GaussianBlur(scene.infrared(0.0), (5, 5), 0).astype(float)

    def error(image: Any) -> float:
        return float(np.abs(cv2.GaussianBlur(image, (5, 5), 0) - straight)[inside].mean())

    shifted = np.array([[1, 0, 2.0], [0, 1, 0], [0, 0, 1]]) @ source.homography
    assert inside.mean() > 0.5
    assert error(registered) < 1.2
    assert error(registered) < 0.8 * error(cv2.warpPerspective(frame.image, shifted, scene.size))


def test_a_plain_camera_has_the_identity(scene: Scene) -> None:
    assert np.array_equal(recorded(scene).homography, np.eye(3))
    assert np.array_equal(recorded(scene, "visible").homography, np.eye(3))


@pytest.mark.parametrize(
    "faults", [Faults(size=(320, 240)), Faults(homography=HOMOGRAPHY), Faults(gain_jump=(1, 2, 3))]
)
def test_faults_of_infrared_are_refused_for_the_visible_camera(scene: Scene, faults: Faults) -> None:
    with pytest.raises(RequestError, match="infrared camera"):
        recorded(scene, "visible", faults)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"drop": 1.5}, "drop"),
        ({"drop": float("nan")}, "drop"),
        ({"jitter_ms": -1}, "jitter_ms"),
        ({"offset_ms": float("inf")}, "offset_ms"),
        ({"offset_ms": -1e300}, "offset_ms"),
        ({"jitter_ms": 1e300}, "jitter_ms"),
        ({"noise": -1}, "noise"),
        ({"size": (20, 20)}, "size"),
        ({"freeze": (-1, 2)}, "freeze"),
        ({"silence": (1, float("inf"))}, "silence"),
        ({"gain_jump": (1, 0, 0)}, "gain_jump"),
        ({"homography": ((1, 0, 0), (2, 0, 0), (0, 0, 1))}, "homography"),
    ],
)
def test_impossible_faults_are_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(RequestError, match=f"'{name}': expected"):
        Faults(**options)


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": float("nan")}, {"timeout_s": -1}])
def test_impossible_rates_are_refused(scene: Scene, options: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="above 0"):
        recorded(scene, **options)


def test_close_ends_the_stream_and_may_be_called_twice(scene: Scene) -> None:
    source = recorded(scene)
    assert source.read() is not None
    source.close()
    source.close()
    assert source.read() is None


def test_close_from_another_thread_ends_a_waiting_read(scene: Scene) -> None:
    clock = Clock()
    waiting: list[SimulatedSource] = []

    def sleep(seconds: float) -> None:
        closer = threading.Thread(target=waiting[0].close)
        closer.start()
        closer.join()
        clock.sleep(seconds)

    waiting.append(
        SimulatedSource("cam", "infrared", scene, clock=clock, sleep=sleep, epoch_ns=clock.now + SECOND)
    )
    assert waiting[0].read() is None


def test_a_uri_says_everything() -> None:
    wish = parse(
        "sim://ir?seed=3&fps=9&drop=0.1&jitter_ms=4&offset_ms=12&size=320x256&depth=16&freeze=5:2"
        "&silence=5:3&gain_jump=4:1.6:20&noise=2&mark=1&frames=7&fog=0&realtime=0&timeout_s=0.5&view=800x600"
        "&homography=1:0:4:0:1:-3:0:0:1"
    )
    assert (wish.role, wish.seed, wish.fps, wish.size, wish.view) == (
        "infrared",
        3,
        9.0,
        (320, 256),
        (800, 600),
    )
    assert (wish.depth16, wish.mark, wish.frames, wish.fog, wish.realtime) == (True, True, 7, False, False)
    assert wish.timeout_s == 0.5
    faults = wish.faults
    assert (faults.drop, faults.jitter_ms, faults.offset_ms, faults.noise) == (0.1, 4, 12, 2)
    assert (faults.freeze, faults.silence, faults.gain_jump) == ((5, 2), (5, 3), (4, 1.6, 20))
    assert faults.homography == ((1, 0, 4), (0, 1, -3), (0, 0, 1))


def test_a_bare_uri_is_a_perfect_camera() -> None:
    wish = parse("sim://vis")
    assert wish.role == "visible"
    assert (wish.fps, wish.size, wish.frames, wish.realtime) == (30, None, None, True)
    assert Faults(seed=wish.faults.seed) == wish.faults


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sim://ir?jiter_ms=4", "Did you mean 'jitter_ms'"),
        ("sim://ir?freze=1:2", "Did you mean 'freeze'"),
        ("sim://ir?xyzzy=1", "Known keys: .*depth.*fps"),
        ("sim://ir?fps=9&fps=10", "'fps' is given twice"),
        ("sim://ir?fps=fast", "'fps': expected frames per second.* got 'fast'"),
        ("sim://ir?fps=0", "'fps'"),
        ("sim://ir?fps=nan", "'fps'"),
        ("sim://ir?fps=1e-300", "'fps': expected frames per second, 0.00001 to 1000"),
        ("sim://ir?timeout_s=1e-300", "'timeout_s'"),
        ("sim://ir?seed=-1", "'seed'"),
        ("sim://ir?depth=12", "expected 8 or 16, got '12'"),
        ("sim://ir?mark=yes", "expected 0 or 1, got 'yes'"),
        ("sim://ir?size=640", "WIDTHxHEIGHT"),
        ("sim://ir?size=64x0", "80x60 to 4096x4096"),
        ("sim://ir?freeze=5", "TIME:DURATION"),
        ("sim://ir?gain_jump=4:1", "TIME:GAIN:OFFSET"),
        ("sim://ir?homography=1:0:0", "nine numbers"),
        ("sim://ir?drop=2", "a probability from 0 to 1, got 2"),
        ("sim://ir?drop=", "'drop': expected a probability"),
        ("sim://vis?depth=16", "'depth' belongs to the infrared camera"),
        ("sim://vis?gain_jump=4:1.6:20", "'gain_jump' belongs to the infrared camera"),
        ("sim://vis?size=10x10", "80x60 to 4096x4096"),
        ("sim://thermal", "sim://ir or sim://vis"),
        ("sim://ir/1", "sim://ir or sim://vis"),
        ("sim:ir", "sim://ir or sim://vis"),
        ("file://ir", "sim://ir or sim://vis"),
    ],
)
def test_a_uri_that_cannot_be_read_says_why(uri: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        from_uri("cam", uri)


def test_cameras_of_two_uris_share_the_street_and_the_moment() -> None:
    clock = Clock()
    options: Any = {"epoch_ns": clock.now, "clock": clock, "sleep": clock.sleep}
    infrared = from_uri("ir0", "sim://ir?seed=2&view=320x240&size=160x120&fps=10&mark=1", **options)
    visible = from_uri("vis0", "sim://vis?seed=2&size=320x240&fps=10&mark=1", **options)
    scene = Scene(2, (320, 240))
    for _ in range(3):
        pair = infrared.read(), visible.read()
        assert pair[0] is not None
        assert pair[1] is not None
        assert pair[0].time_ns == pair[1].time_ns
        assert read_mark(pair[0].image) == read_mark(pair[1].image) == pair[1].sequence
        assert (pair[0].size, pair[1].size) == ((160, 120), (320, 240))
        expected = scene.visible(pair[1].sequence / 10)
        assert np.array_equal(pair[1].image[:200], expected[:200])
        clock.now += 130_000_000


def test_sixteen_bits_come_as_counts_with_a_legible_mark() -> None:
    frames = read_all(
        from_uri("ir0", "sim://ir?depth=16&size=160x120&frames=3&realtime=0&mark=1&view=160x120")
    )
    assert [read_mark(frame.image) for frame in frames] == [0, 1, 2]
    assert all(frame.image.dtype == np.uint16 for frame in frames)
    assert min(int(frame.image.min()) for frame in frames) >= COUNTS_BASE


def test_a_camera_of_a_rig_is_opened_by_its_address() -> None:
    camera = Camera(uri="sim://vis?seed=1&realtime=0&frames=2", role="visible", size=(160, 120), fps=5.0)
    source = open_source("vis0", camera, "visible", epoch_ns=11)
    first, second = source.read(), source.read()
    assert first is not None
    assert second is not None
    assert first.size == (160, 120)
    assert (first.time_ns, second.time_ns) == (11, 11 + SECOND // 5)
    assert source.read() is None
