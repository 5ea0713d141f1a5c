"""Reads commands out of Markdown, for the tests and for .ci/run; needs no library.

``python3 tests/readme.py 1`` prints the command line with which README.md starts a first run,
``2`` the one that runs the tests.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHELL = ("sh", "bash", "shell")


def shell_lines(markdown: str) -> list[str]:
    """Command lines of the fenced shell blocks, each joined over its ``\\`` continuations."""
    fences = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", markdown, re.MULTILINE | re.DOTALL)
    text = "".join(block.replace("\\\n", " ") for language, block in fences if language in SHELL)
    lines = (line.strip() for line in text.splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line and not line.startswith("#")]


def blocks(markdown: str, language: str) -> list[str]:
    """Contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```\s*$", markdown, re.MULTILINE | re.DOTALL)


def from_nothing(markdown: str) -> list[str]:
    """The command lines that begin on a machine without anything: by making an environment."""
    return [line for line in shell_lines(markdown) if line.startswith("python3 -m venv ")]


def calls(line: str, program: str = "tdfusion-edge") -> Iterator[list[str]]:
    """Arguments of each call of ``program`` in a command line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;<>"):
            if words and Path(words[0]).name == program:
                yield words[1:]
            words = []
        else:
            words.append(word)


def quoted_calls(markdown: str, program: str = "tdfusion-edge") -> list[list[str]]:
    """Words of each `` `tdfusion-edge …` `` in the running text."""
    text = re.sub(r"^```.*?^```\s*$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return [code.split()[1:] for code in re.findall(r"`([^`\n]+)`", text) if code.split()[0] == program]


if __name__ == "__main__":
    found = from_nothing((ROOT / "README.md").read_text(encoding="utf-8"))
    if len(found) != 2:
        sys.exit(f"README.md: expected 2 command lines that begin with 'python3 -m venv', got {len(found)}")
    sys.stdout.write(found[int(sys.argv[1]) - 1] + "\n")
