"""Checkpoints that are damaged, forged or no checkpoints; reading one runs no code."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hostile.case import Case, cases
from hostile.made.commands import picture_folder

Make = Callable[[Path], Sequence[object]]


def evaluated(make: Callable[[Path], object]) -> Make:
    """``eval`` of such a checkpoint."""

    def made(folder: Path) -> list[str]:
        for what in ("infrared", "visible"):
            picture_folder(folder, what, 1)
        make(folder / "bad.safetensors")
        return ["eval", "bad.safetensors", "--data", "."]

    return made


def exported(make: Callable[[Path], object]) -> Make:
    """``export`` of such a checkpoint."""

    def made(folder: Path) -> list[str]:
        make(folder / "bad.safetensors")
        return ["export", "bad.safetensors", "-o", "out"]

    return made


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def bytes_of(content: bytes) -> Callable[[Path], object]:
    """A file of them."""
    return lambda path: path.write_bytes(content)


class _Evil:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return os.system, ("touch out-of-the-pickle",)


def _pickle(path: Path) -> None:
    import pickle

    path.write_bytes(pickle.dumps(_Evil()))


TENSOR = {"fusion.a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
FORGED: dict[str, Callable[[Path], object]] = {
    "empty": bytes_of(b""),
    "text": bytes_of(b"no checkpoint at all"),
    "binary": bytes_of(bytes(range(256)) * 9),
    "a pickle": _pickle,
    "without metadata": bytes_of(tensors(TENSOR, bytes(16))),
    "a header of 2**60 bytes": bytes_of(tensors({}, length=1 << 60)),
    "a header that is no JSON": bytes_of(tensors(b"{ none")),
    "a deep header": bytes_of(tensors(b"[" * 100_000)),
    "a tensor beyond the end": bytes_of(tensors(TENSOR | {"__metadata__": {}})),
    "a tensor of 2**62 numbers": bytes_of(tensors({"a": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 4]}}, bytes(4))),
    "metadata of escape codes": bytes_of(tensors({"__metadata__": {"tdfusion": "\x1b[31m\u202e"}} | TENSOR, bytes(16))),
    "a pipe": os.mkfifo,
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "not there": lambda path: None,
}  # fmt: skip
SEEN_AT_ONCE = ("a pipe", "/dev/zero", "a folder", "not there")
"""What ``eval`` refuses itself; all else is exported first, by a process of its own that takes seconds."""
CASES = cases(
    [Case(f"export of a checkpoint: {what}", exported(make), says="bad|checkpoint", limit=40) for what, make in FORGED.items()],
    [Case(f"eval of a checkpoint: {what}", evaluated(FORGED[what]), says="bad|checkpoint|bundle", limit=90) for what in ("a pickle", *SEEN_AT_ONCE)],
)  # fmt: skip
