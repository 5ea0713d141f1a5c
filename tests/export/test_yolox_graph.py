"""YOLOX as a head of a bundle: its graph is the network, in float32 and in half precision."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from checkpoints import save

from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.heads import boxes
from tdfusion_edge.export.heads.graph import head_onnx
from tdfusion_edge.export.heads.kind import pictures
from tdfusion_edge.export.lint import require_clean
from tdfusion_edge.export.networks import choose
from tdfusion_edge.export.ranges import hard_inputs, require_in_range
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.yolox.network import YOLOX

VIEW = TaskView(classes=("person", "bicycle", "car"), height=64, width=96)
COCO = (("person",), ("bicycle",), ("car", "bus", "truck"))


@pytest.mark.slow
def test_the_graph_is_the_network_in_float32_and_half() -> None:
    torch.manual_seed(0)
    network = YOLOX(3, coco=COCO)
    with torch.no_grad():
        for _ in range(4):  # its batch norm has seen something
            network(torch.rand(2, 1, 64, 96))
    network.eval()
    plain = folded(network, (torch.zeros(1, 1, VIEW.height, VIEW.width),))
    raw = head_onnx(plain, VIEW)
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load_from_string(raw).graph.node)
    gap = boxes.compare(network, raw, VIEW)
    assert gap.max_error <= boxes.SCORE_TOLERANCE
    low = onnx.load_from_string(head_onnx(half(plain), VIEW))
    require_clean(low)
    feeds = {str(number): given for number, given in enumerate(pictures(VIEW, ("luma",)))}
    require_in_range(low, {**feeds, **hard_inputs({"luma": (1, 1, VIEW.height, VIEW.width)})})
    kinds = {tensor.data_type for tensor in low.graph.initializer if tensor.name.endswith("weight")}
    assert kinds <= {onnx.TensorProto.FLOAT16}


def test_a_checkpoint_needs_the_file_no_more_that_it_began_with(tmp_path: Path) -> None:
    small = {"width": 4, "depth": 1}
    own = {"norm": False, "coco": [list(names) for names in COCO]}
    made = YOLOX(3, **own)  # type: ignore[arg-type]
    networks = {
        "fusion": (Edge(**small), "edge", small),
        "task": (made, "yolox", {**own, "pretrained": "/of/another/machine.onnx"}),
    }
    path = save(tmp_path / "both.safetensors", networks, task=VIEW)  # type: ignore[arg-type]
    loaded = choose([path]).heads["detector"].network
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in loaded.state_dict().items())
