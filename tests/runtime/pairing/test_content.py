"""What moves in both pictures tells how far apart they were taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from benchmarks.live.synchronisation import look
from tdfusion_edge.color import U8
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.content import Content, Place, thumbnail

HEIGHT, WIDTH = 60, 80
S = 1_000_000_000


def street(seed: int, grain: int) -> Callable[[float], U8]:
    """Eight things that go to and fro, each on a line; ``grain`` seeds a sensor's noise and contrast."""
    rng = np.random.default_rng(seed)
    things = rng.uniform([0, 2, 0.02, 0, 10], [1, 50, 0.12, 1, 30], (8, 5))
    noise = np.random.default_rng(grain)
    hot = noise.integers(60, 180, 8)
    bank = [noise.integers(37, 43, (HEIGHT, WIDTH), np.uint8) for _ in range(16)]

    def at(time_s: float) -> U8:
        image = bank[round(time_s * 1000) % 13].copy()
        for (phase, top, rate, pause, width), level in zip(things, hot, strict=True):
            swing = np.sin(2 * np.pi * (rate * time_s + phase)) + 0.3 * np.sin(7 * rate * time_s + 9 * pause)
            left = int((WIDTH - width / 2) / 2 * (1 + swing / 1.3) / 1.02)
            image[int(top) : int(top) + 8, left : left + int(width / 2)] = level
        return image

    return at


def told(
    offset_s: float,
    *,
    seconds: float = 17.0,
    rates: tuple[float, float] = (9.0, 30.0),
    streets: tuple[int, int] = (1, 1),
    tolerance_ms: float = 20.0,
    place: Place | None = None,
) -> Content:
    """What is known after so long of two cameras, infrared's stamps being late by an offset."""
    content = Content(place or Place(), tolerance_ms)
    roles: tuple[rig.Role, rig.Role] = ("infrared", "visible")
    frames = sorted(
        (number / rate, place, number)
        for place, rate in enumerate(rates)
        for number in range(int(seconds * rate))
    )
    cameras = [street(streets[place], 10 + place) for place in range(2)]
    looked_s = 0.0
    for time_s, place_, number in frames:
        stamp_ns = round((time_s + (offset_s if place_ == 0 else 0.0)) * S) + 5 * S
        content.take(roles[place_], Frame(cameras[place_](time_s), stamp_ns, number, roles[place_]))
        if time_s - looked_s > 1:
            looked_s = time_s
            content.look()
    return content


def test_an_offset_of_120_ms_is_found_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    place = Place(offsets_ms={"infrared": -8.0, "visible": 0.0}, names={"infrared": "ir0"})
    with caplog.at_level(logging.WARNING):
        report = told(0.12, seconds=32.0, place=place).report()
    assert report is not None
    assert report.offset_ms == pytest.approx(-120, abs=max(5.0, 3 * report.error_ms))
    assert report.confidence == "good"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "infrared's capture times are 1" in line
    assert " ms late" in line
    assert f"set offset_ms = {-8 + report.offset_ms:.1f} under [cameras.ir0] in rig.toml" in line


def test_cameras_that_agree_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report = told(-0.003, rates=(30.0, 9.0)).report()
    assert report is not None
    assert report.offset_ms == pytest.approx(3, abs=max(5.0, 3 * report.error_ms))
    assert caplog.records == []


def test_two_different_streets_say_nothing_with_confidence(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report = told(0.3, streets=(1, 2)).report()
    assert report is None or report.confidence == "low"
    assert caplog.records == []


def test_a_still_scene_says_nothing() -> None:
    content = Content(Place(), 20.0)
    rng = np.random.default_rng(1)
    for number in range(600):
        for role in rig.OTHER:
            image = rng.integers(40, 43, (HEIGHT, WIDTH), np.uint8)
            content.take(role, Frame(image, number * 33_000_000, number, role))
    content.look()
    report = content.report()
    assert report is None or report.confidence == "low"


def test_pictures_that_repeat_are_counted_and_pass_no_time() -> None:
    content = Content(Place(), 20.0)
    at = street(1, 10)
    for number in range(90):
        content.take("infrared", Frame(at(number // 3 / 9), number * 37_000_000, number, "ir"))
        at = street(1, 10 + number // 3 + 1) if number % 3 == 2 else at
    image = at(0.0)
    before = content.repeated["infrared"]
    for number in range(90, 100):
        content.take("infrared", Frame(image, number * 37_000_000, number, "ir"))
    assert content.repeated["infrared"] - before == 9


def cells_of(image: U8, registration: rig.Registration | None = None) -> Iterable[tuple[int, int]]:
    cells = thumbnail(image, registration)
    return [(int(row), int(column)) for row, column in np.argwhere(cells > 100)]


def test_infrared_is_looked_at_where_it_lies_in_the_visible_picture() -> None:
    """A block of infrared is found where the homography puts it, in cells of 16 visible pixels."""
    image = np.zeros((240, 320), np.uint8)
    image[80:96, 160:176] = 255
    matrix = ((2.0, 0.0, -64.0), (0.0, 2.0, 32.0), (0.0, 0.0, 1.0))
    placed = rig.Registration(homography=matrix, infrared_size=(320, 240), visible_size=(640, 480))
    assert set(cells_of(image)) == {(10, 20), (10, 21), (11, 20), (11, 21)}
    rows = {row for row, _ in cells_of(image, placed)}
    columns = {column for _, column in cells_of(image, placed)}
    assert (min(rows), max(rows)) == ((80 * 2 + 32) // 16, (96 * 2 + 32) // 16 - 1)
    assert (min(columns), max(columns)) == ((160 * 2 - 64) // 16, (176 * 2 - 64) // 16 - 1)


def test_colours_and_16_bits_are_taken() -> None:
    assert thumbnail(np.full((480, 640, 3), 100, np.uint8)) == pytest.approx(100)
    assert thumbnail(np.full((62, 80), 7000, np.uint16)) == pytest.approx(7000)
    assert thumbnail(np.full((480, 640, 3), 100, np.uint8)).shape == (30, 40)


@pytest.mark.slow
@pytest.mark.parametrize("offset_ms", [40.0, 120.0])
def test_the_simulated_street_tells_the_offset_of_a_bad_rig(offset_ms: float) -> None:
    """9 and 30 Hz, 100 ppm, 5 ms of jitter, 5 % lost."""
    report, error_ms = look(65.0, 3, offset_ms)
    assert report is not None
    assert report.confidence == "good"
    assert abs(error_ms) <= 5
