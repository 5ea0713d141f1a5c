"""The detector: its sizes, its assignment and losses against written-out formulas, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tdfusion_edge.detections import suppress
from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.train.data.types import BoxTargets
from tdfusion_edge.train.models.yolo import YOLO, RawBoxes, corners
from tdfusion_edge.train.models.yolo_loss import assign, complete_iou, iou

NAMES = ("left", "right")


def targets(*rows: tuple[int, int, float, float, float, float]) -> BoxTargets:
    """Rows of image, class, x1, y1, x2, y2."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return BoxTargets(table[:, 0].long(), table[:, 1].long(), table[:, 2:])


@pytest.mark.parametrize(
    ("classes", "published"),
    # With the 16 constants of the distance expectation, which the usual counts include.
    [(6, 3_011_730), (1, 3_010_755)],
)
def test_the_size_n_has_the_published_number_of_parameters(classes: int, published: int) -> None:
    assert sum(p.numel() for p in YOLO(classes, "n").parameters()) + 16 == published


def test_every_stride_gives_its_cells() -> None:
    raw = YOLO(2, "p").eval()(torch.rand(1, 1, 64, 96))
    assert raw.classes.shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 2)
    assert raw.centres[0].tolist() == [4, 4]
    assert raw.centres[8 * 12].tolist() == [8, 8]
    assert raw.strides[-1] == 32


@pytest.mark.parametrize("shape", [(1, 1, 48, 64), (1, 3, 64, 64), (1, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="multiples of 32"):
        YOLO(1, "p")(torch.zeros(shape))


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected n or p, got x"):
        YOLO(1, "x")


def test_distances_that_are_certain_give_the_box_they_say() -> None:
    logits = torch.full((1, 1, 4, 8), -50.0)
    for side, distance in enumerate((1, 2, 3, 4)):
        logits[0, 0, side, distance] = 50.0
    raw = RawBoxes(logits, torch.zeros(1, 1, 1), torch.tensor([[40.0, 60.0]]), torch.tensor([8.0]))
    assert corners(raw)[0, 0].tolist() == pytest.approx([32, 44, 64, 92])


def test_complete_iou_is_the_paper_s() -> None:
    """Two boxes by hand: overlap 2x2 of 4x4 and 2x4; centres (2, 2) and (3, 4); hull 4x6."""
    a, b = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 2, 4, 6]])
    overlap = 4 / (16 + 8 - 4)
    distance = (1 + 4) / (16 + 36)
    aspect = 4 / math.pi**2 * (math.atan(2 / 4) - math.atan(4 / 4)) ** 2
    trade_off = aspect / (1 - overlap + aspect)
    assert iou(a, b).item() == pytest.approx(overlap, rel=1e-5)
    assert complete_iou(a, b).item() == pytest.approx(overlap - distance - trade_off * aspect, rel=1e-5)


def brute_force(
    predicted: Tensor, scores: Tensor, centres: Tensor, wanted: BoxTargets, top: int = 10
) -> dict[int, tuple[int, float]]:
    """Anchor to (object, target score) of one picture, written out object by object."""
    metric, overlaps = {}, {}
    for t, (x1, y1, x2, y2) in enumerate(wanted.corners.tolist()):
        for a, (x, y) in enumerate(centres.tolist()):
            overlaps[t, a] = max(0.0, float(complete_iou(wanted.corners[t], predicted[a])))
            if min(x - x1, y - y1, x2 - x, y2 - y) > 1e-9:
                score = float(scores[a, int(wanted.classes[t])])
                metric[t, a] = score**0.5 * overlaps[t, a] ** 6
    chosen: dict[int, int] = {}
    for t in range(len(wanted.classes)):
        mine = sorted(((m, a) for (u, a), m in metric.items() if u == t and m > 1e-9), reverse=True)[:top]
        for _, a in mine:
            if a not in chosen or overlaps[t, a] > overlaps[chosen[a], a]:
                chosen[a] = t
    found = {}
    for a, t in chosen.items():
        of_t = [b for b, u in chosen.items() if u == t]
        best = max(metric[t, b] for b in of_t)
        found[a] = t, metric[t, a] * max(overlaps[t, b] for b in of_t) / best
    return found


