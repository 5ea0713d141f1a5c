"""The benchmarks themselves: watching a process, accounting for frames, and that every script runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import script, soak
from benchmarks.process import Memory, report_in, run_command, watch
from benchmarks.schema import read
from tdfusion_edge import bundle, config
from tdfusion_edge.errors import RequestError, TdfusionError, WorkError
from tdfusion_edge.runtime.rig import SIMULATED, Rig


def test_the_memory_of_a_process_is_watched_until_its_end() -> None:
    code = "import time; x = b'1' * 80_000_000; time.sleep(0.3); del x; time.sleep(0.3); print('{\"a\": 1}')"
    watched = watch([sys.executable, "-c", code], interval_s=0.05, timeout_s=30)
    assert report_in(watched.output) == {"a": 1}
    assert watched.peak_megabytes >= 80
    assert watched.memory[-1].megabytes < watched.peak_megabytes - 60
    times = [point.seconds for point in watched.memory]
    assert times == sorted(times)


def test_the_peak_of_a_process_is_not_that_of_its_parent() -> None:
    ballast = bytearray(os.urandom(1 << 20)) * 150  # 157 MB in this process
    watched = watch([sys.executable, "-c", "import time; time.sleep(0.3)"], interval_s=0.05, timeout_s=30)
    assert watched.peak_megabytes < 100 < len(ballast) / 1e6


def test_a_process_that_fails_or_hangs_is_an_error() -> None:
    with pytest.raises(WorkError, match="no such camera"):
        watch([sys.executable, "-c", "raise SystemExit('no such camera')"], interval_s=0.05, timeout_s=30)
    with pytest.raises(WorkError, match="does not end"):
        watch([sys.executable, "-c", "import time; time.sleep(60)"], interval_s=0.05, timeout_s=0.2)


@pytest.mark.parametrize("output", ["", "[1]", "half {"])
def test_a_run_without_report_is_an_error(output: str) -> None:
    with pytest.raises(WorkError, match="no report"):
        report_in(output)


def test_a_run_takes_the_simulated_rig_whatever_the_user_has(tmp_path: Path) -> None:
    command = run_command(tmp_path, 5, tmp_path / "edge", threads=2, video=False)
    assert command[command.index("--camera") + 1] == "ir0,vis0"
    described = config.load(Path(command[command.index("--rig") + 1]), Rig)
    assert {name: camera.uri for name, camera in described.cameras.items()} == {
        name: camera.uri for name, camera in SIMULATED.cameras.items()
    }
    assert {camera.fps for camera in described.cameras.values()} == {30}


def test_the_slope_of_the_memory_is_fitted_behind_the_warm_up() -> None:
    rising = [Memory(float(t), 900.0) for t in range(60)] + [
        Memory(60.0 + t, 100 + t / 10) for t in range(61)
    ]
    figures = {figure.name: figure.value for figure in soak.memory_figures(rising, 950.0)}
    assert figures == {
        "memory: after 5 s": 900.0,
        "memory: after 60 s": 100.0,
        "memory: end": 106.0,
        "memory: peak": 950.0,
        "memory: slope": pytest.approx(6.0),
    }
    short = {figure.name for figure in soak.memory_figures(rising[:20], 900.0)}
    assert short == {"memory: after 5 s", "memory: end", "memory: peak"}


def report(**changes: int) -> dict[str, Any]:
    """900 visible frames: 890 paired, of which 5 were superseded, 4 unmatched, 3 late, 3 lost."""
    visible = {"paired": 890, "unmatched": 4, "late": 3, "missing": 3, "superseded": 5, "failures": 0}
    infrared = {"paired": 890, "unmatched": 9, "overrun": 1, "superseded": 5, "frozen": 2, "failures": 0}
    facts = {"pictures": 885, "written": 880, "sink_dropped": 5}
    return {**facts, "cameras": {"infrared": infrared, "visible": visible | changes}}


def opened(facts: dict[str, Any]) -> dict[str, float]:
    return {figure.name: figure.value for figure in soak.open_figures(facts, 900)}


def test_frames_are_accounted_for() -> None:
    assert set(opened(report()).values()) == {0}
    assert opened(report(unmatched=0))["visible: unaccounted"] == 4
    assert opened(report(superseded=0))["pairs: unaccounted"] == 5
    assert opened({**report(), "written": 870})["pictures: unaccounted"] == 10


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an untrained network."""
    torch = pytest.importorskip("torch")
    graph = pytest.importorskip("tdfusion_edge.export.graph")
    from tdfusion_edge.train.models.edge import Edge

    torch.manual_seed(0)
    network = Edge()
    path = tmp_path_factory.mktemp("bundle") / "random"
    manifest = {
        "name": "random",
        "network": "edge",
        "strategy": "none",
        "created": "2026-01-01",
        "graphs": {"fusion": graph.describe(network, "fusion.onnx")},
    }
    bundle.write(path, manifest, {"fusion.onnx": graph.fusion_onnx(network)})
    return path


