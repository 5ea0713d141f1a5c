"""The gate: what it measures, against formulas and planted differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import Functions

from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.masks import Mask
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.runtime.evaluation.parity import LIMITS, Gap, measure, measure_each
from tdfusion_edge.runtime.heads.boxes.compare import BoxesGap, Match, match
from tdfusion_edge.runtime.heads.mask.compare import MaskGap, overlap

NAMES = ("person", "car")


def views(count: int = 3) -> list[LabelledPair]:
    random = np.random.default_rng(0)
    smooth = random.integers(0, 256, (2, count, 12, 16), dtype=np.uint8).repeat(4, axis=2).repeat(4, axis=3)
    return [LabelledPair(str(n), smooth[0, n], smooth[1, n]) for n in range(count)]


def mean(infrared: U8, visible: U8) -> np.ndarray:
    return (infrared.astype(np.float32) + visible) / np.float32(510)


def looks(change: float = 0.0, **found: Detections | Mask) -> Functions:
    """The mean, moved by ``change``; finds the same in every picture, by kind."""
    return Functions(
        lambda infrared, visible: mean(infrared, visible) + np.float32(change),
        **{kind: lambda luma, one=one: one for kind, one in found.items()},  # type: ignore[misc]
    )


def boxes(gap: Gap) -> BoxesGap:
    found = gap.heads["boxes"]
    assert isinstance(found, BoxesGap)
    return found


def found(*rows: tuple[int, float, float, float, float, float]) -> Detections:
    """Rows of class, score, x1, y1, x2, y2."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64), NAMES)


PERSON = (0, 0.8, 10.0, 10.0, 30.0, 50.0)
CAR = (1, 0.6, 40.0, 20.0, 90.0, 60.0)


def test_the_same_chain_twice_has_no_gap() -> None:
    gap = measure(views(), looks(boxes=found(PERSON)), looks(boxes=found(PERSON)))
    assert gap == Gap(3, 0.0, 0.0, math.inf, 0.0, 0.0, {"boxes": BoxesGap(3, 1.0, 0.0, 0.0)})
    assert all(gap.offences(precision) == [] for precision in LIMITS)


def test_a_known_error_has_the_known_psnr() -> None:
    gap = measure(views(), looks(), looks(0.01))
    assert gap.max_error == pytest.approx(0.01, rel=1e-4)
    assert gap.mean_error == pytest.approx(0.01, rel=1e-4)
    assert gap.psnr_db == pytest.approx(40, abs=1e-3)
    assert [row.split(":")[0] for row in gap.offences("fp16")] == ["PSNR of the fused luma in dB"]


def test_swapped_inputs_are_seen() -> None:
    lean = Functions(lambda infrared, visible: (0.8 * infrared + 0.2 * visible).astype(np.float32) / 255)
    swapped = Functions(lambda infrared, visible: lean.fuse(visible, infrared))
    assert all(measure(views(), lean, swapped).offences(precision) for precision in LIMITS)


def test_no_number_passes_no_limit() -> None:
    broken = Functions(lambda infrared, visible: np.full(infrared.shape, np.nan, np.float32))
    for order in (views(), views()[::-1]):
        said = measure(order, looks(), broken).offences("int8")
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
    lost = measure(views(), looks(boxes=found(PERSON, CAR)), looks(boxes=found(CAR)))
    assert boxes(lost)[:3] == (6, 0.5, 0.0)
    assert lost.offences("int8") == ["share of boxes lost: expected at most 0.1, got 0.5"]
    none = measure(views(), looks(boxes=found()), looks(boxes=found(CAR)))
    assert boxes(none)[:3] == (0, 1.0, 3.0)


def test_pixels_of_a_mask_are_counted_over_all_pairs() -> None:
    """Half of the first class becomes the second: of 48 x 64 pixels a quarter; overlaps 1/2 and 2/3."""
    mask = np.zeros((48, 64), np.uint8)
    mask[24:] = 1
    other = mask.copy()
    other[:12] = 1
    gap = measure(
        views(),
        looks(mask=Mask(mask, NAMES)),
        looks(mask=Mask(other, NAMES)),
    )
    found = gap.heads["mask"]
    assert isinstance(found, MaskGap)
    assert (found.pixels, found.pixels_equal, found.miou) == (3 * 48 * 64, 0.75, None)
    assert found.mask_iou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert [row.split(":")[0] for row in gap.offences("int8")] == [
        "share of the mask's pixels of another class",
        "mean overlap of the mask's classes",
    ]
    assert measure(views(), looks(mask=Mask(mask, NAMES)), looks()).heads == {}


def test_a_few_pixels_of_a_rare_class_are_not_all_of_the_mean_overlap() -> None:
    masks = np.zeros((255, 255), np.int64)
    masks[0, 0], masks[1, 1], masks[2, 0], masks[0, 3] = 9_900, 90, 9, 1
    pixels, equal, shares = overlap(masks)
    assert (pixels, equal) == (10_000, 0.999)
    assert shares == pytest.approx((9_900 / 9_910 + 1) / 2)


