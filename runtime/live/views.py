"""What a viewer may look at, and how it is drawn from a result. No network runs here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias, cast

import cv2
import msgspec
import numpy as np

from tdfusion_edge.color import U8, luma
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.live.palettes import Palette, coloured, hot
from tdfusion_edge.runtime.picture.range import ThermalRange
from tdfusion_edge.runtime.picture.registration import Size, Warp

Kind: TypeAlias = Literal["fused", "infrared", "visible", "pair", "edges", "inset"]
Detail: TypeAlias = Literal["low", "medium", "high"]

DETAIL: dict[Detail, tuple[int, int]] = {"low": (480, 60), "medium": (960, 78), "high": (1920, 88)}
"""Longest side in pixels of one picture, and JPEG quality, 0 to 100."""
_EDGE = (90, 255, 60)
"""BGR: a green that no palette of infrared has."""
_INSET, _MARGIN = 3, 48
"""Infrared's inset is a third as wide as the picture; its distance from the corner is a 48th."""


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for. Equal views are drawn and encoded once, however many look."""

    kind: Kind = "fused"
    """``pair`` is infrared and visible beside each other: browsers show them so, or blended by a slider.
    ``edges`` are those of visible on infrared, ``inset`` is infrared in a corner of visible."""
    palette: Palette = "white-hot"
    """Of infrared."""
    hottest: Annotated[float, msgspec.Meta(gt=0, le=50)] | None = None
    """Isotherm: so many per cent of infrared's pixels, the hottest, in colours of their own."""
    counts: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """Isotherm: what has at least so many of the camera's counts; it goes before :attr:`hottest`."""
    boxes: bool = True
    """Draw what was found."""
    detail: Detail = "medium"


class Painter:
    """Draws views of the results of one run; one thread at a time.

    Args:
        registration: ``[registration]`` of the rig, for where infrared sees and for its counts.
        annotated: Gives a result's picture with all that was found drawn in it.
    """

    def __init__(self, registration: rig.Registration | None, annotated: Callable[[Result], Image]) -> None:
        self._registration, self._annotated = registration, annotated
        self._warp: Warp | None = None
        self._warped_by = registration
        self._range = ThermalRange(rig.ThermalRange())
        """Of infrared that stayed on its device, for those who look at it."""

    def place(self, registration: rig.Registration | None) -> None:
        """From the next picture on infrared lies so; safe from any thread."""
        self._registration = registration

    def paint(self, result: Result, view: View) -> Image:
        """The view of a result.

        Returns:
            uint8 (H, W) or (H, W, 3) BGR, of the detail's size or smaller; ``pair`` is twice as wide.
        """
        if view.kind == "pair":
            both = (self._finished(result, self._infrared(result, view), view),
                    self._finished(result, _visible(result), view))  # fmt: skip
            return np.hstack([_bgr(one) for one in both])
        return self._finished(result, self._plain(result, view), view)

    def _plain(self, result: Result, view: View) -> Image:
        if view.kind == "visible":
            return _visible(result)
        if view.kind == "infrared":
            return self._infrared(result, view)
        if view.kind == "edges":
            return _with_edges(self._infrared(result, view), _visible(result))
        if view.kind == "inset":
            return _with_inset(_visible(result), self._infrared(result, view))
        isotherm = self._isotherm(result, view)
        if isotherm is None:
            return result.picture
        return cast(Image, cv2.copyTo(hot(luma(result.picture)), isotherm, _bgr(result.picture).copy()))

    def _finished(self, result: Result, picture: Image, view: View) -> Image:
        """With what was found drawn in it, at the size of the detail."""
        if view.boxes:
            picture = self._annotated(replace(result, picture=picture))
        longest = DETAIL[view.detail][0]
        height, width = picture.shape[:2]
        if max(height, width) <= longest:
            return picture
        share = longest / max(height, width)
        size = max(1, round(width * share)), max(1, round(height * share))
        return cast(Image, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))

    def _infrared(self, result: Result, view: View) -> Image:
        """Infrared in its palette, black where it does not see, with its isotherm."""
        infrared = self._seen(result)
        if infrared is None:
            return _absent(result, "no infrared")
        picture = coloured(infrared, view.palette)
        valid = self._valid(result)
        if valid is not None:
            picture = cast(U8, cv2.copyTo(picture, valid))
        isotherm = self._isotherm(result, view)
        if isotherm is None:
            return picture
        return cast(Image, cv2.copyTo(hot(infrared), isotherm, _bgr(picture).copy()))

    def _seen(self, result: Result) -> U8 | None:
        """Infrared in 8 bits in visible pixels; one that stayed on its device is brought there here."""
        frame = result.pair.infrared
        if result.infrared is not None or frame is None or (result.degraded or "").startswith("infrared"):
            return result.infrared
        warp = self._warp_of(result)
        assert warp is not None
        return cast(U8, warp.apply(self._range.apply(luma(frame.image), frame.time_ns)))

    def _isotherm(self, result: Result, view: View) -> U8 | None:
        """uint8 (H, W), 255 on what is hot; None where that is not asked for, or not known."""
        infrared = self._seen(result)
        if infrared is None or (view.hottest is None and view.counts is None):
            return None
        valid = self._valid(result)
        if view.counts is not None:
            frame = result.pair.infrared
            warp = self._warp_of(result)
            if frame is None or warp is None:
                return None
            mask = warp.apply(np.where(luma(frame.image) >= view.counts, np.uint8(255), np.uint8(0)))
            mask = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]
        else:
            assert view.hottest is not None
            level = _level(infrared, valid, view.hottest)
            mask = cv2.threshold(infrared, level - 1, 255, cv2.THRESH_BINARY)[1]
        return cast(U8, mask if valid is None else cv2.bitwise_and(mask, valid))

    def _valid(self, result: Result) -> U8 | None:
        warp = self._warp_of(result)
        return None if warp is None else warp.valid

    def _warp_of(self, result: Result) -> Warp | None:
        """Of the frame's size; None without a frame."""
        frame = result.pair.infrared
        if frame is None:
            return None
        visible: Size = (result.picture.shape[1], result.picture.shape[0])
        registration = self._registration
        if (
            self._warp is None
            or (self._warp.infrared, self._warp.visible) != (frame.size, visible)
            or self._warped_by is not registration
        ):
            self._warp, self._warped_by = Warp(registration, frame.size, visible), registration
        return self._warp


