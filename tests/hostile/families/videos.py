"""Videos that are cut, damaged or odd, as one of the two that are fused, and in a data folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from hostile.case import Case, Run, Wrong, cases
from hostile.made.commands import PLAIN, bundle
from hostile.made.pictures import encoded
from hostile.made.videos import (
    CONTAINERS,
    FRAMES,
    counts,
    counts_video,
    damaged,
    joined,
    pairs_are,
    raw_h264,
    retagged,
    rotated,
    sound_alone,
    video,
    without_frames,
)

N = range(FRAMES)
NAMED = r"vis\.\w+"
LEFT_OUT = r"\b[1-9]\d* (of \d+ )?(frames|pictures|pairs)"


def fuse(
    visible: str, content: Callable[[], bytes], infrared: Callable[[], bytes] = video
) -> Callable[[Path], list[str]]:
    """A maker of ``fuse ir.mkv VISIBLE`` with such contents; both show the same numbers."""

    def make(folder: Path) -> list[str]:
        (folder / "ir.mkv").write_bytes(infrared())
        (folder / visible).write_bytes(content())
        return ["fuse", "ir.mkv", visible, "-o", "out.mkv", "--bundle", str(bundle(folder)), *PLAIN]

    return make


def states(suffix: str, container: str) -> list[Case]:
    """One container, whole and in every state of decay."""
    whole = lambda: video(container)  # noqa: E731
    name = f"vis.{suffix}"
    cut = [
        Case(
            f"{suffix} cut at {share} %",
            fuse(name, lambda share=share: whole()[: len(whole()) * share // 100]),
            ("error", "degraded"),
            says=rf"{NAMED}|{LEFT_OUT}",
            quick=suffix == "mp4" and share == 50,
        )
        for share in (10, 50, 90)
    ]
    return [
        *cut,
        Case(f"{suffix} whole", fuse(name, whole), ("right",), check=pairs_are(N)),
        Case(f"{suffix} damaged in the middle", fuse(name, lambda: damaged(whole())), ("error", "degraded"), says=rf"{NAMED}|{LEFT_OUT}"),
        Case(f"{suffix} damaged in its first key frame", fuse(name, lambda: damaged(whole(), 0)), ("error", "degraded"),
             says=rf"{NAMED}|{LEFT_OUT}"),
        Case(f"{suffix} of text", fuse(name, lambda: b"this is no video\n" * 50), says=NAMED),
        Case(f"{suffix} empty", fuse(name, lambda: b""), says=NAMED),
        Case(f"{suffix} without a picture", fuse(name, lambda: without_frames(container)), says=rf"{NAMED}|no frame"),
        Case(f"{suffix} turned by 90 degrees", fuse(name, lambda: rotated(whole(), 90)), ("right", "error"), check=upright, told="turned|rotat"),
    ][: 10 if suffix in ("mp4", "mov") else 9]  # fmt: skip


def upright(folder: Path, run: Run) -> None:
    """The video written is as high as the stored one is wide."""
    with av.open(str(folder / "out.mkv")) as container:
        stream = container.streams.video[0]
        if (stream.width, stream.height) != (64, 96):
            raise Wrong(f"the video came out lying, {stream.width}x{stream.height}")


def half_turned(folder: Path, run: Run) -> None:
    """Bars run from right to left."""
    with av.open(str(folder / "out.mkv")) as container:
        first = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)][1]
    # Picture 1 shows one bright bar at the left; turned by 180 degrees it is at the right.
    if first[32, -5] < 110:
        raise Wrong("the video came out upside down")


TRAILERS = {
    "text": b"\nrecorded by a camera, firmware 1.2.3, and a long note on this\n" * 4,
    "4 zero bytes": bytes(4),
    "7 bytes": b"\0\0\0\1abc",
    "a vendor's block": bytes(range(256)) * 8 + b"8db42d694ccc418790edff439fe026bf",
    "zero bytes": bytes(4096),
}
BEHIND = [
    Case(f"{suffix} with {what} behind its end", fuse(f"vis.{suffix}", lambda suffix=suffix, tail=tail: video(CONTAINERS[suffix]) + tail),
         ("right",), check=pairs_are(N))
    for suffix in ("mp4", "mov")
    for what, tail in TRAILERS.items()
]  # fmt: skip

FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"),)
SOUND = [
    Case(f"{suffix} whose sound begins {lead} ms before", fuse(f"vis.{suffix}", lambda container=container, lead=lead: video(container, sound_ms=lead)),
         ("right",), check=pairs_are(N), quick=suffix == "ts" and lead == 200)
    for suffix, container in (("mkv", "matroska"), ("ts", "mpegts"), ("mp4", "mp4"), ("mov", "mov"))
    for lead in (23, 200)
] + [
    Case("fragmented mp4 with sound", fuse("vis.mp4", lambda: video("mp4", sound_ms=23, options=FRAGMENTED)), ("right",), check=pairs_are(N)),
    Case("sound alone", fuse("vis.mp4", sound_alone), says="no video|vis"),
]  # fmt: skip


def _both_joined(smooth: bool, *command: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        for name in ("ir.ts", "vis.ts"):
            (folder / name).write_bytes(joined(smooth=smooth))
        return [*command, "-o", "out.mkv", "--bundle", str(bundle(folder)), *PLAIN]

    return make


FUSE_TS, RUN_TS = ("fuse", "ir.ts", "vis.ts"), ("run", "--camera", "ir.ts,vis.ts")
LONG_LAST = (*tuple(range(0, 2000, 100))[:-1], 2900)
TIMES = [
    Case("two joined ts", _both_joined(True, *FUSE_TS), ("right",), check=pairs_are(range(40)), quick=True),
    Case("run on two joined ts", _both_joined(True, *RUN_TS), ("right",), check=pairs_are(range(40))),
    Case("two joined ts with a jump of their counters", _both_joined(False, *FUSE_TS), ("right", "error"), check=pairs_are(range(40))),
    Case("raw h264 at 30 a second", fuse("vis.h264", raw_h264, lambda: video(fps=30)), ("right",), check=pairs_are(N)),
    Case("raw h264 at 10 a second", fuse("vis.h264", lambda: raw_h264(10), lambda: video(fps=10)), ("right",), check=pairs_are(N)),
    *(
        Case(f"{suffix} whose last picture is shown long",
             fuse(f"vis.{suffix}", lambda container=container: video(container, times_ms=LONG_LAST), lambda: video("matroska", times_ms=LONG_LAST)),
             ("right",), check=pairs_are(N))
        for suffix, container in CONTAINERS.items() if suffix != "avi"
    ),
    *(
        Case(f"mkv whose DURATION says {words}", fuse("vis.mkv", lambda tag=tag: retagged(video("matroska"), tag)), ("right",), check=pairs_are(N))
        for words, tag in {
            "one minute": b"00:01:00.000000000", "a decimal comma": b"00:00:02,000000000", "no time": b"what a tag is this",
            "NaN": b"00:00:NaN000000000", "99 hours": b"99:99:99.999999999",
        }.items()
    ),
    Case("recordings that begin 120 ms apart",
         fuse("vis.mkv", lambda: video("matroska"), lambda: video("matroska", times_ms=tuple(120 + 100 * n for n in N))),
         ("right", "degraded", "error"), told=r"(begin|start)\w*.*\b1[012]\d|\b1[012]\d(\.\d+)? ms",
         says=LEFT_OUT, check=lambda folder, run: silent("120 ms between two recordings were dropped without a word")),
    Case("a time base of nanoseconds and gaps", fuse("vis.mkv", lambda: video("matroska", times_ms=(0, 1, 900, 901, 5000), count=5),
                                                     lambda: video("matroska", times_ms=(0, 1, 900, 901, 5000), count=5)), ("right",), check=pairs_are(range(5))),
    Case("infrared has twice the pictures", fuse("vis.mp4", lambda: video(fps=5, count=10), lambda: video(fps=10)), ("degraded",), says="1[01] frames of ir.mkv"),
]  # fmt: skip


def silent(what: str) -> None:
    """Nothing was said."""
    raise Wrong(what)


def thermal(layout: str, codec: str, suffix: str, container: str, *more: str) -> Callable[[Path], list[str]]:
    """A maker of ``fuse`` on a video of counts."""

    def make(folder: Path) -> list[str]:
        (folder / f"ir.{suffix}").write_bytes(counts_video(layout, codec, container))
        (folder / "vis.mp4").write_bytes(video(count=6))
        arguments = ["fuse", f"ir.{suffix}", "vis.mp4", "-o", "out.mkv", "--bundle", str(bundle(folder))]
        return [*arguments, "--stretch", "none", *more]

    return make


def contrast_is_kept(folder: Path, run: Run) -> None:
    """The ramp of counts is a ramp in the picture, not three steps."""
    with av.open(str(folder / "out.mkv")) as container:
        last = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)][-1]
    levels = last[2].astype(int)
    # Dark bars of picture 5 are at 40; within one of them, the ramp of infrared must go on.
    inside = levels[np.abs(counts()[2].astype(int) - 8000) < 200]
    if len(set(levels.tolist())) < 25 or len(inside) == 0:
        raise Wrong(f"{len(set(levels.tolist()))} levels are left of {len(set(counts()[2].tolist()))} counts")


LAYOUTS = [
    Case("counts as gray16 in FFV1", thermal("gray16le", "ffv1", "mkv", "matroska"), ("right",), check=contrast_is_kept),
    *(
        Case(f"counts as {layout}", thermal(layout, codec, suffix, container), ("right", "error"), check=contrast_is_kept,
             says=r"ir\.\w+", quick=layout == "gbrp16le")
        for layout, codec, suffix, container in (
            ("gbrp16le", "ffv1", "mkv", "matroska"), ("ya16be", "png", "mov", "mov"), ("rgb48be", "png", "mov", "mov"),
            ("gray16be", "png", "mov", "mov"), ("gray12le", "ffv1", "mkv", "matroska"), ("gbrp12le", "ffv1", "mkv", "matroska"),
        )
    ),
    *(
        Case(f"visible as {layout}", fuse(f"vis.{suffix}", lambda layout=layout, codec=codec, container=container: video(container, codec=codec, layout=layout)),
             ("right",), check=pairs_are(N))
        for layout, codec, suffix, container in (
            ("yuv422p", "libx264", "mp4", "mp4"), ("yuv420p10le", "libx264", "mp4", "mp4"), ("yuv444p", "libx264", "mkv", "matroska"),
            ("gray", "ffv1", "mkv", "matroska"), ("yuvj422p", "mjpeg", "avi", "avi"), ("bgr0", "ffv1", "mkv", "matroska"),
            ("rgb24", "png", "mov", "mov"), ("pal8", "rawvideo", "avi", "avi"),
        ) if layout != "pal8"
    ),
]  # fmt: skip


def odd(make: Callable[[Path], object]) -> Callable[[Path], list[str]]:
    """A maker of ``fuse ir.mkv vis.mp4`` where vis.mp4 is no plain file."""

    def made(folder: Path) -> list[str]:
        arguments = fuse("vis.mp4", video)(folder)
        (folder / "vis.mp4").unlink()
        make(folder / "vis.mp4")
        return arguments

    return made


def _one_file(folder: Path) -> list[str]:
    arguments = fuse("vis.mp4", video)(folder)
    (folder / "vis.mp4").unlink()
    os.link(folder / "ir.mkv", folder / "vis.mp4")
    return arguments


ODD = [
    Case("a pipe as video", odd(lambda path: os.mkfifo(path)), says=r"vis\.mp4"),
    Case("/dev/zero as video", odd(lambda path: path.symlink_to("/dev/zero")), says=r"vis\.mp4"),
    Case("a link to itself as video", odd(lambda path: path.symlink_to(path)), says=r"vis\.mp4"),
    Case("a picture as video", odd(lambda path: path.write_bytes(encoded("png"))), ("error", "degraded"), says=rf"vis\.mp4|{LEFT_OUT}"),
    Case("a list of other files as video", odd(lambda path: path.write_text("ffconcat version 1.0\nfile /etc/passwd\n")), says=r"vis\.mp4"),
    Case("a playlist as video", odd(lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")), says=r"vis\.mp4"),
    Case("one video under two names", _one_file, ("error", "degraded"), says="(?i)(same|one) (file|video|recording)|twice"),
    Case("mp4 turned by 180 degrees", fuse("vis.mp4", lambda: rotated(video(), 180)), ("right", "error"), check=half_turned, told="turned|rotat"),
    Case("mp4 turned by 270 degrees", fuse("vis.mp4", lambda: rotated(video(), 270)), ("right", "error"), check=upright, told="turned|rotat"),
]  # fmt: skip


def dataset(command: tuple[str, ...], content: Callable[[], bytes]) -> Callable[[Path], list[str]]:
    """A maker of a data folder with one pair of videos, whose visible one is this."""

    def make(folder: Path) -> list[str]:
        for name, raw in (("ir", video()), ("vi", content())):
            (folder / name).mkdir()
            (folder / name / "a.mp4").write_bytes(raw)
        if "recipe.toml" in command:
            from hostile.families.recipes import RECIPE

            (folder / "recipe.toml").write_text(RECIPE)
        return list(command)

    return make


CHECK, TRAIN = ("dataset", "check", "."), ("train", "recipe.toml", "--data", ".", "-o", "out")
TAUGHT = [
    *(
        Case(f"{command[0]} on a video {what}", dataset(command, content), wanted, says=r"a\.mp4")
        for command, wanted in ((CHECK, ("degraded",)), (TRAIN, ("error",)))
        for what, content in {
            "damaged in its first key frame": lambda: damaged(video(), 0),
            "damaged in the middle": lambda: damaged(video()),
            "cut": lambda: video()[:-900],
            "of text": lambda: b"no video",
            "without a picture": lambda: without_frames("mp4"),
        }.items()
    ),
    Case("dataset check on a whole video", dataset(CHECK, video), ("right",)),
    Case("dataset check on a video with a trailer", dataset(CHECK, lambda: video() + TRAILERS["text"]), ("right",)),
    Case("dataset check on a turned video", dataset(CHECK, lambda: rotated(video(), 90)), ("degraded",), says="sizes differ|another size|64x96|turned"),
]  # fmt: skip

CASES = cases(*(states(*row) for row in CONTAINERS.items()), BEHIND, SOUND, TIMES, LAYOUTS, ODD, TAUGHT)
