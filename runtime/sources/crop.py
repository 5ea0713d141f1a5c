"""A part of a camera's frame, cut out before anything else looks at it.

Some thermal cameras add rows to their pictures: a PureThermal sends its telemetry above or below, and a Boson
can give a second picture below the first.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.rig import Crop
from tdfusion_edge.runtime.sources.base import Source, Wrapped
from tdfusion_edge.runtime.sources.uri import SourceUri

# A "+" in the query of an address stands for a blank.
_GEOMETRY = re.compile(r"(\d{1,5})x(\d{1,5})[+ ](\d{1,5})[+ ](\d{1,5})", re.ASCII)


def taken_from(uri: SourceUri, crop: Crop | None) -> tuple[SourceUri, Crop | None]:
    """What to cut out, by the address or the rig, and the address without that option.

    Raises:
        RequestError: it is of another form than ``crop=WIDTHxHEIGHT+LEFT+TOP``, empty, or in both places.
    """
    text = uri.query.get("crop")
    if text is None or uri.scheme == "gst":
        return uri, crop
    found = _GEOMETRY.fullmatch(text)
    width, height, left, top = map(int, found.groups()) if found else (0, 0, 0, 0)
    if not (width and height):
        raise RequestError(
            f"{uri}: bad crop",
            expected="width, height, left and top in pixels, such as crop=160x120+0+0",
            got=f"'{text}'",
        )
    asked = Crop(left=left, top=top, width=width, height=height)
    if crop not in (None, asked):
        raise RequestError(f"{uri}: crop is given twice", hint="Remove it from the address or from the rig.")
    return replace(uri, query={key: one for key, one in uri.query.items() if key != "crop"}), asked


class Cropped(Wrapped):
    """A source of which a part of every frame is taken.

    Args:
        source: Gives whole frames.
        crop: The part, in pixels of those.
    """

    def __init__(self, source: Source, crop: Crop) -> None:
        super().__init__(source)
        self._crop = crop

    def passed(self, frame: Frame) -> Frame:
        """The part.

        Raises:
            RequestError: it does not lie within the frame.
        """
        crop, (width, height) = self._crop, frame.size
        if crop.left + crop.width > width or crop.top + crop.height > height:
            # Not a SourceError: no second try makes the picture larger.
            raise RequestError(
                f"{self.name}: the crop is larger than the picture",
                expected=f"a part of {width}x{height}",
                got=f"{crop.width}x{crop.height}+{crop.left}+{crop.top}",
                hint="Which sizes there are: tdfusion-edge cameras",
            )
        part = frame.image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        # A copy, so that the rest of the frame does not stay in memory with it.
        return replace(frame, image=np.ascontiguousarray(part))
