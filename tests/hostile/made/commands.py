"""Command lines that are right but for one thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hostile.made.bundles import write_bundle
from hostile.made.pictures import encoded

PLAIN = ("--stretch", "none", "--range", "camera")
"""Nothing is done to the levels, so that the fused picture can be foretold."""


def bundle(folder: Path) -> Path:
    """The bundle that averages, in the folder of the case."""
    path = folder / "mean"
    return path if path.exists() else write_bundle(path)


def fuse(
    folder: Path, infrared: str = "ir.png", visible: str = "vis.png", output: str = "out.png"
) -> list[str]:
    """``fuse`` with that bundle; infrared is written where there is none yet."""
    if not (folder / infrared).exists() and not (folder / infrared).is_symlink():
        (folder / infrared).write_bytes(encoded(infrared.rpartition(".")[2], "infrared"))
    return ["fuse", infrared, visible, "-o", output, "--bundle", str(bundle(folder)), *PLAIN]


def fused(name: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], list[str]]:
    """A maker of ``fuse ir.png NAME`` with such content."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content() if callable(content) else content)
        return fuse(folder, visible=name)

    return make


def thermal(name: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], list[str]]:
    """A maker of ``fuse NAME vis.png`` with such content."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content() if callable(content) else content)
        (folder / "vis.png").write_bytes(encoded("png"))
        return fuse(folder, infrared=name)

    return make


def picture_folder(folder: Path, what: str, count: int, suffix: str = "png") -> Path:
    """``count`` equal pictures in a folder, numbered from 1."""
    path = folder / {"infrared": "ir", "visible": "vi"}[what]
    path.mkdir(exist_ok=True)
    for number in range(1, count + 1):
        (path / f"{number}.{suffix}").write_bytes(encoded(suffix, what))
    return path


def run(folder: Path, *more: str, count: int = 3, output: str = "out.jsonl") -> list[str]:
    """``run`` with two folders of pictures as cameras."""
    for what in ("infrared", "visible"):
        picture_folder(folder, what, count)
    return ["run", "--camera", "ir,vi", "--bundle", str(bundle(folder)), "-o", output, *more]
