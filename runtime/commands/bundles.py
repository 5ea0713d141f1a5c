"""List the bundles that ship with the package, and those in folders of your own.

  tdfusion-edge bundles
  tdfusion-edge bundles runs my_bundle.zip --json

--bundle takes a shipped one by its name, and any other by its path. A FOLDER is a bundle, or holds some. What
is listed was read whole and every file compared with its digest; one that is damaged is named with what is
wrong with it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import to_builtins

from tdfusion_edge import bundle
from tdfusion_edge.bundle import FUSION, Graph, Manifest
from tdfusion_edge.console import say, say_json
from tdfusion_edge.errors import InputMissing, TdfusionError, WorkError
from tdfusion_edge.escape import one_line
from tdfusion_edge.runtime.heads import HEADS, kind_of
from tdfusion_edge.text import few

MEGABYTE = 1e6


class Listed(NamedTuple):
    """One bundle, or what is wrong with it."""

    name: str
    """What ``--bundle`` takes: the name of a shipped one, the path of another."""
    path: Path
    manifest: Manifest | None
    """None where it cannot be read."""
    size: int
    """Bytes on disk."""
    problem: str | None = None

    @property
    def is_default(self) -> bool:
        """Whether it is taken where none is named."""
        return self.path == bundle.default_path()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "folders", type=Path, nargs="*", metavar="FOLDER",
        help="a bundle of your own, or a folder with some; they stand behind the shipped ones",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def main(args: argparse.Namespace) -> int:
    """List, and fail where one is damaged.

    Raises:
        InputMissing: there is no such folder, or no bundle in it.
        WorkError: one cannot be read. All others were listed.
    """
    own = [path for folder in args.folders for path in bundles_in(folder)]
    found = [listed(path.name, path) for path in bundle.shipped()]
    found += [listed(str(path), path) for path in own]
    if args.json:
        say_json({"version": 1, "bundles": [as_dict(one) for one in found]}, indent=2)
    else:
        say("\n".join(line for one in found for line in as_lines(one)))
    bad = [one for one in found if one.problem is not None]
    if bad:
        raise WorkError(
            f"{len(bad)} of {len(found)} bundles cannot be used", got=few([one.name for one in bad])
        )
    return 0


def bundles_in(folder: Path) -> list[Path]:
    """The bundle at a path, or those that lie in it.

    Raises:
        InputMissing: there is nothing, or no bundle in it.
    """
    if not folder.exists():
        raise InputMissing(f"there is no folder {folder}", expected="a bundle, or a folder with some")
    if not folder.is_dir() or (folder / bundle.MANIFEST).exists():
        return [folder]
    inner = [path for path in sorted(folder.iterdir()) if _is_like_one(path)]
    if not inner:
        raise InputMissing(
            f"{folder} holds no bundle",
            expected=f"a {bundle.MANIFEST}, or folders with one, or .zip files",
            hint="Make one: tdfusion-edge export CHECKPOINT -o BUNDLE",
        )
    return inner


def _is_like_one(path: Path) -> bool:
    return (path / bundle.MANIFEST).exists() if path.is_dir() else path.suffix == ".zip"


def listed(name: str, path: Path) -> Listed:
    """A bundle, read whole."""
    size = sum(one.stat().st_size for one in ([path] if path.is_file() else path.rglob("*")) if one.is_file())
    try:
        return Listed(name, path, bundle.read(path).manifest, size)
    except TdfusionError as error:
        return Listed(name, path, None, size, str(error))


def as_dict(one: Listed) -> dict[str, Any]:
    """One bundle for a program; of one that cannot be read, its place and what is wrong with it."""
    known: dict[str, Any] = {
        "name": one.name,
        "path": str(one.path),
        "default": one.is_default,
        "bytes": one.size,
        "problem": one.problem,
    }
    if one.manifest is None:
        return known
    manifest = one.manifest
    graphs = {
        name: {
            "precisions": list(graph.files),
            "parameters": graph.parameters,
            "multiply_adds": graph.multiply_adds,
        }
        for name, graph in manifest.graphs.items()
    }
    told = ("network", "strategy", "created", "heads", "training_data", "metrics", "commands")
    fields = {name: to_builtins(getattr(manifest, name)) for name in told}
    return known | {"called": manifest.name, "graphs": graphs, **fields}


def as_lines(one: Listed) -> Iterator[str]:
    """One bundle for people."""
    yield one_line(one.name) + ("  (taken where none is named)" if one.is_default else "")
    if one.manifest is None:
        yield f"    cannot be used: {one.problem}"
        return
    manifest = one.manifest
    does = [_does(manifest, kind) for kind in reversed(list(HEADS)) if manifest.head(kind) is not None]
    yield f"    for        {', '.join(['fused pictures', *does])}"
    yield f"    fusion     {one_line(manifest.network)}{_cost(manifest.graphs[FUSION], ' a 640x480 pair')}"
    for name, head in manifest.heads.items():
        yield f"    {one_line(name):<10} {one_line(head.network)}{_cost(manifest.graphs[name], ' a look')}"
    yield f"    holds      {', '.join(_precisions(manifest.graphs.values()))}; {one.size / MEGABYTE:.1f} MB"
    for data in manifest.training_data:
        yield f"    trained on {data.pairs} pairs of {one_line(data.name)}: {one_line(data.terms)}"


def _does(manifest: Manifest, kind: str) -> str:
    return f"{kind_of(kind).verb} {', '.join(map(one_line, manifest.classes(kind)))}"


def _cost(graph: Graph, per: str) -> str:
    parts = []
    if graph.parameters is not None:
        parts.append(f"{graph.parameters:,} parameters")
    if graph.multiply_adds is not None:
        parts.append(f"{graph.multiply_adds / 1e6:,.1f} million multiply-adds{per}")
    return f", {', '.join(parts)}" if parts else ""


def _precisions(graphs: Iterable[Graph]) -> list[str]:
    return list(dict.fromkeys(precision for graph in graphs for precision in graph.files))
