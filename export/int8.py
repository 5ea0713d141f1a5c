"""INT8 by explicit Q/DQ nodes, for networks that are convolutions and little else (``edge``, ``yolo``).

Only the inputs and weights of convolutions are quantised, symmetrically and weights for each channel,
as TensorRT takes them (zero point 0, biases in float32): QuantizeLinear and DequantizeLinear stand
before each convolution, and nothing behind it, so that an engine fuses its activation too and writes
INT8 once. All else keeps the precision of the graph.

The scales come from what the convolutions see on real pairs. Pairs without contrast have none to give: what
they lack is clipped in every picture afterwards, and that need not show on pairs like them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export.lint import label
from tdfusion_edge.export.ranges import Feeds

LEAST_CONTRAST = 0.2
"""Span of a luma in [0, 1], over all calibrating pictures and without the 0.1 % at either end. The dullest
single picture of MSRS, an infrared one, has .21; a sixteenth of the brightness of its pairs, .06, cost 41
to 45 dB."""


class _Reader:
    """What ONNX Runtime's calibration reads from."""

    def __init__(self, pictures: Iterable[Feeds]) -> None:
        self._pictures = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        """The next inputs; None at the end."""
        feeds = next(self._pictures, None)
        return None if feeds is None else dict(feeds)


def quantised(
    model: onnx.ModelProto, calibration: Iterable[Feeds], stay_float: Collection[str] = ()
) -> onnx.ModelProto:
    """The graph with INT8 convolutions.

    Args:
        model: A float32 graph with named nodes.
        calibration: Inputs of real pairs, by the names of the graph's inputs; tens suffice.
        stay_float: Names of convolutions whose weights stay float; their input does, where no other
            convolution reads it.

    Raises:
        RequestError: ``stay_float`` names what is no convolution of the graph, or there is nothing to
            calibrate with, or no contrast in it.
        ExportError: no convolution is left to quantise.
    """
    # It takes a second to import, and an export to FP16 does not need it.
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    import tdfusion_edge.runtime.engines.ort  # noqa: F401 (first: it switches reports off)

    every = convolutions(model)
    if unknown := sorted(set(stay_float) - set(every)):
        raise RequestError(
            f"'{unknown[0]}' is no convolution of the graph", expected=f"one of {', '.join(every)}"
        )
    chosen = [name for name in every if name not in stay_float]
    if not chosen:
        raise ExportError("no convolution is left to quantise", hint="Export in FP16 instead.")
    feeds = list(calibration)
    if not feeds:
        raise RequestError("INT8 needs pairs to calibrate with", expected="one or more", got="none")
    require_contrast(feeds)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path, whole = Path(folder) / "int8.onnx", Path(folder) / "float32.onnx"
        whole.write_bytes(model.SerializeToString())  # given as it is, its weights would be taken out of it
        quantize_static(
            str(whole),
            str(path),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    return made


def require_contrast(feeds: Sequence[Feeds]) -> None:
    """Refuse pictures that show a network no more than a part of what it will see.

    Args:
        feeds: Inputs of a network; those of one channel are lumas in [0, 1]. One with more is chroma, which a
            rig without colours never has.

    Raises:
        RequestError: all pictures of a luma together hold less than :data:`LEAST_CONTRAST`, or NaN.
    """
    for name in feeds[0]:
        pictures = [given[name] for given in feeds if given[name].shape[1] == 1]
        if not pictures:
            continue
        low, high = np.percentile(np.concatenate([one.ravel() for one in pictures]), (0.1, 99.9))
        if not high - low >= LEAST_CONTRAST:  # so that NaN fails as well
            raise RequestError(
                f"INT8: the pairs to calibrate on have no contrast in '{name}'",
                expected=f"{LEAST_CONTRAST} or more between dark and bright, of 1",
                got=f"{low:.2f} to {high:.2f}",
                hint="Name pairs of the scenes that it is for: --calibration FILE.",
            )


def convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions whose weights are constants, in the graph's order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [label(node) for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to simplify first, which was done."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
