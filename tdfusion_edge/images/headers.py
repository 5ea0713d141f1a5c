"""What a picture file says before it is decoded: its size, and how it is to be shown.

From the formats' own definitions: PNG (third edition, with ``eXIf`` and ``acTL``), JFIF and EXIF, the WebP
container, TIFF 6.0, and Microsoft's bitmap headers. Nothing here trusts a length of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tdfusion_edge.images import tiff
from tdfusion_edge.integrity import PNG_SIGNATURE

_EXIF_MARK = b"Exif\0\0"
_FLIR_MARK = b"FLIR\0"

_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_JPEG_ALONE = {0x01, *range(0xD0, 0xD9)}  # without a length
_JPEG_SCAN, _JPEG_END, _JPEG_APP1 = 0xDA, 0xD9, 0xE1
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class Header(NamedTuple):
    """What a file says of its picture."""

    width: int
    """Pixels as they are stored; 0 where it does not say."""
    height: int
    orientation: int = 1
    """1 to 8, as EXIF counts: how the stored picture is turned to be shown."""
    pictures: int = 1
    """Pages of a TIFF file, or pictures of an animation."""
    radiometric: bool = False
    """A JPEG of a thermal camera that holds its counts beside the rendering that a decoder gives."""
    scans: int = 1
    """Passes over the whole picture that a JPEG's decoder makes."""
    pages: tuple[tiff.Page, ...] = ()
    """Those of a TIFF file that are pictures of their own."""


def header_of(data: bytes) -> Header | None:
    """What a file says of its picture; None where it is no PNG, JPEG, BMP, WebP or TIFF.

    Raises:
        SourceError: the pages of a TIFF file have no end.
    """
    for is_one, read in _FORMATS:
        if is_one(data):
            return read(data)
    return None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of every chunk of a PNG, and where its content begins and ends."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):  # length, name and checksum
        begin = at + 8
        end = begin + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : begin], begin, end
        at = end + 4


def _png(data: bytes) -> Header:
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    orientation, pictures = 1, 1
    for name, begin, end in png_chunks(data):
        if name == b"eXIf":
            orientation = _exif_orientation(data[begin:end])
        elif name == b"acTL":
            pictures = max(1, int.from_bytes(data[begin : begin + 4], "big"))
    return Header(width, height, orientation, pictures)


def _jpeg(data: bytes) -> Header:
    width = height = 0
    orientation: int | None = None
    radiometric, at = False, 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        kind, at = marker[1][0], marker.end()
        if kind in (_JPEG_SCAN, _JPEG_END):
            break
        if kind in _JPEG_ALONE:
            continue
        begin, end = at + 2, at + int.from_bytes(data[at : at + 2], "big")
        if kind in _JPEG_FRAMES:
            height, width = (int.from_bytes(data[here : here + 2], "big") for here in (begin + 1, begin + 3))
        elif kind == _JPEG_APP1 and orientation is None and data.startswith(_EXIF_MARK, begin):
            orientation = _exif_orientation(data[begin:end])
        elif kind == _JPEG_APP1:
            radiometric |= data.startswith(_FLIR_MARK, begin)
        at = max(at, end)
    # In the coded data FF is followed by 00, so that every such pair begins a scan.
    scans = data.count(bytes((0xFF, _JPEG_SCAN)), at) + 1
    return Header(width, height, orientation or 1, radiometric=radiometric, scans=scans)


def _webp(data: bytes) -> Header:
    width = height = 0
    orientation, pictures, at = 1, 0, 12
    while at + 8 <= len(data):
        name, begin = data[at : at + 4], at + 8
        size = int.from_bytes(data[at + 4 : begin], "little")
        if name == b"VP8X":
            width, height = (
                1 + int.from_bytes(data[here : here + 3], "little") for here in (begin + 4, begin + 7)
            )
        elif name == b"VP8 " and not width:
            width, height = (
                int.from_bytes(data[here : here + 2], "little") & 0x3FFF for here in (begin + 6, begin + 8)
            )
        elif name == b"VP8L" and not width:
            bits = int.from_bytes(data[begin + 1 : begin + 5], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif name == b"EXIF":
            orientation = _exif_orientation(data[begin : begin + size])
        elif name == b"ANMF":
            pictures += 1
        at = begin + size + size % 2
    return Header(width, height, orientation, max(1, pictures))


def _tiff(data: bytes) -> Header:
    chain = tuple(tiff.pages(data))
    pages = tuple(page for page in chain if page.stands_for_itself)
    # The largest of them: any may be decoded.
    width, height = max(
        ((page.value(tiff.WIDTH, 0), page.value(tiff.HEIGHT, 0)) for page in pages or chain),
        key=lambda size: size[0] * size[1],
        default=(0, 0),
    )
    return Header(width, height, pictures=len(pages), pages=pages)


def _bmp(data: bytes) -> Header:
    old = int.from_bytes(data[14:18], "little") == 12
    places, size = ((18, 20), 2) if old else ((18, 22), 4)
    # A height below 0 says that the top row is the first.
    width, height = (abs(int.from_bytes(data[at : at + size], "little", signed=not old)) for at in places)
    return Header(width, height)


def _exif_orientation(block: bytes) -> int:
    """Orientation of an EXIF block, 1 to 8; 1 where it says nothing of it."""
    first = next(tiff.pages(block.removeprefix(_EXIF_MARK)), None)
    return 1 if first is None else first.orientation


def _is_webp(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Header]], ...] = (
    (lambda data: data.startswith(PNG_SIGNATURE), _png),
    (lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    (_is_webp, _webp),
    (lambda data: tiff.structure_of(data) is not None, _tiff),
    (lambda data: data.startswith(b"BM"), _bmp),
)
