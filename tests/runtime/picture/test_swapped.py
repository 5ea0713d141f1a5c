"""Two pictures given for one another: what speaks for it and what does not."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.picture.swapped import suspicion


def street(shift: int = 0) -> Any:
    """uint8 (120, 160, 3) with colours."""
    y, x = np.mgrid[:120, :160]
    planes = [127 + 90 * np.sin((x + shift) / 11 + k) * np.cos(y / (7 + k)) for k in range(3)]
    return np.dstack(planes).astype(np.uint8)


def thermal() -> Any:
    """uint8 (120, 160)."""
    return cv2.GaussianBlur(street()[..., 0], (9, 9), 3)


def jpeg(image: Any) -> Any:
    """As a camera's JPEG in colour gives it."""
    raw = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return cv2.imdecode(raw, cv2.IMREAD_COLOR)


CASES = {
    "right": (thermal(), street(), None),
    "swapped": (street(), thermal(), "swapped"),
    "swapped, grey in three channels": (street(), jpeg(thermal()), "swapped"),
    "grey in three channels": (jpeg(thermal()), street(), None),
    "a palette, and colours": (cv2.applyColorMap(thermal(), cv2.COLORMAP_JET), street(), None),
    "16 bits": (thermal().astype(np.uint16) * 30, street(), None),
    "grey by night": (thermal(), jpeg(street()[..., 1]), None),
    "one": (street()[..., 1], street()[..., 1], "the very same"),
    "one, once in three channels": (thermal(), cv2.merge([thermal()] * 3), "the very same"),
    "one in colour": (street(), street(), "the very same"),
    "both black": (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.uint8), None),
    "of two sizes": (np.zeros((9, 9), np.uint8), street(), None),
}


@pytest.mark.parametrize("name", CASES)
def test_what_speaks_for_a_mix_up(name: str) -> None:
    infrared, visible, expected = CASES[name]
    said = suspicion(Frame(infrared, 0, 0, "first"), Frame(visible, 0, 0, "second"))
    assert (said is None) == (expected is None), said
    assert expected is None or expected in str(said)
    assert said is None or "\n" not in said
