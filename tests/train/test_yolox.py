"""YOLOX: sizes and pictures, assignment and losses against written-out formulas, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tdfusion_edge import color
from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.train.data.types import BoxTargets
from tdfusion_edge.train.models.yolo_loss import iou
from tdfusion_edge.train.models.yolox.loss import RawBoxes, box_losses, decoded, encoded, simota
from tdfusion_edge.train.models.yolox.network import YOLOX
from tdfusion_edge.train.models.yolox.picture import picture
from tdfusion_edge.train.strategies.steps import Stepper


def targets(*rows: tuple[int, int, float, float, float, float]) -> BoxTargets:
    """Rows of image, class, x1, y1, x2, y2."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return BoxTargets(table[:, 0].long(), table[:, 1].long(), table[:, 2:])


@pytest.mark.parametrize(("size", "millions"), [("nano", 0.91), ("tiny", 5.06)])
def test_both_sizes_have_the_published_number_of_parameters(size: str, millions: float) -> None:
    assert round(sum(p.numel() for p in YOLOX(80, size).parameters()) / 1e6, 2) == millions


def test_every_stride_gives_its_cells() -> None:
    raw = YOLOX(2).eval()(torch.rand(1, 1, 64, 96))
    assert raw.classes.shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 2)
    assert raw.objectness.shape == raw.classes.shape[:2]
    assert raw.origins[1].tolist() == [8, 0]
    assert raw.origins[8 * 12 + 6].tolist() == [0, 16]
    assert raw.strides[-1] == 32


