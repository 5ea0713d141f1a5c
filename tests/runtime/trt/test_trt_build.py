from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import trt_graphs as graphs
from trt_bundles import manifest_of
from trt_fake import VERSIONS, make

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.build import build
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request
from tdfusion_edge.runtime.engines.tensorrt.workspace import UNKNOWN

SHAPE = (1, 1, 32, 48)
BLEND = {"infrared": SHAPE, "visible": SHAPE}
ALONE = {"infrared": SHAPE}


def options(version: str, **fields: Any) -> dict[str, Any]:
    """Fields of a request."""
    targets = ("sm_89",) if version == "rtx" else ("sm_87",)
    return {"shapes": BLEND, "targets": targets, "precision": "fp32", **fields}


def built(version: str, onnx: bytes, asked: dict[str, Any], **more: Any) -> tuple[bytes, bytes | None]:
    flavour: bindings.Flavour = "tensorrt-rtx" if version == "rtx" else "tensorrt"
    sha256 = hashlib.sha256(onnx).hexdigest()
    request = Request(onnx_sha256=sha256, flavour=flavour, version="1", gpu="", **asked)
    more = {"workspace": UNKNOWN, "log": Log(), "on_phase": lambda _: None, **more}
    return build(more.pop("trt", make(version)), request, onnx, manifest_of(onnx), **more)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_a_float32_graph(version: str) -> None:
    plan, timing = built(version, graphs.blend(), options(version))
    assert plan.endswith(graphs.blend())
    assert (timing is None) == (version == "rtx")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("onnx", "precision"), [(graphs.half_inside(), "fp16"), (graphs.quantised(), "int8")]
)
def test_lower_precision_needs_strong_types(version: str, onnx: bytes, precision: str) -> None:
    asked = options(version, precision=precision, shapes=ALONE)
    if version == "8.6":
        with pytest.raises(
            EngineError, match=f"8.6.0 does not keep the types.*got a request for {precision}"
        ):
            built(version, onnx, asked)
    else:
        assert built(version, onnx, asked)[0].endswith(onnx)


