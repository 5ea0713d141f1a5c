"""Runs of the whole program on some of the cores: where they ran, what they saw, what is read of them."""

from __future__ import annotations

import os
from pathlib import Path

import av
import pytest

from benchmarks import script
from benchmarks.schema import read
from benchmarks.throughput.__main__ import (
    BENCHMARK,
    WARM_UP,
    figures_of,
    latencies_of,
    record,
    run_on,
    usable_cores,
)
from benchmarks.throughput.child import Answer, Request
from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError, WorkError


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return record(tmp_path_factory.mktemp("recorded"), (160, 128), 35)


def test_both_recordings_have_every_picture(recorded: dict[str, str]) -> None:
    for path in recorded.values():
        with av.open(path) as opened:
            shapes = [(frame.width, frame.height) for frame in opened.decode(video=0)]
        assert shapes == [(160, 128)] * 35


def test_a_run_keeps_to_its_core_and_takes_every_pair(recorded: dict[str, str], tmp_path: Path) -> None:
    core = usable_cores()[-1]
    request = Request(
        bundle=str(bundle.default_path()), output=str(tmp_path / "o.jsonl"), threads=1, **recorded
    )
    found = run_on([core], request, tmp_path)
    assert (found.cores, found.pictures, found.written) == (1, 35, 35)
    assert len(found.intervals_ms) == len(found.cpu_ms) == 34
    assert {"align", "network", "detect", "compose"} <= found.latency_ms.keys()
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 35
    assert core in os.sched_getaffinity(0), "this process keeps its own"


def test_a_run_that_fails_says_why(recorded: dict[str, str], tmp_path: Path) -> None:
    request = Request(bundle=str(tmp_path / "gone"), output=str(tmp_path / "o.jsonl"), threads=1, **recorded)
    with pytest.raises(WorkError, match="there is no bundle at"):
        run_on(usable_cores()[:1], request, tmp_path)


def test_the_rate_is_that_behind_the_warm_up() -> None:
    slow, fast = (1000.0,) * WARM_UP, (10.0,) * 99 + (30.0,)
    found = Answer(
        cores=1,
        pictures=WARM_UP + 101,
        intervals_ms=slow + fast,
        cpu_ms=slow + (5.0,) * 100,
        latency_ms={"align": {"p50": 1.0, "p95": 1.0, "p99": 2.0, "max": 3.0}},
        written=WARM_UP + 101,
    )
    figures = {figure.name: figure.value for figure in figures_of("case", found)}
    assert figures["case: throughput"] == pytest.approx(100 / 1.02, abs=0.01)
    assert figures["case: processor time"] == 5.0
    whole, align = latencies_of("case", found)
    assert (whole.name, whole.p50, whole.max) == ("case: picture to picture", 10.0, 30.0)
    assert 10.0 < whole.p99 < 30.0
    assert align.name == "case: align"


def test_too_few_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    with pytest.raises(RequestError, match="expected 2 or more, got 1"):
        usable_cores()
    monkeypatch.delattr(os, "sched_getaffinity")
    with pytest.raises(RequestError, match="expected Linux"):
        usable_cores()


@pytest.mark.slow
def test_a_bundle_is_run_on_two_cores_and_on_one(tmp_path: Path) -> None:
    path = tmp_path / "throughput.json"
    options = ["--bundle", "edge", "--frames", "70", "--size", "160x128"]
    assert script.main(BENCHMARK, [*options, "--output", str(path)]) == 0
    figures = {figure.name: figure.value for figure in read(path).results.figures}
    for cores in ("2 cores", "1 core"):
        for output in ("boxes as JSONL", "video"):
            assert figures[f"edge, {cores}, {output}: throughput"] > 0
    twice = [*options, "--bundle", "edge", "--output", str(path)]
    assert script.main(BENCHMARK, twice) == 0  # one place named twice is one bundle
