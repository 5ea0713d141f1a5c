"""Registration: the infrared picture in the pixels of the visible one.

All geometry is done once, when the first frames have told their sizes; a frame costs one remap.
Pixel coordinates are those of OpenCV: (0, 0) is the centre of the upper left pixel.
"""

from __future__ import annotations

from typing import TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.errors import ConfigError, RequestError, SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime import rig

F64: TypeAlias = npt.NDArray[np.float64]
Size: TypeAlias = tuple[int, int]

ASPECT_TOLERANCE = 0.005
"""Largest relative difference of width to height: a size rounded to even pixels passes, a crop not."""
WORST_CONDITION = 1e4
"""A homography between [-1, 1] squares beyond this squeezes the picture to less than a pixel's width."""

HORIZON = 1e-12
"""Least depth, where 1 is that of a corner of the infrared picture."""


class Warp:
    """Brings infrared pictures of one size to visible pictures of one size.

    Without a registration both cameras are taken to have the same field of view: equal sizes pass
    unchanged, others are resized, also where that changes the aspect ratio.

    Args:
        registration: ``[registration]`` of the rig, or None.
        infrared: Width and height of the infrared frames, in pixels.
        visible: Width and height of the visible frames, in pixels.

    Raises:
        RequestError: a size with another aspect ratio than the one that was measured.
        ConfigError: a homography that cannot be inverted, folds the infrared picture, or maps it
            to where the visible one is not.
    """

    valid: U8 | None
    """uint8 at visible size, 255 where infrared sees and 0 elsewhere; None where it sees everything."""
    inverse: F64 | None
    """3 x 3 from visible pixels to infrared ones, between which :meth:`apply` interpolates; None where it
    takes them as they are, or averages them to a smaller picture."""

    def __init__(self, registration: rig.Registration | None, infrared: Size, visible: Size) -> None:
        self.infrared, self.visible = infrared, visible
        self.valid = self.inverse = None
        self._maps: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None
        if registration is None:
            if infrared != visible and not self._shrinks:
                self.inverse = cast(F64, np.linalg.inv(homography(None, infrared, visible)))
            return
        self.inverse = cast(F64, np.linalg.inv(homography(registration, infrared, visible)))
        x, y = _sources(self.inverse, visible)
        inside = np.abs(x - (infrared[0] - 1) / 2) <= infrared[0] / 2
        inside &= np.abs(y - (infrared[1] - 1) / 2) <= infrared[1] / 2
        if not inside.any():
            raise _bad("maps the infrared picture to outside of the visible one", "some overlap", "none")
        self.valid = None if inside.all() else np.where(inside, np.uint8(255), np.uint8(0))
        # Plain float maps: exact, and in OpenCV 5 faster than the fixed-point kind (0.6 against
        # 0.75 ms for uint8, 0.5 against 1.2 ms for uint16 at 640 x 480).
        self._maps = _repeat_border(x, infrared[0]), _repeat_border(y, infrared[1])

    def apply(self, infrared: Image) -> Image:
        """The infrared picture at visible size, its border repeated where infrared does not see.

        Args:
            infrared: uint8 or uint16 (H, W) of the size the warp was made for.

        Returns:
            Same dtype, visible (H, W); the very same array where nothing is to be done.

        Raises:
            SourceError: an image of another shape.
        """
        width, height = self.infrared
        if infrared.shape != (height, width):
            raise SourceError(
                "infrared frame changed its size",
                expected=f"(H, W) = ({height}, {width})",
                got=str(infrared.shape),
                hint="Registration is prepared for one size; open the camera again.",
            )
        if self._maps is not None:
            picture = cv2.remap(infrared, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        elif self.infrared == self.visible:
            picture = infrared
        else:
            picture = cv2.resize(
                infrared, self.visible, interpolation=cv2.INTER_AREA if self._shrinks else cv2.INTER_LINEAR
            )
        return cast(Image, picture)

    @property
    def _shrinks(self) -> bool:
        return self.visible[0] <= self.infrared[0] and self.visible[1] <= self.infrared[1]


def homography(registration: rig.Registration | None, infrared: Size, visible: Size) -> F64:
    """The 3 x 3 that maps infrared pixels onto visible ones, between pictures of these sizes.

    Args:
        registration: ``[registration]`` of the rig; None: the one picture is scaled to the other.
        infrared: Width and height of the infrared pictures.
        visible: Width and height of the visible ones.

    Raises:
        RequestError: a size with another aspect ratio than the one that was measured.
        ConfigError: a homography that is of no use, as :class:`Warp` says.
    """
    if registration is not None:
        return _checked(_at_sizes(registration, infrared, visible), infrared, visible)
    return _scaling_between(infrared, visible)


def leaves_border(registration: rig.Registration) -> bool:
    """Whether infrared sees only a part of the visible picture, at the sizes that were measured.

    Raises:
        ConfigError: a homography that :class:`Warp` refuses.
    """
    return Warp(registration, registration.infrared_size, registration.visible_size).valid is not None


def overlap(registration: rig.Registration) -> float:
    """Share of the visible picture that infrared sees, 0 to 1, at the sizes that were measured.

    Raises:
        ConfigError: a homography that cannot be inverted, or folds the infrared picture.
    """
    infrared, visible = registration.infrared_size, registration.visible_size
    lifted = np.concatenate([_corners(infrared), np.ones((4, 1))], axis=1)
    seen = lifted @ homography(registration, infrared, visible).T
    quadrilateral = (seen[:, :2] / seen[:, 2:]).astype(np.float32)
    # The hull brings the corners of a mirrored picture into the order of the other's.
    hulls = (cv2.convexHull(quadrilateral), cv2.convexHull(_corners(visible).astype(np.float32)))
    return float(cv2.intersectConvexConvex(*hulls)[0]) / (visible[0] * visible[1])


def _corners(size: Size) -> F64:
    """(4, 2) the corners of a picture, half a pixel beyond the centres of its last pixels."""
    right, bottom = size[0] - 0.5, size[1] - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]], np.float64)


