"""The gate: what it measures, against formulas and planted differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.masks import Mask
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.runtime.evaluation.parity import LIMITS, Chain, Gap, measure, measure_each, offences
from tdfusion_edge.runtime.evaluation.parity_boxes import Match, match
from tdfusion_edge.runtime.evaluation.parity_masks import overlap

NAMES = ("person", "car")


def views(count: int = 3) -> list[LabelledPair]:
    random = np.random.default_rng(0)
    smooth = random.integers(0, 256, (2, count, 12, 16), dtype=np.uint8).repeat(4, axis=2).repeat(4, axis=3)
    return [LabelledPair(str(n), smooth[0, n], smooth[1, n]) for n in range(count)]


def mean(infrared: U8, visible: U8) -> np.ndarray:
    return (infrared.astype(np.float32) + visible) / np.float32(510)


def chain(change: float = 0.0, detect: Detections | None = None) -> Chain:
    return Chain(
        lambda infrared, visible: mean(infrared, visible) + np.float32(change),
        None if detect is None else lambda luma: detect,
    )


def found(*rows: tuple[int, float, float, float, float, float]) -> Detections:
    """Rows of class, score, x1, y1, x2, y2."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64), NAMES)


PERSON = (0, 0.8, 10.0, 10.0, 30.0, 50.0)
CAR = (1, 0.6, 40.0, 20.0, 90.0, 60.0)


def test_the_same_chain_twice_has_no_gap() -> None:
    gap = measure(views(), chain(detect=found(PERSON)), chain(detect=found(PERSON)))
    assert gap == Gap(3, 0.0, 0.0, math.inf, 0.0, 0.0, 3, 1.0, 0.0, 0.0)
    assert all(offences(gap, limits) == [] for limits in LIMITS.values())


def test_a_known_error_has_the_known_psnr() -> None:
    gap = measure(views(), chain(), chain(change=0.01))
    assert gap.max_error == pytest.approx(0.01, rel=1e-4)
    assert gap.mean_error == pytest.approx(0.01, rel=1e-4)
    assert gap.psnr_db == pytest.approx(40, abs=1e-3)
    assert [row.split(":")[0] for row in offences(gap, LIMITS["fp16"])] == ["PSNR of the fused luma in dB"]


def test_swapped_inputs_are_seen() -> None:
    lean = Chain(lambda infrared, visible: (0.8 * infrared + 0.2 * visible).astype(np.float32) / 255, None)
    swapped = Chain(lambda infrared, visible: lean.fuse(visible, infrared), None)
    assert all(offences(measure(views(), lean, swapped), limits) for limits in LIMITS.values())


def test_no_number_passes_no_limit() -> None:
    broken = Chain(lambda infrared, visible: np.full(infrared.shape, np.nan, np.float32), None)
    for order in (views(), views()[::-1]):
        said = offences(measure(order, chain(), broken), LIMITS["int8"])
        assert any("largest error of the fused luma" in row for row in said)
        assert any("PSNR" in row for row in said)


def test_boxes_are_found_again_by_class_and_place() -> None:
    want = found(PERSON, CAR)
    assert match(want, want, 0.25) == Match(2, 2, 0, 0.0)
    assert match(want, found(PERSON), 0.25) == Match(2, 1, 0, 0.0)
    assert match(found(PERSON), want, 0.25) == Match(1, 1, 1, 0.0)
    assert match(want, found((1, *PERSON[1:]), CAR), 0.25) == Match(2, 1, 1, 0.0)
    moved = (1, 0.6, 45.0, 20.0, 95.0, 60.0)  # 45 of 55 columns in common
    assert match(want, found(PERSON, moved), 0.25) == Match(2, 1, 1, 0.0)
    less = (0, 0.7, *PERSON[2:])
    assert match(want, found(less, CAR), 0.25)[:3] == (2, 2, 0)
    assert match(want, found(less, CAR), 0.25).score_error == pytest.approx(0.1, abs=1e-6)


def test_a_score_that_falls_just_below_the_threshold_is_no_lost_box() -> None:
    above, below = (0, 0.26, *PERSON[2:]), (0, 0.24, *PERSON[2:])
    assert match(found(above), found(below), 0.25)[:3] == (1, 1, 0)
    assert match(found(below), found(above), 0.25)[:3] == (0, 0, 0)


def test_what_is_far_below_the_threshold_is_no_partner() -> None:
    """A chain that goes down to what an average precision counts finds no more boxes again."""
    assert match(found((0, 0.26, *PERSON[2:])), found((0, 0.14, *PERSON[2:])), 0.25)[:3] == (1, 0, 0)


def test_one_box_answers_for_one_alone() -> None:
    assert match(found(PERSON, PERSON), found(PERSON), 0.25)[:3] == (2, 1, 0)


