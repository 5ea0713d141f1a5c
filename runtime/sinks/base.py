"""The seam every output stands behind."""

from __future__ import annotations

from typing import Any, Protocol

from tdfusion_edge.result import Result


class Sink(Protocol):
    """One output: a file, a folder, a window."""

    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            SinkError: it cannot be written (disk full, no permission).
        """

    def close(self) -> None:
        """Finish the output so that it is whole; safe to call twice."""

    def abort(self) -> None:
        """Give up after a failure: what was promised as a whole and is not is removed."""


Json = dict[str, Any]
