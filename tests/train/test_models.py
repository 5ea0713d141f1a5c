"""The fusion networks: size, range, any picture size, and that attention survives FP16."""

from __future__ import annotations

import pytest
import torch
from taught import taught_edge
from torch.func import functional_call
from torch.nn import functional as F

from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.train.models.bdl import BDL
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.loss_network import LightLossNetwork
from tdfusion_edge.train.models.restormer import channel_attention
from tdfusion_edge.train.models.tables import FUSION_NETWORKS, resolve
from tdfusion_edge.train.models.tdfusion import TDFusion

# Section 3.3 of the paper with the released sizes, row by row.
PAPER_ROWS = {
    "stem_infrared": 144,
    "stem_visible": 144,
    "encoder_infrared": 2 * 3_640,
    "encoder_visible": 2 * 3_640,
    "merge": 15_472,
    "decoder": 2 * 12_392,
    "head1": 4_608,
    "head2": 144,
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_tdfusion_has_the_parameters_of_the_paper_row_by_row() -> None:
    network = TDFusion()
    assert {name: count(child) for name, child in network.named_children()} == PAPER_ROWS
    assert count(network) == sum(PAPER_ROWS.values()) == 59_856


def test_bdl_has_the_parameters_of_the_released_network() -> None:
    network = BDL()
    block = sum(9 * 32 * (64 + 32 * number) + 32 for number in range(5)) + 64 * 224 + 64
    rows = {"stem": 1216, "blocks": 2 * block, "head1": 18_464, "head2": 289, "act": 1}
    assert {name: count(child) for name, child in network.named_children()} == rows
    assert count(network) == sum(rows.values()) == 417_730


def test_bdl_has_forward_mode_derivatives() -> None:
    torch.manual_seed(0)
    network = BDL().double()
    pair = torch.rand(2, 1, 1, 8, 9).double()
    at = {name: part.detach() for name, part in network.named_parameters()}
    along = {name: torch.randn_like(part) for name, part in at.items()}

    def fused(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        picture: torch.Tensor = functional_call(network, parameters, tuple(pair)).fused
        return picture

    _, change = torch.func.jvp(fused, (at,), (along,))
    step = 1e-6
    sides = [fused({name: at[name] + sign * step * along[name] for name in at}) for sign in (1, -1)]
    torch.testing.assert_close(change, (sides[0] - sides[1]) / (2 * step), rtol=1e-4, atol=1e-7)


def test_a_saturated_bdl_still_has_a_gradient() -> None:
    """Its output ends in [0, 1] by a sigmoid: where a cut at 1 stands, nothing would draw it back."""
    network = BDL().double()
    with torch.no_grad():
        for part in network.head2.parameters():
            part.fill_(2.0)
    fused = network(*torch.rand(2, 1, 1, 12, 12).double()).fused
    assert fused.min() > 0.99
    fused.sum().backward()
    assert all(part.grad is not None and part.grad.any() for part in network.head2.parameters())


def released_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The textbook form: L2-normalise over pixels, multiply, softmax."""
    gram = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    return torch.softmax(gram * t, dim=-1) @ v


def test_channel_attention_equals_the_textbook_form() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 8, 4, 35 * 21).double()
    t = torch.rand(8, 1, 1).double() * 4
    expected = released_attention(q, k, v, t)
    torch.testing.assert_close(
        channel_attention(q.float(), k.float(), v.float(), t.float()).double(), expected, atol=1e-5, rtol=1e-5
    )


def test_channel_attention_survives_fp16_where_the_textbook_form_does_not() -> None:
    torch.manual_seed(0)
    # A standard deviation of 1 over 640 x 480 pixels: the sum of squares, 307,200, is beyond FP16.
    shared = torch.randn(1, 1, 1, 480 * 640)
    q = shared + 0.1 * torch.randn(1, 2, 4, 480 * 640)
    k = torch.cat((shared + 0 * q[:, :, :1], torch.randn(1, 2, 3, 480 * 640)), dim=2)
    v = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 4, 1).expand(1, 2, 4, 480 * 640)
    t = torch.full((2, 1, 1), 4.0)
    exact = released_attention(q, k, v, t)[..., 0]
    ours = channel_attention(q.half(), k.half(), v.half(), t)[..., 0].float()
    overflowed = q.half().square().sum(-1, dtype=torch.float16)
    assert torch.isinf(overflowed).all()
    torch.testing.assert_close(ours, exact, atol=5e-3, rtol=5e-3)


def test_channel_attention_of_silence_is_the_mean_and_not_nan() -> None:
    zeros = torch.zeros(1, 8, 2, 100)
    values = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1).expand(1, 8, 2, 100)
    assert torch.equal(
        channel_attention(zeros, zeros, values, torch.ones(8, 1, 1)), torch.full((1, 8, 2, 100), 2.0)
    )


def test_a_black_picture_gives_finite_gradients() -> None:
    torch.manual_seed(0)
    network = TDFusion()
    network(torch.zeros(1, 1, 32, 32), torch.rand(1, 1, 32, 32)).fused.sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_the_attention_weights_are_in_full_precision_under_autocast() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 8, 2, 4096)
    # A huge temperature turns an error of 1e-3 in the cosine into a swapped choice.
    t, identity = torch.full((8, 1, 1), 300.0), torch.eye(2).expand(1, 8, 2, 2)
    exact = channel_attention(q, k, identity, t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = channel_attention(q, k, identity, t)
    torch.testing.assert_close(mixed.float(), exact, atol=4e-3, rtol=4e-3)


@pytest.mark.parametrize("network", [Edge, TDFusion, BDL])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 35), (161, 97)])
def test_any_size_comes_out_at_its_own_size_in_the_unit_range(network: type, size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    infrared, visible = torch.rand(2, 1, 1, *size)
    with torch.inference_mode():
        fused = network()(infrared, visible).fused
    assert fused.shape == (1, 1, *size)
    assert 0 <= fused.min() <= fused.max() <= 1


def test_edge_begins_with_the_sum_that_it_is_told() -> None:
    torch.manual_seed(2)
    infrared, visible = torch.rand(2, 1, 1, 51, 70)
    with torch.inference_mode():
        fused = Edge(start=(0.5, 0.9))(infrared, visible).fused
    torch.testing.assert_close(fused, (0.5 * infrared + 0.9 * visible).clamp(max=1))


def test_edges_gains_stay_within_the_largest_and_make_no_light() -> None:
    network = taught_edge(2)
    infrared, visible = torch.rand(2, 2, 1, 51, 70)
    with torch.inference_mode():
        gains = network.gains(infrared, visible)
        dark = network(torch.zeros_like(infrared), torch.zeros_like(visible)).fused
    assert gains.shape == (2, 2, 51, 70)
    assert 0 <= gains.min() < 1 < gains.max() <= network.most
    assert not dark.any()


def test_edges_gains_are_interpolated_bilinearly() -> None:
    """As PyTorch's own ``interpolate`` does it: no 2x2 pattern in the picture."""
    network = taught_edge(4, width=4, depth=1)
    infrared, visible = torch.rand(2, 1, 1, 37, 46)
    with torch.inference_mode():
        features = network.stem(torch.cat((infrared, visible), dim=1)).relu()
        coarse = network.most * network.head(network.body[0](features).relu()).sigmoid()
        expected = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        gains = network.gains(infrared, visible)
    torch.testing.assert_close(gains, expected[..., :37, :46])


@pytest.mark.parametrize("start", [(0.0, 0.9), (0.5, 2.5), (0.5,)])
def test_a_start_that_edges_gains_cannot_have_is_refused(start: tuple[float, ...]) -> None:
    with pytest.raises(RequestError, match=r"two gains between 0 and 2\.5"):
        Edge(start=start)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["infrared", "visible"])
def test_every_pixel_of_both_sources_can_change_the_edge_output(side: str) -> None:
    network = taught_edge(3)
    # Dark enough that nothing is clipped: a clipped pixel has no gradient.
    inputs = {
        name: (0.15 * torch.rand(1, 1, 37, 45)).requires_grad_(name == side)
        for name in ("infrared", "visible")
    }
    network(**inputs).fused.square().sum().backward()
    gradient = inputs[side].grad
    assert gradient is not None
    assert (gradient != 0).all()


@pytest.mark.parametrize(
    ("infrared", "visible", "message"),
    [
        ((1, 1, 31, 64), (1, 1, 31, 64), "too small"),
        ((1, 1, 64, 64), (1, 1, 64, 65), "differ"),
        ((1, 3, 64, 64), (1, 1, 64, 64), "infrared input"),
        ((1, 1, 64, 64), (64, 64), "visible input"),
    ],
)
def test_wrong_inputs_are_refused(infrared: tuple[int, ...], visible: tuple[int, ...], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Edge()(torch.zeros(infrared), torch.zeros(visible))


def test_networks_resolve_by_name_and_by_module() -> None:
    assert resolve("edge", FUSION_NETWORKS, "fusion network") is Edge
    assert resolve("collections:OrderedDict", FUSION_NETWORKS, "fusion network").__name__ == "OrderedDict"
    with pytest.raises(ConfigError, match=r"unknown fusion network 'egde'(?s:.*)Did you mean 'edge'"):
        resolve("egde", FUSION_NETWORKS, "fusion network")
    for name in ("no_such_module:X", "torch:NoSuchClass", ":X", ".a:X"):
        with pytest.raises(ConfigError, match="cannot be imported"):
            resolve(name, FUSION_NETWORKS, "fusion network")


def leaning(centred: bool) -> torch.Tensor:
    """Mean logit of w_ir in each of two pictures, of a light G whose last layer says "infrared"."""
    torch.manual_seed(0)
    network = LightLossNetwork(centred=centred)
    with torch.no_grad():
        for part in network.head.parameters():
            part.fill_(1.0)
        infrared = network(torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)).infrared
    return torch.logit(infrared.double()).mean(dim=(1, 2, 3))


def test_a_centred_loss_network_says_where_and_another_one_which_sensor() -> None:
    # Interpolation weighs the cells at the border a little more.
    assert leaning(True).abs().max() < 0.02
    assert leaning(False).min() > 0.5


def test_a_light_loss_network_begins_with_the_fixed_loss() -> None:
    weights = LightLossNetwork(centred=False)(torch.rand(1, 1, 36, 52), torch.rand(1, 1, 36, 52))
    assert weights.infrared.shape == (1, 1, 36, 52)
    assert (weights.infrared == 0.5).all()
    assert (weights.infrared + weights.visible == 1).all()
