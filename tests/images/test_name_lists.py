"""Lists of names and names of files: a line is a stem, and names that look equal are equal."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.cli import main
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.images import by_stem, natural_order, read_names
from tdfusion_edge.pairs import Labels, PairSource, open_pairs

STEMS = ("scene 1", "scene 2", "b", "c", " edge ")


def listed(folder: Path, text: str | bytes, known: tuple[str, ...] = STEMS) -> list[str]:
    path = folder / "names.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_names(path, known)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("scene 1\nscene 2\nb\n", ["scene 1", "scene 2", "b"]),
        ("  scene 1\t\r\n\r\nb", ["scene 1", "b"]),
        ("b c\nscene 1", ["b", "c", "scene 1"]),
        (" edge \n", [" edge "]),
        ("\ufeffb\n", ["b"]),
        ("b lost\n", ["b lost"]),
        ("scene  1", ["scene  1"]),
    ],
)
def test_a_line_is_a_stem_or_stems(tmp_path: Path, text: str, names: list[str]) -> None:
    assert listed(tmp_path, text) == names


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_says_how_a_list_is_written(tmp_path: Path, encoding: str) -> None:
    assert listed(tmp_path, "scene 1\nb\n".encode(encoding)) == ["scene 1", "b"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1), unique=True))
def test_what_is_there_is_found_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, stems: list[str]
) -> None:
    known = {unicodedata.normalize("NFC", stem) for stem in stems if stem.strip()}
    if known:
        path = tmp_path_factory.getbasetemp() / "names.txt"
        path.write_text("\n".join(known), encoding="utf-8")
        assert read_names(path, known) == list(known)


def pictures(folder: Path, *stems: str) -> None:
    folder.mkdir(exist_ok=True)
    for stem in stems:
        cv2.imwrite(str(folder / f"{stem}.png"), np.zeros((8, 8), np.uint8))


NFC, NFD = unicodedata.normalize("NFC", "façade é 2"), unicodedata.normalize("NFD", "façade é 2")


def test_names_that_look_equal_are_one_pair_with_its_label(tmp_path: Path) -> None:
    pictures(tmp_path / "ir", NFC)
    pictures(tmp_path / "vi", NFD)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / f"{NFD}.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "list.txt").write_text(f"{NFD}\n", encoding="utf-8")
    labels = Labels(format="yolo", path="lab", classes=("a",))
    for names in ("list.txt", (NFD,), (NFC,), None):
        pairs = open_pairs(tmp_path, PairSource(labels=labels, names=names), ("a",))
        assert pairs.names == [NFC]
        boxes = pairs[0].boxes
        assert boxes is not None
        assert len(boxes.corners) == 1
    pictures(tmp_path / "both", NFC, NFD)
    with pytest.raises(RequestError, match="two files of one stem"):
        by_stem(tmp_path / "both")
    assert natural_order(Path(f"{NFC}.png")) == natural_order(Path(f"{NFD}.png"))


def test_fuse_pairs_names_that_look_equal(tmp_path: Path, mean_bundle_path: Path) -> None:
    for side, stem in (("a", NFC), ("b", NFD)):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / f"{stem}.png"), np.zeros((40, 40), np.uint8))
    out = tmp_path / "out"
    call = ["fuse", tmp_path / "a", tmp_path / "b", "-o", out, "--bundle", mean_bundle_path]
    assert main([str(one) for one in call]) == 0
    assert [path.name for path in out.iterdir()] == [f"{NFC}.png"]


def test_many_missing_names_are_not_all_printed(tmp_path: Path) -> None:
    for side in ("ir", "vi"):
        pictures(tmp_path / side, "there")
    (tmp_path / "list.txt").write_text("\n".join(f"lost{number}" for number in range(150_000)))
    with pytest.raises(
        InputMissing, match=r"150000 pairs lacking: lost0, .*lost4 and 149,995 more"
    ) as caught:
        open_pairs(tmp_path, PairSource(names="list.txt"))
    assert len(str(caught.value)) < 500


def test_many_without_partner_are_not_all_printed(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "x.png"), np.zeros((40, 40), np.uint8))
    for number in range(50):
        (tmp_path / "a" / f"alone{number}.png").touch()
    call = ["fuse", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "o", "--bundle", mean_bundle_path]
    assert main([str(one) for one in call]) == 0
    said = capsys.readouterr().err
    expected = f"50 without partner in {tmp_path / 'a'}: alone0, alone1, alone2, alone3, alone4 and 45 more\n"
    assert expected in said


def test_the_longest_names_are_read_with_their_labels(tmp_path: Path) -> None:
    stem = "n" * 251
    for side in ("ir", "vi"):
        pictures(tmp_path / side, stem)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / f"{stem}.txt").write_text("")
    assert open_pairs(tmp_path, PairSource(labels=Labels(format="yolo", path="lab", classes=("a",)))).names
    masks = Labels(format="mask", path="lab", classes=("a",))
    with pytest.raises(InputMissing, match="has no label of any of 1 pictures"):
        open_pairs(tmp_path, PairSource(labels=masks), ("a",))
