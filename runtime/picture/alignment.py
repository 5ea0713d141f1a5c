"""From a pair of frames to two aligned 8-bit pictures: range, registration, cameras that tell nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from tdfusion_edge.color import U8, is_coloured, luma
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.picture.border import Border
from tdfusion_edge.runtime.picture.parallax import quantised
from tdfusion_edge.runtime.picture.range import ThermalRange
from tdfusion_edge.runtime.picture.registration import Size, Warp
from tdfusion_edge.runtime.picture.swapped import suspicion
from tdfusion_edge.runtime.picture.watch import Watch, Watcher

COLOURED_INFRARED = "their luma is fused, not thermal counts; take the counts, or a grey palette"
"""What is said of pictures that were coloured by temperature, or by the world."""

log = logging.getLogger(__name__)

SAME_ASPECT = 0.03
"""Relative difference of two pictures' aspects that a cut to whole blocks of pixels explains."""
WARPS = 4
"""So many pairs of sizes, or distances, are prepared for; the maps of one take 2.5 MB at 640x480, and a
border as much."""


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A pair in the pixels of the visible picture, ready for the networks."""

    pair: Pair
    infrared: U8 | None
    """uint8 (H, W), hot is bright; None where only visible is there, or tells anything."""
    visible: Image | None
    """uint8 (H, W) or (H, W, 3) BGR; None where only infrared is there, or tells anything."""
    degraded: str | None
    """None, or why the picture will not be made of two fresh frames."""
    border: Border | None = None
    """Of a pair of both, where infrared sees only a part of the visible picture."""
    warped: U8 | None = None
    """Infrared in 8 bits in visible pixels, before a border is filled; None where missing or left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """What is there of a pair and tells something, as the cameras gave it."""

    pair: Pair
    infrared: Frame | None
    visible: Frame | None
    """8 bits, and not too small; at least one of the two is there."""
    visible_size: Size
    """Width and height of the picture that is to come of it."""
    degraded: str | None
    """As :attr:`Aligned.degraded`."""


