"""How far what ``tdfusion-edge calibrate`` finds lies from what is known.

  python -m benchmarks.live.calibration

Rigs with a random known homography: a drawn pattern, the simulated street, and real pairs whose infrared
picture was
warped. An error is the distance in visible pixels between where the known homography and the found one put a
point, over a grid of infrared's view. Then pairs that cannot be aligned, which are to be refused; and the
parallax of a stereo rig from 2 to 50 m.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.live.boards import drawn, noisy, pose, rig
from benchmarks.schema import Figure, Results
from benchmarks.script import ROOT, Benchmark, Measured, add_count, main, parse_count
from tdfusion_edge.console import say
from tdfusion_edge.errors import WorkError
from tdfusion_edge.frames import Image
from tdfusion_edge.pairs import PairSource, open_pairs
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.runtime import rig as rigs
from tdfusion_edge.runtime.calibration import targetless
from tdfusion_edge.runtime.calibration.features import level
from tdfusion_edge.runtime.calibration.fit import applied, fit, inverse, least_squares
from tdfusion_edge.runtime.calibration.pattern import parse
from tdfusion_edge.runtime.calibration.refine import Shifts, block_shifts
from tdfusion_edge.runtime.calibration.views import Views, solve
from tdfusion_edge.runtime.picture import parallax
from tdfusion_edge.runtime.simulation.faults import Faults
from tdfusion_edge.runtime.simulation.scene import Scene
from tdfusion_edge.runtime.simulation.view import View
from tdfusion_edge.runtime.sources.simulated import SimulatedSource
from tdfusion_edge.video.reader import VideoReader

F64 = npt.NDArray[np.float64]
Size = tuple[int, int]

VISIBLE: Size = (640, 480)
SIZES: tuple[Size, ...] = ((640, 512), (320, 256), (160, 120))
SMALLEST: Size = (80, 62)
PATTERNS = ("chessboard:7x7", "acircles:4x11")
VIEWS = 12
VIDEOS = ("0111_1716", "0113_1714", "0117_1605")
BASELINE, HEIGHT_M = (0.12, -0.03), 3.0


class Pairs(NamedTuple):
    """Pictures of the same moments."""

    infrared: Sequence[Image]
    visible: Sequence[Image]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    data = Path(os.environ.get("TDFUSION_DATA") or ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--data", type=Path, default=data, metavar="DIR",
        help="folder with msrs/ and m3svd/ (default: $TDFUSION_DATA or ../shared/data)",
    )  # fmt: skip
    parser.add_argument("--seed", type=parse_count, default=1, help="of the rigs (default: 1)")
    add_count(parser, "rigs", 4, "rigs of each kind and size")
    add_count(parser, "pairs", 12, "pairs of pictures a rig")


def measure(args: argparse.Namespace) -> Measured:
    """Every kind of rig."""
    figures: list[Figure] = []
    for name, found in chain(
        _patterns(args),
        _simulated(args),
        _real("MSRS", _msrs(args), args),
        _real("m3svd", _m3svd(args), args),
    ):
        say(f"{name}: {np.round(found, 3)}", error=True)
        figures += _spread(name, found)
    figures += _refused(_msrs(args), args) + _parallax()
    facts = {
        "views of a pattern": str(VIEWS),
        "sizes of infrared": ", ".join(f"{w}x{h}" for w, h in (*SIZES, SMALLEST)),
        "videos": ", ".join(VIDEOS),
    }
    return Measured(Results(figures=tuple(figures)), facts)


def _spread(name: str, errors: Sequence[float]) -> list[Figure]:
    """Median and worst of the rigs' median errors; how many were refused, if any were."""
    found = [error for error in errors if np.isfinite(error)]
    rows = [("rigs", float(len(errors)), "")]
    if len(found) < len(errors):
        rows.append(("refused", float(len(errors) - len(found)), ""))
    if found:
        rows += [("median", float(np.median(found)), "px"), ("worst", max(found), "px")]
    return [
        Figure(name=f"{name}, {what}", value=round(value, 4), unit=unit or "rigs")
        for what, value, unit in rows
    ]


def _error(found: F64, known: F64, size: Size) -> float:
    """Median distance, visible pixels, over the points of a grid that lie in visible."""
    x, y = np.meshgrid(np.linspace(0.03, 0.97, 13) * size[0], np.linspace(0.03, 0.97, 9) * size[1])
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    true = applied(known, grid)
    seen = ((true >= 0) & (true < VISIBLE)).all(axis=1)
    return float(np.median(np.linalg.norm(applied(found, grid) - true, axis=1)[seen]))


