"""The one-pass network against what the runtime does around two graphs."""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from torch import Tensor, nn

from tdfusion_edge import bundle
from tdfusion_edge.bundle import ONE_PASS, Precision
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.color import luma, merge, split
from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export import onepass_graph
from tdfusion_edge.export.onepass import OnePass, OnePassOutput, halvings, percentiles, size_range
from tdfusion_edge.resize import resized
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.heads.inputs import NEUTRAL, Inputs
from tdfusion_edge.runtime.picture import range as thermal
from tdfusion_edge.runtime.picture import stretch
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.task import BoxNetwork, BoxPrediction

VIEW = TaskView(classes=("a", "b"), height=24, width=32)


class Mean(nn.Module):
    """A fusion network without weights."""

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        return FusionOutput((infrared + visible) / 2)


class Kept(Mean):
    """It keeps the visible luma that it was given."""

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        self.visible = visible
        return super().forward(infrared, visible)


class Seen(NamedTuple):
    planes: Tensor


class Echo(BoxNetwork):
    """A detector whose scores are what it sees; each plane's one box is all of the picture."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self.colour = colour

    def forward(self, luma: Tensor, chroma: Tensor | None = None) -> Seen:
        return Seen(luma if chroma is None else torch.cat((luma, chroma), dim=1))

    def loss(self, output: Any, targets: Any) -> dict[str, Tensor]:
        raise NotImplementedError

    def decode(self, output: Seen) -> BoxPrediction:
        count, height, width = output.planes.shape[-3:]
        boxes = torch.tensor([[[0.0, 0.0, width, height]] * count])
        return BoxPrediction(boxes, output.planes.flatten(2))


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 256, (height, width), dtype=np.uint8),
        random.integers(0, 256, (height, width, 3), dtype=np.uint8),
    )


def run(
    infrared: np.ndarray,
    visible: np.ndarray,
    limits: tuple[float, float] = (0.0, 1.0),
    *,
    colour: bool = False,
) -> OnePassOutput:
    network = OnePass(Mean(), Echo(colour=colour), VIEW, visible.shape[1::-1]).eval()
    with torch.inference_mode():
        output = network(torch.from_numpy(infrared), torch.from_numpy(visible), torch.tensor(limits))
    assert isinstance(output, OnePassOutput)
    return output


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_fused_picture_is_the_runtime_s(seed: int) -> None:
    infrared, visible = pair(48, 64, seed)
    low, high = 0.1, 0.85
    fused = (infrared.astype(np.float32) + luma(visible)) / np.float32(510)
    shown = merge(thermal.scale_to_8bit(fused, low, high), split(visible)[1])
    difference = run(infrared, visible, (low, high)).fused.numpy().astype(int) - shown
    # OpenCV rounds chroma to 8 bits on the way there and back.
    assert np.abs(difference).max() <= 2
    assert np.abs(difference).mean() < 0.5


def test_a_grey_picture_stays_grey() -> None:
    infrared, _ = pair(48, 64)
    grey = np.repeat(pair(48, 64, 1)[0][..., None], 3, axis=2)
    fused = run(infrared, grey, (0.2, 0.7)).fused
    assert (fused[..., 0] == fused[..., 1]).all()
    assert (fused[..., 0] == fused[..., 2]).all()


@pytest.mark.parametrize("size", [(64, 48), (96, 80), (128, 96), (160, 120), (40, 30)])
def test_the_detector_sees_what_it_was_trained_on(size: tuple[int, int]) -> None:
    infrared, visible = pair(size[1], size[0])
    output = run(infrared, visible)
    fused = (infrared.astype(np.float32) + luma(visible)) / np.float32(510)
    expected = resized(fused, VIEW.width, VIEW.height)
    # On white noise: OpenCV rounds the weights of its interpolation.
    assert np.abs(output.scores[0, 0].numpy() - expected.ravel()).max() < 2e-3
    assert np.abs(output.scores[0, 0].numpy() - expected.ravel()).mean() < 2e-4
    assert output.boxes.tolist() == [[[0, 0, *size]]]


@pytest.mark.parametrize("size", [(64, 48), (96, 80), (128, 96), (160, 120), (40, 30), (61, 47)])
def test_a_detector_that_sees_colours_sees_the_visible_picture_s(size: tuple[int, int]) -> None:
    infrared, visible = pair(size[1], size[0])
    plain, coloured = run(infrared, visible), run(infrared, visible, colour=True)
    assert torch.equal(coloured.scores[:, 0], plain.scores[:, 0])
    expected = Inputs(VIEW.width, VIEW.height, ("luma", "chroma")).of(*split(visible))["chroma"][0]
    # On white noise: the runtime rounds to 8 bits at every halving, and once more at the end.
    difference = np.abs(coloured.scores[0, 1:].numpy() - expected.reshape(2, -1))
    assert difference.max() <= 1.6 / 255
    assert difference.mean() < 0.5 / 255


def test_a_grey_picture_has_the_chroma_of_one_without_colours() -> None:
    infrared, luma_alone = pair(48, 64)[0], pair(48, 64, 1)[0]
    seen = run(infrared, np.repeat(luma_alone[..., None], 3, axis=2), colour=True).scores[0, 1:]
    assert np.array_equal(np.unique(seen.numpy()), [NEUTRAL])


def test_luma_and_chroma_are_the_runtime_s_to_the_last_bit() -> None:
    """Of every colour whose blue is a multiple of five."""
    network = OnePass(Kept(), None, None, (256, 256))
    green, red = np.mgrid[:256, :256].astype(np.uint8)
    for blue in range(0, 256, 5):
        picture = np.dstack((np.full_like(red, blue), green, red))
        network(torch.zeros(256, 256), torch.from_numpy(picture), torch.tensor((0.0, 1.0)))
        want_luma, want_chroma = split(picture)
        assert np.array_equal(network.fusion.visible[0, 0].mul(255).round().numpy(), want_luma)
        chroma = network.chroma(torch.from_numpy(picture).float())
        assert np.array_equal(chroma[0].mul(255).round().numpy(), want_chroma)


def test_the_limits_are_those_of_the_stretch() -> None:
    infrared, visible = pair(480, 640)
    fused = (infrared.astype(np.float32) + luma(visible)) / np.float32(510)
    expected = thermal.percentiles(thermal.subsample(fused), *stretch.PERCENTILES)
    assert run(infrared, visible).measured.tolist() == pytest.approx(expected, abs=1e-6)


@given(st.integers(60, 40_000).filter(lambda count: (count - 1) % 1000 != 500), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_percentiles_of_any_sample(count: int, seed: int) -> None:
    """Where the rank is a half, Python rounds to the even number, and either is a nearest one."""
    sample = np.random.default_rng(seed).random(count, dtype=np.float32)
    expected = thermal.percentiles(sample, *stretch.PERCENTILES)
    assert percentiles(torch.from_numpy(sample), 50).tolist() == pytest.approx(expected, abs=1e-7)


def test_a_side_that_cannot_be_halved_is_refused() -> None:
    assert halvings((640, 480), (256, 192)) == ((2, 2),)
    assert halvings((1920, 480), (256, 192)) == ((2, 2), (1, 2))
    with pytest.raises(ExportError, match=r"even as long as they are above 512x384.*got 641x480"):
        halvings((641, 480), (256, 192))


def test_every_side_in_range_is_halved_as_often() -> None:
    for side in range(32, 1400, 2):
        smallest, largest, unit = size_range(side, 256, 32)
        if side % unit:
            continue
        assert smallest <= side <= largest
        times = len(halvings((side, 192), (256, 192)))
        assert all(len(halvings((other, 192), (256, 192))) == times for other in (smallest, largest)), side
        assert smallest % unit == largest % unit == 0


@pytest.mark.parametrize("size", [(64, 48), (640, 480)])
def test_without_a_detector_half_and_double_sizes_fit(size: tuple[int, int]) -> None:
    sizes = onepass_graph.sizes_of(size, None)
    raw = onepass_graph.onepass_onnx(OnePass(Edge(4, 1), None, None, size).eval(), size, sizes)
    with closing(OnnxRuntimeEngine(raw, threads=1)) as engine:
        for rows, columns in (
            (sizes[0].smallest, sizes[1].smallest),
            (size[1], size[0]),
            (sizes[0].largest, sizes[1].largest),
        ):
            infrared, visible = onepass_graph.coloured((columns, rows), 0)
            limits = np.array([0.0, 1.0], np.float32)
            output = engine.run({"infrared": infrared, "visible": visible, "limits": limits})
            assert output["fused"].shape == (rows, columns, 3)
            low, high = output["measured"]
            assert 0 <= low < high <= 1


def eight_bit_uses(model: onnx.ModelProto) -> set[tuple[str, str]]:
    """What 8-bit tensors of a graph are converted from or to, and every other thing that is done with one."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    kinds = {value.name: TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in values}
    uses = set()
    for node in model.graph.node:
        for one, other in ((node.input, node.output), (node.output, node.input)):
            for name in one:
                if kinds.get(name) == "UINT8":
                    direction = "from" if one is node.input else "to"
                    uses.add((f"{node.op_type} {direction} 8 bits", kinds[other[0]]))
    return uses


