"""The whole loop: two sources, a real engine, real files, and what the report says about it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from finder import CLASSES
from sink_results import number_of, numbered

from tdfusion_edge import bundle
from tdfusion_edge.errors import SinkError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.heads.colours import COLOURS
from tdfusion_edge.runtime.pairing.streams import Mode
from tdfusion_edge.runtime.picture.stretch import StretchName
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.sinks import Sink, open_sink

STEP_NS = 40_000_000


class Play:
    """A recorded source that shows the numbers of its frames; None is a frame that was lost."""

    live = False

    def __init__(self, name: str, numbers: list[int | None], *, fails: bool = False) -> None:
        self.name, self._fails = name, fails
        self._steps = list(enumerate(numbers))

    def read(self) -> Frame | None:
        while self._steps:
            sequence, number = self._steps.pop(0)
            if number is not None:
                return Frame(numbered(number, (80, 48)), sequence * STEP_NS, sequence, self.name)
        if self._fails:
            raise SourceError(f"{self.name} is damaged")
        return None

    def close(self) -> None:
        self._steps = []


def plan(
    mean_bundle: bundle.Bundle,
    infrared: Play,
    visible: Play,
    sinks: list[Sink],
    policy: rig.Policy = "drop",
    mode: Mode = "every",
    stretch: StretchName = "none",
    **options: object,
) -> Plan:
    fuser = Fuser(mean_bundle, threads=1, stretch=stretch)
    sync = rig.Sync(tolerance_ms=10, policy=policy, silent_ms=100)
    return Plan({"infrared": infrared, "visible": visible}, sync, fuser, mode, sinks, **options)  # type: ignore[arg-type]


def shown(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number_of(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]


def test_every_pair_reaches_every_sink_once_and_in_order(mean_bundle: bundle.Bundle, tmp_path: Path) -> None:
    numbers: list[int | None] = list(range(60))
    sinks = [open_sink(tmp_path / "out.mp4"), open_sink(tmp_path / "out.jsonl"), open_sink(tmp_path / "png")]
    report = run(plan(mean_bundle, Play("ir", numbers), Play("vis", numbers), sinks))
    assert shown(tmp_path / "out.mp4") == list(range(60))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows if "index" in row] == list(range(60))
    assert len(list((tmp_path / "png").iterdir())) == 60
    facts = report.as_dict()
    assert facts["pictures"] == facts["written"] == 60
    assert facts["fps"] == pytest.approx(25)
    assert facts["cameras"]["infrared"] == {"paired": 60, "failures": 0}
    assert list(facts["latency_ms"]) == ["align", "network", "compose", "hand over"]
    assert facts["detections"] == {}
    assert all(len(histogram) == 60 for histogram in report.latency.values())


def test_frames_without_partner_follow_the_policy_and_are_counted(
    mean_bundle: bundle.Bundle, tmp_path: Path
) -> None:
    infrared = [0, 1, None, 3, *[None] * 10, 14, 15]
    visible: list[int | None] = list(range(16))
    expected = {
        "drop": ([0, 1, 3, 14, 15], {}),
        "hold-last": ([0, 1, 2, 3, 4, 5, 14, 15], {"held": 3}),
        "single": ([0, 1, 3, *range(6, 14), 14, 15], {"infrared missing": 8}),
    }
    for policy, (numbers, degraded) in expected.items():
        out = tmp_path / f"{policy}.mp4"
        made = plan(mean_bundle, Play("ir", list(infrared)), Play("vis", visible), [open_sink(out)], policy)  # type: ignore[arg-type]
        facts = run(made).as_dict()
        visible_times = [row[0] for row in times(out)]
        assert visible_times == [number * STEP_NS // 1_000_000 for number in numbers], policy
        assert facts["degraded"] == degraded, policy
        counts = facts["cameras"]["visible"]
        assert sum(count for reason, count in counts.items() if reason not in ("missing", "failures")) == 16
        assert facts["waiting_for_size"] == 0


def times(path: Path) -> list[tuple[int, int]]:
    """Time in milliseconds and number of every frame."""
    with av.open(str(path)) as container:
        return [
            (round(float(frame.time or 0) * 1000), number_of(frame.to_ndarray(format="bgr24")))
            for frame in container.decode(video=0)
        ]


def test_stop_closes_the_files_properly(mean_bundle: bundle.Bundle, tmp_path: Path) -> None:
    stop = threading.Event()

    class StopAt:
        """A sink that asks for the end at its tenth result."""

        def __init__(self) -> None:
            self.closed = False

        def write(self, result: Result) -> None:
            if result.index == 9:
                stop.set()

        def close(self) -> None:
            self.closed = True

        def abort(self) -> None:
            raise AssertionError("an end that was asked for is no failure")

    sink = StopAt()
    numbers: list[int | None] = list(range(1000))
    sinks: list[Sink] = [open_sink(tmp_path / "out.mp4"), sink]
    report = run(plan(mean_bundle, Play("ir", numbers), Play("vis", numbers), sinks, stop=stop))
    assert sink.closed
    assert 10 <= report.pictures < 1000
    assert shown(tmp_path / "out.mp4") == list(range(report.pictures))


def test_seconds_of_a_recording_are_its_own(mean_bundle: bundle.Bundle, tmp_path: Path) -> None:
    numbers: list[int | None] = list(range(100))
    made = plan(
        mean_bundle, Play("ir", numbers), Play("vis", numbers), [open_sink(tmp_path / "o.mp4")], seconds=0.4
    )
    assert run(made).pictures == 10
    assert shown(tmp_path / "o.mp4") == list(range(10))


def test_a_damaged_source_ends_the_run_with_its_error_and_whole_files(
    mean_bundle: bundle.Bundle, tmp_path: Path
) -> None:
    numbers: list[int | None] = list(range(20))
    made = plan(
        mean_bundle, Play("ir", numbers, fails=True), Play("vis", numbers), [open_sink(tmp_path / "o.mp4")]
    )
    report = run(made)
    assert isinstance(report.failure, SourceError)
    assert "ir is damaged" in str(report.failure)
    assert "20 pictures" in report.as_table()
    assert shown(tmp_path / "o.mp4") == list(range(20))


class Live(Play):
    """A live camera."""

    live = True


@pytest.mark.parametrize("kind", [Play, Live])
def test_live_pictures_carry_the_wall_clock_and_recorded_ones_none(
    mean_bundle: bundle.Bundle, tmp_path: Path, kind: type[Play]
) -> None:
    """The wall clock is set three hours ahead behind the second picture, as on a device without a battery."""
    numbers: list[int | None] = [0, 1, 2]
    second = 1_000_000_000
    booted, set_right = 1_772_366_400 * second, 1_772_377_200 * second
    now = [0]
    pictures = iter((booted, booted, set_right))
    lines = tmp_path / "out.jsonl"
    made = plan(
        mean_bundle,
        kind("ir", numbers),
        kind("vis", numbers),
        [open_sink(lines)],
        clock=lambda: now[0] + 250_000_000,
        wall_clock=lambda: next(pictures) + now[0],
        on_result=lambda result: now.__setitem__(0, now[0] + STEP_NS),
    )
    run(made)
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["t"] for row in rows] == [0, 0.04, 0.08]
    if kind is Play:
        assert [row["utc"] for row in rows] == [None] * 3
        return
    # A quarter of a second passed between capture and fusion.
    assert [row["utc"] for row in rows] == [
        "2026-03-01T11:59:59.750000Z",
        "2026-03-01T11:59:59.790000Z",
        "2026-03-01T14:59:59.830000Z",
    ]


class Full:
    """A sink on a full disk."""

    def write(self, result: Result) -> None:
        raise SinkError("disk full")

    def close(self) -> None:
        raise AssertionError("a sink that failed is aborted")

    def abort(self) -> None: ...


def test_a_sink_that_fails_leaves_the_others_the_whole_run(
    mean_bundle: bundle.Bundle, tmp_path: Path
) -> None:
    numbers: list[int | None] = list(range(60))
    made = plan(
        mean_bundle, Play("ir", numbers), Play("vis", numbers), [Full(), open_sink(tmp_path / "o.mp4")]
    )
    report = run(made)
    assert report.failure is None
    assert shown(tmp_path / "o.mp4") == list(range(60))
    facts = report.as_dict()
    assert (facts["written"], facts["failed_sinks"], facts["pictures"]) == (60, 1, 60)
    assert "sinks:     60 written, 0 dropped, 1 failed" in report.as_table()


@pytest.mark.parametrize("together", [False, True])
def test_a_run_ends_where_no_sink_is_left_or_they_belong_together(
    mean_bundle: bundle.Bundle, tmp_path: Path, together: bool
) -> None:
    numbers: list[int | None] = list(range(500))
    sinks: list[Sink] = [Full(), open_sink(tmp_path / "o.mp4") if together else Full()]
    made = plan(mean_bundle, Play("ir", numbers), Play("vis", numbers), sinks, together=together)
    report = run(made)
    assert isinstance(report.failure, SinkError)
    assert "disk full" in str(report.failure)
    assert report.pictures < 500
    if together:
        written = shown(tmp_path / "o.mp4")
        assert written == list(range(len(written))), "what was queued for the other sink is whole"
        assert written
    assert not any(thread.name.startswith(("read", "sinks")) for thread in threading.enumerate())


def test_pictures_handed_over_are_never_changed_afterwards(mean_bundle: bundle.Bundle) -> None:
    class Keep:
        def __init__(self) -> None:
            self.kept: list[tuple[Image, Image]] = []

        def write(self, result: Result) -> None:
            self.kept.append((result.picture, result.picture.copy()))

        def close(self) -> None: ...

        def abort(self) -> None: ...

    keep = Keep()
    numbers: list[int | None] = list(range(50))
    run(plan(mean_bundle, Play("ir", numbers), Play("vis", numbers), [keep]))
    assert len(keep.kept) == 50
    assert all(np.array_equal(later, then) for later, then in keep.kept)


class Moving(Play):
    """Shows a bright block that moves two pixels to the right with every frame, on a dark ground."""

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None:
            return None
        image = np.full((48, 64), 20, np.uint8)
        image[block(frame.sequence)] = 240
        return Frame(image, frame.time_ns, frame.sequence, frame.source)


def block(number: int) -> tuple[slice, slice]:
    return np.s_[10:30, 2 * number : 2 * number + 12]


def test_what_the_detector_finds_reaches_the_files_and_the_report(
    finder_bundle: bundle.Bundle, tmp_path: Path
) -> None:
    numbers: list[int | None] = list(range(20))
    sinks = [
        open_sink(tmp_path / "out.jsonl"),
        open_sink(tmp_path / "boxes", picture=annotated),
        open_sink(tmp_path / "clean"),
        open_sink(tmp_path / "out.mp4", picture=annotated),
    ]
    made = plan(finder_bundle, Moving("ir", numbers), Moving("vis", numbers), sinks)
    report = run(made)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        (found,) = row["detections"]
        assert (found["class"], found["box"]) == (CLASSES[0], [2 * number, 10, 2 * number + 12, 30])
        assert found["score"] == pytest.approx(240 / 255, abs=1e-3)
        clean = cv2.imread(str(tmp_path / "clean" / f"{number:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert clean.ndim == 2
        assert set(np.unique(clean)) == {20, 240}
        assert (clean[block(number)] == 240).all()
        drawn = cv2.imread(str(tmp_path / "boxes" / f"{number:06d}.png"))
        assert tuple(drawn[27, 2 * number]) == COLOURS[0]
        assert tuple(drawn[29, 2 * number + 6]) == COLOURS[0]
    assert len(rows) == 20
    assert len(shown(tmp_path / "out.mp4")) == 20
    facts = report.as_dict()
    assert facts["detections"] == {"bright": 20}
    assert list(facts["latency_ms"]) == ["align", "network", "detect", "compose", "hand over"]
    assert len(report.latency["detect"]) == 20
    table = report.as_table()
    assert "detected:  20 bright" in table
    assert "\n  detect   " in table


def test_a_sensor_alone_is_looked_at_too_and_the_stretch_changes_nothing(
    finder_bundle: bundle.Bundle, tmp_path: Path
) -> None:
    """Infrared is lost behind the second frame; what is found then was found in visible alone."""
    infrared, visible = Moving("ir", [0, 1]), Moving("vis", list(range(10)))
    sinks = [open_sink(tmp_path / "out.jsonl")]
    made = plan(finder_bundle, infrared, visible, sinks, "single", stretch="image")
    run(made)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["degraded"] for row in rows] == [None] * 2 + ["infrared missing"] * (len(rows) - 2)
    assert len(rows) > 4
    for row in rows:
        (found,) = row["detections"]
        number = row["visible_sequence"]
        assert found["box"] == [2 * number, 10, 2 * number + 12, 30]
        assert found["score"] == pytest.approx(240 / 255, abs=1e-3), "stretched it would be 1"
