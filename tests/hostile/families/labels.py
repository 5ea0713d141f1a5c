"""Lists of names and label files as tools, editors and attackers write them, through ``dataset check``."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hostile.case import Case, cases
from hostile.made.commands import bundle, picture_folder
from hostile.made.labels import (
    BOX,
    VOC,
    coco,
    coco_of,
    labelled,
    listed,
    mask,
    report_says,
    voc,
    yolo,
)
from hostile.made.pictures import encode, encoded, png

PERSON = report_says(objects={"person": 1}, faults=[])
NOTHING = report_says(objects={}, faults=[])
BAD = r"labels?|lab/1\.|lab\.json"
REFUSED = ("degraded", "error")
"""The check lists it with exit code 1, or ends with an error."""


def right(kind: str, rows: dict[str, Any], check: Any = PERSON, **more: Any) -> list[Case]:
    """Files that are read as what they say."""
    return [Case(f"{kind} {what}", make, ("right",), check=check, **more) for what, make in rows.items()]


def refused(kind: str, rows: dict[str, Any]) -> list[Case]:
    """Files that are refused, by name."""
    return [Case(f"{kind} {what}", make, REFUSED, says=BAD) for what, make in rows.items()]


THREE = ["scene 1", "scene 2", "b"]
LISTS = [
    *right("list", {
        "with blanks": listed(b"scene 1\nscene 2\nb\n", THREE),
        "with blanks around": listed(b"  scene 1\t\n\n scene 2 \nb", THREE),
        "with a byte order mark": listed(b"\xef\xbb\xbfscene 1\nscene 2\nb\n", THREE),
        "of CRLF": listed(b"scene 1\r\nscene 2\r\nb\r\n", THREE),
        "of names in NFD": listed("Ba\u0308r\nb\nc\n".encode(), ["B\u00e4r", "b", "c"]),
    }, report_says(pairs=3, faults=[])),
    *right("list", {"of several stems a line": listed(b"a b\nc", ["a", "b", "c"])}, report_says(pairs=3, faults=[])),
    Case("list in UTF-16", listed("scene 1\nb\n".encode("utf-16"), THREE), ("right", "error"), check=report_says(pairs=2, faults=[]), says=r"train\.txt"),
    Case("list with NUL", listed(b"scene 1\0\nb\n", THREE), REFUSED, says="1 names? without|unnamed|train"),
    Case("list of escape codes", listed("b\n\x1b[31m\u202ered\n".encode(), THREE), REFUSED, says="unnamed|without"),
    Case("list of nothing", listed(b"\n \n", THREE), says="no pair|empty"),
    Case("list of binary", listed(bytes(range(256)), THREE), says=r"train\.txt"),
    Case("list of 150,000 names that are not there", lambda folder: _long_list(folder), REFUSED, says="150,?000", limit=40),
    Case("list on one line of 1 MB", listed(b"n" * 1_000_000, THREE), REFUSED, says="unnamed|without|lacks|train|no pair"),
    Case("list with ../", listed(b"../vi/b\nb\n", THREE), REFUSED, says="unnamed|without|lacks"),
]  # fmt: skip


def _long_list(folder: Path) -> list[str]:
    names = "b\n" + "".join(f"n{n}\n" for n in range(150_000))
    return list(map(str, listed(names.encode(), THREE)(folder)))[:-1]  # as text, for people


def special_list(make: Any) -> Any:
    """A maker of ``dataset check`` with a list that is no plain file."""

    def made(folder: Path) -> list[str]:
        arguments = listed(b"b\n", ["b"])(folder)
        (folder / "train.txt").unlink()
        make(folder / "train.txt")
        return list(map(str, arguments))

    return made


LISTS += [
    Case("list that is a pipe", special_list(os.mkfifo), says=r"train\.txt"),
    Case("list that is /dev/zero", special_list(lambda path: path.symlink_to("/dev/zero")), says=r"train\.txt"),
    Case("list that is a folder", special_list(lambda path: path.mkdir()), says=r"train\.txt"),
    Case("list that may not be read", special_list(lambda path: path.touch(0)), says=r"train\.txt"),
]  # fmt: skip

YOLO = [
    *right("yolo", {
        "plain": yolo(BOX), "of CRLF": yolo(BOX.replace("\n", "\r\n")), "with a byte order mark": yolo(b"\xef\xbb\xbf" + BOX.encode()),
        "class 0.0": yolo("0.0 0.5 0.5 0.25 0.25\n"), "class 0e0": yolo("0e0 0.5 0.5 0.25 0.25\n"),
        "class in numpy's notation": yolo("0.000000000000000000e+00 5.0e-01 5.0e-01 2.5e-01 2.5e-01\n"),
        "of tabs": yolo("0\t0.5\t0.5\t0.25\t0.25"), "with empty lines": yolo(f"\n\n{BOX}\n \n"),
        "a thousandth over the rim": yolo("0 0.5 0.5 1.0005 1.0005\n"),
    }),
    *right("yolo", {"empty": yolo("")}, NOTHING),
    *refused("yolo", {
        "class -1": yolo("-1 0.5 0.5 0.1 0.1\n"), "class 2 of two": yolo("2 0.5 0.5 0.1 0.1\n"), "class 0.5": yolo("0.5 0.5 0.5 0.1 0.1\n"),
        "class 1e300": yolo("1e300 0.5 0.5 0.1 0.1\n"), "class of 5,000 digits": yolo("9" * 5000 + " 0.5 0.5 0.1 0.1\n"),
        "class nan": yolo("nan 0.5 0.5 0.1 0.1\n"), "class inf": yolo("inf 0.5 0.5 0.1 0.1\n"), "class by name": yolo("person 0.5 0.5 0.1 0.1\n"),
        "4 columns": yolo("0 0.5 0.5 0.1\n"), "6 columns": yolo("0 0.5 0.5 0.1 0.1 0.9\n"), "a polygon": yolo("0 0.1 0.1 0.2 0.2 0.3 0.1\n"),
        "nan": yolo("0 nan 0.5 0.1 0.1\n"), "inf": yolo("0 0.5 0.5 inf 0.1\n"), "1e999": yolo("0 0.5 0.5 0.1 1e999\n"),
        "pixels": yolo("0 30 20 10 10\n"), "a negative width": yolo("0 0.5 0.5 -0.1 0.1\n"), "a width of 0": yolo("0 0.5 0.5 0 0.1\n"),
        "a decimal comma": yolo("0 0,5 0,5 0,1 0,1\n"), "text": yolo("no labels at all\n"),
        "NUL": yolo(BOX.encode() + b"\0\n"), "binary": yolo(bytes(range(256))), "escape codes": yolo("0 0.5 \x1b[31m\x9b\u202e 0.1 0.1\n"),
        "one line of 1 MB": yolo("0 " * 500_000),
    }),
    Case("yolo in UTF-16", yolo(BOX.encode("utf-16")), ("right", *REFUSED), check=PERSON, says=BAD),
    Case("yolo labels without classes", labelled("1.txt", BOX, "--labels", "yolo:lab"), says="classes"),
    Case("yolo labels that are not there", labelled("1.txt", BOX, "--labels", "yolo:gone", "--classes", "a"), REFUSED, says="gone"),
    Case("yolo label that is a pipe", lambda folder: _special_label(folder, os.mkfifo), REFUSED, says=BAD),
    Case("yolo label that is /dev/zero", lambda folder: _special_label(folder, lambda path: path.symlink_to("/dev/zero")), REFUSED, says=BAD),
    Case("yolo label that is a folder", lambda folder: _special_label(folder, lambda path: path.mkdir()), REFUSED, says=BAD),
]  # fmt: skip


def _special_label(folder: Path, make: Any) -> list[str]:
    arguments = yolo(BOX)(folder)
    (folder / "lab" / "1.txt").unlink()
    make(folder / "lab" / "1.txt")
    return list(map(str, arguments))


def _xml(name: str = "person", more: str = "", xmin: str = "9") -> str:
    return VOC.format(name=name, more=more, xmin=xmin)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BILLION = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">{LAUGHS}]>{_xml("&l9;")}'
OUTSIDE = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>{_xml("&x;")}'
CHINESE = report_says(objects={"\u884c\u4eba": 1}, faults=[])
GBK = '<?xml version="1.0" encoding="GBK"?>' + _xml("\u884c\u4eba")
UTF16 = '<?xml version="1.0" encoding="UTF-16"?>' + _xml()
VOCS = [
    *right("voc", {"plain": voc(_xml()), "with a byte order mark": voc(b"\xef\xbb\xbf" + _xml().encode()), "a float": voc(_xml(xmin="9.0")),
                   "of CRLF": voc(_xml().replace("><", ">\r\n<"))}),
    *right("voc", {"in GBK": voc(GBK.encode("gbk"))}, CHINESE),
    Case("voc in UTF-16", voc(UTF16.encode("utf-16")), ("right", *REFUSED), check=PERSON, says=BAD),
    Case("voc difficult", voc(_xml(more="<difficult>1</difficult>")), ("right", "degraded"), says="difficult", told="difficult", check=NOTHING),
    Case("voc of a billion laughs", voc(BILLION), REFUSED, says=BAD, quick=True),
    Case("voc of a billion laughs in UTF-16", voc(BILLION.replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16")), REFUSED, says=BAD),
    Case("voc of a billion laughs in UTF-7", voc(BILLION.replace('"1.0"', '"1.0" encoding="UTF-7"').encode("utf-7")), REFUSED, says=BAD),
    Case("voc that reads another file", voc(OUTSIDE), REFUSED, says=BAD),
    *refused("voc", {
        "of an encoding that nobody knows": voc('<?xml version="1.0" encoding="KOI-99"?>' + _xml()),
        "empty": voc(""), "cut": voc(_xml()[:90]), "text": voc("no xml"), "binary": voc(bytes(range(256))), "of another root": voc("<html><body>404</body></html>"), "without a name": voc(_xml("")),
        "nan": voc(_xml(xmin="nan")), "inf": voc(_xml(xmin="inf")), "1e999": voc(_xml(xmin="1e999")), "text as number": voc(_xml(xmin="nine")),
        "NUL": voc(_xml().replace("person", "per\0son")),
        "of two different sizes": voc(_xml().replace("<width>64", "<width>640")),
    }),
    Case("voc of 100,000 levels", voc("<a>" * 100_000 + "</a>" * 100_000), ("right", *REFUSED), check=NOTHING, says=BAD),
    Case("voc xmin beyond xmax", voc(_xml(xmin="60")), REFUSED, says="degenerate|area|box"),
    Case("voc escape codes as class", voc(_xml("per&#x9b;&#x202e;son")), ("right", *REFUSED)),
]  # fmt: skip

ONE = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [4, 4, 20, 20]}
TEXT = json.dumps(coco_of())
COCOS = [
    *right("coco", {
        "plain": coco(coco_of()), "with a byte order mark": coco(None, b"\xef\xbb\xbf" + TEXT.encode()),
        "float width": coco(coco_of(images=[{"id": 1, "file_name": "1.png", "width": 64.0, "height": 48.0}])),
        "float ids": coco(None, TEXT.replace('"category_id": 7', '"category_id": 7.0').replace('"image_id": 1', '"image_id": 1.0').encode()),
        "in a folder of Windows": coco(coco_of(images=[{"id": 1, "file_name": "C:\\x\\1.png"}])),
        "float iscrowd": coco(coco_of(annotations=[ONE | {"iscrowd": 0.0}])),
    }),
    *right("coco", {"a crowd": coco(coco_of(annotations=[ONE | {"iscrowd": 1}]))}, NOTHING),
    Case("coco in UTF-16", coco(None, TEXT.encode("utf-16")), ("right", *REFUSED), check=PERSON, says=BAD),
    *refused("coco", {
        "empty": coco(None, b""), "cut": coco(None, TEXT.encode()[:80]), "a list": coco([]), "null": coco(None, b"null"),
        "a deep list": coco(None, b"[" * 200_000), "a deep list in annotations": coco(None, b'{"annotations": ' + b"[" * 200_000),
        "text as width": coco(coco_of(images=[{"id": 1, "file_name": "1.png", "width": "wide"}])),
        "width 320.5": coco(coco_of(images=[{"id": 1, "file_name": "1.png", "width": 320.5, "height": 48}])),
        "NaN in a box": coco(None, TEXT.replace("[4, 4", "[NaN, 4").encode()), "1e999 in a box": coco(None, TEXT.replace("[4, 4", "[1e999, 4").encode()),
        "three numbers in a box": coco(coco_of((4, 4, 20))), "a box of text": coco(coco_of("4 4 20 20")),
        "an unknown category": coco(coco_of(annotations=[ONE | {"category_id": 8}])), "an unknown picture": coco(coco_of(annotations=[ONE | {"image_id": 8}])),
        "one picture twice": coco(coco_of(images=[{"id": n, "file_name": "1.png"} for n in (1, 2)])), "NUL in a name": coco(None, TEXT.encode() + b"\0"),
        "without categories": coco({"images": [], "annotations": []}), "binary": coco(None, bytes(range(256))),
    }),
    Case("coco with a box far outside", coco(coco_of((400, 400, 20, 20))), REFUSED, says="outside|area|degenerate"),
    Case("coco with a negative box", coco(coco_of((10, 10, -5, -5))), REFUSED, says="outside|area|degenerate"),
    Case("coco with escape codes as class", coco(coco_of(categories=[{"id": 7, "name": "p\x1b[31m\x9b\u202e"}])), ("right", *REFUSED)),
]  # fmt: skip


def _mask(*values: int) -> bytes:
    return encode("png", np.array(values, np.uint8).repeat(48 * 64 // len(values)).reshape(48, 64))


def _indexed() -> bytes:
    indices = np.array([0, 1], np.uint8).repeat(32 * 48).reshape(48, 64)
    return png(indices, (64, 48), 8, 3, (b"PLTE", bytes([9, 9, 9, 200, 0, 0])))


def _beyond_palette() -> bytes:
    indices = np.array([0, 9], np.uint8).repeat(32 * 48).reshape(48, 64)
    return png(indices, (64, 48), 8, 3, (b"PLTE", bytes([9, 9, 9, 200, 0, 0])))


HALF = report_says(pixels={"ground": 1536, "plant": 1536}, faults=[])
MASKS = [
    *right("mask", {"of two values": mask(_mask(0, 1)), "with a palette": mask(_indexed), "of 1 bit": mask(lambda: png(_packed(), (64, 48), 1, 0)),
                    "in three equal channels": mask(lambda: encode("png", cv2.cvtColor(_grey(), cv2.COLOR_GRAY2BGR)))}, HALF),
    *right("mask", {"of 0 and 255, with --ignore 254": mask(_mask(0, 255), "--ignore", "254")}, HALF),
    *refused("mask", {
        "of 0 and 7": mask(_mask(0, 7)), "of 16 bits": mask(lambda: encode("png", np.zeros((48, 64), np.uint16))),
        "of a palette that ends too early": mask(_beyond_palette), "in colour": mask(lambda: encode("png", np.dstack([_grey() * 200, _grey(), _grey()]))),
        "of another size": mask(lambda: encode("png", np.zeros((8, 8), np.uint8))), "cut": mask(_mask(0, 1)[:60]), "empty": mask(b""),
        "text": mask(b"no mask"), "a jpeg": mask(encoded("jpg")), "60,000 x 60,000": mask(lambda: _huge()),
        "in an unknown colour": mask(lambda: encode("png", np.dstack([_grey() * 200] * 3)), "--colours", "#000000,#ff0000"),
    }),
    Case("mask with a colour that is none", mask(_mask(0, 1), "--colours", "red,blue"), says="colours|labels"),
    Case("mask with --ignore 300", mask(_mask(0, 1), "--ignore", "300"), says="ignore|labels"),
    Case("mask with one colour for two classes", mask(_mask(0, 1), "--colours", "#000000"), REFUSED, says="colour|grey"),
]  # fmt: skip


def _grey() -> Any:
    return np.array([0, 1], np.uint8).repeat(32 * 48).reshape(48, 64)


def _packed() -> Any:
    return np.packbits(_grey(), axis=1)


def _huge() -> bytes:
    raw = bytearray(_mask(0, 1))
    raw[16:24] = (60_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    return bytes(raw)


# The same files where something is computed from them ---------------------------------------------------------


def evaluated(names: bytes | None, *more: str) -> Any:
    """A maker of ``eval`` on three pairs, with a list."""

    def make(folder: Path) -> list[str]:
        for what in ("infrared", "visible"):
            picture_folder(folder, what, 3)
        chosen = [] if names is None else ["--names", "list.txt"]
        if names is not None:
            (folder / "list.txt").write_bytes(names)
        return ["eval", str(bundle(folder)), "--data", ".", *chosen, *more]

    return make


def _lossy(folder: Path) -> list[str]:
    arguments = evaluated(None)(folder)
    (folder / "vi" / "2.png").write_bytes(encoded("png")[:80])
    return list(map(str, arguments))


EVAL = [
    Case("eval on a list with a name that is not there", evaluated(b"1\n2\ngone\n"), says="gone", quick=True),
    Case("eval on an empty list", evaluated(b""), says=r"list\.txt"),
    Case("eval on a damaged picture", _lossy, says=r"2\.png"),
    Case("eval on a data folder that is none", lambda folder: ["eval", str(bundle(folder)), "--data", "gone"], says="gone"),
    Case("eval with labels and no head", evaluated(None, "--labels", "yolo:lab", "--classes", "a"), says="detector|head|labels"),
    Case("eval with --compare that is none", evaluated(None, "--compare", "mine"), says="compare"),
    Case("eval with --compare of a folder that is none", evaluated(None, "--compare", "mine=gone"), says="gone"),
    Case("eval with groups that match nothing", evaluated(None, "--groups", "day=*D"), says="day"),
    Case("eval with groups that are none", evaluated(None, "--groups", "day"), says="groups"),
    Case("verify on a list with a name that is not there", lambda folder: ["verify", *evaluated(b"1\ngone\n")(folder)[1:]], says="gone"),
]  # fmt: skip

CASES = cases(LISTS, YOLO, VOCS, COCOS, MASKS, EVAL)
