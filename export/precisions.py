"""One network as ONNX in every precision that is asked for; what FP16 does not hold is refused here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from torch import nn

from tdfusion_edge.bundle import Precision
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.int8 import convolutions, quantised
from tdfusion_edge.export.lint import require_clean
from tdfusion_edge.export.ranges import Feeds, hard_inputs, require_in_range
from tdfusion_edge.runtime.heads.inputs import Inputs

IN_RANGE = 4
"""Real pairs of the range test; the hard pictures go further than more of them would."""

Network = TypeVar("Network", bound=nn.Module)


class StayFloat(NamedTuple):
    """Convolutions that INT8 leaves in float32, in the graph's order; of a small network half at most."""

    first: int = 0
    last: int = 0

    def of(self, convolutions: Sequence[str]) -> list[str]:
        """Their names among all of them.

        >>> StayFloat(first=1, last=1).of("abcd"), StayFloat(first=4).of("abcd")
        (['a', 'd'], ['a', 'b'])
        """
        most = len(convolutions) // 2
        first, last = min(self.first, most), min(self.last, most - min(self.first, most))
        return [*convolutions[:first], *convolutions[len(convolutions) - last :]]


class Real(NamedTuple):
    """What a network gets on real pairs, of the size that it is for."""

    ranges: Sequence[Feeds]
    """For the range test of FP16."""
    calibration: Sequence[Feeds]
    """For INT8."""


class Picture(NamedTuple):
    """What a head sees of a pair, before resizing."""

    luma: npt.NDArray[np.float32]
    """(H, W), fused, in [0, 1]."""
    chroma: npt.NDArray[np.uint8] | None
    """(2, H, W), Cr then Cb around 128, of the visible picture; None where it is grey."""
    infrared: npt.NDArray[np.uint8]
    """(H, W), aligned."""


class Fused(NamedTuple):
    """Real pairs as heads see them, for the same two purposes."""

    ranges: Sequence[Picture]
    calibration: Sequence[Picture]

    def at(self, width: int, height: int, planes: Collection[str]) -> Real:
        """What a network of this size gets of them, which sees these planes."""
        return Real(*(task_feeds(some, width, height, planes) for some in self))


def in_precisions(
    network: Network,
    to_onnx: Callable[[Network], bytes],
    real: Real,
    precisions: Collection[Precision],
    stay_float: StayFloat,
) -> dict[Precision, bytes]:
    """The network as a graph of each precision.

    Args:
        network: In float32, folded.
        to_onnx: Makes the graph of a network that takes and gives the same.
        real: Inputs; needed for what is below float32.
        precisions: ``fp32`` is always among what comes back.
        stay_float: What INT8 would cost too much at.

    Raises:
        ExportError: a graph cannot be made, holds an FP16 reduction or normalisation, or FP16 does not hold
            its numbers; the node is named.
    """
    graphs: dict[Precision, bytes] = {"fp32": to_onnx(network)}
    if "fp16" in precisions:
        raw = to_onnx(half(network))
        model = onnx.load_from_string(raw)
        require_clean(model)
        shapes = {name: array.shape for name, array in real.ranges[0].items()}
        pairs = {f"pair {number}": one for number, one in enumerate(real.ranges)}
        require_in_range(model, {**pairs, **hard_inputs(shapes)})
        graphs["fp16"] = raw
    if "int8" in precisions:
        model = onnx.load_from_string(graphs["fp32"])
        made = quantised(model, real.calibration, stay_float.of(convolutions(model)))
        graphs["int8"] = made.SerializeToString()
    return graphs


def task_feeds(fused: Sequence[Picture], width: int, height: int, planes: Collection[str]) -> list[Feeds]:
    """What a task network's graph takes for each picture, as the runtime gives it."""
    return [Inputs(width, height, planes).of(*picture) for picture in fused]
