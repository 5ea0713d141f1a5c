"""Checkpoints: what passes from train to export.

One safetensors file with the weights of one or more networks, each under the prefix of its role
(``fusion.stem.weight``); its metadata holds a typed header that says which networks they are, how they
were trained, on what, and how good they were. Reading one runs no code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import TrainingData
from tdfusion_edge.config import Table, parse, to_json
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.files import write_aside
from tdfusion_edge.redact import redact_all

FORMAT = 2
KEY = "tdfusion_edge"
"""Metadata key of the header."""

Weights = Mapping[str, npt.NDArray[Any]]


class Network(Table, frozen=True, kw_only=True):
    """One network of a checkpoint."""

    name: str
    """By name of this package's tables, or "module:Class"."""
    options: dict[str, Any] = {}


class TaskView(Table, frozen=True, kw_only=True):
    """What the task network was trained to see and to tell apart."""

    classes: tuple[str, ...]
    height: int
    width: int


class Header(Table, frozen=True, kw_only=True):
    """What a checkpoint says about itself."""

    format: int
    recipe: str
    """Name of the recipe."""
    networks: dict[str, Network]
    """By role: ``fusion``, ``task`` (T), ``loss`` (G)."""
    task: TaskView | None = None
    """None where there is no task network."""
    fusion_sha256: str | None = None
    """Weights of the finished fusion network whose pictures the task network was trained on
    (:func:`weights_sha256`); None where it saw others, or their origin is not known."""
    strategy: str
    seed: int
    step: int
    steps: int
    """Steps of the whole training, which its learning rates depend on."""
    settings: dict[str, Any] = {}
    """The whole recipe, as it was used."""
    changes: tuple[str, ...] | None = None
    """``--set`` of the command line, by which it differs from the recipe of that name; None: not noted."""
    limits: tuple[str, ...] = ()
    """What the weights must not be relied on for, a sentence each."""
    training_data: tuple[TrainingData, ...]
    metrics: dict[str, float] = {}
    """Metrics on the validation pairs at this step."""
    versions: dict[str, str] = {}


def write(path: Path, weights: Weights, header: Header) -> None:
    """Write a checkpoint aside and rename it, so that ``path`` is always whole.

    Raises:
        OSError: the disk is full or not writable; an older checkpoint at ``path`` stays.
    """
    from safetensors.numpy import save

    raw = save(
        {name: np.ascontiguousarray(array) for name, array in weights.items()},
        # A checkpoint is passed on; the terms of a data set, say, may hold an address.
        metadata={KEY: to_json(redact_all(msgspec.to_builtins(header))).decode()},
    )
    write_aside(path, raw)


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
    _refuse_other_format(path, metadata[KEY])
    header = parse(metadata[KEY].encode(), Header, name=f"{path} (header)")
    return header, weights


def _refuse_other_format(path: Path, header: str) -> None:
    """Refuse before the schema does, whose complaint about a key would not say why."""
    try:
        got = msgspec.json.decode(header, type=dict[str, Any]).get("format")
    except (ValueError, RecursionError):
        return  # for the schema to explain
    if got != FORMAT:
        raise RequestError(
            f"{path} has another format",
            expected=str(FORMAT),
            got=str(got),
            hint="Train it again with this version.",
        )


def of_role(weights: Weights, role: str) -> dict[str, npt.NDArray[Any]]:
    """The weights of one network of a checkpoint, without their prefix."""
    prefix = f"{role}."
    return {name[len(prefix) :]: array for name, array in weights.items() if name.startswith(prefix)}


def weights_sha256(weights: Weights) -> str:
    """Hex digest of one network's weights: of their names, dtypes, shapes and bytes, in whatever order."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name!r} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
