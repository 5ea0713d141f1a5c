"""Tracks, events and temperatures in a run: what is joined to results, drawn, carried on and refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_results import numbered, result

from tdfusion_edge import stream
from tdfusion_edge.cli import main
from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Image
from tdfusion_edge.observations import MOST_EVENTS, Event, Mark
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.pipeline.analysis import Analysis
from tdfusion_edge.runtime.pipeline.worker import SinkWorker
from tdfusion_edge.runtime.zones.tables import Line, Zone


class Gathering:
    """A sink that holds still until it is let go, and gathers events."""

    def __init__(self) -> None:
        self.events: list[int] = []

    def write(self, result: Result) -> None:
        self.events += [event.time_ns for event in result.events]

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 3))
def test_events_of_results_that_are_left_out_come_with_the_next(counts: Sequence[int], capacity: int) -> None:
    """Whatever the thread takes and whatever is pushed out: every event arrives once, in order."""
    sink, total = Gathering(), 0
    with SinkWorker([sink], mode="latest", capacity=capacity) as worker:
        for index, count in enumerate(counts):
            events = tuple(Event("enter", "gate", total + one) for one in range(count))
            total += count
            worker.put(replace(result(index), events=events))
    assert sink.events == [*range(total)]


def test_events_that_wait_are_bounded() -> None:
    worker = SinkWorker([], mode="latest")
    old, new = (
        replace(result(index), events=tuple(Event("enter", "g", at) for at in range(begin, begin + 700)))
        for index, begin in ((0, 0), (1, 700))
    )
    kept = worker._left_out(old, new)
    assert [event.time_ns for event in kept.events] == [*range(1400 - MOST_EVENTS, 1400)]
    worker.close()


def test_marks_are_drawn_and_nothing_is_where_there_are_none() -> None:
    before = result(0, image=np.full((240, 320, 3), 90, np.uint8))
    assert annotated(before) is before.picture
    square = Mark(((50, 60), (250, 60), (250, 200), (50, 200)), "gate 1", alarmed=True)
    drawn = annotated(replace(before, marks=(square, Mark(((160.5, 120.5),), "bearing 80.1 C"))))
    assert drawn[120, 50, 2] > 200
    assert drawn[120, 160, 0] < 50
    assert (drawn[150:190, 60:240] == 90).all()
    assert (before.picture == 90).all()


def test_a_run_numbers_what_it_finds_and_tells_what_happens() -> None:
    tables = rig.Rig(
        cameras={},
        zones={"left": Zone(polygon=((0, 0), (0.5, 0), (0.5, 1), (0, 1)), units="fraction")},
        lines={"middle": Line(points=((160, 240), (160, 0)), hysteresis=0)},
    )
    analysis, told = Analysis(tables, track=True), []
    for index in range(20):
        box = np.array([[10 + 13 * index, 60, 40 + 13 * index, 160]], np.float32)
        found = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64), ("person",))
        seen = analysis(result(index, image=numbered(index, (320, 240)), detections=found))
        told += [(event.kind, event.place, event.track, event.to) for event in seen.events]
        assert seen.detections.track_ids is not None
        assert seen.detections.track_ids.tolist() == ([1] if index else [-1])
        assert len(seen.marks) == 2
    assert told == [("enter", "left", 1, None), ("leave", "left", 1, None), ("cross", "middle", 1, "right")]


def folders(folder: Path, infrared: Image, count: int = 4) -> str:
    """A rig of two folders with a bright block that stays; the lines that every rig here begins with."""
    visible = np.full((48, 64, 3), 20, np.uint8)
    visible[10:30, 16:40] = 240
    for name, picture in (("ir", infrared), ("vis", visible)):
        (folder / name).mkdir()
        for number in range(count):
            cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return "".join(
        f'[cameras.{name}]\nuri = "{folder / place}"\nrole = "{role}"\n'
        for name, place, role in (("ir0", "ir", "infrared"), ("vis0", "vis", "visible"))
    )


COUNTS = np.full((48, 64), 29_315, np.uint16)
"""20 degrees in hundredths of a kelvin."""
COUNTS[10:30, 16:40] = 33_315


def test_a_run_of_a_radiometric_rig(
    tmp_path: Path, finder_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = folders(tmp_path, COUNTS) + (
        "[cameras.ir0.radiometry]\nscale = 0.01\n"
        "[measure.block]\nspot = [24, 20]\nabove = 50\n"
        '[zones.all]\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\nunits = "fraction"\n'
    )
    (tmp_path / "rig.toml").write_text(text)
    options = ["--bundle", str(finder_bundle_path), "--rig", str(tmp_path / "rig.toml"), "--stretch", "none"]
    assert main(["run", "--camera", "ir0,vis0", "-o", str(tmp_path / "o.jsonl"), "--json", *options]) == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["detections"][0]["track"] for row in rows] == [None, 1, 1, 1]
    assert [[event["event"] for event in row["events"]] for row in rows] == [["above"], ["enter"], [], []]
    assert rows[-1]["temperatures"] == {"block": {"min": 60, "max": 60, "mean": 60}}
    figures = json.loads(capsys.readouterr().out)
    assert figures["events"] == {"above block": 1, "enter all": 1}
    assert set(figures["latency_ms"]) >= {"analyse"}
    results = [*stream("ir0,vis0", rig=tmp_path / "rig.toml", bundle=finder_bundle_path, stretch="none")]
    assert [event.kind for one in results for event in one.events] == ["above", "enter"]


@pytest.mark.parametrize(
    ("table", "options", "tells"),
    [
        ("[measure.a]\nspot = [1, 1]", [], "what counts of 'ir0' mean is not stated"),
        ("[cameras.vis0.radiometry]\nscale = 0.1", [], "the camera is the visible one"),
        ("[cameras.ir0.radiometry]\nscale = 0.01\n[measure.a]\nspot = [1, 1]", [], "gives no temperatures"),
        ("[zones.a]\npolygon = [[0, 0], [9, 0], [9, 9]]\nclasses = ['tram']", [], "nothing detects 'tram'"),
        (
            "[zones.a]\npolygon = [[0, 0], [99, 0], [9, 9]]",
            [],
            "[zones.a] lies outside of the visible",
        ),
        ("[lines.a]\npoints = [[0, 0], [9, 0]]", ["--no-detect"], "[lines.a] needs detections"),
        ("", ["--track", "--no-detect"], "--track, but nothing is detected"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    finder_bundle_path: Path,
    capsys: pytest.CaptureFixture[str],
    table: str,
    options: list[str],
    tells: str,
) -> None:
    (tmp_path / "rig.toml").write_text(folders(tmp_path, COUNTS.astype(np.uint8), 1) + table)
    given = ["--camera", "ir0,vis0", "--rig", str(tmp_path / "rig.toml"), "--bundle", str(finder_bundle_path)]
    assert main(["run", *given, "-o", str(tmp_path / "o.jsonl"), *options]) == 2
    assert tells in capsys.readouterr().err
    assert not (tmp_path / "o.jsonl").exists()
