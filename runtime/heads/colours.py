"""The colours of classes."""

from __future__ import annotations

from typing import TypeAlias

Colour: TypeAlias = tuple[int, int, int]

COLOURS: tuple[Colour, ...] = (
    (66, 228, 240),
    (233, 180, 86),
    (0, 159, 230),
    (115, 158, 0),
    (167, 121, 204),
    (0, 94, 213),
    (178, 114, 0),
)
"""BGR. The colours of Okabe and Ito (Color Universal Design, 2008), which the colour-blind tell apart as
well, the bright ones first; from the eighth class on they repeat."""
