"""``tdfusion-edge bench``: what it measures, the file it gives, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jetson_files import FILES, RAILS, write

from benchmarks.schema import check_published
from tdfusion_edge import bundle, cli
from tdfusion_edge.cli import COMMANDS, command_parser
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.runtime.commands import bench as command
from tdfusion_edge.runtime.commands.bench import as_text, recorded
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.measuring import bench, recording
from tdfusion_edge.runtime.measuring.bench import Amount
from tdfusion_edge.runtime.measuring.instruments import TimedEngine
from tdfusion_edge.runtime.measuring.record import Record


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class Slow(TimedEngine):
    """An engine that takes so many milliseconds of the clock."""

    def __init__(self, engine: Engine, clock: Clock, milliseconds: Callable[[], float]) -> None:
        super().__init__(engine, [])
        self._clock, self._milliseconds = clock, milliseconds

    def run(self, inputs: Any) -> Any:
        self._clock.now_ns += round(self._milliseconds() * 1e6)
        return super().run(inputs)


def slowed(opened: bundle.Bundle, clock: Clock, milliseconds: Callable[[], float]) -> Fuser:
    return Fuser(
        opened, stretch="temporal", instrument=lambda name, engine: Slow(engine, clock, milliseconds)
    )


def test_back_ends_take_turns_and_a_slow_minute_meets_all_of_them(mean_bundle: bundle.Bundle) -> None:
    clock, order = Clock(), list[str]()

    def taking(name: str, milliseconds: float) -> Callable[[], float]:
        def spent() -> float:
            order.append(name)
            slow_minute = 10 if clock.now_ns > 200e6 else 1
            return milliseconds * slow_minute

        return spent

    pairs = bench.pairs_of(recording.drawn((80, 60), count=4))
    with (
        slowed(mean_bundle, clock, taking("a", 2)) as one,
        slowed(mean_bundle, clock, taking("b", 6)) as other,
    ):
        fusers = {"a": one, "b": other}
        samples = bench.latencies(fusers, pairs, Amount(pictures=40), clock)
        timings, ratios, told = bench.tabled(fusers, samples)
    counted = order[2 * min(bench.WARM_UP, len(pairs)) :]
    assert counted[:8] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert len(counted) == 80
    assert [(row.numerator, row.denominator, row.rounds) for row in ratios] == [
        ("b: fuse", "a: fuse", 40),
        ("b: network", "a: network", 40),
    ]
    assert [row.median for row in ratios] == [pytest.approx(3), pytest.approx(3)]
    rows = {row.name: row for row in told}
    assert rows["a: network"].p50 < rows["a: network"].p90 == pytest.approx(20)
    assert {row.name for row in timings} == {"a: fuse", "a: network", "b: fuse", "b: network"}
    assert all(row.count == 40 for row in timings)


def test_networks_are_compared_where_both_went_alike() -> None:
    way = SimpleNamespace(heads={}, stages=("align", "network", "compose"))
    stages = ("fuse", "network", "compose")
    samples = {f"{name}: {stage}": {0: 2.0} for name in ("a", "b", "c") for stage in stages}
    del samples["b: compose"]  # it is a part of that network
    ratios = bench.tabled(dict.fromkeys(("a", "b", "c"), way), samples)[1]  # type: ignore[arg-type]
    assert [row.numerator for row in ratios] == ["b: fuse", "c: fuse", "c: network"]


def test_time_ends_a_measurement_as_well(mean_bundle: bundle.Bundle) -> None:
    clock = Clock()
    pairs = bench.pairs_of(recording.drawn((80, 60), count=2))
    with slowed(mean_bundle, clock, lambda: 10.0) as one:
        samples = bench.latencies({"a": one}, pairs, Amount(seconds=0.1), clock)
    assert len(samples["a: fuse"]) == 10


def parsed(*options: str) -> Any:
    row = next(row for row in COMMANDS if row.name == "bench")
    return command_parser(row)[0].parse_args([*options])


@pytest.fixture(scope="module")
def record(finder_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What a device that tells as a Jetson does would give."""
    hot = {"sys/class/thermal/cooling_device1/cur_state": "1\n"}
    root = write(tmp_path_factory.mktemp("jetson"), {**FILES, **RAILS, **hot})
    args = parsed(str(finder_bundle_path), "--size", "80x60", "--pictures", "5", "--threads", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "IDLE_S", 0.02)
        return recorded(args, root)


def test_the_file_keeps_the_contract_and_names_no_folder(
    record: Record,
    finder_bundle_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "recorded", lambda args: record)
    assert cli.main(["bench", str(finder_bundle_path), "--json", "-q"]) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "bench_here.json"
    path.write_text(printed)
    result = check_published(path)
    assert result.metadata.commit is None
    assert len(result.metadata.package or "") == 64
    assert result.metadata.arguments["bundle"] == "finder"
    assert str(finder_bundle_path.parent) not in printed
    name = "onnxruntime:fp32"
    latencies = {row.name for row in result.results.latencies}
    assert latencies >= {f"{name}: {stage}" for stage in ("fuse", "network", "detect", "compose")}
    assert f"{name}: in real time, capture to sink" in latencies
    assert all(row.p90 is not None for row in result.results.latencies)
    figures = {row.name: row.value for row in result.results.figures}
    assert figures[f"{name}: throughput"] > 0
    changed = json.loads(printed)
    changed["results"]["timings"][0]["median"] += 1
    path.write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match=r"samples give|minimum <= q1"):
        check_published(path)


def test_a_jetson_tells_of_itself_and_of_its_energy(record: Record) -> None:
    facts = record.metadata.facts
    assert facts["power mode"] == "2 MAXN_SUPER"
    assert facts["energy"] == "VDD_IN, VDD_CPU_GPU_CV"
    assert facts["throttling"] == "cpu-throttle-alert slows it down now"
    figures = {row.name: (row.value, row.unit) for row in record.results.figures}
    assert figures["at rest: VDD_IN"] == (pytest.approx(7.0), "W")
    rate = figures["onnxruntime:fp32: throughput"][0]
    joules, unit = figures["onnxruntime:fp32: energy a picture, VDD_IN"]
    assert unit == "J"
    assert joules > 0.5 * 7 / rate  # the start of a run is in it
    assert figures["clock 17000000.gpu"] == (1020, "MHz")
    assert "power mode" in as_text(record)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--backend", "onnxruntime,onnxruntime"], "every back end once"),
        (["--backend", "auto,onnxruntime"], "every back end once"),
        (["--backend", "onnxruntime,"], "onnxruntime, tensorrt"),
        (["--backend", "onnxruntime:fp99"], "fp32 or fp16"),
        (["--backend", "onnxruntime:int8"], "no fusion graph in int8"),
        (["--size", "640"], "such as 640x480"),
        (["--seconds", "nan"], "--seconds"),
        (["--pictures", "0"], "--pictures"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    mean_bundle_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert cli.main(["bench", str(mean_bundle_path), *options]) in (1, 2)
    said = capsys.readouterr()
    assert says in said.err
    assert not said.out
