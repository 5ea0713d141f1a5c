"""Published sets load from their own folders, without being rearranged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs import Labels, PairSource, load_pairs
from tdfusion_edge.pairs.layouts import LAYOUTS

# Layout, then for train and validation: folder of the infrared, of the visible and of the labels.
FOLDERS = {
    "msrs": {
        "train": ("train/ir", "train/vi", "train/Segmentation_labels"),
        "validation": ("test/ir", "test/vi", "test/Segmentation_labels"),
    },
    "fmb": {
        "train": ("train/Infrared", "train/Visible", "train/Label"),
        "validation": ("test/Infrared", "test/Visible", "test/Label"),
    },
    "llvip": {
        "train": ("infrared/train", "visible/train", "Annotations"),
        "validation": ("infrared/test", "visible/test", "Annotations"),
    },
}
TASK = ("person", "car")


def write_pair(root: Path, folders: tuple[str, str, str], name: str, level: int, mask: bool) -> None:
    """A pair of one level each, with a label of one class all over: 2 in a mask, else a person."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder, value in zip(folders[:2], (level, level + 1), strict=True):
        cv2.imwrite(str(root / folder / f"{name}.png"), np.full((40, 60), value, np.uint8))
    if mask:
        cv2.imwrite(str(root / folders[2] / f"{name}.png"), np.full((40, 60), 2, np.uint8))
    else:
        (root / folders[2] / f"{name}.xml").write_text(
            "<annotation><object><name>person</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>60</xmax>"
            "<ymax>40</ymax></bndbox></object></annotation>"
        )


def source(layout: str, part: str = "train", **more: object) -> PairSource:
    return PairSource(folder="set", layout=layout, part=part, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", FOLDERS)
def test_each_part_of_a_published_set_is_read_from_its_own_folders(tmp_path: Path, layout: str) -> None:
    is_mask = layout != "llvip"
    for level, (part, folders) in enumerate(FOLDERS[layout].items()):
        write_pair(tmp_path / "set", folders, part, 10 * level, is_mask)
    for level, part in enumerate(FOLDERS[layout]):
        (sample,) = load_pairs(tmp_path, source(layout, part), TASK)
        assert (sample.name, sample.infrared[0, 0], sample.visible[0, 0]) == (
            part,
            10 * level,
            10 * level + 1,
        )
        if is_mask:
            assert sample.mask is not None
            # Class 2 is a person in MSRS and a sidewalk, which the task does not know, in FMB.
            assert set(np.unique(sample.mask)) == {0 if layout == "msrs" else 255}
        else:
            assert sample.boxes is not None
            assert sample.boxes.corners.tolist() == [[0, 0, 60, 40]]


def test_a_set_without_parts_needs_a_list(tmp_path: Path) -> None:
    for name in ("00000", "00001", "00002"):
        write_pair(tmp_path / "set", ("Ir", "Vis", "Annotation"), name, 5, mask=False)
    task = ("person",)
    with pytest.raises(RequestError, match=r'm3fd is not divided.*expected names = "FILE"'):
        load_pairs(tmp_path, source("m3fd"), task)
    (tmp_path / "set" / "some.txt").write_text("00002\n00000\n")
    samples = load_pairs(tmp_path, source("m3fd", names="some.txt"), task)
    assert [sample.name for sample in samples] == ["00002", "00000"]
    assert all(sample.boxes is not None and len(sample.boxes.classes) == 1 for sample in samples)


def test_the_labels_of_a_source_stand_before_those_of_its_layout(tmp_path: Path) -> None:
    folders = ("train/ir", "train/vi", "train/boxes")
    write_pair(tmp_path / "set", folders, "a", 0, mask=False)
    labels = Labels(format="voc", path="{part}/boxes")
    (sample,) = load_pairs(tmp_path, source("msrs", labels=labels), TASK)
    assert sample.mask is None
    assert sample.boxes is not None


def test_a_folder_that_a_layout_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for layout, missing in (("fmb", "train/Infrared"), ("llvip", "infrared/train"), ("plain", "ir")):
        with pytest.raises(InputMissing, match=f"there is no folder .*set/{missing}$"):
            load_pairs(tmp_path, source(layout))


def test_a_list_is_told_apart_by_the_layouts_own_folder_names(tmp_path: Path) -> None:
    write_pair(tmp_path / "set", ("Ir", "Vis", "Annotation"), "a", 0, mask=False)
    (tmp_path / "set" / "some.txt").write_text("b\n")
    with pytest.raises(InputMissing, match=r"lacks the pair 'b': expected Ir/b\.\* and Vis/b\.\*"):
        load_pairs(tmp_path, source("m3fd", names="some.txt"))


def test_the_table_is_read_only_and_its_rows_are_those_of_the_recipe() -> None:
    with pytest.raises(TypeError):
        LAYOUTS["mine"] = LAYOUTS["plain"]  # type: ignore[index]
    assert set(LAYOUTS) == {"plain", *FOLDERS, "m3fd"}
    classes = {name: len(row.labels.classes) for name, row in LAYOUTS.items() if row.labels}
    # Table of the data sets in TDFusion, section 4.1: 8 + 1, 14 + 1, 6 and 1.
    assert classes == {"msrs": 9, "fmb": 15, "m3fd": 6, "llvip": 1}
