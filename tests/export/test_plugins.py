"""Our kernel as a node of the one-pass graph: the same graph for whoever runs the function beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkpoints import save
from small_bundle import FINDS, VIEW, seen
from taught import taught_edge

from tdfusion_edge import bundle, cli
from tdfusion_edge.bundle import FUSION, ONE_PASS, Bundle
from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.plugins import WEIGHTS, placed, require_kernel
from tdfusion_edge.runtime.engines.cuda.weights import edge_of, pack
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.tensorrt import plugins


@pytest.fixture(scope="module")
def edge() -> Bundle:
    return bundle.read(bundle.place("edge"))


@pytest.fixture(scope="module")
def graphs(edge: Bundle) -> tuple[bytes, bytes]:
    """One pass and fusion of what ships, in FP16."""
    return edge.graph(ONE_PASS, "fp16")[1], edge.graph(FUSION, "fp16")[1]


@pytest.mark.parametrize("size", [(241, 333), pytest.param((320, 416), marks=pytest.mark.slow)])
def test_the_graph_gives_what_it_gave(graphs: tuple[bytes, bytes], size: tuple[int, int]) -> None:
    onepass, fusion = graphs
    random = np.random.default_rng(0)
    given: dict[str, Any] = {
        "infrared": random.integers(0, 256, size, dtype=np.uint8),
        "visible": random.integers(0, 256, (*size, 3), dtype=np.uint8),
        "limits": np.array([0.1, 0.8], np.float32),
    }
    wanted = OnnxRuntimeEngine(onepass, threads=1).run(given)
    got = OnnxRuntimeEngine(placed(onepass, fusion), threads=1).run(given)
    for name, array in wanted.items():
        np.testing.assert_array_equal(got[name], array)


def test_the_node_stands_alone_where_the_network_stood(graphs: tuple[bytes, bytes]) -> None:
    onepass, fusion = graphs
    made = placed(onepass, fusion)
    assert plugins.holds(made)
    assert not plugins.holds(onepass)
    graph, before = onnx.load_from_string(made).graph, onnx.load_from_string(onepass).graph
    (node,) = [one for one in graph.node if one.domain]
    convolutions = [sum(one.op_type == "Conv" for one in some.node) for some in (before, graph)]
    assert convolutions[0] - convolutions[1] == 5
    names = {one.name for one in graph.initializer}
    assert not any(name.startswith("fusion.") for name in names)
    (weights,) = [one for one in graph.initializer if one.name == WEIGHTS]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weights).view(np.uint8), pack(edge_of(fusion)))
    lumas = [next(one for one in graph.node if name in one.output) for name in node.input[:2]]
    assert [one.op_type for one in lumas] == ["Div", "Div"]


def test_other_networks_are_refused(edge: Bundle, graphs: tuple[bytes, bytes]) -> None:
    other = bundle.read(bundle.place("edge_35m")).graph(FUSION, "fp16")[1]
    with pytest.raises(RequestError, match=r"--plugins: our kernel is not made for this fusion network"):
        require_kernel(other)
    require_kernel(graphs[1])
    with pytest.raises(ExportError, match="not found in the one-pass graph"):
        placed(edge.graph("detector", "fp16")[1], graphs[1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"precisions": ("fp32",)}, "the one-pass graph in fp16"),
        ({"size": None}, "the one-pass graph in fp16"),
        ({"opset": 17, "precisions": ("fp32", "fp16")}, "fp32, the one precision"),
    ],
)
def test_what_cannot_hold_the_node_is_refused(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=expected):
        export([tmp_path / "none.safetensors"], tmp_path / "out", plugins=True, **options)


@pytest.mark.slow
def test_a_bundle_with_the_node_passes_the_gate(tmp_path: Path) -> None:
    networks: dict[str, Any] = {
        "fusion": (taught_edge(width=16, depth=2), "edge", {"width": 16, "depth": 2}),
        "task": (seen(), FINDS, {}),
    }
    path = save(tmp_path / "a.safetensors", networks, task=VIEW)
    code = cli.main(
        [
            "export",
            str(path),
            "-o",
            str(tmp_path / "out"),
            "--network",
            FINDS,
            "--size",
            "160x120",
            "--plugins",
        ]
    )
    assert code == 0
    opened = bundle.read(tmp_path / "out")
    held = {precision: plugins.holds(opened.graph(ONE_PASS, precision)[1]) for precision in ("fp32", "fp16")}  # type: ignore[arg-type]
    assert held == {"fp32": False, "fp16": True}
    assert "--plugins" in opened.manifest.commands["export"]
    assert not plugins.holds(opened.graph(FUSION, "fp16")[1])