def test_fusion_networks_compares_in_one_run(random_bundle: Path, tmp_path: Path) -> None:
    from benchmarks.fusion_networks import BENCHMARK

    path = tmp_path / "fusion_networks.json"
    options = ["--rounds", "3", "--warmup", "1", "--size", "64x48", "--bundle", str(random_bundle)]
    chosen = ["--network", "edge", "--network", "mmdrfuse_like", "--threads", "1"]
    assert script.main(BENCHMARK, [*options, *chosen, "--output", str(path)]) == 0
    result = read(path)
    assert [row.name for row in result.results.timings] == ["edge 64x48", "mmdrfuse_like 64x48"]
    assert [(row.numerator, row.rounds) for row in result.results.ratios] == [("edge 64x48", 3)]
    assert result.metadata.facts["edge"] == "bundle random"
    assert result.metadata.facts["mmdrfuse_like"].startswith("113 parameters")


def test_the_published_network_is_refused_with_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    fusion_networks = pytest.importorskip("benchmarks.fusion_networks")
    monkeypatch.setitem(fusion_networks.PARAMETERS, "mmdrfuse_like", 114)
    with pytest.raises(RequestError, match="expected 114 parameters, got 113"):
        fusion_networks.export("mmdrfuse_like", None)


def test_quality_scores_every_method_with_both_stretches(
    random_bundle: Path, data: Path, tmp_path: Path
) -> None:
    from benchmarks.quality import BENCHMARK

    path = tmp_path / "quality.json"
    options = ["--bundle", str(random_bundle), "--data", str(data / "msrs"), "--first", "1"]
    assert script.main(BENCHMARK, [*options, "--output", str(path)]) == 0
    scores = {(row.method, row.stretch): row.metrics for row in read(path).results.scores}
    methods = {"random", "seafusion", "mmdrfuse", "infrared", "visible", "mean", "maximum"}
    assert set(scores) == {(method, stretch) for method in methods for stretch in ("none", "image")}
    # A stretch of 8-bit levels is one to one: it moves them apart and leaves the entropy.
    assert scores["mean", "image"]["en"] == pytest.approx(scores["mean", "none"]["en"])
    assert scores["mean", "image"]["sd"] > scores["mean", "none"]["sd"]


def test_quality_needs_a_list(tmp_path: Path) -> None:
    from benchmarks.quality import read_names

    with pytest.raises(TdfusionError, match="no list"):
        read_names(tmp_path / "val.txt")


def test_pipeline_reports_stages_overhead_and_memory(random_bundle: Path, tmp_path: Path) -> None:
    from benchmarks.pipeline import BENCHMARK, CASES

    path = tmp_path / "pipeline.json"
    options = ["--bundle", str(random_bundle), "--frames", "45", "--seconds", "1", "--size", "160x120"]
    assert script.main(BENCHMARK, [*options, "--output", str(path)]) == 0
    results = read(path).results
    timings = {row.name: row for row in results.timings}
    for case in CASES:
        if not case.live:
            assert timings[f"{case.name}: network pass"].count == 25
            assert timings[f"{case.name}: between two passes"].count == 24
    stages = {row.name.split(": ")[1] for row in results.latencies if row.name.startswith("real time")}
    assert stages >= {"capture to pair", "align", "network", "compose", "hand over", "capture to sink"}
    assert {figure.unit for figure in results.figures} >= {"MB", "ms"}
