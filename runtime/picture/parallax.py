"""Parallax: where infrared lies on visible at another distance than the one that was measured.

Two cameras side by side see near things shifted against far ones. For planes that face the visible camera,
the
homography is H(Z) = K (R + t n^T / Z) K'^-1 (Hartley and Zisserman, "Multiple View Geometry", 13.1): over
distance, only its last column moves, by the focal length times the baseline times 1 / Z.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime import rig

STEP_PX = 0.5
"""Distances whose shifts differ by less share their maps: at most half of this is lost."""


def at_distance(registration: rig.Registration | None, distance_m: float) -> rig.Registration:
    """The registration at another distance.

    Args:
        registration: With ``distance_m``, ``baseline_m`` and ``focal_px``.
        distance_m: From the cameras, metres.

    Raises:
        RequestError: the distance is none, or the rig does not tell what the shift follows from.
    """
    require_distance(distance_m)
    shift = _shift_of(registration)
    assert registration is not None
    assert registration.distance_m is not None
    return _moved(registration, shift(distance_m), distance_m)


def chosen(registration: rig.Registration | None, asked_m: float | None) -> rig.Registration | None:
    """The registration at the distance that is asked for, or that the rig uses, or as measured.

    Args:
        registration: Of the rig.
        asked_m: ``--distance``, metres; None asks for nothing.

    Raises:
        RequestError: as :func:`at_distance`, where there is a distance.
    """
    own_m = None if registration is None else registration.use_distance_m
    wanted = own_m if asked_m is None else asked_m
    return registration if wanted is None else at_distance(registration, wanted)


def add_distance_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--distance``, which :func:`chosen` takes."""
    parser.add_argument(
        "--distance", type=float, metavar="M",
        help="distance in metres at which infrared is to lie on visible (default: the rig's)",
    )  # fmt: skip


def quantised(registration: rig.Registration | None) -> Callable[[float], tuple[int, rig.Registration]]:
    """What gives the registration at a distance in steps of half a pixel.

    Args:
        registration: As for :func:`at_distance`.

    Returns:
        A function from metres to the number of a step, which is that of all distances that share it, and the
        registration there.

    Raises:
        RequestError: the rig does not tell what the shift follows from.
    """
    shift = _shift_of(registration)
    assert registration is not None
    pixels_metres = _pixels_metres(registration)
    length = math.hypot(*pixels_metres)

    def at(distance_m: float) -> tuple[int, rig.Registration]:
        require_distance(distance_m)
        step = round(length / distance_m / STEP_PX)
        # The far end has no distance of its own: half a step from the horizon is the horizon.
        middle_m = length / (step * STEP_PX) if step else rig.FARTHEST_M
        return step, _moved(registration, shift(middle_m), distance_m)

    return at


def nearest_m(registration: rig.Registration | None) -> float | None:
    """The near end of the distances that are worth choosing from, metres; the far end is the horizon.

    A metre, or half of what was measured where that is nearer; but nowhere so near that infrared is shifted
    by more than a quarter of the visible picture against the horizon.

    Returns:
        None where the rig does not tell how infrared shifts, or the cameras stand in one place.
    """
    if registration is None or None in (
        registration.distance_m, registration.baseline_m, registration.focal_px
    ):  # fmt: skip
        return None
    assert registration.distance_m is not None
    length = math.hypot(*_pixels_metres(registration))
    if not length:
        return None
    useful_m = max(4 * length / registration.visible_size[0], min(1.0, registration.distance_m / 2))
    return max(rig.NEAREST_M, min(useful_m, registration.distance_m))


def require_distance(distance_m: float) -> None:
    """Refuse what is no distance with a RequestError."""
    if not rig.NEAREST_M <= distance_m <= rig.FARTHEST_M:
        raise RequestError(
            "--distance", expected=f"{rig.NEAREST_M:g} to {rig.FARTHEST_M:g} m", got=f"{distance_m:g}"
        )


def _pixels_metres(registration: rig.Registration) -> tuple[float, float]:
    """Focal length times baseline: shift in visible pixels at a distance of a metre, x and y."""
    assert registration.focal_px is not None
    assert registration.baseline_m is not None
    right, down = registration.baseline_m
    return registration.focal_px * right, registration.focal_px * down


def _shift_of(registration: rig.Registration | None) -> Callable[[float], tuple[float, float]]:
    """What gives the shift in visible pixels at a distance against the distance that was measured."""
    lacking = [
        key
        for key in ("distance_m", "baseline_m", "focal_px")
        if registration is None or getattr(registration, key) is None
    ]
    if registration is None or registration.distance_m is None or lacking:
        raise RequestError(
            "--distance: the rig does not tell how infrared shifts with distance",
            expected="distance_m, baseline_m and focal_px in [registration]",
            got=f"no {', '.join(lacking)}" if registration is not None else "no [registration]",
            hint="tdfusion-edge calibrate measures it with --distance, and writes --baseline and --focal.",
        )
    x, y = _pixels_metres(registration)
    measured = 1 / registration.distance_m

    def shift(distance_m: float) -> tuple[float, float]:
        nearer = 1 / distance_m - measured
        return x * nearer, y * nearer

    return shift


def _moved(registration: rig.Registration, shift: tuple[float, float], distance_m: float) -> rig.Registration:
    matrix = np.array(registration.homography, np.float64)
    width, height = registration.infrared_size
    # Depth 1 in the middle of infrared's view: there, and nowhere else, the shift is in pixels.
    matrix = matrix / (matrix[2] @ ((width - 1) / 2, (height - 1) / 2, 1.0))
    matrix[:2, 2] += shift
    first, second, third = ((float(a), float(b), float(c)) for a, b, c in matrix)
    return replace(
        registration, homography=(first, second, third), distance_m=distance_m, use_distance_m=None
    )
