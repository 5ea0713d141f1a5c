"""Predictions for Jetson modules: from counted work, labelled as what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import built_kernels
import pytest

from benchmarks.kernels import emulator, predict
from benchmarks.kernels.predict import BENCHMARK, MODULES, Work, bounds
from benchmarks.schema import read
from benchmarks.script import main

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")


def test_a_bound_is_work_over_what_the_sheet_says() -> None:
    nano = next(module for module in MODULES if module.name == "Orin Nano 8GB Super")
    told = {figure.name: figure.value for figure in bounds(nano, Work(2.04, 1024 * 1020.0, 102_000.0))}
    assert told == {
        "Orin Nano 8GB Super: memory": 20.0,  # 2.04 MB at 102 GB/s
        "Orin Nano 8GB Super: tensor cores": 1.0,
        "Orin Nano 8GB Super: shared memory": 100.0,
        "Orin Nano 8GB Super: all at once": 100.0,
        "Orin Nano 8GB Super: one by one": 121.0,
    }


def test_the_file_says_that_nothing_was_measured(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = built_kernels.built(tmp_path_factory, emulator.QUICK)
    monkeypatch.setattr(emulator, "build", lambda folder, flags: library)
    monkeypatch.setattr(predict, "MODULES", MODULES[:2])
    output = tmp_path / "predict.json"
    assert main(BENCHMARK, ["--size", "192x96", "--output", str(output)]) == 0
    result = read(output)
    assert "not measured on any device" in result.metadata.facts["these are"]
    assert {figure.unit for figure in result.results.figures} == {"us, predicted"}
    values = {figure.name: figure.value for figure in result.results.figures}
    assert values["Orin Nano 4GB: memory"] == pytest.approx(2 * values["Orin Nano 8GB: memory"], rel=0.02)
    for module in ("Orin Nano 4GB", "Orin Nano 8GB"):
        parts = [values[f"{module}: {part}"] for part in ("memory", "tensor cores", "shared memory")]
        assert values[f"{module}: all at once"] == max(parts) > 0
        assert values[f"{module}: one by one"] == pytest.approx(sum(parts), abs=0.03)
