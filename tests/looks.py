"""What can be compared in place of a Fuser: plain functions behind its two members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tdfusion_edge.color import U8, luma
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.executors.base import F32, Looked
from tdfusion_edge.runtime.picture.units import unit_inputs


class Functions:
    """A fusion of two lumas, and heads that look at what comes out.

    Args:
        fuse: Infrared and visible luma, uint8 (H, W), to fused luma, float32 (H, W).
        heads: What each kind of head finds in a fused luma.
    """

    def __init__(self, fuse: Callable[[U8, U8], F32], **heads: Callable[[F32], Any]) -> None:
        self.fuse = fuse
        self.heads: Mapping[str, Callable[[F32], Any]] = heads

    def look(self, infrared: U8, visible: Image) -> Looked:
        fused = self.fuse(infrared, luma(visible))
        return Looked(fused, {kind: find(fused) for kind, find in self.heads.items()})


def fusing(engine: Engine) -> Callable[[U8, U8], F32]:
    """A fusion graph as such a function."""

    def fuse(infrared: U8, visible: U8) -> F32:
        fused: F32 = engine.run(unit_inputs(infrared, visible))["fused"][0, 0]
        return fused

    return fuse
