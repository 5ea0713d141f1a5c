"""Views that need no network: what they show, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge import bundle
from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.live.palettes import coloured, hot
from tdfusion_edge.runtime.live.views import DETAIL, Painter, View

SIZE = (160, 120)
ONE = Detections(
    np.array([[20, 20, 60, 60]], np.float32), np.array([0.9], np.float32), np.array([0]), ("person",)
)


def of(infrared: U8 | None, visible: Image | None = None, counts: Image | None = None) -> Result:
    """A result whose fused picture is grey 100."""
    width, height = SIZE
    visible = np.full((height, width, 3), 60, np.uint8) if visible is None else visible
    frame = counts if counts is not None else infrared
    pair = Pair(None if frame is None else Frame(frame, 0, 0, "ir"), Frame(visible, 0, 0, "vis"))
    return Result(0, pair, np.full((height, width, 3), 100, np.uint8), infrared=infrared)


def ramp() -> U8:
    """Every pixel its own place: rows of 0 to 159."""
    return np.tile(np.arange(SIZE[0], dtype=np.uint8), (SIZE[1], 1))


def plain(**asked: object) -> View:
    return View(boxes=False, **asked)  # type: ignore[arg-type]


def paint(result: Result, view: View, registration: rig.Registration | None = None) -> Image:
    return Painter(registration, annotated).paint(result, view)


def test_sensors_stand_alone_or_beside_each_other() -> None:
    result = of(ramp())
    assert (paint(result, plain()) == 100).all()
    assert (paint(result, plain(kind="infrared")) == ramp()).all()
    assert (paint(result, plain(kind="infrared", palette="black-hot")) == 255 - ramp()).all()
    assert (paint(result, plain(kind="visible")) == 60).all()
    both = paint(result, plain(kind="pair"))
    assert both.shape == (120, 320, 3)
    assert (both[:, :160] == ramp()[..., None]).all()
    assert (both[:, 160:] == 60).all()


def test_infrared_is_black_where_it_does_not_see_also_after_it_was_aligned_anew() -> None:
    width, height = SIZE

    def shifted(right: float) -> rig.Registration:
        rows = ((1.0, 0.0, right), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        return rig.Registration(homography=rows, infrared_size=SIZE, visible_size=SIZE)

    painter, result = Painter(shifted(40), annotated), of(np.full((height, width), 200, np.uint8))
    for right, left_black in ((40, 40), (0, 0), (100, 100)):
        painter.place(shifted(right))
        seen = painter.paint(result, plain(kind="infrared"))
        assert (seen[:, :left_black] == 0).all()
        assert (seen[:, left_black:] == 200).all()


def test_palettes_keep_hot_brighter_than_cold() -> None:
    for palette in ("ironbow", "inferno"):
        grey = cv2.cvtColor(coloured(np.arange(256, dtype=np.uint8)[None], palette), cv2.COLOR_BGR2GRAY)
        assert (np.diff(grey[0].astype(int)) >= -1).all()  # of rounding
        assert (grey[0, 0], grey[0, -1] > 230) == (0, True)
    # Turbo's ends as its authors give them (Mikhailov, 2019): RGB (48, 18, 59) and (122, 4, 3).
    ends = coloured(np.array([[0, 255]], np.uint8), "rainbow")[0]
    assert np.abs(ends.astype(int) - [(59, 18, 48), (3, 4, 122)]).max() <= 1


@given(
    st.integers(0, 2**32 - 1), st.floats(0.1, 50), st.sampled_from([(0, 255), (90, 96), (7, 7)])
)  # fmt: skip
@settings(max_examples=60)
def test_the_hottest_part_is_that_part_and_no_more(seed: int, per_cent: float, span: tuple[int, int]) -> None:
    infrared = np.random.default_rng(seed).integers(span[0], span[1] + 1, (120, 160)).astype(np.uint8)
    view = plain(kind="infrared", hottest=per_cent)
    drawn = paint(of(infrared), view)
    marked = (drawn == hot(infrared)).all(axis=2)
    assert (drawn[~marked] == infrared[~marked][:, None]).all()
    most = max(1, int(infrared.size * per_cent / 100))
    assert marked.sum() <= most or infrared[marked].min() == 255  # what is white cannot be told apart
    if marked.any():
        assert infrared[marked].min() > infrared[~marked].max()
        further = (infrared >= infrared[~marked].max()).sum()
        assert further > most  # one level more would have been too much


def test_counts_are_the_cameras_own_and_lie_where_the_registration_puts_them() -> None:
    counts = np.full((60, 80), 20_000, np.uint16)
    counts[20:40, 30:50] = 31_000
    half = rig.Registration(
        homography=((1, 0, 40), (0, 1, 30), (0, 0, 1)), infrared_size=(80, 60), visible_size=SIZE
    )
    result = of(np.full((120, 160), 50, np.uint8), counts=counts)
    drawn = paint(result, plain(kind="infrared", counts=30_000), half)
    marked = (drawn == hot(np.full((1, 1), 50, np.uint8))[0, 0]).all(axis=2)
    where = np.argwhere(marked)
    assert np.abs(where.min(axis=0) - (50, 70)).max() <= 1
    assert np.abs(where.max(axis=0) - (69, 89)).max() <= 1
    outside = drawn.copy()
    outside[30:90, 40:120] = 0
    assert not outside.any()  # infrared does not see there
    assert not (paint(result, plain(kind="infrared", counts=31_001), half)[..., 2] > 200).any()
    assert (paint(result, plain(counts=30_000), half)[60, 80] != 100).any()  # on the fused picture too
    counts[:10, :10] = 31_000  # its border is repeated outside, where nothing is known to be hot
    marked = (paint(result, plain(counts=30_000), half) != 100).any(axis=2)
    assert marked[32, 42]
    assert not marked[:30].any()
    assert not marked[:, :40].any()


def test_edges_stand_on_infrared_where_visible_has_them() -> None:
    visible = np.full((120, 160, 3), 30, np.uint8)
    visible[:, 80:] = 200
    drawn = paint(of(np.full((120, 160), 10, np.uint8), visible), plain(kind="edges"))
    columns = np.unique(np.argwhere((drawn != 10).any(axis=2))[:, 1])
    assert len(columns)
    assert set(columns) <= {78, 79, 80, 81}
    dark = visible // 8  # a night scene has edges too
    assert (paint(of(np.full((120, 160), 10, np.uint8), dark), plain(kind="edges")) != 10).any()


def test_an_inset_shows_all_of_infrared_in_a_corner_of_visible() -> None:
    drawn = paint(of(ramp()), plain(kind="inset"))
    assert (drawn[:70] == 60).all()
    middle = drawn[98, 106:156, 0].astype(int)
    assert middle[0] < 15
    assert middle[-2] > 140
    assert (np.diff(middle[1:-1]) >= 0).all()


@pytest.mark.parametrize("kind", ["infrared", "pair", "edges", "inset", "fused"])
def test_what_is_missing_is_told_and_not_made_up(kind: str) -> None:
    result = replace(of(None), degraded="infrared missing")
    drawn = paint(result, plain(kind=kind, hottest=3.0, palette="ironbow"))
    assert drawn.shape[:2] == (120, 320 if kind == "pair" else 160)
    infrared = paint(result, plain(kind="infrared"))
    assert len(np.unique(infrared)) > 2  # words on grey


def test_boxes_stand_in_every_view_and_detail_is_a_size() -> None:
    result = replace(of(ramp()), findings={"boxes": ONE})
    for kind in ("fused", "infrared", "visible", "pair", "edges", "inset"):
        view = View(kind=kind)  # type: ignore[arg-type]
        assert (_bgr(paint(result, view)) != _bgr(paint(result, plain(kind=kind)))).any(), kind
    large = Result(0, result.pair, np.zeros((1200, 1600, 3), np.uint8))
    for detail, (longest, _) in DETAIL.items():
        assert max(paint(large, plain(detail=detail)).shape) == min(longest, 1600)


def _bgr(picture: Image) -> Image:
    return np.dstack([picture] * 3) if picture.ndim == 2 else picture


def test_a_fuser_hands_over_infrared_as_it_saw_it(mean_bundle: bundle.Bundle) -> None:
    middle = rig.Registration(
        homography=((0.5, 0, 40), (0, 0.5, 30), (0, 0, 1)), infrared_size=SIZE, visible_size=SIZE
    )
    visible = np.random.default_rng(1).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    with Fuser(mean_bundle, threads=1, stretch="none", range="camera", registration=middle) as fuse:
        given = fuse(ramp(), visible)
        assert given.infrared is not None
        assert (
            given.infrared[60, :40] == given.infrared[60, 40]
        ).all()  # its border is repeated, not visible's
        assert abs(int(given.infrared[60, 80]) - 80) <= 1
        pair = Pair(None, Frame(visible, 0, 0, "vis"))
        alone = fuse.fuse(pair)
        assert alone is not None
        assert alone.infrared is None
