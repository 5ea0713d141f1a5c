"""Half precision for strongly typed engines: a copy of a network in FP16, and in float32 where it must be.

TensorRT from 10 on runs a graph in the types that stand in it, so what must not be FP16 is decided
here and not by the engine's builder. Weights of layers that multiply become FP16; what normalises,
sums, exponentiates or places boxes stays float32 (:mod:`~tdfusion_edge.export.keep_float` for any
network, and in the code of ours). Inputs are not cast before a layer needs FP16 and outputs are
float32: a blend of the input pictures themselves, as in ``edge``, keeps their precision.

ONNX Runtime computes many FP16 nodes in float32 on a CPU, so its output shows rounding, never
overflow. The proof that a graph survives is in ``lint.py`` and ``ranges.py``.
"""

from __future__ import annotations

import copy
import functools
from typing import Any, TypeVar

import torch
from torch import nn

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.keep_float import KeepFloat, cast

Network = TypeVar("Network", bound=nn.Module)

LARGEST = 65504.0
"""Largest finite FP16 number."""
SMALLEST_NORMAL = 2.0**-14
"""Below it FP16 numbers stand a fixed 2^-24 apart, and lose a bit with every halving."""
ROUNDING = 2.0**-10
"""Most root mean square of the relative error that rounding a tensor to FP16 may leave.

A number of FP16's normal range is rounded by at most 2^-11 of itself, so no tensor of normal numbers
comes near twice that, whatever is in it: only numbers that lose bits below 2^-14 do. A tensor whose
root mean square is 1.8e-5 has it, for the error of a spacing of 2^-24 is 2^-24 / sqrt(12)."""

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def half(network: Network) -> Network:
    """A copy in evaluation mode that computes in FP16, with inputs and outputs in float32.

    It is of a subclass of the network's class, with the same ``forward`` signature and every other
    member: ``decode`` of a task network gets float32 and computes in it.

    Float32 stay: all buffers (an anchor at 1,000 pixels would lose its half pixel), parameters of
    PyTorch's norms, and the own parameters of a module that has ``full_precision = True``.

    Args:
        network: In float32; it is not changed. Batch norm is folded first, by ``fold.py``: here
            it would run in float32.

    Raises:
        ExportError: a weight does not fit into FP16: it overflows, or so many are so small that
            what is left of them is not the layer.
    """
    low = copy.deepcopy(network).eval()
    for prefix, module in low.named_modules():
        if isinstance(module, NORMS) or getattr(module, "full_precision", False):
            continue
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if parameter.dtype == torch.float32:
                parameter.data = _halved(name, parameter.detach())
    kind = type(low)
    low.__class__ = type(f"Half{kind.__name__}", (kind,), {"forward": _forward(kind)})
    return low


def _forward(kind: type[nn.Module]) -> Any:
    """``kind.forward`` with float32 kept where it must be.

    ``wraps`` keeps the signature, by which the exporter names axes.
    """
    inner = kind.forward

    @functools.wraps(inner)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with KeepFloat():
            return cast(inner(self, *args, **kwargs), torch.float16, torch.float32)

    return forward


def _halved(name: str, weight: torch.Tensor) -> torch.Tensor:
    low = weight.half()
    if not torch.isfinite(low).all():
        raise ExportError(
            f"weight {name} does not fit into FP16",
            expected=f"at most {LARGEST:g}",
            got=f"{float(weight.abs().max()):g}",
            hint="Give its module full_precision = True, or export in FP32.",
        )
    # A bias adds: what FP16 takes from a small one is at most 3e-8, which nothing beside it notices.
    lost = relative_error(weight, low) if weight.ndim > 1 else 0.0
    if lost > ROUNDING:
        raise ExportError(
            f"weight {name} vanishes in FP16",
            expected=f"a relative rounding error of at most {ROUNDING:.1e}",
            got=f"{lost:.1e}, for weights of {float(weight.square().mean().sqrt()):.1e}",
            hint="Give its module full_precision = True, or export in FP32.",
        )
    return low


def relative_error(exact: torch.Tensor, rounded: torch.Tensor) -> float:
    """Root mean square of the difference by that of ``exact``; 0 where ``exact`` is all 0."""
    energy = float(exact.double().square().sum())
    error = float((exact.double() - rounded.double()).square().sum())
    return (error / energy) ** 0.5 if energy else 0.0
