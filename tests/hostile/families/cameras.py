"""Cameras that are absent, swapped, one and the same, or change while they run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hostile.case import Case, Run, Wrong, cases
from hostile.families.rigs import lines_are, rig
from hostile.made.commands import PLAIN, bundle, run
from hostile.made.pictures import encode, encoded, huge, infrared, visible
from hostile.made.videos import FRAMES, damaged, pairs_are, video

Make = Callable[[Path], Sequence[object]]


def named(text: str, *more: str) -> Make:
    """``run`` with such a ``--camera``, two folders of pictures lying by."""

    def make(folder: Path) -> list[str]:
        arguments = run(folder, *more)
        arguments[2] = text
        return arguments

    return make


NAMES = {
    "nothing": "", "one name": "ir", "three names": "ir,vi,vi", "a comma": ",", "one and nothing": "ir,", "one twice": "ir,ir",
    "one twice by another name": "ir,./ir", "one that is not there": "ir,gone", "-": "-,vi", "escape codes": "\x1b[31mir\x9b\u202e,vi",
    "an unknown kind": "ir,foo://vi", "a kind misspelt": "ir,fil:///vi", "rtsp": "ir,rtsp://127.0.0.1:9/live", "a CSI camera": "csi://0,vi",
    "a pipeline": "gst:nosuchelement,vi", "a pipeline with commas": "gst:videotestsrc ! video/x-raw,format=GRAY8,vi",
    "a pipeline with slashes": "gst://videotestsrc,vi", "no pipeline": "gst:,vi", "a CSI camera that is none": "csi://x?flip=7,vi",
    "a bag that is not there": "gone.mcap?topic=/a,vi", "a bag that is none": "mean/manifest.json/a.bag?topic=/a,vi",
    "a part of another form": "file://ir?crop=4,vi", "a device that is none": "/dev/null,vi", "a device that is not there": "/dev/video99,vi",
    "a camera and a folder": "sim://ir?size=80x60,vi", "a user that is none": "~nobodyhere/ir,vi", "a file of text": "mean/manifest.json,vi",
    "a pipe": "pipe,vi", "an empty folder": "empty,vi", "a name of 300 bytes": "n" * 300 + ",vi", "a name of 100,000 bytes": "n" * 100_000 + ",vi",
    "an address of percent signs": "file:///%zz%00,vi", "an address with NUL in it": "file:///a%00b,vi", "an address without a path": "file://,vi",
    "a question mark twice": "file:///a?fps=1&fps=2,vi", "an option of a file": "ir?fps=3,vi",
}  # fmt: skip


def _lying_by(text: str) -> Make:
    def make(folder: Path) -> Sequence[object]:
        arguments = named(text)(folder)
        os.mkfifo(folder / "pipe")
        (folder / "empty").mkdir()
        return arguments

    return make


ADDRESSES = [
    Case(f"cameras: {what}", _lying_by(text), says=r"\S", quick=what in ("a pipe", "one twice"))
    for what, text in NAMES.items()
]

SIMULATED = [
    Case(f"a simulated camera with {option}", named(f"sim://ir?{option},sim://vis?size=80x60", "--seconds", "0.2"), says=r"\S", limit=30)
    for option in (
        "fps=nan", "fps=inf", "fps=0", "fps=-1", "fps=1e-300", "fps=1e300", "size=0x0", "size=1x1", "size=99999x99999", "size=-64x48",
        "size=64", "seed=x", "seed=-1", "noise=nan", "noise=1e300", "depth=9", "drop=2", "freeze=x", "dead=x", "frames=x", "nonsense=1", "%1b%5b31m=1",
    )
] + [
    Case("a folder with fps=1e-300", lambda folder: named(f"file://{folder}/ir?fps=1e-300,file://{folder}/vi?fps=1e-300")(folder), ("right", "error"), check=lines_are(3), says="fps"),
    Case("a folder with fps=1e300", lambda folder: named(f"file://{folder}/ir?fps=1e300,file://{folder}/vi?fps=1e300")(folder), ("right", "error"), check=lines_are(3), says="fps"),
    Case("a folder with fps=nan", lambda folder: named(f"file://{folder}/ir?fps=nan,vi")(folder), says="fps"),
    Case("a folder cropped beyond its pictures", lambda folder: named(f"file://{folder}/ir?crop=999x999+0+0,vi")(folder), says="the crop is larger"),
    Case("a folder with fps=0x10", lambda folder: named(f"file://{folder}/ir?fps=0x10,vi")(folder), says="fps"),
]  # fmt: skip


def _home(folder: Path) -> Sequence[object]:
    arguments = named("ir,~/vi")(folder)
    (folder.parent / "home").mkdir()
    (folder / "vi").rename(folder.parent / "home" / "vi")
    return arguments


def _with_picture(content: bytes, *more: str, output: str = "out.jsonl") -> Make:
    """``run`` on folders of three pictures, visible's second one being this."""

    def make(folder: Path) -> list[str]:
        arguments = run(folder, *more, output=output)
        (folder / "vi" / "2.png").write_bytes(content)
        return arguments

    return make


