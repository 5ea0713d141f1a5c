"""Whole pictures of unusual kinds: orientations, depths, palettes, alpha, pages, what white means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hostile.case import Case, Run, Wrong, cases
from hostile.made.commands import bundle, fused, picture_folder, run, thermal
from hostile.made.pictures import (
    EXACT,
    LOSSY,
    encode,
    encoded,
    infrared,
    mean_is,
    oriented,
    png,
    tiff,
    visible,
    with_segment,
)

TURNED = r"(?i)(orientation|turned|rotated|exif)"
KIND = r"(kind that is not taken|is no image|16 bits|8 bits|float|not taken|channels)"

ORIENTED = [
    Case(
        f"{suffix} of orientation {number}",
        fused(f"vis.{suffix}", lambda suffix=suffix, number=number: oriented(suffix, number)),
        ("right",),
        check=mean_is(tolerance=LOSSY if suffix == "jpg" else EXACT),
        told=TURNED,
        quick=number == 6,
    )
    for suffix in ("jpg", "png", "webp", "tif")
    for number in range(1, 9)
]


def segment(body: bytes) -> Callable[[Path], list[str]]:
    """A maker of ``fuse`` with a visible JPEG that has such an APP1 segment."""
    return fused("vis.jpg", lambda: with_segment(encoded("jpg"), b"Exif\0\0" + body))


ORIENTED += [
    Case(f"jpg of orientation {number}, which is none", fused("vis.jpg", lambda number=number: oriented("jpg", number)),
         ("right",), check=mean_is(tolerance=LOSSY))
    for number in (0, 9, 65_535)
] + [
    Case("jpg whose Exif is cut", segment(b"II*\0"), ("right",), check=mean_is(tolerance=LOSSY)),
    Case("jpg whose Exif points beyond its end", segment(b"II*\0\xff\xff\xff\x7f"), ("right",), check=mean_is(tolerance=LOSSY)),
    Case("jpg whose Exif says 65,535 entries", segment(b"II*\0\x08\0\0\0\xff\xff"), ("right",), check=mean_is(tolerance=LOSSY)),
    Case("infrared jpg of orientation 6", thermal("ir.jpg", lambda: oriented("jpg", 6, infrared())), ("right",),
         check=mean_is(tolerance=LOSSY), told=TURNED),
]  # fmt: skip


def labelled_upside_down(folder: Path) -> list[str]:
    """A pair stored under orientation 3, whose box was drawn on the upright picture."""
    (folder / "lab").mkdir()
    for name, what in (("ir", "infrared"), ("vi", "visible")):
        (folder / name).mkdir()
        (folder / name / "a.jpg").write_bytes(_turned(what))
    (folder / "lab" / "a.txt").write_text("0 0.12 0.16 0.2 0.3\n")
    return ["dataset", "check", ".", "--labels", "yolo:lab", "--classes", "person", "-o", "sheet.png"]


def _turned(what: str) -> bytes:
    picture = np.full((480, 640), 60, np.uint8)
    if what == "visible":
        picture[10:140, 20:140] = 255  # where the box is, when upright
    return oriented("jpg", 3, picture)


def bright_corner_is_upper_left(folder: Path, run: Run) -> None:
    """The sheet shows the visible picture upright: its brightest part lies in the upper half."""
    sheet = cv2.imread(str(folder / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    if sheet is None:
        raise Wrong("no sheet was written")
    rows = np.flatnonzero((sheet > 245).mean(axis=1) > 0.02)
    if not len(rows) or np.median(rows) > sheet.shape[0] / 2:
        raise Wrong("the sheet shows the pair upside down")


ORIENTED += [
    Case("dataset check of a pair held upside down", labelled_upside_down, ("right",), told=TURNED,
         check=bright_corner_is_upper_left),
]  # fmt: skip


def _bits(picture: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Levels 0 to 2**bits - 1 packed into bytes, the first pixel highest."""
    flat = (picture.astype(int) >> (8 - bits)).astype(np.uint8)
    planes = (flat[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(planes.reshape(len(picture), -1), axis=1)


def _shades(bits: int) -> npt.NDArray[np.uint8]:
    """What such levels show."""
    return ((visible().astype(int) >> (8 - bits)) * 255 // (2**bits - 1)).astype(np.uint8)


def _mean(right: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.rint((infrared().astype(float) + right) / 2).astype(np.uint8)


def packed(bits: int) -> Case:
    """A grey PNG of few bits."""
    make = fused("vis.png", lambda: png(_bits(visible(), bits), (64, 48), bits, 0))
    return Case(f"png of {bits} bit, grey", make, ("right",), check=mean_is(truth=_mean(_shades(bits))))


def _channels(*planes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Planes beside each other, as big-endian bytes of rows."""
    stacked = np.stack(planes, axis=-1)
    big = stacked.astype(stacked.dtype.newbyteorder(">"))
    return np.frombuffer(big.tobytes(), np.uint8).reshape(len(stacked), -1)


def _palette() -> tuple[bytes, bytes]:
    # Index n stands for the level 255 - n: who takes the index for a level sees a negative.
    return b"PLTE", bytes(255 - index for index in range(256) for _ in range(3))


GREY, OPAQUE = visible(), np.full((48, 64), 255, np.uint8)
CLEAR = np.zeros((48, 64), np.uint8)
DEEP = (infrared().astype(np.uint16) * 30 + 7000).astype(np.uint16)
KINDS = [
    *map(packed, (1, 2, 4)),
    Case("png with a palette", fused("vis.png", lambda: png(_channels(255 - GREY), (64, 48), 8, 3, _palette())),
         ("right",), check=mean_is()),
    Case("png of grey and alpha", fused("vis.png", lambda: png(_channels(GREY, OPAQUE), (64, 48), 8, 4)),
         ("right", "error"), check=mean_is(), says=KIND),
    Case("png of RGBA", fused("vis.png", lambda: png(_channels(GREY, GREY, GREY, OPAQUE), (64, 48), 8, 6)),
         ("right",), check=mean_is()),
    Case("png of RGBA, all clear", fused("vis.png", lambda: png(_channels(GREY, GREY, GREY, CLEAR), (64, 48), 8, 6)),
         ("right", "error"), check=mean_is(), says=KIND),
    Case("infrared png of RGB in 16 bits", thermal("ir.png", lambda: png(_channels(DEEP, DEEP, DEEP), (64, 48), 16, 2)),
         ("error",), says=KIND, quick=True),
    Case("infrared png of grey and alpha in 16 bits", thermal("ir.png", lambda: png(_channels(DEEP, DEEP), (64, 48), 16, 4)),
         ("error",), says=KIND),
    Case("visible png of grey in 16 bits", fused("vis.png", lambda: encode("png", DEEP)), says="16"),
    Case("visible png of RGB in 16 bits", fused("vis.png", lambda: png(_channels(DEEP, DEEP, DEEP), (64, 48), 16, 2)), says=KIND),
    Case("tiff of float32", thermal("ir.tif", lambda: tiff([{"pixels": infrared().astype(np.float32)}])), says=KIND),
    Case("tiff of float64", thermal("ir.tif", lambda: tiff([{"pixels": infrared().astype(np.float64)}])), says=r"ir\.tif"),
    Case("tiff of int32", thermal("ir.tif", lambda: tiff([{"pixels": infrared().astype(np.int32)}])), says=r"ir\.tif"),
    Case("tiff of int16", thermal("ir.tif", lambda: tiff([{"pixels": infrared().astype(np.int16) - 100}])), says=r"ir\.tif"),
    Case("tiff of int8", thermal("ir.tif", lambda: tiff([{"pixels": (infrared().astype(int) - 128).astype(np.int8)}])), says=r"ir\.tif"),
    Case("tiff of uint32", thermal("ir.tif", lambda: tiff([{"pixels": infrared().astype(np.uint32)}])), says=r"ir\.tif"),
    Case("tiff of 4 channels", fused("vis.tif", lambda: tiff([{"pixels": np.dstack([GREY] * 4), 338: 0}])), ("right", "error"),
         check=mean_is(), says=r"vis\.tif"),
    Case("tiff of 2 channels", fused("vis.tif", lambda: tiff([{"pixels": np.dstack([GREY] * 2), 262: 1, 338: 0}])), ("right", "error"),
         check=mean_is(), says=r"vis\.tif"),
    Case("tiff of the other byte order", fused("vis.tif", lambda: tiff([{"pixels": GREY}], ">")), ("right",), check=mean_is()),
    Case("tiff without a page", fused("vis.tif", lambda: tiff([])), says=r"vis\.tif"),
    Case("tiff whose pages go round in a circle", fused("vis.tif", lambda: _circle()), ("right", "error", "degraded"), check=mean_is()),
]  # fmt: skip


def _circle() -> bytes:
    raw = bytearray(tiff([{"pixels": GREY}]))
    raw[-4:] = raw[4:8]  # the next page is the first
    return bytes(raw)


def linear(name: str, content: Callable[[], bytes]) -> Callable[[Path], list[str]]:
    """A maker of ``fuse`` on 16-bit infrared, whose counts become levels by a rig: 7000 + 30 n is n."""

    def make(folder: Path) -> list[str]:
        (folder / "rig.toml").write_text(
            '[cameras.ir]\nuri = "sim://ir"\nrole = "infrared"\n'
            '[cameras.ir.range]\nmode = "linear"\nlow = 7000\nhigh = 14650\n'
        )
        (folder / name).write_bytes(content())
        (folder / "vis.png").write_bytes(encoded("png"))
        chosen = ["--bundle", str(bundle(folder)), "--stretch", "none", "--rig", "rig.toml"]
        return ["fuse", name, "vis.png", "-o", "out.png", *chosen]

    return make


def _white_is_zero(order: str, dtype: type) -> bytes:
    stored = 65_535 - DEEP if dtype is np.uint16 else 255 - infrared()
    return tiff([{"pixels": stored.astype(dtype), 262: 0}], order)


COUNTS = [
    Case("counts in png", linear("ir.png", lambda: encode("png", DEEP)), ("right",), check=mean_is()),
    *(
        Case(f"counts in tiff, {words}", linear("ir.tif", lambda order=order: tiff([{"pixels": DEEP}], order)), ("right",), check=mean_is())
        for order, words in (("<", "little-endian"), (">", "big-endian"))
    ),
    *(
        Case(f"counts in tiff where white is zero, {words}", linear("ir.tif", lambda order=order: _white_is_zero(order, np.uint16)),
             ("right", "error"), check=mean_is(), says=r"ir\.tif", quick=True)
        for order, words in (("<", "little-endian"), (">", "big-endian"))
    ),
    Case("8 bits in tiff where white is zero", thermal("ir.tif", lambda: _white_is_zero("<", np.uint8)),
         ("right", "error"), check=mean_is(), says=r"ir\.tif"),
]  # fmt: skip


def _stack() -> bytes:
    return tiff([{"pixels": visible()} for _ in range(5)])


def _thumbnail_first() -> bytes:
    small = cv2.resize(visible(), (40, 32), interpolation=cv2.INTER_AREA)
    return tiff([{"pixels": 255 - small, 254: 1}, {"pixels": visible()}])


def _stack_as_camera(folder: Path) -> list[str]:
    picture_folder(folder, "visible", 5)
    (folder / "stack.tif").write_bytes(tiff([{"pixels": infrared()} for _ in range(5)]))
    return ["run", "--camera", "stack.tif,vi", "-o", "out.jsonl", "--bundle", str(bundle(folder))]


def _five(folder: Path, run: Run) -> None:
    lines = (folder / "out.jsonl").read_text().splitlines()
    if len(lines) != 5:
        raise Wrong(f"{len(lines)} of 5 pages became pictures without a word")


PAGES = [
    Case("tiff of 5 pages", fused("vis.tif", _stack), ("right", "error"), says="pages", told="5 pages|pages",
         check=lambda folder, run: _silent("4 of 5 pages were left out without a word")),
    Case("tiff of 5 pages as camera", _stack_as_camera, ("right", "error"), says="pages", told="5 pages", check=_five),
    Case("tiff whose first page is a thumbnail", fused("vis.tif", _thumbnail_first), ("right", "error"), says="pages|thumbnail|reduced",
         check=mean_is()),
]  # fmt: skip


def _silent(what: str) -> None:
    raise Wrong(what)


def radiometric() -> bytes:
    """A coloured rendering with a vendor's counts in an APP1 segment."""
    coloured = encode("jpg", cv2.applyColorMap(infrared(), cv2.COLORMAP_INFERNO))
    return with_segment(coloured, b"FLIR\0\x01\0\0" + bytes(200))


def _checked_radiometric(folder: Path) -> list[str]:
    picture_folder(folder, "visible", 1, "jpg")
    (folder / "ir").mkdir()
    (folder / "ir" / "1.jpg").write_bytes(radiometric())
    return ["dataset", "check", "."]


def _run_radiometric(folder: Path) -> list[str]:
    arguments = run(folder)
    for path in (folder / "ir").iterdir():
        path.unlink()
    for number in (1, 2, 3):
        (folder / "ir" / f"{number}.jpg").write_bytes(radiometric())
    return arguments


RENDERED = r"(?i)(rendering|radiometric|colou?r|counts|exiftool)"
RADIOMETRIC = [
    Case("fuse a radiometric jpeg", thermal("ir.jpg", radiometric), ("right", "error"), says=RENDERED, told=RENDERED,
         check=lambda folder, run: _silent("a rendering was fused as if it were counts"), quick=True),
    Case("run on radiometric jpegs", _run_radiometric, ("right", "error"), says=RENDERED, told=RENDERED,
         check=lambda folder, run: _silent("a rendering was fused as if it were counts")),
    Case("dataset check of a radiometric jpeg", _checked_radiometric, ("right", "degraded"), says=RENDERED, told=RENDERED,
         check=lambda folder, run: _silent("a rendering was taken as if it were counts")),
    Case("coloured infrared png", thermal("ir.png", lambda: encode("png", cv2.applyColorMap(infrared(), cv2.COLORMAP_INFERNO))),
         ("right", "error"), says=RENDERED, told=RENDERED,
         check=lambda folder, run: _silent("coloured infrared was fused without a word")),
]  # fmt: skip

CASES = cases(ORIENTED, KINDS, COUNTS, PAGES, RADIOMETRIC)
