"""The command that installs an extra of this package, in the words of how the package itself was installed.

The package is on no index, so that ``pip install tdfusion-edge[train]`` would find nothing.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.redact import redact

NAME = "tdfusion-edge"
PACKAGE = Path(__file__).resolve().parent


def install_command(extra: str, *, options: str = "", beside: str = "") -> str:
    """A command line that installs an extra of this package.

    Args:
        extra: Name of the extra, or several with commas: ``train,export``.
        options: Options of pip, such as ``--force-reinstall``.
        beside: Another package to install in the same call.
    """
    wanted = requirement(extra, package=PACKAGE, record=_record(), here=Path.cwd())
    return " ".join(word for word in ("pip install", options, beside, wanted) if word)


def imported(module: str, extra: str, need: str, error: type[TdfusionError]) -> Any:
    """A library that only an extra of this package brings, imported when it is needed.

    Args:
        module: Its name in Python.
        extra: The extra that brings it.
        need: Who needs it, for people: ``scoring boxes needs faster-coco-eval``.
        error: What to raise.

    Raises:
        TdfusionError: as ``error``, where it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as reason:
        raise error(
            f"{need}, which cannot be imported: {reason}", hint=f"Install it: {install_command(extra)}"
        ) from reason


def requirement(extra: str, *, package: Path, record: str | None, here: Path) -> str:
    """What to give to ``pip install``, quoted for a shell.

    Args:
        extra: Name of the extra.
        package: Folder of the package that is running.
        record: pip's ``direct_url.json`` of the installed package (PEP 610); None where there is none.
        here: The folder that the user is in.
    """
    # The checkout that runs comes first: another copy may be installed as well.
    if (package.parent / "pyproject.toml").is_file():
        return f'-e "{_place(package.parent, here)}[{extra}]"'
    source = _source(record, here)
    if source is None:
        return f'".[{extra}]"  # in a checkout of {NAME}'
    return f'"{source}[{extra}]"' if _is_path(source) else f'"{NAME}[{extra}] @ {source}"'


def _source(record: str | None, here: Path) -> str | None:
    """Path of the folder, or URL of what else pip installed from; None where it is gone or unknown."""
    if record is None:
        return None
    from urllib.parse import unquote, urlparse

    told = json.loads(record)
    url = str(told["url"])
    if "vcs_info" in told:
        return f"{told['vcs_info']['vcs']}+{redact(url)}"
    if not url.startswith("file:"):
        return redact(url)
    place = Path(unquote(urlparse(url).path))
    if not place.exists():
        return None
    return _place(place, here) if "dir_info" in told else url


def _place(folder: Path, here: Path) -> str:
    return "." if folder == here.resolve() else str(folder)


def _is_path(source: str) -> bool:
    return source == "." or source.startswith("/")


def _record() -> str | None:
    import importlib.metadata  # costs what --help takes altogether

    try:
        return importlib.metadata.distribution(NAME).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