@given(st.integers(0, 10_000))
def test_the_assignment_is_the_one_that_is_written_out(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(6) * 8 + 4.0, torch.arange(6) * 8 + 4.0, indexing="ij")
    centres = torch.stack((x.flatten(), y.flatten()), dim=1)
    low = torch.rand(3, 2, generator=generator) * 24
    boxes = torch.cat((low, low + 6 + torch.rand(3, 2, generator=generator) * 18), dim=1)
    wanted = BoxTargets(torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 0]), boxes)
    half = 4 + torch.rand(36, 2, generator=generator) * 12
    predicted = torch.cat((centres - half, centres + half), dim=1)
    scores = torch.rand(36, 2, generator=generator)
    matched = assign(predicted[None], scores[None], centres, wanted)
    expected = brute_force(predicted, scores, centres, wanted)
    assert sorted(matched.anchor.tolist()) == sorted(expected)
    for anchor, box in zip(matched.anchor.tolist(), matched.corners, strict=True):
        truth, target = expected[anchor]
        assert torch.equal(box, boxes[truth])
        assert matched.scores[0, anchor, wanted.classes[truth]].item() == pytest.approx(target, rel=1e-3)
    assert int((matched.scores > 0).sum()) <= len(expected)


def test_pictures_without_objects_have_a_loss_and_a_gradient() -> None:
    network = YOLO(2, "p")
    losses = network.loss(network(torch.rand(2, 1, 64, 64)), targets())
    torch.autograd.backward(losses["loss"])
    assert losses["loss"] > 0
    assert losses["box"] == losses["distance"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def weighed(weights: list[float] | None) -> dict[str, float]:
    """Losses of one network on a picture with an object of each class, by what the classes count."""
    torch.manual_seed(0)
    network = YOLO(2, "p", class_weights=weights).eval()
    both = targets((0, 0, 2, 2, 40, 44), (0, 1, 30, 10, 62, 60))
    with torch.no_grad():
        losses = network.loss(network(torch.rand(1, 1, 64, 64)), both)
    return {name: value.item() for name, value in losses.items()}


def test_classes_count_what_their_weights_say() -> None:
    plain = weighed(None)
    assert weighed([1.0, 1.0]) == plain
    assert weighed([40.0, 40.0]) == pytest.approx(weighed([80.0, 80.0]), rel=1e-5)
    low, high = weighed([80.0, 1e-6]), weighed([1e-6, 80.0])
    assert low["box"] != pytest.approx(high["box"], rel=1e-3)
    # A weighted mean over the objects: with both counting, the loss lies between those of one alone.
    one, other = sorted((low["box"], high["box"]))
    assert one < weighed([80.0, 80.0])["box"] < other


def test_class_weights_are_no_part_of_a_checkpoint() -> None:
    assert YOLO(2, "p", class_weights=[1, 3]).state_dict().keys() == YOLO(2, "p").state_dict().keys()


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, math.inf], []])
def test_class_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="expected 2 numbers above 0, one a class"):
        YOLO(2, "p", class_weights=weights)


def test_objects_of_one_picture_leave_the_others_alone() -> None:
    network = YOLO(2, "p").eval()
    raw = network(torch.rand(2, 1, 64, 64))
    matched = assign(corners(raw), raw.classes.sigmoid(), raw.centres, targets((1, 0, 8, 8, 40, 40)))
    assert matched.image.unique().tolist() == [1]
    assert matched.scores[0].sum() == 0


@pytest.mark.slow
def test_it_learns_where_two_kinds_of_blocks_are() -> None:
    """Bright blocks of class 0, dark ones of class 1, at places that change."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    network = YOLO(2, "p")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.2  # so few steps would leave the running statistics behind
    adam = torch.optim.Adam(network.parameters(), 4e-3)

    def scene() -> tuple[Tensor, list[tuple[int, float, float, float, float]]]:
        picture = torch.full((1, 64, 64), 0.5)
        rows = []
        for kind, left in ((0, 0), (1, 32)):
            x, y = left + int(random.integers(0, 10)), int(random.integers(0, 40))
            w, h = (int(v) for v in random.integers(14, 22, 2))
            picture[:, y : y + h, x : x + w] = 1.0 - kind
            rows.append((kind, float(x), float(y), float(x + w), float(y + h)))
        return picture, rows

    for _ in range(70):
        pictures, rows = zip(*(scene() for _ in range(8)), strict=True)
        flat = [(i, *row) for i, both in enumerate(rows) for row in both]
        loss = network.loss(network(torch.stack(pictures)), targets(*flat))["loss"]
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    network.eval()
    hits = 0
    for _ in range(10):
        picture, rows = scene()
        with torch.no_grad():
            found = network.decode(network(picture[None]))
        best = suppress(found.boxes[0].numpy(), found.scores[0].numpy(), NAMES, threshold=0.01, most=2)
        for kind, *box in rows:
            boxes = torch.from_numpy(best.boxes[best.class_ids == kind])
            hits += bool(len(boxes)) and bool(iou(boxes, torch.tensor([box])).max() > 0.5)
    assert hits >= 16
