"""What the loss network has learned: where the fusion is to follow infrared, and by how much.

  python -m benchmarks.training.loss_weights --checkpoint runs/tdfusion_0/last.safetensors --picture w.png

Over the validation pairs of the training: w_ir inside the boxes of each class and outside all boxes, by
day (stems that end in D) and by night (N). The fixed loss has 1/2 everywhere. Several --checkpoint, of
different seeds, give a mean and a spread over the trainings as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.numbers import SCORE_DIGITS
from benchmarks.rows import OUTSIDE, RegionWeight, Time, Trained, trained
from benchmarks.schema import Results
from benchmarks.script import Benchmark, Measured, main, parse_count
from benchmarks.training.options import add_data
from benchmarks.training.runs import digests
from benchmarks.training.weight_picture import draw
from tdfusion_edge import checkpoint
from tdfusion_edge.checkpoint import Header
from tdfusion_edge.config import convert
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError, SinkError
from tdfusion_edge.files import write_aside
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.reader import load_pairs
from tdfusion_edge.runtime.evaluation import pairs
from tdfusion_edge.train.data.tensors import to_tensor
from tdfusion_edge.train.fusing import load_fusion, load_weights
from tdfusion_edge.train.models.tables import LOSS_NETWORKS, build_loss
from tdfusion_edge.train.recipe import Recipe

F32 = npt.NDArray[np.float32]
TIMES: dict[str, Time] = {"D": "day", "N": "night"}
"""Last letter of a stem to the time of day."""
ORDER: tuple[Time, ...] = ("all", "day", "night")
DRAWN = 2
"""Pairs of each time of day in the picture."""


class Sums(NamedTuple):
    """Of w_ir over some pixels."""

    pixels: int
    total: float
    squares: float


class Learned(NamedTuple):
    """A training with a loss network."""

    path: Path
    header: Header
    network: nn.Module
    samples: Sequence[LabelledPair]
    classes: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--checkpoint", type=Path, action="append", required=True,
        help="a tdfusion training's checkpoint; may be repeated, with other seeds",
    )  # fmt: skip
    add_data(parser)
    parser.add_argument("--first", type=parse_count, metavar="N", help="only the first N validation pairs")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw some pairs into this PNG file")
    parser.add_argument(
        "--simulated", action="store_true", help="draw pairs of the simulated street, which may be shown"
    )


def measure(args: argparse.Namespace) -> Measured:
    """Look at every loss network, and draw the first one's weights."""
    if args.simulated and args.picture is None:
        raise RequestError("--simulated", expected="--picture as well")
    rows: dict[int, list[RegionWeight]] = {}
    facts = {}
    first: Learned | None = None
    for path in args.checkpoint:
        learned = open_learned(path, args.data, args.first)
        first = first or learned
        header = learned.header
        if header.seed in rows:
            raise RequestError(
                f"{path} has a seed that was there", expected="different seeds", got=str(header.seed)
            )
        say(f"seed {header.seed} ...", error=True)
        rows[header.seed] = list(rows_of(header.seed, sums_of(learned)))
        digest = digests({"checkpoint": path})["checkpoint"]
        facts[f"seed {header.seed}"] = f"{header.recipe}, {header.step} steps, sha256 {digest}"
        facts["loss network"] = header.networks["loss"].name
    assert first is not None  # --checkpoint is required
    facts["pairs"] = ", ".join(sample.name for sample in first.samples)
    if args.picture is not None:
        write_picture(args.picture, first, simulated() if args.simulated else telling(first))
    weights = tuple(row for found in rows.values() for row in found)
    steps = first.header.step
    return Measured(Results(weights=weights, trainings=tuple(over_seeds(rows, steps))), facts)


def open_learned(path: Path, data: Path, first: int | None) -> Learned:
    """The loss network of a checkpoint, and the validation pairs of its training.

    Raises:
        InputMissing: the checkpoint or the data are not there.
        RequestError: it holds no loss network, or one that is none of this package's, or its recipe has no
            labelled validation pairs.
    """
    if not data.is_dir():
        raise InputMissing(f"there is no data folder {data}")
    header, _ = checkpoint.read(path)
    named = header.networks.get("loss")
    if named is None or named.name not in LOSS_NETWORKS:
        # Importing a class by the name in a file would run code of that file's choice.
        raise RequestError(
            f"{path} holds no loss network of this package",
            expected=f"one of {', '.join(LOSS_NETWORKS)}",
            got="none" if named is None else named.name,
        )
    network = build_loss(named.name, named.options).eval()
    load_weights(network, path, "loss")
    recipe = convert(header.settings, Recipe, name=f"{path} (settings)")
    assert recipe.task is not None  # the strategy with a loss network needs one
    samples = [
        sample
        for source in recipe.data
        if source.part == "validation"
        for sample in load_pairs(data, source, recipe.task.classes)
    ][:first]
    if not any(sample.boxes is not None for sample in samples):
        raise RequestError(f"the validation pairs of {path} have no boxes", expected="a recipe with boxes")
    return Learned(path, header, network, samples, recipe.task.classes)


