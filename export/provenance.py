"""The command lines that made a bundle, for its manifest and its model card."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tdfusion_edge.bundle import FUSION, Precision
from tdfusion_edge.checkpoint import Header
from tdfusion_edge.pairs import Labels

_FOLDERS = re.compile(r"""(?<![\w.~])~?/(?:[^/'",\s]*/)*""")
"""The folders of an absolute path, wherever it stands in an option."""


def training_command(header: Header) -> str | None:
    """``tdfusion-edge train ...`` of a checkpoint; None where its training did not note what was changed.

    Of a file on the machine that trained, its name stays.
    """
    if header.changes is None:
        return None
    words = ["tdfusion-edge", "train", header.recipe, "--data", "DIR"]
    planned = header.settings.get("optimiser", {}).get("steps", header.steps)
    if planned != header.steps:
        words += ["--steps", str(header.steps)]
    for change in header.changes:
        words += ["--set", portable(change)]
    return shlex.join(words)


def portable(text: str) -> str:
    """An option without the folders of absolute paths, which say nothing elsewhere.

    >>> portable("task.start='/home/me/runs/last.safetensors'")
    "task.start='last.safetensors'"
    """
    return _FOLDERS.sub("", text)


def export_command(
    paths: Sequence[Path],
    name: str,
    precisions: Collection[Precision],
    size: tuple[int, int] | None,
    *,
    heads: bool = True,
    threshold: float | None = None,
    opset: int | None = None,
    data: Path | None = None,
    names: str | None = None,
    calibration: str | None = None,
    labels: Labels | None = None,
    plugins: bool = False,
) -> str:
    """``tdfusion-edge export ...`` of a bundle.

    Args:
        paths: Checkpoints; the last two parts of each name stay, which is how trainings leave them.
        name: Of the bundle.
        precisions: Of its graphs.
        size: Width and height of the one-pass graph; None: without one.
        heads: Whether task networks came along.
        threshold: Of the detector, where it is not the usual one.
        opset: Likewise.
        data: Folder of the pairs that were measured on; None: simulated ones.
        names: List in it.
        calibration: List in it.
        labels: Of these pairs.
        plugins: Whether our kernel stands in the one-pass graph.
    """
    words = ["tdfusion-edge", "export", *("/".join(path.parts[-2:]) for path in paths), "-o", name]
    words += ["--name", name, "--precision", ",".join(sorted(precisions, key=_ORDER.index))]
    words += [] if heads else ["--no-heads"]
    words += ["--no-onepass"] if size is None else ["--size", f"{size[0]}x{size[1]}"]
    words += ["--plugins"] if plugins else []
    given = {
        "--score-threshold": threshold,
        "--opset": opset,
        "--data": None if data is None else data.resolve().name,
        "--names": names,
        "--calibration": calibration,
        "--labels": labels,
        "--classes": ",".join(labels.classes) or None if labels is not None else None,
    }
    for option, value in given.items():
        if value is not None:
            words += [option, portable(str(value))]
    return shlex.join(words)


_ORDER: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def commands(fusion: Header, heads: Mapping[str, Header], exported: str) -> dict[str, str]:
    """All of a bundle: the trainings' by the names of the graphs that they gave, and ``export``."""
    trained = {name: training_command(header) for name, header in {FUSION: fusion, **heads}.items()}
    known = {name: command for name, command in trained.items() if command is not None}
    return {**known, "export": exported}
