"""What holds for every case, whatever it is about, and what each kind of outcome must look like."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

from hostile.case import SECRET, Case, Run, Wrong

FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Escape codes and what turns the direction of writing; a line of progress ends in a carriage return."""
ERROR = re.compile(r"^(?:tdfusion-edge[\w -]*: )?error: (.*)$", re.MULTILINE)
WARNING = re.compile(r"^\S+\.py:\d+: \w*Warning", re.MULTILINE)
TRACE, ASKED = "Traceback (most recent", "where the error comes from"
"""How a traceback begins, and what stands before one that ``-v`` asked for."""
COUNT = r"\b(?!0 )\d+ (?:of \d+ )?\w+"
LONGEST_LINE, LONGEST_TEXT = 2_000, 40_000
STOPPED = (130, -2)
"""Exit codes of what Ctrl-C ended."""


def snapshot(folder: Path) -> dict[str, str]:
    """Every name in a folder, and what stands there; nothing is followed."""
    return {str(path.relative_to(folder)): _described(path) for path in sorted(folder.rglob("*"))}


def _described(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(mode):
        return f"kind {stat.S_IFMT(mode):o}"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except PermissionError:  # as the program meets it
        return "not to be read"


def problems(
    case: Case, runs: list[Run], place: Path, before: Mapping[str, str], after: Mapping[str, str]
) -> list[str]:
    """What is wrong with the outcome of a case, a line each; nothing where it is as wanted.

    Args:
        case: The case.
        runs: Of its command line.
        place: Holds the working directory ``work``, and ``home``.
        before: Snapshot of the working directory with the inputs.
        after: The same, after the runs.
    """
    found = [line for run in runs for line in _always(run)]
    found += [line for run in runs for line in _leaks(run, place, before, after)]
    found += _changed(case, before, after)
    outcomes = [_outcome(case, run, place, before, after) for run in runs]
    return found + [line for lines in outcomes for line in lines]


def _always(run: Run) -> Iterator[str]:
    if run.killed:
        yield run.killed
    elif run.code not in (0, 1, 2, *STOPPED):
        yield f"exit code {run.code}"
    if run.left:
        yield "a process of it outlived it"
    if "this is a fault in tdfusion-edge" in run.text or run.text.count(TRACE) > run.text.count(ASKED):
        yield f"a crash: {run.text.strip().splitlines()[-3:]}"
    if warning := WARNING.search(run.text):
        yield f"a warning of Python: {warning[0]}"
    if bad := FORBIDDEN.search(run.text):
        yield f"{bad[0]!r} comes out"
    if len(ERROR.findall(run.err)) > 1:
        yield "more than one error line"
    longest = max(map(len, run.text.splitlines()), default=0)
    if longest > LONGEST_LINE or len(run.text) > LONGEST_TEXT:
        yield f"{longest} characters in a line, {len(run.text)} in all"


def _leaks(run: Run, place: Path, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    if SECRET in run.text or SECRET in unquote(run.text):
        line = next(line for line in run.text.splitlines() if SECRET in unquote(line))
        yield f"the secret is printed: {line[:160]}"
    homely = (str(path.relative_to(place)) for path in (place / "home").rglob("*"))
    new = [f"work/{name}" for name in after if after[name] != before.get(name)]
    for name in (*new, *homely):
        path = place / name
        if SECRET in name or (path.is_file() and SECRET.encode() in path.read_bytes()):
            yield f"the secret is written: {name}"


def _changed(case: Case, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name, what in before.items():
        if after.get(name) != what and not any(fnmatch(name, one) for one in case.replaces):
            yield f"{name} was {'changed' if name in after else 'removed'}"


def _outcome(
    case: Case, run: Run, place: Path, before: Mapping[str, str], after: Mapping[str, str]
) -> list[str]:
    """Why the outcome is none of those that are wanted; nothing where it is one."""
    ways = {
        "right": lambda: _not_right(case, run, place),
        "error": lambda: _no_error(case, run, before, after),
        "degraded": lambda: _not_degraded(case, run, place),
        "stopped": lambda: None if run.code in STOPPED else f"not stopped, exit code {run.code}",
    }
    reasons = [ways[way]() for way in case.wanted]
    return [] if None in reasons else ["; ".join(filter(None, reasons))]


def _not_right(case: Case, run: Run, place: Path) -> str | None:
    if run.code not in case.codes:
        return f"not right, exit code {run.code}: {_last(run)}"
    if case.told is not None and re.search(case.told, run.text):
        return None
    return _checked(case, run, place)


def _checked(case: Case, run: Run, place: Path) -> str | None:
    try:
        if case.check is not None:
            case.check(place / "work", run)
    except (Wrong, OSError, ValueError, KeyError) as error:
        return f"silently wrong: {error}"
    return None


def _no_error(case: Case, run: Run, before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    if run.code not in (1, 2):
        return f"no error, exit code {run.code}: {_last(run)}"
    line = ERROR.search(run.err)
    if line is None or len(line[1]) < 10:
        return f"no clear error line: {_last(run)}"
    if case.says is not None and not re.search(case.says, run.err):
        return f"an error that does not say '{case.says}': {line[0][:160]}"
    new = [name for name in after if name not in before]
    left = [name for name in new if not any(fnmatch(name, one) for one in case.leaves)]
    if left:
        return f"an error that leaves {', '.join(left[:4])}"
    replaced = [name for name in before if after.get(name) != before[name]]
    if replaced:
        return f"an error that costs {', '.join(replaced[:4])}"
    return None


def _not_degraded(case: Case, run: Run, place: Path) -> str | None:
    if run.code not in (0, 1):
        return f"not degraded, exit code {run.code}: {_last(run)}"
    if not re.search(case.says or COUNT, run.text):
        return f"degraded without a count '{case.says or COUNT}': {_last(run)}"
    return _checked(case, run, place) if run.code == 0 else None


def _last(run: Run) -> str:
    """The last line that it said."""
    lines = run.text.strip().splitlines()
    return ERROR.search(run.err)[0][:160] if ERROR.search(run.err) else (lines[-1][:160] if lines else "")
