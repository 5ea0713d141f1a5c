"""Half precision with what stays in float32: in our networks, in others', and in the graphs that come out."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from alone import Alone
from onnx import TensorProto
from taught import taught_edge
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.graph import smooth_pair, to_onnx
from tdfusion_edge.export.keep_float import leaves
from tdfusion_edge.export.lint import lint, typed
from tdfusion_edge.export.ranges import hard_inputs, require_in_range
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.runtime.evaluation.parity import measure
from tdfusion_edge.train.models.bdl import BDL
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.restormer import TransformerBlock
from tdfusion_edge.train.models.segformer import SegFormer
from tdfusion_edge.train.models.tdfusion import TDFusion
from tdfusion_edge.train.models.yolo import YOLO, RawBoxes

HAZARDS = (
    "sum", "mean", "var", "var_mean", "norm", "linalg_vector_norm", "cumsum", "avg_pool2d", "square", "pow",
    "exp", "log", "softmax", "layer_norm", "native_layer_norm", "batch_norm", "native_batch_norm",
)  # fmt: skip
"""ATen's operations that must not see FP16."""
CONVOLUTIONS = ("conv2d", "convolution")
LAYERS = (*CONVOLUTIONS, "mm", "matmul", "linear")


class Recorder(TorchDispatchMode):
    """The type of the tensors that each operation of a run took, below all that Python code can hide."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, set[torch.dtype]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kinds = {tensor.dtype for tensor in leaves((args, kwargs or {})) if tensor.is_floating_point()}
        self.calls.append((str(func).removeprefix("aten.").partition(".")[0].strip("_"), kinds))
        return func(*args, **(kwargs or {}))

    def having(self, names: tuple[str, ...], kind: torch.dtype) -> set[str]:
        return {name for name, kinds in self.calls if kind in kinds and name in names}


def recorded(run: Callable[..., Any], *shapes: tuple[int, ...]) -> tuple[Recorder, list[Tensor]]:
    """A run without numbers: CPUs without FP16 take seconds for a convolution."""
    with FakeTensorMode(allow_non_fake_inputs=True), Recorder() as recorder:
        outputs = list(leaves(run(*(torch.rand(shape) for shape in shapes))))
    return recorder, outputs


def picture(seed: int = 0, side: int = 64) -> Tensor:
    return torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("make", "inputs", "kept"),
    [
        (Edge, 2, set()),
        (TDFusion, 2, {"mean", "softmax", "layer_norm"}),
        (BDL, 2, set()),
        (lambda: folded(YOLO(3, "p"), (picture(),)), 1, set()),
        (lambda: SegFormer(3), 1, {"softmax", "layer_norm", "batch_norm"}),
    ],
    ids=["edge", "tdfusion", "bdl", "yolo", "segformer"],
)
def test_layers_are_fp16_and_what_is_kept_float32(
    make: Callable[[], nn.Module], inputs: int, kept: set[str]
) -> None:
    recorder, outputs = recorded(half(make().eval()), *[(1, 1, 64, 64)] * inputs)
    assert recorder.having(HAZARDS, torch.float16) == set()
    assert recorder.having(LAYERS, torch.float16)
    assert recorder.having(CONVOLUTIONS, torch.float32) == set()
    full = {name.removeprefix("native_") for name in recorder.having(HAZARDS, torch.float32)}
    assert kept <= full
    assert {output.dtype for output in outputs} == {torch.float32}


def test_the_copy_leaves_the_network_as_it_was_and_is_one_of_its_kind() -> None:
    network = TDFusion().train()
    before = copy.deepcopy(network.state_dict())
    halved = half(network)
    assert network.training
    assert not halved.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert isinstance(halved, TDFusion)
    assert inspect.signature(halved.forward) == inspect.signature(network.forward)
    kinds = {name: parameter.dtype for name, parameter in halved.named_parameters()}
    full = {name for name, kind in kinds.items() if kind == torch.float32}
    assert full
    assert all("norm" in name or "temperature" in name for name in full)
    assert kinds["head2.weight"] == torch.float16


def test_a_half_detector_places_its_boxes_in_float32() -> None:
    """An anchor at 636 pixels has no half pixel in FP16, and a score of 0.7 no fourth digit."""
    halved = half(folded(YOLO(3, "p"), (picture(),)))
    recorder, outputs = recorded(lambda luma: halved.decode(halved(luma)), (1, 1, 32, 640))
    assert {output.dtype for output in outputs} == {torch.float32}
    for op in ("softmax", "sum", "sub"):
        assert recorder.having((op,), torch.float32), op
        assert not recorder.having((op,), torch.float16), op
    # Where a network gives its decoding FP16, that goes up before it does anything.
    torch.manual_seed(0)
    centres, strides = torch.tensor([[636.0, 4], [4, 4]]), torch.tensor([8.0, 8])
    full = RawBoxes(torch.randn(1, 2, 4, 8), torch.randn(1, 2, 3), centres, strides)
    low = full._replace(distances=full.distances.half(), classes=full.classes.half())
    again = low._replace(distances=low.distances.float(), classes=low.classes.float())
    for given, want in zip(halved.decode(low), halved.decode(again), strict=True):
        assert given.dtype == torch.float32
        assert torch.equal(given, want)


class Zoo(nn.Module):
    """What a user's network may do to half-precision tensors, in PyTorch's various spellings."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 8, 4, stride=4)
        self.norm, self.group = nn.LayerNorm(8), nn.GroupNorm(2, 8)
        self.linear = nn.Linear(8, 8)
        self.leave = nn.Conv2d(8, 1, 1)
        self.register_buffer("position", torch.linspace(0, 1, 8))

    def forward(self, luma: Tensor) -> Tensor:
        x = self.enter(luma)
        x = self.group(x) * (x.mean((2, 3), keepdim=True) + torch.sum(x, dim=1, keepdim=True) * 0.01)
        x = x / (x.norm(dim=1, keepdim=True) + F.normalize(x, dim=1)).clamp(min=0.1)
        x = x * F.adaptive_avg_pool2d(x, 1).exp() + x.var(dim=1, keepdim=True)
        rows = x.flatten(2).transpose(1, 2) + self.position
        rows = self.linear(self.norm(rows))
        rows = rows + (rows @ rows.transpose(1, 2) / 8).softmax(-1) @ rows
        heads = rows[:, None]
        rows = rows + F.scaled_dot_product_attention(heads, heads, heads)[:, 0]
        rows = F.gelu(rows, approximate="tanh") + rows**2 * 0.1
        return self.leave(rows.transpose(1, 2).reshape(x.shape))


