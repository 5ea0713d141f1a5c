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


def test_a_checkpoint_scores_as_its_network(pair: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = Edge().eval()
    path = pair / "best.safetensors"
    header = checkpoint.Header(
        format=checkpoint.FORMAT,
        recipe="trial",
        networks={"fusion": checkpoint.Network(name="edge")},
        strategy="fixed",
        seed=0,
        step=1,
        steps=1,
        training_data=(),
    )
    weights = {f"fusion.{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
    checkpoint.write(path, weights, header)
    assert main(["eval", str(path), "--data", str(pair), "--json"]) == 0
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
