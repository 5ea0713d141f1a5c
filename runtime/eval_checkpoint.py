"""A checkpoint for the runtime: exported by a child process, because the runtime has no PyTorch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError, WorkError

SUFFIX = ".safetensors"


def open_bundle(path: Path, network: str | None = None) -> bundle.Bundle:
    """The bundle at ``path``, or the one that is exported from a checkpoint there.

    Args:
        path: Bundle, or a file that ends in ``.safetensors``.
        network: "module:Class" that the checkpoint may name beside the networks of this package.

    Raises:
        TdfusionError: as :func:`tdfusion_edge.bundle.read` raises.
        RequestError: the checkpoint cannot be read or exported as it is; the export says why.
        WorkError: the export failed.
    """
    if path.suffix != SUFFIX or path.is_dir():
        return bundle.read(path)
    if not path.is_file():
        raise InputMissing(f"there is no checkpoint {path}", hint="Make one: tdfusion-edge train RECIPE")
    say(f"exporting {path} ...", error=True)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bundle"
        _export(path, target, network)
        return bundle.read(target)  # all of it is in memory then


def _export(path: Path, target: Path, network: str | None) -> None:
    command = [sys.executable, "-m", "tdfusion_edge", "export", str(path), "-o", str(target)]
    command += [] if network is None else ["--network", network]
    done = subprocess.run(  # noqa: S603 (this program's own command, without a shell)
        command, capture_output=True, text=True, errors="backslashreplace", check=False
    )
    if done.returncode == 0:
        return
    kind = RequestError if done.returncode == RequestError.exit_code else WorkError
    raise kind(f"{path} could not be exported: {_reason(done.stderr) or f'exit code {done.returncode}'}")


def _reason(said: str) -> str:
    """The error in what the export said; all of it for a fault, whose traceback comes before."""
    lines = said.strip().splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("error: ")), 0)
    if any(line.startswith("Traceback ") for line in lines):
        start = 0
    return "\n".join(lines[start:]).removeprefix("error: ")
