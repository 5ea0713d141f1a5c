"""A real ``yolox`` that sees infrared beside the fused picture, from checkpoint to runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from checkpoints import save
from colour_pairs import SIZE, saved, scene
from telling import telling

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.color import luma, split
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.graph import LEGACY
from tdfusion_edge.export.heads import boxes
from tdfusion_edge.export.heads.graph import example_folded, head_onnx
from tdfusion_edge.export.networks import choose
from tdfusion_edge.resize import resized, resized_planes
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.train.data.tensors import chroma_tensor
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.yolox.network import YOLOX

pytestmark = pytest.mark.slow

VIEW = checkpoint.TaskView(classes=("person", "car"), height=64, width=96)
EDGE = {"width": 4, "depth": 1}
SHARE = 0.6


class Made(NamedTuple):
    """A bundle and what went into it."""

    checkpoint: Path
    bundle: Path
    network: YOLOX


def yolox(*, colour: bool) -> YOLOX:
    """Never trained."""
    torch.manual_seed(0)
    return telling(YOLOX(len(VIEW.classes), size="pico", colour=colour, norm=False, infrared=SHARE))


@pytest.fixture(scope="module", params=[True, False], ids=["in colour", "in grey"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("infrared")
    torch.manual_seed(0)
    options = {"size": "pico", "colour": request.param, "norm": False, "infrared": SHARE}
    network = yolox(colour=request.param)
    networks: dict[str, Any] = {"fusion": (Edge(**EDGE), "edge", EDGE), "task": (network, "yolox", options)}
    path = save(folder / "made.safetensors", networks, task=VIEW)
    data = saved(folder / "pairs", 3)
    export([path], folder / "made", precisions=("fp32", "fp16"), size=SIZE, data=data, threshold=0.0)
    return Made(path, folder / "made", network)


def wanted(made: Made, infrared: Any, visible: Any, beside: Any) -> np.ndarray:
    """Scores of the PyTorch network on the fused luma, with ``beside`` as infrared."""
    with Fuser(made.bundle, threads=1, precision="fp32", detect=False) as fuse:
        fused = fuse.luma(infrared, luma(visible))
    size = VIEW.width, VIEW.height
    chroma = split(visible)[1]
    colours = None if chroma is None else chroma_tensor([resized_planes(chroma, *size)])
    unit = beside / np.float32(255)
    with torch.inference_mode():
        seen, warm = (torch.from_numpy(resized(one, *size)[None, None]) for one in (fused, unit))
        scores: np.ndarray = made.network.graph_output(seen, colours, warm).scores.numpy()[0]
    return scores


def found(made: Made, infrared: Any, visible: Any, graphs: Any) -> np.ndarray:
    """Scores of all boxes that the runtime finds, the best first."""
    with Fuser(made.bundle, threads=1, precision="fp32", graphs=graphs, stretch="none") as fuse:
        scores: np.ndarray = np.sort(fuse.look(infrared, visible).findings["boxes"].scores)[::-1]
    return scores


@pytest.mark.parametrize("graphs", ["staged", "onepass"])
def test_both_ways_see_what_the_network_sees(made: Made, graphs: str) -> None:
    infrared, visible = scene(7)
    visible = visible if made.network.colour and graphs == "staged" else luma(visible)
    best = float(found(made, infrared, visible, graphs)[0])
    want = wanted(made, infrared, visible, infrared).max()
    assert abs(best - want) <= 2 * boxes.SCORE_TOLERANCE
    other = wanted(made, infrared, visible, luma(visible)).max()
    assert abs(other - want) > 20 * boxes.SCORE_TOLERANCE, "infrared matters to it"


def test_manifest_and_card_say_so(made: Made) -> None:
    manifest = bundle.read(made.bundle).manifest
    graph = manifest.graphs["detector"]
    assert graph.takes_infrared
    assert graph.takes_chroma == made.network.colour
    assert [one.name for one in graph.inputs] == list(made.network.planes)
    assert graph.inputs[-1].shape == (1, 1, VIEW.height, VIEW.width)
    assert ", and infrared beside it, not stretched" in (made.bundle / "MODEL_CARD.md").read_text()


def test_the_legacy_exporter_writes_it_too(made: Made) -> None:
    raw = head_onnx(example_folded(choose([made.checkpoint]).heads["detector"]), VIEW, LEGACY)
    infrared, visible = scene(8, (VIEW.width, VIEW.height))
    chroma = split(visible)[1]
    assert chroma is not None
    one = np.float32(255)
    given = {"luma": luma(visible)[None, None] / one, "chroma": chroma[None] / one}
    given = {name: part for name, part in given.items() if name in made.network.planes}
    given["infrared"] = infrared[None, None] / one
    got = OnnxRuntimeEngine(raw, threads=1).run(given)
    with torch.inference_mode():
        want = made.network.graph_output(**{name: torch.from_numpy(part) for name, part in given.items()})
    assert np.abs(got["scores"] - want.scores.numpy()).max() <= boxes.SCORE_TOLERANCE


def test_verify_passes(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(made.bundle), "--precision", "fp16"]) == 0
    assert "fp16" in capsys.readouterr().out
