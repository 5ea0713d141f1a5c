"""From a pair to a fused picture: thermal range, registration, the network, stretch and colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Bundle
from tdfusion_edge.color import U8, luma, merge, split
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.base import Engine
from tdfusion_edge.runtime.frozen import Frozen
from tdfusion_edge.runtime.registration import Warp
from tdfusion_edge.runtime.stretch import Stretch
from tdfusion_edge.runtime.thermal import ThermalRange

F32: TypeAlias = npt.NDArray[np.float32]

UNIT = np.float32(1 / 255)


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A pair in the pixels of the visible picture, ready for the network."""

    pair: Pair
    infrared: U8 | None
    """uint8 (H, W), hot is bright; None where only visible is there."""
    luma: U8 | None
    """uint8 (H, W), visible luma; None where only infrared is there."""
    chroma: U8 | None
    """uint8 (2, H, W), None where visible is grey or absent."""
    degraded: str | None


class Fusion:
    """The stages between a pair and its fused picture, with what they remember from frame to frame.

    Args:
        bundle: Networks and what they take.
        engine: The bundle's fusion graph, loaded.
        infrared: The infrared camera of the rig, for its thermal range.
        registration: ``[registration]`` of the rig.
        stretch: Output stretch.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        infrared: rig.Camera,
        registration: rig.Registration | None,
        stretch: Stretch,
    ) -> None:
        self._engine, self._stretch, self._registration = engine, stretch, registration
        self._minimum = bundle.manifest.graphs["fusion"].minimum_size
        self._range = ThermalRange(infrared.range)
        self._frozen = Frozen()
        self._warp: Warp | None = None
        self._outside: U8 | None = None
        self._visible_size = None if registration is None else registration.visible_size
        self._buffers: tuple[F32, F32] | None = None

    def align(self, pair: Pair) -> Aligned | None:
        """Both pictures as 8-bit luma of the visible size.

        Returns:
            None for infrared alone while the visible size is not known: a picture of another size
            would end every video.

        Raises:
            RequestError: the visible picture has 16 bits or is too small, or the registration does
                not fit the sizes.
        """
        infrared = None if pair.infrared is None else self._ranged(pair.infrared)
        if pair.visible is None:
            assert infrared is not None
            visible_size = self._visible_size
            if visible_size is None:
                return None
            return Aligned(
                pair, self._warp_to(visible_size, infrared).apply(infrared), None, None, "visible missing"
            )
        visible = self._checked(pair.visible)
        self._visible_size = pair.visible.size
        visible_luma, chroma = split(visible)
        if pair.infrared is None or infrared is None:
            return Aligned(pair, None, visible_luma, chroma, "infrared missing")
        degraded = "held" if pair.held else "frozen" if self._frozen.update(pair.infrared) else None
        return Aligned(pair, self._warped(infrared, visible_luma), visible_luma, chroma, degraded)

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

    def _ranged(self, frame: Frame) -> U8:
        return self._range.apply(luma(frame.image), frame.time_ns)

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

    def _warped(self, infrared: U8, visible: U8) -> U8:
        height, width = visible.shape
        warped: U8 = self._warp_to((width, height), infrared).apply(infrared)
        if self._outside is not None:
            # Where infrared does not see, both inputs are the visible luma, and so is the fused one.
            cv2.copyTo(visible, self._outside, warped)
        return warped

    def _warp_to(self, visible: tuple[int, int], infrared: U8) -> Warp:
        height, width = infrared.shape
        if self._warp is None or (self._warp.infrared, self._warp.visible) != ((width, height), visible):
            self._warp = Warp(self._registration, (width, height), visible)
            valid = self._warp.valid
            self._outside = None if valid is None else cv2.bitwise_not(valid)  # type: ignore[assignment]
        return self._warp

    def _inputs(self, shape: Any) -> tuple[F32, F32]:
        if self._buffers is None or self._buffers[0].shape[2:] != shape:
            self._buffers = np.empty((1, 1, *shape), np.float32), np.empty((1, 1, *shape), np.float32)
        return self._buffers
