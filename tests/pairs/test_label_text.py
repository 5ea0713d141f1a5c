"""Label files as other programs write them: marks, encodings, notations, and what is left out or marked."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.pairs import Labels, PairSource, load_pairs
from tdfusion_edge.pairs.box_files import drawn_voc, drawn_yolo
from tdfusion_edge.pairs.coco_file import drawn_coco
from tdfusion_edge.pairs.mask_files import read_mask

WIDTH, HEIGHT = 100, 40


def written(folder: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "a"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def coco(**changes: Any) -> str:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}],
    }
    return json.dumps({**content, **changes})


def voc(name: str, *, declared: str = "", more: str = "") -> str:
    return (
        f"{declared}<annotation><object><name>{name}</name>{more}<bndbox><xmin>2</xmin><ymin>3</ymin>"
        "<xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_label(tmp_path: Path, encoding: str) -> None:
    assert drawn_coco(written(tmp_path, coco(), encoding))[0]["a"].names == ("dog",)
    assert drawn_yolo(written(tmp_path, "1 0.5 0.5 0.1 0.1", encoding), ("cat", "dog")).names == ("dog",)
    assert drawn_voc(written(tmp_path, voc("dog"), encoding)).names == ("dog",)


@pytest.mark.parametrize("sides", [(WIDTH, HEIGHT), (float(WIDTH), float(HEIGHT))])
@pytest.mark.parametrize("number", [1, 1.0, "1"])
@pytest.mark.parametrize("same", [1, 1.0, "1"])
def test_coco_s_numbers_are_numbers_in_any_notation(
    tmp_path: Path, sides: tuple[float, float], number: Any, same: Any
) -> None:
    images = [{"id": number, "file_name": "a.png", "width": sides[0], "height": sides[1]}]
    annotations = [
        {"image_id": same, "category_id": "3", "bbox": [1, 2, 3, 4], "iscrowd": crowd} for crowd in (0.0, 1.0)
    ]
    drawn = drawn_coco(written(tmp_path, coco(images=images, annotations=annotations)))[0]["a"]
    assert drawn.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(drawn.corners, [[1, 2, 4, 6]])
    assert drawn.crowds == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 1, "file_name": "a.png", "width": 3.5, "height": 4}]}, "whole numbers of pixels"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": "1", "file_name": "b"}]}, "has image 1 twice"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 3.0, "name": "b"}]}, "has category 3 twice"),
        ({"images": [{"id": "x", "file_name": "a.png"}]}, "annotation 0 belongs to nothing"),
    ],
)
def test_coco_s_numbers_that_are_none_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        drawn_coco(written(tmp_path, coco(**changes)))


@given(st.integers(0, 79), st.sampled_from(["{}", "{}.0", "{}e0", "{:.18e}", "+{}", "{}."]))
def test_a_class_is_a_whole_number_in_any_notation(
    tmp_path_factory: pytest.TempPathFactory, number: int, notation: str
) -> None:
    path = written(tmp_path_factory.getbasetemp(), f"{notation.format(number)} 0.5 0.5 0.2 0.2\n")
    assert drawn_yolo(path, [str(one) for one in range(80)]).names == (str(number),)


@pytest.mark.parametrize("name", ["行人", "person"])
@pytest.mark.parametrize("encoding", ["GBK", "gb2312", "utf-8", "UTF-16"])
def test_an_xml_declaration_says_how_names_are_written(tmp_path: Path, encoding: str, name: str) -> None:
    text = voc(name, declared=f'<?xml version="1.0" encoding="{encoding}"?>\n')
    assert drawn_voc(written(tmp_path, text, encoding)).names == (name,)


@pytest.mark.parametrize("declared", ["", '<?xml version="1.0"?>', '<?xml version="1.0" encoding="utf-8"?>'])
def test_a_name_in_another_encoding_is_refused_not_guessed(tmp_path: Path, declared: str) -> None:
    path = written(tmp_path, voc("行人", declared=declared), "gbk")
    with pytest.raises(RequestError, match=r'a name in another encoding .*(?s:.)*encoding="GBK"'):
        drawn_voc(path)
    # What is not needed may be in any.
    elsewhere = voc("person", declared=declared).replace("<annotation>", "<annotation><folder>行人</folder>")
    assert drawn_voc(written(tmp_path, elsewhere, "gbk")).names == ("person",)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "rot13", "idna", "utf-7", "unicode_escape", "zlib"])
def test_what_is_no_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(RequestError, match="cannot be decoded"):
        drawn_voc(written(tmp_path, voc("a", declared=f'<?xml version="1.0" encoding="{encoding}"?>')))


@pytest.mark.parametrize("encoding", ["utf-16", "gbk", "cp037", "utf-8"])
def test_no_encoding_hides_an_entity(tmp_path: Path, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "c">]><annotation/>'
    with pytest.raises(RequestError, match=r"a document type or entity|is no XML"):
        drawn_voc(written(tmp_path, text, encoding))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("ir", "vi", "voc"):
        (tmp_path / part).mkdir()
    for name in "ab":
        for part in ("ir", "vi"):
            cv2.imwrite(str(tmp_path / part / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
        text = voc("person", more="<difficult>1</difficult>" if name == "a" else "<difficult>0</difficult>")
        (tmp_path / "voc" / f"{name}.xml").write_text(text)
    return tmp_path


def test_difficult_objects_count_as_any_other_and_are_told_of(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = Labels(format="voc", path="voc")
    pairs = load_pairs(folder, PairSource(labels=labels), ("person",))
    assert [len(pair.boxes.corners) for pair in pairs if pair.boxes is not None] == [1, 1]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"labels in {folder / 'voc'}: 1 objects marked difficult, which count as any other"
    ]
    assert main(["dataset", "check", str(folder), "--labels", "voc:voc"]) == 0
    printed = capsys.readouterr().out
    assert "objects    person 2" in printed
    assert "note       1 objects marked difficult, which count as any other (a)" in printed


def test_crowds_are_left_out_and_told_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 20]}
    annotations = [{**crowd, "iscrowd": one} for one in (0, 1, 1)]
    (folder / "all.json").write_text(coco(annotations=annotations))
    assert main(["dataset", "check", str(folder), "--labels", "coco:all.json", "--json"]) == 1  # b has none
    found = json.loads(capsys.readouterr().out)
    assert found["objects"] == {"dog": 1}
    assert found["notes"] == {"crowds": ["a", "a"]}


def test_a_mask_that_claims_to_be_huge_is_refused_before_decoding(tmp_path: Path) -> None:
    raw = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
    (tmp_path / "m.png").write_bytes(raw[:16] + (30_000).to_bytes(4, "big") * 2 + raw[24:])
    with pytest.raises(SourceError, match=r"m\.png is larger than is taken.*30000x30000"):
        read_mask(tmp_path / "m.png")