def weights_of(network: nn.Module, sample: LabelledPair) -> F32:
    """w_ir at every pixel, (H, W) in [0, 1]."""
    with torch.inference_mode():
        found = network(to_tensor(sample.infrared), to_tensor(sample.visible)).infrared
        return cast(F32, found[0, 0].float().numpy())


def regions(sample: LabelledPair, classes: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
    """Pixels in the boxes of every class, and in no box; a pixel may lie in boxes of two classes."""
    found = {name: np.zeros(sample.visible.shape, bool) for name in classes}
    if sample.boxes is not None:
        corners = sample.boxes.corners.round().astype(int).clip(0)
        for (left, top, right, bottom), number in zip(corners, sample.boxes.classes, strict=True):
            found[classes[int(number)]][top:bottom, left:right] = True
    inside = np.logical_or.reduce(list(found.values()))
    return {**found, OUTSIDE: ~inside}


def sums_of(learned: Learned) -> dict[tuple[Time, str], Sums]:
    """Sums of w_ir by time of day and region, over all validation pairs."""
    sums: dict[tuple[Time, str], Sums] = {}
    for sample in learned.samples:
        weights = weights_of(learned.network, sample).astype(np.float64)
        for region, pixels in regions(sample, learned.classes).items():
            inside = weights[pixels]
            for time in times_of(sample.name):
                before = sums.get((time, region), Sums(0, 0.0, 0.0))
                sums[time, region] = Sums(
                    before.pixels + inside.size,
                    before.total + float(inside.sum()),
                    before.squares + float(np.square(inside).sum()),
                )
    return sums


def times_of(name: str) -> tuple[Time, ...]:
    """``all``, and day or night where the stem tells."""
    told = TIMES.get(name[-1:])
    return ("all",) if told is None else ("all", told)


def rows_of(seed: int, sums: Mapping[tuple[Time, str], Sums]) -> Iterator[RegionWeight]:
    """Sums to rows; a region without a pixel is left out, and a time of day that is all boxes."""
    means = {key: found.total / found.pixels for key, found in sums.items() if found.pixels}
    for (time, region), mean in sorted(means.items(), key=lambda item: ORDER.index(item[0][0])):
        if (time, OUTSIDE) not in means:
            continue
        pixels, _, squares = sums[time, region]
        yield RegionWeight(
            seed=seed,
            time=time,
            region=region,
            pixels=pixels,
            mean=round(mean, SCORE_DIGITS),
            deviation=round(max(0.0, squares / pixels - mean**2) ** 0.5, SCORE_DIGITS),
            over_half=round(mean - 0.5, SCORE_DIGITS),
            over_outside=round(mean - means[time, OUTSIDE], SCORE_DIGITS),
        )


def over_seeds(rows: Mapping[int, Sequence[RegionWeight]], steps: int) -> Iterator[Trained]:
    """Mean and spread over the trainings of every region's w_ir and of its distance from outside."""
    if len(rows) < 2:
        return
    by_region = {seed: {(row.time, row.region): row for row in found} for seed, found in rows.items()}
    everywhere = set.intersection(*(set(regions) for regions in by_region.values()))
    for time, region in (place for place in next(iter(by_region.values())) if place in everywhere):
        found = [regions[time, region] for regions in by_region.values()]
        values = {
            "w_ir": tuple(row.mean for row in found),
            "over outside": tuple(row.over_outside for row in found),
        }
        yield trained(f"{time}, {region}", tuple(rows), steps, values)


def telling(learned: Learned) -> list[LabelledPair]:
    """The pairs of night and of day that show most of the first class."""
    label = learned.classes[0]

    def shown(sample: LabelledPair) -> int:
        return int(regions(sample, learned.classes)[label].sum())

    chosen: list[LabelledPair] = []
    for letter in reversed(TIMES):
        of_time = [sample for sample in learned.samples if sample.name.endswith(letter)]
        chosen += sorted(of_time, key=shown, reverse=True)[:DRAWN]
    return chosen or list(learned.samples[: 2 * DRAWN])


def simulated() -> list[LabelledPair]:
    """As many pairs of the simulated street, without labels."""
    return list(pairs.simulated(2 * DRAWN))


def write_picture(path: Path, learned: Learned, samples: Sequence[LabelledPair]) -> None:
    """Draw these pairs.

    Raises:
        SinkError: the file cannot be written.
    """
    fuse = load_fusion(learned.path)
    columns = [(sample, fuse(sample), weights_of(learned.network, sample)) for sample in samples]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, draw(columns, label_id=0))
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from error


BENCHMARK = Benchmark("training.loss_weights", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
