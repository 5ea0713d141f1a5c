"""What the tests of the export share: every graph takes PyTorch a second or more, so few are made."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_bundle import Checkpoints, Small, exported, saved
from torch.onnx._internal.exporter import _registration


@pytest.fixture(scope="session", autouse=True)
def one_registry() -> Iterator[None]:
    """PyTorch's table of ONNX operators is made once an opset, not anew for every graph.

    Making it takes up to half of the time that a small graph takes, and it has no public switch. An export
    reads it; it adds to it only where it is given operators of the caller's, which ours never is.
    """
    with pytest.MonkeyPatch.context() as patch:
        made = functools.cache(_registration.ONNXRegistry.from_torchlib)
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", staticmethod(made))
        yield


@pytest.fixture(scope="session")
def small_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of every brightness, 160x120."""
    folder, random = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for side in ("ir", "vi"):
        (folder / side).mkdir()
        for number in range(2):
            picture = random.integers(0, 256, (15, 20), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            cv2.imwrite(str(folder / side / f"{number}.png"), picture)
    return folder


@pytest.fixture(scope="session")
def small_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Of a fusion network and two detectors."""
    return saved(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def small(small_checkpoints: Checkpoints, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The bundle of them. Its tests stand in one file, for every process of the tests makes its own."""
    return exported(small_checkpoints, tmp_path_factory.mktemp("small") / "bundle")
