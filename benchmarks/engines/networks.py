"""The networks whose engines are looked at, as graphs, and the build of one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar, cast

import onnx
import torch
from msgspec import structs
from onnx import numpy_helper
from torch import Tensor, nn

from benchmarks.engines import build_log
from tdfusion_edge import bundle
from tdfusion_edge.bundle import Bundle, Precision
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.graph import to_onnx
from tdfusion_edge.export.onepass import OnePass, OnePassOutput
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.builder import build_in
from tdfusion_edge.runtime.engines.tensorrt.prebuild import Shapes, shapes_of
from tdfusion_edge.runtime.engines.tensorrt.store.request import request_for
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.segformer import SegFormer
from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction, TaskNetwork
from tdfusion_edge.train.models.tdfusion import TDFusion
from tdfusion_edge.train.models.yolo import YOLO
from tdfusion_edge.train.models.yolox.network import YOLOX

SEED = 0
CLASSES = ("a", "b", "c")
FOLDING = (96, 128)
"""Height and width of the pictures on which folding is checked: the layers do not depend on them."""
TARGETS = ("sm_86", "sm_89", "sm_120")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")

Network = TypeVar("Network", bound=nn.Module)


class Case(NamedTuple):
    """A network as it is exported."""

    network: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Built(NamedTuple):
    """A graph, and the log of its build."""

    onnx: bytes
    log: build_log.BuildLog
    origin: str
    """Where the graph is from, in words."""


class Decoded(nn.Module):
    """A task network and what it makes of its output."""

    def __init__(self, network: TaskNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> BoxPrediction | MaskPrediction:
        """The network's ``planes``, (1, 1 or 2, H, W) in [0, 1], to a prediction."""
        decode = cast(Callable[[object], BoxPrediction | MaskPrediction], self.network.decode)
        return decode(self.network.look(luma, chroma, infrared))


def edge() -> Edge:
    """The shipped network: the graph of the bundle names its weights as PyTorch does."""
    network = Edge()
    graph = onnx.load_from_string(bundle.read(bundle.default_path()).graph("fusion")[1]).graph
    found = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer
    }
    network.load_state_dict({name: found[name] for name in network.state_dict()})
    return network


def fusion(make: Callable[[], nn.Module], precision: Precision, size: tuple[int, int]) -> Case:
    """A fusion network alone."""
    luma = _picture(size[::-1])
    network = _ready(make(), precision, 1, 1)
    return Case(network, (luma, luma.clone()), ("infrared", "visible"), FusionOutput._fields)


def task(
    make: Callable[[], TaskNetwork], outputs: Sequence[str], precision: Precision, size: tuple[int, int]
) -> Case:
    """A task network with its decoding, on pictures of that size."""
    made = make()
    planes = [bundle.PLANES[name] for name in made.planes]
    network = Decoded(_ready(made, precision, *planes))
    given = tuple(_picture(size[::-1], count) for count in planes)
    return Case(network, given, made.planes, tuple(outputs))


def yolox() -> YOLOX:
    """The detector of the shipped bundle, with fresh weights."""
    return YOLOX(len(CLASSES), size="nano", colour=True, infrared=0.55)


def onepass(precision: Precision, size: tuple[int, int]) -> Case:
    """``edge`` and ``yolox`` nano as one graph; the detector sees 416x320, or a small picture as it is."""
    width, height = min(416, size[0]), min(320, size[1])
    view = TaskView(classes=CLASSES, height=height, width=width)
    networks = _ready(edge(), precision, 1, 1), _ready(yolox(), precision, 1, 2, 1)
    pictures = (torch.zeros(size[::-1], dtype=torch.uint8), torch.zeros(*size[::-1], 3, dtype=torch.uint8))
    inputs = ("infrared", "visible", "limits")
    return Case(
        OnePass(*networks, view, size), (*pictures, torch.tensor([0.0, 1.0])), inputs, OnePassOutput._fields
    )


NETWORKS: Mapping[str, Callable[[Precision, tuple[int, int]], Case]] = MappingProxyType(
    {
        "edge": lambda *how: fusion(edge, *how),
        "tdfusion": lambda *how: fusion(TDFusion, *how),
        "yolox_nano": lambda *how: task(yolox, BoxPrediction._fields, *how),
        "yolo_n": lambda *how: task(lambda: YOLO(len(CLASSES), "n"), BoxPrediction._fields, *how),
        "segformer_b0": lambda *how: task(lambda: SegFormer(len(CLASSES)), MaskPrediction._fields, *how),
        "onepass": onepass,
    }
)


def _ready(network: Network, precision: Precision, *planes: int) -> Network:
    """Folded, and in half precision if that is asked; ``planes`` has the channels of each input."""
    example = tuple(_picture(FOLDING, count) for count in planes)
    plain = folded(network.eval(), example)
    return half(plain) if precision == "fp16" else plain


def _picture(shape: Sequence[int], planes: int = 1) -> Tensor:
    return torch.rand(1, planes, *shape, generator=torch.Generator().manual_seed(SEED))


SHIPPED: Mapping[str, str] = MappingProxyType(
    {"edge": "fusion", "yolox_nano": "detector", "onepass": "onepass"}
)
"""Which graph of a bundle is a network's."""


def graph_of(
    name: str, precision: Precision, size: tuple[int, int], opened: Bundle | None
) -> tuple[bytes, Shapes, str]:
    """A network's graph, the shapes of its inputs, and where the graph is from, in words.

    That of the bundle, byte for byte, where it has one of this precision that takes the size; else one that
    is exported now.
    """
    part = SHIPPED.get(name, "")
    graph = None if opened is None else opened.manifest.graphs.get(part)
    if opened is not None and graph is not None and precision in graph.files:
        shapes = shapes_of(part, graph, [size])
        if shapes:
            return opened.graph(part, precision)[1], shapes[0], f"{graph.files[precision]} of the bundle"
    torch.manual_seed(SEED)
    case = NETWORKS[name](precision, size)
    made = to_onnx(case.network, case.example, case.inputs, case.outputs)
    return made.SerializeToString(), {}, "exported for this size"


def build(
    name: str,
    precision: Precision,
    size: tuple[int, int],
    targets: Sequence[str],
    opened: Bundle | None = None,
) -> Built:
    """Build the engine of a network.

    Args:
        name: In :data:`NETWORKS`.
        precision: Of its layers.
        size: Width and height of the picture.
        targets: Compute capabilities.
        opened: Bundle whose graphs are taken; what it has none of is exported, as all is for None.

    Raises:
        EngineError: TensorRT-RTX is not installed, or refuses the graph.
    """
    graph, shapes, origin = graph_of(name, precision, size, opened)
    trt = bindings.load("tensorrt-rtx")
    request = request_for(trt, "tensorrt-rtx", graph, shapes, targets[0], precision=precision)
    request = structs.replace(request, targets=tuple(targets))
    with tempfile.TemporaryDirectory(prefix="tdfusion-edge-") as folder:
        log = Path(folder) / "kernels.log"
        build_in(request, graph, None, Path(folder), log_to=log)
        return Built(graph, build_log.read(log.read_text(encoding="utf-8", errors="replace")), origin)
