"""Score fused pictures against their sources, and what a detector finds in them against labels.

  tdfusion-edge eval --data DIR
  tdfusion-edge eval BUNDLE --data DIR --names val.txt --compare other=FOLDER --json
  tdfusion-edge eval BUNDLE --data DIR --labels yolo:labels --groups day=*D,night=*N --baselines
  tdfusion-edge eval BUNDLE --data DIR --labels coco:labels.json
  tdfusion-edge eval BUNDLE --data DIR --labels mask:masks --classes soil,plant
  tdfusion-edge eval best.safetensors --data DIR
  tdfusion-edge eval --data DIR --labels yolo:labels --classes person,bicycle,car --detector yolox.onnx

DIR holds ir/ and vi/ with equal stems. Each row is the mean over all pairs of EN, SF, SD, AG, SCD,
VIF, Qabf and SSIM (VIF and SSIM: mean over the two sources), on the 8-bit luma.

With --labels (yolo, voc or mask and a folder, coco and a file), the bundle's head looks at the pictures of
every row. Boxes are scored by mAP50 and mAP50:95, and the AP50/AP50:95 of each class behind its number of
labelled objects; masks by mIoU, the share of pixels that are right, and the IoU of each class behind its
share of the labelled pixels. A checkpoint is exported first, because what is scored is what will run.

With --detector FILE.onnx that detector, unchanged, looks in place of the bundle's. It sees colours, and so
does a head that was trained with them: the fused rows (the bundle, --compare, average, additive, maximum) and
visible have those of the visible picture, infrared is grey. The classes of such a detector are those of
--detector-classes, or of --classes, or all 80. A head that was trained with infrared beside the picture
sees it beside the fused rows; in those of one sensor it sees nothing of the other.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

from tdfusion_edge import bundle, detection_scores
from tdfusion_edge.arguments import bundle_path
from tdfusion_edge.console import note, say, say_json
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs import Labels, PairSource
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.pairs.source import labels_of
from tdfusion_edge.plain import PLAIN
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choice_of, progress_shower
from tdfusion_edge.runtime.commands.networks import add_detector_arguments, detector_classes
from tdfusion_edge.runtime.evaluation.checkpoint import open_bundle
from tdfusion_edge.runtime.evaluation.pairs import add_pair_arguments, heads_of, measured_pairs
from tdfusion_edge.runtime.evaluation.parity import least_score
from tdfusion_edge.runtime.evaluation.rows import (
    Row,
    baselines,
    by_fuser,
    from_folder,
    look_of,
    measure,
)
from tdfusion_edge.runtime.evaluation.table import as_json, as_text, section
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads.boxes.foreign import coco
from tdfusion_edge.runtime.picture.stretch import StretchName


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "bundle", type=bundle_path, nargs="?", default=bundle.default_path(), metavar="BUNDLE",
        help="bundle, or the .safetensors of a training",
    )  # fmt: skip
    add_pair_arguments(parser, required=True)
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a row for fused pictures of others",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="rows for each sensor, their average, .5 infrared + .9 visible, and their maximum",
    )
    parser.add_argument(
        "--groups", default="", metavar="NAME=PATTERN,NAME=PATTERN",
        help="the same for the stems that match each pattern, as day=*D,night=*N",
    )  # fmt: skip
    parser.add_argument(
        "--stretch", choices=[s for s in get_args(StretchName) if s != "temporal"], default="none"
    )
    add_engine_arguments(parser)
    add_detector_arguments(parser, default="those of --classes that COCO has, else all 80")
    parser.add_argument(
        "--network", action="append", default=[], metavar="MODULE:CLASS",
        help="allow this class of your own in a checkpoint; its module is installed or on PYTHONPATH; "
        "may be given several times",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def main(args: argparse.Namespace) -> int:
    """Score and print."""
    labels = labels_of(args)
    classes = _detector_classes(args, labels)
    pair_names(args.data, PairSource(names=args.names), videos=False)  # before a checkpoint is exported
    opened = open_bundle(args.bundle, args.network)
    heads = heads_of(opened.manifest)
    foreign = args.detector is not None
    if foreign:
        heads["boxes"] = coco.chosen(classes).names
    whose = "the given" if foreign else "the bundle's"
    # Only where a head looks at them: to keep them and to take them apart costs time.
    colour = foreign or (labels is not None and opened.manifest.sees_colours(labels.kind))
    pairs = measured_pairs(args.data, args.names, labels, heads, colour=colour, whose=whose)
    groups = parse_groups(args.groups, pairs.names)
    left_out = None if pairs.labels is None else pairs.labels.note(scored=True)
    if left_out is not None:
        note(left_out)
    with Fuser(
        opened,
        **choice_of(args)._asdict(),
        graphs="staged",
        detect=labels is not None,
        score_threshold=_least(opened.manifest, args.detector) if labels is not None else None,
        detector=args.detector,
        detector_classes=classes,
        on_progress=progress_shower,
    ) as fuser:
        look = None if labels is None else look_of(fuser, labels.kind)
        measured = measure(pairs, _rows(args, opened.manifest.name, fuser), look)
    whole = section(measured, pairs.names)
    parts = {group: section(measured, chosen) for group, chosen in groups.items()}
    if args.json:
        say_json(as_json(whole, parts))
    else:
        say(as_text(whole, parts))
    return 0


def parse_groups(text: str, names: list[str]) -> dict[str, list[str]]:
    """Names of each group's pairs in "NAME=PATTERN,NAME=PATTERN"; one may be in several, or in none.

    Raises:
        RequestError: it reads otherwise, names a group twice, or a pattern matches no stem.
    """
    groups: dict[str, list[str]] = {}
    for part in filter(None, text.split(",")):
        group, _, pattern = part.partition("=")
        if not (group and pattern) or group in groups:
            raise RequestError(f"--groups {text}", expected="NAME=PATTERN,NAME=PATTERN, each NAME once")
        groups[group] = [name for name in names if fnmatchcase(name, pattern)]
        if not groups[group]:
            raise RequestError(
                f"--groups: no pair belongs to '{group}'", expected=f"stems like {pattern}", got=names[0]
            )
    return groups


def _rows(args: argparse.Namespace, network: str, fuser: Fuser) -> dict[str, Row]:
    """What is scored, by the names of the rows."""
    rows = {network: by_fuser(fuser, args.stretch)}
    if args.baselines and network in PLAIN:
        raise RequestError(f"the bundle is called '{network}' like a row of --baselines")
    for compared in args.compare:
        name, _, folder = compared.partition("=")
        if not (name and folder):
            raise RequestError(f"--compare {compared}", expected="NAME=FOLDER")
        if name in rows or (args.baselines and name in PLAIN):
            raise RequestError(f"two rows are called '{name}'", hint="Give --compare another NAME.")
        rows[name] = from_folder(Path(folder))
    return rows | (baselines() if args.baselines else {})


def _detector_classes(args: argparse.Namespace, labels: Labels | None) -> tuple[str, ...] | None:
    """What a detector of the user's own is to find: those that are named, else those that are labelled.

    Raises:
        RequestError: there is nothing to score it by, or no detector for the classes.
        InputMissing: there is no such file.
    """
    named = detector_classes(args)
    if args.detector is None:
        if named is not None:
            raise RequestError(f"--detector-classes {args.detector_classes}", expected="--detector as well")
        return None
    if labels is None or labels.kind != "boxes":
        raise RequestError(
            f"--detector {args.detector}",
            expected="--labels with boxes to score it by",
            got=str(labels or "none"),
        )
    if not args.detector.is_file():  # before a checkpoint is exported
        raise InputMissing(f"there is no detector {args.detector}", expected="an ONNX file")
    labelled = tuple(name for name in labels.classes if coco.known(name))
    return named or labelled or None


def _least(manifest: bundle.Manifest, detector: Path | None) -> float | None:
    """Down to which score boxes are found."""
    return least_score(manifest, scored=True) if detector is None else detection_scores.THRESHOLD
