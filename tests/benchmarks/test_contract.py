"""The benchmark contract: what may be published, and how cases are timed."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import script
from benchmarks.detector_rows import DetectorScore, Difference, detector_score
from benchmarks.machine import commit
from benchmarks.rows import Peak, RegionWeight, trained
from benchmarks.schema import Metadata, ResultFile, Results, check_published, read, write
from benchmarks.table import as_table
from tdfusion_edge.errors import ConfigError, RequestError, SinkError, WorkError
from tdfusion_edge.runtime.measuring import machine
from tdfusion_edge.runtime.measuring.numbers import spread
from tdfusion_edge.runtime.measuring.record import pairwise
from tdfusion_edge.runtime.measuring.timing import interleaved, ratio, summary, timing

PUBLISHED = sorted(path for path in script.RESULTS.rglob("*") if path.is_file())


class Clock:
    """Nanoseconds that pass only when a case spends them."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def spending(self, milliseconds: Callable[[], float]) -> Callable[[], None]:
        def case() -> None:
            self.now_ns += round(milliseconds() * 1e6)

        return case


def result_file() -> ResultFile:
    """A result of two cases, one of which runs in every second round."""
    clock = Clock()
    cases = {"fast": clock.spending(lambda: 2.0), "slow": clock.spending(lambda: 7.0)}
    samples = interleaved(cases, rounds=4, warmup=0, every={"slow": 2}, clock=clock)
    metadata = Metadata(
        format=1,
        benchmark="demo",
        arguments={"rounds": 4, "size": ("640x480",)},
        started="2026-01-02T03:04:05+00:00",
        seconds=1.5,
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        machine=machine.describe((0.1, 0.1, 0.1)),
        versions=machine.versions(),
    )
    timings = tuple(timing(name, values) for name, values in samples.items())
    results = Results(
        timings=timings,
        ratios=(ratio(samples, "slow", "fast"),),
        trainings=(trained("mean", (0, 1, 5), 20, {"map": (0.1, 0.2, 0.6), "map50": (0.5, 0.5, 0.5)}),),
        peaks=tuple(
            Peak(name=name, megabytes=megabytes, reference="exact", share=share)
            for name, megabytes, share in (("exact", 80.0, 1.0), ("forward", 20.0, 0.25))
        ),
        weights=(weight("car", 0.75, 0.15), weight("outside", 0.6, 0.0)),
        detectors=(found_on("fused", 0.5, 0.7), found_on("mean", 0.4, 0.6)),
        differences=(difference(),),
    )
    return ResultFile(metadata=metadata, results=results)


def weight(region: str, mean: float, over_outside: float) -> RegionWeight:
    return RegionWeight(
        seed=0,
        time="night",
        region=region,
        pixels=9,
        mean=mean,
        deviation=0.1,
        over_half=round(mean - 0.5, 5),
        over_outside=over_outside,
    )


def found_on(row: str, person: float, car: float) -> DetectorScore:
    looks = [{"map50": (person + car) / 2, "map50 person": person, "map50 car": car}]
    return detector_score("unchanged", "nano", row, ("person", "bicycle", "car"), 9, (), looks)


def difference() -> Difference:
    return Difference(
        protocol="unchanged",
        detector="nano",
        row="fused",
        reference="mean",
        value=0.1,
        resamples=1000,
        mean=0.11,
        low=-0.05,
        high=0.25,
    )


def test_results_are_published() -> None:
    assert PUBLISHED, f"{script.RESULTS} holds no result"
    assert {path.suffix for path in PUBLISHED} == {".json"}


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_every_published_result_is_valid(path: Path) -> None:
    check_published(path)


def test_a_result_survives_the_file(tmp_path: Path) -> None:
    result = result_file()
    write(tmp_path / "demo.json", result)
    assert check_published(tmp_path / "demo.json") == result
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]


def _first_ratio(data: Any) -> Any:
    return data["results"]["ratios"][0]


def _trained(data: Any) -> Any:
    return data["results"]["trainings"][0]


def _peak(data: Any) -> Any:
    return data["results"]["peaks"][1]


def _weight(data: Any) -> Any:
    return data["results"]["weights"][0]


def _found(data: Any) -> Any:
    return data["results"]["detectors"][0]


def _difference(data: Any) -> Any:
    return data["results"]["differences"][0]


