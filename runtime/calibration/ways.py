"""The ways to a registration: from pairs, or points, to a homography and its report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tdfusion_edge.errors import RequestError, WorkError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration import points, report, targetless
from tdfusion_edge.runtime.calibration.fit import F64
from tdfusion_edge.runtime.calibration.gather import Shot
from tdfusion_edge.runtime.calibration.pattern import Pattern
from tdfusion_edge.runtime.calibration.report import Report
from tdfusion_edge.runtime.calibration.views import ENOUGH_VIEWS, FEWEST_VIEWS, Views, solve
from tdfusion_edge.runtime.picture.parallax import nearest_m

MOST_SHOTS = 96
"""Pairs for edges that are held in memory; of more, every second one is let go."""


class Geometry(NamedTuple):
    """What the user tells of the rig; None where nothing is told."""

    distance_m: float | None = None
    baseline_m: tuple[float, float] | None = None
    focal_px: float | None = None


class Found(NamedTuple):
    """A registration, and a pair to show it on."""

    registration: rig.Registration
    report: Report
    shot: Shot


class Blank(NamedTuple):
    """What a registration is made of besides its homography."""

    shot: Shot
    before: rig.Registration | None
    """What the rig had: the baseline is the rig's, whatever is measured anew."""
    geometry: Geometry

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height of infrared and visible."""
        return _size(self.shot.infrared), _size(self.shot.visible)

    def filled(self, homography: F64, error_px: float | None) -> rig.Registration:
        """The registration.

        Raises:
            RequestError: a picture smaller than a registration takes.
        """
        infrared, visible = self.sizes
        if min(*infrared, *visible) < 32:
            raise RequestError(
                "too small a picture", expected="32 pixels a side", got=f"{infrared}, {visible}"
            )
        first, second, third = (tuple(float(f"{value:.10g}") for value in row) for row in homography)
        geometry, before = self.geometry, self.before
        made = rig.Registration(
            homography=(first, second, third),  # type: ignore[arg-type]
            infrared_size=infrared,
            visible_size=visible,
            reprojection_error=None if error_px is None else round(error_px, 3),
            distance_m=geometry.distance_m,
            baseline_m=geometry.baseline_m or (None if before is None else before.baseline_m),
            focal_px=geometry.focal_px or (None if before is None else _same_width(before, visible)),
        )
        # The distance to move to is the user's wish, and can be had where all three are told.
        if before is None or None in (made.distance_m, made.baseline_m, made.focal_px):
            return made
        return replace(made, use_distance_m=before.use_distance_m)


def look_for_pattern(
    shots: Iterable[Shot], pattern: Pattern, *, moving: bool, tell: Callable[[Views], None]
) -> tuple[Views, Shot | None]:
    """Look at pairs until there are enough views, and keep a pair of the last one."""
    found, kept = Views(pattern, moving=moving), None
    for shot in shots:
        if found.look(shot.infrared, shot.visible, shot.time_ns) or kept is None:
            kept = shot
        tell(found)
        if found.enough:
            break
    return found, kept


def by_pattern(found: Views, pattern: Pattern, blank: Blank) -> Found:
    """The registration from views of a pattern.

    Raises:
        WorkError: too few views, with what was seen of the pattern; or views that lie on no one homography.
    """
    if len(found.kept) < FEWEST_VIEWS:
        raise WorkError(
            f"the pattern {pattern} was not seen often enough",
            expected=f"{FEWEST_VIEWS} views or more, {ENOUGH_VIEWS // 4} are good",
            got=f"{len(found.kept)} of {found.looked} pairs; seen {found.found_visible} times by visible, "
            f"{found.found_infrared} by infrared, moving {found.moved} times",
            hint=_advice(found),
        )
    solved = solve(found.kept, *blank.sizes)
    registration = blank.filled(solved.homography, solved.errors.rms)
    return Found(registration, report.of_pattern(solved, registration), blank.shot)


def thinned(shots: Iterable[Shot]) -> list[Shot]:
    """Pairs spread evenly over all of a stream, however long it is."""
    kept: list[Shot] = []
    every = 1
    for number, shot in enumerate(shots):
        if number % every:
            continue
        kept.append(shot)
        if len(kept) > MOST_SHOTS:
            kept, every = kept[::2], every * 2
    return kept


def by_edges(
    shots: Sequence[Shot], before: rig.Registration | None, geometry: Geometry, tell: Callable[[float], None]
) -> Found:
    """The registration from the edges of pairs of any scene.

    Raises:
        WorkError: there is no pair, or they cannot be aligned; with the residual.
    """
    if not shots:
        raise _no_pair()
    solved = targetless.align([shot.infrared for shot in shots], [shot.visible for shot in shots], tell=tell)
    blank = Blank(shots[len(shots) // 2], before, geometry)
    registration = blank.filled(solved.homography, solved.errors.rms)
    return Found(registration, report.of_edges(solved, registration), blank.shot)


def by_points(given: F64 | Sequence[tuple[float, float, float, float]], blank: Blank) -> Found:
    """The registration from matches (an array) or from points by hand (a list).

    Raises:
        RequestError, WorkError: as :func:`.points.solve_matches` and :func:`.points.solve_by_hand`.
    """
    if isinstance(given, list):
        solved, method = points.solve_by_hand(given, *blank.sizes), "points"
    else:
        solved, method = points.solve_matches(given, *blank.sizes), "matches"  # type: ignore[arg-type]
    error = solved.errors.rms if solved.errors.points > 4 else None
    registration = blank.filled(solved.homography, error)
    return Found(registration, report.of_points(method, solved, registration), blank.shot)


def first_of(shots: Iterable[Shot]) -> Shot:
    """The first pair, which tells the sizes.

    Raises:
        WorkError: there is none.
    """
    for shot in shots:
        return shot
    raise _no_pair()


def left_out(before: rig.Registration | None, made: rig.Registration) -> str | None:
    """What a new registration lacks that the one before it had, in words; None where nothing."""
    if before is None:
        return None
    if before.use_distance_m is not None and made.use_distance_m is None:
        return "use_distance_m is left out: it needs the distance of this measurement"
    if made.distance_m is None and nearest_m(before) is not None:
        return "infrared can be moved to other distances no more: that needs the distance of this measurement"
    return None


def with_registration(found: Report, registration: rig.Registration) -> Report:
    """The report of another registration."""
    return replace(found, registration=registration)


def _no_pair() -> WorkError:
    return WorkError(
        "the cameras gave no pair of pictures", hint="See what they give: tdfusion-edge run --camera IR,VIS"
    )


def _advice(found: Views) -> str:
    if found.looked and not found.found_visible:
        return (
            "Visible never showed it: are its counts right (a 9x6 chessboard has 10x7 fields), is it whole "
            "and sharp?"
        )
    if not found.found_infrared:
        return (
            "Infrared never showed it: warm the board, or show the pattern on a screen; is it large and "
            "sharp enough?"
        )
    if found.moved > len(found.kept):
        return "Hold it still for a second at each place: on a stand it is easier."
    return "Hold it at more places, at one distance, face on."


def _same_width(before: rig.Registration, visible: tuple[int, int]) -> float | None:
    """The focal length that the rig had, in pixels of a picture of this size."""
    return None if before.focal_px is None else before.focal_px * visible[0] / before.visible_size[0]


def _size(image: Image) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[0])
