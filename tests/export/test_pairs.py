"""Which pairs an export calibrates on and which it measures on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_edge.bundle import Precision
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.export.pairs import Pairs, choose_pairs
from tdfusion_edge.pairs import Labels

LOW: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pairs a to e, whose level says which one it is."""
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        for level, name in enumerate("abcde"):
            cv2.imwrite(str(tmp_path / side / f"{name}.png"), np.full((32, 32), level, np.uint8))
    return tmp_path


def listed(folder: Path, name: str, stems: str) -> str:
    (folder / name).write_text("\n".join(stems))
    return name


def stems(pairs: Pairs) -> tuple[str, str]:
    return "".join(one.name for one in pairs.measured), "".join(one.name for one in pairs.calibrating)


def test_int8_is_measured_on_none_of_the_pairs_that_it_was_calibrated_on(folder: Path) -> None:
    pairs = choose_pairs(folder, None, None, LOW)
    assert stems(pairs) == ("ace", "bd")
    assert [int(one.visible[0, 0]) for one in pairs.measured] == [0, 2, 4]
    assert pairs.in_words("fp16") == f"3 pairs of {folder.name}"
    assert pairs.in_words("int8") == f"3 pairs of {folder.name}, calibrated on 2 others"


def test_a_list_of_its_own_leaves_the_others_to_be_measured(folder: Path) -> None:
    calibration = listed(folder, "cal.txt", "db")
    assert stems(choose_pairs(folder, None, calibration, LOW)) == ("ace", "db")
    assert stems(choose_pairs(folder, listed(folder, "val.txt", "ea"), calibration, LOW)) == ("ea", "db")


def test_without_int8_every_pair_is_measured(folder: Path) -> None:
    assert stems(choose_pairs(folder, None, None, ("fp32", "fp16"))) == ("abcde", "")
    assert choose_pairs(folder, None, None, ("fp32",)) == Pairs((), (), "")


def test_the_simulated_pairs_are_split_as_well() -> None:
    pairs = choose_pairs(None, None, None, LOW)
    names = [[one.name for one in part] for part in (pairs.measured, pairs.calibrating)]
    assert [len(part) for part in names] == [4, 4]
    assert not set(names[0]) & set(names[1])
    assert pairs.in_words("int8") == "4 simulated pairs, calibrated on 4 others"


def test_lists_that_prove_nothing_are_refused(folder: Path) -> None:
    few, all_, one = (listed(folder, name, text) for name, text in (("f", "cd"), ("a", "abcde"), ("o", "c")))
    for names, calibration, precisions, message in (
        (all_, few, LOW, r"--calibration f and --names a share 2 pairs: .* got c, d"),
        (None, all_, LOW, "--calibration a takes every pair"),
        (one, None, LOW, "expected two, got one"),
        (None, few, ("fp32", "fp16"), "--calibration f: expected --precision with int8"),
    ):
        with pytest.raises(RequestError, match=message):
            choose_pairs(folder, names, calibration, precisions)  # type: ignore[arg-type]
    with pytest.raises(InputMissing, match="lacks the pair 'x'"):
        choose_pairs(folder, None, listed(folder, "lost", "ax"), LOW)


def test_only_what_is_measured_needs_labels(folder: Path) -> None:
    """In the classes of the head that they are for, whichever heads there are."""
    (folder / "boxes").mkdir()
    (folder / "masks").mkdir()
    for name in "ace":
        (folder / "boxes" / f"{name}.txt").write_text("1 0.5 0.5 0.5 0.5\n")
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), np.eye(32, dtype=np.uint8))
    heads = {"boxes": ("person", "car"), "mask": ("weed", "soil")}
    given = (
        Labels(format="yolo", path="boxes"),
        Labels(format="mask", path="masks", classes=("soil", "weed")),
    )
    boxes, masks = (choose_pairs(folder, None, None, LOW, labels=one, heads=heads) for one in given)
    assert stems(boxes) == stems(masks) == ("ace", "bd")
    assert [one.boxes.classes.tolist() for one in boxes.measured if one.boxes is not None] == [[1]] * 3
    assert all(np.array_equal(one.mask, 1 - np.eye(32)) for one in masks.measured)
    assert {(one.boxes, one.mask) for one in (*boxes.calibrating, *masks.calibrating)} == {(None, None)}


def test_labels_that_nothing_can_be_measured_by_are_refused(folder: Path) -> None:
    labels, boxes = Labels(format="mask", path="masks"), {"boxes": ("car",)}
    for precisions, message in (
        (("fp32",), "--labels mask:masks: expected --precision with fp16 or int8"),
        (LOW, "no segmentation network to score: .* got a detector"),
    ):
        with pytest.raises(RequestError, match=message):
            choose_pairs(folder, None, None, precisions, labels=labels, heads=boxes)
