"""From a pair to a fused picture: thermal range, registration, the network, stretch and colour."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Bundle
from tdfusion_edge.color import U8, luma, merge, split
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.base import Engine
from tdfusion_edge.runtime.picture.frozen import Frozen
from tdfusion_edge.runtime.picture.range import ThermalRange
from tdfusion_edge.runtime.picture.registration import Size, Warp
from tdfusion_edge.runtime.picture.stretch import Stretch

F32: TypeAlias = npt.NDArray[np.float32]

UNIT = np.float32(1 / 255)
WARPS = 4
"""So many pairs of sizes are prepared for; the maps of one take 2.5 MB at 640x480."""


class Visible:
    """A visible picture that is split into luma and chroma when one of them is asked for.

    The folded pipeline takes it whole, and so need not pay for it.

    Args:
        image: uint8 (H, W) or (H, W, 3) BGR.
    """

    __slots__ = ("_parts", "image")

    def __init__(self, image: Image) -> None:
        self.image = image
        self._parts: tuple[U8, U8 | None] | None = None

    @property
    def luma(self) -> U8:
        """uint8 (H, W)."""
        return self.split()[0]

    @property
    def chroma(self) -> U8 | None:
        """uint8 (2, H, W), None where the picture is grey."""
        return self.split()[1]

    def split(self) -> tuple[U8, U8 | None]:
        """Both."""
        if self._parts is None:
            self._parts = split(self.image)
        return self._parts


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A pair in the pixels of the visible picture, ready for the network."""

    pair: Pair
    infrared: U8 | None
    """uint8 (H, W), hot is bright; None where only visible is there."""
    visible: Visible | None
    """None where only infrared is there."""
    degraded: str | None

    @property
    def luma(self) -> U8 | None:
        """uint8 (H, W), visible luma; None where only infrared is there."""
        return None if self.visible is None else self.visible.luma

    @property
    def chroma(self) -> U8 | None:
        """uint8 (2, H, W), None where visible is grey or absent."""
        return None if self.visible is None else self.visible.chroma


