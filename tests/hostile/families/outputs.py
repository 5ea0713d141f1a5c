"""Outputs that cannot be, that are an input, or that two runs want: nothing is lost, nothing half is left."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hostile.case import SECRET, Case, Run, Wrong, cases
from hostile.families.recipes import RECIPE, train
from hostile.families.rigs import lines_are
from hostile.made.commands import PLAIN, bundle, fuse, picture_folder, run
from hostile.made.labels import BOX, yolo
from hostile.made.pictures import encoded, mean_is
from hostile.made.videos import pairs_are, read_numbers, video

Make = Callable[[Path], Sequence[object]]
OUT = r"out|output|folder|exists|is an input|suffix|kind|name|\.\w{3}"


def pictures(output: str, prepare: Callable[[Path], object] = lambda folder: None) -> Make:
    """``fuse ir.png vis.png -o OUTPUT``."""

    def make(folder: Path) -> list[str]:
        (folder / "vis.png").write_bytes(encoded("png"))
        arguments = fuse(folder, output=output)
        prepare(folder)
        return arguments

    return make


def folders(output: str, prepare: Callable[[Path], object] = lambda folder: None) -> Make:
    """``fuse ir vi -o OUTPUT``."""

    def make(folder: Path) -> list[str]:
        picture_folder(folder, "infrared", 2)
        picture_folder(folder, "visible", 2)
        prepare(folder)
        return fuse(folder, "ir", "vi", output)

    return make


def videos(
    output: str, prepare: Callable[[Path], object] = lambda folder: None, command: str = "fuse"
) -> Make:
    """``fuse ir.mkv vis.mkv -o OUTPUT``, or ``run`` on them."""

    def make(folder: Path) -> list[str]:
        for name in ("ir.mkv", "vis.mkv"):
            (folder / name).write_bytes(video("matroska"))
        prepare(folder)
        words = ["fuse", "ir.mkv", "vis.mkv"] if command == "fuse" else ["run", "--camera", "ir.mkv,vis.mkv"]
        return [*words, "-o", output, "--bundle", str(bundle(folder)), *PLAIN]

    return make


def streams(output: str, prepare: Callable[[Path], object] = lambda folder: None) -> Make:
    """``run`` on two folders."""

    def make(folder: Path) -> list[str]:
        arguments = run(folder, output=output)
        prepare(folder)
        return arguments

    return make


def linked(how: Callable[..., object], source: str, name: str) -> Callable[[Path], object]:
    """Give a file another name."""
    return lambda folder: how(folder / source, folder / name)


def _symbolic(source: Path, name: Path) -> None:
    name.symlink_to(source.name)


def closed(name: str) -> Callable[[Path], object]:
    """A folder that nothing may be written into."""

    def make(folder: Path) -> None:
        (folder / name).mkdir()
        (folder / name).chmod(0o555)

    return make


LONG = "o" * 251
PLACES: dict[str, Make] = {
    "a picture in a folder that is not there": pictures("gone/out.png"),
    "a picture in a folder that is closed": pictures("closed/out.png", closed("closed")),
    "a picture of 256 bytes": pictures("o" * 252 + ".png"),
    "a picture called -": pictures("-"),
    "a picture of no name": pictures(""),
    "a picture that is a folder": pictures("out.png", lambda folder: (folder / "out.png").mkdir()),
    "a picture of another kind": pictures("out.gif"),
    "a picture without suffix": pictures("out"),
    "a picture that is infrared": pictures("ir.png"),
    "a picture that is visible": pictures("./vis.png"),
    "a picture that is visible in a round about way": pictures("mean/../vis.png"),
    "a picture that is a hard link of visible": pictures("out.png", linked(os.link, "vis.png", "out.png")),
    "a picture that is a symbolic link to visible": pictures(
        "out.png", linked(_symbolic, "vis.png", "out.png")
    ),
    "a picture that is a file of the bundle": pictures("mean/manifest.json"),
    "a picture inside a file": pictures("vis.png/out.png"),
    "a picture in a link to itself": pictures(
        "loop/out.png", lambda folder: (folder / "loop").symlink_to("loop")
    ),
    "a folder that is a file": folders("out", lambda folder: (folder / "out").touch()),
    "a folder that is infrared's": folders("ir"),
    "a folder that is visible's": folders("vi/"),
    "a folder that is a link to visible's": folders("out", lambda folder: (folder / "out").symlink_to("vi")),
    "a folder in a folder that is closed": folders("closed/out", closed("closed")),
    "a folder called -": folders("-"),
    "a folder of 256 bytes": folders("o" * 256),
    "a video in a folder that is not there": videos("gone/out.mp4"),
    "a video that is infrared": videos("ir.mkv"),
    "a video that is a hard link of infrared": videos("out.mkv", linked(os.link, "ir.mkv", "out.mkv")),
    "a video that is a symbolic link to visible": videos("out.mkv", linked(_symbolic, "vis.mkv", "out.mkv")),
    "a video of another kind": videos("out.avi"),
    "a video called -": videos("-"),
    "a video of 256 bytes": videos("o" * 252 + ".mp4"),
    "a recording that is infrared": videos("ir.mkv", command="run"),
    "a recording that is a hard link of infrared": videos(
        "out.mkv", linked(os.link, "ir.mkv", "out.mkv"), "run"
    ),
    "a recording that is a symbolic link to visible": videos(
        "out.mkv", linked(_symbolic, "vis.mkv", "out.mkv"), "run"
    ),
    "a recording of no name": streams(""),
    "a recording of one picture": streams("out.png"),
    "a recording of another kind": streams("out.avi"),
    "a recording in a folder that is not there": streams("gone/out.jsonl"),
    "a recording in a folder that is closed": streams("closed/out.mp4", closed("closed")),
    "a recording into a folder that is closed": streams("closed", closed("closed")),
    "a recording of 256 bytes": streams("o" * 252 + ".mp4"),
    "a recording into visible's folder": streams("vi"),
    "a recording into a link to infrared's folder": streams(
        "out", lambda folder: (folder / "out").symlink_to("ir")
    ),
    "lines that are a folder": streams("out.jsonl", lambda folder: (folder / "out.jsonl").mkdir()),
    "lines that go to /dev/full": streams(
        "out.jsonl", lambda folder: (folder / "out.jsonl").symlink_to("/dev/full")
    ),
    "a video that goes to /dev/full": streams(
        "out.mkv", lambda folder: (folder / "out.mkv").symlink_to("/dev/full")
    ),
}
QUICK = ("a picture that is a hard link of visible", "a video that is infrared", "a recording called -", "a picture called -",
         "a recording that is a hard link of infrared")  # fmt: skip
REFUSED = [Case(what, make, says=OUT, quick=what in QUICK) for what, make in PLACES.items()]


def more(*words: str, of: Make, prepare: Callable[[Path], object] = lambda folder: None) -> Make:
    """A command line with further words."""

    def make(folder: Path) -> list[object]:
        arguments = [*of(folder), *words]
        prepare(folder)
        return arguments

    return make


REFUSED += [
    Case("lines and picture in one place", more("--boxes", "--detections", "out.png", of=pictures("out.png")), says=OUT),
    Case("two outputs in one place", more("-o", "./out.jsonl", of=run), says=OUT),
    Case("two outputs in one place by a link", more("-o", "b.mkv", of=streams("a.mkv"), prepare=lambda folder: (folder / "b.mkv").symlink_to("a.mkv")), says=OUT),
    Case("one of two outputs in a folder that is not there", more("-o", "gone/out.mp4", of=run), says="gone"),
    Case("a broker without a host", more("-o", "mqtt://", of=run), says="no host"),
    Case("a broker's topic that is a wildcard", more("-o", "mqtt://h/a/+/b", of=run), says="topic"),
    Case("a broker's port that is none", more("-o", f"mqtt://admin:{SECRET}@h:0x/t", of=run), says="port", quick=True),
    Case("a broker whose password has a slash", more("-o", f"mqtt://admin:a/{SECRET}@h:0x/t", of=run), says="port"),
    Case("a broker's password without a user", more("-o", f"mqtt://:{SECRET}@h/t", of=run), says="without a user"),
    Case("a password's file that is not there", more("-o", "mqtt://a@h/t?password_file=gone", of=run), says="gone"),
    Case("lines that are a broker's password", more("-o", "mqtt://a@127.0.0.1:1/t?password_file=out.jsonl", of=run, prepare=lambda folder: (folder / "out.jsonl").write_text(SECRET)), says="is an input", quick=True),
    Case("lines that are a camera's password", lambda folder: ["run", "--camera", "ir,vi", "--rig", _guarded(folder), *run(folder)[3:]], says="is an input", quick=True),
    Case("lines that are the rig", lambda folder: ["run", "--camera", "ir,vi", "--rig", _rig(folder), "-o", "rig.jsonl", *run(folder)[3:5]], says=OUT),
    Case("a sheet that is no PNG", more("-o", "sheet.jpg", of=yolo(BOX)), says="png|PNG"),
    Case("a sheet that is an input", more("-o", "vi/1.png", of=yolo(BOX)), says=OUT),
    Case("a sheet in a folder that is not there", more("-o", "gone/sheet.png", of=yolo(BOX)), says="gone"),
    Case("a training that is a file", lambda folder: [*train(RECIPE)(folder)[:-1], "recipe.toml"], says="recipe|file|training"),
    Case("a training in a folder that is closed", more(of=lambda folder: [*train(RECIPE)(folder)[:-1], "closed/out"], prepare=closed("closed")), says="closed"),
    Case("a training where one is", more(of=train(RECIPE), prepare=lambda folder: _checkpoint(folder)), says="training already|--resume"),
]  # fmt: skip


def _rig(folder: Path) -> str:
    (folder / "rig.jsonl").write_text('{"cameras": {"ir": {"uri": "ir"}, "vi": {"uri": "vi"}}}')
    return "rig.jsonl"


def _guarded(folder: Path) -> str:
    cameras = "".join(
        f'[cameras.{name}]\nuri = "rtsp://admin@127.0.0.1:1/{name}"\npassword_file = "out.jsonl"\n'
        for name in ("ir", "vi")
    )
    (folder / "rig.toml").write_text(cameras)
    (folder / "out.jsonl").write_text(SECRET)
    return "rig.toml"


def _checkpoint(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "last.safetensors").write_bytes(b"weights of many days")


def _three_pngs(folder: Path, run: Run) -> None:
    if len(list((folder / "out").glob("*.png"))) != 3:
        raise Wrong("three pictures are not there")


def _elsewhere(folder: Path) -> None:
    (folder / "target.png").write_bytes(b"an older picture")
    (folder / "out.png").symlink_to("target.png")


WRITTEN = [
    Case("a picture of 255 bytes", pictures(LONG + ".png"), ("right", "error"), check=mean_is(LONG + ".png"), says="long|name"),
    Case("a video of 255 bytes", videos(LONG + ".mkv"), ("right", "error"), check=pairs_are(range(20), LONG + ".mkv"), says="long|name"),
    Case("lines of 255 bytes", streams("o" * 249 + ".jsonl"), ("right", "error"), check=lines_are(3, "o" * 249 + ".jsonl"), says="long|name"),
    Case("a picture with a slash behind", pictures("out.png/"), ("right", "error"), check=mean_is(), says=OUT),
    Case("a picture that is there", pictures("out.png", lambda folder: (folder / "out.png").write_bytes(b"an older picture")), ("right",),
         check=mean_is(), replaces=("out.png",)),
    Case("a picture that is a link elsewhere", pictures("out.png", _elsewhere), ("right", "error"), check=mean_is(), replaces=("out.png", "target.png"), says=OUT),
    Case("a picture that is a link to nothing", pictures("out.png", lambda folder: (folder / "out.png").symlink_to("later.png")), ("right", "error"),
         check=mean_is(), replaces=("out.png",), says=OUT),
    Case("an older picture stays where the new one fails",
         more(of=pictures("out.png", lambda folder: (folder / "out.png").write_bytes(b"an older picture")), prepare=lambda folder: (folder / "vis.png").write_bytes(b"no")), says="vis"),
    Case("an older video stays where the new one fails",
         videos("out.mkv", lambda folder: [(folder / "out.mkv").write_bytes(b"an older video"), (folder / "vis.mkv").write_bytes(video("matroska")[:9000])]), says="vis"),
    Case("a folder for pictures", streams("out/"), ("right",), check=_three_pngs),
    Case("a pipe that nobody reads", streams("out.jsonl", lambda folder: os.mkfifo(folder / "out.jsonl")), ("error", "stopped"),
         interrupts=(2.0, 3.0), limit=12, says=OUT),
    Case("a picture into a pipe that nobody reads", pictures("out.png", lambda folder: os.mkfifo(folder / "out.png")), ("error", "stopped", "right"),
         interrupts=(2.0, 3.0), limit=12, says=OUT, replaces=("out.png",)),
]  # fmt: skip

UNHEARD = [
    Case(f"{command} with {stream} {state}", make, ("right",), check=check, codes=(0, 1), **{stream: state}, quick=(command, stream, state) == ("run", "stderr", "closed"))
    for command, make, check in (
        ("run", videos("out.mkv", command="run"), pairs_are(range(20))),
        ("fuse", videos("out.mkv"), pairs_are(range(20))),
        ("fuse on pictures", pictures("out.png"), mean_is()),
    )
    for stream in ("stdout", "stderr")
    for state in ("closed", "full")
]  # fmt: skip


def shorter(output: str, command: str = "fuse") -> Make:
    """``fuse`` or ``run`` on two other videos, of 12 pictures."""

    def make(folder: Path) -> list[str]:
        for name in ("ir2.mkv", "vis2.mkv"):
            (folder / name).write_bytes(video("matroska", count=12, first=100))
        words = (
            ["fuse", "ir2.mkv", "vis2.mkv"] if command == "fuse" else ["run", "--camera", "ir2.mkv,vis2.mkv"]
        )
        return [*words, "-o", output, "--bundle", str(bundle(folder)), *PLAIN]

    return make


def run_again(folder: Path) -> Sequence[object]:
    """``run`` on the folders that are there."""
    return run(folder, output="out")


def one_of_both(folder: Path, run: Run) -> None:
    """The video is that of one of the two, whole."""
    numbers = [number for number, _ in read_numbers(folder / "out.mkv")]
    if numbers not in ([*range(20)], [*range(100, 112)]):
        raise Wrong(f"a video of both runs: {numbers}")


def lines_of_one(folder: Path, run: Run) -> None:
    """All lines are of one of the two."""
    got = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    if len(got) not in (12, 20):
        raise Wrong(f"{len(got)} lines of two runs of 20 and 12")


ONE_OR_BOTH: Any = ("right", "error")
BOTH: Any = {"wanted": ONE_OR_BOTH, "leaves": ("out*", ".out*"), "says": OUT}
TWICE = [
    Case("two runs on one video", videos("out.mkv", command="run"), second=shorter("out.mkv", "run"), check=one_of_both, quick=True, **BOTH),
    Case("two runs on one file of lines", videos("out.jsonl", command="run"), second=shorter("out.jsonl", "run"), check=lines_of_one, **BOTH),
    Case("two runs on one folder", streams("out"), second=run_again, check=_three_pngs, **BOTH),
    Case("fuse twice on one video", videos("out.mkv"), second=shorter("out.mkv"), check=one_of_both, **BOTH),
    Case("fuse twice on one picture", pictures("out.png"), second=pictures("out.png"), check=mean_is(), **BOTH),
    Case("two trainings in one folder", train(RECIPE), second=lambda folder: ["train", "recipe.toml", "--data", ".", "-o", "out"], limit=60, **BOTH),
]  # fmt: skip

CASES = cases(REFUSED, WRITTEN, UNHEARD, TWICE)
