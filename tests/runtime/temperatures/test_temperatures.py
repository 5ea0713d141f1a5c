"""Degrees of counts, where a calibration is stated, and refusals everywhere else."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.observations import Temperature
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.temperatures.pixels import indices
from tdfusion_edge.runtime.temperatures.tables import Measure, Radiometry
from tdfusion_edge.runtime.temperatures.thermometer import Alarm, Thermometer, fault_of

LEPTON = Radiometry(scale=0.01)
"""Hundredths of a kelvin."""


def counts(celsius: float) -> int:
    return round((celsius + 273.15) * 100)


def scene(hot: float = 60.0) -> Image:
    """20 degrees, with columns 40 to 49 and rows 30 to 39 hot, 160 x 120."""
    image = np.full((120, 160), counts(20.0), np.uint16)
    image[30:40, 40:50] = counts(hot)
    return image


def result(image: Image | None, degraded: str | None = None, size: tuple[int, int] = (640, 480)) -> Result:
    seen = Frame(np.zeros((size[1], size[0]), np.uint8), 5, 0, "vis0")
    frame = None if image is None else Frame(image, 5, 0, "ir0")
    return Result(0, Pair(frame, seen), seen.image, degraded=degraded)


def measured(measure: Measure, image: Image, registration: rig.Registration | None = None) -> Temperature:
    found, _, _ = Thermometer("ir0", LEPTON, {"m": measure}, registration).update(result(image))
    assert found is not None
    return found["m"]


def test_spot_line_and_area_are_those_of_the_counts() -> None:
    image = scene()
    assert measured(Measure(spot=(45, 35)), image) == pytest.approx((60, 60, 60))
    # Three columns of three beside the border: six of nine pixels are hot.
    assert measured(Measure(spot=(40.5, 35)), image) == pytest.approx((20, 60, 20 + 40 * 6 / 9))
    # Row 35 from column 35 to 54: ten of twenty.
    assert measured(Measure(line=((35.5, 35.5), (54.5, 35.5))), image) == pytest.approx((20, 60, 40))
    area = Measure(area=((41, 31), (49, 31), (49, 39), (41, 39)))
    assert measured(area, image) == pytest.approx((60, 60, 60))


def test_celsius_and_an_offset() -> None:
    radiometry = Radiometry(scale=0.1, offset=-100.0, unit="celsius")
    image = np.full((32, 32), 1250, np.uint16)
    image[0, 0] = 1251
    found, _, _ = Thermometer("ir0", radiometry, {"m": Measure(spot=(16, 16))}).update(result(image))
    assert found == {"m": pytest.approx((25, 25, 25))}


def test_points_of_the_visible_picture_go_through_the_registration() -> None:
    # Infrared 160 x 120 lies four times as large, 20 pixels to the right: x = 4 x' + 20 of pixel centres.
    registration = rig.Registration(
        homography=((4, 0, 20), (0, 4, 0), (0, 0, 1)), infrared_size=(160, 120), visible_size=(640, 480)
    )
    x, y = 4 * 44.5 + 20 + 0.5, 4 * 34.5 + 0.5  # the centre of pixel 44.5, counted from the corner
    spot = Measure(spot=(x, y), picture="visible")
    thermometer = Thermometer("ir0", LEPTON, {"m": spot}, registration)
    found, _, marks = thermometer.update(result(scene()))
    assert found == {"m": pytest.approx((60, 60, 60))}
    assert marks[0].points == ((x, y),)
    # The same place in infrared pixels is drawn there.
    own = Thermometer("ir0", LEPTON, {"m": Measure(spot=(45, 35))}, registration)
    assert own.update(result(scene()))[2][0].points[0] == pytest.approx((x, y))
    with pytest.raises(ConfigError, match="outside of what infrared sees"):
        measured(Measure(spot=(5, 5), picture="visible"), scene(), registration)


def test_without_a_registration_the_pictures_are_scaled() -> None:
    assert measured(Measure(spot=(180, 140), picture="visible"), scene()) == pytest.approx((60, 60, 60))
    assert measured(Measure(spot=(0.28, 0.29), units="fraction"), scene()) == pytest.approx((60, 60, 60))


def test_a_place_at_the_edge_has_pixels_and_one_outside_is_refused() -> None:
    assert len(indices(np.array([[160.0, 120.0]]), (160, 120))) == 4
    with pytest.raises(ConfigError, match=r"\[measure.m\] lies outside of the infrared picture"):
        measured(Measure(spot=(161, 20)), scene())


def test_an_alarm_has_a_hysteresis() -> None:
    alarm = Alarm("m", Measure(spot=(1, 1), above=50, below=10, hysteresis=2))
    told = [
        (step, event.kind, event.celsius)
        for step, value in enumerate([20, 50, 50.1, 49, 48.5, 50.2, 48, 9, 11, 12, 60])
        for event in alarm.update(Temperature(0, value, 0), step, None)
    ]
    assert told == [
        (2, "above", 50.1), (6, "normal", 48), (7, "below", 9), (9, "normal", 12), (10, "above", 60),
    ]  # fmt: skip


def test_the_limits_are_for_the_temperature_that_is_named() -> None:
    for of, above in (("max", True), ("mean", False), ("min", False)):
        alarm = Alarm("m", Measure(spot=(1, 1), above=50, of=of))  # type: ignore[arg-type]
        assert bool(alarm.update(Temperature(20, 60, 40), 0, None)) == above


@pytest.mark.parametrize("degraded", ["held", "frozen", "infrared frozen", "infrared dead", "both dead"])
def test_an_old_picture_has_no_temperature(degraded: str) -> None:
    thermometer = Thermometer("ir0", LEPTON, {"m": Measure(spot=(45, 35), above=50)})
    assert thermometer.update(result(scene(), degraded)) == (None, [], [])
    assert thermometer.update(result(None, "infrared missing")) == (None, [], [])
    found, events, _ = thermometer.update(result(scene(), "visible dead"))
    assert found is not None
    assert [event.kind for event in events] == ["above"]


GREY = np.arange(120 * 160, dtype=np.uint32).reshape(120, 160)


@pytest.mark.parametrize(
    ("image", "tells"),
    [
        (GREY.astype(np.uint8), "8 bits, which the camera ranged by contrast"),
        ((GREY.astype(np.uint8).astype(np.uint16) << 8), "its 16 bits hold 8"),
        (GREY.astype(np.uint8).astype(np.uint16) * 257, "its 16 bits hold 8"),
        (np.linspace(0, 65535, 120 * 160).astype(np.uint16).reshape(120, 160), "span all 65536 counts"),
        (
            np.full((120, 160), 3000, np.uint16) + (GREY % 50).astype(np.uint16),
            "half of the picture would be at -243",
        ),
    ],
    ids=["8 bits", "8 shifted", "8 repeated", "stretched", "another scale"],
)
def test_a_camera_that_gives_no_temperatures_is_refused(image: Image, tells: str) -> None:
    with pytest.raises(ConfigError) as caught:
        measured(Measure(spot=(45, 35)), image)
    assert "[cameras.ir0.radiometry]: the camera gives no temperatures" in str(caught.value)
    assert tells in str(caught.value)


def test_counts_of_a_scene_are_taken() -> None:
    assert fault_of(scene()) is None


def test_a_camera_that_changes_later_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    thermometer = Thermometer("ir0", LEPTON, {"m": Measure(spot=(45, 35))})
    assert thermometer.update(result(scene()))[0] is not None
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert thermometer.update(result(GREY.astype(np.uint8)))[0] is None
    assert len(caplog.records) == 1
