"""Network by network: the fusion network, then every head on its luma, then stretch and colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tdfusion_edge.color import U8, merge, split
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Findings
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.executors.base import F32, Fused, Looked, Timed, untimed
from tdfusion_edge.runtime.executors.outputs import fused_luma
from tdfusion_edge.runtime.heads import Head, kind_of
from tdfusion_edge.runtime.picture.alignment import Aligned
from tdfusion_edge.runtime.picture.border import Border
from tdfusion_edge.runtime.picture.stretch import Stretch
from tdfusion_edge.runtime.picture.units import UNIT, unit_inputs


class Staged:
    """The executor that takes every pair.

    Args:
        fusion: The fusion graph, loaded.
        heads: What looks at the fused luma, by kind.
        infrared: Whether one of them may see infrared beside it.
    """

    def __init__(self, fusion: Engine, heads: Mapping[str, Head], *, infrared: bool = True) -> None:
        self._fusion, self._heads, self._infrared = fusion, heads, infrared
        self._stages = {kind: kind_of(kind).stage for kind in heads}
        self._buffers: tuple[F32, F32] | None = None

    def fuse(self, aligned: Aligned, stretch: Stretch, timed: Timed) -> Fused:
        """As :class:`~tdfusion_edge.runtime.executors.base.Executor` says."""
        infrared = aligned.infrared
        chroma: U8 | None = None
        fused: F32 | None = None
        with timed("network"):
            visible: U8 | None = None
            if aligned.visible is not None:
                visible, chroma = split(aligned.visible)
            if infrared is not None and visible is not None:
                fused = self._fused(infrared, visible, aligned.border)
        alone = infrared if visible is None else visible
        assert alone is not None  # a pair has at least one frame
        # A head that was trained on fused pictures finds less in one sensor's; the result says so.
        if fused is None:
            findings = self.find(alone, chroma, timed=timed)
        else:
            assert infrared is not None  # it was fused
            findings = self.find(fused, chroma, self._beside(infrared, aligned.border), timed)
        with timed("compose"):
            shown = alone if fused is None else stretch.apply(fused, aligned.pair.time_ns)
            return Fused(merge(shown, chroma), findings, fused)

    def look(self, infrared: U8, visible: Image) -> Looked:
        """As :class:`~tdfusion_edge.runtime.executors.base.Executor` says."""
        visible_luma, chroma = split(visible)
        fused = self.luma(infrared, visible_luma)
        shown = Stretch("none").apply(fused, 0)
        return Looked(fused, self.find(fused, chroma, infrared), merge(shown, chroma))

    def luma(self, infrared: U8, visible: U8) -> F32:
        """The fused luma, float32 (H, W), of two lumas, uint8 (H, W); safe in several threads at once.

        Raises:
            EngineError: the network failed, or gave no picture.
        """
        return fused_luma(self._fusion.run(unit_inputs(infrared, visible)), *infrared.shape)

    @property
    def looks(self) -> bool:
        """Whether it has heads."""
        return bool(self._heads)

    def only(self, kind: str) -> Head | None:
        """The head of a kind, where it is the only one."""
        return self._heads[kind] if set(self._heads) == {kind} else None

    def find(
        self,
        picture: U8 | F32,
        chroma: U8 | None = None,
        infrared: U8 | F32 | None = None,
        timed: Timed = untimed,
    ) -> Findings:
        """What the heads find, by their kind.

        Args:
            picture: Luma, uint8 (H, W) or float32 (H, W) in [0, 1].
            chroma: uint8 (2, H, W) as :func:`tdfusion_edge.color.split` gives it; None: grey.
            infrared: (H, W) as ``picture``; None where that is not of both sensors.
            timed: Times the stage of each head.
        """
        found: dict[str, Any] = {}
        for kind, head in self._heads.items():
            with timed(self._stages[kind]):
                found[kind] = head.find(picture, chroma, infrared)
        return found

    def _beside(self, infrared: U8, border: Border | None) -> U8 | F32 | None:
        """Infrared as heads see it beside what was just fused, at a border passing into visible.

        None where no head sees it.
        """
        if not self._infrared:
            return None
        if border is None or self._buffers is None:
            return infrared
        return border.blend(*(buffer[0, 0] for buffer in self._buffers))

    def _fused(self, infrared: U8, visible: U8, border: Border | None) -> F32:
        """float32 (H, W), by way of buffers that are made once a size; blended at a border."""
        if self._buffers is None or self._buffers[0].shape[2:] != infrared.shape:
            shape = (1, 1, *infrared.shape)
            self._buffers = np.empty(shape, np.float32), np.empty(shape, np.float32)
        for picture, buffer in zip((infrared, visible), self._buffers, strict=True):
            np.multiply(picture, UNIT, out=buffer[0, 0])
        given = dict(zip(("infrared", "visible"), self._buffers, strict=True))
        fused = fused_luma(self._fusion.run(given), *infrared.shape)
        return fused if border is None else border.blend(fused, self._buffers[1][0, 0])
