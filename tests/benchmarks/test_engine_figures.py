"""The errors and the tables of the benchmark of engines; what TensorRT-RTX builds is tested beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.engines import table
from benchmarks.engines.errors import (
    Material,
    figures_of_gap,
    material,
    of_bundle,
    of_fresh_fusion,
    of_fresh_task,
)
from benchmarks.engines.table import as_markdown, main
from benchmarks.schema import Figure, Metadata, ResultFile, Results, read
from benchmarks.script import RESULTS
from tdfusion_edge import bundle
from tdfusion_edge.errors import InputMissing
from tdfusion_edge.runtime.evaluation.pairs import simulated

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    """Three pairs with a bright object and its label."""
    for part in ("ir", "vi", "boxes"):
        (tmp_path / part).mkdir()
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 60, (96, 128)).astype(np.uint8)
        picture[16:64, 8:40] = 200
        for side in ("ir", "vi"):
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), picture)
        (tmp_path / "boxes" / f"{number}.txt").write_text("0 0.1875 0.41667 0.25 0.5\n")
    (tmp_path / "list").write_text("0\n1\n2\n")
    return argparse.Namespace(
        data=tmp_path,
        names="list",
        labels="yolo:boxes",
        classes="bright,dim",
        colours=None,
        ignore=255,
        first=None,
        size=(64, 64),
    )


def scaled(raw: bytes, name: str, factor: float) -> bytes:
    """The same graph with one of its constants multiplied."""
    model = onnx.load_from_string(raw)
    constant = next(one for one in model.graph.initializer if one.name == name)
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) * np.float32(factor), name))
    changed: bytes = model.SerializeToString()
    return changed


@pytest.fixture
def finding(finder_bundle: bundle.Bundle) -> bundle.Bundle:
    """A bundle whose fusion is 1 % darker in FP16, and whose detector gives a tenth less there."""
    manifest = msgspec.to_builtins(finder_bundle.manifest)
    for name, graph in manifest["graphs"].items():
        graph["files"] = {"fp32": f"{name}.onnx", "fp16": f"{name}.fp16.onnx"}
    files = {
        **finder_bundle.files,
        "fusion.fp16.onnx": scaled(finder_bundle.files["fusion.onnx"], "half", 0.99),
        "detector.fp16.onnx": scaled(finder_bundle.files["detector.onnx"], "diagonal", 0.9),
    }
    return bundle.assembled({k: v for k, v in manifest.items() if k not in ("format", "sha256")}, files)


def values(figures: object) -> dict[str, float]:
    return {figure.name: figure.value for figure in figures}  # type: ignore[attr-defined]


def test_each_network_of_a_bundle_has_its_own_error(
    finding: bundle.Bundle, options: argparse.Namespace
) -> None:
    gaps = of_bundle(finding, material(options, finding))
    fusion = values(figures_of_gap("edge fp16", gaps["fusion"], detector=False))
    assert set(fusion) == {
        f"edge fp16, {what}" for what in ("PSNR", "largest error", "Qabf change", "SSIM change")
    }
    assert fusion["edge fp16, largest error"] == pytest.approx(0.01 * 200 / 255, abs=1e-6)
    detector = values(figures_of_gap("detector fp16", gaps["detector"], fusion=False))
    assert detector == {
        "detector fp16, largest error": pytest.approx(0.1 * 200 / 255, abs=1e-6),
        "detector fp16, boxes kept": 100,
        "detector fp16, mAP50 change": 0,
    }
    assert set(gaps) == {"fusion", "detector"}


def test_the_one_pass_graph_has_errors_of_its_own() -> None:
    shipped = bundle.read(bundle.default_path())
    gaps = of_bundle(shipped, Material(tuple(simulated(1)), "one pair"))
    assert set(gaps) == {"fusion", "detector", "onepass"}
    # In 8 bits an error is a whole level or none.
    assert gaps["fusion"].max_error < 1e-3 < gaps["onepass"].max_error < 2 / 255
    found = [gaps[way].figures()["boxes"] for way in ("onepass", "detector")]
    assert found[0] == found[1] > 0


def test_what_a_bundle_lacks_is_not_measured(
    mean_bundle: bundle.Bundle, finder_bundle: bundle.Bundle, options: argparse.Namespace
) -> None:
    for opened in (mean_bundle, finder_bundle):
        assert of_bundle(opened, material(options, opened)) == {}
    options.data = options.data / "nowhere"
    with pytest.raises(InputMissing, match="--without-errors"):
        material(options, mean_bundle)


def logits_graph(offset: float) -> bytes:
    """Two classes: the luma plus ``offset``, and a half."""
    shape = (1, 1, 64, 64)
    nodes = [
        helper.make_node("Add", ["luma", "offset"], ["one"]),
        helper.make_node("Mul", ["luma", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "half"], ["other"]),
        helper.make_node("Concat", ["one", "other"], ["logits"], axis=1),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, (), [value])
        for name, value in (("offset", offset), ("zero", 0.0), ("half", 0.5))
    ]
    graph = helper.make_graph(
        nodes,
        "logits",
        [helper.make_tensor_value_info("luma", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 2, 64, 64))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    raw: bytes = model.SerializeToString()
    return raw


def test_fresh_networks_are_compared_graph_by_graph(
    finding: bundle.Bundle, options: argparse.Namespace
) -> None:
    given = material(options, finding)
    raw = finding.files["fusion.onnx"]
    gap = of_fresh_fusion(raw, scaled(raw, "half", 0.99), given, options.size)
    assert (gap.pairs, dict(gap.heads)) == (3, {})
    assert 0 < gap.max_error <= 0.01
    task = values(of_fresh_task("seg fp16", logits_graph(0), logits_graph(0.25), given, options.size))
    assert task["seg fp16, largest error"] == pytest.approx(0.25, abs=1e-6)
    assert task["seg fp16, pixels kept"] > 99  # but for the rims that resizing made between
    task = values(of_fresh_task("seg fp16", logits_graph(0), logits_graph(-1), given, options.size))
    assert 50 < task["seg fp16, pixels kept"] < 95  # what is bright is the other class now


def result(**facts: str) -> ResultFile:
    figures = [
        Figure(name="edge fp32, ONNX nodes", value=9, unit="nodes"),
        Figure(name="edge fp16, ONNX nodes", value=12, unit="nodes"),
        Figure(name="edge fp16, traffic", value=12.34, unit="MB"),
        Figure(name="edge fp16, PSNR", value=77.71, unit="dB"),
    ]
    template = read(next(RESULTS.glob("quality*.json"))).metadata
    fields = {name: getattr(template, name) for name in Metadata.__struct_fields__}
    return ResultFile(metadata=Metadata(**fields | {"facts": facts}), results=Results(figures=tuple(figures)))


def test_the_tables_say_whose_weights_they_are_of_and_leave_blank_what_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {f"edge: {table.WEIGHTS}": "fresh, seed 0", "edge: errors on": "8 pairs"}
    built, cost = as_markdown(result(**facts)).split("\n\n")
    assert built.splitlines()[2:] == [
        "| `edge` | fp32 |  | 9 |  |  |  |",
        "| `edge` | fp16 |  | 12 |  |  | 12.3 |",
    ]
    assert cost.splitlines()[2:] == ["| `edge` | fresh, seed 0 | 8 pairs | 77.7 |  |  |  |  |  |  |"]
    assert {line.count("|") for line in built.splitlines()} == {8}
    assert {line.count("|") for line in cost.splitlines()} == {11}
    assert main([str(tmp_path / "engines.json")]) == 2
    assert "engines.json" in capsys.readouterr().err


def test_the_documents_have_the_tables_of_the_published_file() -> None:
    published = RESULTS / "engines.json"
    if not published.exists():
        pytest.skip("no engines were published")
    document = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    missing = [line for line in as_markdown(read(published)).splitlines() if line not in document]
    assert missing == []