CAST = {("Cast from 8 bits", "FLOAT"), ("Cast to 8 bits", "FLOAT")}


def test_what_has_8_bits_is_converted_and_nothing_else() -> None:
    """TensorRT has no other layer for it. The sizes of the pictures, which boxes need, are those of
    floats."""
    network = OnePass(Edge(4, 1), Echo(colour=True), VIEW, (64, 48)).eval()
    sizes = onepass_graph.sizes_of((64, 48), VIEW)
    model = onnx.load_from_string(onepass_graph.onepass_onnx(network, (64, 48), sizes))
    assert any(node.op_type == "Shape" for node in model.graph.node)
    assert eight_bit_uses(model) == CAST


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_shipped_graph_converts_what_has_8_bits_too(precision: Precision) -> None:
    raw = bundle.read(bundle.default_path()).graph(ONE_PASS, precision)[1]
    assert eight_bit_uses(onnx.load_from_string(raw)) == CAST


@pytest.mark.parametrize(("size", "view"), [((161, 120), VIEW), ((8, 120), VIEW), ((8, 120), None)])
def test_a_size_that_it_cannot_take_is_refused(size: tuple[int, int], view: TaskView | None) -> None:
    with pytest.raises(
        RequestError, match=r"does not take this size: expected multiples of \d and \d pixels"
    ):
        onepass_graph.sizes_of(size, view)
