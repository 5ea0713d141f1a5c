"""``[tracks]`` of a rig file."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from tdfusion_edge.config import Table

Score: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class Tracks(Table, frozen=True, kw_only=True):
    """How boxes become tracks."""

    sure_score: Score = 0.4
    """A box with at least this score can begin a track; one below it only goes on with one."""
    lost_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    """A track without a box is remembered for so many seconds of capture time."""
