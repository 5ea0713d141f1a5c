"""What stands in for a Fuser where a test foretells what the networks make of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tdfusion_edge.color import U8, luma
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.engines.base import Engine
from tdfusion_edge.runtime.executors.base import Looked
from tdfusion_edge.runtime.picture.units import unit_inputs


class Looks(NamedTuple):
    """A fusion, and heads by their kind, each a function of the fused luma."""

    fuse: Callable[[U8, U8], np.ndarray]
    heads: Mapping[str, Callable[[np.ndarray], Any]] = {}

    def look(self, infrared: U8, visible: Image) -> Looked:
        """What they make of an aligned pair."""
        fused = self.fuse(infrared, luma(visible))
        return Looked(fused, {kind: find(fused) for kind, find in self.heads.items()})


def by_engine(engine: Engine) -> Looks:
    """A fusion graph alone."""
    return Looks(lambda infrared, visible: engine.run(unit_inputs(infrared, visible))["fused"][0, 0])
