"""Text that people and other programs write, and lists of names in messages."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Sequence

_SPELT = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "°": ""}
)
"""Letters that are no others with an accent."""

NAMED = 5
"""So many of a list of names are written out."""

CLASSES = 80
"""So many classes are written out, where what is missing from a list of them matters: COCO's."""

LONGEST = 255
"""Characters of one name that are written out: those of the longest file name."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decoded(data: bytes, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a file. A byte order mark decides its encoding, and is no part of it.

    Args:
        data: All of the file.
        encoding: Of a file without a mark.
        errors: What becomes of bytes that are none of the encoding, as ``bytes.decode`` has it.

    Raises:
        UnicodeDecodeError: it is no text of that encoding.
        LookupError: there is no such encoding.
    """
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), encoding)
    return data.decode(marked, errors)


def composed(name: str) -> str:
    """A name as it is compared: two that look equal are equal (Unicode's NFC).

    macOS writes the letter and its accent apart, other systems write them in one.
    """
    return unicodedata.normalize("NFC", name)


def drawable(text: str) -> str:
    """Text in the letters that OpenCV draws, ASCII's: without accents, and ? for what is none of them.

    >>> drawable("Tür, heiß: 5 °C 🚪")
    'Tur, heiss: 5 C ?'
    """
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_SPELT))
    kept = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return kept.encode("ascii", "replace").decode()


def few(names: Sequence[str], most: int = NAMED, separator: str = ", ") -> str:
    """The first few of a list of names, and how many there are beyond.

    >>> few(["a", "b"]), few(["a", "b", "c", "d"], 2)
    ('a, b', 'a, b and 2 more')
    """
    shown = separator.join(
        name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in names[:most]
    )
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
