"""Fusing files: what ``tdfusion-edge fuse`` does for pictures, folders and videos."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from msgspec.structs import replace as replace_fields

from tdfusion_edge.console import Progress
from tdfusion_edge.errors import ConfigError, RequestError, SinkError, SourceError
from tdfusion_edge.files import aside_name
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.images import by_stem, without_partner
from tdfusion_edge.images.remarks import Remarks
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.pairing.content import Place
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.pipeline.signals import stopped_by_signals
from tdfusion_edge.runtime.sinks import open_sink
from tdfusion_edge.runtime.sinks.folder import write_picture
from tdfusion_edge.runtime.sinks.jsonl import JsonlSink
from tdfusion_edge.runtime.sinks.output import require_writable, sink_error
from tdfusion_edge.runtime.sources import duration_s, open_recording, tell_of_recordings
from tdfusion_edge.runtime.sources.base import Source


@dataclass(frozen=True)
class Wanted:
    """What is made of detections and masks."""

    boxes: bool = False
    """Draw them in the pictures."""
    lines: Path | None = None
    """Write them to this ``.jsonl``, a line a picture."""

    @property
    def picture(self) -> Callable[[Result], Image]:
        """What of a result is written."""
        return annotated if self.boxes else clean


PLAIN = Wanted()
"""Clean pictures alone."""


def clean(result: Result) -> Image:
    """The fused picture as it is."""
    return result.picture


@dataclass(frozen=True)
class Pairing:
    """How the frames of two videos become pairs."""

    sync: rig.Sync = field(default_factory=rig.Sync)
    """``[sync]`` of the rig; a policy that is not given is ``drop``: what has no partner is left out."""
    offsets_ms: Mapping[rig.Role, float] = field(default_factory=dict)
    """Added to the times of a video, in milliseconds."""
    registration: rig.Registration | None = None
    """Of the rig, so that the times can be checked by what moves in both pictures."""


BY_TIME = Pairing()
"""By their times alone."""

_FATES = {
    "unmatched": "have no partner",
    "late": "are not later than the one before",
    "duplicate": "came twice",
    "superseded": "were too old to be shown",
    "overrun": "were too many to wait",
    "left": "were left at the end",
    "missing": "are missing in the file",
    "held": "are shown with an earlier infrared frame",
    "single": "are shown alone",
}
"""What becomes of frames that are not in a pair of two, for people."""


@dataclass(frozen=True)
class Summary:
    """What became of the inputs."""

    pictures: int
    """Fused pictures that were written."""
    notes: tuple[str, ...] = ()
    """What was left out and why, a line each."""
    failed: bool = False
    """Something could not be read."""


def fuse_pictures(
    fuser: Fuser, infrared: Path, visible: Path, output: Path, wanted: Wanted = PLAIN
) -> Summary:
    """Fuse one pair into one picture file, written aside and renamed; so are the lines of ``wanted``.

    Raises:
        RequestError: ``output`` is no .png or .jpg that can be written, or a picture does not fit.
        SourceError: a picture cannot be read.
        SinkError: the output cannot be written.
    """
    with _lines(wanted) as write_line:
        result = _fused(fuser, 0, infrared, visible, Remarks())
        write_line(result)
        write_picture(output, wanted.picture(result))
    return Summary(1)


def fuse_folders(
    fuser: Fuser, infrared: Path, visible: Path, output: Path, wanted: Wanted = PLAIN
) -> Summary:
    """Fuse the pairs of equal stem into ``output/STEM.png``.

    A picture that cannot be read or does not fit the network is noted and the others go on. The lines of
    ``wanted`` are there as a whole or as they were before, even if no picture could be fused.

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
    notes = without_partner(infrared, visible)
    damaged, remarks = [], Remarks()
    with _lines(wanted) as write_line, Progress(f"fusing {visible}") as progress:
        for index, stem in enumerate(common):
            progress.update(index / len(common))
            try:
                result = _fused(fuser, index, left[stem], right[stem], remarks)
            except ConfigError:
                raise  # the rig fits none of them
            except (SourceError, RequestError) as error:
                damaged.append(f"{stem}: {error}")
                continue
            output.mkdir(exist_ok=True)
            write_picture(output / f"{stem}.png", wanted.picture(result))
            write_line(result)
    return Summary(len(common) - len(damaged), (*notes, *damaged), failed=bool(damaged))


