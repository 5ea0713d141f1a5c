"""What is left of pictures and boxes when one sensor is degraded.

  python -m benchmarks.robustness
  python -m benchmarks.robustness --bundle edge --bundle runs/degraded/bundle

Every degradation of the training at fixed strengths and with a fixed seed, on the pairs of --names: fusion
metrics of the picture against the *clean* sources, and AP50 of what the bundle's own detector finds in it.
Then a clip with recorded noise and blur, and with the jumps of a camera's own gain control.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.detector_rows import OVERALL, DetectorScore, detector_score
from benchmarks.numbers import SCORE_DIGITS
from benchmarks.robustness.cases import BOTH, Case, Outcome, cases, outcome
from benchmarks.robustness.clip import jumps, read_clip, recorded
from benchmarks.schema import Figure, Results, Score
from benchmarks.script import ROOT, Benchmark, Measured, add_count, main, parse_count
from tdfusion_edge import bundle, detection_scores
from tdfusion_edge.console import say
from tdfusion_edge.detection_scores import Truth
from tdfusion_edge.errors import RequestError
from tdfusion_edge.metrics import Scores, mean
from tdfusion_edge.pairs import LabelledPair, Labels, PairSource, open_pairs
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.runtime.fuser import Fuser

CLASSES = ("person", "bicycle", "car")
"""Of the labels."""
OWN = {"infrared": "labels/visible", "visible": "labels/infrared"}
"""What is still to be seen where a sensor is missing: the labels of the other one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    data = Path(os.environ.get("TDFUSION_DATA") or ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--bundle", type=bundle.place, action="append", metavar="BUNDLE",
        help="may be repeated (default: edge)",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, default=data, metavar="DIR",
        help="folder with msrs/ and m3svd_clip/ (default: $TDFUSION_DATA or ../shared/data)",
    )  # fmt: skip
    parser.add_argument("--names", default="split_val.txt", metavar="FILE", help="list of stems in DIR/msrs")
    parser.add_argument("--first", type=parse_count, metavar="N", help="only the first N of them")
    parser.add_argument("--seed", type=parse_count, default=1, help="of what is left to chance (default: 1)")
    add_count(parser, "threads", 1, "CPU threads of the networks")


def measure(args: argparse.Namespace) -> Measured:
    """Every bundle in every case."""
    folder = args.data / "msrs"
    names = pair_names(folder, PairSource(names=args.names), videos=False)[: args.first]
    pairs = open_pairs(folder, PairSource(names=tuple(names)), colour=True, videos=False)
    clip = read_clip(args.data / "m3svd_clip")
    facts = {"pairs": ", ".join(names), "clip": f"{len(clip.infrared)} pairs of m3svd_clip"}
    scores: list[Score] = []
    detectors: list[DetectorScore] = []
    figures: list[Figure] = []
    known: set[str] = set()
    for place in args.bundle or [bundle.default_path()]:
        opened = bundle.read(place)
        name = opened.manifest.name
        if name in known:
            raise RequestError(
                f"{place}: there is a bundle '{name}' already",
                expected="bundles of different names",
                hint="Export it with --name.",
            )
        known.add(name)
        facts |= {
            f"{name} {file}": digest for file, digest in opened.manifest.sha256.items() if ".onnx" in file
        }
        detects = opened.manifest.head("boxes") is not None
        least = detection_scores.THRESHOLD if detects else None
        with Fuser(
            opened, threads=args.threads, graphs="staged", detect=detects, score_threshold=least
        ) as fuser:
            facts["back end"] = fuser.backend
            for case in cases():
                say(f"{name}, {case.name} ...", error=True)
                row = [outcome(fuser, pairs, index, case, args.seed) for index in range(len(pairs))]
                scores.append(_score(f"{name}, {case.name}", [one.scores for one in row]))
                if detects:
                    detectors += _detected(folder, opened.manifest, case, pairs, row)
            scores += [
                _score(f"{name}, {what}", [found], len(clip.infrared))
                for what, found in recorded(fuser, clip)
            ]
            figures += [
                msgspec.structs.replace(one, name=f"{name}, {one.name}") for one in jumps(fuser, clip)
            ]
    return Measured(Results(scores=tuple(scores), detectors=tuple(detectors), figures=tuple(figures)), facts)


def _score(method: str, found: Sequence[Scores], pairs: int | None = None) -> Score:
    metrics = {key: round(value, SCORE_DIGITS) for key, value in mean(found)._asdict().items()}
    return Score(method=method, stretch="none", pairs=pairs or len(found), metrics=metrics)


def _detected(
    folder: Path,
    manifest: bundle.Manifest,
    case: Case,
    pairs: Sequence[LabelledPair],
    row: Sequence[Outcome],
) -> list[DetectorScore]:
    """AP50 of a case, and where a sensor is missing that of what the other one shows."""
    wanted = {case.name: BOTH}
    if case.kind == "missing":
        wanted[f"{case.name}, labels of the other"] = OWN[case.sensor]
    classes = manifest.classes("boxes")
    found = [one.found for one in row if one.found is not None]
    rows = []
    for name, path in wanted.items():
        source = PairSource(
            names=tuple(pair.name for pair in pairs),
            labels=Labels(format="yolo", path=path, classes=CLASSES),
        )
        labels = open_pairs(folder, source, classes, videos=False).labels
        assert labels is not None
        boxes = [labels.of(pair.name, *pair.visible.shape)[0] for pair in pairs]
        truths = [Truth(*one) for one in boxes if one is not None]
        figures = detection_scores.score(found, truths, classes)
        values = {OVERALL: figures.map50} | {
            f"{OVERALL} {one}": part.map50 for one, part in figures.per_class.items()
        }
        look = {key: round(value, SCORE_DIGITS) for key, value in values.items() if value is not None}
        rows.append(detector_score("unchanged", manifest.name, name, classes, len(pairs), (), [look]))
    return rows


BENCHMARK = Benchmark("robustness", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
