"""Labelled boxes as other programs write them: YOLO text, COCO JSON, PASCAL VOC XML."""

from __future__ import annotations

import math

# Only text without document type or entities reaches the parser (see ``_parse_xml``).
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs.yolo import read_yolo


class Drawn(NamedTuple):
    """What a label file says about one picture, before its size is known."""

    corners: npt.NDArray[np.float64]
    """(N, 4), x1 y1 x2 y2 from corner to corner, neither clipped nor checked for sense."""
    names: tuple[str, ...]
    """N class names."""
    size: tuple[int, int] | None = None
    """Width and height that the file states; (1, 1) where the corners are shares of the picture."""


def drawn_yolo(path: Path, classes: Sequence[str]) -> Drawn:
    """One picture's YOLO text file.

    Raises:
        InputMissing: there is no such file.
        RequestError: a line is no box, or its class has no name.
    """
    ids, shares = read_yolo(path)
    beyond = ids[ids >= len(classes)]
    if len(beyond):
        raise RequestError(
            f"{path} has a class without a name",
            expected=f"0 to {len(classes) - 1} ({', '.join(classes)})",
            got=str(beyond[0]),
            hint="Name every class of the labels, in the order of their numbers.",
        )
    return Drawn(shares, tuple(classes[index] for index in ids), (1, 1))


def drawn_voc(path: Path) -> Drawn:
    """One picture's VOC XML file.

    VOC counts pixels from 1 and both ends belong to the box, so ``xmin - 1`` and ``xmax`` are its edges.
    A program that counts from 0 writes boxes one pixel further to the left and top, which stays unseen.

    Raises:
        InputMissing: there is no such file.
        RequestError: it is no VOC file, or has a document type of its own.
    """
    root = _parse_xml(path)
    corners, names = [], []
    for number, found in enumerate(root.iter("object"), 1):
        name = (found.findtext("name") or "").strip()
        texts = [found.findtext(f"bndbox/{key}") or "" for key in ("xmin", "ymin", "xmax", "ymax")]
        try:
            box = [float(text) for text in texts]
        except ValueError:
            box = [math.nan]
        if not name or not all(map(math.isfinite, box)):
            raise RequestError(
                f"{path}, object {number} is no VOC object",
                expected="a name and bndbox with xmin, ymin, xmax, ymax",
                got=f"name '{name}' and bndbox {', '.join(texts)}",
            )
        corners.append([box[0] - 1, box[1] - 1, box[2], box[3]])
        names.append(name)
    return Drawn(np.asarray(corners, np.float64).reshape(-1, 4), tuple(names), _voc_size(root))


def _parse_xml(path: Path) -> ET.Element:
    try:
        # Folder names inside the file are often written in another encoding, and not needed.
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except FileNotFoundError as error:
        raise InputMissing(f"there is no label file {path}") from error
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        # Entities can name other files, or grow without bound.
        raise RequestError(f"{path} is refused", expected="plain VOC XML", got="a document type or entity")
    try:
        # From text, so that the encoding that the file claims cannot hide a declaration.
        return ET.fromstring(text)  # noqa: S314
    except (ET.ParseError, ValueError) as error:
        raise RequestError(f"{path} is no XML: {error}", expected="a VOC XML file") from error


def _voc_size(root: ET.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(root.findtext(f"size/{key}") or 0) for key in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


class _CocoImage(msgspec.Struct):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _CocoCategory(msgspec.Struct):
    id: int | str
    name: str


class _CocoBox(msgspec.Struct):
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool = 0


class _Coco(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoBox]
    categories: list[_CocoCategory]


def drawn_coco(path: Path) -> tuple[Mapping[str, Drawn], tuple[str, ...]]:
    """All pictures of a COCO file by stem, and the names of its categories.

    Boxes around crowds are left out: they stand for no single object.

    Raises:
        InputMissing: there is no such file.
        RequestError: it is no COCO file with boxes, names one stem twice, or a box's picture or category
            is not in it.
    """
    try:
        coco = msgspec.json.decode(path.read_bytes(), type=_Coco)
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}", expected="a COCO JSON file") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(f"{path} is no COCO file with boxes: {error}") from error
    categories = {category.id: category.name for category in coco.categories}
    corners, names = defaultdict(list), defaultdict(list)
    known = {image.id for image in coco.images}
    for number, box in enumerate(coco.annotations):
        if box.image_id not in known or box.category_id not in categories:
            raise RequestError(
                f"{path}, annotation {number} belongs to nothing",
                expected="an image_id and category_id of the file",
                got=f"{box.image_id} and {box.category_id}",
            )
        if not box.iscrowd:
            left, top, width, height = box.bbox
            corners[box.image_id].append((left, top, left + width, top + height))
            names[box.image_id].append(categories[box.category_id])
    drawn: dict[str, Drawn] = {}
    for image in coco.images:
        stem = PurePosixPath(image.file_name.replace("\\", "/")).stem
        if stem in drawn:
            raise RequestError(f"{path} names two pictures '{stem}'", expected="one of a stem")
        size = (image.width, image.height) if image.width and image.height else None
        boxes = np.asarray(corners[image.id], np.float64).reshape(-1, 4)
        drawn[stem] = Drawn(boxes, tuple(names[image.id]), size)
    return drawn, tuple(categories.values())