@pytest.mark.parametrize(
    ("onnx", "precision", "message"),
    [
        (graphs.half_inside(), "fp32", "not fp32: layer 'down': expected FLOAT, got HALF"),
        (graphs.quantised(), "fp32", "not fp32: layer 'xq': expected FLOAT, got INT8"),
        (graphs.quantised(), "fp16", "not fp16: layer 'xq': expected FLOAT or HALF, got INT8"),
        (graphs.stored_in_half(), "fp16", "not fp16: expected layers that compute in HALF, got none"),
        (graphs.half_inside(), "int8", "not int8: expected layers that compute in INT8, got none"),
    ],
)
def test_a_graph_of_another_precision_is_no_engine(onnx: bytes, precision: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        built("10.3", onnx, options("10.3", precision=precision, shapes=ALONE))


@pytest.mark.parametrize("version", VERSIONS)
def test_tensorrt_8_is_given_no_graph_of_a_newer_opset(version: str) -> None:
    onnx = graphs.blend(opset=18)
    if version == "8.6":
        with pytest.raises(
            EngineError, match=r"8.6.0 does not read the graph's opset: expected 17 .* got 18"
        ) as told:
            built(version, onnx, options(version))
        assert "export CHECKPOINT -o BUNDLE --opset 17" in str(told.value.hint)
    else:
        assert built(version, onnx, options(version))[0].endswith(onnx)


def test_the_parser_says_which_node_it_was() -> None:
    asked = options("10.3", shapes=ALONE)
    with pytest.raises(EngineError, match=r"10\.3\.0 cannot parse .* node 1 \(Foo 'strange'\): Plugin"):
        built("10.3", graphs.unknown_operation(), asked)
    with pytest.raises(EngineError, match=r"TensorRT 8.6.0 cannot parse the graph: node 1: Plugin not found"):
        built("8.6", graphs.unknown_operation(), asked)


def test_a_build_without_result_quotes_the_log() -> None:
    with pytest.raises(
        EngineError, match=r"could not build the engine: OutOfMemory \(Requested size 7\)"
    ) as told:
        built("11.4", graphs.blend(), options("11.4"), workspace=7)
    assert "--workspace MIB" in str(told.value.hint)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        ALONE,
        BLEND | {"mask": SHAPE},
        BLEND | {"visible": (1, 3, 32, 48)},
        BLEND | {"visible": SHAPE[1:]},
        BLEND | {"visible": (1, 1, 0, 48)},
    ],
)
def test_shapes_that_do_not_fit_the_graph(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(EngineError, match=r"shapes of the engine: expected infrared float32 \(1, 1, '\?'"):
        built("10.3", graphs.blend(), options("10.3", shapes=shapes))


def test_a_graph_of_fixed_size_needs_no_shapes_and_takes_no_others() -> None:
    fixed = graphs.blend(shape=SHAPE)
    for shapes in ({}, BLEND):
        assert b'"profiles": []' in built("10.3", fixed, options("10.3", shapes=shapes))[0]
    with pytest.raises(EngineError, match="shapes of the engine"):
        built("10.3", fixed, options("10.3", shapes=BLEND | {"visible": (1, 1, 32, 49)}))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ((), "targets of the build: expected at least one, such as sm_89, got none"),
        (("sm_90",), "no engine for sm_90: expected sm_75, sm_80, sm_86, sm_89, sm_120, got sm_90"),
        (("SM89",), "no engine for SM89"),
        (("current",), "no engine for current"),
    ],
)
def test_rtx_is_told_what_it_builds_for(targets: tuple[str, ...], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        built("rtx", graphs.blend(), options("rtx", targets=targets))
    plan, _ = built("rtx", graphs.blend(), options("rtx", targets=("sm_86", "sm_120")))
    assert b'"targets": ["SM120", "SM86"]' in plan


def test_float32_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    trt, cleared = make("11.4"), []
    monkeypatch.setattr(trt.IBuilderConfig, "clear_flag", lambda self, flag: cleared.append(flag.name))
    built("11.4", graphs.blend(), options("11.4"), trt=trt)
    assert cleared == ["TF32"]


@pytest.mark.parametrize("version", VERSIONS)
def test_progress_is_told_by_every_version(version: str) -> None:
    phases: list[str] = []
    built(version, graphs.blend(), options(version), on_phase=phases.append)
    assert phases == ["Building engine"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [(None, b"measured;"), (b"old;", b"old;measured;"), (b"other driver;", b"measured;")],
)
def test_kernel_times_are_measured_once(earlier: bytes | None, later: bytes) -> None:
    assert built("10.13", graphs.blend(), options("10.13"), times=earlier)[1] == later


def test_the_log_names_kernels_where_it_is_asked_to() -> None:
    for verbose in (False, True):
        stream = io.StringIO()
        log = Log(stream, verbose=verbose)
        built("10.3", graphs.blend(), options("10.3"), log=log)
        assert ("[VERBOSE] kernel __myl_Add" in stream.getvalue()) == verbose
        assert "[INFO] building" in stream.getvalue()


def test_a_library_that_is_not_there_or_not_whole(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "MODULES", {"tensorrt": "tensorrt_probe", "tensorrt-rtx": "absent_rtx"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match=r"TensorRT-RTX is not installed\n.*tdfusion-edge doctor"):
        bindings.load("tensorrt-rtx")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open')", "cannot be loaded: libnvinfer.so.10"),
        ("import absent_library", "cannot be loaded: No module named 'absent_library'"),
        ("__version__ = '10'", "its module is incomplete"),
    ],
)
def test_a_library_that_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    (tmp_path / "tensorrt_probe.py").write_text(source)
    monkeypatch.setattr(bindings, "MODULES", {"tensorrt": "tensorrt_probe"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match=message):
        bindings.load("tensorrt")
    sys.modules.pop("tensorrt_probe", None)
