"""The benchmark of the live page runs, and its file keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.live.page import BENCHMARK, CPU_WATCHED, WATCHED
from benchmarks.schema import read
from benchmarks.script import main


@pytest.mark.slow
def test_the_page_is_measured(mean_bundle_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.json"
    options = ["--rounds", "1", "--seconds", "1", "--viewers", "3", "--threads", "1"]
    code = main(BENCHMARK, [*options, "--bundle", str(mean_bundle_path), "--output", str(output)])
    assert code == 0
    results = read(output).results
    assert {timing.name for timing in results.timings} > {WATCHED, CPU_WATCHED}
    assert [latency.name for latency in results.latencies] == ["capture to viewer"]
    figures = {figure.name: figure.value for figure in results.figures}
    assert figures["pictures shown, slowest viewer"] > 0
    assert figures["pictures made, all viewers"] > 0