class Fusion:
    """The stages between a pair and its fused picture, with what they remember from frame to frame.

    Args:
        bundle: Networks and what they take.
        engine: The bundle's fusion graph, loaded.
        infrared: The infrared camera of the rig, for its thermal range.
        registration: ``[registration]`` of the rig.
        stretch: Output stretch.
        split_early: Split the visible picture with the alignment, as a part of that stage; otherwise when
            its luma is asked for, which may be never.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        infrared: rig.Camera,
        registration: rig.Registration | None,
        stretch: Stretch,
        *,
        split_early: bool = True,
    ) -> None:
        self._engine, self._registration, self._split_early = engine, registration, split_early
        self._minimum = bundle.manifest.graphs["fusion"].minimum_size
        self._camera, self._fresh_stretch = infrared, stretch
        self._warps: dict[tuple[Size, Size], tuple[Warp, U8 | None]] = {}
        """By the sizes of infrared and visible, each with the mask of where infrared does not see."""
        self._buffers: tuple[F32, F32] | None = None
        self.forget()

    def forget(self) -> None:
        """Begin a new stream: nothing is left of earlier frames but what only their sizes decide."""
        self._range = ThermalRange(self._camera.range)
        self._frozen = Frozen()
        self._stretch = copy.copy(self._fresh_stretch)
        self._visible_size = None if self._registration is None else self._registration.visible_size
        self._held: tuple[Frame, U8] | None = None
        """The last infrared frame, and what became of it at visible size."""

    @property
    def stretch(self) -> Stretch:
        """Of the stream at hand."""
        return self._stretch

    def align(self, pair: Pair) -> Aligned | None:
        """Both pictures as 8-bit luma of the visible size.

        Returns:
            None for infrared alone while the visible size is not known: a picture of another size
            would end every video.

        Raises:
            RequestError: the visible picture has 16 bits or is too small, or the registration does
                not fit the sizes.
        """
        if pair.visible is None:
            assert pair.infrared is not None
            if self._visible_size is None:
                return None
            return Aligned(pair, self._warped(pair.infrared, self._visible_size), None, "visible missing")
        visible = Visible(self._checked(pair.visible))
        self._visible_size = pair.visible.size
        if self._split_early:
            visible.split()
        if pair.infrared is None:
            return Aligned(pair, None, visible, "infrared missing")
        degraded = "held" if pair.held else "frozen" if self._frozen.update(pair.infrared) else None
        again = self._held is not None and self._held[0] is pair.infrared
        infrared = self._warped(pair.infrared, pair.visible.size)
        outside = self._warp(pair.infrared.size, pair.visible.size)[1]
        if outside is not None:
            # Where infrared does not see, both inputs are the visible luma, and so is the fused one.
            # Written into what the remap made; but that of a held frame may be on its way to a sink.
            infrared = cast(U8, cv2.copyTo(visible.luma, outside, infrared.copy() if again else infrared))
        return Aligned(pair, infrared, visible, degraded)

    def fuse(self, aligned: Aligned) -> F32 | None:
        """The network's fused luma, float32 (H, W) in [0, 1]; None where one picture stands alone."""
        if aligned.infrared is None or aligned.luma is None:
            return None
        infrared, visible = self._inputs(aligned.infrared.shape)
        np.multiply(aligned.infrared, UNIT, out=infrared[0, 0])
        np.multiply(aligned.luma, UNIT, out=visible[0, 0])
        fused: F32 = self._engine.run({"infrared": infrared, "visible": visible})["fused"][0, 0]
        return fused

    def picture(self, aligned: Aligned, fused: F32 | None) -> Image:
        """What is shown: the stretched luma with visible chroma, or the picture that stands alone.

        Returns:
            uint8 (H, W, 3) BGR, or (H, W) where visible is grey.
        """
        if fused is not None:
            return merge(self._stretch.apply(fused, aligned.pair.time_ns), aligned.chroma)
        if aligned.luma is not None:
            return merge(aligned.luma, aligned.chroma)
        assert aligned.infrared is not None
        return aligned.infrared

    def _checked(self, frame: Frame) -> Image:
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
        return frame.image

    def _warped(self, frame: Frame, visible: Size) -> U8:
        """The infrared frame in 8 bits at visible size; a held one is not worked on again."""
        if self._held is not None and self._held[0] is frame and self._held[1].shape[::-1] == visible:
            return self._held[1]
        ranged = self._range.apply(luma(frame.image), frame.time_ns)
        warped: U8 = self._warp(frame.size, visible)[0].apply(ranged)
        self._held = frame, warped
        return warped

    def _warp(self, infrared: Size, visible: Size) -> tuple[Warp, U8 | None]:
        sizes = infrared, visible
        if sizes not in self._warps:
            warp = Warp(self._registration, *sizes)
            outside = None if warp.valid is None else cast(U8, cv2.bitwise_not(warp.valid))
            if len(self._warps) == WARPS:
                del self._warps[next(iter(self._warps))]
            self._warps[sizes] = warp, outside
        return self._warps[sizes]

    def _inputs(self, shape: Any) -> tuple[F32, F32]:
        if self._buffers is None or self._buffers[0].shape[2:] != shape:
            self._buffers = np.empty((1, 1, *shape), np.float32), np.empty((1, 1, *shape), np.float32)
        return self._buffers


def unit_inputs(infrared: U8, visible: U8) -> dict[str, F32]:
    """What a fusion graph takes, (1, 1, H, W) float32 in [0, 1], of two lumas, uint8 (H, W).

    The same numbers as :meth:`Fusion.fuse` gives it, in arrays of their own.
    """
    return {"infrared": infrared[None, None] * UNIT, "visible": visible[None, None] * UNIT}
