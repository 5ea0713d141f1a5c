"""SegFormer as T: sizes, loss and decoding by hand, and what a meta-gradient asks of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.install import install_command
from tdfusion_edge.train.models.mask_logits import MaskLogits
from tdfusion_edge.train.models.segformer import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SIZES,
    SegFormer,
)
from tdfusion_edge.train.models.task import MaskPrediction

CLASSES = 3


@pytest.fixture(scope="module")
def network() -> SegFormer:
    """B0 with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return SegFormer(classes=CLASSES).eval()


def luma(height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(1))


def test_the_parameters_of_the_published_network() -> None:
    """3,713,321 for nine classes and 3,714,863 for fifteen: TDFusion's T, counted in its released code."""
    for classes, parameters in ((9, 3_713_321), (15, 3_714_863)):
        assert sum(p.numel() for p in SegFormer(classes=classes).parameters()) == parameters


@pytest.mark.parametrize(("size", "millions"), [("b1", 13.7), ("b2", 27.5)])
def test_larger_sizes_have_the_parameters_of_the_paper(size: str, millions: float) -> None:
    """Table 1 of arXiv 2105.15203, for 150 classes and three channels."""
    with torch.device("meta"):
        network = SegFormer(classes=150, size=size)
    widths = SIZES[size].hidden_sizes
    colour = 2 * 49 * widths[0]  # what two more channels of the first layer would have
    assert (sum(p.numel() for p in network.parameters()) + colour) / 1e6 == pytest.approx(millions, abs=0.1)


def test_output_and_prediction_have_their_sizes(network: SegFormer) -> None:
    with torch.inference_mode():
        output = network(luma())
        decoded = network.decode(output)
    assert output.logits.shape == (2, CLASSES, 16, 24)
    assert isinstance(decoded, MaskPrediction)
    assert decoded.logits.shape == (2, CLASSES, 64, 96)
    # Pixel centres: between the first two logits of a row stand their weighted means.
    row = output.logits[0, 0, 0]
    expected = [row[0], row[0], row[0] * 0.875 + row[1] * 0.125, row[0] * 0.625 + row[1] * 0.375]
    assert decoded.logits[0, 0, 0, :4].tolist() == pytest.approx([float(v) for v in expected], abs=1e-6)