def _visible(result: Result) -> Image:
    return _absent(result, "no visible") if result.pair.visible is None else result.pair.visible.image


def _level(infrared: U8, valid: U8 | None, per_cent: float) -> int:
    """The lowest level that at most so many per cent of the pixels reach; 255 whoever has it."""
    counts = cv2.calcHist([infrared], [0], valid, [256], [0, 256]).ravel()
    reach = counts[::-1].cumsum()[::-1]  # pixels of at least that level
    enough = np.flatnonzero(reach <= max(1.0, reach[0] * per_cent / 100))
    return int(enough[0]) if len(enough) else 255


def _with_edges(infrared: Image, visible: Image) -> Image:
    """Edges of visible, uint8 (H, W) or BGR, on infrared of the same size."""
    grey = cv2.GaussianBlur(luma(visible), (0, 0), 1.2)
    # The thresholds follow the picture's contrast, so that a night scene has edges too.
    middle = float(cv2.meanStdDev(grey)[1][0, 0])
    edges = cv2.Canny(grey, max(8.0, middle), max(20.0, 2.2 * middle))
    drawn = _bgr(infrared).copy()
    drawn[edges > 0] = _EDGE
    return drawn


def _with_inset(visible: Image, infrared: Image) -> Image:
    """Infrared small in the lower right corner of visible, with a frame."""
    drawn = _bgr(visible).copy()
    height, width = drawn.shape[:2]
    size = max(1, width // _INSET), max(1, height // _INSET)
    small = cv2.resize(_bgr(infrared), size, interpolation=cv2.INTER_AREA)
    right, bottom = width - width // _MARGIN, height - width // _MARGIN
    left, top = max(0, right - size[0]), max(0, bottom - size[1])
    drawn[top : top + size[1], left : left + size[0]] = small[: height - top, : width - left]
    cv2.rectangle(drawn, (left, top), (left + size[0] - 1, top + size[1] - 1), (235, 235, 235), 1)
    return drawn


def _absent(result: Result, what: str) -> Image:
    """A grey picture that says what is missing and why."""
    height, width = result.picture.shape[:2]
    picture = np.full((height, width), 40, np.uint8)
    scale = width / 1000
    for row, text in enumerate((what, result.degraded or "")):
        place = round(width * 0.04), round(height * 0.5 + row * 50 * scale)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 1.3 * scale, 190, 1, cv2.LINE_AA)
    return picture


def _bgr(picture: Image) -> U8:
    """uint8 (H, W, 3)."""
    return cast(U8, cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture)
