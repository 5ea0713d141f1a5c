"""What may be changed while a run lasts: asked for from any thread, done between two pictures by the loop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.stretch import StretchName


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run does, and what it could do instead."""

    stretch: StretchName
    """How the fused luma becomes 8 bits."""
    stretches: tuple[StretchName, ...]
    """All that it may be."""
    score_threshold: float | None
    """Only boxes with a higher score count, 0 to 1; None where nothing gives scores."""


class Controls:
    """Carries wishes to the one thread that may touch the Fuser.

    Args:
        fuser: Whose settings they are. It is read here, before the loop begins, and changed by
            :meth:`apply` alone.
    """

    def __init__(self, fuser: Fuser) -> None:
        self._lock = threading.Lock()
        self._settings = Settings(fuser.stretch, fuser.stretches, fuser.score_threshold)
        self._changed = False

    @property
    def settings(self) -> Settings:
        """As they were asked for last; they hold from the next picture on."""
        with self._lock:
            return self._settings

    def ask(self, *, stretch: str | None = None, score_threshold: float | None = None) -> Settings:
        """Wish for a change; safe from any thread.

        Args:
            stretch: One of :attr:`Settings.stretches`; None leaves it.
            score_threshold: 0 to 1; None leaves it.

        Returns:
            What holds from the next picture on.

        Raises:
            RequestError: a value that the run cannot take. Nothing is changed then.
        """
        with self._lock:
            settings = self._settings
            if stretch is not None:
                known = {name: name for name in settings.stretches}
                if stretch not in known:
                    raise RequestError("stretch", expected=" | ".join(known), got=repr(stretch))
                settings = replace(settings, stretch=known[stretch])
            if score_threshold is not None:
                if settings.score_threshold is None:
                    raise RequestError("score threshold, but nothing is detected")
                if not 0 <= score_threshold <= 1:
                    raise RequestError("score threshold", expected="0 to 1", got=f"{score_threshold:g}")
                settings = replace(settings, score_threshold=float(score_threshold))
            self._changed |= settings != self._settings
            self._settings = settings
            return settings

    def apply(self, fuser: Fuser) -> None:
        """Do what was asked for; called by the loop between two pictures."""
        if not self._changed:  # the common case takes no lock: a wish that comes now waits for one picture
            return
        with self._lock:
            settings, self._changed = self._settings, False
        fuser.stretch = settings.stretch
        if settings.score_threshold is not None:
            fuser.score_threshold = settings.score_threshold
