"""The bundle: the only thing that passes from export to runtime.

A folder, or one ``.zip`` of the same files: ``manifest.json``, the ONNX graphs and ``MODEL_CARD.md``.
The manifest names every file with its sha256; a file that differs, is missing or is not named is an
error, and so is a name that leads out of the bundle. No engine is ever part of a bundle.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tdfusion_edge import archive
from tdfusion_edge.bundle.formats import FORMAT, OLDEST, to_current
from tdfusion_edge.bundle.manifest import (
    CHROMA,
    FUSION,
    INFRARED,
    ONE_PASS,
    PLANES,
    Graph,
    HeadInfo,
    Manifest,
    Parity,
    Precision,
    Sides,
    TensorInfo,
    TrainingData,
)
from tdfusion_edge.config import convert, decode, to_json
from tdfusion_edge.errors import BundleError, InputMissing, RequestError, TdfusionError
from tdfusion_edge.redact import redact_all

__all__ = [
    "CHROMA",
    "FORMAT",
    "FUSION",
    "INFRARED",
    "MANIFEST",
    "ONE_PASS",
    "PLANES",
    "Bundle",
    "Graph",
    "HeadInfo",
    "Manifest",
    "Parity",
    "Precision",
    "Sides",
    "TensorInfo",
    "TrainingData",
    "assembled",
    "default_path",
    "place",
    "read",
    "shipped",
    "write",
]

MANIFEST = "manifest.json"
MAX_BYTES = 1 << 30
"""A bundle that unpacks to more than this is refused: the largest network here has some megabytes."""
MAX_MANIFEST_BYTES = 1 << 20
"""Likewise of its manifest, which has some kilobytes."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened, verified bundle: every file is in memory and matches its digest."""

    manifest: Manifest
    files: Mapping[str, bytes]

    def graph(self, name: str, precision: Precision = "fp32") -> tuple[Graph, bytes]:
        """Description and ONNX bytes of one graph.

        Raises:
            BundleError: the bundle has no such graph, or not in this precision.
        """
        graph = self.manifest.graphs.get(name)
        if graph is None:
            raise BundleError(
                f"bundle '{self.manifest.name}' has no {name} graph", got=", ".join(self.manifest.graphs)
            )
        if precision not in graph.files:
            raise BundleError(
                f"bundle '{self.manifest.name}' has no {name} graph in {precision}",
                got=", ".join(graph.files),
                hint=f"Export it again with --precision {precision}.",
            )
        return graph, self.files[graph.files[precision]]


SHIPPED = Path(__file__).parent.parent / "runtime" / "bundles"
"""Folder of the bundles that come with the package."""


def default_path() -> Path:
    """The bundle that is taken where none is named."""
    return SHIPPED / "edge"


def shipped() -> list[Path]:
    """Folders of all bundles that come with the package, by name, that of :func:`default_path` first."""
    folders = sorted(folder for folder in SHIPPED.iterdir() if folder.is_dir())
    return sorted(folders, key=lambda folder: folder != default_path())


def place(text: str) -> Path:
    """Where a bundle lies: a path, or the name of one that ships with the package.

    What exists as a path is a path.
    """
    path = Path(text)
    ours = SHIPPED / text
    return ours if not path.exists() and path.name == text and ours.is_dir() else path


def _near(path: Path) -> str | None:
    """What is called almost so: a shipped bundle, or what lies beside it."""
    ours = [folder.name for folder in shipped()] if path.name == str(path) else []
    beside: list[str] = []
    with contextlib.suppress(OSError):  # there may be no such folder
        beside = [entry.name for entry in itertools.islice(path.parent.iterdir(), archive.MAX_FILES)]
    near = difflib.get_close_matches(path.name, [*ours, *beside], n=1)
    return None if not near else near[0] if near[0] in ours else str(path.parent / near[0])


def read(path: Path) -> Bundle:
    """Open a bundle and verify every digest.

    Args:
        path: Folder or ``.zip``.

    Raises:
        InputMissing: there is nothing at ``path``.
        ConfigError: the manifest is no JSON, or has an unknown key or a wrong type.
        BundleError: a file is missing, changed, not named, cannot be read or lies outside the
            bundle, all of it is too large, or another version of this package wrote it.
    """
    if not path.exists():
        near = _near(path)
        raise InputMissing(
            f"there is no bundle at {path}",
            hint=f"Did you mean '{near}'?" if near else "Make one: tdfusion-edge export CHECKPOINT -o BUNDLE",
        )
    names = archive.names(path)
    if MANIFEST not in names:
        raise BundleError(f"{path} is no bundle", expected=MANIFEST, got=", ".join(names[:5]) or "nothing")
    raw = _manifest_of(path)
    manifest = _parsed(path, raw)
    _check_names(path, manifest, set(names) - {MANIFEST})
    files = archive.read(path, manifest.sha256, limit=MAX_BYTES)
    _check_digests(path, manifest, files)
    return Bundle(manifest, files)


