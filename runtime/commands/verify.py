"""Check that a back end on this machine gives the pictures and boxes that the bundle was made for.

  tdfusion-edge verify
  tdfusion-edge verify BUNDLE --backend tensorrt --data DIR
  tdfusion-edge verify BUNDLE --precision fp16 --data DIR --labels yolo:labels --json

Both the back end and the reference, the bundle's float32 graphs in ONNX Runtime on the CPU, fuse the same
pairs, look for objects in them and give their pixels classes; then the back end's one-pass graph does the
same, and its pictures are compared with those of the reference in colour. So are those that a back end makes
of the cameras' pictures themselves, where it does.
The limits are those of the export's own gate; the exit code is 1 where one is passed. Without --data the
pairs are of the simulated street; with --labels the change of mAP50 or mIoU is limited as well.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from tdfusion_edge import bundle
from tdfusion_edge.arguments import bundle_path
from tdfusion_edge.bundle import FUSION, ONE_PASS, Bundle, Precision
from tdfusion_edge.color import U8, luma
from tdfusion_edge.console import say, say_json, watched
from tdfusion_edge.escape import one_line
from tdfusion_edge.frames import Image
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.source import labels_of
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choice_of, progress_shower
from tdfusion_edge.runtime.engines import BACKENDS, Choice, Opened, open_graph
from tdfusion_edge.runtime.evaluation.pairs import (
    Traits,
    add_pair_arguments,
    compared_pairs,
    described,
    heads_of,
    require_data,
    served,
    simulated_for,
)
from tdfusion_edge.runtime.evaluation.parity import REFERENCE, Gap, Looks, least_score, measure_each
from tdfusion_edge.runtime.executors import takes_frames, why_not_one_pass
from tdfusion_edge.runtime.executors.base import F32, Looked
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.units import UNIT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "bundle", type=bundle_path, nargs="?", default=bundle.default_path(), metavar="BUNDLE",
        help="bundle (default: the one shipped)",
    )  # fmt: skip
    add_pair_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_engine_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Compare and print; 0 where nothing passes its limit."""
    labels = labels_of(args)
    require_data(args.data, names=args.names, labels=labels)
    choice = choice_of(args)
    opened = bundle.read(args.bundle)
    pairs = compared_pairs(args.data, args.names, labels, heads_of(opened.manifest))
    traits: list[Traits] = []
    noted = _noted(watched(pairs, len(pairs), "comparing, staged"), traits)
    ran = _compare(opened, choice, "staged", noted, scored=labels is not None)
    one_pass = _one_pass(opened, choice, ran, pairs, traits, scored=labels is not None)
    cameras = _from_cameras(opened, choice, ran, pairs, scored=labels is not None)
    data = described(args.data, ran.gap.pairs)
    if args.json:
        say_json(as_json(ran, data, one_pass, cameras))
    else:
        say(as_text(opened, ran, data, one_pass, cameras))
    whole = [one for one in (one_pass, cameras) if isinstance(one, Compared)]
    return 1 if ran.said or any(one.said for one in whole) else 0


class Compared(NamedTuple):
    """What was measured of one way through the networks."""

    gap: Gap
    said: list[str]
    """The limits that are passed."""
    backend: str
    precision: Precision


def _compare(
    opened: Bundle, choice: Choice, graphs: str, pairs: Iterable[LabelledPair], *, scored: bool
) -> Compared:
    """A back end by way of ``graphs`` against the reference, which always runs network by network."""

    def fuser(chosen: Choice, graphs: str) -> Fuser:
        return Fuser(
            opened,
            **chosen._asdict(),
            graphs=graphs,
            stretch="none",
            range="camera",
            score_threshold=least_score(opened.manifest, scored=scored),
            on_progress=progress_shower,
        )

    with (
        fuser(choice, graphs) as other,
        fuser(Choice(REFERENCE, "fp32", choice.threads), "staged") as reference,
    ):
        across, threshold = graphs != "staged", opened.manifest.score_threshold
        looks: Looks = _Cameras(other) if graphs == "auto" else other
        gap = measure_each(pairs, reference, {None: looks}, threshold, across=across)[None]
        return Compared(gap, gap.offences(other.precision), other.backend, other.precision)


class _Cameras:
    """A Fuser that looks at pairs by its whole way from the cameras' pictures, each as a stream."""

    def __init__(self, fuser: Fuser) -> None:
        self._fuser, self.heads = fuser, fuser.heads

    def look(self, infrared: U8, visible: Image) -> Looked:
        """As :meth:`tdfusion_edge.Fuser.look`, through the range, which changes nothing, and the stretch."""
        result = self._fuser(infrared, visible)
        fused: F32 = luma(result.picture) * UNIT if result.fused is None else result.fused
        return Looked(fused, result.findings, result.picture)


