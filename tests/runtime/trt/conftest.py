from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from trt_wheels import RTX


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A folder for engines that is this user's alone, whatever the umask says."""
    folder = tmp_path / "engines"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="session")
def rtx() -> None:
    """Skips where TensorRT-RTX is not installed; it builds on machines without a GPU."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip(f"TensorRT-RTX is not installed (pip install {RTX})")
