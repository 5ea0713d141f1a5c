"""One scene, labelled in every format from its definition, is one labelled pair."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.pairs import LabelledPair, Labels, PairSource, open_pairs

HEIGHT, WIDTH = 60, 100
NAMES = ("car", "person", "dog")
HEAD = ("Person", "bus", "CAR")
"""In another order, with one class that is not labelled, and without the dogs."""

Object = tuple[int, int, int, int, int]
"""Class, left, top, width and height in whole pixels."""


@st.composite
def objects(draw: st.DrawFn) -> list[Object]:
    found = []
    for _ in range(draw(st.integers(0, 5))):
        left, top = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
        sides = draw(st.integers(1, WIDTH - left)), draw(st.integers(1, HEIGHT - top))
        found.append((draw(st.integers(0, 2)), left, top, *sides))
    return found


def yolo(folder: Path, scenes: Mapping[str, Sequence[Object]]) -> Labels:
    """Centre and sides in shares of the picture, a line an object."""
    (folder / "yolo").mkdir()
    for name, scene in scenes.items():
        lines = [
            f"{k} {(x + w / 2) / WIDTH:.9f} {(y + h / 2) / HEIGHT:.9f} {w / WIDTH:.9f} {h / HEIGHT:.9f}"
            for k, x, y, w, h in scene
        ]
        (folder / "yolo" / f"{name}.txt").write_text("\n".join(lines))
    return Labels(format="yolo", path="yolo", classes=NAMES)


def voc(folder: Path, scenes: Mapping[str, Sequence[Object]]) -> Labels:
    """Pixels counted from 1, both ends in the box."""
    (folder / "voc").mkdir()
    for name, scene in scenes.items():
        found = "".join(
            f"<object><name>{NAMES[k]}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for k, x, y, w, h in scene
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>"
        (folder / "voc" / f"{name}.xml").write_text(f"<annotation>{size}{found}</annotation>")
    return Labels(format="voc", path="voc")


def coco(folder: Path, scenes: Mapping[str, Sequence[Object]]) -> Labels:
    """One file: left, top, width, height from corners, by numbers of pictures and categories."""
    content = {
        "images": [{"id": k, "file_name": f"{name}.png"} for k, name in enumerate(scenes)],
        "categories": [{"id": 10 + k, "name": name} for k, name in enumerate(NAMES)],
        "annotations": [
            {"image_id": number, "category_id": 10 + k, "bbox": box}
            for number, scene in enumerate(scenes.values())
            for k, *box in scene
        ],
    }
    (folder / "all.json").write_text(json.dumps(content))
    return Labels(format="coco", path="all.json")


def written(folder: Path, names: Sequence[str]) -> None:
    for side in ("ir", "vi"):
        (folder / side).mkdir()
        for name in names:
            cv2.imwrite(str(folder / side / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))


def of(folder: Path, labels: Labels) -> list[LabelledPair]:
    return list(open_pairs(folder, PairSource(labels=labels), HEAD))


@settings(max_examples=30)
@given(objects(), objects())
def test_the_same_boxes_are_the_same_labelled_pairs(first: list[Object], second: list[Object]) -> None:
    # A class that the head knows, so that labels without any are not refused.
    scenes = {"a": [(0, 3, 4, 20, 30), *first], "b": second}
    expected = {
        name: [
            (HEAD.index("CAR" if k == 0 else "Person"), x, y, x + w, y + h)
            for k, x, y, w, h in scene
            if k < 2
        ]
        for name, scene in scenes.items()
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, list(scenes))
        for write in (yolo, voc, coco):
            pairs = of(folder, write(folder, scenes))
            assert [pair.name for pair in pairs] == ["a", "b"]
            for pair in pairs:
                assert pair.boxes is not None
                assert pair.mask is None
                rows = np.c_[pair.boxes.classes, pair.boxes.corners]
                wanted = np.array(expected[pair.name], np.float64).reshape(-1, 5)
                assert np.allclose(rows, wanted, atol=1e-4), write.__name__


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_same_pixels_are_the_same_masks(seed: int) -> None:
    """Values, and colours; what does not count under a value of its own."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    colours = ("#102030", "#00ff00", "#fedcba")
    table = np.array([tuple(bytes.fromhex(one[1:]))[::-1] for one in colours], np.uint8)  # as BGR
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, ["a"])
        for name in ("grey", "three", "coloured"):
            (folder / name).mkdir()
        cv2.imwrite(str(folder / "grey" / "a.png"), np.where(values == 3, 200, values).astype(np.uint8))
        cv2.imwrite(str(folder / "three" / "a_mask.png"), cv2.merge([values] * 3))
        cv2.imwrite(str(folder / "coloured" / "a.png"), table[values % 3])
        grey = of(folder, Labels(format="mask", path="grey", classes=NAMES, ignore=200))[0]
        three = of(folder, Labels(format="mask", path="three", classes=NAMES, ignore=3))[0]
        coloured = of(folder, Labels(format="mask", path="coloured", classes=NAMES, colours=colours))[0]
    # car, person and dog, which is no class of the head, and what does not count
    wanted = np.array([2, 0, 255, 255], np.uint8)
    assert grey.boxes is None
    assert grey.mask is not None
    assert np.array_equal(grey.mask, wanted[values])
    assert np.array_equal(three.mask, wanted[values])
    assert np.array_equal(coloured.mask, wanted[values % 3])
