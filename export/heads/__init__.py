"""What the export knows of each kind of head: what differs stands in its module, all else in ``graph.py``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tdfusion_edge.export.heads import boxes, mask
from tdfusion_edge.export.heads.kind import Kind

__all__ = ["KINDS", "Kind"]

KINDS: Mapping[str, Kind] = MappingProxyType({"boxes": boxes.KIND, "mask": mask.KIND})
"""By what a task network's ``labels`` says, in the order in which heads stand in a bundle."""
