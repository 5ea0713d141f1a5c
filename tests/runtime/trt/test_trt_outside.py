"""What stands around a graph: its manifest, and other files."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import trt_bundles as bundles
import trt_graphs as graphs
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from onnx import TensorProto, helper
from trt_fake import VERSIONS, make
from trt_host import ORIN
from trt_requests import asked_of

from tdfusion_edge import bundle
from tdfusion_edge.bundle import Graph
from tdfusion_edge.errors import BundleError, EngineError
from tdfusion_edge.runtime.engines.base import tensors_of
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.tensorrt.build import build, refuse_other_files
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.workspace import UNKNOWN

SHAPE = (1, 1, 8, 12)
RIGHT = bundles.manifest_of(graphs.blend())
INFRARED, VISIBLE = RIGHT.inputs
SHIPPED = [
    (name, precision)
    for name, graph in bundle.read(bundle.default_path()).manifest.graphs.items()
    for precision in graph.files
]


# --- the manifest --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "precision"), SHIPPED)
def test_the_shipped_manifests_say_what_onnx_runtime_reads(name: str, precision: Any) -> None:
    graph, raw = bundle.read(bundle.default_path()).graph(name, precision)
    reference = OnnxRuntimeEngine(raw)
    assert (tensors_of(graph.inputs), tensors_of(graph.outputs)) == (reference.inputs, reference.outputs)


def built(graph: Graph, version: str = "10.13") -> bytes:
    trt, onnx_bytes = make(version), graphs.blend()
    gpu = "sm_89" if version == "rtx" else ORIN
    request = asked_of(trt, onnx_bytes, {"infrared": SHAPE, "visible": SHAPE}, gpu=gpu)
    return build(trt, request, onnx_bytes, graph, workspace=UNKNOWN, log=Log(), on_phase=lambda _: None)[0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "wrong",
    [
        replace(RIGHT, inputs=(INFRARED,)),
        replace(RIGHT, inputs=(INFRARED, replace(VISIBLE, name="depth"))),
        replace(RIGHT, inputs=(INFRARED, replace(VISIBLE, dtype="float16"))),
        replace(RIGHT, inputs=(INFRARED, replace(VISIBLE, shape=(1, 3, "height", "width")))),
        replace(RIGHT, inputs=(INFRARED, replace(VISIBLE, shape=(1, 1, 1, "height", "width")))),
        replace(RIGHT, outputs=RIGHT.outputs[:1]),
        replace(RIGHT, outputs=(*RIGHT.outputs, replace(VISIBLE, name="mask"))),
        replace(RIGHT, inputs=RIGHT.outputs, outputs=RIGHT.inputs),
    ],
    ids=["fewer", "name", "dtype", "axis", "rank", "outputs", "more", "swapped"],
)
def test_a_graph_that_is_not_what_the_manifest_says_is_not_built(wrong: Graph, version: str) -> None:
    assert built(RIGHT, version).endswith(graphs.blend())
    with pytest.raises(BundleError, match=r"graph is not what the manifest says: expected .*, got "):
        built(wrong, version)


# --- other files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["initializer", "constant", "branch"])
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname", ""])
def test_a_weight_in_another_file_is_refused(where: str, location: str) -> None:
    with pytest.raises(EngineError, match=r"a weight of the graph lies in another file(.|\n)*onnx.save"):
        refuse_other_files(graphs.external_weight(location, where))


@pytest.mark.parametrize("field", ["sparse", "attribute", "function", "training"])
def test_wherever_in_the_graph_it_is(field: str) -> None:
    model = onnx.load_from_string(graphs.blend())
    weight = TensorProto(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.bin")
    if field == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(weight)
    elif field == "attribute":
        model.graph.node[0].attribute.append(helper.make_attribute("weights", [weight]))
    elif field == "function":
        model.functions.add().node.append(helper.make_node("Constant", [], ["w"], value=weight))
    else:
        model.training_info.add().algorithm.initializer.append(weight)
    with pytest.raises(EngineError, match="lies in another file"):
        refuse_other_files(model.SerializeToString())


@given(zeros=st.integers(0, 4), before=st.binary(max_size=9), path=st.binary(min_size=1, max_size=100))
def test_however_its_length_is_written(zeros: int, before: bytes, path: bytes) -> None:
    """Protobuf reads lengths with needless bytes too: 8 as 88 00 or 88 80 00."""
    length = b"\x08" if zeros == 0 else b"\x88" + b"\x80" * (zeros - 1) + b"\x00"
    entry = b"\x0a" + length + b"location" + b"\x12" + bytes([len(path)]) + path
    parsed = onnx.StringStringEntryProto.FromString(entry) if _is_text(path) else None
    assert parsed is None or parsed.key == "location"
    with pytest.raises(EngineError, match="lies in another file"):
        refuse_other_files(before + entry)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "length", [b"\x88\x80\x80\x80\x10", b"\x88\x80\x80\x80\x80\x80\x80\x80\x80\x01"], ids=["36", "70"]
)
def test_bits_that_older_parsers_drop_from_a_length_hide_nothing(length: bytes) -> None:
    """Protobuf 3.0, which is in TensorRT 8, keeps the lowest 32 of them."""
    with pytest.raises(EngineError, match="lies in another file"):
        refuse_other_files(b"\x0a" + length + b"location\x12\x01w")


@pytest.mark.parametrize("name", ["location_1", "my_location", "locations", "box.location"])
def test_a_name_with_the_word_in_it_is_none(name: str) -> None:
    model = onnx.load_from_string(graphs.blend())
    model.graph.node[0].name = name
    refuse_other_files(model.SerializeToString())


@pytest.mark.parametrize(("name", "precision"), SHIPPED)
def test_the_shipped_graphs_name_no_file(name: str, precision: Any) -> None:
    refuse_other_files(bundle.read(bundle.default_path()).graph(name, precision)[1])
