"""A picture of a calibration: before and after, for eyes."""

from __future__ import annotations

from typing import TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.frames import Image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration.features import level
from tdfusion_edge.runtime.picture.registration import Warp

U8: TypeAlias = npt.NDArray[np.uint8]

EDGES = (0, 255, 120)
"""BGR of visible's edges over infrared."""
STRONGEST = 92
"""Percentile of the gradients above which a pixel is an edge."""
SQUARES = 8
"""Squares of the checkerboard along the picture's width."""
MARGIN = 24
"""Height of the line of text above each row, pixels."""


def before_after(
    infrared: Image, visible: Image, before: rig.Registration | None, after: rig.Registration
) -> U8:
    """Two rows, before and after: visible's edges over infrared, and both in turns on a checkerboard.

    Args:
        infrared: uint8 or uint16 (h, w), or BGR.
        visible: uint8 (H, W) or BGR.
        before: What the rig had; None: infrared scaled to visible's size.
        after: What was found.

    Returns:
        uint8 (2 (H + 24), 2 W, 3) BGR.
    """
    theirs = shown(visible)
    rows = []
    for words, registration in (("before", before), ("after", after)):
        warp = Warp(registration, infrared.shape[1::-1], visible.shape[1::-1])
        ours = warp.apply(shown(infrared))
        if warp.valid is not None:
            ours = np.where(warp.valid > 0, ours, np.uint8(0)).astype(np.uint8)
        row = np.concatenate([_edges_over(ours, theirs), _in_turns(ours, theirs)], axis=1)
        line = np.zeros((MARGIN, row.shape[1], 3), np.uint8)
        cv2.putText(
            line,
            f"{words}: edges of visible over infrared; both in turns",
            (6, 17),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        rows += [line, row]
    return np.concatenate(rows)


def shown(image: Image) -> U8:
    """A picture of any depth as uint8 (H, W), with a contrast that fits it."""
    return cast(U8, np.clip((level(image) + np.float32(0.5)) * 255, 0, 255).astype(np.uint8))


def _edges_over(infrared: U8, visible: U8) -> U8:
    smooth = cv2.GaussianBlur(visible, (0, 0), 1.2).astype(np.float32)
    steep = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    edges = steep > max(float(np.percentile(steep, STRONGEST)), 12.0)
    picture = cv2.cvtColor(infrared, cv2.COLOR_GRAY2BGR)
    picture[edges] = EDGES
    return cast(U8, picture)


def _in_turns(infrared: U8, visible: U8) -> U8:
    height, width = visible.shape
    side = max(8, width // SQUARES)
    rows, columns = np.arange(height)[:, None] // side, np.arange(width) // side
    return cast(U8, cv2.cvtColor(np.where((rows + columns) % 2 == 0, infrared, visible), cv2.COLOR_GRAY2BGR))
