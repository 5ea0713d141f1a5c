"""How a video is to be held: the display matrix that phones write and players follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tdfusion_edge.frames import Image

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_ALMOST = 0.02
"""A turn of about a degree beside a quarter is the rounding of whoever wrote the matrix."""


class Orientation(NamedTuple):
    """A quarter turn and mirrors, in the order in which they are applied."""

    transpose: bool = False
    """Rows become columns."""
    upside_down: bool = False
    """The last row becomes the first."""
    mirrored: bool = False
    """The last column becomes the first."""

    def apply(self, image: Image) -> Image:
        """The picture as it is to be seen, contiguous; (H, W) or (H, W, 3) of any dtype."""
        import cv2

        if self.transpose:
            image = cv2.transpose(image)
        if self.upside_down or self.mirrored:
            code = -1 if self.upside_down and self.mirrored else int(self.mirrored)
            image = cv2.flip(image, code)
        return image


UPRIGHT = Orientation()


def turn_of(frame: VideoFrame) -> float:
    """Degrees by which a frame's display matrix turns it: where they change, the matrix does.

    The matrix itself is not asked for with every frame: PyAV ties a frame and its side data to each other, so
    that its memory comes back with the next collection of garbage only. An older one does not tell the turn;
    the first frame's matrix, which is the file's, then serves all.
    """
    return float(getattr(frame, "rotation", 0))


def matrix_of(frame: VideoFrame) -> bytes | None:
    """The display matrix that came with a frame, None where there is none."""
    given: Any = frame.side_data  # whose stub knows names alone
    if not len(given):
        return None
    from av.sidedata.sidedata import Type

    found = given.get(Type.DISPLAYMATRIX)
    return None if found is None else bytes(found)


def orientation(matrix: bytes) -> Orientation | None:
    """What a display matrix asks for; None for another angle than quarter turns, which is not followed.

    Args:
        matrix: Nine 32-bit numbers, row by row, as FFmpeg's ``AV_PKT_DATA_DISPLAYMATRIX`` has them: the
            pixel (p, q) is shown at (a p + c q, b p + d q), q growing downwards, of the rows (a, b, u) and
            (c, d, v). Scale and shift are left out.
    """
    (a, b, _), (c, d, _), _ = np.frombuffer(matrix, "=i4").reshape(3, 3).tolist()
    straight, across = min(abs(a), abs(d)), min(abs(b), abs(c))
    if straight == across == 0:
        return UPRIGHT  # no matrix that could be shown at all: players pass it over
    if max(abs(b), abs(c)) <= _ALMOST * straight:
        return Orientation(False, d < 0, a < 0)
    if max(abs(a), abs(d)) <= _ALMOST * across:
        return Orientation(True, b < 0, c < 0)
    return None
