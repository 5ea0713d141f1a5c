"""The homography through many points, some of which are wrong, and how well it fits them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import WorkError

F64: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

FEWEST = 4
"""Points that a homography needs."""
ROUNDS = 30
"""Of weighting anew and fitting again; it settles in far fewer."""


class Fit(NamedTuple):
    """A homography and what it leaves of the points that it was made from."""

    homography: F64
    """3 x 3 from infrared pixels to visible ones, depth 1 in the middle of the infrared points that count."""
    inliers: Bools
    """(N,) which points count."""
    residuals: F64
    """(N, 2) x y, where a point lies in visible less where the homography puts it, pixels."""

    @property
    def errors(self) -> F64:
        """(M,) lengths of the residuals of the points that count."""
        return cast(F64, np.linalg.norm(self.residuals[self.inliers], axis=1))


class Errors(NamedTuple):
    """Reprojection errors in visible pixels."""

    points: int
    rms: float
    median: float
    maximum: float


def errors_of(lengths: F64) -> Errors:
    """Statistics of at least one length."""
    return Errors(
        len(lengths),
        float(np.sqrt(np.mean(lengths**2))),
        float(np.median(lengths)),
        float(np.max(lengths)),
    )


def applied(homography: F64, points: F64) -> F64:
    """Points (N, 2) where a homography sends them."""
    lifted = points @ homography[:, :2].T + homography[:, 2]
    moved: F64 = lifted[:, :2] / lifted[:, 2:]
    return moved


def inverse(homography: F64) -> F64:
    """The homography back."""
    return cast(F64, np.linalg.inv(homography))


def fit(
    infrared: F64, visible: F64, *, threshold: float, weights: F64 | None = None, affine: bool = False
) -> Fit:
    """The homography that most of the points agree on.

    MAGSAC finds the points that agree; a Huber-weighted least-squares fit to them follows, until it settles.

    Args:
        infrared: (N, 2) x y of points in the infrared picture.
        visible: (N, 2) x y of the same points in the visible picture.
        threshold: Error in visible pixels beyond which a point is taken for wrong.
        weights: (N,) how much each point counts; None: alike.
        affine: Without perspective: six numbers instead of eight, for points that lie in a part only.

    Raises:
        WorkError: fewer than four points, points on a line, or no four that agree.
    """
    if len(infrared) < FEWEST:
        raise WorkError(
            "too few points for a homography", expected=f"{FEWEST} or more", got=str(len(infrared))
        )
    if min(
        np.linalg.svd(side - side.mean(axis=0), compute_uv=False)[1] for side in (infrared, visible)
    ) < 1e-3 * np.sqrt(len(infrared)):
        raise WorkError("the points lie on a line", expected="points spread over both pictures")
    found, flags = cv2.findHomography(
        infrared, visible, cv2.USAC_MAGSAC, threshold, maxIters=10_000, confidence=0.9999
    )
    if found is None or flags is None or int(flags.sum()) < FEWEST:
        raise _none_fits(threshold)
    homography = homography_of(
        infrared,
        visible,
        threshold=threshold,
        start=cast(F64, found.astype(np.float64)),
        weights=weights,
        affine=affine,
    )
    residuals = visible - applied(homography, infrared)
    return Fit(homography, np.linalg.norm(residuals, axis=1) <= threshold, residuals)


def homography_of(
    infrared: F64,
    visible: F64,
    *,
    threshold: float,
    start: F64,
    weights: F64 | None = None,
    affine: bool = False,
) -> F64:
    """The homography near ``start`` of the points that agree with it, by least squares with Huber's weights.

    Args and errors are those of :func:`fit`; ``start`` is 3 x 3.
    """
    homography = start
    given = np.ones(len(infrared)) if weights is None else weights
    for _ in range(ROUNDS):
        lengths = np.linalg.norm(visible - applied(homography, infrared), axis=1)
        inliers = lengths <= threshold
        if inliers.sum() < FEWEST:
            raise _none_fits(threshold)
        middle = max(float(np.median(lengths[inliers])), 1e-6)
        huber = np.minimum(1.0, 1.5 * middle / np.maximum(lengths, 1e-12)) * given * inliers
        following = least_squares(infrared, visible, huber, affine=affine)
        moved = np.abs(applied(following, infrared) - applied(homography, infrared)).max()
        homography = following
        if moved < 1e-4:
            break
    return homography


def _none_fits(threshold: float) -> WorkError:
    return WorkError(
        "no homography fits the points", expected=f"{FEWEST} or more that agree within {threshold:g} px"
    )


def least_squares(infrared: F64, visible: F64, weights: F64, *, affine: bool = False) -> F64:
    """The homography of least weighted squares of the errors in visible pixels.

    Points are brought to mean 0 and spread 1 first (Hartley, "In Defense of the Eight-Point Algorithm",
    1997).
    The linear solution is made geometric by dividing each equation by the depth that the one before gave.

    Args:
        infrared: (N, 2), four or more that count and do not lie on a line.
        visible: (N, 2).
        weights: (N,), 0 or more.
        affine: Without perspective.

    Returns:
        3 x 3, depth 1 in the middle of the infrared points.
    """
    own, other = _normal(infrared, weights), _normal(visible, weights)
    x, y = applied(own, infrared).T
    u, v = applied(other, visible).T
    one, nil = np.ones_like(x), np.zeros_like(x)
    rows_u = np.stack([x, y, one, nil, nil, nil, -u * x, -u * y], axis=1)
    rows_v = np.stack([nil, nil, nil, x, y, one, -v * x, -v * y], axis=1)
    solved = np.zeros(8)
    count = 6 if affine else 8
    for _ in range(1 if affine else 4):
        depth = 1 + solved[6] * x + solved[7] * y
        root = np.sqrt(weights) / np.maximum(np.abs(depth), 0.1)
        system = np.concatenate([rows_u * root[:, None], rows_v * root[:, None]])[:, :count]
        solved[:count] = np.linalg.lstsq(system, np.concatenate([u * root, v * root]), rcond=None)[0]
    normal = np.append(solved, 1.0).reshape(3, 3)
    homography = np.linalg.inv(other) @ normal @ own
    middle = np.append(np.average(infrared, axis=0, weights=weights), 1.0)
    return cast(F64, homography / (homography[2] @ middle))


def _normal(points: F64, weights: F64) -> F64:
    """3 x 3 that brings points to mean 0 and root-mean-square distance sqrt(2)."""
    middle = np.average(points, axis=0, weights=weights)
    spread = np.sqrt(np.average(((points - middle) ** 2).sum(axis=1), weights=weights) / 2)
    scale = 1 / max(float(spread), 1e-9)
    return np.array([[scale, 0, -scale * middle[0]], [0, scale, -scale * middle[1]], [0, 0, 1]])
