"""Which infrared pixels a measured place has, and where it is drawn."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.picture.registration import homography
from tdfusion_edge.runtime.temperatures.tables import Measure
from tdfusion_edge.runtime.zones.geometry import F64
from tdfusion_edge.runtime.zones.tables import Size, in_pixels


def places(
    name: str, measure: Measure, registration: rig.Registration | None, infrared: Size, visible: Size
) -> tuple[F64, F64]:
    """The points of a measured place in both pictures.

    Args:
        name: Of the place.
        measure: Its table.
        registration: Where infrared pixels lie in the visible picture.
        infrared: Width and height of the infrared pictures.
        visible: Width and height of the visible ones.

    Returns:
        (N, 2) in infrared pixels and (N, 2) in visible ones, from the pictures' upper left corners.

    Raises:
        ConfigError: it lies outside of the picture, or of what infrared sees.
        RequestError: the registration does not fit the sizes.
    """
    table = f"measure.{name}"
    to_visible = homography(registration, infrared, visible)
    if measure.picture == "infrared":
        found = in_pixels(table, measure.points, measure.units, infrared, "infrared")
        return found, _moved(found, to_visible)
    shown = in_pixels(table, measure.points, measure.units, visible)
    found = _moved(shown, np.asarray(np.linalg.inv(to_visible), np.float64))
    if not ((found >= 0) & (found <= np.array(infrared))).all():
        far = shown[~((found >= 0) & (found <= np.array(infrared))).all(axis=1)][0]
        raise ConfigError(
            f"[{table}] lies outside of what infrared sees",
            expected="points of the visible picture that the registration finds in infrared",
            got=f"[{far[0]:g}, {far[1]:g}]",
        )
    return found, shown


def indices(points: F64, size: Size) -> npt.NDArray[np.intp]:
    """The pixels of a place, as indices into the flat picture; at least one.

    Args:
        points: (N, 2) from the upper left corner: of one, the nine pixels around it; of two, those of the
            line between them; of more, those of the polygon and its border.
        size: Width and height of the picture.
    """
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    # Pixel (0, 0) reaches from the corner (0, 0) to (1, 1).
    cells = np.minimum(np.floor(points), np.array((width - 1, height - 1))).astype(np.int32)
    if len(cells) == 1:
        x, y = (int(value) for value in cells[0])
        mask[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 1
    elif len(cells) == 2:
        cv2.line(mask, tuple(map(int, cells[0])), tuple(map(int, cells[1])), 1)
    else:
        cv2.fillPoly(mask, [cells], 1)
    return np.flatnonzero(mask)


def _moved(points: F64, matrix: F64) -> F64:
    """Points through a homography between pixel centres, which lie half a pixel from the corner."""
    centres = np.concatenate((points - 0.5, np.ones((len(points), 1))), axis=1) @ matrix.T
    return np.asarray(centres[:, :2] / centres[:, 2:] + 0.5, np.float64)