def _first_timing(data: Any) -> Any:
    return data["results"]["timings"][0]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: data["metadata"].update(commit=None), "commit"),
        (lambda data: data["metadata"].update(commit="main"), "commit"),
        (lambda data: data["metadata"].update(benchmark="other"), "file name"),
        (lambda data: data["metadata"].update(started="2026-01-02T03:04:05"), "time zone"),
        (lambda data: data["metadata"].update(versions={}), "python"),
        (lambda data: data["metadata"].update(commited="x"), "Did you mean 'commit'"),
        (lambda data: data["metadata"].pop("machine"), "machine"),
        (lambda data: data["metadata"]["machine"].pop("load_before"), "load_before"),
        (lambda data: data.pop("metadata"), "metadata"),
        (lambda data: data.update(results={}), "at least one number"),
        (lambda data: _first_timing(data).update(median=1.9), "minimum <= q1 <= median"),
        (lambda data: _first_timing(data).update(minimum=1.0), "the samples give"),
        (lambda data: _first_timing(data).update(minimum=-1.0), "minimum"),
        (lambda data: _first_timing(data).update(count=5), "rounds and samples"),
        (lambda data: _first_timing(data).update(rounds=[0, 1, 3, 2]), "ascending"),
        (lambda data: _first_timing(data).update(name="slow"), "twice"),
        (lambda data: _first_timing(data).update(name="other"), "samples of 'fast'"),
        (lambda data: _first_timing(data).update(rounds=[], samples=[]), "samples of 'fast'"),
        (lambda data: _first_ratio(data).update(median=3.0), "the samples give"),
        (lambda data: _first_ratio(data).update(rounds=4), "expected 2 rounds"),
        (lambda data: _first_ratio(data).update(numerator="nobody"), "samples of 'nobody'"),
        (lambda data: _trained(data)["mean"].update(map=0.31), "mean of map: the samples give"),
        (lambda data: _trained(data)["deviation"].update(map=0.2), "deviation of map: the samples give"),
        (lambda data: _trained(data)["values"].update(map=[0.1, 0.2, 0.7]), "the samples give"),
        (lambda data: _trained(data)["values"].update(map=[0.1, 0.2]), "each of 3 seeds"),
        (lambda data: _trained(data)["values"].pop("map"), "expected the mean of map50"),
        (lambda data: _trained(data).update(deviation={}), "expected the deviation of map, map50"),
        (lambda data: _trained(data).update(seeds=[0, 1, 1]), "every seed once"),
        (lambda data: data["results"]["trainings"].append(_trained(data)), "'mean' is there twice"),
        (lambda data: _peak(data).update(share=0.2), "the samples give"),
        (lambda data: _peak(data).update(reference="nobody"), "a peak of 'nobody'"),
        (lambda data: _weight(data).update(over_half=0.3), "the samples give"),
        (lambda data: _weight(data).update(over_outside=0.2), "the samples give"),
        (lambda data: data["results"]["weights"].pop(), "expected the same of 'outside'"),
        (lambda data: _found(data)["values"].update(map50=[0.7]), "mean of map50: the samples give"),
        (lambda data: _found(data)["mean"].update(map50=0.7), "mean of map50: the samples give"),
        (lambda data: _found(data)["values"].update({"map50 car": [0.8]}), "the samples give"),
        (lambda data: _found(data).update(classes=["person"]), "fused', map50: the samples give"),
        (lambda data: _found(data).update(classes=["dog"]), "that of every class"),
        (lambda data: _found(data).update(seeds=[0, 1]), "each of 2 seeds"),
        (lambda data: _found(data).update(row="mean"), "'unchanged, nano, mean' is there twice"),
        (lambda data: _difference(data).update(value=0.2), "the samples give"),
        (lambda data: _difference(data).update(low=0.3), "low <= high"),
        (lambda data: _difference(data).update(reference="nobody"), "the score of 'nobody'"),
    ],
)
def test_a_broken_result_is_refused(tmp_path: Path, damage: Callable[[Any], None], complaint: str) -> None:
    path = tmp_path / "demo.json"
    write(path, result_file())
    data = json.loads(path.read_bytes())
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=complaint):
        check_published(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"metadata": NaN}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "demo.json"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read(path)


def test_a_result_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demo.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError, match="No space left"):
        write(path, result_file())
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.json"]


@given(st.lists(st.floats(0.001, 1e4), min_size=2, max_size=40))
def test_quartiles_are_those_of_the_standard_library(values: list[float]) -> None:
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    assert spread(values) == pytest.approx((median, q1, q3, min(values)), abs=1e-4)


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=30), st.floats(0.1, 20))
def test_a_ratio_does_not_feel_a_machine_that_slows_down(slowness: list[float], factor: float) -> None:
    clock = Clock()
    calls = {"one": 0, "other": 0}

    def cost(name: str, milliseconds: float) -> float:
        calls[name] += 1
        return milliseconds * slowness[calls[name] - 1]

    cases = {
        "one": clock.spending(lambda: cost("one", 100.0)),
        "other": clock.spending(lambda: cost("other", 100.0 * factor)),
    }
    samples = interleaved(cases, rounds=len(slowness), warmup=0, clock=clock)
    measured = ratio(samples, "other", "one")
    assert measured.rounds == len(slowness)
    assert (measured.q1, measured.median, measured.q3) == pytest.approx([factor] * 3, rel=1e-3, abs=1e-3)


def test_interleaving_warms_up_rotates_and_thins_out() -> None:
    order: list[str] = []
    cases = {name: (lambda name=name: order.append(name)) for name in "abc"}
    samples = interleaved(cases, rounds=4, warmup=2, every={"c": 3})
    assert "".join(order[:6]) == "abcabc"
    assert "".join(order[6:]) == "abc" + "ba" + "ab" + "abc"
    assert {name: list(rounds) for name, rounds in samples.items()} == {
        "a": [0, 1, 2, 3],
        "b": [0, 1, 2, 3],
        "c": [0, 3],
    }