@given(st.integers(0, 500), st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_what_is_kept_and_added_is_counted_once(seed: int, first: int, second: int) -> None:
    random = np.random.default_rng(seed)

    def some(count: int) -> Detections:
        corner = random.integers(0, 3, (count, 2)) * 30.0
        rows = np.c_[random.integers(0, 2, count), random.random(count), corner, corner + 20]
        return found(*map(tuple, rows))

    want, got = some(first), some(second)
    result = match(want, got, 0.25)
    assert 0 <= result.kept <= result.boxes <= first
    assert 0 <= result.added <= second
    assert 0 <= result.score_error <= 1


def test_lost_boxes_and_pictures_without_any_are_told() -> None:
    lost = measure(views(), chain(detect=found(PERSON, CAR)), chain(detect=found(CAR)))
    assert (lost.boxes, lost.boxes_kept, lost.boxes_added) == (6, 0.5, 0.0)
    assert offences(lost, LIMITS["int8"]) == ["share of boxes lost: expected at most 0.1, got 0.5"]
    none = measure(views(), chain(detect=found()), chain(detect=found(CAR)))
    assert (none.boxes, none.boxes_kept, none.boxes_added) == (0, 1.0, 3.0)


def test_pixels_of_a_mask_are_counted_over_all_pairs() -> None:
    """Half of the first class becomes the second: of 48 x 64 pixels a quarter; overlaps 1/2 and 2/3."""
    mask = np.zeros((48, 64), np.uint8)
    mask[24:] = 1
    other = mask.copy()
    other[:12] = 1
    gap = measure(
        views(),
        chain()._replace(segment=lambda luma: Mask(mask, NAMES)),
        chain()._replace(segment=lambda luma: Mask(other, NAMES)),
    )
    assert (gap.pixels, gap.pixels_equal) == (3 * 48 * 64, 0.75)
    assert gap.mask_iou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert [row.split(":")[0] for row in offences(gap, LIMITS["int8"])] == [
        "share of the mask's pixels of another class",
        "mean overlap of the mask's classes",
    ]
    alone = measure(views(), chain()._replace(segment=lambda luma: Mask(mask, NAMES)), chain())
    assert (alone.pixels, alone.pixels_equal, alone.mask_iou) == (0, 1.0, 1.0)


def test_a_few_pixels_of_a_rare_class_are_not_all_of_the_mean_overlap() -> None:
    masks = np.zeros((255, 255), np.int64)
    masks[0, 0], masks[1, 1], masks[2, 0], masks[0, 3] = 9_900, 90, 9, 1
    pixels, equal, shares = overlap(masks)
    assert (pixels, equal) == (10_000, 0.999)
    assert shares == pytest.approx((9_900 / 9_910 + 1) / 2)


def test_without_a_pair_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no pair"):
        measure([], chain(), chain())


def labelled(*rows: tuple[int, float, float, float, float, float]) -> list[LabelledPair]:
    """The three pairs, each with these objects."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    boxes = Boxes(table[:, 2:], table[:, 0].astype(np.int64))
    return [pair._replace(boxes=boxes) for pair in views()]


WALKER = (0, 0.2, 10.0, 10.0, 30.0, 40.0)
"""Of a score below the threshold: the boxes that are shown do not tell of it."""


def one_after_another(*each: Detections) -> Chain:
    """Finds something else on every picture."""
    left = iter(each)
    return Chain(mean, lambda luma: next(left))


def test_a_change_of_the_average_precision_is_measured_against_labels() -> None:
    always, never = found(WALKER), found()
    reference, other = (one_after_another(always, always, last) for last in (always, never))
    gap = measure(labelled(WALKER), reference, other)
    assert (gap.boxes, gap.boxes_kept, gap.boxes_added) == (0, 1.0, 0.0)
    assert gap.map50 == pytest.approx(1)
    # Two of three objects: precision is 1 at the recalls 0, 0.01 ... 0.66 of COCO's 101, and then 0.
    assert gap.map50_change == pytest.approx(67 / 101 - 1)
    assert offences(gap, LIMITS["int8"]) == ["change of mAP50: expected at most 0.02, got 0.337"]


def test_a_gain_of_average_precision_is_a_change_as_well() -> None:
    reference, other = (one_after_another(*[boxes] * 3) for boxes in (found(), found(WALKER)))
    gap = measure(labelled(WALKER), reference, other)
    assert gap.map50_change == pytest.approx(1)
    assert [row.partition(":")[0] for row in offences(gap, LIMITS["int8"])] == ["change of mAP50"]


def test_half_a_point_is_the_limit_of_float16() -> None:
    gap = measure(views(), chain(), chain())
    for change, passes in ((0.0049, True), (-0.0049, True), (-0.0051, False), (math.nan, False)):
        assert (offences(gap._replace(map50_change=change), LIMITS["fp16"]) == []) is passes


@pytest.mark.parametrize(
    ("detect", "pairs"), [(None, labelled(WALKER)), (found(WALKER), views()), (found(WALKER), labelled())]
)
def test_without_detector_labels_or_objects_there_is_no_average_precision(
    detect: Detections | None, pairs: list[LabelledPair]
) -> None:
    gap = measure(pairs, chain(detect=detect), chain(detect=detect))
    assert gap.map50 is gap.map50_change is None


def test_the_reference_works_once_for_all_others() -> None:
    calls = []

    def counted(infrared: U8, visible: U8) -> np.ndarray:
        calls.append(1)
        return mean(infrared, visible)

    gaps = measure_each(views(), Chain(counted, None), {"a": chain(0.01), "b": chain(0.1)})
    assert len(calls) == 3
    assert {key: gap.psnr_db for key, gap in gaps.items()} == pytest.approx({"a": 40, "b": 20}, abs=1e-3)
