"""A checkpoint for the runtime: exported by a child process, because the runtime has no PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tdfusion_edge
from tdfusion_edge import bundle
from tdfusion_edge.console import note
from tdfusion_edge.errors import InputMissing, RequestError, WorkError

SUFFIX = ".safetensors"


def open_bundle(path: Path, networks: Sequence[str] = ()) -> bundle.Bundle:
    """The bundle at ``path``, or the one that is exported from a checkpoint there.

    Args:
        path: Bundle, or a file that ends in ``.safetensors``.
        networks: "module:Class" that the checkpoint may name beside the networks of this package.

    Raises:
        TdfusionError: as :func:`tdfusion_edge.bundle.read` raises.
        RequestError: the checkpoint cannot be read or exported as it is, and the export says why; or
            networks are named for a bundle, which needs none.
        WorkError: the export failed.
    """
    if path.suffix != SUFFIX or path.is_dir():
        if networks:
            raise RequestError(
                f"--network {networks[0]} is for a checkpoint", expected=f"a file *{SUFFIX}", got=str(path)
            )
        return bundle.read(path)
    if not path.is_file():
        raise InputMissing(f"there is no checkpoint {path}", hint="Make one: tdfusion-edge train RECIPE")
    note(f"exporting {path} ...")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bundle"
        _export(path, target, networks)
        return bundle.read(target)  # all of it is in memory then


def _export(path: Path, target: Path, networks: Sequence[str]) -> None:
    # "-m" looks for modules in the working directory first, where anything may lie; so the child works in
    # the folder of this package, which it needs on its path anyway, and gets absolute paths.
    command = [
        sys.executable,
        "-m",
        "tdfusion_edge",
        "export",
        str(path.absolute()),
        "-o",
        str(target),
        "--precision",
        "fp32",
        "--no-onepass",
    ]
    command += [f"--network={network}" for network in networks]
    done = subprocess.run(  # noqa: S603 (this program's own command, without a shell)
        command,
        cwd=Path(tdfusion_edge.__file__).absolute().parent.parent,
        env=_environment(),
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    if done.returncode == 0:
        return
    kind = RequestError if done.returncode == RequestError.exit_code else WorkError
    raise kind(f"{path} could not be exported: {_reason(done.stderr) or f'exit code {done.returncode}'}")


def _environment() -> dict[str, str]:
    """This process's, where PYTHONPATH still means the same folders from another working directory."""
    environment = dict(os.environ)
    if environment.get("PYTHONPATH"):
        folders = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, folders))
    return environment


def _reason(said: str) -> str:
    """The error in what the export said; all of it for a fault, whose traceback comes before."""
    lines = said.strip().splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("error: ")), 0)
    if any(line.startswith("Traceback ") for line in lines):
        start = 0
    return "\n".join(lines[start:]).removeprefix("error: ")
