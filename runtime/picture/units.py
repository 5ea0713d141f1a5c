"""8-bit pictures as the networks take them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8

F32: TypeAlias = npt.NDArray[np.float32]

UNIT = np.float32(1 / 255)
"""What a grey level is worth."""


def unit_inputs(infrared: U8, visible: U8) -> dict[str, F32]:
    """What a fusion graph takes, (1, 1, H, W) float32 in [0, 1], of two lumas, uint8 (H, W).

    The same numbers as a stream gives it, in arrays of their own.
    """
    return {"infrared": infrared[None, None] * UNIT, "visible": visible[None, None] * UNIT}
