"""Pictures that need no network: each sensor alone, and what simple arithmetic makes of both.

They are the rows that every learned picture is compared with. OpenCV does the arithmetic, and is imported at
use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias, cast

import numpy as np

from tdfusion_edge.color import U8

Plain: TypeAlias = Callable[[U8, U8], U8]
"""Infrared and visible luma, uint8 (H, W) each, to a picture of their size; what passes 255 is cut."""


ADDITIVE = (0.5, 0.9)
"""Gains of infrared and visible in the additive picture."""


def mean(infrared: U8, visible: U8) -> U8:
    """Half of each; a sensor that stands in both places is left as it is."""
    return visible if infrared is visible else _sum(infrared, 0.5, visible, 0.5)


def additive(infrared: U8, visible: U8) -> U8:
    """.5 infrared + .9 visible: neither sensor is switched off."""
    return _sum(infrared, ADDITIVE[0], visible, ADDITIVE[1])


def _sum(infrared: U8, gain_infrared: float, visible: U8, gain_visible: float) -> U8:
    import cv2

    return cast(U8, cv2.addWeighted(infrared, gain_infrared, visible, gain_visible, 0))


PLAIN: Mapping[str, Plain] = MappingProxyType(
    {
        "infrared": lambda infrared, visible: infrared,
        "visible": lambda infrared, visible: visible,
        "average": mean,
        "additive": additive,
        "maximum": lambda infrared, visible: cast(U8, np.maximum(infrared, visible)),
    }
)
"""By name."""
GREY = ("infrared",)
"""Those without colour; the others are seen in those of the visible picture."""
OF_ONE = ("infrared", "visible")
"""Those of one sensor: whoever looks at them is to see nothing of the other."""
