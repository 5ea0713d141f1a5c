"""One network as ONNX in every precision that is asked for; what FP16 does not hold is refused here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import onnx
from torch import nn

from tdfusion_edge.bundle import Precision
from tdfusion_edge.export.int8 import last_convolutions, quantised
from tdfusion_edge.export.lint import require_clean
from tdfusion_edge.export.precision import half
from tdfusion_edge.export.ranges import Feeds, hard_inputs, require_in_range
from tdfusion_edge.resize import resized
from tdfusion_edge.runtime.chains import unit_inputs
from tdfusion_edge.runtime.parity import Views

IN_RANGE = 4
"""Real pairs of the range test; the hard pictures go further than more of them would."""

ToOnnx = Callable[[nn.Module], bytes]


def in_precisions(
    network: nn.Module, to_onnx: ToOnnx, feeds: Sequence[Feeds], precisions: Collection[Precision]
) -> dict[Precision, bytes]:
    """The network as a graph of each precision.

    Args:
        network: In float32, folded.
        to_onnx: Makes the graph of a network that takes and gives the same.
        feeds: Real inputs, of the size that the network is for; needed for what is below float32.
        precisions: ``fp32`` is always among what comes back.

    Raises:
        ExportError: a graph cannot be made, holds an FP16 reduction or normalisation, or FP16 does not hold
            its numbers; the node is named.
    """
    graphs: dict[Precision, bytes] = {"fp32": to_onnx(network)}
    if "fp16" in precisions:
        raw = to_onnx(half(network))
        model = onnx.load_from_string(raw)
        require_clean(model)
        shapes = {name: array.shape for name, array in feeds[0].items()}
        real = {f"pair {number}": one for number, one in enumerate(feeds[:IN_RANGE])}
        require_in_range(model, {**real, **hard_inputs(shapes)})
        graphs["fp16"] = raw
    if "int8" in precisions:
        model = onnx.load_from_string(graphs["fp32"])
        made = quantised(model, feeds, last_convolutions(model))
        graphs["int8"] = made.SerializeToString()
    return graphs


def fusion_feeds(pairs: Sequence[Views]) -> list[Feeds]:
    """What a fusion graph takes, (1, 1, H, W) float32, for each pair."""
    return [unit_inputs(pair.infrared, pair.visible) for pair in pairs]


def detector_feeds(fused: Sequence[np.ndarray], width: int, height: int) -> list[Feeds]:
    """What a detector graph takes for each fused luma, float32 (H, W)."""
    return [{"luma": resized(luma, width, height)[None, None]} for luma in fused]


def files_of(name: str, graphs: Mapping[Precision, bytes]) -> tuple[dict[Precision, str], dict[str, bytes]]:
    """File name by precision, and content by file name."""
    names: dict[Precision, str] = {
        precision: f"{name}.onnx" if precision == "fp32" else f"{name}.{precision}.onnx"
        for precision in graphs
    }
    return names, {names[precision]: raw for precision, raw in graphs.items()}
