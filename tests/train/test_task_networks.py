"""What a task network's kind gives to the export, for every network of that kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny import TinyTask

from tdfusion_edge.train.models.tables import TASK_NETWORKS, build_task
from tdfusion_edge.train.models.task import BoxNetwork, BoxPrediction, MaskNetwork, MaskOutput, TaskNetwork
from tdfusion_edge.train.models.yolo import YOLO
from tdfusion_edge.train.models.yolox.network import YOLOX

CLASSES, HEIGHT, WIDTH = 3, 64, 96
LUMA = torch.rand(2, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(("make", "kind"), [(YOLO, BoxNetwork), (YOLOX, BoxNetwork), (TinyTask, MaskNetwork)])
def test_the_graphs_outputs_are_what_the_kind_says(
    make: Callable[..., TaskNetwork], kind: type[TaskNetwork]
) -> None:
    network = make(CLASSES).eval()
    assert isinstance(network, kind)
    with torch.inference_mode():
        given = network.graph_output(LUMA)
    assert tuple(network.outputs) == given._fields  # type: ignore[attr-defined]
    sizes = {"batch": 2, "classes": CLASSES, "height": HEIGHT, "width": WIDTH, "4": 4}
    for output, tensor in zip(network.outputs.values(), given, strict=True):
        assert str(tensor.dtype) == f"torch.{output.dtype}"
        named = dict(zip(output.axes, tensor.shape, strict=True))
        assert {axis: size for axis, size in named.items() if axis in sizes} == {
            axis: sizes[axis] for axis in output.axes if axis in sizes
        }


def test_a_box_networks_graph_gives_what_it_decodes() -> None:
    torch.manual_seed(0)
    network = YOLO(CLASSES, "p").eval()
    with torch.inference_mode():
        given, decoded = network.graph_output(LUMA), network.decode(network(LUMA))
    assert isinstance(given, BoxPrediction)
    assert all(torch.equal(*both) for both in zip(given, decoded, strict=True))


def test_a_mask_networks_graph_gives_the_class_with_the_largest_score() -> None:
    torch.manual_seed(0)
    network = TinyTask(CLASSES).eval()
    with torch.inference_mode():
        given, scores = network.graph_output(LUMA), network.decode(network(LUMA)).logits
    assert isinstance(given, MaskOutput)
    assert len(given.mask.unique()) > 1
    chosen = scores.gather(1, given.mask.long()[:, None])[:, 0]
    assert torch.equal(chosen, scores.amax(1))


def test_this_packages_networks_are_of_a_kind() -> None:
    kinds = {name: build_task(name, {}, CLASSES).labels for name in TASK_NETWORKS}
    assert kinds == {"yolo": "boxes", "yolox": "boxes", "yolox_masks": "mask", "segformer": "mask"}
