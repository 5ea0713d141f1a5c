"""What may be changed while a run lasts: asked for from any thread, done between two pictures by the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.parallax import at_distance, nearest_m
from tdfusion_edge.runtime.picture.registration import overlap
from tdfusion_edge.runtime.picture.stretch import StretchName
from tdfusion_edge.runtime.pipeline.analysis import Analysis

LEAST_OVERLAP = 0.01
"""Share of the visible picture that infrared must see: with none of it no picture can be made."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run does, and what it could do instead."""

    stretch: StretchName
    """How the fused luma becomes 8 bits."""
    stretches: tuple[StretchName, ...]
    """All that it may be."""
    score_threshold: float | None
    """Only boxes with a higher score count, 0 to 1; None where nothing gives scores."""
    distance_m: float | None = None
    """Distance at which infrared lies on visible, metres; None where the rig tells no parallax."""
    nearest_m: float | None = None
    """The nearest that it may be; the farthest is the horizon."""


class Controls:
    """Carries wishes to the one thread that may touch the Fuser.

    Args:
        fuser: Whose settings they are. It is read here, before the loop begins, and changed by
            :meth:`apply` alone.
        analyse: What else must know how infrared lies on visible.
        on_placed: Told by the loop of every registration that holds from then on, at its distance.
    """

    def __init__(
        self,
        fuser: Fuser,
        analyse: Analysis | None = None,
        on_placed: Callable[[rig.Registration | None], None] = lambda registration: None,
    ) -> None:
        self._lock = threading.Lock()
        self._analyse, self._on_placed = analyse, on_placed
        self._registration = fuser.registration
        self._settings = _reaching(
            Settings(fuser.stretch, fuser.stretches, fuser.score_threshold), self._registration
        )
        self._done = self._registration, self._settings.distance_m
        """Registration and distance that the Fuser has."""
        self._changed = False

    @property
    def settings(self) -> Settings:
        """As they were asked for last; they hold from the next picture on."""
        with self._lock:
            return self._settings

    @property
    def registration(self) -> rig.Registration | None:
        """As it was asked for last, at the distance that it was given with."""
        with self._lock:
            return self._registration

    def ask(
        self,
        *,
        stretch: str | None = None,
        score_threshold: float | None = None,
        distance_m: float | None = None,
    ) -> Settings:
        """Wish for a change; safe from any thread.

        Args:
            stretch: One of :attr:`Settings.stretches`; None leaves it.
            score_threshold: 0 to 1; None leaves it.
            distance_m: At which infrared is to lie on visible, metres; None leaves it.

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
            if distance_m is not None:
                self._require_distance(settings, distance_m)
                settings = replace(settings, distance_m=float(distance_m))
            self._changed |= settings != self._settings
            self._settings = settings
            return settings

    def register(self, registration: rig.Registration | None, distance_m: float | None = None) -> Settings:
        """Wish that infrared lies on visible in another way; safe from any thread.

        Args:
            registration: Where infrared pixels lie in the visible picture; None scales the one to the other.
            distance_m: As of :meth:`ask`; None: the one that the registration holds for.

        Returns:
            What holds from the next picture on.

        Raises:
            RequestError: it is of no use, or a measured place would not be found. Nothing is changed then.
        """
        with self._lock:
            settings = _reaching(self._settings, registration)
            if distance_m is not None and settings.distance_m is not None:
                settings = replace(settings, distance_m=distance_m)
            self._require(registration, settings.distance_m)
            self._registration, self._settings, self._changed = registration, settings, True
            return settings

    def apply(self, fuser: Fuser) -> None:
        """Do what was asked for; called by the loop between two pictures."""
        if not self._changed:  # the common case takes no lock: a wish that comes now waits for one picture
            return
        with self._lock:
            settings, registration, self._changed = self._settings, self._registration, False
        fuser.stretch = settings.stretch
        if settings.score_threshold is not None:
            fuser.score_threshold = settings.score_threshold
        wanted = registration, settings.distance_m
        if wanted == self._done:
            return
        held_m = self._done[1]
        if registration is not self._done[0]:
            fuser.register(registration)
            held_m = None if registration is None else registration.distance_m
        if settings.distance_m is not None and settings.distance_m != held_m:
            fuser.move(settings.distance_m)
        self._done = wanted
        placed = _placed(registration, settings.distance_m)
        if self._analyse is not None:
            self._analyse.register(placed)
        self._on_placed(placed)

    def _require_distance(self, settings: Settings, distance_m: float) -> None:
        if settings.nearest_m is None:
            raise RequestError("distance, but the rig does not tell how infrared shifts with it")
        # A rounded copy of the nearest may come back from a slider.
        if not settings.nearest_m * 0.999 <= distance_m <= rig.FARTHEST_M:
            raise RequestError(
                "distance",
                expected=f"{settings.nearest_m:.2f} to {rig.FARTHEST_M:g} m",
                got=f"{distance_m:g}",
            )
        self._require(self._registration, distance_m)

    def _require(self, registration: rig.Registration | None, distance_m: float | None) -> None:
        """Refuse what would end the run when the loop takes it; the lock is held."""
        placed = _placed(registration, distance_m)
        if placed is not None and (share := overlap(placed)) < LEAST_OVERLAP:
            raise RequestError(
                "infrared would see nothing of the visible picture",
                expected=f"{LEAST_OVERLAP:.0%} of it or more",
                got=f"{share:.1%}",
            )
        if self._analyse is not None:
            self._analyse.require(placed)


def _reaching(settings: Settings, registration: rig.Registration | None) -> Settings:
    """The settings with the distances of a registration, at the one that it holds for."""
    nearest = nearest_m(registration)
    held_m = None if registration is None or nearest is None else registration.distance_m
    return replace(settings, distance_m=held_m, nearest_m=nearest)


def _placed(registration: rig.Registration | None, distance_m: float | None) -> rig.Registration | None:
    if registration is None or distance_m is None or distance_m == registration.distance_m:
        return registration
    return at_distance(registration, distance_m)
