"""Loading the graphs of one bundle, and its heads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tdfusion_edge.bundle import Bundle
from tdfusion_edge.errors import BundleError
from tdfusion_edge.runtime import heads
from tdfusion_edge.runtime.engines import Choice, Engine, OnProgress, Opened, open_graph
from tdfusion_edge.runtime.heads import Head, kind_of


class Loader:
    """Loads graphs of one bundle, closed by ``stack``.

    Args:
        opened: The bundle.
        choice: Back end, precision and the back end's own options.
        on_progress: Gives what takes the progress of an engine's build, by the graph's name.
        instrument: Wraps an engine, by its graph's name.
        stack: Closes the engines.
    """

    def __init__(
        self,
        opened: Bundle,
        choice: Choice,
        on_progress: Callable[[str], OnProgress] | None,
        instrument: Callable[[str, Engine], Engine],
        stack: ExitStack,
    ) -> None:
        self._opened, self._choice, self._stack = opened, choice, stack
        self._on_progress, self._instrument = on_progress, instrument
        self.ran: Opened
        """What took the last graph."""

    def __call__(self, name: str) -> Engine:
        """The engine of one graph; raises as :func:`~tdfusion_edge.runtime.engines.open_graph`."""
        progress = None if self._on_progress is None else self._on_progress(name)
        self.ran = open_graph(self._opened, name, self._choice, progress)
        self._stack.callback(self.ran.engine.close)
        return self._instrument(name, self.ran.engine)

    def heads(self, threshold: float | None) -> dict[str, Head]:
        """All heads of the bundle, by kind.

        Raises:
            BundleError: a head is of a kind that is not known here.
        """
        manifest = self._opened.manifest
        found: dict[str, Head] = {}
        for name, info in manifest.heads.items():
            if info.kind not in heads.HEADS:
                raise BundleError(
                    f"bundle '{manifest.name}' has a head of an unknown kind",
                    expected=", ".join(heads.HEADS),
                    got=info.kind,
                    hint="A newer version of tdfusion-edge may know it.",
                )
            if info.kind in found:
                raise BundleError(
                    f"bundle '{manifest.name}' has two heads of one kind",
                    expected="one",
                    got=f"{info.kind} twice",
                )
            found[info.kind] = kind_of(info.kind).open(manifest.graphs[name], self(name), info, threshold)
        return found
