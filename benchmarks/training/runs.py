"""Trainings as child processes, a few at a time; what is finished already is not done again.

Every run has a folder of its own below a work folder. A note in it says what went in besides the recipe:
the digests of the checkpoints that it starts from or sees the pictures of. A run is finished if its last
checkpoint says so, has the settings that are asked for now, and the note names the same inputs; one that
was interrupted is resumed; one with anything else in its folder is refused before any run starts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks import machine
from benchmarks.rows import Trained, trained
from benchmarks.script import ROOT
from tdfusion_edge import checkpoint
from tdfusion_edge.checkpoint import Header
from tdfusion_edge.config import Table, convert, load, to_json
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError, WorkError
from tdfusion_edge.files import write_aside
from tdfusion_edge.train import state
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.recipe_file import load_recipe
from tdfusion_edge.train.state import LAST, STATE

LOG = "console.log"
NOTE = "inputs.json"
LOOK_S = 0.2
"""Seconds between two looks at the processes."""


class Run(NamedTuple):
    """One training."""

    name: str
    """Its folder below the work folder."""
    recipe: str
    """A shipped recipe's name, or a path."""
    changes: tuple[str, ...] = ()
    """``--set`` of the command line."""
    inputs: Mapping[str, Path] = {}
    """Files that the result depends on beside recipe and data, by what they are."""


class Note(Table, frozen=True, kw_only=True):
    """What a run began from."""

    inputs: dict[str, str]
    """SHA-256 by name."""
    commit: str | None
    """Of the checkout that it was begun with, with ``+`` behind it where files differed from it."""


def run_all(
    runs: Sequence[Run], data: Path, work: Path, *, jobs: int = 1, device: str = "auto"
) -> dict[str, Header]:
    """Bring all runs to their end; returns the headers of their last checkpoints by the runs' names.

    Args:
        runs: Which.
        data: Folder that the recipes' data are relative to.
        work: Folder of the runs' folders.
        jobs: Processes at a time, each with one thread.
        device: ``--device`` of the trainings.

    Raises:
        InputMissing: an input is not there.
        RequestError: a run's folder holds another training.
        WorkError: a training failed. The others are ended and can be gone on with.
    """
    twice = sorted({run.name for run in runs if [other.name for other in runs].count(run.name) > 1})
    if twice:
        raise RequestError("two runs have one folder", got=twice[0])
    headers = {run.name: finished(run, work) for run in runs}
    waiting = [run for run in runs if headers[run.name] is None]
    if len(waiting) < len(runs):
        say(f"{len(runs) - len(waiting)} of {len(runs)} trainings are finished already", error=True)
    for run in waiting:
        _begin(run, work)
    _run_children(waiting, data, work, jobs, device)
    for run in waiting:
        headers[run.name] = finished(run, work)
    found = {name: header for name, header in headers.items() if header is not None}
    for run in runs:
        if run.name not in found:
            raise WorkError(f"training {run.name} ended before its last step", hint=_hint(run, work))
    return found


def finished(run: Run, work: Path) -> Header | None:
    """The header of a finished run, or None where there is something left to do.

    Raises:
        InputMissing: an input or the recipe is not there.
        RequestError: the recipe does not take the changes, or the folder holds a training with other
            settings or from other inputs.
    """
    folder = work / run.name
    settings = state.settings(load_recipe(run.recipe, run.changes))
    went_in = digests(run.inputs)
    if not (folder / NOTE).is_file():
        if folder.exists() and any(folder.iterdir()):
            raise RequestError(
                f"{folder} holds something else than a run of this benchmark", hint="Name another --work."
            )
        return None
    noted = load(folder / NOTE, Note)
    changes = state.differences(noted.inputs, went_in, "sha256 of")
    header = checkpoint.read(folder / LAST)[0] if (folder / LAST).is_file() else None
    if header is not None:
        changes += state.differences(_completed(header, folder), settings)
    if changes:
        raise RequestError(
            f"{folder} holds another training",
            expected="the same settings and inputs",
            got=f"changes in {', '.join(changes)}",
            hint="Name another --work, or remove that folder.",
        )
    return header if header is not None and header.step == header.steps else None


