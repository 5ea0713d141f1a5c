"""``export --engine``: what does not fit is said before the export, and the engines come after it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import save_fusion

from tdfusion_edge.cli import main
from tdfusion_edge.install import install_command
from tdfusion_edge.train.models.edge import Edge


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save_fusion(
        tmp_path_factory.mktemp("engine") / "edge.safetensors", Edge(4, 1).eval(), width=4, depth=1
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--target", "sm_89"], 2, "--target, --engine-cache and --workspace: expected --engine as well"),
        (["--size", "64x"], 2, "--size: expected WxH"),
        (["--engine", "tensorrt", "--target", "sm_89"], 2, "--target sm_89 is for TensorRT-RTX"),
        (["--engine", "torch-tensorrt", "--target", "sm_89"], 2, "--target sm_89 is for TensorRT-RTX"),
        (["--engine", "tensorrt-rtx", "--size", "64"], 2, "--size: expected WxH"),
        (["--engine", "torch-tensorrt"], 1, install_command("torch-tensorrt")),
        (["--engine", "tensorrt"], 1, "TensorRT is not installed"),
    ],
)
def test_a_wrong_request_exports_nothing(
    saved: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    assert main(["export", str(saved), "-o", str(tmp_path / "bundle"), *arguments]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX is not installed (pip install tensorrt-rtx-cu13)",
)
def test_the_engines_come_after_the_bundle(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "engines").mkdir(mode=0o700)
    place = str(tmp_path / "bundle")
    build = ["--target", "sm_120", "--size", "64x48", "--engine-cache", str(tmp_path / "engines")]
    export = ["export", str(saved), "-o", place, "--precision", "fp32", "--engine", "tensorrt-rtx"]
    assert main([*export, *build]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"wrote {place}"
    assert lines[-4].startswith("fusion in fp32, 1x1x48x64, sm_120: built in ")
    assert lines[-3].startswith("onepass in fp32, 48x64 48x64x3 2, sm_120: built in ")
    assert lines[-1].startswith(
        f"next: tdfusion-edge run --bundle {place} --camera ir0,vis0 --backend tensorrt-rtx"
    )
    assert main(["engines", place, "--backend", "tensorrt-rtx", *build]) == 0
    assert "already there" in capsys.readouterr().out