def two_or_three(folder: Path, run: Run) -> None:
    """The others were shown."""
    got = len((folder / "out.jsonl").read_text().splitlines())
    if got < 2:
        raise Wrong(f"{got} pictures are left of three")


def _fewer(folder: Path) -> Sequence[object]:
    arguments = run(folder)
    (folder / "vi" / "3.png").unlink()
    return arguments


def _one_damaged_video(folder: Path) -> Sequence[object]:
    (folder / "ir.mkv").write_bytes(video("matroska"))
    (folder / "vis.mkv").write_bytes(damaged(video("matroska")))
    return ["run", "--camera", "ir.mkv,vis.mkv", "-o", "out.mkv", "--bundle", str(bundle(folder)), *PLAIN]


def _linked(how: Callable[[Path, Path], object]) -> Make:
    def make(folder: Path) -> Sequence[object]:
        (folder / "a.mkv").write_bytes(video("matroska"))
        how(folder / "a.mkv", folder / "b.mkv")
        return ["run", "--camera", "a.mkv,b.mkv", "-o", "out.jsonl", "--bundle", str(bundle(folder))]

    return make


def _same_content(folder: Path) -> Sequence[object]:
    return _linked(lambda first, second: second.write_bytes(first.read_bytes()))(folder)


def _deep(what: str) -> Make:
    """The pictures of one camera have 16 bits."""

    def make(folder: Path) -> Sequence[object]:
        arguments = run(folder)
        for number in (1, 2, 3):
            deep = infrared().astype(np.uint16) * 30 + 7000
            (folder / what / f"{number}.png").write_bytes(encode("png", deep))
        return arguments

    return make


RUNNING = [
    Case("a home folder as second camera", _home, ("right",), check=lines_are(3)),
    Case("a damaged picture in a camera's folder", _with_picture(b"no picture"), ("degraded",), says=r"2\.png|[1-9] (damaged|failures?|unreadable|left out)",
         check=two_or_three, leaves=("out.jsonl",), quick=True),
    Case("a cut picture in a camera's folder", _with_picture(encoded("png")[:99]), ("degraded",), says=r"2\.png|[1-9] (damaged|failures?|unreadable|left out)", check=two_or_three),
    Case("an empty picture in a camera's folder", _with_picture(b""), ("degraded",), says=r"2\.png", check=two_or_three),
    Case("a picture of 60,000 x 60,000 in a camera's folder", _with_picture(huge("png")),
         ("degraded",), says=r"2\.png", check=two_or_three),
    Case("visible changes its size", _with_picture(encode("png", visible((96, 64)))), ("right", "error", "degraded"), says=r"size|96|\d+ \w+", leaves=("out.jsonl",)),
    Case("visible changes its size in a video", _with_picture(encode("png", visible((96, 64))), output="out.mkv"), ("right", "error", "degraded"),
         says=r"size|96|\d+ \w+", leaves=("out.mkv", "out*")),
    Case("visible is too small once", _with_picture(encode("png", visible()[:8, :8])), ("error", "degraded"), says=r"small|8x8", leaves=("out.jsonl",)),
    Case("one camera has fewer pictures", _fewer, ("degraded",), says=r"[1-9] (unmatched|alone|single|without|late|silent|dropped)"),
    Case("a damaged video as camera", _one_damaged_video, ("error",), says=r"vis\.mkv", leaves=("out.mkv",)),
    Case("visible gives 16 bits", _deep("vi"), says="16|swap"),
    Case("infrared gives 16 bits", _deep("ir"), ("right",), check=lines_are(3)),
    Case("one file as both cameras, by a hard link", _linked(os.link), ("error", "degraded"), says="(?i)(same|one) (file|video|recording|camera)|twice|already"),
    Case("one file as both cameras, by a symbolic link", _linked(lambda first, second: second.symlink_to(first.name)), ("error", "degraded"),
         says="(?i)(same|one) (file|video|recording|camera)|twice|already"),
    Case("two files of one content", _same_content, ("right",), check=lines_are(FRAMES)),
]  # fmt: skip


