"""The fusion network as an ONNX graph with free height and width, compared with the network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from tdfusion_edge.bundle import FUSION, Graph, Parity, Precision, TensorInfo
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.graph import OPSET, smooth_pair, to_onnx
from tdfusion_edge.export.model_card import fusion_metrics
from tdfusion_edge.export.networks import Loaded
from tdfusion_edge.export.operations import counted
from tdfusion_edge.export.pairs import Pairs
from tdfusion_edge.export.part import Part, files_of
from tdfusion_edge.export.precisions import IN_RANGE, Fused, Picture, Real, StayFloat, in_precisions
from tdfusion_edge.export.ranges import Feeds
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.runtime.picture.units import unit_inputs
from tdfusion_edge.train.models.base import FusionOutput

LARGEST = 8192
"""Largest height and width that the graph is exported for, pixels."""
PARITY_SIZES = ((96, 128), (480, 640), (127, 159))
"""Heights and widths at which ONNX is compared with PyTorch; the last one is odd."""
TOLERANCE = 1e-4
"""Largest difference of a fused luma that rounding in float32 explains."""
INPUTS = ("infrared", "visible")
STAY_FLOAT = StayFloat(first=1, last=1)
"""Measured on ``edge``, 12 pairs of MSRS, calibrated on 8 others: 56.5 dB instead of 52.8 dB where all are
INT8 (first alone 53.5, last alone 55.1), for 8 % of the multiplications."""


def fusion_part(loaded: Loaded, precisions: Collection[Precision], pairs: Pairs, opset: int = OPSET) -> Part:
    """The fusion network in every precision, compared with PyTorch.

    Args:
        loaded: The network.
        precisions: To be written; float32 is always among them.
        pairs: Real ones; needed for what is below float32.
        opset: Of the graphs.

    Raises:
        ExportError: a graph cannot be made, or is not the network.
    """
    header, network, _ = loaded
    real = Real(fusion_feeds(pairs.measured[:IN_RANGE]), fusion_feeds(pairs.calibrating))
    plain = folded(network, example())
    graphs = in_precisions(plain, lambda one: fusion_onnx(one, opset), real, precisions, STAY_FLOAT)
    names, files = files_of(FUSION, graphs)
    return Part(
        graphs={FUSION: counted(describe_fusion(network, names, opset), network, graphs["fp32"])},
        files=files,
        parity=(fusion_parity(network, graphs["fp32"]),),
        metrics=fusion_metrics(header),
        training_data=header.training_data,
    )


def example() -> tuple[Tensor, Tensor]:
    """What the network is exported with; two tensors, for one twice would be taken for the same input."""
    infrared, visible = (torch.zeros(1, 1, *PARITY_SIZES[0]) for _ in INPUTS)
    return infrared, visible


def fusion_onnx(network: nn.Module, opset: int = OPSET) -> bytes:
    """The network as a checked and simplified ONNX graph with free height and width.

    Raises:
        ExportError: the simplifier says that its result is not the graph. (The numbers are compared
            in :func:`fusion_parity`.)
    """
    free = {
        2: torch.export.Dim("height", min=minimum_size(network), max=LARGEST),
        3: torch.export.Dim("width", min=minimum_size(network), max=LARGEST),
    }
    model = to_onnx(network, example(), INPUTS, FusionOutput._fields, (free, free), opset=opset)
    for output in model.graph.output:
        # The exporter writes the output's size as a formula of the input's that always equals it.
        output.type.CopyFrom(model.graph.input[0].type)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw


def fusion_parity(network: nn.Module, graph: bytes) -> Parity:
    """Largest and mean absolute difference between PyTorch and ONNX Runtime over several sizes.

    The inputs are smooth random pictures, for white noise alone never reaches the saturated range, and black.

    Raises:
        ExportError: the largest difference passes :data:`TOLERANCE`.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    largest, means = [], []
    pairs = [smooth_pair(height, width, seed) for seed, (height, width) in enumerate(PARITY_SIZES)]
    # The exporter takes a term as small as 1e-9 out of a sum, and a black picture divides by what is left.
    black = np.zeros((1, 1, *PARITY_SIZES[0]), np.float32)
    for infrared, visible in (*pairs, (black, black)):
        with torch.inference_mode():
            reference = network(torch.from_numpy(infrared), torch.from_numpy(visible)).fused.numpy()
        (fused,) = session.run(None, {"infrared": infrared, "visible": visible})
        difference = np.abs(fused - reference)
        largest.append(float(difference.max()))
        means.append(float(difference.mean()))
    worst = float(np.max(largest))
    if not worst <= TOLERANCE:  # so that NaN fails as well
        raise ExportError(
            "the ONNX graph differs from PyTorch", expected=f"at most {TOLERANCE}", got=f"{worst:.2e}"
        )
    return Parity(
        graph=FUSION,
        precision="fp32",
        against="pytorch",
        pictures=f"{len(PARITY_SIZES)} random pairs and a black one",
        max_error=worst,
        figures={"mean_error": float(np.mean(means))},
    )


def describe_fusion(network: nn.Module, files: Mapping[Precision, str], opset: int = OPSET) -> Graph:
    """What the manifest says about the fusion graph, whose files are given by precision."""
    luma = "float32 luma in [0, 1], BT.601 full range"

    def tensor(name: str, content: str) -> TensorInfo:
        return TensorInfo(name=name, dtype="float32", shape=(1, 1, "height", "width"), content=content)

    return Graph(
        files=dict(files),
        inputs=(
            tensor("infrared", "float32 in [0, 1], hot is bright, aligned with visible"),
            tensor("visible", luma),
        ),
        outputs=tuple(tensor(name, luma) for name in FusionOutput._fields),
        minimum_size=minimum_size(network),
        opset=opset,
    )


def minimum_size(network: nn.Module) -> int:
    """Smallest height and width, pixels: the network's own, and 32 in a graph."""
    return max(32, int(getattr(network, "minimum_size", 32)))


def fusion_feeds(pairs: Sequence[LabelledPair]) -> list[Feeds]:
    """What a fusion graph takes, (1, 1, H, W) float32, for each pair."""
    return [unit_inputs(pair.infrared, pair.visible) for pair in pairs]


def fused_pictures(graph: bytes, pairs: Pairs) -> Fused:
    """What heads see of the pairs that they are looked at with, by the float32 fusion graph."""
    if not pairs.measured:
        return Fused((), ())
    with closing(OnnxRuntimeEngine(graph)) as engine:

        def seen(pair: LabelledPair) -> Picture:
            fused = engine.run(unit_inputs(pair.infrared, pair.visible))["fused"][0, 0]
            return Picture(fused, pair.chroma, pair.infrared)

        some = pairs.measured[:IN_RANGE], pairs.calibrating
        ranges, calibration = ([seen(pair) for pair in part] for part in some)
    return Fused(ranges, calibration)
