"""The command line of scripts that print a result file as tables for a document."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.schema import ResultFile, read
from tdfusion_edge.console import say
from tdfusion_edge.errors import TdfusionError


def print_tables(
    program: str,
    description: str | None,
    default: Path,
    as_markdown: Callable[[ResultFile], str],
    argv: list[str] | None,
) -> int:
    """Print what ``as_markdown`` makes of the file that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, nargs="?", default=default, metavar="FILE")
    args = parser.parse_args(argv)
    try:
        say(as_markdown(read(args.file)))
    except TdfusionError as error:
        say(f"error: {error}", error=True)
        return error.exit_code
    return 0