def _from_cameras(
    opened: Bundle, choice: Choice, ran: Compared, pairs: Sequence[LabelledPair], *, scored: bool
) -> Compared | str:
    """What the back end makes of the cameras' pictures themselves, or why it was not measured."""
    if BACKENDS[ran.backend].from_cameras is None:
        return f"{ran.backend} takes lumas"
    choice = choice._replace(precision=ran.precision)
    with closing(open_graph(opened, FUSION, choice).engine) as engine:
        if not takes_frames(Opened(ran.backend, ran.precision, engine), "auto", stretch="none"):
            return f"{ran.backend} takes lumas for this fusion network"
    watching = watched(pairs, len(pairs), "comparing, from the cameras' pictures")
    return _compare(opened, choice, "auto", watching, scored=scored)


def _noted(pairs: Iterable[LabelledPair], traits: list[Traits]) -> Iterator[LabelledPair]:
    """The pairs as they come, their traits kept: to read all of them again would take long."""
    for pair in pairs:
        traits.append(Traits.of(pair))
        yield pair


def _one_pass(
    opened: Bundle,
    choice: Choice,
    ran: Compared,
    pairs: Sequence[LabelledPair],
    traits: Sequence[Traits],
    *,
    scored: bool,
) -> Compared | str:
    """The one-pass graph in the same precision, or why it was not measured.

    It is measured on the pairs of a size that it takes, and on simulated ones where these have no colours.
    """
    reason = why_not_one_pass(opened.manifest, ran.backend, ran.precision)
    if reason is not None:
        return reason
    graph = opened.manifest.graphs[ONE_PASS]
    choice = choice._replace(precision=ran.precision)
    taken, coloured = served(graph, traits)
    scored = scored and len(taken) == len(traits)  # scores of a part would not be those of the networks
    found = None
    if taken:
        measured = (pairs[index] for index in taken)
        if not scored:
            measured = (pair._replace(boxes=None, mask=None) for pair in measured)
        watching = watched(measured, len(taken), "comparing, in one pass")
        found = _compare(opened, choice, "onepass", watching, scored=scored)
    if coloured and found is not None:
        return found
    simulated = _compare(opened, choice, "onepass", simulated_for(graph), scored=False)
    if found is None:
        return simulated
    return found._replace(
        said=[*found.said, *(f"simulated pairs in colour: {line}" for line in simulated.said)]
    )


def as_json(ran: Compared, data: str, one_pass: Compared | str, cameras: Compared | str) -> dict[str, object]:
    """Everything measured, for programs; an infinite PSNR is null, and a way may have a reason alone."""
    return {
        "version": 2,
        "backend": ran.backend,
        "precision": ran.precision,
        "data": data,
        "gap": _figures(ran.gap),
        "offences": ran.said,
        "onepass": _whole(one_pass),
        "from_cameras": _whole(cameras),
    }


def _whole(found: Compared | str) -> dict[str, object]:
    if isinstance(found, str):
        return {"skipped": found}
    return {"gap": _figures(found.gap), "offences": found.said}


def _figures(gap: Gap) -> dict[str, float | None]:
    return {name: None if value == math.inf else value for name, value in gap.figures().items()}


def as_text(
    opened: Bundle, ran: Compared, data: str, one_pass: Compared | str, cameras: Compared | str
) -> str:
    """Everything measured, as lines for people."""
    lines = [
        f"bundle {one_line(opened.manifest.name)}: {ran.backend} in {ran.precision} "
        f"against {REFERENCE} in fp32, {data}",
        *_lines(ran.gap, "fused luma"),
        *ran.said,
    ]
    bad = bool(ran.said)
    for what, found in (("all in one pass", one_pass), ("from the cameras' pictures", cameras)):
        if not isinstance(found, str):
            gap = found.gap
            lines += [
                f"{what}, {'1 pair' if gap.pairs == 1 else f'{gap.pairs} pairs'}:",
                f"pictures in colour: {_psnr(gap.colour_psnr_db)}, "
                f"largest error {gap.colour_levels:.0f} levels",
                *_lines(gap, "fused luma in 8 bits"),
                *found.said,
            ]
            bad = bad or bool(found.said)
        elif what == "all in one pass":
            lines.append(f"{what}: not measured, {found}")
    return "\n".join([*lines, "not equal: see above" if bad else "equal within the limits"])


def _psnr(decibels: float | None) -> str:
    known = math.inf if decibels is None else decibels
    return "the same pictures to the last bit" if math.isinf(known) else f"PSNR {known:.1f} dB"


def _lines(gap: Gap, what: str) -> Iterator[str]:
    yield (
        f"{what}: {_psnr(gap.psnr_db)}, largest error {gap.max_error:.2e}, mean {gap.mean_error:.2e}; "
        f"Qabf {gap.qabf_change:+.4f}, SSIM {gap.ssim_change:+.4f}"
    )
    yield from map(str, gap.heads.values())
