"""Labelled boxes of a whole set as COCO JSON has them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import msgspec
import numpy as np

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs.drawn import Drawn
from tdfusion_edge.text import composed, decoded

Number: TypeAlias = int | float
"""Of pixels, or 0 and 1: pandas writes a column of whole numbers with a gap in it as 320.0."""
Id: TypeAlias = int | float | str


class _Image(msgspec.Struct):
    id: Id
    file_name: str
    width: Number | None = None
    height: Number | None = None


class _Category(msgspec.Struct):
    id: Id
    name: str


class _Box(msgspec.Struct):
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    iscrowd: Number | bool | None = 0


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Box]
    categories: list[_Category]


def drawn_coco(path: Path) -> tuple[Mapping[str, Drawn], tuple[str, ...]]:
    """All pictures of a COCO file by composed stem, and the names of its categories.

    Boxes around crowds are left out: they stand for no single object.

    Raises:
        InputMissing: there is no such file.
        RequestError: it is no COCO file with boxes, names one stem or id twice, states a size that is no
            whole number, or a box's picture or category is not in it.
    """
    coco = _read(path)
    categories = {_id(category.id): category.name for category in coco.categories}
    known = {_id(image.id) for image in coco.images}
    _refuse_twice(path, "category", (_id(category.id) for category in coco.categories))
    _refuse_twice(path, "image", (_id(image.id) for image in coco.images))
    corners, names = defaultdict(list), defaultdict(list)
    crowds: Counter[str] = Counter()
    for number, box in enumerate(coco.annotations):
        image, category = _id(box.image_id), _id(box.category_id)
        if image not in known or category not in categories:
            raise RequestError(
                f"{path}, annotation {number} belongs to nothing",
                expected="an image_id and category_id of the file",
                got=f"{box.image_id} and {box.category_id}",
            )
        if box.iscrowd:
            crowds[image] += 1
            continue
        left, top, width, height = box.bbox
        corners[image].append((left, top, left + width, top + height))
        names[image].append(categories[category])
    drawn: dict[str, Drawn] = {}
    for one in coco.images:
        image, stem = _id(one.id), composed(PurePosixPath(one.file_name.replace("\\", "/")).stem)
        if stem in drawn:
            raise RequestError(f"{path} names two pictures '{stem}'", expected="one of a stem")
        boxes = np.asarray(corners[image], np.float64).reshape(-1, 4)
        drawn[stem] = Drawn(boxes, tuple(names[image]), _size(path, one), crowds=crowds[image])
    return drawn, tuple(categories.values())


def _read(path: Path) -> _Coco:
    try:
        return msgspec.json.decode(decoded(path.read_bytes()), type=_Coco)
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}", expected="a COCO JSON file") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{path} is no COCO file with boxes: {error}") from error


def _id(value: Id) -> str:
    """An id as it is compared: 7, 7.0 and "7" are one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _refuse_twice(path: Path, what: str, ids: Iterable[str]) -> None:
    twice = next((one for one, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise RequestError(f"{path} has {what} {twice} twice", expected="every id once")


def _size(path: Path, image: _Image) -> tuple[int, int] | None:
    """Width and height that the file states of a picture; None where it states none."""
    sides = image.width or 0, image.height or 0
    if any(side != side // 1 for side in sides):
        raise RequestError(
            f"{path}: the size of '{image.file_name}' is none",
            expected="whole numbers of pixels",
            got=f"{sides[0]} and {sides[1]}",
        )
    return (int(sides[0]), int(sides[1])) if all(sides) else None