def test_only_the_case_itself_is_timed() -> None:
    clock = Clock()
    cases = {"a": clock.spending(lambda: 3.0), "b": clock.spending(lambda: 5.0)}
    samples = interleaved(cases, rounds=3, warmup=1, clock=clock)
    assert samples == {"a": {0: 3.0, 1: 3.0, 2: 3.0}, "b": {0: 5.0, 1: 5.0, 2: 5.0}}


def test_rounds_that_ran_one_case_alone_give_no_quotient() -> None:
    assert pairwise({0: 6.0, 2: 9.0, 5: 1.0}, {0: 2.0, 1: 1.0, 2: 3.0}) == [3.0, 3.0]
    with pytest.raises(ValueError, match="no round"):
        ratio({"a": {0: 1.0}, "b": {1: 1.0}}, "a", "b")
    with pytest.raises(RequestError, match="1 round or more"):
        interleaved({}, rounds=0, warmup=0)


def test_a_table_names_every_number() -> None:
    table = as_table(result_file().results)
    assert "slow / fast" in table
    assert "3.500" in table
    assert "0.300 +- 0.265" in table
    assert "seed 0, night, car" in table
    assert "unchanged, nano, fused - mean" in table
    assert "-0.050" in table
    assert "0.250" in table
    assert summary("x", [4.0, 2.0, 3.0]).median == 3.0


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 7B13\n\nprocessor\t: 1\n", "AMD EPYC 7B13"),
        ("processor\t: 0\nCPU part\t: 0xd42\n\nHardware\t: x\nModel\t\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("processor\t: 0\nmodel\t\t: 17\nCPU part\t: 0xd42\n", None),
    ],
)
def test_the_processor_is_named_where_the_system_names_it(cpuinfo: str, model: str | None) -> None:
    assert machine.model_in(cpuinfo) == model


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_results_alone_do_not_make_a_commit_dirty(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) == (None, None)
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(tmp_path) == (head, False)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "new.json").write_text("{}")
    assert commit(tmp_path) == (head, False)
    (tmp_path / "benchmarks" / "new.py").write_text("2")
    assert commit(tmp_path) == (head, True)


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path / "nowhere") == (None, None)


DEMO = script.Benchmark(
    "demo",
    "A demonstration.",
    lambda parser: script.add_count(parser, "rounds", 3, "rounds"),
    lambda args: script.Measured(Results(timings=(summary("case", [1.0] * args.rounds),)), {"why": "test"}),
)


def test_a_script_writes_a_file_that_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "demo_here.json"
    assert script.main(DEMO, ["--rounds", "5", "--output", str(path)]) == 0
    result = read(path)
    assert result.results.timings[0].count == 5
    assert result.metadata.arguments == {"rounds": 5}
    assert result.metadata.facts == {"why": "test"}
    assert result.metadata.machine.cores >= 1
    assert "case" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("task.start=/home/me/runs/last.safetensors", "task.start=last.safetensors"),
        ("strategy_options.folder='/data/x/peers'", "strategy_options.folder='peers'"),
        ("/home/me/recipe.toml", "recipe.toml"),
        ("optimiser.batch=4", "optimiser.batch=4"),
        ("640x480", "640x480"),
        ("cuda:1", "cuda:1"),
    ],
)
def test_no_folder_of_this_machine_reaches_a_result(tmp_path: Path, given: str, kept: str) -> None:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--set", action="append")
        parser.add_argument("--one")

    path = tmp_path / "demo.json"
    benchmark = DEMO._replace(
        add_arguments=add_arguments,
        measure=lambda _: script.Measured(Results(timings=(summary("case", [1.0]),)), {}),
    )
    assert script.main(benchmark, ["--set", given, "--one", given, "--output", str(path)]) == 0
    assert read(path).metadata.arguments == {"set": (kept,), "one": kept}


def test_a_script_refuses_before_it_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def never(_: object) -> script.Measured:
        raise AssertionError("measured")

    refused = DEMO._replace(measure=never)
    (tmp_path / "file").touch()
    for output in (tmp_path / "demo.txt", tmp_path / "file" / "demo.json", tmp_path):
        assert script.main(refused, ["--output", str(output)]) == 2
    assert "demo.txt is no result file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script.main(refused, ["--rounds", "0"])


@pytest.mark.parametrize(
    ("failure", "code"), [(WorkError("it broke"), 1), (RequestError("wrong"), 2), (KeyboardInterrupt(), 130)]
)
def test_a_script_that_fails_writes_nothing(tmp_path: Path, failure: BaseException, code: int) -> None:
    def fails(_: object) -> script.Measured:
        raise failure

    assert script.main(DEMO._replace(measure=fails), ["--output", str(tmp_path / "demo.json")]) == code
    assert not list(tmp_path.iterdir())
