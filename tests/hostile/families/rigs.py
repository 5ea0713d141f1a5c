"""Rig files: every number of one, and what else a TOML file can be, for every command that reads one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hostile.case import Case, Check, Run, Wrong, cases
from hostile.made.commands import fuse, run
from hostile.made.pictures import encoded

RIG = """
[cameras.ir0]
uri = "ir"
role = "infrared"
{cameras.ir0}

[cameras.ir0.range]
{cameras.ir0.range}

[cameras.vis0]
uri = "vi"
role = "visible"
{cameras.vis0}

[sync]
{sync}

[registration]
homography = [[{homography}, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
infrared_size = [{infrared_width}, 48]
visible_size = [64, 48]
{registration}

[tracks]
{tracks}

[mqtt]
{mqtt}
"""
TABLES = (
    "cameras.ir0", "cameras.ir0.range", "cameras.vis0", "sync", "registration", "tracks", "mqtt",
)  # fmt: skip


def rig(table: str = "", line: str = "", **values: str) -> str:
    """A rig of two folders, with one line more in one of its tables, or other values in the others."""
    text = RIG
    for name in TABLES:
        text = text.replace("{" + name + "}", line if name == table else "")
    for name, usual in (("homography", "1.0"), ("infrared_width", "64")):
        text = text.replace("{" + name + "}", values.get(name, usual))
    return text


def with_rig(content: str | bytes, command: str = "run") -> Callable[[Path], Sequence[object]]:
    """A maker of a command that reads such a rig file."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "rig.toml").write_bytes(content.encode() if isinstance(content, str) else content)
        return using(folder, command)

    return make


def using(folder: Path, command: str) -> list[str]:
    """A command line that reads ``rig.toml``."""
    if command == "fuse":
        (folder / "vis.png").write_bytes(encoded("png"))
        return [*fuse(folder), "--rig", "rig.toml"]
    arguments = run(folder, "--rig", "rig.toml")
    arguments[2] = "ir0,vis0"
    return arguments if command == "run" else [command, "--rig", "rig.toml"]


def lines_are(count: int, name: str = "out.jsonl") -> Check:
    """A check that so many pictures were told of."""

    def check(folder: Path, run: Run) -> None:
        got = len((folder / name).read_text().splitlines())
        if got != count:
            raise Wrong(f"{got} pictures, not {count}")

    return check


NUMBERS = {
    "offset_ms": ("cameras.ir0", "offset_ms"),
    "fps": ("cameras.ir0", "fps"),
    "tolerance_ms": ("sync", "tolerance_ms"),
    "silent_ms": ("sync", "silent_ms"),
    "frozen_ms": ("sync", "frozen_ms"),
    "smoothing_s": ("cameras.ir0.range", "smoothing_s"),
    "low": ("cameras.ir0.range", "low"),
    "high": ("cameras.ir0.range", "high"),
    "reprojection_error": ("registration", "reprojection_error"),
    "lost_s": ("tracks", "lost_s"),
    "sure_score": ("tracks", "sure_score"),
    "status_s": ("mqtt", "status_s"),
    "homography": ("", "homography"),
    "infrared_size": ("", "infrared_width"),
}
NONE = ("nan", "inf", "-inf", '"text"', "true", "[]", "1e400", "9" * 400)
"""What is no number for any of them."""
EXTREME = ("-1", "0", "1e300", "1e-300", "9223372036854775808")
NEVER = {
    ("fps", "-1"), ("fps", "0"), ("fps", "1e-300"), ("fps", "1e300"), ("offset_ms", "1e300"),
    ("offset_ms", "9223372036854775808"), ("tolerance_ms", "-1"), ("tolerance_ms", "0"), ("silent_ms", "-1"),
    ("silent_ms", "0"), ("frozen_ms", "-1"), ("frozen_ms", "0"), ("smoothing_s", "-1"), ("reprojection_error", "-1"), ("homography", "0"),
    ("homography", "1e300"), ("homography", "1e-300"), ("infrared_size", "-1"), ("infrared_size", "0"),
    ("infrared_size", "1e300"), ("infrared_size", "1e-300"),
    ("lost_s", "-1"), ("lost_s", "0"), ("lost_s", "1e300"), ("lost_s", "9223372036854775808"),
    ("sure_score", "-1"), ("sure_score", "1e300"), ("sure_score", "9223372036854775808"),
    ("status_s", "-1"), ("status_s", "0"), ("status_s", "1e300"), ("status_s", "1e-300"),
    ("status_s", "9223372036854775808"),
}  # fmt: skip
"""Extremes that mean nothing."""


def number(key: str, value: str) -> Case:
    """One number of a rig that is another."""
    table, name = NUMBERS[key]
    text = rig(table, f"{name} = {value}") if table else rig(**{name: value})
    wanted: Any = ("error",) if value in NONE or (key, value) in NEVER else ("right", "error")
    words = value if len(value) < 30 else f"{len(value)} digits"
    # TOML itself makes infinity of 1e400 and refuses what is too long.
    quick = (key, value) in (("fps", "1e-300"), ("offset_ms", "1e300"))
    return Case(
        f"{key} = {words}",
        with_rig(text),
        wanted,
        says="rig|fps|ms|ir0|tracks|mqtt",
        check=lines_are(3),
        quick=quick,
    )


def some(index: int, values: Sequence[str], count: int) -> list[str]:
    """``count`` of the values, others for every index: all of them are tried somewhere."""
    return [values[(index * count + step) % len(values)] for step in range(count)]


VALUES = [
    number(key, value) for index, key in enumerate(NUMBERS) for value in (*some(index, NONE, 3), *EXTREME)
]

CONTENTS: dict[str, str | bytes] = {
    "binary": bytes(range(256)) * 9,
    "UTF-16": rig().encode("utf-16"),
    "Latin-1": rig("sync", "# \u00e4").encode("latin-1"),
    "NUL": rig() + "\0",
    "cut": rig()[:60],
    "JSON": '{"cameras": {}}',
    "without cameras": "[sync]\ntolerance_ms = 20.0\n",
    "a key twice": rig("sync", "tolerance_ms = 1.0\ntolerance_ms = 2.0"),
    "a table twice": rig() + "\n[sync]\n",
    "an unknown table": rig() + "\n[cammeras]\n",
    "an unknown key": rig("sync", "tolerence_ms = 20.0"),
    "a key of escape codes": rig("sync", '"\\u001b[31m\\u202e" = 1'),
    "a name of escape codes": rig() + '\n["cameras\\u001b[31m"]\nuri = 1\n',
    "a policy of escape codes": rig("sync", 'policy = "\\u001b[31m\\u009b"'),
    "a policy that is none": rig("sync", 'policy = "drob"'),
    "a role that is none": rig().replace('"infrared"', '"thermal"'),
    "two infrared cameras": rig().replace('"visible"', '"infrared"'),
    "cameras that are a list": "cameras = [1, 2]\n",
    "cameras that are text": 'cameras = "ir0"\n',
    "a uri that is a number": rig().replace('uri = "ir"', "uri = 1"),
    "an empty uri": rig().replace('uri = "ir"', 'uri = ""'),
    "a uri with NUL": rig().replace('uri = "ir"', 'uri = "ir\\u0000"'),
    "a uri of 1 MB": rig().replace('uri = "ir"', f'uri = "{"u" * 1_000_000}"'),
    "a key of 50,000 parts": "a" + ".a" * 50_000 + " = 1\n",
    "a table of 50,000 parts": "[a" + ".a" * 50_000 + "]\n",
    "a list of 100,000 levels": "a = " + "[" * 100_000,
    "a table of 10,000 levels": "a = " + "{a = " * 10_000,
    "a key of 1 MB": "k" * 1_000_000 + " = 1\n",
    "200,000 keys": "".join(f"k{n} = 1\n" for n in range(200_000)),
    "a homography of two rows": rig().replace(", [0.0, 0.0, 1.0]]", "]"),
    "a homography of zeros": rig(homography="0.0").replace("1.0", "0.0"),
    "a date as number": rig("sync", "tolerance_ms = 2026-01-01"),
    "low above high": rig("cameras.ir0.range", 'mode = "percentile"\nlow = 60.0\nhigh = 40.0'),
    "linear without counts": rig("cameras.ir0.range", 'mode = "linear"'),
    "a size of 1": rig("cameras.ir0", "size = [1, 1]"),
    "a size of three": rig("cameras.ir0", "size = [64, 48, 3]"),
}
DAMAGED = [
    Case(f"{command} reads a rig: {what}", with_rig(content, command), says="rig|camera|uri|source|address|no such|does not exist",
         quick=(command, what) in (("run", "a key of 50,000 parts"), ("run", "an unknown key")), limit=20)
    for what, content in CONTENTS.items()
    for command in (("run", "fuse") if what in ("binary", "an unknown key", "a key of 50,000 parts") else ("run",))
] + [
    Case("run reads a rig: empty", with_rig(""), says="rig"),
    Case("run reads a rig: with a byte order mark", with_rig(b"\xef\xbb\xbf" + rig().encode()), ("right", "error"), check=lines_are(3), says="rig"),
    Case("run reads a rig: of CRLF", with_rig(rig().replace("\n", "\r\n")), ("right",), check=lines_are(3)),
    Case("run reads a rig: plain", with_rig(rig()), ("right",), check=lines_are(3)),
    Case("cameras reads a rig: escape codes in a uri", with_rig(rig().replace('uri = "ir"', 'uri = "\\u001b[31m\\u202e\\u009b"'), "cameras"), ("right", "error")),
    Case("cameras reads a rig: a key of 50,000 parts", with_rig("a" + ".a" * 50_000 + " = 1\n", "cameras"), says="rig"),
]  # fmt: skip


def large(path: Path) -> None:
    """100 MB that take no place on the disk."""
    with path.open("wb") as stream:
        stream.truncate(100_000_000)


KINDS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "not to be read": lambda path: path.touch(0),
    "not there": lambda path: None,
    "100 MB of zeros": large,
}


def special(
    make: Callable[[Path], object], command: str, **environment: str
) -> Callable[[Path], Sequence[object]]:
    """A maker of a command whose rig file is no plain file."""

    def made(folder: Path) -> Sequence[object]:
        make(folder / "rig.toml")
        arguments = using(folder, command)
        return (
            arguments[: arguments.index("--rig")] + arguments[arguments.index("--rig") + 2 :]
            if environment
            else arguments
        )

    return made


PLACES = [
    Case(f"{command} with a rig that is {what}", special(make, command), says="rig", quick=(command, what) == ("run", "a pipe"))
    for what, make in KINDS.items()
    for command in ("run", "fuse", "cameras")
    if command == "run" or what in ("a pipe", "not there")
] + [
    Case(f"TDFUSION_RIG is {what}", special(make, "run", TDFUSION_RIG="rig.toml"), says="rig", env={"TDFUSION_RIG": "rig.toml"})
    for what, make in KINDS.items()
    if what != "100 MB of zeros"
]  # fmt: skip


def _aligned(line: str, table: str) -> Callable[[Path], Sequence[object]]:
    """``fuse`` on two videos 120 ms apart, with a rig that says so."""

    def make(folder: Path) -> Sequence[object]:
        from hostile.made.bundles import write_bundle
        from hostile.made.commands import PLAIN
        from hostile.made.videos import video

        text = rig(table, line)
        (folder / "rig.toml").write_text(text[: text.index("[registration]")])
        (folder / "ir.mkv").write_bytes(
            video("matroska", times_ms=tuple(0 if n == 0 else 100 * n + 40 for n in range(20)))
        )
        (folder / "vis.mkv").write_bytes(video("matroska"))
        write_bundle(folder / "mean")
        return ["fuse", "ir.mkv", "vis.mkv", "-o", "out.mkv", "--bundle", "mean", *PLAIN, "--rig", "rig.toml"]

    return make


def _nineteen(folder: Path, run: Run) -> None:
    from hostile.made.videos import read_numbers

    numbers = [number for number, _ in read_numbers(folder / "out.mkv")]
    if numbers[-19:] != list(range(1, 20)):
        raise Wrong(f"the rig was not obeyed: {numbers}")


OBEYED = [
    Case("fuse obeys offset_ms of the rig", _aligned("offset_ms = -40.0", "cameras.ir0"), ("right",), check=_nineteen, quick=True),
    Case("fuse obeys tolerance_ms of the rig", _aligned("tolerance_ms = 45.0", "sync"), ("right",), check=_nineteen),
    Case("fuse has --tolerance-ms", lambda folder: [*_aligned("", "")(folder), "--tolerance-ms", "45"], ("right",), check=_nineteen),
]  # fmt: skip

CASES = cases(VALUES, DAMAGED, PLACES, OBEYED)
