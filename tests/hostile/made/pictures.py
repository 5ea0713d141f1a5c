"""Pictures whose fused one can be foretold, in every format, and the bytes that make them odd."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hostile.case import Check, Run, Wrong

U8 = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 64, 48
FORMATS = ("png", "jpg", "webp", "tif", "bmp")
EXACT, LOSSY = 2, 14
"""Levels that a fused picture may be off."""


def infrared(size: tuple[int, int] = (WIDTH, HEIGHT)) -> U8:
    """A ramp from left to right."""
    row = np.linspace(20, 200, size[0]).astype(np.uint8)
    return np.tile(row, (size[1], 1))


def visible(size: tuple[int, int] = (WIDTH, HEIGHT)) -> U8:
    """A ramp from top to bottom and a bright corner: no two of its eight orientations are alike."""
    column = np.linspace(40, 200, size[1]).astype(np.uint8)[:, None]
    picture = np.tile(column, (1, size[0]))
    picture[: size[1] // 3, : size[0] // 4] = 250
    return picture


def fused(left: U8 | None = None, right: U8 | None = None) -> U8:
    """What the bundle ``mean`` makes of them."""
    both = (infrared() if left is None else left, visible() if right is None else right)
    return np.rint((both[0].astype(float) + both[1]) / 2).astype(np.uint8)


@lru_cache
def encoded(suffix: str, what: str = "visible") -> bytes:
    """The pattern in a picture format."""
    picture = visible() if what == "visible" else infrared()
    return encode(suffix, picture)


def encode(suffix: str, picture: npt.NDArray[Any]) -> bytes:
    """Any picture, without visible loss."""
    options = {"jpg": [cv2.IMWRITE_JPEG_QUALITY, 97], "webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}
    done, raw = cv2.imencode(f".{suffix}", picture, options.get(suffix, []))
    assert done
    return raw.tobytes()


def mean_is(name: str = "out.png", tolerance: int = EXACT, truth: U8 | None = None) -> Check:
    """A check that the picture written is the mean of both, upright and of visible's size."""

    def check(folder: Path, run: Run) -> None:
        require_picture(folder / name, fused() if truth is None else truth, tolerance)

    return check


def require_picture(path: Path, truth: U8, tolerance: int) -> None:
    """Raise Wrong where a picture file is not ``truth``, by its luma."""
    got = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if got is None:
        raise Wrong(f"{path.name} is not there, or no picture")
    if got.shape != truth.shape:
        raise Wrong(f"{path.name} is {got.shape[1]}x{got.shape[0]}, not {truth.shape[1]}x{truth.shape[0]}")
    # A few pixels may be far off: a lossy format rings at the corner's edge.
    off = float(np.percentile(np.abs(got.astype(float) - truth), 97))
    if off > tolerance:
        raise Wrong(f"{path.name} is {off:.0f} levels off")


def png(
    rows: npt.NDArray[np.uint8], size: tuple[int, int], bits: int, kind: int, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG from packed rows (bytes), of any depth and kind of pixel; ``chunks`` stand before its data."""
    width, height = size
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(packed, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def blank_png(side: int) -> bytes:
    """A PNG of ``side`` x ``side`` pixels of 1 bit, whose bytes are few."""
    row = bytes(1 + (side + 7) // 8)
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def huge(suffix: str, side: int = 60_000) -> bytes:
    """A small file whose header says ``side`` x ``side``."""
    raw = bytearray(encoded(suffix))
    if suffix == "png":
        raw[16:24] = struct.pack(">II", side, side)
        raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    elif suffix == "jpg":
        at = raw.index(b"\xff\xc0")
        raw[at + 5 : at + 9] = struct.pack(">HH", side, side)
    elif suffix == "bmp":
        raw[18:26] = struct.pack("<ii", side, side)
    elif suffix == "webp":
        return webp_with_exif(bytes(raw), b"", (16_384, 16_384))
    elif suffix == "tif":
        return tiff([{"pixels": visible(), 256: side, 257: side}])
    return bytes(raw)


def exif(orientation: int) -> bytes:
    """An Exif block with an orientation alone."""
    return b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)


def turned(picture: U8, orientation: int) -> U8:
    """How a picture is stored under an Exif orientation that shows it upright."""
    back = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.T,
        6: lambda p: np.rot90(p, 1),  # shown turned clockwise, so stored turned the other way
        7: lambda p: np.rot90(p, 2).T,
        8: lambda p: np.rot90(p, -1),
    }
    return np.ascontiguousarray(back[orientation](picture))


def oriented(suffix: str, orientation: int, picture: U8 | None = None) -> bytes:
    """A picture, by default the visible pattern, stored under an orientation that shows it upright."""
    upright = visible() if picture is None else picture
    stored, block = turned(upright, orientation if orientation in range(1, 9) else 1), exif(orientation)
    if suffix == "tif":
        return tiff([{"pixels": stored, 274: orientation}])
    raw = encode(suffix, stored)
    if suffix == "jpg":
        return with_segment(raw, b"Exif\0\0" + block)
    if suffix == "png":
        return raw[:33] + _chunk(b"eXIf", block) + raw[33:]
    return webp_with_exif(raw, block, (stored.shape[1], stored.shape[0]))


def with_segment(raw: bytes, body: bytes) -> bytes:
    """A JPEG with a further APP1 segment at its head."""
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + raw[2:]


def webp_with_exif(raw: bytes, block: bytes, canvas: tuple[int, int]) -> bytes:
    """A WebP with the chunks that an Exif block asks for."""
    size = b"".join(struct.pack("<I", side - 1)[:3] for side in canvas)
    extended = b"VP8X" + struct.pack("<II", 10, 8 if block else 0) + size
    tail = b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2) if block else b""
    body = b"WEBP" + extended + raw[12:] + tail
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(pages: list[dict[Any, Any]], order: str = "<") -> bytes:
    """A TIFF of uncompressed pages.

    Args:
        pages: Each with ``pixels`` (H, W) or (H, W, C), and tags by number that are to be otherwise.
        order: Of the bytes, as :mod:`struct` calls it.
    """
    raw = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 0))
    link = 4
    for page in pages:
        pixels = page["pixels"]
        strip = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(order)).tobytes()
        at = len(raw)
        raw += strip + b"\0" * (len(strip) % 2)
        struct.pack_into(f"{order}I", raw, link, len(raw))
        entries = sorted(_tags(pixels, at, len(strip), page).items())
        raw += struct.pack(f"{order}H", len(entries))
        for tag, value in entries:
            code = "H" if tag in (258, 259, 262, 274, 277, 284, 339, 338) else "I"
            field = struct.pack(f"{order}{code}", value).ljust(4, b"\0")
            raw += struct.pack(f"{order}HHI", tag, 3 if code == "H" else 4, 1) + field
        link = len(raw)
        raw += b"\0" * 4
    return bytes(raw)


def _tags(pixels: npt.NDArray[Any], at: int, length: int, page: dict[Any, Any]) -> dict[int, int]:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    usual = {
        254: 0,
        256: pixels.shape[1],
        257: pixels.shape[0],
        258: pixels.dtype.itemsize * 8,
        259: 1,
        262: 1 if channels == 1 else 2,
        273: at,
        274: 1,
        277: channels,
        278: pixels.shape[0],
        279: length,
        284: 1,
        339: kind,
    }
    return usual | {tag: value for tag, value in page.items() if isinstance(tag, int)}
