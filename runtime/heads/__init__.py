"""What looks at the fused picture: a kind of head is a folder here and a row in :data:`HEADS`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.heads.base import Head, Kind, Scored

__all__ = ["HEADS", "Head", "Kind", "Scored", "annotated", "kind_of"]

HEADS: Mapping[str, str] = MappingProxyType(
    {
        "mask": "tdfusion_edge.runtime.heads.mask:MaskKind",
        "boxes": "tdfusion_edge.runtime.heads.boxes:BoxesKind",
    }
)
"""Kind to "module:Class", in the order in which they are drawn."""


def kind_of(name: str) -> Kind:
    """What the program knows of a kind, by the name that a manifest gives it.

    Raises:
        KeyError: there is no such kind.
    """
    module, attribute = HEADS[name].split(":")
    kind: Kind = getattr(importlib.import_module(module), attribute)()
    return kind


def annotated(result: Result) -> Image:
    """The picture of a result with all that was found drawn in it, and the rig's zones and measured places.

    Returns:
        uint8 (H, W, 3) BGR. The picture itself, grey if it is, where there is nothing to draw: every sink
        takes grey and colour in turn, and a copy would cost more than the look.
    """
    picture = result.picture
    for name in HEADS:
        if name in result.findings:
            picture = kind_of(name).draw(picture, result.findings[name])
    if result.marks:
        from tdfusion_edge.runtime.picture.marks import draw_marks

        picture = draw_marks(picture, result.marks)
    return picture
