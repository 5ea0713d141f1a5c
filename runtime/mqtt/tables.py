"""``[mqtt]`` of a rig file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta

from tdfusion_edge.config import Table

Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1000)]


class Mqtt(Table, frozen=True, kw_only=True):
    """What an output ``mqtt://`` needs and should not stand on a command line."""

    user: Text | None = None
    """Name at the broker; one in the address goes before it."""
    password_file: Text | None = None
    """A file whose first line is the password."""
    ca_file: Text | None = None
    """Certificates that ``mqtts://`` trusts; None: those that the system does."""
    client_id: Text | None = None
    """Name of this client, of which a broker takes one at a time; None: a new one each time."""
    status_s: Annotated[float, Meta(ge=0.5, le=3600)] = 5.0
    """The state of the cameras is told every so many seconds."""

    @property
    def files(self) -> list[Path]:
        """What is read, so that no output may replace it."""
        return [Path(name) for name in (self.password_file, self.ca_file) if name is not None]
