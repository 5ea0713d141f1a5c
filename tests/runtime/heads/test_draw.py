"""Boxes in pictures: where they were found, in their class's colour, and on a copy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Image
from tdfusion_edge.observations import Mark
from tdfusion_edge.runtime.heads.boxes.draw import draw
from tdfusion_edge.runtime.heads.colours import COLOURS
from tdfusion_edge.runtime.picture.marks import draw_marks
from tdfusion_edge.runtime.sinks.slate import slate

NAMES = ("person", "car")


def found(*rows: tuple[float, float, float, float, float, int], names: tuple[str, ...] = NAMES) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int64), names)


def picture(*, colour: bool, size: tuple[int, int] = (320, 240)) -> Image:
    shape = (size[1], size[0], 3) if colour else (size[1], size[0])
    return np.full(shape, 90, np.uint8)


@pytest.mark.parametrize("colour", [False, True])
def test_a_box_has_its_sides_where_it_was_found_and_the_picture_stays(colour: bool) -> None:
    before = picture(colour=colour)
    drawn = draw(before, found((100, 80, 180, 200, 0.9, 1)))
    assert drawn.shape == (240, 320, 3)
    np.testing.assert_array_equal(before, picture(colour=colour))
    for x, y in ((100, 150), (179, 150), (140, 80), (140, 199)):
        assert tuple(drawn[y, x]) == COLOURS[1], (x, y)
    # Inside and around it nothing is drawn, but the label above.
    assert (drawn[85:195, 105:175] == 90).all()
    assert (drawn[202:] == 90).all()
    assert (drawn[:, :97] == 90).all()
    assert (drawn[:60] == 90).all()
    label = drawn[65:79, 100:130]
    assert (label == COLOURS[1]).all(axis=-1).any()
    assert (label.astype(int).sum(axis=-1) < 200).any(), "dark letters on a bright colour"


@pytest.mark.parametrize("colour", [False, True])
def test_a_picture_without_boxes_is_passed_on_as_it_is(colour: bool) -> None:
    before = picture(colour=colour)
    assert draw(before, Detections.empty(NAMES)) is before


def test_classes_have_colours_of_their_own_and_the_better_box_lies_on_top() -> None:
    rows = (60, 60, 160, 160, 0.9, 0), (60, 60, 160, 160, 0.3, 1)
    for order in (rows, rows[::-1]):
        drawn = draw(picture(colour=False), found(*order))
        assert tuple(drawn[110, 60]) == COLOURS[0]
    many = tuple(str(number) for number in range(20))
    drawn = draw(picture(colour=True), found((60, 60, 160, 160, 0.5, 17), names=many))
    assert tuple(drawn[110, 60]) == COLOURS[17 % len(COLOURS)]


def test_names_are_drawn_in_the_letters_that_opencv_has() -> None:
    box, clean = (60, 60, 160, 160, 0.5, 0), picture(colour=True)
    for name, plain in (("Fußgänger", "Fussganger"), ("人", "?")):
        assert (draw(clean, found(box, names=(name,))) == draw(clean, found(box, names=(plain,)))).all()
        marks = [[Mark(((20.0, 30.0), (90.0, 90.0)), one)] for one in (name, plain)]
        assert (draw_marks(clean, marks[0]) == draw_marks(clean, marks[1])).all()
        assert (slate((320, 240), name, 0) == slate((320, 240), plain, 0)).all()


def test_a_label_at_the_edge_stays_in_the_picture() -> None:
    """Above the picture there is no room, so it moves inside; at the right it moves left."""
    clean = picture(colour=True)
    for box in ((0, 0, 60, 60), (300, 0, 320, 100), (0, 225, 320, 240)):
        drawn = draw(clean, found((*box, 0.5, 0)))
        coloured = (drawn == COLOURS[0]).all(axis=-1)
        inside = coloured.copy()
        x1, y1, x2, y2 = box
        inside[y1 : y1 + 2, x1:x2] = inside[y2 - 2 : y2, x1:x2] = False
        inside[y1:y2, x1 : x1 + 2] = inside[y1:y2, x2 - 2 : x2] = False
        assert inside.sum() > 100, "the ground of the label"


def test_lines_grow_with_the_picture() -> None:
    widths = []
    for size in ((320, 240), (640, 480), (1920, 1080)):
        wide, high = size
        drawn = draw(
            picture(colour=False, size=size), found((wide / 4, high / 4, wide / 2, high / 2, 0.5, 0))
        )
        row = (drawn[round(high * 0.45)] == COLOURS[0]).all(axis=-1)
        widths.append(int(row[: wide * 3 // 8].sum()))
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 5), max_size=4),
    st.booleans(),
)
def test_boxes_of_every_shape_can_be_drawn(
    width: int, height: int, rows: list[tuple[float, ...]], colour: bool
) -> None:
    clean = picture(colour=colour, size=(width, height))
    table = [(*np.sort([a, b]) * width, *np.sort([c, d]) * height, score) for a, b, c, d, score in rows]
    drawn = draw(clean, found(*((x1, y1, x2, y2, score, 0) for x1, x2, y1, y2, score in table)))
    assert drawn.shape[:2] == (height, width)
    assert (drawn.ndim == 3) == (colour or bool(rows))
    assert (clean == 90).all()
    if rows:
        assert (drawn != 90).any()
