"""How much a sequence of pictures flickers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8


def temporal_instability(pictures: Iterable[U8], sources: Iterable[U8] | None = None) -> float:
    """Flicker of a sequence: the mean change of its brightness from picture to picture.

    Brightness is read at four places, the mean and the 1, 50 and 99 percentiles. Their absolute
    changes between neighbours, in units of the sequence's contrast, are averaged over places and
    time. Contrast is the mean of 99 minus 1 percentile, so that a constant gain changes nothing;
    one grey level is its least.

    Args:
        pictures: uint8 (H, W), two or more, in order.
        sources: As many pictures before the stretch; their change is the scene's own and is
            subtracted, place by place, never below 0.

    Returns:
        Share of the contrast per picture, 0 for perfectly steady brightness.

    Raises:
        ValueError: fewer than two pictures, or another number of sources.
    """
    changes = _brightness_changes(pictures)
    if sources is not None:
        own = _brightness_changes(sources)
        if len(own) != len(changes):
            raise ValueError(
                f"as many sources as pictures are needed, got {len(own) + 1} and {len(changes) + 1}"
            )
        changes = np.maximum(changes - own, 0.0)
    return float(changes.mean())


def _brightness_changes(pictures: Iterable[U8]) -> npt.NDArray[np.float64]:
    """(N - 1, 4) absolute changes of mean, 1, 50 and 99 percentile, in units of the contrast."""
    rows = [[float(picture.mean()), *np.percentile(picture, (1, 50, 99))] for picture in pictures]
    if len(rows) < 2:
        raise ValueError(f"flicker needs two pictures or more, got {len(rows)}")
    places = np.array(rows, np.float64)
    contrast = max(1.0, float((places[:, 3] - places[:, 1]).mean()))
    return np.abs(np.diff(places, axis=0)) / contrast
