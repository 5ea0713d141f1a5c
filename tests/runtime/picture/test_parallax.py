"""Infrared on visible at other distances, against the geometry of two cameras and of the simulated street."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.picture import parallax
from tdfusion_edge.runtime.picture.alignment import Aligner
from tdfusion_edge.runtime.picture.registration import overlap
from tdfusion_edge.runtime.simulation.view import View

VISIBLE, INFRARED = View(640, 480), View(320, 240)
BASELINE = (0.12, -0.03)
"""Of the infrared camera: metres to the right and down."""


def projected(view: View, world: Any, aside: tuple[float, float] = (0.0, 0.0)) -> Any:
    """(N, 2) pixels, centres at whole numbers, of points (X right, Y up, Z ahead) from a camera aside."""
    moved = np.asarray(world, float) - (aside[0], -aside[1], 0)
    return view.points(moved).astype(float) - 0.5


def measured(distance_m: float) -> rig.Registration:
    """The true registration of the stereo rig at one distance, from four points there."""
    corners = np.array([[-1, 2, 1], [1, 2, 1], [1, 4, 1], [-1, 4, 1]], float) * (1, 1, distance_m)
    from tdfusion_edge.runtime.calibration.fit import least_squares

    matrix = least_squares(projected(INFRARED, corners, BASELINE), projected(VISIBLE, corners), np.ones(4))
    return rig.Registration(
        homography=tuple(map(tuple, matrix.tolist())),  # type: ignore[arg-type]
        infrared_size=(320, 240),
        visible_size=(640, 480),
        distance_m=distance_m,
        baseline_m=BASELINE,
        focal_px=VISIBLE.focal,
    )


def off(registration: rig.Registration, distance_m: float) -> float:
    """Largest distance, visible pixels, between where points at a distance lie and where they are put."""
    from tdfusion_edge.runtime.calibration.fit import applied

    x, y = np.meshgrid(np.linspace(-0.6, 0.6, 7), np.linspace(-0.4, 0.4, 5))
    world = np.stack(
        [x.ravel() * distance_m, 3 + y.ravel() * distance_m, np.full(x.size, distance_m)], axis=1
    )
    put = applied(np.array(registration.homography), projected(INFRARED, world, BASELINE))
    return float(np.linalg.norm(put - projected(VISIBLE, world), axis=1).max())


@settings(max_examples=30)
@given(st.floats(2, 50), st.sampled_from([2.0, 5.0, 20.0]))
def test_from_2_to_50_m_nothing_is_a_pixel_off(distance_m: float, measured_m: float) -> None:
    registration = measured(measured_m)
    assert off(parallax.at_distance(registration, distance_m), distance_m) < 0.05
    step, stepped = parallax.quantised(registration)(distance_m)
    assert off(stepped, distance_m) < parallax.STEP_PX / 2 + 0.05
    assert step >= 0


def test_without_it_near_things_are_many_pixels_off() -> None:
    assert off(measured(20.0), 2.0) > 25


def test_distances_of_one_step_share_their_maps_and_few_steps_there_are() -> None:
    at = parallax.quantised(measured(5.0))
    steps = {at(distance)[0] for distance in np.geomspace(2, 50, 400)}
    assert len(steps) < 70
    assert at(30.0)[0] == at(30.5)[0]
    assert at(2.0)[0] != at(2.2)[0]


def test_a_tilt_is_kept() -> None:
    """Depth 1 in the middle of infrared's view: the shift there is in pixels whatever the scale of the
    matrix."""
    registration = measured(5.0)
    scaled = replace(
        registration,
        homography=tuple(tuple(7.5 * v for v in row) for row in registration.homography),  # type: ignore[arg-type]
    )
    assert off(parallax.at_distance(scaled, 3.0), 3.0) < 0.05


@pytest.mark.parametrize("lacking", ["distance_m", "baseline_m", "focal_px"])
def test_a_rig_that_does_not_tell_is_refused(lacking: str) -> None:
    registration = replace(measured(5.0), **{lacking: None})
    with pytest.raises(RequestError, match=f"no {lacking}(.|\n)*calibrate"):
        parallax.at_distance(registration, 3.0)
    with pytest.raises(RequestError, match=r"no \[registration\]"):
        parallax.chosen(None, 3.0)


@pytest.mark.parametrize("distance_m", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_distance_is_refused(distance_m: float) -> None:
    with pytest.raises(RequestError, match="--distance"):
        parallax.at_distance(measured(5.0), distance_m)


def test_what_is_asked_for_comes_before_the_rig() -> None:
    registration = replace(measured(5.0), use_distance_m=10.0)
    asked, own = parallax.chosen(registration, 3.0), parallax.chosen(registration, None)
    assert asked is not None
    assert own is not None
    assert (asked.distance_m, own.distance_m) == (3.0, 10.0)
    assert parallax.chosen(measured(5.0), None) == measured(5.0)


def test_a_stream_moves_from_the_next_pair_on() -> None:
    """A point at 3 m lies where visible has it once the aligner is told; maps of few distances are kept."""
    infrared = np.zeros((240, 320), np.uint8)
    (x, y), (u, v) = (
        projected(view, [[0.3, 3.2, 3.0]], aside)[0]
        for view, aside in ((INFRARED, BASELINE), (VISIBLE, (0.0, 0.0)))
    )
    rows, columns = np.mgrid[:240, :320]
    infrared[:] = np.clip(255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8), 0, 255)
    aligner = Aligner(rig.ThermalRange(mode="camera"), measured(20.0))

    def centre(number: int) -> Any:
        # A dark visible picture: where infrared does not see, nothing is added to the centre.
        visible = np.full((480, 640), 1, np.uint8)
        visible[::7] = 0
        pair = Pair(Frame(infrared, number, number, "ir"), Frame(visible, number, number, "vis"))
        aligned = aligner.align(pair)
        assert aligned is not None
        assert aligned.infrared is not None
        bright = np.where(aligned.infrared > 20, aligned.infrared, 0).astype(float)
        r, c = np.mgrid[:480, :640]
        return np.array([(c * bright).sum(), (r * bright).sum()]) / bright.sum()

    assert np.linalg.norm(centre(0) - (u, v)) > 10
    aligner.move(3.0)
    assert np.linalg.norm(centre(1) - (u, v)) < 0.6
    for number, distance in enumerate(np.geomspace(2, 50, 9), 2):
        aligner.move(float(distance))
        centre(number)
    aligner.move(3.0)
    assert np.linalg.norm(centre(99) - (u, v)) < 0.6
    with pytest.raises(RequestError):
        aligner.move(-1.0)


@settings(max_examples=30)
@given(st.floats(0.3, 200), st.floats(0.001, 2), st.floats(100, 3000))
def test_a_slider_begins_where_distances_are_of_use(distance_m: float, right_m: float, focal: float) -> None:
    told = replace(measured(5.0), distance_m=distance_m, baseline_m=(right_m, 0.0), focal_px=focal)
    nearest = parallax.nearest_m(told)
    assert nearest is not None
    assert rig.NEAREST_M <= nearest <= distance_m
    assert nearest == distance_m or focal * right_m / nearest <= 640 / 4 + 1e-6


def test_a_slider_is_for_rigs_that_have_a_parallax() -> None:
    told = measured(5.0)
    assert parallax.nearest_m(told) is not None
    assert parallax.nearest_m(None) is None
    for key in ("distance_m", "baseline_m", "focal_px"):
        assert parallax.nearest_m(replace(told, **{key: None})) is None
    assert parallax.nearest_m(replace(told, baseline_m=(0.0, 0.0))) is None


@settings(max_examples=40)
@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.sampled_from([1.0, -1.0]))
def test_the_overlap_is_the_share_of_pixels_that_infrared_sees(right: float, down: float, way: float) -> None:
    across = (2.0 * way, 0.0, 640 * right + (640 if way < 0 else 0))
    matrix = (across, (0.0, 2.0, 480 * down), (0.0, 0.0, 1.0))
    placed = rig.Registration(homography=matrix, infrared_size=(320, 240), visible_size=(640, 480))
    expected = max(0.0, 1 - abs(right)) * max(0.0, 1 - abs(down))
    assert overlap(placed) == pytest.approx(expected, abs=0.004)
