"""What an argument of the command line may be, whichever command takes it.

argparse asks these in place of ``Path`` and ``int`` (:class:`tdfusion_edge.cli.Parser`), so that
every command refuses the same things in the same words. What a number may be for one option, its command
knows.
"""

from __future__ import annotations

import os
import re
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tdfusion_edge.errors import RequestError

LARGEST = 2**31 - 1
"""No count that a command takes is larger, and all libraries take it."""


class Suggesting(Action):
    """Stores a text, any, for which ``completion`` offers some.

    Args:
        options: Of argparse.
        suggestions: What is offered; where several are parted by commas, as the first.
    """

    def __init__(self, *options: Any, suggestions: Sequence[str], **more: Any) -> None:
        super().__init__(*options, **more)
        self.suggestions = tuple(suggestions)

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option: str | None = None
    ) -> None:
        """Store it."""
        del parser, option
        setattr(namespace, self.dest, values)


def file_name(text: str) -> str:
    """The name of a file or folder; ``~`` at its beginning is the user's home, as a shell has it.

    Raises:
        ArgumentTypeError: it is empty, ``-`` or an address.
    """
    if not text:
        raise ArgumentTypeError("expected a file or folder, got an empty text")
    if text == "-":
        raise ArgumentTypeError(
            "expected a file or folder, got '-': no command reads standard input, and run alone writes "
            "pictures to standard output; a file of that name is ./-"
        )
    if "://" in text:  # as a path it would lose a slash, and name folders of its parts
        raise ArgumentTypeError(f"expected a file or folder, got the address '{text}'")
    # A shell puts the home in only where ~ begins a word, which it does not in --output=~/out.mp4.
    if not (text == "~" or text.startswith("~/")) or os.path.lexists(text):
        return text
    return os.path.expanduser(text)  # noqa: PTH111 (a path loses the slash behind a folder)


PIPE = "-"
"""Standard output as the name of an output."""


def is_address(text: str) -> bool:
    """Whether an output is an address rather than a file."""
    return "://" in text


def output_name(text: str) -> str:
    """As :func:`file_name`; ``-`` for standard output, or an address to push to, as it is.

    Raises:
        ArgumentTypeError: it is empty.
    """
    return text if text == PIPE or is_address(text) else file_name(text)


def file_path(text: str) -> Path:
    """As :func:`file_name`, as a path."""
    return Path(file_name(text))


def bundle_path(text: str) -> Path:
    """As :func:`file_path`; the name of a bundle that ships with the package stands for it."""
    from tdfusion_edge import bundle

    return bundle.place(file_name(text))


def whole_number(text: str) -> int:
    """An integer.

    Raises:
        ArgumentTypeError: it is none, or lies out of what 32 bits hold.
    """
    try:
        number = int(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a whole number, got '{text}'") from None
    if abs(number) > LARGEST:
        raise ArgumentTypeError(f"expected a whole number of at most {LARGEST}, got '{text}'")
    return number


def size_of(text: str, option: str = "--size") -> tuple[int, int]:
    """Width and height of ``640x480``.

    Raises:
        RequestError: it is none.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise RequestError(option, expected="WxH, such as 640x480", got=text)
    return int(found[1]), int(found[2])
