"""How COCO's 80 classes become those that somebody asks for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.coco import NAMES
from tdfusion_edge.errors import RequestError

F32: TypeAlias = npt.NDArray[np.float32]

MERGED: Mapping[str, tuple[str, ...]] = MappingProxyType({"car": ("car", "bus", "truck")})
"""What a class takes in beside itself: labels of cars mostly count vans, and small detectors call those truck
or bus. What is asked for by its own name is not taken in."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {"people": "person", "pedestrian": "person", "bike": "bicycle", "motorbike": "motorcycle"}
)
"""What data sets of infrared and visible pictures call a class, and COCO's name of it."""


class Classes(NamedTuple):
    """Which of COCO's classes make up those that are wanted."""

    names: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]
    """Of each name, places in :data:`tdfusion_edge.coco.NAMES`."""

    def merged(self, scores: F32) -> F32:
        """(A, C) of COCO's (A, 80): of the classes that a name is made of, the highest score."""
        return np.stack([scores[:, columns].max(axis=1) for columns in map(list, self.columns)], axis=1)


ALL = Classes(NAMES, tuple((place,) for place in range(len(NAMES))))
"""Every class, none of them merged."""


def known(name: str) -> bool:
    """Whether COCO has a class for a name, without regard to case."""
    return _own(name) in NAMES


def chosen(wanted: Sequence[str] | None) -> Classes:
    """The classes of these names, in their order and as they are spelt; without a wish all 80.

    Args:
        wanted: Names of COCO or :data:`ALIASES`, without regard to case.

    Raises:
        RequestError: COCO has no such class, there is none, or two names are one class.
    """
    if wanted is None:
        return ALL
    if isinstance(wanted, str) or not wanted:
        raise RequestError("detector classes", expected="names, as person, bicycle, car", got=repr(wanted))
    owns = [_own(name) for name in wanted]
    for name, own in zip(wanted, owns, strict=True):
        if own not in NAMES:
            near = difflib.get_close_matches(own, NAMES, 1)
            raise RequestError(
                f"detector class '{name}' is none of COCO's",
                expected=f"names as person, bicycle, car ({len(NAMES)} in all)",
                hint=f"Did you mean '{near[0]}'?" if near else None,
            )
        if owns.count(own) > 1:
            raise RequestError(f"detector classes {', '.join(wanted)}: COCO's '{own}' is there twice")
    parts = ([own, *(p for p in MERGED.get(own, ()) if p not in owns)] for own in owns)
    return Classes(tuple(wanted), tuple(tuple(map(NAMES.index, names)) for names in parts))


def _own(name: str) -> str:
    """COCO's spelling, as far as there is one."""
    plain = name.strip().casefold()
    return ALIASES.get(plain, plain)
