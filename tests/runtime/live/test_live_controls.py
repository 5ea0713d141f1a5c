"""What the page changes holds from the next picture on, and what it may not change is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from msgspec.structs import replace

from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.pipeline.analysis import Analysis
from tdfusion_edge.runtime.pipeline.controls import Controls
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.temperatures.tables import Measure, Radiometry
from tdfusion_edge.runtime.temperatures.thermometer import Thermometer


class Flat:
    """Six pictures whose left half is brighter."""

    live = False

    def __init__(self, name: str) -> None:
        self.name, self._next = name, 0

    def read(self) -> Frame | None:
        if self._next == 6:
            return None
        self._next += 1
        picture = np.full((64, 64), 100, np.uint8)
        picture[:, :32] = 120
        return Frame(picture, self._next * 40_000_000, self._next, self.name)

    def close(self) -> None:
        self._next = 6


def test_a_change_holds_from_the_next_picture_on(mean_bundle: bundle.Bundle) -> None:
    levels, threads = list[tuple[int, int]](), set[str]()
    fuser = Fuser(mean_bundle, threads=1, stretch="none", range="camera")
    controls = Controls(fuser)

    def look(result: Result) -> None:
        levels.append((int(result.picture.min()), int(result.picture.max())))
        if result.index == 2:  # from another thread, as the page does
            asking = threading.Thread(target=lambda: controls.ask(stretch="image"), name="page")
            asking.start()
            asking.join()
        threads.add(threading.current_thread().name)

    sources: dict[rig.Role, Flat] = {"infrared": Flat("ir"), "visible": Flat("vis")}
    run(Plan(sources, rig.Sync(tolerance_ms=10), fuser, "every", controls=controls, on_result=look))
    assert levels == [(100, 120)] * 3 + [(0, 255)] * 3
    assert controls.settings.stretch == "image"
    fuser.forget()
    assert fuser.stretch == "image"  # a new stream keeps it


def test_a_threshold_acts_on_the_detector_that_runs(finder_bundle: bundle.Bundle) -> None:
    infrared, visible = np.zeros((480, 640), np.uint8), np.zeros((480, 640, 3), np.uint8)
    infrared[200:300, 300:400] = 255
    visible[200:300, 300:400] = 255
    with Fuser(finder_bundle, threads=1, range="camera", stretch="none") as fuse:
        controls = Controls(fuse)
        assert controls.settings.score_threshold == fuse.score_threshold == 0.25
        found = fuse(infrared, visible).detections
        assert len(found)
        controls.ask(score_threshold=1.0)
        assert len(fuse(infrared, visible).detections) == len(found)  # not before the loop does it
        controls.apply(fuse)
        assert not len(fuse(infrared, visible).detections)
        controls.ask(score_threshold=0.0)
        controls.apply(fuse)
        assert len(fuse(infrared, visible).detections) >= len(found)


def test_what_cannot_be_is_refused_and_changes_nothing(
    mean_bundle: bundle.Bundle, finder_bundle: bundle.Bundle
) -> None:
    with Fuser(mean_bundle, threads=1) as plain, Fuser(finder_bundle, threads=1) as finding:
        controls, before = Controls(plain), Controls(plain).settings
        assert before.score_threshold is None
        for wish in (
            {"stretch": "wild"},
            {"score_threshold": 0.5},
            {"stretch": "none", "score_threshold": 1},
        ):
            with pytest.raises(RequestError):
                controls.ask(**wish)  # type: ignore[arg-type]
            assert controls.settings == before
        for value in (-0.1, 1.1, float("nan")):
            with pytest.raises(RequestError):
                Controls(finding).ask(score_threshold=value)
            with pytest.raises(RequestError):
                finding.score_threshold = value
        with pytest.raises(RequestError):
            plain.score_threshold = 0.5
        with pytest.raises(RequestError):
            plain.stretch = "wild"  # type: ignore[assignment]


REGISTRATION = rig.Registration(
    homography=((1.0, 0.0, 16.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    infrared_size=(64, 64),
    visible_size=(64, 64),
    distance_m=4.0,
    baseline_m=(1.0, 0.0),
    focal_px=16.0,
)
"""A thing at 4 m is shifted by 16 pixels; nearer by d metres, by 16 / d - 4 more."""


def edge_of(result: Result) -> int:
    """The column at which the right half begins in infrared as it lies on visible."""
    assert result.infrared is not None
    return int(np.argmax(np.diff(result.infrared[32].astype(int)) < -10)) + 1


def test_infrared_lies_as_was_asked_for_from_the_next_picture_on(mean_bundle: bundle.Bundle) -> None:
    edges, placed = list[int](), list[rig.Registration | None]()
    fuser = Fuser(mean_bundle, threads=1, stretch="none", range="camera")
    controls = Controls(fuser, on_placed=placed.append)

    def look(result: Result) -> None:
        edges.append(edge_of(result))
        if result.index == 0:
            assert controls.settings.distance_m is None
            with pytest.raises(RequestError, match="does not tell"):
                controls.ask(distance_m=2.0)
            controls.register(REGISTRATION)
            assert controls.settings.distance_m == 4.0
        if result.index == 1:
            controls.ask(distance_m=2.0)
        if result.index == 2:
            controls.register(REGISTRATION, 2.0)
            controls.ask(distance_m=rig.FARTHEST_M)
        if result.index == 3:
            controls.register(None)

    sources: dict[rig.Role, Flat] = {"infrared": Flat("ir"), "visible": Flat("vis")}
    run(Plan(sources, rig.Sync(tolerance_ms=10), fuser, "every", controls=controls, on_result=look))
    assert edges == [32, 48, 52, 44, 32, 32]
    shifts = [None if one is None else one.homography[0][2] for one in placed]
    assert shifts[:2] == [16.0, 20.0]
    assert shifts[2] == pytest.approx(12.0, abs=0.01)
    assert shifts[3:] == [None]


def test_what_would_end_the_run_is_refused(mean_bundle: bundle.Bundle) -> None:
    with Fuser(mean_bundle, threads=1, registration=REGISTRATION) as fuser:
        controls, before = Controls(fuser), Controls(fuser).settings
        for matrix in (
            ((1.0, 0.0, 64.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),  # beside the visible picture
            ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),  # to a line
            ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-0.03, 0.0, 1.0)),  # folded
        ):
            with pytest.raises(RequestError):
                controls.register(replace(REGISTRATION, homography=matrix))
        for distance_m in (0.1, float("nan"), float("inf"), -1.0):
            with pytest.raises(RequestError):
                controls.ask(distance_m=distance_m)
        assert controls.settings == before
        assert controls.registration is REGISTRATION
        aside = replace(REGISTRATION, homography=((1.0, 0.0, 60.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
        controls.register(aside)
        controls.ask(distance_m=6.0)
        with pytest.raises(RequestError, match="see nothing of the visible picture"):
            controls.ask(distance_m=1.5)  # shifted further, out of the picture
        assert controls.settings.distance_m == 6.0


def test_a_measured_place_follows_the_registration_and_is_never_lost(mean_bundle: bundle.Bundle) -> None:
    """A thermometer looks where the place is by the registration that holds now."""
    counts = np.tile(np.arange(64, dtype=np.uint16) * 10 + 30_001, (64, 1))  # hotter to the right
    spot = Measure(spot=(40.0, 32.0), picture="visible")
    thermometer = Thermometer("ir", Radiometry(scale=0.01, offset=0.0, unit="kelvin"), {"spot": spot})
    with Fuser(mean_bundle, threads=1, stretch="none") as fuser:
        analysis = Analysis(rig.SIMULATED, track=False, thermometer=thermometer)
        controls = Controls(fuser, analysis)
        with pytest.raises(RequestError, match="no picture has come"):
            controls.register(REGISTRATION)
        visible = np.zeros((64, 64, 3), np.uint8)
        pair = Pair(Frame(counts, 0, 0, "ir"), Frame(visible, 0, 0, "vis"))
        degrees = []
        for wish in (None, REGISTRATION):
            if wish is not None:
                controls.register(wish)
            controls.apply(fuser)
            result = fuser.fuse(pair)
            assert result is not None
            told = analysis(result).temperatures
            assert told is not None
            degrees.append(told["spot"].mean)
        assert degrees[0] - degrees[1] == pytest.approx(16 * 10 * 0.01)
        far = replace(REGISTRATION, homography=((1.0, 0.0, 50.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
        with pytest.raises(RequestError, match="outside of what infrared sees"):
            controls.register(far)
        assert controls.registration is REGISTRATION
