"""Whether what a graph gave is a picture: a graph may come from a stranger, and FP16 may overflow.

Looked at for every picture: the sum of the squares of 640x480 pixels takes 0.02 ms, a two-thousandth of what
the networks take on the same core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines import Array
from tdfusion_edge.runtime.executors.base import F32

LARGEST = 4.0
"""Root mean square of a luma that is meant to lie in [0, 1] and may leave it a little."""


def fused_luma(output: Mapping[str, Array], height: int, width: int) -> F32:
    """The fused luma, float32 (H, W), out of what a fusion graph gave.

    Raises:
        EngineError: it has another name, dtype or size, or holds NaN, infinity or no lumas.
    """
    fused = require(output, "fusion", "fused", np.float32, (1, 1, height, width))
    with np.errstate(over="ignore", invalid="ignore"):
        energy = float(np.vdot(fused, fused))
    # Not "above": NaN is not.
    if not energy <= LARGEST**2 * fused.size:
        raise EngineError(
            "the fusion graph's output cannot be used as a picture",
            expected="finite values from 0 to 1",
            got=_range(fused),
            hint="In FP16 try --precision fp32; else export the bundle again.",
        )
    luma: F32 = fused[0, 0]
    return luma


def require(
    output: Mapping[str, Array], graph: str, name: str, dtype: Any, shape: tuple[int | None, ...]
) -> Array:
    """One output of a graph; None stands for an axis of any length.

    Raises:
        EngineError: it is not there, or of another dtype or shape.
    """
    array = output.get(name)
    fits = array is not None and array.dtype == dtype and len(array.shape) == len(shape)
    if array is None or not fits or any(w not in (None, h) for w, h in zip(shape, array.shape, strict=True)):
        wanted = tuple("any" if axis is None else axis for axis in shape)
        raise EngineError(
            f"the {graph} graph's output cannot be used",
            expected=f"{name} {np.dtype(dtype)} {wanted}",
            got="none" if array is None else f"{array.dtype} {array.shape}",
            hint="Export the bundle again.",
        )
    return array


def _range(array: Array) -> str:
    finite = array[np.isfinite(array)]
    if len(finite) < array.size:
        return f"NaN or infinity in {array.size - len(finite)} of {array.size} pixels"
    return f"{finite.min():.3g} to {finite.max():.3g}"
