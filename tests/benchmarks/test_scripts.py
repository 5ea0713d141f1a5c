"""The benchmarks themselves: watching a process, accounting for frames, and that every script runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from benchmarks import script, soak
from benchmarks.process import Memory, report_in, run_command, watch
from benchmarks.schema import read
from tdfusion_edge import bundle, config
from tdfusion_edge.errors import RequestError, WorkError
from tdfusion_edge.runtime.rig import SIMULATED, Rig


@pytest.fixture
def until_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Code of a function for a watched process: ``until_seen("a")`` returns when its memory was read."""
    look = psutil.Process.memory_info

    def answering_look(process: psutil.Process) -> Any:
        asked = list(tmp_path.glob("*.asked"))  # before the look, so that it shows what they ask to be seen
        memory = look(process)
        for path in asked:
            path.with_suffix(".seen").touch()
        return memory

    monkeypatch.setattr(psutil.Process, "memory_info", answering_look)
    return f"""
import pathlib, time
def until_seen(name):
    path = pathlib.Path({str(tmp_path)!r}, name + ".asked")
    path.touch()
    while not path.with_suffix(".seen").exists():
        time.sleep(0.005)
"""


def test_the_memory_of_a_process_is_watched_until_its_end(until_seen: str) -> None:
    code = "x = b'1' * 80_000_000; until_seen('large'); del x; until_seen('small'); print('{\"a\": 1}')"
    watched = watch([sys.executable, "-c", until_seen + code], interval_s=0.02, timeout_s=60)
    assert report_in(watched.output) == {"a": 1}
    assert watched.peak_megabytes >= 80
    assert watched.memory[-1].megabytes < watched.peak_megabytes - 60
    times = [point.seconds for point in watched.memory]
    assert times == sorted(times)


def test_the_peak_of_a_process_is_not_that_of_its_parent(until_seen: str) -> None:
    ballast = bytearray(os.urandom(1 << 20)) * 150  # 157 MB in this process
    watched = watch([sys.executable, "-c", until_seen + "until_seen('it')"], interval_s=0.02, timeout_s=60)
    assert watched.peak_megabytes < 100 < len(ballast) / 1e6


def test_a_process_that_fails_or_hangs_is_an_error() -> None:
    with pytest.raises(WorkError, match="no such camera"):
        watch([sys.executable, "-c", "raise SystemExit('no such camera')"], interval_s=0.02, timeout_s=60)
    endless = "import threading; threading.Event().wait()"
    with pytest.raises(WorkError, match="does not end"):
        watch([sys.executable, "-c", endless], interval_s=0.02, timeout_s=0.1)


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
    """900 frames of each camera, 885 of them in pairs that were shown."""
    visible = {"paired": 885, "unmatched": 4, "late": 3, "missing": 3, "superseded": 5, "failures": 0}
    infrared = {"paired": 885, "unmatched": 9, "overrun": 1, "superseded": 4, "left": 1, "frozen": 2}
    facts = {"pictures": 885, "written": 880, "sink_dropped": 5, "waiting_for_size": 0}
    return {**facts, "cameras": {"infrared": infrared, "visible": visible | changes}}


def opened(facts: dict[str, Any]) -> dict[str, float]:
    return {figure.name: figure.value for figure in soak.open_figures(facts, 900)}


def test_frames_are_accounted_for() -> None:
    assert set(opened(report()).values()) == {0}
    assert opened(report(unmatched=0))["visible: unaccounted"] == 4
    assert opened(report(superseded=0))["visible: unaccounted"] == 5
    assert opened(report(paired=890, superseded=0))["pairs: unaccounted"] == 5
    assert opened({**report(single=2), "waiting_for_size": 2})["pairs: unaccounted"] == 0
    assert opened({**report(), "written": 870})["pictures: unaccounted"] == 10


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an untrained network."""
    torch = pytest.importorskip("torch")
    graph = pytest.importorskip("tdfusion_edge.export.fusion")
    from tdfusion_edge.train.models.edge import Edge

    torch.manual_seed(0)
    network = Edge()
    path = tmp_path_factory.mktemp("bundle") / "random"
    manifest = {
        "name": "random",
        "network": "edge",
        "strategy": "none",
        "created": "2026-01-01",
        "graphs": {"fusion": graph.describe_fusion(network, {"fp32": "fusion.onnx"})},
    }
    bundle.write(path, manifest, {"fusion.onnx": graph.fusion_onnx(network)})
    return path


@pytest.mark.slow
def test_fusion_networks_compares_in_one_run(random_bundle: Path, tmp_path: Path) -> None:
    from benchmarks.fusion_networks import BENCHMARK

    path = tmp_path / "fusion_networks.json"
    options = ["--rounds", "3", "--warmup", "1", "--size", "64x48", "--bundle", str(random_bundle)]
    chosen = ["--network", "edge", "--network", "mini", "--threads", "1"]
    assert script.main(BENCHMARK, [*options, *chosen, "--output", str(path)]) == 0
    result = read(path)
    assert [row.name for row in result.results.timings] == ["edge 64x48", "mini 64x48"]
    assert [(row.numerator, row.rounds) for row in result.results.ratios] == [("edge 64x48", 3)]
    assert result.metadata.facts["edge"] == "bundle random"
    assert result.metadata.facts["mini"].startswith("113 parameters")


def test_the_published_network_is_refused_with_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    fusion_networks = pytest.importorskip("benchmarks.fusion_networks")
    monkeypatch.setitem(fusion_networks.PARAMETERS, "mini", 114)
    with pytest.raises(RequestError, match="expected 114 parameters, got 113"):
        fusion_networks.export("mini", None)


@pytest.mark.slow
def test_quality_scores_every_method_with_both_stretches(
    random_bundle: Path, data: Path, tmp_path: Path
) -> None:
    from benchmarks.quality import BENCHMARK

    path = tmp_path / "quality.json"
    options = ["--bundle", str(random_bundle), "--data", str(data / "msrs"), "--first", "1"]
    assert script.main(BENCHMARK, [*options, "--output", str(path)]) == 0
    twice = ["--bundle", str(random_bundle), *options]
    assert script.main(BENCHMARK, [*twice, "--output", str(tmp_path / "quality_2.json")]) == 2
    scores = {(row.method, row.stretch): row.metrics for row in read(path).results.scores}
    methods = {"random", "seafusion", "mmdrfuse", "infrared", "visible", "average", "additive", "maximum"}
    assert set(scores) == {(method, stretch) for method in methods for stretch in ("none", "image")}
    # A stretch of 8-bit levels is one to one: it moves them apart and leaves the entropy.
    assert scores["average", "image"]["en"] == pytest.approx(scores["average", "none"]["en"])
    assert scores["average", "image"]["sd"] > scores["average", "none"]["sd"]


def test_quality_needs_pairs_and_their_list(
    mean_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.quality import BENCHMARK

    options = ["--bundle", str(mean_bundle_path), "--data", str(tmp_path)]
    output = ["--output", str(tmp_path / "out" / "quality.json")]
    assert script.main(BENCHMARK, [*options, *output]) == 2
    assert f"there is no folder {tmp_path / 'ir'}" in capsys.readouterr().err
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "a.png"), np.zeros((48, 64), np.uint8))
    assert script.main(BENCHMARK, [*options, *output]) == 2
    assert "there is no list" in capsys.readouterr().err
    (tmp_path / "split_val.txt").write_text("a\nb\n")
    assert script.main(BENCHMARK, [*options, *output]) == 2
    assert "lacks the pair 'b': expected ir/b.* and vi/b.*" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
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