@pytest.mark.parametrize("shape", [(1, 1, 48, 64), (1, 3, 64, 64), (1, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="multiples of 32"):
        YOLOX(1)(torch.zeros(shape))


def test_chroma_of_another_size_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r"chroma for yolox: expected \(1, 2, 64, 64\), got \(1, 2, 32, 32\)"
    ):
        YOLOX(1)(torch.zeros(1, 1, 64, 64), torch.zeros(1, 2, 32, 32))


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected one of pico, nano, tiny, got x"):
        YOLOX(1, "x")


def test_luma_and_chroma_make_the_picture_that_the_runtime_makes() -> None:
    """OpenCV's 8-bit arithmetic rounds, and so may be a level off; what no screen has is cut off by both."""
    random = np.random.default_rng(0)
    luma, chroma = random.integers(0, 256, (64, 64), np.uint8), random.integers(0, 256, (2, 64, 64), np.uint8)
    wanted = color.merge(luma, chroma).astype(np.float32)
    planes = (torch.from_numpy(part).float()[None] / 255 for part in (luma[None], chroma))
    made = picture(*planes)[0].permute(1, 2, 0).numpy()
    assert np.abs(made - wanted).max() <= 1
    assert made.min() == 0
    assert made.max() == 255


def test_a_grey_picture_is_its_luma_thrice() -> None:
    luma = torch.rand(2, 1, 32, 64)
    grey = picture(luma, torch.full((2, 2, 32, 64), 128 / 255))
    assert torch.equal(picture(luma), (luma * 255).expand(2, 3, 32, 64))
    torch.testing.assert_close(grey, picture(luma), rtol=0, atol=1e-4)


def test_colour_is_seen_and_the_luma_s_gradient_goes_through_it() -> None:
    torch.manual_seed(0)
    network, luma = YOLOX(2).eval(), torch.rand(1, 1, 64, 64, requires_grad=True)
    colour = network(luma, torch.rand(1, 2, 64, 64))
    assert not torch.equal(colour.classes, network(luma).classes)
    (gradient,) = torch.autograd.grad(colour.classes.sum(), luma)
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.5


@given(st.integers(0, 10_000))
def test_boxes_come_back_from_what_they_are_encoded_as(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(5, 2, generator=generator) * 100
    boxes = torch.cat((low, low + 1 + torch.rand(5, 2, generator=generator) * 100), dim=1)
    origins = torch.randint(0, 12, (5, 2), generator=generator) * 8.0
    strides = torch.tensor([8.0, 8, 16, 16, 32])
    raw = RawBoxes(encoded(boxes, origins, strides)[None], torch.zeros(1, 5), boxes[None], origins, strides)
    torch.testing.assert_close(decoded(raw)[0], boxes, rtol=1e-4, atol=1e-3)


def test_a_wild_side_stays_a_number() -> None:
    raw = RawBoxes(torch.full((1, 1, 4), 200.0), *(torch.zeros(1, 1, n) for n in (1, 1)), *cells(1)[:2])
    assert decoded(raw).isfinite().all()


def test_a_score_is_objectness_times_class() -> None:
    objectness, classes = torch.tensor([[0.0, 2.0]]), torch.tensor([[[0.0, -1.0], [3.0, 0.5]]])
    raw = RawBoxes(torch.zeros(1, 2, 4), objectness, classes, torch.zeros(2, 2), torch.full((2,), 8.0))
    found = YOLOX(2).decode(raw)
    wanted = [
        [1 / (1 + math.exp(-o)) / (1 + math.exp(-c)) for c in row] for o, row in ((0, (0, -1)), (2, (3, 0.5)))
    ]
    torch.testing.assert_close(found.scores[0], torch.tensor(wanted))
    assert found.boxes[0, 0].tolist() == [-4, -4, 4, 4]


def cells(side: int, stride: float = 8) -> tuple[Tensor, Tensor]:
    """Corners and strides of a square of cells."""
    y, x = torch.meshgrid(torch.arange(side) * stride, torch.arange(side) * stride, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=1), torch.full((side * side,), stride)


def written_out(
    predicted: Tensor, scores: Tensor, origins: Tensor, truths: Tensor, classes: Tensor, stride: float = 8
) -> dict[int, int]:
    """Cell to object of one picture: the paper's assignment, object by object."""
    cost: dict[tuple[int, int], float] = {}
    claimed: dict[int, int] = {}
    for t, (x1, y1, x2, y2) in enumerate(truths.tolist()):
        overlaps = []
        for a, (left, top) in enumerate(origins.tolist()):
            x, y = left + stride / 2, top + stride / 2
            if max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) >= 2.5 * stride:
                continue
            overlap = float(iou(truths[t], predicted[a]))
            overlaps.append(overlap)
            wrong = sum(
                -math.log(float(p)) if c == classes[t] else -math.log(1 - float(p))
                for c, p in enumerate(scores[a])
            )
            outside = not (x1 < x < x2 and y1 < y < y2)
            cost[t, a] = wrong - 3 * math.log(overlap + 1e-8) + 1e3 * outside
        count = max(1, int(sum(sorted(overlaps, reverse=True)[:10])))
        for a in sorted((a for u, a in cost if u == t), key=lambda a: cost[t, a])[:count]:
            if a not in claimed or cost[t, a] < cost[claimed[a], a]:
                claimed[a] = t
    return claimed


@given(st.integers(0, 10_000))
def test_the_assignment_is_the_one_that_is_written_out(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    origins, strides = cells(8)
    low = torch.rand(3, 2, generator=generator) * 32
    truths = torch.cat((low, low + 4 + torch.rand(3, 2, generator=generator) * 28), dim=1)
    classes = torch.tensor([0, 1, 0])
    half = 4 + torch.rand(64, 2, generator=generator) * 12
    predicted = torch.cat((origins + 4 - half, origins + 4 + half), dim=1)
    scores = 0.01 + 0.98 * torch.rand(64, 2, generator=generator)
    raw = RawBoxes(predicted[None], scores[None, :, 0], scores[None], origins, strides)
    matched = simota(predicted, scores, raw, truths, classes)
    expected = written_out(predicted, scores, origins, truths, classes)
    assert dict(zip(matched.cell.tolist(), matched.truth.tolist(), strict=True)) == expected
    torch.testing.assert_close(matched.overlap, iou(truths[matched.truth], predicted[matched.cell]))


def test_an_object_smaller_than_a_cell_is_answered_for() -> None:
    origins, strides = cells(4)
    predicted = torch.cat((origins, origins + 8), dim=1)
    raw = RawBoxes(predicted[None], torch.zeros(1, 16), torch.zeros(1, 16, 1), origins, strides)
    tiny = torch.tensor([[9.0, 9, 11, 11]])
    matched = simota(predicted, torch.full((16, 1), 0.5), raw, tiny, torch.zeros(1, dtype=torch.int64))
    assert matched.cell.tolist() == [5]


def certain(box: tuple[float, float, float, float], cell: int, l1: bool = False) -> dict[str, float]:
    """Losses of a network that is certain of one box, at one cell of 4x4; the object is (8, 8, 24, 24)."""
    origins, strides = cells(4)
    wanted = encoded(torch.tensor([box]), origins[[cell]], strides[[cell]])
    boxes = torch.zeros(1, 16, 4)
    boxes[..., 2:] = -9
    boxes[0, cell] = wanted
    objectness, classes = torch.full((1, 16), -30.0), torch.full((1, 16, 2), -30.0)
    objectness[0, cell], classes[0, cell, 1] = 30, 30
    raw = RawBoxes(boxes, objectness, classes, origins, strides)
    losses = box_losses(raw, decoded(raw), targets((0, 1, 8, 8, 24, 24)), l1=l1)
    return {name: value.item() for name, value in losses.items()}


def test_what_is_found_with_certainty_has_no_loss() -> None:
    assert certain((8, 8, 24, 24), 5)["loss"] == pytest.approx(0, abs=1e-4)


def test_losses_of_a_box_that_is_half_right() -> None:
    """(8, 8, 16, 24) is half of the object: IoU 1/2, its class's target; the way is half a stride off."""
    losses = certain((8, 8, 16, 24), 5, l1=True)
    assert losses["box"] == pytest.approx(5 * (1 - 0.25), rel=1e-4)
    assert losses["class"] == pytest.approx(30 / 2, rel=1e-4)
    assert losses["objectness"] == pytest.approx(0, abs=1e-4)
    assert losses["l1"] == pytest.approx(0.5 + math.log(2), rel=1e-4)
    assert losses["loss"] == pytest.approx(sum(losses.values()) - losses["loss"], rel=1e-5)


@pytest.mark.parametrize("l1", [False, True])
def test_pictures_without_objects_have_a_loss_and_a_gradient(l1: bool) -> None:
    network = YOLOX(2, l1=l1)
    losses = network.loss(network(torch.rand(2, 1, 64, 64)), targets())
    torch.autograd.backward(losses["loss"])
    assert losses["loss"] > 0
    assert losses["box"] == losses["class"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_class_is_the_largest_of_its_rows_and_the_largest_learns() -> None:
    torch.manual_seed(0)
    network = YOLOX(2, coco=[["person"], ["car", "bus", "truck"]], norm=False)
    with torch.no_grad():
        network.heads[2].classes.bias.copy_(torch.tensor([0.0, -1, 2, 1]))  # type: ignore[union-attr, operator]
    rows: list[Tensor] = []
    network.heads[2].classes.register_forward_hook(lambda module, args, output: rows.append(output))  # type: ignore[union-attr]
    raw = network(torch.rand(1, 1, 64, 64))
    last = rows[0].flatten(2)[0].T
    assert torch.equal(raw.classes[0, -4:, 0], last[:, 0])
    assert torch.equal(raw.classes[0, -4:, 1], last[:, 1:].amax(1))
    (gradient,) = torch.autograd.grad(raw.classes[0, -1, 1], rows[0])
    assert gradient[0, :, -1, -1].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("norm", [True, False])
def test_the_loss_falls_on_one_batch(norm: bool) -> None:
    torch.manual_seed(0)
    network = YOLOX(2, norm=norm)
    luma = torch.full((2, 1, 64, 96), 0.5)
    luma[0, :, 8:40, 8:32], luma[1, :, 16:48, 50:90] = 1.0, 0.0
    both = targets((0, 0, 8, 8, 32, 40), (1, 1, 50, 16, 90, 48))
    stepper, losses = Stepper(network, 4e-3), []
    for _ in range(25):
        loss = network.loss(network(luma), both)["loss"]
        stepper.step(loss)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
