"""Score fused pictures against their sources.

  tdfusion-edge eval --data DIR
  tdfusion-edge eval BUNDLE --data DIR --names val.txt --compare other=FOLDER --json

DIR holds ir/ and vi/ with equal stems. Each row is the mean over all pairs of EN, SF, SD, AG, SCD,
VIF, Qabf and SSIM (VIF and SSIM: mean over the two sources), on the 8-bit luma.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast, get_args

import cv2
import numpy as np

from tdfusion_edge import bundle
from tdfusion_edge.color import U8
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.images import by_stem, read_luma8, read_names
from tdfusion_edge.metrics import Scores, evaluate, mean
from tdfusion_edge.runtime.engines import BACKENDS, Engine, open_engine
from tdfusion_edge.runtime.stretch import Stretch, StretchName

Fuse: TypeAlias = Callable[[str, U8, U8], U8]
"""Stem, infrared and visible luma to fused luma, uint8 (H, W) each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("bundle", type=Path, nargs="?", default=bundle.default_path(), metavar="BUNDLE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with ir/ and vi/")
    parser.add_argument(
        "--names", metavar="FILE", help="text file in DIR with one stem a line (default: all)"
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a row for fused pictures of others",
    )
    parser.add_argument(
        "--baselines", action="store_true", help="rows for each sensor, their average and their maximum"
    )
    parser.add_argument(
        "--stretch", choices=[s for s in get_args(StretchName) if s != "temporal"], default="none"
    )
    parser.add_argument(
        "--backend", default="auto", choices=("auto", *BACKENDS), help="what runs the network"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def main(args: argparse.Namespace) -> int:
    """Score and print."""
    names = pair_names(args.data, args.names)
    opened = bundle.read(args.bundle)
    _, engine = open_engine(opened.graph("fusion")[1], args.backend)
    rows = _rows(args, opened.manifest.name, engine)
    table = {row: score(args.data, names, fuse) for row, fuse in rows.items()}
    if args.json:
        say(
            json.dumps(
                {"pairs": len(names), "rows": {row: scores._asdict() for row, scores in table.items()}}
            )
        )
    else:
        say(_as_table(table, len(names)))
    return 0


def score(data: Path, names: list[str], fuse: Fuse) -> Scores:
    """Mean scores of ``fuse`` over the pairs of ``data`` with these stems.

    Raises:
        RequestError: the two pictures of a pair, or the fused one, differ in size, or one has 16 bits.
        SourceError: a picture cannot be read.
    """
    infrared, visible = by_stem(data / "ir"), by_stem(data / "vi")

    def one(name: str) -> Scores:
        pair = read_luma8(infrared[name]), read_luma8(visible[name])
        _require_equal_sizes(name, "infrared", pair[0], pair[1])
        fused = fuse(name, *pair)
        _require_equal_sizes(name, "fused", fused, pair[1])
        return evaluate(fused, *pair)

    # The metrics are NumPy and OpenCV, which release the interpreter: threads are enough.
    with ThreadPoolExecutor(cv2.getNumberOfCPUs()) as pool:
        return mean(pool.map(one, names))


def pair_names(data: Path, listed: str | None) -> list[str]:
    """Stems of the pairs to score: those in the file ``listed`` of ``data``, or all.

    Raises:
        InputMissing: there is no such list, or a pair of it is not in ``data``, or there is none.
    """
    infrared, visible = by_stem(data / "ir"), by_stem(data / "vi")
    common = [name for name in infrared if name in visible]
    names = common if listed is None else read_names(data / listed)
    lacking = [name for name in names if name not in infrared or name not in visible]
    if lacking or not names:
        raise InputMissing(
            f"{data} lacks pairs", expected="equal stems in ir/ and vi/", got=", ".join(lacking[:5]) or "none"
        )
    return names


BASELINES: Mapping[str, Fuse] = {
    "infrared": lambda _, infrared, visible: infrared,
    "visible": lambda _, infrared, visible: visible,
    "average": lambda _, infrared, visible: cast(U8, cv2.addWeighted(infrared, 0.5, visible, 0.5, 0)),
    "maximum": lambda _, infrared, visible: cast(U8, np.maximum(infrared, visible)),
}
"""What needs no network."""


def _rows(args: argparse.Namespace, network: str, engine: Engine) -> dict[str, Fuse]:
    """What is scored, by the names of the rows."""
    rows: dict[str, Fuse] = {network: partial(_by_network, engine, args.stretch)}
    if args.baselines and network in BASELINES:
        raise RequestError(f"the bundle is called '{network}' like a row of --baselines")
    for compared in args.compare:
        name, _, folder = compared.partition("=")
        if not (name and folder):
            raise RequestError(f"--compare {compared}", expected="NAME=FOLDER")
        if name in rows or (args.baselines and name in BASELINES):
            raise RequestError(f"two rows are called '{name}'", hint="Give --compare another NAME.")
        rows[name] = partial(_from_folder, by_stem(Path(folder)))
    return rows | dict(BASELINES) if args.baselines else rows


def _require_equal_sizes(name: str, what: str, picture: U8, visible: U8) -> None:
    if picture.shape != visible.shape:
        (height, width), (visible_height, visible_width) = picture.shape, visible.shape
        raise RequestError(
            f"pair '{name}': the {what} picture has another size than the visible one",
            expected=f"{visible_width}x{visible_height}",
            got=f"{width}x{height}",
        )


def _by_network(engine: Engine, stretch: StretchName, name: str, infrared: U8, visible: U8) -> U8:
    unit = {
        "infrared": infrared[None, None] / np.float32(255),
        "visible": visible[None, None] / np.float32(255),
    }
    return Stretch(stretch).apply(engine.run(unit)["fused"][0, 0], 0)


def _from_folder(pictures: Mapping[str, Path], name: str, infrared: U8, visible: U8) -> U8:
    if name not in pictures:
        raise InputMissing(f"there is no fused picture '{name}' to compare")
    return read_luma8(pictures[name])


def _as_table(table: Mapping[str, Scores], pairs: int) -> str:
    lines = [f"{pairs} pairs", f"{'':14}" + "".join(f"{field:>9}" for field in Scores._fields)]
    lines += [f"{row:14}" + "".join(f"{value:9.4f}" for value in scores) for row, scores in table.items()]
    return "\n".join(lines)