def fuse_videos(
    fuser: Fuser,
    infrared: Path,
    visible: Path,
    output: Path,
    wanted: Wanted = PLAIN,
    pairing: Pairing = BY_TIME,
) -> Summary:
    """Fuse two videos into one with the visible one's timestamps, written aside and renamed.

    The lines of ``wanted`` are as well: both are whole before the first is renamed. Every frame that is not
    in the video, or not with a partner, is told in the summary by what became of it.

    Raises:
        SourceError: a video is damaged; nothing is left at ``output``.
        SinkError: the output cannot be written; nothing is left of it, unless the message says so.
        RequestError: ``output`` is no video file.
        KeyboardInterrupt: it was interrupted; nothing is left at ``output``.
    """
    if output.suffix.lower() not in (".mp4", ".mkv"):
        raise RequestError(
            f"{output} is no video file", expected=".mp4 or .mkv", got=output.suffix or "no suffix"
        )
    outputs = [output] if wanted.lines is None else [output, wanted.lines]
    asides = {_aside(path): path for path in outputs}
    stop = threading.Event()
    sources: dict[rig.Role, Source] = {}
    files: dict[rig.Role, Path] = {"infrared": infrared, "visible": visible}
    sync = replace_fields(pairing.sync, policy=pairing.sync.policy or "drop")
    try:
        for role, path in files.items():
            sources[role] = open_recording(path, role, pairing.offsets_ms.get(role, 0.0))
        tell_of_recordings(sources, sync.tolerance_ms, pairing.offsets_ms)
        sinks = [open_sink(aside, picture=wanted.picture) for aside in asides]
        with Progress(f"fusing {visible}") as progress, stopped_by_signals(stop) as interrupted:
            told = partial(_tell, progress, duration_s(sources["visible"]))
            place = Place(pairing.registration, pairing.offsets_ms)
            plan = Plan(
                sources, sync, fuser, "every", sinks, together=True, place=place, stop=stop, on_result=told
            )  # fmt: skip
            report = run(plan)
        if interrupted.is_set():
            raise KeyboardInterrupt
        if isinstance(report.failure, SinkError):
            raise _not_kept(report.failure, asides) from report.failure
        if report.failure is not None:
            raise report.failure
        if not report.pictures:
            raise RequestError(
                "no frame has a partner",
                expected=f"frames less than {sync.tolerance_ms:g} ms apart",
                hint="Allow more with --tolerance-ms MS, or set offset_ms in a rig file.",
            )
        placed = ""
        for aside, path in asides.items():
            _put_in_place(aside, path, placed or "Nothing was kept.")
            placed = f"{path} is whole."
    finally:
        for source in sources.values():
            source.close()
        for aside in asides:
            aside.unlink(missing_ok=True)
    cameras = report.as_dict()["cameras"]
    notes = tuple(
        f"{cameras[role][fate]} frames of {path} {words}"
        for role, path in files.items()
        for fate, words in _FATES.items()
        if cameras[role].get(fate)
    )
    return Summary(report.pictures, notes)


def _tell(progress: Progress, duration_s: float | None, result: Result) -> None:
    """How far a video is."""
    done = result.pair.time_ns / 1e9 / duration_s if duration_s else None
    progress.update(done, f"{result.index + 1} pictures")


def _aside(path: Path) -> Path:
    """Where a file is written until it is whole.

    Raises:
        RequestError: ``path`` cannot be written.
    """
    require_writable(path)
    return aside_name(path, f".partial{path.suffix}")


def _put_in_place(aside: Path, output: Path, hint: str) -> None:
    try:
        aside.replace(output)
    except OSError as error:
        raise sink_error(output, error, "the last frame", hint=hint) from error


def _not_kept(failure: SinkError, asides: Mapping[Path, Path]) -> SinkError:
    """The failure in the words of the request: the file aside, and what is whole in it, are removed."""
    blamed = [item for item in asides.items() if str(item[0]) in failure.what]
    return _of_output(failure, *(blamed or [*asides.items()])[0], "was not written, nothing was kept")


def _of_output(failure: SinkError, aside: Path, output: Path, verdict: str) -> SinkError:
    """The failure with the name that was asked for."""
    what = failure.what.replace(str(aside), str(output))
    return SinkError(
        f"{output} {verdict}: {what.removeprefix(f'{output}: ')}", expected=failure.expected, got=failure.got
    )


@contextmanager
def _lines(wanted: Wanted) -> Iterator[Callable[[Result], None]]:
    """What takes the results of pictures whose detections are wanted in lines.

    They are put in place at the end; an error leaves the file as it was. Where no result came the file is
    empty: lines of an earlier time would not be about these pictures.
    """
    if wanted.lines is None:
        yield lambda result: None
        return
    aside = _aside(wanted.lines)
    sink = JsonlSink(aside, name=_name)
    try:
        yield sink.write
        sink.close()
        with suppress(OSError):
            aside.touch()  # the sink makes no file without a result
        _put_in_place(aside, wanted.lines, "The pictures are whole.")
    except SinkError as error:
        if str(aside) not in error.what:
            raise
        raise _of_output(error, aside, wanted.lines, "was not written") from error
    finally:
        sink.abort()
        aside.unlink(missing_ok=True)


def _name(result: Result) -> str:
    """File name of the visible picture."""
    assert result.pair.visible is not None  # pictures come in pairs
    return Path(result.pair.visible.source).name


def _fused(fuser: Fuser, index: int, infrared: Path, visible: Path, remarks: Remarks) -> Result:
    """One pair of pictures, which stands alone."""
    fuser.forget()
    pair = Pair(
        Frame(remarks.read(infrared), 0, index, str(infrared)),
        Frame(remarks.read(visible), 0, index, str(visible)),
    )
    result = fuser.fuse(pair)
    assert result is not None  # only infrared alone has no picture
    return replace(result, index=index)
