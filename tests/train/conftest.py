"""What the tests of the training share."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from tiny import TEACHER, write_pairs, write_teacher


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with labelled pairs, and a network that may teach; not to be changed."""
    folder = write_pairs(tmp_path_factory.mktemp("data"))
    write_teacher(folder / TEACHER)
    return folder


@pytest.fixture(scope="session")
def published(data: Path) -> Path:
    """YOLOX-nano as it is published."""
    path = data / "weights" / "yolox_nano" / "yolox_nano.onnx"
    if not path.is_file():
        pytest.skip(f"weights absent: {path}")
    return path


@pytest.fixture(scope="session", autouse=True)
def _forward_mode() -> None:
    """PyTorch's first forward-mode derivative calls its own ``torch.jit.script``, which it has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script`", DeprecationWarning)
        from torch.autograd import forward_ad

        forward_ad._maybe_load_decompositions()  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Networks of this size gain nothing from a second thread, and wait for it where the machine is busy."""
    torch.set_num_threads(1)
