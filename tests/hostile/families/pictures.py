"""Pictures that are cut, empty, huge or no pictures, in every format, as one of the two that are fused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from hostile.case import Case, Run, Wrong, cases
from hostile.made.commands import bundle, fuse, fused, picture_folder, thermal
from hostile.made.pictures import (
    EXACT,
    FORMATS,
    LOSSY,
    blank_png,
    encode,
    encoded,
    huge,
    infrared,
    mean_is,
    require_picture,
    visible,
)
from hostile.made.pictures import fused as mean

NO_PICTURE = r"vis\.\w+.*(empty|cut short|no image|damaged|cannot be decoded|is no )"
TOO_LARGE = r"(too large|pixels|size|cannot be decoded|no image|cut short|damaged)"


def tolerance(suffix: str) -> int:
    """Levels that a picture in this format may be off."""
    return LOSSY if suffix == "jpg" else EXACT


def damaged(suffix: str) -> list[Case]:
    """One format, whole and in every state of decay."""
    raw = encoded(suffix)
    rest = {"empty": b"", "text": b"this is no picture\n" * 9, "head": raw[:8]}
    rest |= {f"cut at {share} %": raw[: len(raw) * share // 100] for share in (10, 50, 90)}
    rest["cut by a byte"] = raw[:-1]
    made = [
        Case(f"{suffix} {what}", fused(f"vis.{suffix}", part), ("error",), says=NO_PICTURE)
        for what, part in rest.items()
        if not (suffix == "tif" and what == "cut by a byte")  # the last byte is the end of its list of pages
    ]
    other = "png" if suffix != "png" else "jpg"
    made += [
        Case(
            f"{suffix} whole",
            fused(f"vis.{suffix}", raw),
            ("right",),
            check=mean_is(tolerance=tolerance(suffix)),
        ),
        Case(
            f"{suffix} under the suffix of {other}",
            fused(f"vis.{other}", raw),
            ("right",),
            check=mean_is(tolerance=tolerance(suffix)),
        ),
        Case(
            f"{suffix} with 60,000 x 60,000 in its header",
            fused(f"vis.{suffix}", lambda: huge(suffix)),
            says=TOO_LARGE,
            quick=suffix in ("png", "bmp"),
        ),
        Case(f"{suffix} infrared is text", thermal(f"ir.{suffix}", b"no picture at all"), says=r"ir\.\w+"),
    ]
    return made


def sized(width: int, height: int) -> Callable[[Path], list[str]]:
    """A maker of a visible picture of another size."""
    return fused("vis.png", lambda: encode("png", np.full((height, width), 90, np.uint8)))


SIZES = [
    Case("png of 30,000 x 30,000 in 0.1 MB", fused("vis.png", lambda: blank_png(30_000)), says=TOO_LARGE),
    Case("png of 1 x 1", sized(1, 1), says="too small"),
    Case("png of 64 x 1", sized(64, 1), says="too small"),
    Case("png of 20,000 x 3", sized(20_000, 3), says="too small"),
    Case("png of 0 x 0", fused("vis.png", lambda: _zero_png()), says=r"vis\.png"),
    Case(
        "another shape than infrared's",
        sized(64, 160),
        ("right", "error"),
        told=r"(shape|aspect|stretch|squeez|proportion|wide|ratio)",
        check=lambda folder, run: _unsaid("the shape of infrared was changed without a word"),
    ),
]


def _zero_png() -> bytes:
    import struct
    import zlib

    raw = bytearray(encoded("png"))
    raw[16:24] = bytes(8)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return bytes(raw)


def _unsaid(what: str) -> None:
    raise Wrong(what)


def special(
    make: Callable[[Path], None], says: str = r"vis\.png", **more: object
) -> Callable[[Path], list[str]]:
    """A maker of ``fuse ir.png vis.png`` where vis.png is no plain file."""

    def made(folder: Path) -> list[str]:
        make(folder / "vis.png")
        return fuse(folder)

    return made


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _unreadable(path: Path) -> None:
    path.write_bytes(encoded("png"))
    path.chmod(0)


SPECIAL = [
    Case("a link to itself", special(_loop), says=r"vis\.png"),
    Case("a link to nothing", special(lambda path: path.symlink_to("gone.png")), says=r"vis\.png"),
    Case("a pipe as picture", special(lambda path: os.mkfifo(path)), says=r"vis\.png", quick=True),
    Case(
        "/dev/zero as picture",
        special(lambda path: path.symlink_to("/dev/zero")),
        says=r"vis\.png",
        quick=True,
    ),
    Case("/dev/null as picture", special(lambda path: path.symlink_to("/dev/null")), says=r"vis\.png"),
    Case("a folder called vis.png", special(lambda path: path.mkdir()), says="different kinds"),
    Case("not there", lambda folder: fuse(folder, visible="gone.png"), says=r"gone\.png"),
    Case("a name of 300 bytes", lambda folder: fuse(folder, visible="v" * 300 + ".png"), says="v{20}"),
    Case("an empty name", lambda folder: fuse(folder, visible=""), says=r"\S"),
    Case(
        "escape codes in a name", lambda folder: fuse(folder, visible="\x1b[31mred\x9b\u202e.png"), says="red"
    ),
    Case("no UTF-8 in a name", lambda folder: fuse(folder, visible="v\udcff.png"), says="v.*png"),
]


def folders(change: Callable[[Path], None], *more: str) -> Callable[[Path], list[str]]:
    """A maker of ``fuse ir vi`` on folders of three pictures, one of which is changed."""

    def make(folder: Path) -> list[str]:
        picture_folder(folder, "infrared", 3)
        change(picture_folder(folder, "visible", 3))
        return fuse(folder, "ir", "vi", "out") + list(more)

    return make


def two_are_right(folder: Path, run: Run) -> None:
    """Pictures 1 and 3 are fused, and 2 is not there."""
    for number in (1, 3):
        require_picture(folder / "out" / f"{number}.png", mean(), EXACT)
    if (folder / "out" / "2.png").exists():
        raise Wrong("2.png was fused from what is no picture")


def _escaped(path: Path) -> None:
    (path / "\x1b[2J\u202e4.png").write_bytes(encoded("png"))


def _decomposed(path: Path) -> None:
    (path.parent / "ir" / "B\u00e4r.png").write_bytes(encoded("png", "infrared"))
    (path / "Ba\u0308r.png").write_bytes(encoded("png"))


def _all_right(folder: Path, run: Run) -> None:
    found = sorted((folder / "out").iterdir())
    if len(found) != 4:
        raise Wrong(f"{len(found)} of 4 pictures were written")
    for path in found:
        require_picture(path, mean(), EXACT)


FOLDERS = [
    Case("a damaged picture in a folder", folders(lambda path: (path / "2.png").write_bytes(b"no")),
         ("degraded",), says=r"2\.png.*no image[\s\S]*2 fused|2 fused[\s\S]*2\.png", check=two_are_right, quick=True),
    Case("a picture too small in a folder", folders(lambda path: (path / "2.png").write_bytes(encode("png", visible()[:9]))),
         ("degraded",), says=r"2.*too small", check=two_are_right),
    Case("a picture without partner", folders(lambda path: (path / "2.png").unlink()),
         ("degraded",), says=r"without partner.*2"),
    Case("a folder inside a folder", folders(lambda path: (path / "4.png").mkdir()), ("right",)),
    Case("a pipe in a folder", folders(lambda path: os.mkfifo(path / "4.png")), ("right", "degraded")),
    Case("no picture in a folder", folders(lambda path: [one.unlink() for one in path.iterdir()] and None), says="no images"),
    Case("two files of one stem", folders(lambda path: (path / "2.bmp").write_bytes(encoded("bmp"))), says="one stem"),
    Case("escape codes in a folder's names", folders(_escaped), ("degraded",), says="without partner"),
    Case("names in NFC and NFD", folders(_decomposed), ("right",), check=_all_right),
]  # fmt: skip


def _many(folder: Path) -> list[str]:
    picture_folder(folder, "infrared", 1)
    path = picture_folder(folder, "visible", 1)
    for number in range(3000):
        (path / f"a rather long name of a picture {number}.png").touch()
    return fuse(folder, "ir", "vi", "out")


FOLDERS += [
    Case("3,000 names without partner", _many, ("degraded",), says=r"without partner.*(3000|more|others)"),
]


def checked(name: str, content: bytes) -> Callable[[Path], list[str]]:
    """A maker of ``dataset check`` on three pairs, one of whose pictures is this."""

    def make(folder: Path) -> list[str]:
        picture_folder(folder, "infrared", 3)
        (picture_folder(folder, "visible", 3) / name).write_bytes(content)
        return ["dataset", "check", "."]

    return make


CHECKED = [
    Case(f"dataset check finds a {suffix} cut at 50 %",
         checked(f"9.{suffix}", encoded(suffix)[: len(encoded(suffix)) // 2]), ("degraded",), says=r"1 visible without infrared")
    for suffix in FORMATS[:1]
] + [
    Case("dataset check finds a damaged picture", checked("2.png", encoded("png")[:99]), ("degraded",), says=r"1 unreadable:\s+.*2\.png"),
    Case("dataset check finds another size", checked("2.png", encode("png", visible((80, 48)))), ("degraded",), says="1 sizes differ"),
    Case("dataset check finds 16 bits", checked("2.png", encode("png", visible().astype(np.uint16) * 9)), ("degraded",), says="1 more than 8 bits"),
    Case("dataset check meets 60,000 x 60,000", checked("2.png", huge("png")), ("degraded", "error"), says=r"2\.png"),
]  # fmt: skip


def _swapped(folder: Path) -> list[str]:
    (folder / "ir.png").write_bytes(encode("png", cv2.cvtColor(visible(), cv2.COLOR_GRAY2BGR)))
    (folder / "vis.png").write_bytes(encode("png", infrared().astype(np.uint16) * 40 + 7000))
    return fuse(folder)[:-2]


SPECIAL += [
    Case("16-bit visible: the two are swapped", _swapped, says=r"(16|swap|uint16|8 bits)"),
    Case("one picture twice", lambda folder: [*fuse(folder)[:2], "ir.png", *fuse(folder)[3:]], ("error", "degraded"), says=r"(twice|same|one file)"),
    Case("the bundle as picture", lambda folder: fuse(folder, visible=str(bundle(folder) / "manifest.json")), says="kinds|manifest"),
]  # fmt: skip

CASES = cases(*map(damaged, FORMATS), SIZES, SPECIAL, FOLDERS, CHECKED)
