"""Zones and lines: geometry against OpenCV's, events against what is drawn by hand, and no storms."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.observations import Event
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.zones.geometry import distances, fault_of, meet, sides
from tdfusion_edge.runtime.zones.tables import Line, Zone
from tdfusion_edge.runtime.zones.watch import LineWatch, Moment, ZoneWatch

SECOND, SIZE = 1_000_000_000, (640, 480)
NAMES = ("person", "car")
SQUARE = ((100.0, 100.0), (300.0, 100.0), (300.0, 300.0), (100.0, 300.0))


def at(*feet: tuple[int, float, float], score: float = 0.9, name: str = "person") -> Detections:
    """Things with their track and the middle of their lower side."""
    count = len(feet)
    boxes = np.array([(x - 10, y - 40, x + 10, y) for _, x, y in feet], np.float32).reshape(count, 4)
    return Detections(
        boxes, np.full(count, score, np.float32), np.full(count, NAMES.index(name), np.int64), NAMES,
        np.array([track for track, _, _ in feet], np.int64),
    )  # fmt: skip


def walk(watch: ZoneWatch | LineWatch, places: Iterable[tuple[float, float] | None]) -> list[Event]:
    """Thing 7 at one place after the other, ten a second; None: not seen, and forgotten."""
    events = []
    for step, place in enumerate(places):
        found, tracks = (at(), set[int]()) if place is None else (at((7, *place)), {7})
        events += watch.update(Moment(found, step * SECOND // 10, None, tracks))
    return events


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


# --- geometry --------------------------------------------------------------------------------------

coordinates = st.integers(0, 60)
points = st.tuples(coordinates, coordinates)


@settings(max_examples=50, deadline=None)
@given(st.lists(points, min_size=3, max_size=7, unique=True), st.lists(points, min_size=1, max_size=5))
def test_distances_are_opencvs(corners: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    polygon = np.array(corners, np.float64)
    assume(fault_of(polygon) is None)
    want = [cv2.pointPolygonTest(polygon.astype(np.float32), (float(x), float(y)), True) for x, y in asked]
    got = distances(np.array(asked, np.float64), polygon)
    assert got == pytest.approx(np.array(want), abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(points, points, points, points)
def test_segments_meet_where_a_point_of_both_is_found(
    a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], d: tuple[int, int]
) -> None:
    assume(a != b)
    assume(c != d)
    one, other = np.array((a, b), float), np.array((c, d), float)
    assert meet(one, other) == meet(other, one) == meet(one[::-1], other)
    (p, u), (q, v) = (one[0], one[1] - one[0]), (other[0], other[1] - other[0])
    turn = u[0] * v[1] - u[1] * v[0]
    if turn:
        share = ((q - p)[0] * v[1] - (q - p)[1] * v[0]) / turn
        away = ((q - p)[0] * u[1] - (q - p)[1] * u[0]) / turn
        assume(all(abs(x) > 1e-9 and abs(x - 1) > 1e-9 for x in (share, away)))
        assert meet(one, other) == (0 <= share <= 1 and 0 <= away <= 1)


def test_sides_are_those_of_someone_who_looks_along_the_line() -> None:
    to_the_right = np.array([[0.0, 10], [100, 10]])
    assert sides(np.array([[50.0, 30], [50, 4]]), to_the_right) == pytest.approx([20, -6])


@pytest.mark.parametrize(
    ("corners", "fault"),
    [
        (((0, 0), (10, 10), (10, 0), (0, 10)), "crosses itself: [0, 0] to [10, 10] and [10, 0] to [0, 10]"),
        (((0, 0), (0, 0), (5, 5)), "got [0, 0] twice in a row"),
        (((0, 0), (5, 5), (9, 9)), "corners in one line"),
        (SQUARE, None),
    ],
)
def test_what_is_no_polygon_is_told(corners: tuple[tuple[float, float], ...], fault: str | None) -> None:
    found = fault_of(np.array(corners, float))
    assert (found is None) if fault is None else (found is not None and fault in found)


# --- zones -----------------------------------------------------------------------------------------


def test_a_thing_enters_dwells_and_leaves() -> None:
    watch = ZoneWatch("yard", Zone(polygon=SQUARE, dwell_s=1.0), SIZE)
    way = [(x, 200.0) for x in range(50, 400, 10)]
    events = walk(watch, way)
    assert kinds(events) == ["enter", "dwell", "leave"]
    enter, dwell, leave = events  # x is 100 in the sixth picture
    assert (enter.place, enter.track, enter.name, enter.seconds) == ("yard", 7, "person", None)
    assert (enter.time_ns, dwell.time_ns) == (5 * SECOND // 10, 15 * SECOND // 10), (
        "x is 100, and a second on"
    )
    # The border is at 300, and 0.02 of 480 are 9.6 pixels: 310 is the first place beyond.
    assert (leave.time_ns, leave.seconds, leave.lost) == (26 * SECOND // 10, 2.1, False)


def test_a_track_that_ends_inside_leaves_as_lost() -> None:
    events = walk(ZoneWatch("yard", Zone(polygon=SQUARE), SIZE), [(200, 200), (210, 200), None, None])
    assert [(event.kind, event.lost, event.seconds) for event in events] == [
        ("enter", False, None), ("leave", True, 0.1),
    ]  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 9.5), st.integers(0, 2**32 - 1), st.floats(85, 115))
def test_a_wobble_within_the_hysteresis_makes_no_storm(wobble: float, seed: int, middle: float) -> None:
    jitter = np.random.default_rng(seed).uniform(-wobble / 2, wobble / 2, 100)
    for watch in (
        ZoneWatch("z", Zone(polygon=SQUARE), SIZE),
        LineWatch("l", Line(points=((100, 0), (100, 480))), SIZE),
    ):
        assert len(walk(watch, [(middle + float(off), 200.0) for off in jitter])) <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.tuples(st.floats(0, 640), st.floats(0, 480))), max_size=40))
def test_whoever_entered_leaves_before_entering_again(places: list[tuple[float, float] | None]) -> None:
    watch = ZoneWatch("z", Zone(polygon=SQUARE, dwell_s=0.2), SIZE)
    events = [event for event in walk(watch, [*places, None]) if event.kind != "dwell"]
    assert kinds(events) == ["enter", "leave"] * (len(events) // 2)
    assert not watch._stays


def test_classes_and_scores_are_obeyed() -> None:
    watch = ZoneWatch("z", Zone(polygon=SQUARE, classes=("person",), score=0.6), SIZE)
    seen = [
        at((1, 200, 200), name="car"),
        at((2, 200, 200), score=0.5),
        at((2, 200, 200)),
        at((2, 200, 200), score=0.3),
    ]
    events = [watch.update(Moment(found, number, None, {1, 2})) for number, found in enumerate(seen)]
    assert [kinds(one) for one in events] == [[], [], ["enter"], []]


def test_boxes_without_a_track_count_nowhere() -> None:
    watch = ZoneWatch("z", Zone(polygon=SQUARE), SIZE)
    assert watch.update(Moment(at((-1, 200, 200)), 0, None, set())) == []


def test_the_anchor_is_where_it_is_said() -> None:
    for anchor, inside in (("bottom", False), ("centre", True)):
        watch = ZoneWatch("z", Zone(polygon=SQUARE, anchor=anchor), SIZE)  # type: ignore[arg-type]
        assert bool(walk(watch, [(200, 315)])) == inside, "feet at 315, the centre at 295"


def test_fractions_are_of_the_picture() -> None:
    zone = Zone(polygon=((0.5, 0.5), (1, 0.5), (1, 1), (0.5, 1)), units="fraction")
    for size, inside in (((640, 480), (330, 250)), ((1280, 960), (660, 500))):
        assert kinds(walk(ZoneWatch("z", zone, size), [(10, 10), inside])) == ["enter"]


# --- lines -----------------------------------------------------------------------------------------


def test_a_line_is_crossed_between_its_ends_in_a_direction() -> None:
    line = Line(points=((320, 300), (320, 100)))  # looked along: upwards, so that right is right

    def crossed(*places: tuple[float, float]) -> list[str | None]:
        return [event.to for event in walk(LineWatch("l", line, SIZE), places)]

    assert crossed((200, 200), (315, 200), (340, 200), (400, 200)) == ["right"]
    assert crossed((400, 200), (200, 200), (400, 200)) == ["left", "right"]
    assert crossed((200, 400), (400, 400)) == [], "below its end"
    assert crossed((200, 400), (400, 400), (400, 200), (300, 200)) == ["left"]


# --- the rig ---------------------------------------------------------------------------------------

CAMERAS = '[cameras.a]\nuri = "x"\n'


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("[zones.a]\npolygon = [[0, 0], [9, 9], [9, 0], [0, 9]]", "crosses itself"),
        ("[zones.a]\npolygon = [[0, 0], [9, 9]]", "length >= 3"),
        ("[zones.a]\npolygons = []", "Did you mean 'polygon'?"),
        ("[zones.a]\npolygon = [[0, 0], [9, 9], [-1, 0]]", ">= 0"),
        ('[zones.a]\nunits = "fraction"\npolygon = [[0, 0], [1, 1], [2, 0]]', "expected 0 to 1"),
        ("[zones.a]\npolygon = [[0, 0], [9, 9], [9, 0]]\ndwell_s = 0", "> 0"),
        ("[zones.a]\npolygon = [[0, 0], [9, 9], [9, 0]]\ndwell = 3", "Did you mean 'dwell_s'?"),
        ("[lines.a]\npoints = [[3, 3], [3, 3]]", "expected two points"),
        ("[lines.a]\npoints = [[3, 3]]", "length 2"),
        ("[tracks]\nlost_s = 0", "> 0"),
        ("[measure.a]\nof = 'max'", "expected one of spot, line and area, got none"),
        ("[measure.a]\nspot = [1, 1]\narea = [[0, 0], [9, 9], [9, 0]]", "got spot and area"),
        ("[measure.a]\nspot = [1, 1]\nabove = 10\nbelow = 20", "expected below under above"),
        ("[measure.a]\nspot = [1, 1]\nabove = -300", ">= -273.15"),
        ("[mqtt]\npassword = 'x'", "Did you mean 'password_file'?"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, tells: str) -> None:
    (tmp_path / "rig.toml").write_text(CAMERAS + text)
    with pytest.raises(ConfigError) as caught:
        rig.read(tmp_path / "rig.toml")
    assert tells in str(caught.value)


def test_a_place_outside_of_the_picture_is_refused_once_its_size_is_known() -> None:
    zone = Zone(polygon=((0, 0), (700, 0), (700, 400)))
    with pytest.raises(ConfigError) as caught:
        ZoneWatch("gate", zone, SIZE)
    assert "[zones.gate] lies outside of the visible picture" in str(caught.value)
    assert "expected points within 640x480, got [700, 0]" in str(caught.value)
