"""How good a member's pictures are: fusion metrics, and what detectors and masks are worth on them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from benchmarks.detector_rows import OVERALL, DetectorScore, Protocol, detector_score
from benchmarks.numbers import SCORE_DIGITS
from benchmarks.schema import Figure, Score
from tdfusion_edge import bundle
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.color import U8
from tdfusion_edge.console import watched
from tdfusion_edge.detection_scores import THRESHOLD, DetectionScores
from tdfusion_edge.errors import RequestError
from tdfusion_edge.metrics import evaluate, mean
from tdfusion_edge.pairs import Labels, PairSet, PairSource
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.runtime.evaluation.pairs import measured_pairs
from tdfusion_edge.runtime.evaluation.parity import least_score
from tdfusion_edge.runtime.evaluation.rows import Row, by_fuser, from_folder
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.heads.base import Seen
from tdfusion_edge.runtime.heads.boxes.foreign.run import open_detector
from tdfusion_edge.runtime.picture.stretch import F32

CLASSES = ("person", "bicycle", "car")
BOXES = Labels(format="yolo", path="labels/fusion", classes=CLASSES)
MASKS = Labels(format="mask", path="masks")
"""In the classes of the head that is scored."""

Find: TypeAlias = Callable[[U8 | F32, U8 | None, U8 | None], Any]
"""A luma, chroma and infrared to findings of one kind."""


class Looker(NamedTuple):
    """What looks at a member's pictures."""

    protocol: Protocol
    detector: str
    find: Find


class Quality(NamedTuple):
    """All scores of one member."""

    score: Score
    detectors: tuple[DetectorScore, ...]
    figures: tuple[Figure, ...]


def quality_of_bundle(name: str, opened: Bundle, args: argparse.Namespace) -> Quality:
    """A bundle's pictures, with what its own heads and the given detectors find in them.

    Raises:
        RequestError: its detector tells other classes apart.
        InputMissing: pairs, labels or a detector are not there.
    """
    least = least_score(opened.manifest, scored=True)
    with Fuser(opened, graphs="staged", stretch="none", score_threshold=least) as fuser:
        row, own, figures = by_fuser(fuser, "none"), [], []
        for kind in fuser.heads:
            head = opened.manifest.head(kind)
            assert head is not None  # the manifest that it was opened from
            if kind == "boxes":
                if head.classes != CLASSES:
                    raise RequestError(
                        f"the detector of bundle '{name}'",
                        expected=f"classes {', '.join(CLASSES)}",
                        got=", ".join(head.classes),
                    )
                own.append(Looker("fine-tuned", head.network, fuser.heads[kind].find))
            if kind == "mask" and args.masks is None:
                figures.append(_miou(name, row, fuser.heads[kind].find, head.classes, args))
        return _quality(name, row, own, args, figures)


def quality_of_folder(name: str, folder: Path, args: argparse.Namespace) -> Quality:
    """Published pictures, with what the given detectors and masks find in them."""
    return _quality(name, from_folder(folder), [], args, [])


def _quality(
    name: str, row: Row, own: list[Looker], args: argparse.Namespace, figures: list[Figure]
) -> Quality:
    pairs = labelled(args, BOXES, CLASSES)
    scores, kind = [], kind_of("boxes")
    with ExitStack() as stack:
        lookers = [*own, *(_unchanged(path, stack) for path in args.detector)]
        tallies: dict[Looker, list[Any]] = {looker: [] for looker in lookers}
        for pair in watched(pairs, len(pairs), f"scoring {name}"):
            fused = row(pair)
            scores.append(evaluate(fused.picture, pair.infrared, pair.visible))
            for looker in lookers:
                found = looker.find(fused.luma, *fused.beside(pair))
                tallies[looker].append(kind.tally(Seen(pair, found)))
    metrics = {key: round(value, SCORE_DIGITS) for key, value in mean(scores)._asdict().items()}
    found_by = [_detected(name, looker, kind.score(some), len(pairs)) for looker, some in tallies.items()]
    if args.masks is not None:
        figures = [*figures, _miou_by(args.masks, name, row, args)]
    score = Score(method=name, stretch="none", pairs=len(pairs), metrics=metrics)
    return Quality(score, tuple(found_by), tuple(figures))


def labelled(args: argparse.Namespace, labels: Labels, classes: tuple[str, ...]) -> PairSet:
    """The validation pairs with boxes or masks, in colour."""
    names = pair_names(args.data, PairSource(names=args.names), videos=False)[: args.first]
    return measured_pairs(args.data, names, labels, {labels.kind: classes}, colour=True)


def _unchanged(path: Path, stack: ExitStack) -> Looker:
    detector = stack.enter_context(closing(open_detector(path, CLASSES, threshold=THRESHOLD)))
    return Looker("unchanged", path.stem, detector.find)


def _detected(name: str, looker: Looker, scores: DetectionScores, pictures: int) -> DetectorScore:
    values = dict(_figures(scores))
    return detector_score(
        looker.protocol, looker.detector, name, tuple(scores.per_class), pictures, (), [values]
    )


def _figures(scores: DetectionScores) -> Iterator[tuple[str, float]]:
    known: Mapping[str, float | None] = {
        OVERALL: scores.map50,
        **{f"{OVERALL} {name}": one.map50 for name, one in scores.per_class.items()},
    }
    return ((name, round(value, SCORE_DIGITS)) for name, value in known.items() if value is not None)


def _miou_by(judge: Path, name: str, row: Row, args: argparse.Namespace) -> Figure:
    """By the mask head of another bundle, which looks at all rows as it is."""
    opened = bundle.read(judge)
    head = opened.manifest.head("mask")
    if head is None:
        raise RequestError(f"bundle '{opened.manifest.name}'", expected="one that gives masks", got="none")
    with Fuser(opened, graphs="staged") as fuser:
        return _miou(name, row, fuser.heads["mask"].find, head.classes, args)


def _miou(name: str, row: Row, find: Find, classes: tuple[str, ...], args: argparse.Namespace) -> Figure:
    pairs, kind = labelled(args, MASKS, classes), kind_of("mask")
    tallies = []
    for pair in watched(pairs, len(pairs), f"masks of {name}"):
        fused = row(pair)
        tallies.append(kind.tally(Seen(pair, find(fused.luma, *fused.beside(pair)))))
    return Figure(name=f"{name}: mIoU", value=round(kind.score(tallies).miou, SCORE_DIGITS), unit="share")