def _patterns(args: argparse.Namespace) -> Iterator[tuple[str, list[float]]]:
    for text in PATTERNS:
        pattern = parse(text)
        for size in (*SIZES, SMALLEST):
            rng = np.random.default_rng(args.seed)
            errors = []
            for _ in range(args.rigs):
                known, views = rig(rng, size), Views(pattern, moving=False)
                for number in range(60):
                    if len(views.kept) >= VIEWS:
                        break
                    share = 0.85 if size == SMALLEST else rng.uniform(0.4, 0.65)
                    to_infrared = pose(rng, pattern, size, share)
                    hot = drawn(pattern, to_infrared, size, dark=200, bright=60, blur=0.8)
                    cold = drawn(pattern, known @ to_infrared, VISIBLE)
                    views.look(noisy(hot, rng, 3.0), noisy(cold, rng), number * 10**9)
                found = solve(views.kept, size, VISIBLE)
                errors.append(_error(found.homography, known, size))
            yield f"{text}, infrared {size[0]}x{size[1]}", errors


def _simulated(args: argparse.Namespace) -> Iterator[tuple[str, list[float]]]:
    for size in SIZES:
        rng = np.random.default_rng(args.seed)
        errors = []
        for seed in range(args.rigs):
            known = rig(rng, size)
            first, second, third = ((float(a), float(b), float(c)) for a, b, c in known)
            scene = Scene(seed)
            infrared = SimulatedSource(
                "ir",
                "infrared",
                scene,
                1.0,
                Faults(size=size, homography=(first, second, third)),
                realtime=False,
            )
            visible = SimulatedSource("vis", "visible", scene, 1.0, realtime=False)
            shots = [(infrared.read(), visible.read()) for _ in range(args.pairs)]
            pairs = Pairs([a.image for a, b in shots if a and b], [b.image for a, b in shots if a and b])
            errors.append(_aligned(pairs, known, size))
        yield f"edges, simulated street, infrared {size[0]}x{size[1]}", errors


def _aligned(pairs: Pairs, known: F64, size: Size) -> float:
    """The error of what edges give; NaN where they are refused."""
    try:
        return _error(targetless.align(*pairs).homography, known, size)
    except WorkError as error:
        say(str(error), error=True)
        return float("nan")


def _real(name: str, pairs: Pairs, args: argparse.Namespace) -> Iterator[tuple[str, list[float]]]:
    """Pairs whose infrared picture was warped, against what the same pairs give unwarped.

    These sets are not registered to a pixel, so the known homography alone is not the truth. Unwarped, the
    blocks of
    the pairs tell where infrared lies on visible; the homography through those that a warped picture still
    shows, behind the known one, is what it is compared with.
    """
    base = targetless.align(*pairs)
    ours, theirs = ([level(picture) for picture in side] for side in pairs)
    blocks = block_shifts(ours, theirs, base.homography, radius=targetless.LAST_LOOK, block=96)
    yield f"edges, {name} as it is, residual to one homography", [base.errors.median]
    for size in SIZES:
        rng = np.random.default_rng(args.seed)
        errors, to_known = [], []
        for _ in range(args.rigs):
            known = rig(rng, size)
            warped = Pairs([_warped(picture, known, size) for picture in pairs.infrared], pairs.visible)
            reference = _reference(base.homography, blocks, known, size)
            errors.append(_aligned(warped, reference @ known, size))
            to_known.append(_error(reference @ known, known, size))
        yield f"edges, {name} warped, infrared {size[0]}x{size[1]}", errors
        yield f"{name}'s own misalignment there, infrared {size[0]}x{size[1]}", to_known
    for count in (1, 4):
        rng = np.random.default_rng(args.seed)
        errors = []
        for number in range(args.rigs):
            known, size = rig(rng, (320, 256)), (320, 256)
            few = [(number * count + index) % len(pairs.infrared) for index in range(count)]
            part = Pairs([pairs.infrared[i] for i in few], [pairs.visible[i] for i in few])
            warped = Pairs([_warped(picture, known, size) for picture in part.infrared], part.visible)
            errors.append(_aligned(warped, _reference(base.homography, blocks, known, size) @ known, size))
        yield f"edges, {name} warped, {count} of the pairs, infrared 320x256", errors


