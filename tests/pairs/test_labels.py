"""Labels of every format end up as the same boxes and masks; what cannot be one is refused by name."""

from __future__ import annotations

import json
import logging
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.errors import ConfigError, InputMissing, RequestError, SourceError
from tdfusion_edge.pairs import LabelledPair, Labels, PairSource, load_pairs
from tdfusion_edge.pairs.mask_files import read_mask, require_classes

HEIGHT, WIDTH = 40, 100  # far from square, so that swapped sides show
TASK = ("car", "Person")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs, ``a`` and ``b``, and an empty folder for labels."""
    for part in ("ir", "vi", "labels"):
        (tmp_path / part).mkdir()
    for name in "ab":
        for part in ("ir", "vi"):
            cv2.imwrite(str(tmp_path / part / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    return tmp_path


def load(root: Path, kind: str, *classes: str, path: str = "labels", **more: int) -> list[LabelledPair]:
    labels = Labels(format=kind, path=path, classes=classes, **more)  # type: ignore[arg-type]
    return list(load_pairs(root, PairSource(folder=".", labels=labels), TASK))


def boxes(sample: LabelledPair) -> list[tuple[int, list[float]]]:
    assert sample.boxes is not None
    assert sample.boxes.corners.dtype == np.float32
    assert sample.boxes.classes.dtype == np.int64
    rounded = sample.boxes.corners.round(3).tolist()
    return list(zip(sample.boxes.classes.tolist(), rounded, strict=True))


def voc(*objects: tuple[str, float, float, float, float], size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    found = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{found}</annotation>"


def coco(**changes: object) -> str:
    content = {
        "images": [
            {"id": 7, "file_name": "vi/a.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "b.png"},
        ],
        "categories": [{"id": 18, "name": "person"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [20, 10, 60, 10], "area": 600},
            {"image_id": 7, "category_id": 2, "bbox": [1, 1, 5, 5]},
            {"image_id": 7, "category_id": 18, "bbox": [0, 0, 90, 30], "iscrowd": 1},
        ],
    }
    return json.dumps({**content, **changes})


def write_boxes(root: Path, kind: str) -> str:
    """A person at 20, 10, 80, 20 in ``a``, a class the task does not know, and nothing in ``b``."""
    folder = root / "labels"
    if kind == "yolo":
        (folder / "a.txt").write_text("1 0.5 0.375 0.6 0.25\n0 0.2 0.2 0.1 0.1\n")
        (folder / "b.txt").write_text("")
    elif kind == "voc":
        # Counted from 1 with both ends in the box.
        (folder / "a.xml").write_text(voc(("person", 21, 11, 80, 20), ("dog", 2, 2, 6, 6)))
        (folder / "b.xml").write_text(voc())
    else:
        (folder / "all.json").write_text(coco())
        return "labels/all.json"
    return "labels"


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco"])
def test_boxes_are_in_pixels_of_a_picture_that_is_not_square(root: Path, kind: str) -> None:
    path = write_boxes(root, kind)
    first, second = load(root, kind, *(("dog", "person") if kind == "yolo" else ()), path=path)
    assert boxes(first) == [(1, [20, 10, 80, 20])]
    assert second.boxes is not None
    assert second.boxes.corners.shape == (0, 4)
    assert first.mask is None


def test_without_a_task_labels_stay_unread(root: Path) -> None:
    labels = Labels(format="yolo", path="nowhere", classes=("car",))
    first, _ = load_pairs(root, PairSource(folder=".", labels=labels))
    assert first.boxes is None
    assert first.mask is None


def test_boxes_are_clipped_and_what_has_no_area_is_left_out(root: Path) -> None:
    objects = [
        ("car", -20, -20, 10, 10),
        ("car", 50, 30, 40, 35),
        ("car", 101, 1, 150, 30),
        ("car", 9, 9, 9, 30),
    ]
    (root / "labels" / "a.xml").write_text(voc(*objects))  # type: ignore[arg-type]
    (root / "labels" / "b.xml").write_text(voc())
    # The second is turned round, the third stands beside the picture, the last is one pixel wide.
    assert boxes(load(root, "voc")[0]) == [(0, [0, 0, 10, 10]), (0, [8, 8, 9, 30])]


def test_a_missing_label_is_named_and_no_empty_one(root: Path) -> None:
    (root / "labels" / "a.txt").write_text("")
    with pytest.raises(InputMissing, match=r"labels lacks b\.txt: got 1 pictures"):
        load(root, "yolo", "car")
    (root / "labels" / "a.txt").unlink()
    with pytest.raises(InputMissing, match=r"labels has no label of any of 2 pictures: expected a\.txt"):
        load(root, "yolo", "car")
    with pytest.raises(InputMissing, match=r"there is no folder of labels .*elsewhere"):
        load(root, "voc", path="elsewhere")


@pytest.mark.parametrize(
    "line", ["0 0.5 0.5 0.1", "car 0.5 0.5 0.1 0.1", "0 1.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1", "-1 0 0 1 1"]
)
def test_a_line_that_is_no_box_is_named(root: Path, line: str) -> None:
    (root / "labels" / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    (root / "labels" / "b.txt").write_text("")
    with pytest.raises(RequestError, match=r"a\.txt, line 2"):
        load(root, "yolo", "car")


def test_yolo_classes_need_names(root: Path) -> None:
    for name in "ab":
        (root / "labels" / f"{name}.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    with pytest.raises(ConfigError, match="expected classes, their names in the order of their numbers"):
        load(root, "yolo")
    with pytest.raises(RequestError, match=r"a\.txt has a class without a name: expected 0 to 1 .*got 2"):
        load(root, "yolo", "car", "dog")


def test_labels_without_any_class_of_the_task_are_refused(root: Path) -> None:
    path = write_boxes(root, "coco")
    (root / path).write_text(coco(categories=[{"id": 18, "name": "cat"}, {"id": 2, "name": "dog"}]))
    with pytest.raises(RequestError, match="no class of the task: expected car, Person, got cat, dog"):
        load(root, "coco", path=path)


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco", "mask"])
def test_classes_that_the_task_does_not_know_are_named_in_the_log(
    root: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    if kind == "mask":
        path, word = "labels", "ignored"
        for name in "ab":
            cv2.imwrite(str(root / "labels" / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    else:
        path, word = write_boxes(root, kind), "left out"
    load(root, kind, *(("dog", "person") if kind in ("yolo", "mask") else ()), path=path)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    expected = f"{path}: {word} dog, which the task (car, Person) does not know"
    assert record.getMessage().endswith(
        f"{expected}; left out 1 boxes around crowds" if kind == "coco" else expected
    )


def test_classes_that_the_task_knows_are_no_news(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "ab":
        (root / "labels" / f"{name}.txt").write_text("")
    load(root, "yolo", "PERSON", "car")
    load(root, "yolo", "person")
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "is no XML"),
        (voc(("car", 1, 1, float("nan"), 5)), "object 1 is no VOC object"),
        ("<annotation><object><name>car</name></object></annotation>", "object 1 is no VOC object"),
        (voc(("car", 1, 1, 5, 5), size=(HEIGHT, WIDTH)), "another size: expected 100x40, got 40x100"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "is refused: expected plain VOC XML"),
        ('<!doctype a SYSTEM "/etc/passwd"><annotation/>', "is refused: expected plain VOC XML"),
    ],
)
def test_xml_that_is_no_voc_file_is_refused(root: Path, text: str, message: str) -> None:
    (root / "labels" / "a.xml").write_text(text)
    (root / "labels" / "b.xml").write_text(voc())
    with pytest.raises(RequestError, match=message):
        load(root, "voc")


def test_an_encoding_cannot_hide_a_document_type(root: Path) -> None:
    hidden = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a []><annotation/>'.encode("utf-16")
    (root / "labels" / "a.xml").write_bytes(hidden)
    (root / "labels" / "b.xml").write_text(voc())
    with pytest.raises(RequestError, match="got a document type or entity"):
        load(root, "voc")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 7}]}, r"missing required field `file_name` - at `\$\.images\[0\]`"),
        (
            {"annotations": [{"image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1]}]},
            "annotation 0 belongs to",
        ),
        (
            {"annotations": [{"image_id": 7, "category_id": 2, "bbox": [0, 0, 1]}]},
            r"`array` of length 4 - at `\$\.annotations\[0\]\.bbox`",
        ),
        (
            {"images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "x/a.jpg"}]},
            "two pictures 'a'",
        ),
    ],
)
def test_a_coco_file_that_cannot_be_used_says_where(
    root: Path, changes: dict[str, object], message: str
) -> None:
    (root / "labels" / "all.json").write_text(coco(**changes))
    with pytest.raises(RequestError, match=message):
        load(root, "coco", path="labels/all.json")


def test_a_picture_that_a_coco_file_does_not_know_has_no_label(root: Path) -> None:
    (root / "labels" / "all.json").write_text(coco(images=[{"id": 7, "file_name": "a.png"}]))
    with pytest.raises(InputMissing, match=r"lacks an image with file_name 'b\.\*'"):
        load(root, "coco", path="labels/all.json")
    with pytest.raises(InputMissing, match=r"nowhere\.json cannot be read"):
        load(root, "coco", path="nowhere.json")


def png(values: np.ndarray, kind: int, bits: int = 8) -> bytes:
    """A PNG written out by hand: grey (0) or with a palette (3), of 1 to 8 bits."""
    packed = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(len(values), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, kind, 0, 0, 0)
    palette = np.random.default_rng(1).integers(0, 256, 3 * 2**bits, dtype=np.uint8).tobytes()
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
        if name != b"PLTE" or kind == 3
    )


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([0, 3]),
    st.integers(0, 2**32 - 1),
    st.tuples(*2 * [st.integers(1, 9)]),
)
def test_a_mask_gives_the_values_that_are_stored(
    bits: int, kind: int, seed: int, size: tuple[int, int]
) -> None:
    values = np.random.default_rng(seed).integers(0, 2**bits, size, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(png(values, kind, bits))
        assert np.array_equal(read_mask(path), values)


def test_mask_values_become_classes_of_the_task(root: Path) -> None:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[:10], values[10:20], values[20:30] = 1, 2, 9
    for name in ("a", "b_mask"):
        cv2.imwrite(str(root / "labels" / f"{name}.png"), values)
    first, second = load(root, "mask", "road", "person", "car", ignore=9)
    assert first.boxes is None
    assert first.mask is not None
    assert second.mask is not None
    # person is 1 in the task and car 0; the road is no class of it.
    assert [int(first.mask[row, 0]) for row in (0, 10, 20, 30)] == [1, 0, 255, 255]
    assert np.array_equal(first.mask, second.mask)


def test_a_class_may_be_what_does_not_count(root: Path) -> None:
    for name in "ab":
        cv2.imwrite(str(root / "labels" / f"{name}.png"), np.eye(HEIGHT, WIDTH, dtype=np.uint8))
    first = load(root, "mask", "car", "person", ignore=0)[0]
    assert first.mask is not None
    assert np.array_equal(first.mask, np.where(np.eye(HEIGHT, WIDTH), 1, 255))


def test_masks_that_do_not_fit_are_refused(root: Path) -> None:
    path = root / "labels" / "a.png"
    cv2.imwrite(str(root / "labels" / "b.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    for picture, message in (
        (
            np.zeros((WIDTH, HEIGHT), np.uint8),
            r"a\.png does not fit its picture: expected 100x40, got 40x100",
        ),
        (
            np.full((HEIGHT, WIDTH), 2, np.uint8),
            r"a\.png has values without a class: expected 0 to 1 .*got 2",
        ),
        (np.zeros((HEIGHT, WIDTH), np.uint16), r"a\.png is no mask: expected 8 bits or fewer, got 16 bits"),
        (np.full((HEIGHT, WIDTH, 3), (0, 0, 9), np.uint8), r"a\.png is a coloured picture"),
    ):
        cv2.imwrite(str(path), picture)
        with pytest.raises(RequestError, match=message):
            load(root, "mask", "road", "car")
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 1, np.uint8))
    assert load(root, "mask", "road", "car")[0].mask is not None


def test_a_file_that_is_no_whole_png_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((8, 8), np.uint8))
    (tmp_path / "a.jpg").rename(path)
    with pytest.raises(RequestError, match=r"a\.png is no PNG file"):
        read_mask(path)
    whole = png(np.zeros((8, 8), np.uint8), 3)
    for length in (20, len(whole) - 8):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"a\.png is cut short"):
            read_mask(path)
    with pytest.raises(InputMissing, match=r"there is no mask .*b\.png"):
        read_mask(tmp_path / "b.png")


def test_black_and_white_are_two_classes_unless_white_does_not_count() -> None:
    values = np.array([[0, 255, 255]], np.uint8)
    two = ("plant", "soil")
    assert require_classes(Path("a.png"), values, two, ignore=254).tolist() == [[0, 1, 1]]
    assert require_classes(Path("a.png"), values, two, ignore=255).tolist() == [[0, 255, 255]]
    with pytest.raises(RequestError, match="got 255"):
        require_classes(Path("a.png"), values, (*two, "stone"), ignore=254)


def test_real_boxes_and_masks_load(data: Path) -> None:
    task = ("person", "car")
    labels = Labels(format="yolo", path="labels/fusion", classes=("person", "bicycle", "car"))
    source = PairSource(folder="msrs", names="split_val.txt", labels=labels)
    samples = load_pairs(data, source, task)
    assert len(samples) == 60
    classes = np.concatenate([sample.boxes.classes for sample in samples if sample.boxes is not None])
    assert set(classes.tolist()) == {0, 1}
    assert not any(sample.boxes is None for sample in samples)


def test_real_masks_load(data: Path) -> None:
    task = ("soil", "plant")
    labels = Labels(format="mask", path="masks", classes=("plant", "soil"), ignore=254)
    samples = load_pairs(data, PairSource(folder="cwfid", every=20, labels=labels), task)
    for sample in samples:
        assert sample.mask is not None
        # Plants are the smaller part, and brighter than soil in the near infrared.
        plant = sample.mask == 1
        assert 0 < plant.mean() < 0.5
        assert sample.infrared[plant].mean() > sample.infrared[~plant].mean() + 20


def test_colours_stand_for_classes(tmp_path: Path) -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[1, 2] = (0, 255, 0)  # BGR
    picture[2, 3] = (3, 2, 255)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    numbers = read_mask(tmp_path / "a.png", ("#000000", "#00FF00", "#ff0203"))
    assert (numbers[1, 2], numbers[2, 3], int(numbers.sum())) == (1, 2, 3)
    with pytest.raises(RequestError, match=r"colour without a class: .*got #ff0203 at \(3, 2\)"):
        read_mask(tmp_path / "a.png", ("#000000", "#00ff00"))


def test_stems_may_stand_in_the_recipe_itself(data: Path) -> None:
    source = PairSource(folder="msrs", names=("00209D", "00004N"))
    assert [sample.name for sample in load_pairs(data, source)] == ["00209D", "00004N"]


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_colours_of_a_palette_stand_for_classes(tmp_path: Path, bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint8).reshape(2, -1)
    stored = png(values, 3, bits)
    (tmp_path / "a.png").write_bytes(stored)
    start = stored.index(b"PLTE") + 4
    colours = [f"#{stored[start + 3 * index :][:3].hex()}" for index in range(2**bits)]
    assert np.array_equal(read_mask(tmp_path / "a.png", colours[::-1]), 2**bits - 1 - values)


def test_grey_has_no_colours(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.zeros((2, 2), np.uint8), 0))
    with pytest.raises(RequestError, match=r"a\.png is a grey mask: expected the colours"):
        read_mask(tmp_path / "a.png", ("#000000", "#00ff00"))