def _at_sizes(registration: rig.Registration, infrared: Size, visible: Size) -> F64:
    """The homography between pictures of the actual sizes."""
    measured = np.array(registration.homography, np.float64)
    to_measured = np.linalg.inv(_scaling("infrared", registration.infrared_size, infrared))
    return cast(F64, _scaling("visible", registration.visible_size, visible) @ measured @ to_measured)


def _scaling(role: rig.Role, measured: Size, actual: Size) -> F64:
    """3 x 3 from pixels of the measured size to pixels of the actual one, corner onto corner."""
    if abs(actual[0] * measured[1] / (actual[1] * measured[0]) - 1) > ASPECT_TOLERANCE:
        raise RequestError(
            f"the rig's registration does not fit the {role} camera",
            expected=f"{measured[0]}x{measured[1]} or the same aspect ratio",
            got=f"{actual[0]}x{actual[1]}",
            hint="Ask the camera for that size, or correct [registration] in the rig file.",
        )
    return _scaling_between(measured, actual)


def _scaling_between(measured: Size, actual: Size) -> F64:
    x, y = actual[0] / measured[0], actual[1] / measured[1]
    # Pixel centres lie at whole numbers, so the picture's corner is at (-0.5, -0.5), not at 0.
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]], np.float64)


def _checked(matrix: F64, infrared: Size, visible: Size) -> F64:
    """The same homography, scaled to depth 1 in a corner of infrared and above 0 in all of it."""
    normal = np.linalg.inv(_from_square(visible)) @ matrix @ _from_square(infrared)
    condition = float(np.linalg.cond(normal)) if np.isfinite(normal).all() else float("nan")
    if not condition < WORST_CONDITION:
        raise _bad("cannot be inverted", f"a condition number below {WORST_CONDITION:g}", f"{condition:g}")
    corners = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], np.float64)
    depths = (normal @ corners)[2]
    if not (np.all(depths > 0) or np.all(depths < 0)):
        raise _bad("folds the infrared picture", "its four corners on one side of the horizon", "both sides")
    return matrix / float(depths[0])


def _from_square(size: Size) -> F64:
    """3 x 3 from the square [-1, 1] to pixels."""
    width, height = size
    return np.array(
        [[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]], np.float64
    )


def _sources(inverse: F64, visible: Size) -> tuple[F64, F64]:
    """For every visible pixel its place in infrared pixels, (H, W) each."""
    columns, rows = np.arange(visible[0], dtype=np.float64), np.arange(visible[1], dtype=np.float64)[:, None]
    x, y, depth = (row[0] * columns + row[1] * rows + row[2] for row in inverse)
    # On the horizon and behind it infrared sees nothing: those pixels go as far out as floats allow.
    depth = np.maximum(depth, HORIZON)
    return x / depth, y / depth


def _repeat_border(coordinate: F64, length: int) -> npt.NDArray[np.float32]:
    """Coordinates outside of the picture moved to its border.

    OpenCV would repeat the border by itself, but pixel by pixel, at three times the cost of a pixel
    inside; hence a thousandth short of the last one.
    """
    return np.where(coordinate > length - 1, length - 1.001, np.maximum(coordinate, 0)).astype(np.float32)


def _bad(what: str, expected: str, got: str) -> ConfigError:
    return ConfigError(
        f"[registration] homography {what}",
        expected=expected,
        got=got,
        hint="Correct [registration] in the rig file.",
    )
