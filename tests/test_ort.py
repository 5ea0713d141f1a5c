"""ONNX Runtime leaves nothing behind and is imported in one way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_imports import ROOT, imported


def home_after(code: str, home: Path, **variables: str) -> list[str]:
    """Files that a program leaves in its home and its folder for temporary files."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        **variables,
    }
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=120)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "code",
    [
        "import tdfusion_edge.runtime.engines.onnxruntime",
        "from tdfusion_edge.cli import main; main(['doctor'])",
        "from tdfusion_edge.cli import main; main(['verify', 'edge'])",
    ],
    ids=["import", "doctor", "verify"],
)
def test_it_leaves_nothing_behind(code: str, tmp_path: Path) -> None:
    assert home_after(code, tmp_path) == []


def test_there_is_one_way_to_it() -> None:
    folders = ("tdfusion_edge", "train", "export", "runtime", "benchmarks", "examples")
    files = sorted({path.resolve() for folder in folders for path in (ROOT / folder).rglob("*.py")})
    ours = "tdfusion_edge.runtime.engines.ort"
    ways: dict[str, bool] = {}
    for path in files:
        names = list(imported(path))
        if any(name.partition(".")[0] == "onnxruntime" for name in names):
            ways[str(path.relative_to(ROOT))] = any(name.startswith(ours) for name in names)
    assert ways == {"runtime/engines/ort.py": False, "export/int8.py": True}
