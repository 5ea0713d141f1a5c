"""Which operations of a half-precision network stay in float32, and the mode that keeps them there.

A sum over a picture passes the largest FP16 number, a norm divides by it, and neither leaves a NaN
behind. Our own networks say so in their code; this mode does the same for networks that are not
ours, from outside and without an example: it sees every call of PyTorch while ``forward`` runs, in
eager mode and in :func:`torch.onnx.export` alike, so the casts become nodes of the graph.

Three rules:

- what sums, normalises or raises to a power takes float32 and gives back the type of what it was given;
- what multiplies matrices, and has half-precision weights, takes FP16;
- all else is PyTorch's own promotion, so FP16 with float32 gives float32.

It is no proof. A call that hides its sums, such as a kernel of the user's own, passes unseen;
:mod:`~tdfusion_edge.export.lint` looks at the graph that comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

HALF = (torch.float16, torch.bfloat16)

SUMS = frozenset(
    {
        "sum", "mean", "nansum", "nanmean", "prod", "cumsum", "cumprod", "trace", "var", "std", "var_mean",
        "std_mean", "logsumexp", "logcumsumexp", "norm", "vector_norm", "matrix_norm", "linalg_norm",
        "linalg_vector_norm", "linalg_matrix_norm", "renorm", "normalize", "cosine_similarity",
        "pairwise_distance", "cdist", "pdist", "lp_pool1d", "lp_pool2d", "avg_pool1d", "avg_pool2d",
        "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    }
)  # fmt: skip
NORMALISATIONS = frozenset(
    {
        "batch_norm", "layer_norm", "native_layer_norm", "group_norm", "instance_norm", "rms_norm",
        "local_response_norm", "softmax", "log_softmax", "softmin", "gumbel_softmax",
        "scaled_dot_product_attention", "multi_head_attention_forward",
    }
)  # fmt: skip
POWERS = frozenset(
    {
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "pow", "rpow", "float_power",
        "square", "cosh", "sinh",
    }
)  # fmt: skip
"""FP16 ends at e^11.09, and a power leaves its range at once in one direction or the other."""
PLACES = frozenset({"grid_sample", "grid_sampler", "affine_grid"})
"""Coordinates of hundreds of pixels."""
FULL = SUMS | NORMALISATIONS | POWERS | PLACES
"""Names of the functions that run in float32, however they are called (``x.sum()``, ``torch.sum(x)``)."""

MULTIPLY = frozenset(
    {
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
        "bilinear", "matmul", "rmatmul", "mm", "bmm", "baddbmm", "addmm", "addbmm", "addmv", "mv", "dot",
        "einsum",
    }
)  # fmt: skip
"""Names of those that take FP16 as soon as one of their tensors is FP16."""


class KeepFloat(TorchFunctionMode):
    """While it is entered, the rules above hold."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``func`` with tensors of the type that its rule wants."""
        kwargs = dict(kwargs or {})
        name = _name(func)
        kinds = [tensor.dtype for tensor in leaves((args, kwargs)) if tensor.is_floating_point()]
        low = next((kind for kind in kinds if kind in HALF), None)
        if low is None or not (name in FULL or name in MULTIPLY or _is_tanh_gelu(name, args, kwargs)):
            return func(*args, **kwargs)
        if name in MULTIPLY:
            return func(*cast(args, torch.float32, low), **cast(kwargs, torch.float32, low))
        full = func(*cast(args, low, torch.float32), **cast(kwargs, low, torch.float32))
        # Who names a type gets it, and float32 statistics of a float32 tensor stay.
        back = kinds[0] in HALF and kwargs.get("dtype") is None
        return cast(full, torch.float32, low) if back else full


def cast(value: Any, old: torch.dtype, new: torch.dtype) -> Any:
    """``value`` with every tensor of type ``old`` in it as ``new``; tuples, lists and mappings are copied."""
    if isinstance(value, Tensor):
        return value.to(new) if value.dtype == old else value
    if isinstance(value, Mapping):
        items = {key: cast(item, old, new) for key, item in value.items()}
        return items if type(value) is dict else type(value)(**items)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(cast(item, old, new) for item in value))
    if isinstance(value, tuple | list):
        # A torch.return_types tuple has no _fields and takes one sequence, as a plain one does.
        return type(value)([cast(item, old, new) for item in value])
    return value


def leaves(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)


def _name(func: Callable[..., Any]) -> str:
    """``sum`` for ``torch.sum``, ``Tensor.sum``; ``pow`` for ``Tensor.__pow__``.

    ``exp_`` stays: what works in place cannot be given a copy.
    """
    name = str(getattr(func, "__name__", ""))
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def _is_tanh_gelu(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """GELU by tanh cubes its input, which passes 65,504 at 40; GELU by erf is harmless."""
    return name == "gelu" and "tanh" in (*args[1:], kwargs.get("approximate"))
