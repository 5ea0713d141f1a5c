"""Control characters in text from elsewhere, written as what they are.

A file's name, a class, a bundle's name may hold what moves a terminal's cursor, colours it, or turns the
order of its letters. All other Unicode stays as it is.
"""

from __future__ import annotations

import re

# C0 but tab and newline, DEL, C1; separators of lines and paragraphs; what overrides or embeds a direction.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def escape(text: str) -> str:
    r"""``text`` with control characters as escape sequences; tabs and newlines stay.

    >>> print(escape("red \x1b[31m"))
    red \x1b[31m
    """
    return _CONTROL.sub(_sequence, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    r"""As :func:`escape`, newlines too: for what stands inside a line of ours.

    >>> print(one_line("a\nerror: b"))
    a\nerror: b
    """
    return escape(text).replace("\n", r"\n")


def _sequence(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