def test_without_a_pair_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no pair"):
        measure([], looks(), looks())


def labelled(*rows: tuple[int, float, float, float, float, float]) -> list[LabelledPair]:
    """The three pairs, each with these objects."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    boxes = Boxes(table[:, 2:], table[:, 0].astype(np.int64))
    return [pair._replace(boxes=boxes) for pair in views()]


WALKER = (0, 0.2, 10.0, 10.0, 30.0, 40.0)
"""Of a score below the threshold: the boxes that are shown do not tell of it."""


def one_after_another(*each: Detections) -> Functions:
    """Finds something else on every picture."""
    left = iter(each)
    return Functions(mean, boxes=lambda luma: next(left))


def test_a_change_of_the_average_precision_is_measured_against_labels() -> None:
    always, never = found(WALKER), found()
    reference, other = (one_after_another(always, always, last) for last in (always, never))
    gap = measure(labelled(WALKER), reference, other)
    assert boxes(gap)[:3] == (0, 1.0, 0.0)
    assert boxes(gap).map50 == pytest.approx(1)
    # Two of three objects: precision is 1 at the recalls 0, 0.01 ... 0.66 of COCO's 101, and then 0.
    assert boxes(gap).map50_change == pytest.approx(67 / 101 - 1)
    assert gap.offences("int8") == ["change of mAP50: expected at most 0.02, got 0.337"]


def test_a_gain_of_average_precision_is_a_change_as_well() -> None:
    reference, other = (one_after_another(*[boxes] * 3) for boxes in (found(), found(WALKER)))
    gap = measure(labelled(WALKER), reference, other)
    assert boxes(gap).map50_change == pytest.approx(1)
    assert [row.partition(":")[0] for row in gap.offences("int8")] == ["change of mAP50"]


def test_half_a_point_is_the_limit_of_float16() -> None:
    for change, passes in ((0.0049, True), (-0.0049, True), (-0.0051, False), (math.nan, False)):
        assert (BoxesGap(map50_change=change).offences("fp16") == []) is passes
        assert (MaskGap(miou_change=change).offences("fp16") == []) is passes


@pytest.mark.parametrize(("found_boxes", "pairs"), [(found(WALKER), views()), (found(WALKER), labelled())])
def test_without_labels_or_objects_there_is_no_average_precision(
    found_boxes: Detections, pairs: list[LabelledPair]
) -> None:
    gap = measure(pairs, looks(boxes=found_boxes), looks(boxes=found_boxes))
    assert boxes(gap).map50 is boxes(gap).map50_change is None


def masked(*columns: int) -> list[LabelledPair]:
    """The three pairs, labelled with the second class from such a column on; of the first 4 rows nothing."""
    pairs = []
    for pair, column in zip(views(), columns, strict=True):
        mask = np.zeros(pair.visible.shape, np.uint8)
        mask[:, column:], mask[:4] = 1, 255
        pairs.append(pair._replace(mask=mask))
    return pairs


def test_a_change_of_miou_is_measured_against_labels_at_the_pictures_size() -> None:
    """Masks of 24x32 for pictures of 48x64: the reference is right, the other has its edge 8 pixels off."""
    right, off = (np.zeros((24, 32), np.uint8) for _ in range(2))
    right[:, 16:], off[:, 20:] = 1, 1
    gap = measure(masked(32, 32, 32), looks(mask=Mask(right, NAMES)), looks(mask=Mask(off, NAMES)))
    found = gap.heads["mask"]
    assert isinstance(found, MaskGap)
    # Of 64 columns the first class has 32 of 40 that are it or are said to be, the second 24 of 32.
    assert found.miou == 1
    assert found.miou_change == pytest.approx((32 / 40 + 24 / 32) / 2 - 1)
    assert [row.partition(":")[0] for row in gap.offences("int8")][-1] == "change of mIoU"
    assert "mIoU with the labels: 1.0000, -0.2250" in str(found)


@pytest.mark.parametrize("unlabelled", [0, 2])
def test_without_a_mask_for_every_pair_there_is_no_miou(unlabelled: int) -> None:
    pairs = masked(32, 32, 32)
    pairs[unlabelled] = pairs[unlabelled]._replace(mask=None)
    mask = Mask(np.zeros((24, 32), np.uint8), NAMES)
    gap = measure(pairs, looks(mask=mask), looks(mask=mask))
    assert "miou" not in gap.figures()
    assert gap.offences("fp32") == []


def test_the_reference_works_once_for_all_others() -> None:
    calls = []

    def counted(infrared: U8, visible: U8) -> np.ndarray:
        calls.append(1)
        return mean(infrared, visible)

    gaps = measure_each(views(), Functions(counted), {"a": looks(0.01), "b": looks(0.1)})
    assert len(calls) == 3
    assert {key: gap.psnr_db for key, gap in gaps.items()} == pytest.approx({"a": 40, "b": 20}, abs=1e-3)
