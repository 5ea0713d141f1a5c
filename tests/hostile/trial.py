"""Tries cases: in a test, or all of them from the command line, for a table.

``PYTHONPATH=.:tests python -m hostile.trial [WORD ...]`` writes a line for each case whose name holds a word:
name, what is wanted, ``as wanted`` or what was seen instead.
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hostile import families
from hostile.case import Case, Run
from hostile.program import Program
from hostile.rules import problems, snapshot


def try_out(program: Program, case: Case, place: Path) -> tuple[list[str], list[Run]]:
    """Make a case's inputs in ``place``, run it, and say what is wrong with what came of it.

    What is as wanted leaves nothing.
    """
    work = place / "work"
    work.mkdir(parents=True)
    lines = [make(work) for make in (case.make, case.second) if make is not None]
    before = snapshot(work)
    runs = program.run(case, lines, place)
    found = problems(case, runs, place, before, snapshot(work))
    if not found:
        shutil.rmtree(place, ignore_errors=True)
    return found, runs


def everything() -> dict[str, tuple[Case, ...]]:
    """All cases by family."""
    names = sorted(found.name for found in pkgutil.iter_modules(families.__path__))
    return {name: importlib.import_module(f"hostile.families.{name}").CASES for name in names}


def as_parameters(*modules: ModuleType) -> list[Any]:
    """The cases of families as parameters of a test: those that are not quick are slow."""
    return [
        pytest.param(
            case,
            id=f"{module.__name__.rpartition('.')[2]}: {case.name}",
            marks=() if case.quick else pytest.mark.slow,
        )
        for module in modules
        for case in module.CASES
    ]


def main(words: list[str]) -> int:
    """Try them, two at a time."""
    chosen = [
        (f"{family}: {case.name}", case)
        for family, found in everything().items()
        for case in found
        if not words or any(word in f"{family}: {case.name}" for word in words)
    ]
    folder = Path(tempfile.mkdtemp(prefix="hostile"))
    programs = [Program(), Program()]
    begun = time.monotonic()

    def one(number: int) -> list[str]:
        lines = []
        for index in range(number, len(chosen), len(programs)):
            name, case = chosen[index]
            try:
                found, runs = try_out(programs[number], case, folder / str(index))
            except Exception as error:  # of the case itself
                raise RuntimeError(name) from error
            shutil.rmtree(folder / str(index), ignore_errors=True)
            seen = " | ".join(found) or "as wanted"
            took = f"{runs[0].seconds:.1f} s, {runs[0].peak >> 20} MB"
            lines.append(f"{name}\t{' or '.join(case.wanted)}\t{seen}\t{took}")
            sys.stderr.write(".F"[bool(found)])
            sys.stderr.flush()
        return lines

    with ThreadPoolExecutor(len(programs)) as pool:
        lines = sorted(line for part in pool.map(one, range(len(programs))) for line in part)
    for program in programs:
        program.close()
    shutil.rmtree(folder, ignore_errors=True)
    bad = sum("\tas wanted\t" not in line for line in lines)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stderr.write(f"\n{len(lines)} cases, {bad} not as wanted, {time.monotonic() - begun:.0f} s\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