def _manifest_of(path: Path) -> bytes:
    return archive.read(path, [MANIFEST], limit=min(MAX_MANIFEST_BYTES, MAX_BYTES))[MANIFEST]


def write(path: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Manifest:
    """Write a bundle whole or not at all; one that stood at ``path`` stays until then.

    Args:
        path: Folder to create or replace, or a ``.zip``.
        manifest: Fields of :class:`Manifest` without ``format`` and ``sha256``.
        files: Name to content.

    Raises:
        RequestError: ``path`` holds something that is no bundle, or a bundle with other files.
        ConfigError: ``manifest`` does not fit :class:`Manifest`.
        BundleError: a file name leads out of the bundle, or a graph has no file.
        SinkError: the disk is full or not writable.
    """
    _refuse_foreign(path)
    full, raw = _assembled(path, manifest, files)
    archive.write(path, {MANIFEST: raw, **files})
    return full


def assembled(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
    """A bundle that is nowhere yet, to be looked at before it is written.

    Args:
        manifest: As :func:`write` takes it.
        files: Name to content.

    Raises:
        ConfigError: ``manifest`` does not fit :class:`Manifest`.
        BundleError: a file name leads out of the bundle, or a graph has no file.
    """
    return Bundle(_assembled(Path("the bundle"), manifest, files)[0], files)


def _assembled(path: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[Manifest, bytes]:
    """The manifest of these files, as a structure and as what is written."""
    digests = {name: _sha256(content) for name, content in files.items()}
    # What was typed as a name, or as a data set's terms, may hold an address.
    raw = to_json({"format": FORMAT, **redact_all(msgspec.to_builtins(manifest)), "sha256": digests})
    # Parsed like a file, so that nothing is written that read() would refuse.
    full = _parsed(path, raw)
    _check_names(path, full, files)
    return full, raw


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _parsed(path: Path, raw: bytes) -> Manifest:
    """The manifest in today's format, whichever known one it was written in."""
    name = f"{path}/{MANIFEST}"
    content = decode(raw, name=name)
    if isinstance(content, dict):
        _refuse_other_format(path, content.get("format", FORMAT))
        content = to_current(content)
    return convert(content, Manifest, name=name)


def _refuse_other_format(path: Path, got: object) -> None:
    """Refuse before the schema does, whose complaint about a new key would not say why."""
    if not isinstance(got, int) or not OLDEST <= got <= FORMAT:
        raise BundleError(
            f"{path} was written by another version of tdfusion-edge",
            expected=f"format {OLDEST} to {FORMAT}",
            got=f"format {got}",
            hint="Export it again with this version: tdfusion-edge export CHECKPOINT -o BUNDLE",
        )


def _check_names(path: Path, manifest: Manifest, names: Collection[str]) -> None:
    for name in manifest.sha256:
        archive.refuse_bad_name(path, name)
        if name not in names or name == MANIFEST:
            raise BundleError(f"{path} lacks '{name}', which its manifest names")
    unnamed = sorted(set(names) - set(manifest.sha256))
    if unnamed:
        raise BundleError(f"{path} holds files that its manifest does not name: {', '.join(unnamed[:5])}")
    for name, graph in manifest.graphs.items():
        if "fp32" not in graph.files:
            raise BundleError(
                f"{path}: the {name} graph has no reference", expected="fp32", got=", ".join(graph.files)
            )
        for file in graph.files.values():
            if file not in names:
                raise BundleError(f"{path} lacks the graph '{file}'")


def _check_digests(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for name, digest in manifest.sha256.items():
        got = _sha256(files[name])
        if got != digest:
            raise BundleError(
                f"{path}: '{name}' was changed after export",
                expected=f"sha256 {digest[:12]}",
                got=got[:12],
                hint="Export the bundle again, or fetch it again.",
            )


def _refuse_foreign(path: Path) -> None:
    """Replace what this package wrote, or an empty folder, and nothing else: not even a note beside it."""
    if not path.exists():
        return
    reason = _why_foreign(path)
    if reason is not None:
        raise RequestError(
            f"{path} exists and is no bundle",
            expected="a bundle and nothing else in it, or an empty folder",
            got=reason,
            hint="Name a new place for the bundle with -o.",
        )


def _why_foreign(path: Path) -> str | None:
    """What makes ``path`` something else than a bundle, None where it may be replaced."""
    if path.is_dir() == (path.suffix == ".zip"):
        return "a folder" if path.is_dir() else "a file"
    if path.is_dir() and not any(path.iterdir()):
        return None
    try:
        names = archive.names(path)
        if MANIFEST not in names:
            return f"no {MANIFEST}"
        raw = _manifest_of(path)
        manifest = _parsed(path, raw)
    except TdfusionError as error:
        return error.what
    named = {MANIFEST, *manifest.sha256}
    if more := sorted(set(names) - named):
        return f"one that also holds '{more[0]}'"
    if less := sorted(named - set(names)):
        return f"one without '{less[0]}', which its manifest names"
    return None
