"""Who looks, at what, and the newest picture for each: a viewer that stalls costs nobody anything.

Nothing is queued. A picture is drawn for the viewers that have room for one, once a view, and it is the
newest there is; a viewer has room while fewer than :data:`WINDOW` of its pictures are on their way. What
nobody waits for is not drawn at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tdfusion_edge.errors import RequestError
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.live.views import View

MOST_VIEWERS = 32
MOST_VIEWS = 8
"""Different views at once: that is what drawing costs."""
WINDOW = 2
"""Pictures on their way to one viewer: one is shown while the next travels."""


class Packet(NamedTuple):
    """One picture as viewers get it."""

    header: bytes
    """JSON: which picture it is, when it was taken, how it is laid out."""
    jpeg: bytes


@dataclass(eq=False)
class Viewer:
    """One who looks; made by :meth:`Hub.attach`."""

    give: Callable[[Packet | None], None]
    """Takes a picture, or None at the end; called from the encoder's thread, and must not wait."""
    view: View
    travelling: int = 0
    """Pictures that were given and not yet taken."""
    seen: tuple[int, View] | None = None
    """Number of the newest picture that was given, and its view."""


@dataclass
class Work:
    """What is to be drawn now."""

    result: Result
    views: dict[View, list[Viewer]] = field(default_factory=dict)


class Hub:
    """Between the threads of the sinks, which offers results, the encoder and the server; safe from all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._viewers: list[Viewer] = []
        self._newest: Result | None = None
        self._number = 0
        """Of the newest result, counted here: a run's own numbers may begin anew."""
        self._closed = False

    def __len__(self) -> int:
        return len(self._viewers)

    def offer(self, result: Result) -> None:
        """Put the newest result in the place of the one before; never waits for a viewer."""
        with self._changed:
            self._newest = result
            self._number += 1
            self._changed.notify_all()

    @property
    def newest(self) -> Result | None:
        """The newest result; None before the first."""
        return self._newest

    def attach(self, view: View, give: Callable[[Packet | None], None]) -> Viewer:
        """Let one more look.

        Raises:
            RequestError: too many do, or at too many different things; or the run is over.
        """
        with self._changed:
            if self._closed:
                raise RequestError("the run is over")
            if len(self._viewers) >= MOST_VIEWERS:
                raise RequestError("too many viewers", expected=f"at most {MOST_VIEWERS}")
            self._refuse(view, None)
            viewer = Viewer(give, view)
            self._viewers.append(viewer)
            self._changed.notify_all()
            return viewer

    def detach(self, viewer: Viewer) -> None:
        """It looks no more; safe to call twice."""
        with self._changed:
            if viewer in self._viewers:
                self._viewers.remove(viewer)

    def turn(self, viewer: Viewer, view: View) -> None:
        """Let it look at something else.

        Raises:
            RequestError: too many different things are looked at; it goes on with what it saw.
        """
        with self._changed:
            self._refuse(view, viewer)
            viewer.view = view
            self._changed.notify_all()

    def taken(self, viewer: Viewer) -> None:
        """A picture has arrived at a viewer."""
        with self._changed:
            viewer.travelling = max(0, viewer.travelling - 1)
            self._changed.notify_all()

    def work(self) -> Work | None:
        """What is to be drawn, waiting for it; None at the end. The viewers in it count as given."""
        with self._changed:
            while not self._closed:
                found = self._due()
                if found is not None:
                    return found
                self._changed.wait()
            return None

    def close(self) -> None:
        """Tell every viewer that there is no more; safe to call twice."""
        with self._changed:
            self._closed = True
            viewers, self._viewers = self._viewers, []
            self._changed.notify_all()
        for viewer in viewers:
            viewer.give(None)

    def _due(self) -> Work | None:
        if self._newest is None:
            return None
        work = Work(self._newest)
        for viewer in self._viewers:
            what = self._number, viewer.view
            if viewer.travelling < WINDOW and viewer.seen != what:
                viewer.seen = what
                viewer.travelling += 1
                work.views.setdefault(viewer.view, []).append(viewer)
        return work if work.views else None

    def _refuse(self, view: View, instead: Viewer | None) -> None:
        views = {viewer.view for viewer in self._viewers if viewer is not instead} | {view}
        if len(views) > MOST_VIEWS:
            raise RequestError(
                "too many different views are looked at",
                expected=f"at most {MOST_VIEWS} at once",
                hint="Take what another viewer looks at.",
            )
