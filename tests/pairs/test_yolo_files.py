"""Label files: what YOLO lines mean, and lines that mean nothing; lists of classes likewise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs.source import parse_classes
from tdfusion_edge.pairs.yolo import read_yolo


def test_centre_and_sides_become_corners(tmp_path: Path) -> None:
    path = tmp_path / "1.txt"
    path.write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.25 0.5\r\n\r\n  2\t0.05 0.9 0.2  0.4 \n")
    classes, corners = read_yolo(path)
    assert (classes.dtype, corners.dtype) == (np.int64, np.float64)
    assert classes.tolist() == [0, 2]
    # The second one would begin left of the picture and end below it.
    assert corners == pytest.approx(np.array([[0.375, 0.25, 0.625, 0.75], [0, 0.7, 0.15, 1]]))


def test_an_empty_file_has_no_boxes(tmp_path: Path) -> None:
    (tmp_path / "1.txt").touch()
    classes, corners = read_yolo(tmp_path / "1.txt")
    assert (classes.shape, corners.shape) == ((0,), (0, 4))


def test_a_box_on_the_rim_without_area_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("0 1.0005 0.5 0.0001 0.5\n1 0.5 0.5 0.1 0.1\n")
    assert read_yolo(tmp_path / "1.txt")[0].tolist() == [1]


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 2, *[st.floats(1e-3, 1)] * 2), max_size=5))
def test_corners_are_ordered_and_inside(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[float, float, float, float]]
) -> None:
    path = tmp_path_factory.mktemp("labels") / "1.txt"
    path.write_text("".join(f"7 {' '.join(map(repr, box))}\n" for box in boxes))
    classes, corners = read_yolo(path)
    assert classes.tolist() == [7] * len(boxes)
    assert (corners[:, :2] < corners[:, 2:]).all()
    assert corners.min(initial=0) >= 0
    assert corners.max(initial=0) <= 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2", "4 fields"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "9 fields"),
        ("person 0.5 0.5 0.2 0.2", "no numbers"),
        ("0.5 0.5 0.5 0.2 0.2", "a class that is no whole number"),
        ("nan 0.5 0.5 0.2 0.2", "a class that is no whole number"),
        ("inf 0.5 0.5 0.2 0.2", "a class that is no whole number"),
        ("9999999999 0.5 0.5 0.2 0.2", "a class that is no whole number"),
        ("-1 0.5 0.5 0.2 0.2", "a class below 0"),
        ("0 320 240 64 48", "a centre outside of the picture"),
        ("0 nan 0.5 0.2 0.2", "a centre outside of the picture"),
        ("0 0.5 0.5 64 48", "sides that are no shares"),
        ("0 0.5 0.5 0 0.2", "sides that are no shares"),
        ("0 0.5 0.5 0.2 inf", "sides that are no shares"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "1.txt"
    path.write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(RequestError, match="line 2 is no YOLO box") as caught:
        read_yolo(path)
    assert reason in str(caught.value)
    assert line in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="there is no label file"):
        read_yolo(tmp_path / "1.txt")
    (tmp_path / "2.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="expected a text file of YOLO labels"):
        read_yolo(tmp_path / "2.txt")


def test_all_labels_of_msrs_are_read(data: Path) -> None:
    paths = sorted((data / "msrs" / "labels" / "fusion").glob("*.txt"))
    rows = [read_yolo(path) for path in paths]
    assert len(rows) == 302
    written = sum(bool(line.strip()) for path in paths for line in path.read_text().splitlines())
    assert sum(len(classes) for classes, _ in rows) == written > 1000
    # The README's median box of a person.
    persons = np.concatenate([corners[classes == 0] for classes, corners in rows]) * [640, 480, 640, 480]
    assert np.median(persons[:, 2:] - persons[:, :2], axis=0) == pytest.approx([21, 53], abs=1)


def test_classes_are_stripped_and_keep_their_numbers() -> None:
    assert parse_classes("person, traffic light ,Car") == ("person", "traffic light", "Car")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("person,,car", "got an empty one"),
        ("person, ", "got an empty one"),
        ("", "got an empty one"),
        ("car,person,Car", "got 'car' 2 times"),
    ],
)
def test_classes_whose_numbers_would_be_unclear_are_refused(text: str, got: str) -> None:
    with pytest.raises(RequestError, match=r"^--classes .*each once") as caught:
        parse_classes(text)
    assert got in str(caught.value)
