"""Labelled boxes of one picture as other programs write them: YOLO text and PASCAL VOC XML."""

from __future__ import annotations

import math
import re

# Only text without document type or entities reaches the parser (see ``_parse_xml``).
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs.drawn import Drawn
from tdfusion_edge.pairs.yolo import read_yolo
from tdfusion_edge.text import decoded, few

_DECLARATION = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']""")
_NO_TEXT = ("idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "utf_7")
"""What Python takes for an encoding and XML does not."""
_UNREADABLE = "\ufffd"
"""Stands for bytes that are none of the encoding."""


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
            expected=f"0 to {len(classes) - 1} ({few(classes)})",
            got=str(beyond[0]),
            hint="Name every class of the labels, in the order of their numbers.",
        )
    return Drawn(shares, tuple(classes[index] for index in ids), (1, 1))


def drawn_voc(path: Path) -> Drawn:
    """One picture's VOC XML file.

    VOC counts pixels from 1 and both ends belong to the box, so ``xmin - 1`` and ``xmax`` are its edges.
    A program that counts from 0 writes boxes one pixel further to the left and top, which stays unseen.
    Objects marked as difficult are objects, and are counted.

    Raises:
        InputMissing: there is no such file.
        RequestError: it is no VOC file, has a document type of its own, or a name is in another encoding
            than it states.
    """
    root = _parse_xml(path)
    corners, names, difficult = [], [], 0
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
        if _UNREADABLE in name:
            raise RequestError(
                f"{path}, object {number} has a name in another encoding than the file states",
                got=f"'{name}'",
                hint='State it in the first line: <?xml version="1.0" encoding="GBK"?>, or write UTF-8.',
            )
        corners.append([box[0] - 1, box[1] - 1, box[2], box[3]])
        names.append(name)
        difficult += (found.findtext("difficult") or "0").strip() not in ("0", "")
    boxes = np.asarray(corners, np.float64).reshape(-1, 4)
    return Drawn(boxes, tuple(names), _voc_size(root), difficult)


def _parse_xml(path: Path) -> ET.Element:
    try:
        data = path.read_bytes()
        # Folder names inside the file are often written in another encoding, and not needed.
        text = decoded(data, _declared(data), "replace")
    except (LookupError, UnicodeError) as error:
        raise RequestError(
            f"{path} cannot be decoded: {error}", expected="UTF-8, or what it states"
        ) from error
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


def _declared(data: bytes) -> str:
    """The encoding that an XML declaration names, UTF-8 without one; LookupError where it is none."""
    found = _DECLARATION.match(data)
    name = "utf-8" if found is None else found[1].decode("ascii")
    if name.lower().replace("-", "_") in _NO_TEXT:
        raise LookupError(f"unknown encoding: {name}")
    return name


def _voc_size(root: ET.Element) -> tuple[int, int] | None:
    try:
        width, height = (float(root.findtext(f"size/{key}") or 0) for key in ("width", "height"))
    except ValueError:
        return None
    whole = all(0 < side < math.inf and side == side // 1 for side in (width, height))
    return (int(width), int(height)) if whole else None
