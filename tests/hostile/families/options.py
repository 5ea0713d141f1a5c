"""Every option of every command that takes a number, found by looking at the parsers, with values that are none."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hostile.case import SECRET, Case, Check, Run, Wrong, cases
from hostile.families.recipes import RECIPE, train
from hostile.families.rigs import lines_are, some
from hostile.made.commands import bundle, fuse, picture_folder, run
from hostile.made.labels import mask
from hostile.made.pictures import encode, encoded, mean_is
from hostile.made.videos import video
from tdfusion_edge.cli import COMMANDS, command_parser

EXTREME = ("-1", "0", "1e9", "100000")
NEVER = ("nan", "inf", "text", "", "9" * 400)
"""What is no value for any of them."""
ENDLESS = {("train", "--steps", "100000"), ("bench", "--pictures", "100000")}
"""What is asked for in earnest."""


def _pair(folder: Path) -> list[str]:
    (folder / "vis.png").write_bytes(encoded("png"))
    return fuse(folder)


def _data(*command: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        for what in ("infrared", "visible"):
            picture_folder(folder, what, 1)
        return [command[0], str(bundle(folder)), *command[1:], "--data", "."]

    return make


def _engines(folder: Path) -> list[str]:
    return ["engines", str(bundle(folder)), "--backend", "tensorrt", "--engine-cache", "cache"]


def _masks(folder: Path) -> list[str]:
    import numpy as np

    two = np.array([0, 1], np.uint8).repeat(32 * 48).reshape(48, 64)
    return list(map(str, mask(lambda: encode("png", two))(folder)))


def _calibrate(folder: Path, matches: str | bytes | None = None) -> list[str]:
    """``calibrate`` by matches that put infrared where visible is, or by what is given for such."""
    for what in ("infrared", "visible"):
        picture_folder(folder, what, 1)
    rows = "".join(f"{x} {y} {x} {y}\n" for x in range(4, 60, 14) for y in range(4, 44, 11))
    text = rows if matches is None else matches
    (folder / "matches.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return ["calibrate", "--camera", "ir,vi", "--matches", "matches.txt", "-o", "new.toml"]


MATCHES: dict[str, str | bytes] = {
    "nothing": "", "zeros": b"\0" * 4000, "half a line": "1 2 3", "words": "a b c d\na b c d", "what is not finite": "1 2 3 4\n1e400 2 3 nan",
    "points on a line": "".join(f"{n} {n} {n} {n}\n" for n in range(40)), "one point": "5 5 5 5\n" * 40, "points outside": "1 2 3 4\n900 2 3 4\n" * 9,
    "escape codes": "1 2 3 4\n\x1b[31m\x9b\u202e 2 3 4", "a line of 100,000 characters": "1 2 3 4\n" + "9" * 100_000,
}  # fmt: skip
CALIBRATED = [
    Case(
        f"matches: {what}",
        lambda folder, text=text: _calibrate(folder, text),
        says=r"\S",
        quick=what == "one point",
    )
    for what, text in MATCHES.items()
]

BASES: dict[str, Callable[[Path], Sequence[object]]] = {
    "run": run,
    "fuse": _pair,
    "train": train(RECIPE),
    "dataset": _masks,
    "export": lambda folder: ["export", "gone.safetensors", "-o", "out"],
    "engines": _engines,
    "eval": _data("eval"),
    "verify": _data("verify"),
    "bench": lambda folder: ["bench", str(bundle(folder)), "--size", "80x60", "--pictures", "1"],
    "calibrate": _calibrate,
}
CHECKS: dict[str, Check] = {"run": lines_are(3), "fuse": mean_is()}


def _segments(folder: Path, run: Run) -> None:
    """All pictures are told of in the segments of the output."""
    for one in folder.glob("out-*.jsonl"):
        lines_are(3, one.name)(folder, run)
        return
    raise Wrong("no segment")


def numeric() -> Iterator[tuple[str, str]]:
    """Command and option."""
    for command in COMMANDS:
        if command.name not in BASES:
            continue
        for action in command_parser(command)[0]._actions:
            if _is_numeric(action):
                yield command.name, max(action.option_strings, key=len)


def _is_numeric(action: argparse.Action) -> bool:
    return bool(action.option_strings) and (action.type in (int, float) or action.metavar == "WxH")


def _with(
    base: Callable[[Path], Sequence[object]], option: str, value: str
) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> list[object]:
        arguments = [*base(folder)]
        if option == "--prune":  # alone: it builds nothing
            arguments = ["engines", "--engine-cache", "cache"]
        return [*arguments, f"{option}={value}"]

    return make


def case(command: str, option: str, value: str) -> Case:
    """One option of one command with one value."""
    alone = option == "--ignore" and command != "dataset"  # there are no masks, so it means nothing
    wanted: Any = ("error",) if not alone and (value in NEVER or value == "-1") else ("right", "error")
    words = value if len(value) < 30 else f"{len(value)} digits"
    quick = (option, value) in (("--threads", "100000"), ("--seconds", "nan"), ("--score-threshold", "text"))
    return Case(
        f"{command} {option} {words or 'empty'}", _with(BASES[command], option, value), wanted,
        says=r"\w+", check=_segments if option.startswith("--segment") else CHECKS.get(command), quick=quick and command != "verify", limit=40,
    )  # fmt: skip


FOUND = [
    case(command, option, value)
    for index, (command, option) in enumerate(numeric())
    for value in (*EXTREME, *some(index, NEVER, 2))
    if (command, option, value) not in ENDLESS
]


def _exits(folder: Path, run: Run) -> None:
    """Nothing more is asked for."""


WORDS = [
    Case("no command", lambda folder: ["\x1b[31mrum\u202e"], says="command|choice"),
    Case("a command misspelt", lambda folder: ["fues", "a", "b"], says="command|fuse|choice"),
    Case("an option that nobody knows", lambda folder: [*_pair(folder), "--bokses"], says="bokses"),
    Case("an option of escape codes", lambda folder: [*_pair(folder), "--\x1b[31m\x9b\u202e"], says="unrecognized"),
    Case("an option of 100,000 characters", lambda folder: [*_pair(folder), "--" + "o" * 100_000], says="unrecognized"),
    Case("100 arguments too many", lambda folder: [*_pair(folder), *(f"word{n}" for n in range(100))], says="unrecognized"),
    Case("a stretch that is none", lambda folder: [*_pair(folder), "--stretch", "\x1b[31mnon"], says="stretch"),
    Case("a backend that is none", lambda folder: [*_pair(folder), "--backend", "onnxruntim"], says="backend"),
    Case("classes that are empty", lambda folder: [*_pair(folder), "--detector-classes", "a,,b"], says="classes"),
    Case("--boxes without a detector", lambda folder: [*_pair(folder), "--boxes"], says="detector"),
    Case("--detections without a detector", lambda folder: [*_pair(folder), "--detections", "o.jsonl"], says="detector"),
    Case("a detector that is text", lambda folder: [*_pair(folder), "--boxes", "--detector", _text(folder)], says="detector"),
    Case("a detector that is a video", lambda folder: [*_pair(folder), "--boxes", "--detector", _video(folder)], says="detector"),
    Case("a detector that is a fusion network", lambda folder: [*_pair(folder), "--boxes", "--detector", "mean/fusion.onnx"], says="fusion|detector"),
    Case("a detector that is not there", lambda folder: [*_pair(folder), "--boxes", "--detector", "gone.onnx"], says="gone"),
    Case("a page at an address that is none", lambda folder: [*run(folder), "--serve", "\x1b[31mhere and there"], says="address"),
    Case("a page at a port that is none", lambda folder: [*run(folder), "--serve", "127.0.0.1:99999"], says="address", quick=True),
    Case("a page at somebody else's address", lambda folder: [*run(folder), "--serve", "192.0.2.1:0", "--serve-token", "made"], says="192.0.2.1", leaves=("made",)),
    Case("a page for all without a token", lambda folder: [*run(folder), "--serve", "0.0.0.0:0"], says="--serve-token FILE", quick=True),
    Case("a token without a page", lambda folder: [*run(folder), "--serve-token", "made"], says="--serve-token: expected --serve beside it"),
    Case("a name without a page", lambda folder: [*run(folder), "--serve-name", "made"], says="--serve-name: expected --serve beside it", quick=True),
    Case("a token that all can read", lambda folder: [*run(folder), "--serve", ":0", "--serve-token", _token(folder, 0o644)], says="chmod 600", quick=True),
    Case("a token that is too short", lambda folder: [*run(folder), "--serve", ":0", "--serve-token", _token(folder, 0o600)], says="no token"),
    Case("a token that is a folder", lambda folder: [*run(folder), "--serve", ":0", "--serve-token", "."], says="folder"),
    Case("a token that is the output", lambda folder: [*run(folder, output=_token(folder, 0o600)), "--serve", ":0", "--serve-token", "token.jsonl"], says="token.jsonl"),
    Case("completion for no shell", lambda folder: ["completion", "\x1b[31mcmd"], says="choice|shell"),
    Case("doctor with a rig that is not there", lambda folder: ["doctor", "--rig", "gone.toml"], ("error", "degraded"), says="gone", limit=60),
    Case("engines --prune with a bundle", lambda folder: ["engines", str(bundle(folder)), "--prune", "1"], says="BUNDLE"),
    Case("a cache of engines that is a file", lambda folder: ["engines", "--list", "--engine-cache", _text(folder)], says="text"),
    Case("a cache of engines that is a link", lambda folder: ["engines", "--list", "--engine-cache", _link(folder)], ("right", "error"), check=_exits),
]  # fmt: skip


def _token(folder: Path, mode: int) -> str:
    (folder / "token.jsonl").write_text(SECRET)
    (folder / "token.jsonl").chmod(mode)
    return "token.jsonl"


def _text(folder: Path) -> str:
    (folder / "text.onnx").write_text("no network at all")
    return "text.onnx"


def _video(folder: Path) -> str:
    (folder / "video.onnx").write_bytes(video())
    return "video.onnx"


def _link(folder: Path) -> str:
    (folder / "link").symlink_to("link")
    return "link"


CASES = cases(FOUND, WORDS, CALIBRATED)