class Aligner:
    """Aligns the pairs of one stream, with what it remembers from frame to frame.

    Args:
        thermal: How infrared becomes 8 bits.
        registration: ``[registration]`` of the rig; None scales infrared to the visible picture.
        minimum: Smallest height and width that the networks take, pixels.
        visible_size: Width and height of the visible pictures where they are known before the first comes;
            the registration's where there is one.
        watch: When a camera that shows nothing, or one picture again and again, is left out.
    """

    def __init__(
        self,
        thermal: rig.ThermalRange,
        registration: rig.Registration | None = None,
        *,
        minimum: int = 1,
        visible_size: Size | None = None,
        watch: Watch = Watch(),  # noqa: B008 (immutable)
    ) -> None:
        self._watch = watch
        self._expected_size = visible_size if registration is None else registration.visible_size
        self._thermal, self._registration, self._minimum = thermal, registration, minimum
        self._looked = False
        """Whether a first pair of both was looked at for what may have been mixed up."""
        self._warps: dict[tuple[Size, Size, int | None], tuple[Warp, Border | None]] = {}
        """By the sizes of infrared and visible and the step of the distance, each with the border of
        infrared's view, if there is one."""
        self._at: tuple[int | None, rig.Registration | None] = (None, registration)
        """Step of the distance of this pair, and the registration there."""
        self._wanted: tuple[int | None, rig.Registration | None] = self._at
        """Those of the next pair; replaced as one, from any thread."""
        self._quantised: Callable[[float], tuple[int, rig.Registration]] | None = None
        self._colours_told = False
        self._aspect_told = registration is not None
        self.forget()

    def forget(self) -> None:
        """Begin a new stream: nothing is left of earlier frames but what only their sizes decide."""
        self._range = ThermalRange(self._thermal)
        self._watcher = Watcher(self._watch)
        self._visible_size = self._expected_size
        self._held: tuple[Frame, U8] | None = None
        """The last infrared frame, and what became of it at visible size."""

    def move(self, distance_m: float) -> None:
        """Let infrared lie on visible at another distance from the next pair on; safe from any thread.

        Maps are made when a distance is first used, and kept for the last few.

        Args:
            distance_m: Metres.

        Raises:
            RequestError: it is no distance, or the rig does not tell what the shift follows from.
        """
        if self._quantised is None:
            self._quantised = quantised(self._registration)
        self._wanted = self._quantised(distance_m)

    def register(self, registration: rig.Registration | None) -> None:
        """Let infrared lie on visible in another way, from the next pair on and at the distance it holds for.

        For the thread that aligns, between two pairs. What :class:`Warp` refuses of it, :meth:`brought` will.
        """
        self._registration, self._quantised = registration, None
        self._at = self._wanted = (None, registration)
        self._warps.clear()
        self._held = None
        self._aspect_told |= registration is not None

    @property
    def registration(self) -> rig.Registration | None:
        """How infrared lies on visible, before :meth:`move`."""
        return self._registration

    def align(self, pair: Pair) -> Aligned | None:
        """Both pictures in 8 bits at the visible size: :meth:`present`, then :meth:`brought`.

        Returns:
            None for infrared alone while the visible size is not known.

        Raises:
            RequestError: as :meth:`present`, or the registration does not fit the sizes.
        """
        present = self.present(pair)
        return None if present is None else self.brought(present)

    def present(self, pair: Pair) -> Present | None:
        """Which of a pair's pictures are there and tell something.

        Returns:
            None for infrared alone while the visible size is not known: a picture of another size
            would end every video.

        Raises:
            RequestError: the visible picture has 16 bits or is too small.
        """
        if self._at[0] != self._wanted[0]:
            self._at, self._held = self._wanted, None
        if pair.visible is None:
            assert pair.infrared is not None
            if self._visible_size is None:
                return None
            return Present(pair, pair.infrared, None, self._visible_size, "visible missing")
        self._require(pair.visible)
        size = self._visible_size = pair.visible.size
        if pair.infrared is None:
            return Present(pair, None, pair.visible, size, "infrared missing")
        self._look(pair.infrared, pair.visible)
        left_out, degraded = self._watcher.judge(pair)
        # Nor do the limits of the range follow what an infrared camera shows that is left out.
        infrared = None if left_out == "infrared" else pair.infrared
        return Present(pair, infrared, None if left_out == "visible" else pair.visible, size, degraded)

    def brought(self, present: Present) -> Aligned:
        """What is there of a pair in 8 bits at the visible size.

        Raises:
            RequestError: the registration does not fit the sizes.
        """
        pair, degraded = present.pair, present.degraded
        visible = None if present.visible is None else present.visible.image
        if present.infrared is None:
            return Aligned(pair, None, visible, degraded)
        infrared = warped = self._warped(present.infrared, present.visible_size)
        if visible is None:
            return Aligned(pair, infrared, None, degraded, warped=infrared)
        border = self.placed(present.infrared.size, present.visible_size)[1]
        if border is not None:
            # Where infrared does not see, both inputs are the visible luma: no network is to see an edge
            # to nothing. What it gives there is replaced behind it.
            # Into a copy: what the remap made is on its way to a sink, and may be held for the next pair.
            infrared = cast(U8, cv2.copyTo(luma(visible), border.outside, warped.copy()))
        return Aligned(pair, infrared, visible, degraded, border, warped)

    def _look(self, infrared: Frame, visible: Frame) -> None:
        """Say once, whatever streams follow, that the two may have been mixed up."""
        if self._looked:
            return
        self._looked = True
        reason = suspicion(infrared, visible)
        if reason is not None:
            self._colours_told = not is_coloured(visible.image)  # swapped: that says it in other words
            log.warning("%s", reason)

    def _require(self, frame: Frame) -> None:
        if frame.image.dtype != np.uint8:
            raise RequestError(
                f"{frame.source}: the visible picture has 16 bits",
                expected="8 bits",
                got=str(frame.image.dtype),
                hint="Is it the infrared one? The first of the two is infrared, the second visible.",
            )
        if min(frame.size) < self._minimum:
            raise RequestError(
                f"{frame.source}: the picture is too small for the network",
                expected=f"{self._minimum}x{self._minimum} pixels or more",
                got="{}x{}".format(*frame.size),
            )

    def _warped(self, frame: Frame, visible: Size) -> U8:
        """The infrared frame in 8 bits at visible size; a held one is not worked on again."""
        if self._held is not None and self._held[0] is frame and self._held[1].shape[::-1] == visible:
            return self._held[1]
        ranged = self._range.apply(self.counts(frame), frame.time_ns)
        warped: U8 = self.placed(frame.size, visible)[0].apply(ranged)
        self._held = frame, warped
        return warped

    def counts(self, frame: Frame) -> Image:
        """The counts of an infrared frame, uint8 or uint16 (H, W): of one in colours its luma."""
        if not self._colours_told and is_coloured(frame.image):
            self._colours_told = True
            log.warning("%s: infrared comes in colours: %s", frame.source, COLOURED_INFRARED)
        return luma(frame.image)

    def correction(self, frame: Frame) -> tuple[float, float] | None:
        """Gain and offset from an infrared frame's counts to levels; see :meth:`ThermalRange.correction`."""
        return self._range.correction(self.counts(frame), frame.time_ns)

    def placed(self, infrared: Size, visible: Size) -> tuple[Warp, Border | None]:
        """How infrared of one size lies in visible pictures of one size, and the border of its view.

        Raises:
            RequestError: the registration does not fit the sizes.
            ConfigError: its homography is of no use.
        """
        sizes = infrared, visible, self._at[0]
        if sizes not in self._warps:
            self._tell_of_stretching(infrared, visible)
            warp = Warp(self._at[1], infrared, visible)
            border = None if warp.valid is None else Border(warp.valid)
            if len(self._warps) == WARPS:
                del self._warps[next(iter(self._warps))]
            self._warps[sizes] = warp, border
        return self._warps[sizes]

    def _tell_of_stretching(self, infrared: Size, visible: Size) -> None:
        """Say once that infrared changes its shape where no registration asks for that."""
        if self._aspect_told or abs(infrared[0] * visible[1] / (infrared[1] * visible[0]) - 1) < SAME_ASPECT:
            return
        self._aspect_told = True
        log.warning(
            "infrared is %dx%d and visible %dx%d, of another aspect: infrared is stretched over the visible "
            "picture; a [registration] in a rig file says how the two really lie", *infrared, *visible,
        )  # fmt: skip
