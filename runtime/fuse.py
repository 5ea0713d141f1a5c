"""Fusing files: what ``tdfusion-edge fuse`` does for pictures, folders and videos."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tdfusion_edge.errors import ConfigError, RequestError, SinkError, SourceError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.images import by_stem, read_image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fusion import Fusion
from tdfusion_edge.runtime.pipeline import Plan, run
from tdfusion_edge.runtime.signals import stopped_by_signals
from tdfusion_edge.runtime.sinks.folder import write_picture
from tdfusion_edge.runtime.sinks.output import require_writable, sink_error
from tdfusion_edge.runtime.sinks.video import VideoSink
from tdfusion_edge.runtime.sources.video import VideoSource
from tdfusion_edge.runtime.stretch import StretchName

Stage: TypeAlias = Callable[[StretchName], Fusion]
"""Makes a fusion stage without memory of earlier pictures, given the default of its stretch."""

VIDEO_SYNC = rig.Sync(tolerance_ms=20.0, policy="drop")
"""Recordings: what has no partner is left out and counted."""


@dataclass(frozen=True)
class Summary:
    """What became of the inputs."""

    pictures: int
    """Fused pictures that were written."""
    notes: tuple[str, ...] = ()
    """What was left out and why, a line each."""
    failed: bool = False
    """Something could not be read."""


def fuse_pictures(stage: Stage, infrared: Path, visible: Path, output: Path) -> Summary:
    """Fuse one pair into one picture file, written aside and renamed.

    Raises:
        RequestError: ``output`` is no .png or .jpg that can be written, or a picture does not fit.
        SourceError: a picture cannot be read.
        SinkError: the output cannot be written.
    """
    write_picture(output, _fused(stage("image"), infrared, visible))
    return Summary(1)


def fuse_folders(stage: Stage, infrared: Path, visible: Path, output: Path) -> Summary:
    """Fuse the pairs of equal stem into ``output/STEM.png``.

    A picture that cannot be read or does not fit the network is noted and the others go on.

    Raises:
        InputMissing: a folder has no picture.
        RequestError: two pictures of one folder share a stem, no stem is in both, or ``output`` is
            a file.
        SinkError: the output cannot be written.
    """
    left, right = (by_stem(folder) for folder in (infrared, visible))
    common = [stem for stem in left if stem in right]
    if not common:
        raise RequestError("no picture has a partner", expected=f"equal stems in {infrared} and {visible}")
    require_writable(output, folder=True)
    notes = [
        f"without partner in {folder}: {', '.join(alone)}"
        for folder, alone in (
            (infrared, [stem for stem in left if stem not in right]),
            (visible, [stem for stem in right if stem not in left]),
        )
        if alone
    ]
    damaged = []
    fusion = stage("image")
    for stem in common:
        fusion.forget()
        try:
            picture = _fused(fusion, left[stem], right[stem])
        except ConfigError:
            raise  # the rig fits none of them
        except (SourceError, RequestError) as error:
            damaged.append(f"{stem}: {error}")
            continue
        output.mkdir(exist_ok=True)
        write_picture(output / f"{stem}.png", picture)
    return Summary(len(common) - len(damaged), (*notes, *damaged), failed=bool(damaged))


def fuse_videos(stage: Stage, infrared: Path, visible: Path, output: Path) -> Summary:
    """Fuse two videos into one with the visible one's timestamps, written aside and renamed.

    Raises:
        SourceError: a video is damaged; nothing is left at ``output``.
        SinkError: the output cannot be written; nothing is left of it.
        RequestError: ``output`` is no video file.
        KeyboardInterrupt: it was interrupted; nothing is left at ``output``.
    """
    if output.suffix.lower() not in (".mp4", ".mkv"):
        raise RequestError(
            f"{output} is no video file", expected=".mp4 or .mkv", got=output.suffix or "no suffix"
        )
    require_writable(output)
    aside = output.with_name(f".{output.stem}.{os.getpid()}.partial{output.suffix}")
    stop = threading.Event()
    sources: dict[rig.Role, VideoSource] = {}
    try:
        sources["infrared"] = VideoSource(infrared.name, infrared, epoch_ns=0)
        sources["visible"] = VideoSource(visible.name, visible, epoch_ns=0)
        plan = Plan(sources, VIDEO_SYNC, stage("temporal"), [VideoSink(aside)], "every", stop=stop)
        with stopped_by_signals(stop) as interrupted:
            report = run(plan)
        if interrupted.is_set():
            raise KeyboardInterrupt
        if isinstance(report.failure, SinkError):
            raise _not_kept(report.failure, aside, output) from report.failure
        if report.failure is not None:
            raise report.failure
        if not report.pictures:
            raise RequestError(
                "no frame has a partner", expected=f"frames less than {VIDEO_SYNC.tolerance_ms:g} ms apart"
            )
        _put_in_place(aside, output)
    finally:
        for source in sources.values():
            source.close()
        aside.unlink(missing_ok=True)
    cameras = report.as_dict()["cameras"]
    alone = {
        path: cameras[role].get("unmatched", 0)
        for role, path in (("infrared", infrared), ("visible", visible))
    }
    return Summary(
        report.pictures,
        tuple(f"{count} frames of {path} have no partner" for path, count in alone.items() if count),
    )


def _put_in_place(aside: Path, output: Path) -> None:
    try:
        aside.replace(output)
    except OSError as error:
        raise sink_error(output, error, "the last frame", hint="Nothing was kept.") from error


def _not_kept(failure: SinkError, aside: Path, output: Path) -> SinkError:
    """The failure in the words of the request: the file aside, and what is whole in it, are removed."""
    what = failure.what.replace(str(aside), str(output))
    return SinkError(
        f"{output} was not written, nothing was kept: {what.removeprefix(f'{output}: ')}",
        expected=failure.expected,
        got=failure.got,
    )


def _fused(fusion: Fusion, infrared: Path, visible: Path) -> Image:
    pair = Pair(
        Frame(read_image(infrared), 0, 0, str(infrared)), Frame(read_image(visible), 0, 0, str(visible))
    )
    aligned = fusion.align(pair)
    assert aligned is not None  # only infrared alone has no picture
    return fusion.picture(aligned, fusion.fuse(aligned))
