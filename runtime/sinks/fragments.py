"""Fragments of an MP4 file, laid out so that a torn write spoils the last one at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tdfusion_edge.runtime.sinks.output import StreamFile

PAGE = 4096
"""Where kernels and disks tear a write that a kill or a power cut interrupts."""

_HEADER = 8
"""Bytes of length and name before the content of a box."""

_TFRA_FIRST, _TFRA_ENTRY = 8 + 24, 8 + 8 + 3
"""Bytes of the list of fragments before its first entry, and of an entry: a time, an offset, three
numbers (ISO 14496-12, 8.8.10, as libav writes it)."""


class FragmentFile(StreamFile):
    """What the MP4 muxer writes to: boxes, among them the fragments of ``moof`` and ``mdat``.

    A cut ``mdat`` (pictures) costs some frames, but libav refuses a whole file that ends within a
    ``moof`` (their index). So none crosses a page: a ``free`` box fills the page before it where it
    would. Everything in a fragment is relative to its ``moof``; only the list of fragments at the
    end of the file (``mfra``), with which players seek, has to be put right.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__(path, clock=clock)
        self._kind = b""
        self._left = 0
        """Bytes of the current box that are still to come."""
        self._head = b""
        """The first bytes of a box whose header has not come as a whole."""
        self._index = bytearray()
        self._shift = 0
        self._shifts: list[int] = []
        """Bytes of padding before each fragment so far."""

    def seekable(self) -> bool:
        """False: the muxer does not know of the padding, and need not go back."""
        return False

    def write(self, data: bytes | memoryview) -> int:
        """Write all of ``data``, the next bytes of a sequence of boxes; OSError as the base does."""
        rest = memoryview(self._head + bytes(data))
        self._head = b""
        while rest:
            if not self._left:
                if len(rest) < _HEADER:
                    self._head = bytes(rest)
                    break
                self._begin(int.from_bytes(rest[:4], "big"), bytes(rest[4:_HEADER]))
            piece, rest = rest[: self._left], rest[self._left :]
            self._left -= len(piece)
            if self._kind == b"mfra":
                self._index += piece
                piece = memoryview(b"" if self._left else self._corrected())
            super().write(piece)
        return len(data)

    def _begin(self, size: int, kind: bytes) -> None:
        """A box of ``size`` bytes comes next."""
        if kind == b"moof":
            room = PAGE - self.size % PAGE
            if room < size:
                room += PAGE if room < _HEADER else 0
                super().write(room.to_bytes(4, "big") + b"free" + bytes(room - _HEADER))
                self._shift += room
            self._shifts.append(self._shift)
        self._kind, self._left = kind, max(size, _HEADER)

    def _corrected(self) -> bytes:
        """The list of fragments with their true offsets."""
        for number, shift in enumerate(self._shifts):
            at = _TFRA_FIRST + number * _TFRA_ENTRY + 8
            offset = int.from_bytes(self._index[at : at + 8], "big") + shift
            self._index[at : at + 8] = offset.to_bytes(8, "big")
        return bytes(self._index)
