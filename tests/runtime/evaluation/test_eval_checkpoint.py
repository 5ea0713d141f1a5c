"""``tdfusion-edge eval CHECKPOINT``: what is scored is what the exported bundle gives."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tdfusion_edge import checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.metrics import evaluate
from tdfusion_edge.train.models.edge import Edge


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "1.png"), random.integers(0, 256, (64, 80)).astype(np.uint8))
    return tmp_path


def write_checkpoint(path: Path, network: torch.nn.Module, name: str) -> None:
    header = checkpoint.Header(
        format=checkpoint.FORMAT,
        recipe="trial",
        networks={"fusion": checkpoint.Network(name=name)},
        strategy="fixed",
        seed=0,
        step=1,
        steps=1,
        training_data=(),
    )
    weights = {f"fusion.{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
    checkpoint.write(path, weights, header)


def test_a_checkpoint_scores_as_its_network_whatever_lies_beside_it(
    pair: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = Edge().eval()
    write_checkpoint(pair / "best.safetensors", network, "edge")
    # What another program left in the working directory is not run.
    (pair / "onnx.py").write_text("raise RuntimeError('the working directory is searched for modules')")
    monkeypatch.chdir(pair)
    assert main(["eval", "best.safetensors", "--data", ".", "--json"]) == 0
    printed = capfd.readouterr()
    assert "exporting" in printed.err
    rows = json.loads(printed.out)["rows"]
    pictures = [cv2.imread(str(pair / part / "1.png"), 0) for part in ("ir", "vi")]
    with torch.inference_mode():
        fused = network(*(torch.from_numpy(p)[None, None] / 255 for p in pictures)).fused[0, 0]
    expected = evaluate((fused * 255).round().clamp(0, 255).to(torch.uint8).numpy(), *pictures)
    assert rows == {"trial": pytest.approx(expected._asdict(), rel=1e-3)}


def test_why_a_checkpoint_cannot_be_exported_is_passed_on(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(pair / "none.safetensors"), "--data", str(pair)]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
    (pair / "bad.safetensors").write_bytes(b"nothing of the kind")
    assert main(["eval", str(pair / "bad.safetensors"), "--data", str(pair)]) == 2
    said = capsys.readouterr().err
    assert "bad.safetensors could not be exported: " in said
    assert "is no whole checkpoint" in said
    assert said.count("error: ") == 1


def test_networks_of_ones_own_come_from_pythonpath(
    pair: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (pair / "own").mkdir()
    (pair / "own" / "my_networks.py").write_text("raise ImportError('found and run')")
    write_checkpoint(pair / "best.safetensors", Edge(), "my_networks:Mine")
    monkeypatch.chdir(pair)
    monkeypatch.setenv("PYTHONPATH", "own")  # relative, so meant from here
    arguments = ["--data", ".", "--network", "my_networks:Mine", "--network", "my_networks:Other"]
    assert main(["eval", "best.safetensors", *arguments]) == 2
    said = capsys.readouterr().err
    assert "'my_networks:Mine' cannot be imported: found and run" in said
    assert "Its module must be installed, or on PYTHONPATH." in said
