"""Edge with gains at a half, a quarter or an eighth of the resolution."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from taught import taught_edge
from torch.nn import functional as F

from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.fusion import fusion_onnx
from tdfusion_edge.train.models.edge import STRIDES, Edge

strides = st.sampled_from(STRIDES)
sides = st.integers(32, 75)


@settings(max_examples=30)
@given(strides, sides, sides)
def test_the_gains_of_every_stride_and_size_are_interpolated_bilinearly(
    stride: int, height: int, width: int
) -> None:
    """As PyTorch's own ``interpolate`` does it: no pattern of the stride's size in the picture."""
    network = taught_edge(4, width=4, depth=1, stride=stride)
    infrared, visible = torch.rand(2, 1, 1, height, width)
    with torch.inference_mode():
        features = network.stem(torch.cat((infrared, visible), dim=1)).relu()
        coarse = network.most * network.head(network.body[0](features).relu()).sigmoid()
        expected = F.interpolate(coarse, scale_factor=stride, mode="bilinear", align_corners=False)
        gains = network.gains(infrared, visible)
    assert coarse.shape[-2:] == (-(-height // stride), -(-width // stride))
    torch.testing.assert_close(gains, expected[..., :height, :width])


@pytest.mark.parametrize("stride", STRIDES)
def test_it_begins_with_the_sum_that_it_is_told_at_every_stride(stride: int) -> None:
    infrared, visible = torch.rand(2, 1, 1, 51, 70)
    with torch.inference_mode():
        fused = Edge(start=(0.5, 0.9), stride=stride)(infrared, visible).fused
    torch.testing.assert_close(fused, (0.5 * infrared + 0.9 * visible).clamp(max=1))


@pytest.mark.parametrize("stride", STRIDES)
def test_every_pixel_of_both_sources_reaches_the_gains(stride: int) -> None:
    """A kernel narrower than the stride would leave some out."""
    network = taught_edge(3, stride=stride)
    pair = [torch.rand(1, 1, 37, 45, requires_grad=True) for _ in range(2)]
    network.gains(*pair).square().sum().backward()
    for source in pair:
        assert source.grad is not None
        # The last cells of a size that the stride does not divide may be seen by a unit that is off.
        assert (source.grad != 0).float().mean() > 0.95
        assert (source.grad[..., :32, :40] != 0).all()


@pytest.mark.parametrize("stride", [4, 8])
def test_the_graph_of_a_wider_stride_is_the_network_at_any_size(stride: int) -> None:
    network = taught_edge(5, width=8, depth=1, stride=stride)
    session = onnxruntime.InferenceSession(fusion_onnx(network), providers=["CPUExecutionProvider"])
    for height, width in ((32, 32), (95, 131)):
        infrared, visible = torch.rand(2, 1, 1, height, width)
        with torch.inference_mode():
            expected = network(infrared, visible).fused.numpy()
        (fused,) = session.run(None, {"infrared": infrared.numpy(), "visible": visible.numpy()})
        np.testing.assert_allclose(fused, expected, atol=1e-5)


def test_the_shipped_graph_has_the_kernels_of_stride_two() -> None:
    """Its interpolation was written out by hand; what is computed now is the same to the last bit."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(bundle.read(bundle.default_path()).graph("fusion")[1]).graph
    kernels = [numpy_helper.to_array(one) for one in graph.initializer]
    (interpolation,) = [one for one in kernels if one.shape == (8, 2, 3, 3)]
    assert np.array_equal(interpolation, Edge().interpolation.numpy())  # type: ignore[operator]


@pytest.mark.parametrize("stride", [0, 1, 3, 16])
def test_a_stride_that_is_not_offered_is_refused(stride: int) -> None:
    with pytest.raises(RequestError, match=r"stride of the network edge(?s:.*)2, 4, 8"):
        Edge(stride=stride)