@pytest.fixture(scope="module")
def zoo() -> tuple[nn.Module, onnx.ModelProto]:
    torch.manual_seed(0)
    network = Zoo().eval()
    return network, to_onnx(half(network), (picture(),), ("luma",), ("y",))


def kinds_of(model: onnx.ModelProto) -> dict[str, set[int]]:
    """The element types of the first input, by operation."""
    whole, types = typed(model)
    found: dict[str, set[int]] = {}
    for node in whole.graph.node:
        if node.input:
            found.setdefault(node.op_type, set()).add(types[node.input[0]])
    return found


def test_a_network_that_is_not_ours_keeps_float32_where_it_must(
    zoo: tuple[nn.Module, onnx.ModelProto],
) -> None:
    network, model = zoo
    assert lint(model) == []
    kinds = kinds_of(model)
    for op in ("ReduceMean", "Softmax", "LayerNormalization", "Exp"):
        assert kinds[op] == {TensorProto.FLOAT}, op
    assert kinds["Conv"] == {TensorProto.FLOAT16}
    assert TensorProto.FLOAT16 in kinds["MatMul"]
    assert [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)] == [1, 1]
    luma = picture(seed=3)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"luma": luma.numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(given), network(luma), atol=2e-2, rtol=2e-2)
    require_in_range(model, hard_inputs({"luma": (1, 1, 64, 64)}) | {"real": {"luma": luma.numpy()}})


def test_the_same_network_all_in_fp16_is_what_the_lint_is_for(
    zoo: tuple[nn.Module, onnx.ModelProto],
) -> None:
    class Low(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(zoo[0]).half()

        def forward(self, luma: Tensor) -> Tensor:
            return self.network(luma.half()).float()

    found = lint(to_onnx(Low(), (picture(),), ("luma",), ("y",)))
    assert {"ReduceMean", "Softmax", "LayerNormalization"} <= {finding.op for finding in found}


def test_no_cast_in_edges_graph_is_superfluous() -> None:
    """Two lumas, one conversion for the convolutions, one for each gain; the blend itself is float32."""
    network = taught_edge(width=4, depth=1)
    example = tuple(torch.from_numpy(array) for array in smooth_pair(48, 64, 0))
    names = ("infrared", "visible")
    low = to_onnx(half(network), example, names, ("fused",))
    assert lint(low) == []
    assert sum(node.op_type == "Cast" for node in low.graph.node) == 3
    assert kinds_of(low)["Mul"] == {TensorProto.FLOAT}
    assert kinds_of(low)["Sigmoid"] == {TensorProto.FLOAT16}
    full = to_onnx(network, example, names, ("fused",))
    pair = LabelledPair("smooth", *((255 * array[0, 0]).astype(np.uint8) for array in smooth_pair(48, 64, 1)))
    assert 60 < measure([pair], Alone(full), Alone(low)).psnr_db < 120


class Named(nn.Module):
    """Keeps parameters of its own in float32."""

    full_precision = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, 1, 1, 1), 1e-9))
        self.layer = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale


def test_a_module_can_keep_its_parameters_and_a_weight_that_does_not_fit_is_refused() -> None:
    network = Named().eval()
    low = half(network)
    assert (low.scale.dtype, low.layer.weight.dtype) == (torch.float32, torch.float16)
    with torch.inference_mode():
        assert low(torch.ones(1, 1, 1, 1)).any()  # 1e-9 is 0 in FP16
    with torch.no_grad():
        network.layer.weight.fill_(7e4)
    with pytest.raises(ExportError, match=r"weight layer.weight does not fit into FP16: .*65504, got 70000"):
        half(network)
    with torch.no_grad():
        network.layer.weight.fill_(3e-6)
        assert network.layer.bias is not None
        network.layer.bias.fill_(1e-7)
    with pytest.raises(ExportError, match=r"layer.weight vanishes in FP16.* for weights of 3.0e-06"):
        half(network)
    with torch.no_grad():
        network.layer.weight.fill_(3e-3)  # the bias is smaller still, and only adds
    half(network)


def test_the_blocks_of_tdfusion_export_without_fp16_hazards() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 16, 1, bias=False), TransformerBlock(16), nn.Conv2d(16, 1, 1))
    low = to_onnx(half(network), (picture(),), ("luma",), ("y",))
    assert lint(low) == []
    kinds = kinds_of(low)
    assert kinds["Softmax"] == kinds["LayerNormalization"] == kinds["ReduceMean"] == {TensorProto.FLOAT}
    # Two norms, q and k up, the attention's weights down, the output up, the input down; none twice.
    assert sum(node.op_type == "Cast" for node in low.graph.node) == 9
    # Without biases a black picture has norms of 0, which must not have become divisors.
    require_in_range(low, hard_inputs({"luma": (1, 1, 64, 64)}))
