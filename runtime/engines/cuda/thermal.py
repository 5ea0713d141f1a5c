"""The kernel `thermal`: how it is launched for one size of infrared pictures."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from tdfusion_edge.runtime.engines.cuda.parameters import PROFILE as PROFILED
from tdfusion_edge.runtime.engines.cuda.parameters import ThermalParameters
from tdfusion_edge.runtime.picture.range import MIN_SPAN_8BIT, MIN_SPAN_16BIT, PROFILE, sample_step

KERNEL, THREADS = "thermal", 512
SHARED_BYTES = 23_896
"""Of its one block: counts of a first and a second look at the pixels."""


def thermal_parameters(
    size: tuple[int, int], itemsize: int, pitch: int, limits: Sequence[float]
) -> ThermalParameters:
    """Parameters without addresses.

    Args:
        size: Width and height of infrared, pixels.
        itemsize: Bytes of a count, 1 or 2.
        pitch: Bytes from row to row.
        limits: The two percentiles, 0 to 100, that become 0 and 255.
    """
    width, height = size
    step = sample_step(width * height)
    last = -(-width // step) * -(-height // step) - 1
    ranks = np.rint(last * PROFILE / 100).astype(int)
    low, high = (round(last * percent / 100) for percent in limits)
    return ThermalParameters(
        least_span=MIN_SPAN_16BIT if itemsize == 2 else MIN_SPAN_8BIT,
        width=width, height=height, pitch=pitch, bytes=itemsize,
        sample_step=step, low_rank=low, high_rank=high,
        profile_ranks=(ctypes.c_int32 * PROFILED)(*ranks),
    )  # fmt: skip