def _completed(header: Header, folder: Path) -> dict[str, Any]:
    """Settings of a training with the defaults of options that are younger than it."""
    return state.settings(convert(header.settings, Recipe, name=f"{folder / LAST} (settings)"))


def digests(inputs: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of files by name.

    Raises:
        InputMissing: one is not there.
    """
    for name, path in inputs.items():
        if not path.is_file():
            raise InputMissing(f"there is no {name} {path}")
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in inputs.items()}


def change(key: str, value: str | Path | float) -> str:
    """A ``--set`` argument whose value is TOML, so that no path is taken for anything else."""
    return f"{key}={json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)}"


def commits(runs: Sequence[Run], work: Path) -> str:
    """Commits that the runs were begun with, ``+`` behind one whose files were changed."""
    return ", ".join(sorted({load(work / run.name / NOTE, Note).commit or "unknown" for run in runs}))


def table_of(row: str, seeds: Sequence[int], headers: Sequence[Header]) -> Trained:
    """A row of the result file from the last checkpoints of one row, in the order of the seeds.

    What a checkpoint has no figure for (a class that no validation picture shows) is left out.
    """
    names = [name for name in headers[0].metrics if all(name in header.metrics for header in headers)]
    values = {name: tuple(header.metrics[name] for header in headers) for name in names}
    return trained(row, seeds, headers[0].steps, values)


def _begin(run: Run, work: Path) -> None:
    """Make the run's folder with its note; what was left by a child that never kept a state goes."""
    folder = work / run.name
    if (folder / NOTE).is_file():
        if (folder / STATE).is_file():
            return
        shutil.rmtree(folder)
    commit, dirty = machine.commit(ROOT)
    note = Note(inputs=digests(run.inputs), commit=commit and commit + "+" * bool(dirty))
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / NOTE, to_json(note))


def _command(run: Run, data: Path, work: Path, device: str) -> list[str]:
    folder = work / run.name
    command = [sys.executable, "-m", "tdfusion_edge", "train", run.recipe, "--data", str(data)]
    command += ["-o", str(folder), "--device", device]
    for changed in run.changes:
        command += ["--set", changed]
    return [*command, "--resume"] if (folder / STATE).is_file() else command


def _run_children(runs: Sequence[Run], data: Path, work: Path, jobs: int, device: str) -> None:
    """All runs, ``jobs`` at a time; none is left running when this returns."""
    waiting, running = list(runs), dict[str, tuple[Run, subprocess.Popen[bytes]]]()
    with _ended(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                say(f"{run.name} ... ({len(waiting)} more waiting)", error=True)
                running[run.name] = run, _start(run, data, work, device)
            with suppress(subprocess.TimeoutExpired):
                next(iter(running.values()))[1].wait(LOOK_S)
            for name, (run, process) in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    _refuse_failed(run, process.returncode, work)


def _start(run: Run, data: Path, work: Path, device: str) -> subprocess.Popen[bytes]:
    # One thread each: sums in another order give other last bits, and a training other weights.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    log: IO[bytes]
    with (work / run.name / LOG).open("ab") as log:
        return subprocess.Popen(
            _command(run, data, work, device),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


@contextmanager
def _ended(running: Mapping[str, tuple[Run, subprocess.Popen[bytes]]]) -> Iterator[None]:
    try:
        yield
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()


def _refuse_failed(run: Run, code: int, work: Path) -> None:
    if code != 0:
        said = (work / run.name / LOG).read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        raise WorkError(f"training {run.name} ended with code {code}", got=said or "no message")


def _hint(run: Run, work: Path) -> str:
    return f"What it said is in {work / run.name / LOG}."
