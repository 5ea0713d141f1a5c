"""What happens to the pixels happens to the boxes, the mask and the other sensor as well."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.train.data.augment import IGNORED, OUTSIDE, View, crop, gain, view
from tdfusion_edge.train.recipe import Augmentation, Task

GROUND, OBJECT = 40, 220


def task(height: int = 96, width: int = 128) -> Task:
    return Task(network="any", classes=("thing",), height=height, width=width)


def labelled(size: tuple[int, int], box: tuple[int, int, int, int]) -> LabelledPair:
    """One bright rectangle on dark ground in both sensors, its box, and a mask of 1 inside it."""
    left, top, right, bottom = box
    picture, mask = np.full(size, GROUND, np.uint8), np.zeros(size, np.uint8)
    picture[top:bottom, left:right], mask[top:bottom, left:right] = OBJECT, 1
    boxes = Boxes(np.array([box], np.float32), np.array([3]))
    return LabelledPair("made", picture, picture.copy(), boxes, mask)


def extent(bright: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 of what is true."""
    y, x = np.nonzero(bright)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


samples = st.builds(
    lambda size, x, y, w, h: labelled(size, (x, y, min(x + w, size[1]), min(y + h, size[0]))),
    st.tuples(st.integers(60, 200), st.integers(60, 200)),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(12, 150),
    st.integers(12, 150),
)
zooms = st.floats(1, 2)
seeds = st.integers(0, 2**32 - 1)


def seen(made: LabelledPair, zoom: float, seed: int, size: tuple[int, int] = (96, 128)) -> View:
    augmentation = Augmentation(zoom=zoom, flip=True)
    return view(lambda: made, task(*size), augmentation, np.random.default_rng(seed))


@given(samples, zooms, seeds, st.tuples(st.integers(64, 160), st.integers(64, 160)))
@settings(max_examples=150)
def test_a_box_follows_its_pixels(made: LabelledPair, zoom: float, seed: int, size: tuple[int, int]) -> None:
    found = seen(made, zoom, seed, size)
    assert found.infrared.shape == found.visible.shape == size
    assert np.array_equal(found.infrared, found.visible)
    assert found.boxes is not None
    assume(len(found.boxes.corners) == 1)
    assert found.boxes.classes.tolist() == [3]
    bright = found.infrared > (GROUND + OBJECT) / 2 / 255
    assume(bright.any())
    # Half way up an edge is where the box ends, to the width of the interpolation: half a pixel of the
    # picture, and half a pixel of the view.
    enlarged = zoom * max(size[0] / made.visible.shape[0], size[1] / made.visible.shape[1])
    assert extent(bright) == pytest.approx(found.boxes.corners[0], abs=max(1.25, 0.5 + enlarged / 2))


@given(samples, zooms, seeds)
@settings(max_examples=100)
def test_a_mask_follows_its_pixels(made: LabelledPair, zoom: float, seed: int) -> None:
    found = seen(made, zoom, seed)
    assert found.mask is not None
    assert set(np.unique(found.mask)) <= {0, 1, IGNORED}
    # Away from edges, which the pictures blur and the mask does not.
    around = np.ones((5, 5), np.uint8)
    flat = cv2.dilate(found.infrared, around) == cv2.erode(found.infrared, around)
    for level, label in ((OBJECT, 1), (GROUND, 0), (OUTSIDE, IGNORED)):
        here = flat & (found.infrared == np.float32(level) / np.float32(255))
        assert (found.mask[here] == label).all()


def test_a_box_is_lost_only_where_little_of_it_stays() -> None:
    made, zoom, lost = labelled((100, 150), (10, 5, 40, 65)), 1.7, 0
    for seed in range(300):
        found = seen(made, zoom, seed)
        assert found.boxes is not None
        if not len(found.boxes.corners):
            lost += 1
            # Under a third of the rectangle at the largest zoom, and a rim of blurred pixels.
            largest = 30 * 60 * (96 / 100) * (128 / 150) * zoom**2
            assert (found.infrared > 0.6).sum() <= 0.3 * largest + 100
    assert 0 < lost < 100


def test_a_mirrored_view_is_the_mirror_image_of_one_that_is_not() -> None:
    made = labelled((100, 150), (30, 20, 80, 65))
    mirrored = 0
    for seed in range(40):
        straight, other = (
            view(lambda: made, task(), Augmentation(zoom=1.6, flip=flip), np.random.default_rng(seed))
            for flip in (False, True)
        )
        turned = np.abs(straight.infrared[:, ::-1] - other.infrared).max() < 0.1
        assert turned or np.array_equal(straight.infrared, other.infrared)
        mirrored += turned
    assert 8 < mirrored < 32


