"""Result: one fused picture, and what was found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Image, Pair
from tdfusion_edge.masks import Mask
from tdfusion_edge.observations import Event, Mark, Temperature

Findings: TypeAlias = Mapping[str, Any]
"""What the heads found, by their kind: :class:`Detections` for ``boxes``, :class:`Mask` for ``mask``."""

NOTHING: Findings = MappingProxyType({})
"""The findings of a picture that no head looked at."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Result:
    """One fused picture and what belongs to it."""

    index: int
    """Number of the result in its stream, from 0."""
    pair: Pair
    """The frames that it was made of."""
    picture: Image
    """uint8 (H, W) or (H, W, 3) BGR, at the visible picture's size: what is shown."""
    findings: Findings = field(default_factory=lambda: NOTHING)
    """What the heads found, by their kind."""
    fused: npt.NDArray[np.float32] | None = None
    """float32 (H, W), the fused luma in [0, 1] as the network gave it, before the stretch. None where one
    sensor stood alone, and from the one-pass graph, which keeps it on its device."""
    degraded: str | None = None
    """None, or why the picture is not fused from two fresh frames. ``held``, ``frozen`` (infrared repeats a
    picture) and ``both dead`` are fused all the same. ``infrared`` or ``visible`` with ``missing`` (no
    frame), ``dead`` (nothing in it) or ``frozen`` behind it: the picture shows the other sensor alone."""
    utc_ns: int | None = None
    """Capture time by the wall clock: nanoseconds since 1970, UTC, as the clock stood when this was fused.
    None for recordings, which do not say when they were made, and for arrays."""
    events: tuple[Event, ...] = ()
    """What happened at the rig's zones, lines and measured places since the result before."""
    temperatures: Mapping[str, Temperature] | None = None
    """Of the rig's measured places, by name; None where nothing is measured, or infrared is not fresh."""
    marks: tuple[Mark, ...] = ()
    """Those places as they are drawn."""
    infrared: npt.NDArray[np.uint8] | None = None
    """uint8 (H, W), infrared as it was fused: in 8 bits, in the picture's pixels, hot is bright, its border
    repeated where infrared does not see. None where it is missing or left out, and where a back end takes the
    cameras' pictures themselves: it stays on its device then."""

    def __repr__(self) -> str:
        size = "x".join(map(str, self.picture.shape[1::-1]))
        found = ", ".join(self.findings) or "nothing looked for"
        degraded = "" if self.degraded is None else f", {self.degraded}"
        return f"Result({self.index}: {size}, {len(self.detections)} detections ({found}){degraded})"

    @property
    def detections(self) -> Detections:
        """Boxes in pixels of the picture; none where nothing was looked for."""
        found: Detections | None = self.findings.get("boxes")
        return Detections.empty() if found is None else found

    @property
    def mask(self) -> Mask | None:
        """The class of every pixel; None where nothing segments."""
        return self.findings.get("mask")
