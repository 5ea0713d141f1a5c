"""Checkpoints: what passes from train to export.

One safetensors file with the weights of the fusion network; its metadata holds a typed header that
says which network it is, how it was trained, on what, and how good it was. Reading one runs no code.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import TrainingData
from tdfusion_edge.config import Table, parse, to_json
from tdfusion_edge.errors import InputMissing, RequestError

FORMAT = 1
KEY = "tdfusion_edge"
"""Metadata key of the header."""

Weights = Mapping[str, npt.NDArray[Any]]


class Header(Table, frozen=True, kw_only=True):
    """What a checkpoint says about itself."""

    format: int
    recipe: str
    """Name of the recipe."""
    network: str
    """Name of the fusion network, or "module:Class"."""
    network_options: dict[str, Any] = {}
    strategy: str
    seed: int
    step: int
    steps: int
    """Steps of the whole training, which its learning rates depend on."""
    settings: dict[str, Any] = {}
    """The whole recipe, as it was used."""
    limits: tuple[str, ...] = ()
    """What the weights must not be relied on for, a sentence each."""
    training_data: tuple[TrainingData, ...]
    metrics: dict[str, float] = {}
    """Fusion metrics on the validation pairs at this step."""
    versions: dict[str, str] = {}


def write(path: Path, weights: Weights, header: Header) -> None:
    """Write a checkpoint aside and rename it, so that ``path`` is always whole.

    Raises:
        OSError: the disk is full or not writable; an older checkpoint at ``path`` stays.
    """
    from safetensors.numpy import save

    raw = save(
        {name: np.ascontiguousarray(array) for name, array in weights.items()},
        metadata={KEY: to_json(header).decode()},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[Header, dict[str, npt.NDArray[Any]]]:
    """Header and weights of a checkpoint.

    Raises:
        InputMissing: there is no file at ``path``.
        RequestError: it is no safetensors file, or none of ours, or of another format.
        ConfigError: its header has an unknown key or a wrong type.
    """
    if not path.is_file():
        raise InputMissing(f"there is no checkpoint {path}", hint="Make one: tdfusion-edge train RECIPE")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            metadata = cast("dict[str, str]", file.metadata() or {})
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise RequestError(
            f"{path} is no whole checkpoint: {error}", expected="a safetensors file"
        ) from error
    if KEY not in metadata:
        raise RequestError(
            f"{path} is no checkpoint of tdfusion-edge", expected=f"a header '{KEY}' in its metadata"
        )
    header = parse(metadata[KEY].encode(), Header, name=f"{path} (header)")
    if header.format != FORMAT:
        raise RequestError(f"{path} has another format", expected=str(FORMAT), got=str(header.format))
    return header, weights
