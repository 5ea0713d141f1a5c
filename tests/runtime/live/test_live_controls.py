"""What the page changes holds from the next picture on, and what it may not change is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.pipeline.controls import Controls
from tdfusion_edge.runtime.pipeline.loop import Plan, run


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