def _warped(picture: Image, known: F64, size: Size) -> Image:
    """The infrared picture as a camera of another view and size would give it."""
    density = float(np.sqrt(abs(np.linalg.det(known[:2, :2]))))
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.4 * density) if density > 1.2 else picture
    return cv2.warpPerspective(
        smooth, np.linalg.inv(known), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def _reference(base: F64, blocks: Shifts, known: F64, size: Size) -> F64:
    """Unwarped infrared to visible, by the blocks that a picture warped by ``known`` shows."""
    back = applied(inverse(known), blocks.places)
    seen = ((back > 0) & (back < np.array(size) - 1)).all(axis=1)
    places = blocks.places[seen]
    from_ = applied(inverse(base), places)
    return fit(
        from_, places + blocks.shifts[seen], threshold=targetless.AGREES, weights=blocks.margins[seen] + 1e-3
    ).homography


def _msrs(args: argparse.Namespace) -> Pairs:
    folder = args.data / "msrs"
    names = pair_names(folder, PairSource(names="split_val.txt"), videos=False)
    names = names[:: max(1, len(names) // args.pairs)][: args.pairs]
    pairs = list(open_pairs(folder, PairSource(names=tuple(names)), videos=False))
    return Pairs([pair.infrared for pair in pairs], [pair.visible for pair in pairs])


def _m3svd(args: argparse.Namespace) -> Pairs:
    each = -(-args.pairs // len(VIDEOS))
    sides: list[list[Image]] = [[], []]
    for name in VIDEOS:
        for side, folder in zip(sides, ("ir", "vi"), strict=True):
            reader = VideoReader(args.data / "m3svd" / folder / f"{name}.mp4")
            shown: list[Image] = []
            while len(shown) < 140 and (frame := reader.read()) is not None:
                shown.append(frame.image)
            reader.close()
            side += shown[:: max(1, len(shown) // each)][:each]
    return Pairs(*sides)


def _refused(pairs: Pairs, args: argparse.Namespace) -> list[Figure]:
    """What share of pairs that do not belong together is refused, together and one by one."""
    turned = Pairs(pairs.infrared, [*pairs.visible[1:], pairs.visible[0]])
    mirrored = Pairs(pairs.infrared, [np.ascontiguousarray(picture[:, ::-1]) for picture in pairs.visible])
    flat = Pairs(pairs.infrared, [np.full_like(picture, 90) for picture in pairs.visible])
    rows: list[tuple[str, Callable[[int], Pairs], int]] = [
        ("infrared beside visible of another moment", lambda _: turned, 1),
        ("mirrored", lambda _: mirrored, 1),
        ("visible shows nothing", lambda _: flat, 1),
        (
            "one pair of two moments",
            lambda index: Pairs([turned.infrared[index]], [turned.visible[index]]),
            len(pairs.infrared),
        ),
    ]
    figures = []
    for name, given, count in rows:
        refused = 0
        for index in range(count):
            try:
                targetless.align(*given(index))
            except WorkError as error:
                refused += 1
                say(f"{name}: {error.what}: {error.got}", error=True)
        figures.append(Figure(name=f"refused: {name}, of {count}", value=float(refused), unit="rigs"))
    return figures


def _parallax() -> list[Figure]:
    """Largest error of points from 2 to 50 m, of a stereo rig that was measured at 5 m."""
    infrared, visible = View(320, 240), View(*VISIBLE)

    def seen(view: View, distance_m: float, aside: tuple[float, float]) -> F64:
        x, y = np.meshgrid(np.linspace(-0.6, 0.6, 7), np.linspace(-0.4, 0.4, 5))
        world = np.stack(
            [
                x.ravel() * distance_m - aside[0],
                HEIGHT_M + y.ravel() * distance_m + aside[1],
                np.full(x.size, distance_m),
            ],
            axis=1,
        )
        return view.points(world).astype(np.float64) - 0.5

    def between(distance_m: float) -> tuple[F64, F64]:
        return seen(infrared, distance_m, BASELINE), seen(visible, distance_m, (0, 0))

    matrix = least_squares(*between(5.0), np.ones(35))
    registration = rigs.Registration(
        homography=tuple(map(tuple, matrix.tolist())),  # type: ignore[arg-type]
        infrared_size=(320, 240), visible_size=VISIBLE,
        distance_m=5.0, baseline_m=BASELINE, focal_px=visible.focal,
    )  # fmt: skip
    at = parallax.quantised(registration)

    def worst(homography: Callable[[float], rigs.Registration]) -> float:
        errors = []
        for distance_m in np.geomspace(2, 50, 200):
            ours, theirs = between(float(distance_m))
            put = applied(np.array(homography(float(distance_m)).homography), ours)
            errors.append(np.linalg.norm(put - theirs, axis=1).max())
        return float(max(errors))

    rows = (
        ("measured at 5 m and left there", lambda _: registration),
        ("at the distance", lambda m: parallax.at_distance(registration, m)),
        ("at the distance, in steps", lambda m: at(m)[1]),
    )
    return [
        Figure(name=f"parallax, 2 to 50 m, {name}", value=round(worst(how), 4), unit="px")
        for name, how in rows
    ]


BENCHMARK = Benchmark("live.calibration", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
