"""Tells a whole file from one that was cut short, from its structure alone.

Decoders do not: depending on the version a cut JPEG or PNG comes back half grey without a word, and
a cut video looks like a short one. So the structure that promises a length or an end is read here:
the end marker of a JPEG, the IEND chunk of a PNG, the sizes that WebP, BMP, AVI, MP4 and Matroska
files state. A damaged picture of the right length is left to the decoder's own checks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# In the coded data of a JPEG, FF stands for a marker unless 00 (a literal FF), D0..D7 (restart) or
# another FF (filling) follows.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA

_BMP_UNCOMPRESSED = 0
_MP4_FIRST = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")
_MP4_HOLDING = (b"ftyp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"styp", b"imda")
"""Boxes of pictures, and of what says where they are: any other may be cut and no picture is lost."""
_MATROSKA_SIGNATURE, _MATROSKA_HEADER, _MATROSKA_SEGMENT = b"\x1a\x45\xdf\xa3", 0x1A45DFA3, 0x18538067


def image_is_cut(data: bytes) -> bool:
    """True where a PNG, JPEG, WebP or BMP file ends before its own structure does.

    False for every other kind, TIFF among them: its decoder notices.
    """
    for signature, is_cut in _IMAGE_CHECKS:
        if data.startswith(signature):
            return is_cut(data)
    return False


def padded(data: bytes) -> bytes:
    """The bytes of a WebP with the pad byte that its last chunk counts and that its writer left out.

    That byte is no part of the picture, but decoders refuse a file without it. All others come as they are.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or end != len(data) + 1:
        return data
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size == len(data) and size % 2:
            return data + b"\0"
        at += 8 + size + size % 2
    return data


class VideoStructure(NamedTuple):
    """What the structure of a video file says of its length."""

    missing: int = 0
    """Bytes that the file lacks of the length that it states."""
    further: tuple[int, ...] = ()
    """Where further recordings begin behind the first."""


def video_structure(path: Path) -> VideoStructure:
    """Reads how long an MP4, MOV, Matroska, WebM or AVI file says that it is.

    Nothing is missing from any other kind, nor from a recording that states no length because it was never
    closed. What stands behind the last box of an MP4 is a camera's own and no promise. Further recordings,
    joined byte by byte, are looked for in MP4, MOV, Matroska and WebM, of which FFmpeg does not read all.
    """
    actual = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        if head[:4] == b"RIFF":
            return VideoStructure(max(0, _riff_end(file, actual) - actual))
        if head[:4] == _MATROSKA_SIGNATURE:
            return _matroska_structure(file, actual)
        if head[4:8] in _MP4_FIRST:
            return _mp4_structure(file, actual)
    return VideoStructure()


def video_bytes_missing(path: Path) -> int:
    """How many bytes a video file lacks of the length that it states; see :func:`video_structure`."""
    return video_structure(path).missing


def _png_is_cut(data: bytes) -> bool:
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):  # length, name and checksum of a chunk
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return True


def _jpeg_is_cut(data: bytes) -> bool:
    # Segments are stepped over by their lengths: a preview inside one has an end marker of its own.
    at = 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        kind, at = marker[1][0], marker.end()
        if kind == _JPEG_END:
            return False
        at += int.from_bytes(data[at : at + 2], "big")
    return True


def _webp_is_cut(data: bytes) -> bool:
    return 8 + int.from_bytes(data[4:8], "little") > len(data)


def _bmp_is_cut(data: bytes) -> bool:
    if len(data) < 34 or int.from_bytes(data[14:18], "little") < 40:
        return len(data) < 26
    if int.from_bytes(data[30:34], "little") != _BMP_UNCOMPRESSED:
        return False
    begin, bits = int.from_bytes(data[10:14], "little"), int.from_bytes(data[28:30], "little")
    width = abs(int.from_bytes(data[18:22], "little", signed=True))
    height = abs(int.from_bytes(data[22:26], "little", signed=True))  # negative: top row first
    row = (width * bits + 31) // 32 * 4
    # The size that the header states is not used: some cameras leave it 0.
    return begin + row * height > len(data)


_IMAGE_CHECKS: tuple[tuple[bytes, Callable[[bytes], bool]], ...] = (
    (PNG_SIGNATURE, _png_is_cut),
    (b"\xff\xd8\xff", _jpeg_is_cut),
    (b"RIFF", _webp_is_cut),
    (b"BM", _bmp_is_cut),
)


def _riff_end(file: BinaryIO, actual: int) -> int:
    """Where the last RIFF chunk ends: an AVI of more than a gigabyte is several of them."""
    at = 0
    while at + 8 <= actual:
        file.seek(at)
        head = file.read(8)
        if head[:4] != b"RIFF":
            break
        size = int.from_bytes(head[4:], "little")
        at += 8 + size + size % 2 * (at + 8 + size < actual)
    return at


def _mp4_structure(file: BinaryIO, actual: int) -> VideoStructure:
    """Walks the top-level boxes; one that holds pictures or says where they are must not be cut."""
    at, beginning, index, fragments = 0, 0, None, False
    further: tuple[int, ...] = ()
    while at + 8 <= actual:
        file.seek(at)
        head = file.read(16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:  # a 64-bit size follows the name
            size = int.from_bytes(head[8:16], "big")
        # 0: the box reaches to the end of the file, whatever that is. Less than 8 is no box: the structure
        # is damaged, which the demuxer will say. No name: what a camera put behind the last box.
        if size < 8 or not all(32 < letter < 127 for letter in name):
            return VideoStructure(further=further)
        fragments |= name == b"moof"
        if name == b"ftyp":
            beginning = at
        if name == b"moov":
            if index is not None:
                further += (beginning if beginning > index else at,)
            index = at
        at += size
        if at > actual:
            return VideoStructure(at - actual if name in _MP4_HOLDING else 0, further)
    file.seek(at)
    cut = fragments and _begins_a_box(file.read(8))
    return VideoStructure(8 - (actual - at) if cut else 0, further)


def _begins_a_box(rest: bytes) -> bool:
    """Whether fewer than 8 bytes look like a length and the first letters of a fragment's name."""
    return bool(rest.strip(b"\0")) and rest[:1] == b"\0" and any(n.startswith(rest[4:]) for n in _MP4_HOLDING)


def _matroska_structure(file: BinaryIO, actual: int) -> VideoStructure:
    """Walks headers and segments; one of unknown size reaches to the end of the file, whatever that is."""
    further: list[int] = []
    while (at := file.tell()) < actual:
        name, _ = _ebml_number(file, keep_marker=True)
        size, unknown = _ebml_number(file, keep_marker=False)
        if name == _MATROSKA_HEADER and at:
            further.append(at)
        if name == _MATROSKA_SEGMENT:
            if unknown:
                break
            if file.tell() + size > actual:
                return VideoStructure(file.tell() + size - actual, tuple(further))
        file.seek(size, os.SEEK_CUR)
    return VideoStructure(further=tuple(further))


def _ebml_number(file: BinaryIO, *, keep_marker: bool) -> tuple[int, bool]:
    """A number of variable length, and whether all its bits are 1, which means unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return 0, True
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    mask = (1 << (7 * length)) - 1
    return (value if keep_marker else value & mask), value & mask == mask