def _live(text: str, *more: str) -> Make:
    return lambda folder: [
        "run",
        "--camera",
        text,
        "--seconds",
        "1",
        "-o",
        "out.jsonl",
        "--bundle",
        str(bundle(folder)),
        *more,
    ]


def some_pictures(folder: Path, run: Run) -> None:
    """The camera that is there was shown."""
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    if len(rows) < 5 or not all(row.get("degraded") for row in rows):
        raise Wrong(f"{len(rows)} pictures, of which not all are called degraded")


SMALL = "size=80x60"
ABSENT = [
    Case("infrared is absent at the start, policy single", _live(f"v4l2:///dev/video97,sim://vis?{SMALL}", "--policy", "single"), ("degraded",),
         says=r"\d+ \w+", check=some_pictures, limit=40, quick=True),
    Case("visible is absent at the start, policy single", _live(f"sim://ir?{SMALL},v4l2:///dev/video97", "--policy", "single"), ("degraded", "error"),
         says="video97", limit=40),
    Case("infrared is absent at the start, policy drop", _live(f"v4l2:///dev/video97,sim://vis?{SMALL}", "--policy", "drop"), ("error", "degraded"), says="video97", limit=40),
    Case("both are absent", _live("v4l2:///dev/video97,v4l2:///dev/video98", "--policy", "single"), says="video9", limit=40),
    Case("infrared is dead", _live(f"sim://ir?{SMALL}&dead=0:60,sim://vis?{SMALL}", "--policy", "single"), ("degraded",), says=r"\d+ \w+", limit=40),
    Case("infrared is silent", _live(f"sim://ir?{SMALL}&silence=0:9,sim://vis?{SMALL}", "--policy", "single"), ("degraded",), says=r"\d+ \w+", limit=40),
]  # fmt: skip


def _recordings_apart(folder: Path) -> Sequence[object]:
    (folder / "ir.mkv").write_bytes(video("matroska", times_ms=tuple(120 + 100 * n for n in range(FRAMES))))
    (folder / "vis.mkv").write_bytes(video("matroska"))
    return ["run", "--camera", "ir.mkv,vis.mkv", "-o", "out.mkv", "--bundle", str(bundle(folder)), *PLAIN]


def _swapped(folder: Path) -> Sequence[object]:
    (folder / "rig.toml").write_text(rig())
    arguments = run(folder, "--rig", "rig.toml")
    arguments[2] = "vis0,ir0"  # the rig says which is which
    return arguments


APART = [
    Case("run on recordings that begin 120 ms apart", _recordings_apart, ("right", "degraded", "error"), told=r"(begin|start)\w*.*\b1[012]\d|\b1[012]\d(\.\d+)? ms",
         says=r"[1-9]\d* (unmatched|alone|single|without|late)", check=lambda folder, run: _silent(), leaves=("out.mkv",)),
    Case("cameras of a rig in the other order", _swapped, ("right",), check=lines_are(3)),
    Case("run on two equal recordings", lambda folder: [*_recordings_apart(folder)[:2], "vis.mkv,ir2.mkv", *_second(folder)], ("right",), check=pairs_are(range(FRAMES))),
]  # fmt: skip


def _second(folder: Path) -> list[str]:
    (folder / "ir2.mkv").write_bytes(video("matroska"))
    return ["-o", "out.mkv", "--bundle", str(bundle(folder)), *PLAIN]


def _silent() -> None:
    raise Wrong("120 ms between two recordings were dropped without a word")


CASES = cases(ADDRESSES, SIMULATED, RUNNING, ABSENT, APART)
