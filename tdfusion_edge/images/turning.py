"""Turning a stored picture to how it is shown."""

from __future__ import annotations

from tdfusion_edge.frames import Image


def upright(image: Image, orientation: int) -> Image:
    """A stored picture as every viewer shows it.

    Args:
        image: (H, W) or (H, W, C) of 8 or 16 bits, as it is stored.
        orientation: 1 to 8. EXIF (CIPA DC-008, tag 274) says with it where the first row and column are in
            what is shown: 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top,
            7 right bottom, 8 left bottom.

    Returns:
        The picture itself for 1; else another, (W, H) or (W, H, C) for 5 to 8.
    """
    if orientation == 1:
        return image
    import cv2

    if orientation >= 5:  # its rows are shown as columns
        image = cv2.transpose(image)
    both, across, down = -1, 1, 0
    flip = {2: across, 3: both, 4: down, 6: across, 7: both, 8: down}.get(orientation)
    return image if flip is None else cv2.flip(image, flip)
