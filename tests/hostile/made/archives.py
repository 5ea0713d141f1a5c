"""Zips that are small and hold much, written by hand: a library would take as long to write what they hold."""

from __future__ import annotations

import struct
import zlib

CHUNK, TIMES = 1 << 24, 64
"""Bytes that are compressed once, and how often they stand there: 1 GB in all."""
EMPTY_BLOCK = b"\x03\x00"
"""The last block of a deflated stream."""


def zip_bomb(name: str, beside: bytes) -> bytes:
    """A zip with a file of 1 GB of blanks, and a manifest beside it unless it is the manifest itself."""
    blanks = b" " * CHUNK
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # After a full flush nothing refers back, so that the same bytes may stand there again.
    part = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    digest = 0
    for _ in range(TIMES):
        digest = zlib.crc32(blanks, digest)
    files = [(name, part * TIMES + EMPTY_BLOCK, digest, CHUNK * TIMES, 8)]
    if beside:
        files.insert(0, ("manifest.json", beside, zlib.crc32(beside), len(beside), 0))
    return _written(files)


def zip_crowd(manifest: bytes, count: int) -> bytes:
    """A zip with a manifest and so many empty files."""
    empty = [(str(number), b"", 0, 0, 0) for number in range(count)]
    return _written([("manifest.json", manifest, zlib.crc32(manifest), len(manifest), 0), *empty])


def _written(files: list[tuple[str, bytes, int, int, int]]) -> bytes:
    """Name, stored bytes, CRC, size and method of each file as a zip of 64 bits where it needs them."""
    body, index = bytearray(), bytearray()
    for name, stored, digest, size, method in files:
        raw = name.encode()
        common = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 33, digest, len(stored), size, len(raw), 0)
        index += b"PK\x01\x02" + struct.pack("<H", 20) + common
        index += struct.pack("<HHHII", 0, 0, 0, 0o644 << 16, len(body)) + raw
        body += b"PK\x03\x04" + common + raw + stored
    count, at = len(files), len(body)
    wide = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(index), at)
    place = b"PK\x06\x07" + struct.pack("<IQI", 0, at + len(index), 1)
    few = min(count, 0xFFFF)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, few, few, len(index), at, 0)
    return bytes(body + index + (wide + place if count > 0xFFFF else b"") + end)
