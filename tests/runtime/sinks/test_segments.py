"""Outputs in segments: whole files that follow each other, and a budget that touches nothing else."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink_results import FRAME_NS, noisy, numbered, numbers, result

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.sinks import Sink, open_sink
from tdfusion_edge.runtime.sinks.segments import Budget, Limits, SegmentedSink, free_stamp, utc_stamp

UTC = 1_772_366_400_250_000_000
SECOND = 10**9


def sink_of(path: Path, limits: Limits, budget: Budget | None = None) -> SegmentedSink:
    wall = itertools.count(UTC, SECOND)
    return SegmentedSink(path, open_sink, limits, budget or Budget(None), wall_clock=lambda: next(wall))


def fill(sink: Sink, count: int, size: tuple[int, int] = (80, 32)) -> None:
    for index in range(count):
        sink.write(result(index, image=noisy(index, size)))
    sink.close()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_segments_of_a_second_hold_every_picture_once(tmp_path: Path, suffix: str) -> None:
    fill(sink_of(tmp_path / f"fused{suffix}", Limits(seconds=1.0)), 70)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == [f"fused-20260301T12000{n}.250Z{suffix}" for n in range(3)]
    shown = [numbers(tmp_path / name) for name in found]
    assert [len(one) for one in shown] == [31, 31, 8]  # 30 steps of 33.3 ms are 0.99999999 s
    assert [*itertools.chain(*shown)] == list(range(70))


def test_segments_by_size_end_behind_it(tmp_path: Path) -> None:
    fill(sink_of(tmp_path / "found.jsonl", Limits(bytes=2000)), 40)
    found = sorted(tmp_path.iterdir())
    lines = [path.read_text().splitlines() for path in found]
    assert [json.loads(line)["index"] for one in lines for line in one] == list(range(40))
    assert all(2000 <= path.stat().st_size < 2400 for path in found[:-1])
    assert len(found) > 3


def test_pictures_of_another_size_begin_a_segment(tmp_path: Path) -> None:
    sink = sink_of(tmp_path / "fused.mp4", Limits(seconds=100))
    for index, size in enumerate([(80, 32), (80, 32), (160, 64)]):
        sink.write(result(index, image=numbered(index, size)))
    sink.close()
    assert [numbers(path) for path in sorted(tmp_path.iterdir())] == [[0, 1], [2]]


def test_nothing_is_made_before_a_picture_comes_and_a_bad_place_is_refused_at_once(tmp_path: Path) -> None:
    sink_of(tmp_path / "fused.mp4", Limits(seconds=1)).close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(RequestError, match="there is no folder"):
        sink_of(tmp_path / "not" / "fused.mp4", Limits(seconds=1))


def test_a_name_that_is_taken_is_left_alone() -> None:
    taken = {utc_stamp(UTC), utc_stamp(UTC + 1_000_000)}
    assert free_stamp(UTC, taken.__contains__) == "20260301T120000.252Z"


def test_a_budget_is_for_all_outputs_together_and_takes_the_oldest(tmp_path: Path) -> None:
    budget = Budget(60_000, clock=lambda: 0)
    video = sink_of(tmp_path / "fused.mkv", Limits(seconds=1), budget)
    lines = sink_of(tmp_path / "found.jsonl", Limits(seconds=1000), budget)
    for index in range(300):
        for sink in (lines, video):
            sink.write(result(index, image=noisy(index, (160, 128))))
    for sink in (lines, video):
        sink.close()
    videos = sorted(tmp_path.glob("*.mkv"))
    assert 1 <= len(videos) < 8
    assert numbers(videos[-1])[-1] == 299
    # Older than all of them, and still the one that is being written.
    (only,) = tmp_path.glob("*.jsonl")
    assert len(only.read_text().splitlines()) == 300
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert total <= 60_000 + 2 * max(path.stat().st_size for path in videos)
    assert budget.removed >= 3


NAMES = st.one_of(
    st.sampled_from(["fused.mp4", "fused-.mp4", "fused-20260301T120000.250Z.mkv",
                     "fused-20260301T120000Z.mp4", "xfused-20260301T120000.250Z.mp4",
                     "fused-20260301T120000.250Z.mp4.part",
                     "fused-20260301T120000.250Z keep.mp4", "fused-２0260301T120000.250Z.mp4"]),
    st.text("fused-0123456789TZ.mp4", min_size=1, max_size=30).filter(lambda text: text not in (".", "..")),
)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(NAMES, max_size=6), ours=st.integers(0, 4))
def test_only_names_of_ours_ever_go(tmp_path: Path, names: set[str], ours: int) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    own = {f"fused-{utc_stamp(UTC + n * SECOND)}.mp4" for n in range(ours)}
    for name in names | own:
        (folder / name).write_bytes(bytes(5000))
    budget = Budget(0)
    number = budget.add(folder, "fused-", (".mp4",))
    budget.look([number], "", now=True)
    assert {path.name for path in folder.iterdir()} == names - own
    assert budget.removed == ours


def test_links_and_folders_of_our_name_stay(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(bytes(5000))
    link = tmp_path / f"fused-{utc_stamp(UTC)}.mp4"
    link.symlink_to(target)
    (tmp_path / f"fused-{utc_stamp(UTC + SECOND)}.mp4").mkdir()
    budget = Budget(0)
    budget.look([budget.add(tmp_path, "fused-", (".mp4",))], "", now=True)
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 3
    assert os.path.getsize(target) == 5000  # noqa: PTH202


def test_a_segment_that_somebody_removed_costs_nothing_else(tmp_path: Path) -> None:
    budget = Budget(1, clock=lambda: 0)
    sink = sink_of(tmp_path / "found.jsonl", Limits(seconds=1), budget)
    for index in range(100):
        sink.write(result(index, index * FRAME_NS))
        if index == 40:
            for path in tmp_path.iterdir():
                path.unlink()
    sink.close()
    assert list(tmp_path.iterdir())
