"""The structure of a TIFF file, which is that of EXIF as well: pages, and what they say of their pixels.

From TIFF 6.0 (sections 2 and 8) and the BigTIFF design. Nothing here trusts a number of the file: what points
outside of it reads as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from tdfusion_edge.errors import SourceError

MOST_PAGES = 65_535
"""Pages of a file; more are a chain that was made to be endless."""

NEW_SUBFILE, SUBFILE, WIDTH, HEIGHT, BITS = 254, 255, 256, 257, 258
PHOTOMETRIC, ORIENTATION, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT = 262, 274, 277, 338, 339

_REDUCED, _TRANSPARENCY = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2  # value of SubfileType
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_UNSIGNED, _SIGNED = 1, 2  # SampleFormat
_MULTIPLIED, _APART = 1, 2  # ExtraSamples: what alpha has done to the other samples
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of the unsigned kinds of a field


class Field(NamedTuple):
    """A value of a page, and where it stands in the file."""

    value: int
    at: int
    size: int


class Structure(NamedTuple):
    """How the numbers of a file are written, and where its first page is pointed at."""

    order: Literal["little", "big"]
    wide: bool
    """BigTIFF: offsets of 8 bytes."""

    @property
    def first(self) -> int:
        """Where the offset of the first page stands."""
        return 8 if self.wide else 4

    @property
    def word(self) -> int:
        """Bytes of an offset."""
        return 8 if self.wide else 4

    def number(self, data: bytes | bytearray, at: int, size: int) -> int:
        """An unsigned number; bytes beyond the end count as missing."""
        return int.from_bytes(data[at : at + size], self.order)


class Page(NamedTuple):
    """One picture of a file."""

    structure: Structure
    at: int
    """Where its directory begins."""
    fields: Mapping[int, Field]
    """First value of each tag that holds whole numbers."""

    def value(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        found = self.fields.get(tag)
        return default if found is None else found.value

    @property
    def orientation(self) -> int:
        """1 to 8, as EXIF counts; 1 where it says something else."""
        found = self.value(ORIENTATION, 1)
        return found if 1 <= found <= 8 else 1

    @property
    def white_is_zero(self) -> bool:
        """Whether its smallest value is its brightest."""
        return self.value(PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO

    @property
    def signed(self) -> bool:
        """Whether its values may be below 0."""
        return self.value(SAMPLE_FORMAT, _UNSIGNED) == _SIGNED

    @property
    def stands_for_itself(self) -> bool:
        """Whether it is a picture, and neither a reduced copy of one nor a mask."""
        other = self.value(NEW_SUBFILE, 0) & (_REDUCED | _TRANSPARENCY)
        return not other and self.value(SUBFILE, 0) != _OLD_REDUCED

    def plain(self, data: bytes | bytearray) -> list[tuple[int, bytes]]:
        """What to write where, so that the file begins with this page, and with nothing to be done to it.

        Decoders differ in whether they turn it, count from black and multiply by alpha, and for which pixels.
        So they get one that is upright, with black as zero and alpha multiplied already; its orientation and
        polarity are applied to what they give.
        """
        structure = self.structure
        place, size = structure.first, structure.word
        first = Field(structure.number(data, place, size), place, size)
        wanted = [(first, self.at)]
        if self.orientation != 1:
            wanted.append((self.fields[ORIENTATION], 1))
        if self.white_is_zero:
            wanted.append((self.fields[PHOTOMETRIC], _BLACK_IS_ZERO))
        if self.value(EXTRA_SAMPLES, _MULTIPLIED) == _APART:
            wanted.append((self.fields[EXTRA_SAMPLES], _MULTIPLIED))
        return [
            (field.at, value.to_bytes(field.size, structure.order))
            for field, value in wanted
            if field.value != value
        ]


def structure_of(data: bytes) -> Structure | None:
    """How a TIFF file or EXIF block is written; None where it is none."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    magic = int.from_bytes(data[2:4], order)
    if data[:2] not in (b"II", b"MM") or magic not in (42, 43):
        return None
    return Structure(order, magic == 43)


def pages(data: bytes) -> Iterator[Page]:
    """The pages of a TIFF file or EXIF block in the order of its chain; none of what is neither.

    Raises:
        SourceError: the chain has no end, or its directories lie in each other.
    """
    structure = structure_of(data)
    if structure is None:
        return
    count = read = 0
    at = structure.number(data, structure.first, structure.word)
    while 0 < at < len(data):
        page, end, following = _page(data, structure, at)
        count, read = count + 1, read + end - at
        # Those of an honest file lie side by side, so that they are no longer than the file.
        if count > MOST_PAGES or read > len(data):
            raise SourceError("its pages have no end", expected=f"{MOST_PAGES:,} pages or fewer")
        yield page
        at = following


def _page(data: bytes, structure: Structure, at: int) -> tuple[Page, int, int]:
    """The page whose directory begins at ``at``, where that ends, and where the next one begins."""
    counted = 8 if structure.wide else 2
    count = structure.number(data, at, counted)
    length = 20 if structure.wide else 12
    begin, room = at + counted, structure.word
    fields: dict[int, Field] = {}
    end = begin + count * length
    for place in range(begin, min(end, len(data)), length):
        tag, kind = structure.number(data, place, 2), structure.number(data, place + 2, 2)
        size, value_at = _SIZES.get(kind, 0), place + 4 + room
        if not size or tag in fields:
            continue
        if structure.number(data, place + 4, room) * size > room:
            value_at = structure.number(data, value_at, room)
        fields[tag] = Field(structure.number(data, value_at, size), value_at, size)
    following = structure.number(data, end, structure.word)
    return Page(structure, at, fields), min(end, len(data)), following
