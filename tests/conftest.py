"""What every test may ask for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from bands import NAMES, bands_graph
from bands import described as bands_described
from finder import CLASSES, described, finder_graph
from hypothesis import settings
from onnx import TensorProto, helper

from tdfusion_edge import bundle

# A deadline would time the machine, not the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real pairs, from ``TDFUSION_DATA`` or ``../shared/data``."""
    folder = Path(os.environ.get("TDFUSION_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data absent: {folder} (set TDFUSION_DATA)")
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_reader_is_left() -> Iterator[None]:
    """A reader that a module leaves behind in C++ code may abort the process of all tests at its end."""
    yield
    readers = [one for one in threading.enumerate() if one.name.startswith(("camera ", "read "))]
    for reader in readers:
        reader.join(10)
    assert not [reader for reader in readers if reader.is_alive()], "a source was not closed"


def mean_graph() -> bytes:
    """An ONNX graph with the names of a fusion network whose output is the mean of its inputs."""
    shape = (1, 1, "height", "width")
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("infrared", "visible", "fused")
    }
    nodes = [
        helper.make_node("Add", ["infrared", "visible"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["fused"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [tensors["infrared"], tensors["visible"]],
        [tensors["fused"]],
        [helper.make_tensor("half", TensorProto.FLOAT, (), [0.5])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw


def mean_manifest() -> dict[str, Any]:
    """The manifest of a bundle that holds it."""
    shape = (1, 1, "height", "width")
    tensors = {
        name: bundle.TensorInfo(name=name, dtype="float32", shape=shape, content="luma in [0, 1]")
        for name in ("infrared", "visible", "fused")
    }
    graph = bundle.Graph(
        files={"fp32": "fusion.onnx"},
        inputs=(tensors["infrared"], tensors["visible"]),
        outputs=(tensors["fused"],),
        minimum_size=32,
        opset=18,
    )
    return {
        "name": "mean",
        "network": "mean",
        "strategy": "none",
        "created": "2026-01-01",
        "graphs": {"fusion": graph},
    }


@pytest.fixture(scope="session")
def mean_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose fusion network averages: what comes out can be foretold to the level."""
    path = tmp_path_factory.mktemp("bundles") / "mean"
    bundle.write(path, mean_manifest(), {"fusion.onnx": mean_graph()})
    return path


@pytest.fixture(scope="session")
def mean_bundle(mean_bundle_path: Path) -> bundle.Bundle:
    """The same, opened."""
    return bundle.read(mean_bundle_path)


@pytest.fixture(scope="session")
def finder_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a detector whose boxes can be foretold as well (``finder.py``)."""
    info = bundle.HeadInfo(kind="boxes", network="finder", classes=CLASSES, score_threshold=0.25)
    manifest = mean_manifest() | {"name": "finder", "heads": {"detector": info}}
    manifest["graphs"]["detector"] = described()
    path = tmp_path_factory.mktemp("bundles") / "finder"
    bundle.write(path, manifest, {"fusion.onnx": mean_graph(), "detector.onnx": finder_graph()})
    return path


@pytest.fixture(scope="session")
def finder_bundle(finder_bundle_path: Path) -> bundle.Bundle:
    """The same, opened."""
    return bundle.read(finder_bundle_path)


@pytest.fixture(scope="session")
def bands_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that averages and gives classes by brightness (``bands.py``)."""
    manifest = mean_manifest() | {"name": "bands"}
    manifest["heads"] = {"segmentation": bundle.HeadInfo(kind="mask", network="bands", classes=NAMES)}
    manifest["graphs"]["segmentation"] = bands_described()
    path = tmp_path_factory.mktemp("bundles") / "bands"
    bundle.write(path, manifest, {"fusion.onnx": mean_graph(), "segmentation.onnx": bands_graph()})
    return path
