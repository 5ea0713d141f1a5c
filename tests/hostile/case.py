"""One bad input: how it is made, the command line that meets it, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

SECRET = "Zq7hunter2Kx"
"""Stands in every address with a password; it may come out nowhere."""
MEMORY = 1_500 << 20
"""Bytes that a process may hold; without any work it holds 50 MB, and 250 MB where PyTorch is loaded."""

Wanted: TypeAlias = Literal["right", "error", "degraded", "stopped"]
Stream: TypeAlias = Literal["file", "closed", "full"]


class Wrong(AssertionError):
    """What was written, or said, is not what it should be."""


@dataclass(frozen=True)
class Run:
    """What a command line did."""

    code: int | None
    """Exit code; minus a signal's number; None where it had to be killed."""
    out: str
    err: str
    seconds: float
    peak: int
    """Bytes of memory that it held at most."""
    killed: str | None = None
    """Why it had to be: it hung, or took too much memory."""
    left: bool = False
    """A process of its own outlived it."""

    @property
    def text(self) -> str:
        """All that it said."""
        return f"{self.out}\n{self.err}"


Check: TypeAlias = Callable[[Path, Run], None]
"""Looks at what lies in the folder after a run that ended well; raises :class:`Wrong`."""


@dataclass(frozen=True)
class Case:
    """One bad input.

    What is wanted is one or several of these:

    - ``right``: exit code 0, and ``check`` finds what an independent maker says.
    - ``error``: exit code 1 or 2, one line ``error: ...``, nothing written, nothing lost.
    - ``degraded``: exit code 0 or 1, and a count of what was left out (``says``, or a default pattern).
    - ``stopped``: ended by the Ctrl-C that it gets.
    """

    name: str
    make: Callable[[Path], Sequence[object]]
    """Writes the inputs into the folder, which is the working directory, and gives the arguments."""
    wanted: tuple[Wanted, ...] = ("error",)
    says: str | None = None
    """A pattern that must be found in what it says, if it ends otherwise than right."""
    check: Check | None = None
    codes: tuple[int, ...] = (0,)
    """Exit codes of a right outcome: where nobody can be told the end, some of it failed."""
    told: str | None = None
    """A pattern; where it is found, a result that is not the right one was at least announced."""
    limit: float = 20.0
    """Seconds."""
    leaves: tuple[str, ...] = ()
    """Patterns of names that an error may leave behind: what was recorded before it."""
    replaces: tuple[str, ...] = ()
    """Names that were there before and may be replaced by a good run."""
    env: Mapping[str, str] = field(default_factory=dict)
    stdout: Stream = "file"
    stderr: Stream = "file"
    interrupts: tuple[float, ...] = ()
    """Seconds after the start at which Ctrl-C comes."""
    second: Callable[[Path], Sequence[object]] | None = None
    """Another command line that runs at the same time, on the same output."""
    quick: bool = False
    """It is one of those that run with the quick tests."""


def cases(*groups: Sequence[Case]) -> tuple[Case, ...]:
    """All cases of a family, whose names must differ."""
    found = tuple(case for group in groups for case in group)
    names = [case.name for case in found]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return found
