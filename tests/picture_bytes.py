"""Picture files byte by byte: what cameras and editors write and OpenCV does not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import cv2

ORIENTATION = 0x0112


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block that says nothing else."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    entry = struct.pack(f"{order}HHIHH", ORIENTATION, 3, 1, orientation, 0)
    return head + struct.pack(f"{order}H", 1) + entry + struct.pack(f"{order}I", 0)


def segment(content: bytes, kind: int = 0xE1) -> bytes:
    """A segment of a JPEG, APP1 unless told otherwise."""
    return bytes((0xFF, kind)) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg: bytes, *contents: bytes) -> bytes:
    """The JPEG with APP1 segments in front."""
    return jpeg[:2] + b"".join(map(segment, contents)) + jpeg[2:]


def encoded(suffix: str, image: Any, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, options)
    assert done
    return bytes(data)


def jpeg(image: Any, orientation: int, order: str = "<") -> bytes:
    plain = encoded(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 100)
    return with_segments(plain, b"Exif\0\0" + exif(orientation, order))


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(image: Any, kind: int, *chunks: bytes) -> bytes:
    """A PNG: ``kind`` 0 grey, 2 colour, 4 grey and alpha, 6 colour and alpha; the channels as stored."""
    bits = image.dtype.itemsize * 8
    height, width = image.shape[:2]
    rows = image.reshape(height, -1).astype(f">u{image.dtype.itemsize}")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def png(image: Any, orientation: int, order: str = "<") -> bytes:
    stored = image[..., ::-1] if image.ndim == 3 else image
    return png_of(stored, 2 if image.ndim == 3 else 0, chunk(b"eXIf", exif(orientation, order)))


def webp(image: Any, orientation: int, order: str = "<") -> bytes:
    """Without loss, in the extended container that an EXIF chunk needs."""
    simple = encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)
    height, width = image.shape[:2]
    block = exif(orientation, order)
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes((0x08, 0, 0, 0)) + canvas
    described = b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    body = b"WEBP" + extended + simple[12:] + described
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_of(pages: Sequence[tuple[Any, dict[int, int]]], order: str = "<", *, big: bool = False) -> bytes:
    """A TIFF without compression: (H, W) or (H, W, C) of each page as stored, and tags to add or replace."""
    word, format_ = (8, "Q") if big else (4, "I")
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(f"{order}HHH", 43, 8, 0) if big else struct.pack(f"{order}H", 42))
    data = bytearray(head + bytes(word))
    pointer = len(head)
    for image, changes in pages:
        height, width = image.shape[:2]
        channels = 1 if image.ndim == 2 else image.shape[2]
        size = image.dtype.itemsize
        raw = image.astype(image.dtype.newbyteorder(order)).tobytes()
        tags = {
            256: width, 257: height, 258: 8 * size, 259: 1, 262: 2 if channels >= 3 else 1, 273: len(data),
            277: channels, 278: height, 279: len(raw), **changes,
        }  # fmt: skip
        data += raw + b"\0" * (len(raw) % 2)
        if channels > 1 and channels * 2 > word:
            tags[258] = len(data)
            data += struct.pack(f"{order}{channels}H", *[8 * size] * channels) + b"\0" * (channels % 2 * 2)
        at = len(data)
        data[pointer : pointer + word] = struct.pack(f"{order}{format_}", at)
        data += struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
        for tag, value in sorted(tags.items()):
            data += _entry(tag, value, channels if tag == 258 else 1, order, big)
        pointer = len(data)
        data += bytes(word)
    return bytes(data)


def _entry(tag: int, value: int, count: int, order: str, big: bool) -> bytes:
    word, format_ = (8, "Q") if big else (4, "I")
    short = tag not in (254, 256, 257, 273, 278, 279)
    head = struct.pack(f"{order}HH{format_}", tag, 3 if short else 4, count)
    if count * 2 > word:
        return head + struct.pack(f"{order}{format_}", value)
    if count > 1:
        return head + struct.pack(f"{order}{count}H", *[value] * count).ljust(word, b"\0")
    return head + struct.pack(f"{order}{'H' if short else 'I'}", value).ljust(word, b"\0")


def tiff(image: Any, orientation: int, order: str = "<") -> bytes:
    stored = image[..., ::-1] if image.ndim == 3 else image
    return tiff_of([(stored, {274: orientation})], order)
