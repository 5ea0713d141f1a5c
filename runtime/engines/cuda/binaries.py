"""The compiled kernels of this installation: whether they are unchanged, and which of them a driver loads.

:mod:`~tdfusion_edge.runtime.engines.cuda.build` makes them. An installation from the sources alone has none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from tdfusion_edge.errors import EngineError
from tdfusion_edge.files import write_aside

FOLDER = Path(__file__).resolve().parent / "kernels"
SOURCE = "all.cu"
PLUGIN_SOURCE = "unit.cu"
MANIFEST = "kernels.json"
BUILD = "python -m tdfusion_edge.runtime.engines.cuda.build  # needs nvcc, and no GPU"


class Ptx(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The kernel that a plugin of TensorRT takes along, for the driver to compile."""

    file: str
    sha256: str
    family: int
    """Compute capability from which on it runs."""


class Binary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fat binary."""

    file: str
    sha256: str
    cuda: tuple[int, int]
    """Version of the compiler."""
    targets: tuple[int, ...]
    """Compute capabilities with code of their own; for what is newer the driver compiles it."""
    sources: str
    """sha256 over the sources that it was made of."""
    ptx: tuple[Ptx, ...] = ()


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    binaries: tuple[Binary, ...]


def sources_digest(folder: Path = FOLDER) -> str:
    """sha256 over the names and bytes of all sources."""
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.cu"), *folder.glob("*.h"))):
        raw = path.read_bytes()
        digest.update(f"{path.name} {len(raw)}\n".encode() + raw)
    return digest.hexdigest()


def manifest(folder: Path = FOLDER) -> Manifest:
    """What was compiled.

    Raises:
        EngineError: nothing was, or the manifest cannot be read.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise EngineError("this installation has no compiled kernels", hint=BUILD) from error
    except (OSError, msgspec.DecodeError) as error:
        raise EngineError(
            f"the manifest of the compiled kernels cannot be read: {error}", hint=BUILD
        ) from error


def manifest_with(binary: Binary, folder: Path = FOLDER) -> None:
    """Enter a binary, in the place of one of the same name."""
    try:
        others = [one for one in manifest(folder).binaries if one.file != binary.file]
    except EngineError:
        others = []
    # What other sources were compiled to is of no use beside these.
    kept = [one for one in others if one.sources == binary.sources]
    written = Manifest(tuple(sorted((*kept, binary), key=lambda one: one.file)))
    write_aside(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(written), indent=2) + b"\n")


def image_for(driver: tuple[int, int], capability: int, folder: Path = FOLDER) -> bytes:
    """The fat binary that a driver is to load; as :func:`binary_for`, which says which one that is."""
    return _unchanged(binary_for(driver, capability, folder), folder)


def ptx_for(driver: tuple[int, int], capability: int, folder: Path = FOLDER) -> bytes:
    """What a driver is to compile for a plugin: of the newest family that the GPU has.

    Raises:
        EngineError: as :func:`binary_for`, or this set has none.
    """
    best = binary_for(driver, capability, folder)
    fitting = [one for one in best.ptx if one.family <= capability]
    if not fitting:
        raise EngineError(f"{best.file} was compiled without what a plugin needs", hint=BUILD)
    one = max(fitting, key=lambda one: one.family)
    return _read(one.file, one.sha256, folder)


def binary_for(driver: tuple[int, int], capability: int, folder: Path = FOLDER) -> Binary:
    """What the manifest says of the fat binary that a driver is to load, and whose file is unchanged.

    Args:
        driver: Major and minor version of CUDA that it supports.
        capability: Of the GPU, 87 for sm_87.
        folder: Where the binaries lie.

    Raises:
        EngineError: there is none for it, or it is not what the manifest says.
    """
    binaries = manifest(folder).binaries
    fitting = [one for one in binaries if one.cuda[0] <= driver[0]]
    if not fitting:
        raise EngineError(
            "the compiled kernels are for a newer driver",
            expected=f"kernels of CUDA {driver[0]} or earlier",
            got=", ".join(f"CUDA {one.cuda[0]}.{one.cuda[1]}" for one in binaries) or "none",
            hint=f"With nvcc of CUDA {driver[0]}: {BUILD}",
        )
    best = max(fitting, key=lambda one: one.cuda)
    if capability < min(best.targets):
        raise EngineError(
            "the GPU is too old for our kernels",
            expected=f"sm_{min(best.targets)} or later",
            got=f"sm_{capability}",
        )
    _unchanged(best, folder)
    return best


def _unchanged(best: Binary, folder: Path) -> bytes:
    """The bytes of a fat binary.

    Raises:
        EngineError: it is not what the manifest says.
    """
    raw = _read(best.file, best.sha256, folder)
    if best.sources != sources_digest(folder):
        raise EngineError(f"{best.file} was compiled of other sources than these", hint=BUILD)
    return raw


def _read(name: str, sha256: str, folder: Path) -> bytes:
    try:
        raw = (folder / name).read_bytes()
    except OSError as error:
        raise EngineError(f"the compiled kernels cannot be read: {error}", hint=BUILD) from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != sha256:
        raise EngineError(
            f"{name} was changed since it was compiled",
            expected=f"sha256 {sha256}",
            got=digest,
            hint=BUILD,
        )
    return raw
