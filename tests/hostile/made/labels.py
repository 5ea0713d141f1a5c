"""Data folders with labels, as a command line of ``dataset check``, and checks of its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hostile.case import Check, Run, Wrong
from hostile.made.commands import picture_folder

CLASSES = "person,car"
BOX = "0 0.5 0.5 0.25 0.25\n"
VOC = (
    "<annotation><size><width>64</width><height>48</height></size><object><name>{name}</name>{more}<bndbox>"
    "<xmin>{xmin}</xmin><ymin>9</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object></annotation>"
)


def checking(*more: str, count: int = 1) -> list[str]:
    """The command line."""
    return ["dataset", "check", ".", *more, "--json"]


def yolo(content: str | bytes, *more: str) -> Callable[[Path], Sequence[object]]:
    """A maker of one pair with such a YOLO file."""
    return labelled("1.txt", content, "--labels", "yolo:lab", "--classes", CLASSES, *more)


def voc(content: str | bytes) -> Callable[[Path], Sequence[object]]:
    """A maker of one pair with such a VOC file."""
    return labelled("1.xml", content, "--labels", "voc:lab")


def mask(content: bytes | Callable[[], bytes], *more: str) -> Callable[[Path], Sequence[object]]:
    """A maker of one pair with such a mask, of the classes ground and plant."""
    return labelled("1.png", content, "--labels", "mask:lab", "--classes", "ground,plant", *more)


def labelled(
    name: str, content: str | bytes | Callable[[], bytes], *options: str
) -> Callable[[Path], Sequence[object]]:
    """A maker of one pair with a file in the folder ``lab``."""

    def make(folder: Path) -> list[str]:
        for what in ("infrared", "visible"):
            picture_folder(folder, what, 1)
        (folder / "lab").mkdir()
        raw = content() if callable(content) else content
        (folder / "lab" / name).write_bytes(raw.encode() if isinstance(raw, str) else raw)
        return checking(*options)

    return make


def coco(content: Any, raw: bytes | None = None) -> Callable[[Path], Sequence[object]]:
    """A maker of one pair with such a COCO file."""

    def make(folder: Path) -> list[str]:
        for what in ("infrared", "visible"):
            picture_folder(folder, what, 1)
        (folder / "lab.json").write_bytes(json.dumps(content).encode() if raw is None else raw)
        return checking("--labels", "coco:lab.json")

    return make


def coco_of(box: Any = (4, 4, 20, 20), **changes: Any) -> dict[str, Any]:
    """A COCO file with one box, but for changes of its three lists."""
    usual: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": box}],
        "categories": [{"id": 7, "name": "person"}],
    }
    return usual | changes


def listed(content: bytes, stems: Sequence[str]) -> Callable[[Path], Sequence[object]]:
    """A maker of pairs of these stems and a list ``train.txt``."""

    def make(folder: Path) -> list[str]:
        for what, name in (("infrared", "ir"), ("visible", "vi")):
            raw = (picture_folder(folder, what, 1) / "1.png").read_bytes()
            (folder / name / "1.png").unlink()
            for stem in stems:
                (folder / name / f"{stem}.png").write_bytes(raw)
        (folder / "train.txt").write_bytes(content)
        return checking("--names", "train.txt")

    return make


def report_says(**wanted: Any) -> Check:
    """A check of fields of the report; ``faults`` are compared by their kinds alone."""

    def check(folder: Path, run: Run) -> None:
        report: Mapping[str, Any] = json.loads(run.out)
        for key, value in wanted.items():
            got = sorted(report["faults"]) if key == "faults" else report[key]
            if got != value:
                raise Wrong(f"{key} is {got}, not {value}")

    return check
