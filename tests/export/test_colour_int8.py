"""INT8 of a head that sees colours: it is calibrated and measured in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest
import torch
from checkpoints import save
from colour_pairs import SIZE, saved
from tiny_task import TinyColour

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.heads.graph import example_folded, head_onnx
from tdfusion_edge.export.networks import choose
from tdfusion_edge.export.precisions import Fused, Picture, in_precisions
from tdfusion_edge.pairs import PairSource, open_pairs
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.train.models.edge import Edge

FINDS = "tiny_task:TinyColour"
VIEW = checkpoint.TaskView(classes=("person", "car"), height=64, width=96)


class Made(NamedTuple):
    """A bundle in INT8."""

    checkpoint: Path
    data: Path
    opened: Bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("int8")
    data = saved(folder / "pairs", 4)
    torch.manual_seed(0)
    options = {"width": 4, "depth": 1}
    networks: dict[str, Any] = {
        "fusion": (Edge(**options), "edge", options),
        "task": (TinyColour(2).eval(), FINDS, {}),
    }
    path = save(folder / "both.safetensors", networks, task=VIEW)
    precisions = ("fp32", "int8")
    export([path], folder / "bundle", precisions=precisions, size=SIZE, data=data, allowed=[FINDS])
    return Made(path, data, bundle.read(folder / "bundle"))


@pytest.mark.slow
def test_int8_is_calibrated_in_colours(made: Made) -> None:
    """The scales are those of what the network sees of the pairs that calibrate: every second one."""
    pairs = open_pairs(made.data, PairSource(names=("1", "3")), colour=True)
    with Fuser(made.opened, threads=1, precision="fp32", detect=False) as fuse:
        lumas = [fuse.luma(pair.infrared, pair.visible) for pair in pairs]
    task = choose([made.checkpoint], [FINDS]).heads["detector"]
    plain = example_folded(task)
    scales = {}
    infrareds = [pair.infrared for pair in pairs]
    for name in ("colour", "grey"):
        chromas = [pair.chroma if name == "colour" else None for pair in pairs]
        assert name == "grey" or all(chroma is not None for chroma in chromas)
        seen = Fused((), [Picture(*one) for one in zip(lumas, chromas, infrareds, strict=True)])
        real = seen.at(VIEW.width, VIEW.height, ("luma", "chroma"))
        graphs = in_precisions(
            plain, lambda network: head_onnx(network, VIEW), real, ("int8",), task.kind.stay_float
        )
        scales[name] = scales_of(graphs["int8"])
    written = scales_of(made.opened.graph("detector", "int8")[1])
    assert written == scales["colour"]
    assert written != scales["grey"]


def scales_of(raw: bytes) -> dict[str, list[float]]:
    """All scales of an INT8 graph, by name."""
    model = onnx.load_from_string(raw)
    found = {
        one.name: onnx.numpy_helper.to_array(one).ravel().tolist()
        for one in model.graph.initializer
        if one.name.endswith("_scale")
    }
    assert found
    return found