def test_the_loss_is_the_mean_over_the_pixels_that_count(network: SegFormer) -> None:
    logits = torch.zeros(1, CLASSES, 1, 2)
    logits[0, :, 0] = torch.tensor([[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    mask = torch.tensor([[[0, 0, 255, 1], [255, 255, 255, 255]]])
    right, wrong = -np.log(np.e**2 / (np.e**2 + 2)), -np.log(1 / (np.e**2 + 2))
    loss = network.loss(MaskLogits(logits), mask)
    assert loss.keys() == {"loss"}
    assert float(loss["loss"]) == pytest.approx((2 * right + wrong) / 3, abs=1e-6)


def test_a_mask_in_which_nothing_counts_costs_nothing(network: SegFormer) -> None:
    logits = torch.randn(1, CLASSES, 8, 8, requires_grad=True)
    loss = network.loss(MaskLogits(logits), torch.full((1, 32, 32), 255))["loss"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_replaced_parameters_are_those_that_work(network: SegFormer) -> None:
    bias = "network.decode_head.classifier.bias"
    replaced = dict(network.named_parameters())
    assert bias in replaced
    replaced[bias] = replaced[bias] + torch.tensor([0.0, 5.0, 0.0])
    with torch.inference_mode():
        before = network(luma()).logits
        shifted = functional_call(network, replaced, (luma(),)).logits
        after = network(luma()).logits
    assert torch.equal(before, after)
    assert torch.allclose(shifted - before, torch.tensor([0.0, 5.0, 0.0]).view(1, 3, 1, 1), atol=1e-5)


def test_a_meta_gradient_reaches_the_input_and_the_parameters(network: SegFormer) -> None:
    """A virtual step on one picture, and what a second one's loss says about it: second derivatives."""
    picture = luma()[:1].requires_grad_()
    mask = torch.arange(64 * 96).view(1, 64, 96) % CLASSES
    parameters = dict(network.named_parameters())
    inner = network.loss(functional_call(network, parameters, (picture,)), mask)["loss"]
    gradients = torch.autograd.grad(inner, list(parameters.values()), create_graph=True)
    stepped = {
        name: value - 0.1 * gradient
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
    }
    outer = network.loss(functional_call(network, stepped, (luma()[1:],)), mask)["loss"]
    (through_step,) = torch.autograd.grad(outer, picture)
    assert torch.isfinite(through_step).all()
    assert through_step.abs().max() > 0


@pytest.mark.slow
def test_it_learns_which_half_is_bright() -> None:
    torch.manual_seed(0)
    network = SegFormer(classes=2)
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 32:] = 1
    mask = (picture[:, 0] > 0.5).long()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(12):
        optimiser.zero_grad()
        network.loss(network(picture), mask)["loss"].backward()
        optimiser.step()
    with torch.inference_mode():
        found = network.decode(network(picture)).logits.argmax(1)
    assert float((found == mask).float().mean()) > 0.9


def test_what_is_no_segformer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected one of b0, b1, b2, got 'b9'"):
        SegFormer(classes=3, size="b9")
    for classes in (1, 256):
        with pytest.raises(ConfigError, match=f"expected 2 to 255, got {classes}"):
            SegFormer(classes=classes)
    with pytest.raises(ConfigError, match="there is no folder"):
        SegFormer(classes=3, pretrained=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="holds no SegFormer weights"):
        SegFormer(classes=3, pretrained=str(tmp_path))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=re.escape(install_command("segformer"))):
        SegFormer(classes=3)


@pytest.fixture(scope="module")
def colour_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as they are published: three channels, another number of classes."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("weights")
    colour = SegformerForSemanticSegmentation(SegformerConfig(num_labels=150))
    colour.save_pretrained(folder)
    return folder


def test_colour_weights_see_a_grey_picture_as_before(
    colour_weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import SegformerForSemanticSegmentation

    network = SegFormer(classes=CLASSES, pretrained=str(colour_weights))
    assert capfd.readouterr() == ("", "")
    assert network.training
    assert network.network.training
    colour = SegformerForSemanticSegmentation.from_pretrained(colour_weights)
    first = [next(m for m in n.modules() if isinstance(m, torch.nn.Conv2d)) for n in (network, colour)]
    grey = luma().expand(-1, 3, -1, -1)
    normalised = (grey - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.inference_mode():
        ours, theirs = first[0](luma()), first[1](normalised)
    assert torch.allclose(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], atol=1e-5)
    loaded, published = network.network.state_dict(), colour.state_dict()
    other = {name for name in loaded if not torch.equal(loaded[name], published[name])}
    assert {name.rpartition(".")[0] for name in other} == {
        "segformer.stages.0.patch_embeddings.proj",
        "decode_head.classifier",
    }
    assert network(luma()).logits.shape == (2, CLASSES, 16, 24)


def test_our_own_weights_come_back_to_the_bit(network: SegFormer, tmp_path: Path) -> None:
    network.network.save_pretrained(tmp_path)
    loaded = SegFormer(classes=CLASSES, pretrained=str(tmp_path)).eval()
    with torch.inference_mode():
        assert torch.equal(loaded(luma()).logits, network(luma()).logits)


def test_weights_of_another_size_or_in_a_pickle_are_refused(colour_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="weights of another size: hidden_sizes"):
        SegFormer(classes=3, size="b1", pretrained=str(colour_weights))
    (tmp_path / "config.json").write_bytes((colour_weights / "config.json").read_bytes())
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="holds no SegFormer weights"):
        SegFormer(classes=3, pretrained=str(tmp_path))


def test_weights_without_an_encoder_are_refused(colour_weights: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(colour_weights / "model.safetensors")
    head = {name: array for name, array in weights.items() if name.startswith("decode_head")}
    assert 0 < len(head) < len(weights)
    save_file(head, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((colour_weights / "config.json").read_bytes())
    with pytest.raises(ConfigError, match="lacks weights of SegFormer's encoder"):
        SegFormer(classes=3, pretrained=str(tmp_path))
    assert np.all([name.startswith("decode_head") for name in head])


def test_the_loss_agrees_with_torchs_own_mean(network: SegFormer) -> None:
    logits = torch.randn(2, CLASSES, 8, 8, generator=torch.Generator().manual_seed(4))
    mask = torch.randint(0, CLASSES, (2, 32, 32), generator=torch.Generator().manual_seed(5))
    mask[:, :10] = 255
    large = F.interpolate(logits, (32, 32), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(large, mask, ignore_index=255)
    assert torch.allclose(network.loss(MaskLogits(logits), mask)["loss"], expected, atol=1e-6)