@given(seeds, st.tuples(st.integers(70, 160), st.integers(70, 160)))
@settings(max_examples=100)
def test_the_boxes_of_a_mosaic_surround_their_pixels(seed: int, size: tuple[int, int]) -> None:
    random = np.random.default_rng(seed)
    made = []
    for _ in range(4):
        left, top = random.integers(0, 60, 2)
        made.append(
            labelled((110, 140), (left, top, left + random.integers(20, 70), top + random.integers(20, 45)))
        )
    waiting = list(made)
    augmentation = Augmentation(mosaic=1.0, zoom=1.3)
    found = view(waiting.pop, task(*size), augmentation, np.random.default_rng(seed))
    assert not waiting
    assert found.boxes is not None
    assert found.mask is not None
    assert found.infrared.shape == size
    height, width = size
    bright = found.infrared > (GROUND + OBJECT) / 2 / 255
    covered = np.zeros(size, bool)
    for x1, y1, x2, y2 in found.boxes.corners:
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        inner = bright[int(np.ceil(y1)) + 1 : int(y2) - 1, int(np.ceil(x1)) + 1 : int(x2) - 1]
        assert inner.all()
        covered[max(0, int(y1) - 1) : int(np.ceil(y2)) + 1, max(0, int(x1) - 1) : int(np.ceil(x2)) + 1] = True
    # What no box covers is the rest of one that was cut down to little, in at most four places.
    largest = 45**2 * 1.3**2 * height * width / (110 * 140)
    assert (bright & ~covered).sum() <= 4 * (0.3 * largest + 60)
    around = np.ones((5, 5), np.uint8)
    flat = cv2.dilate(found.infrared, around) == cv2.erode(found.infrared, around)
    assert (found.mask[flat & bright] == 1).all()


def test_a_mosaic_of_pairs_without_labels_has_none() -> None:
    made = labelled((60, 80), (10, 10, 30, 30))._replace(boxes=None, mask=None)
    found = view(lambda: made, task(), Augmentation(mosaic=1.0), np.random.default_rng(0))
    assert found.boxes is None
    assert found.mask is None


def plain_view(sample: LabelledPair, task: Task) -> View:
    """A view with no chance in it."""
    return view(lambda: sample, task, Augmentation(flip=False), np.random.default_rng(0))


def test_the_plain_view_is_the_whole_picture_the_right_way_round() -> None:
    made = labelled((60, 80), (8, 30, 24, 60))
    found = plain_view(made, task(120, 320))
    assert found.boxes is not None
    assert found.boxes.corners.tolist() == [[32, 60, 96, 120]]
    assert extent(found.infrared > 0.5).tolist() == [32, 60, 96, 120]
    same = plain_view(made, task(60, 80))
    assert np.array_equal((same.infrared * 255).round().astype(np.uint8), made.infrared)
    assert np.array_equal(same.mask, made.mask)


def test_reducing_a_picture_does_not_skip_pixels() -> None:
    picture = np.zeros((480, 640), np.uint8)
    picture[::4, ::4] = 240  # as lone pixels, whose mean is 15
    found = plain_view(LabelledPair("fine", picture, picture), task(60, 80))
    inner = found.infrared[4:-4, 4:-4] * 255
    assert inner.min() > 5
    assert inner.max() < 40


@given(seeds, st.integers(32, 60), st.booleans())
def test_both_sensors_are_cropped_at_one_place(seed: int, side: int, flip: bool) -> None:
    y, x = np.mgrid[:60, :90].astype(np.uint8)
    made = LabelledPair("place", x, y)
    infrared, visible = crop(made, Augmentation(crop=side, flip=flip), np.random.default_rng(seed))
    assert infrared.shape == visible.shape == (side, side)
    columns, rows = (infrared * 255).round(), (visible * 255).round()
    steps = np.diff(columns, axis=1)
    assert (steps == 1).all() or (flip and (steps == -1).all())
    assert (np.diff(rows, axis=0) == 1).all()
    assert (columns == columns[:1]).all()
    assert (rows == rows[:, :1]).all()


def test_half_of_the_crops_are_mirrored() -> None:
    x = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    random = np.random.default_rng(0)
    crops = [crop(LabelledPair("x", x, x), Augmentation(crop=32), random) for _ in range(200)]
    mirrored = sum(infrared[0, 0] > infrared[0, 1] for infrared, _ in crops)
    assert 70 < mirrored < 130


@given(seeds, st.floats(0.01, 1))
def test_gain_changes_each_sensor_by_itself_and_stays_in_range(seed: int, amount: float) -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    random = np.random.default_rng(seed)
    first, second = gain(image, amount, random), gain(image, amount, random)
    assert first.dtype == np.float32
    assert 0 <= first.min() <= first.max() <= 1
    # Two pictures that are clipped to black throughout are equal, which needs an amount above 2/3.
    assert not np.array_equal(first, second) or (amount > 2 / 3 and first.max() == 0)
    # Brighter stays brighter, and 0 +- amount / 2 is where black may go.
    assert (np.diff(first.ravel()) >= 0).all()
    assert first.min() <= amount / 2 + 1e-6
    assert np.array_equal(gain(image, 0.0, random), image / np.float32(255))
