"""The pairs that a calibration looks at: of live cameras, videos, or picture files of equal names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from tdfusion_edge.console import note
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.images import IMAGE_SUFFIXES, by_stem, read_image, without_partner
from tdfusion_edge.runtime.cameras import Cameras, delivery_mode
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.picture.swapped import suspicion
from tdfusion_edge.runtime.sources import uri as addresses
from tdfusion_edge.video.times import is_recording, other_half

log = logging.getLogger(__name__)


class Shot(NamedTuple):
    """A pair that a calibration looks at."""

    infrared: Image
    """uint8 or uint16 (h, w), or uint8 (h, w, 3) BGR."""
    visible: Image
    """uint8 (H, W) or (H, W, 3) BGR."""
    time_ns: int


def picture_files(cameras: Cameras) -> Mapping[str, tuple[Path, Path]] | None:
    """Pairs of picture files by stem, where both cameras are folders of them or picture files, else None.

    The folders of a recording are none: what is in them is played.

    Raises:
        RequestError: two folders without a common stem.
        InputMissing: a folder without pictures.
    """
    places = []
    for _, camera in (cameras.infrared, cameras.visible):
        uri = addresses.parse(camera.uri)
        if uri.scheme != "file":
            return None
        path = uri.local_path()
        if is_recording(path) or other_half(path) is not None:
            return None
        if not (path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES):
            return None
        places.append(path)
    infrared, visible = places
    if infrared.is_file() and visible.is_file():
        return {visible.stem: (infrared, visible)}
    if infrared.is_dir() != visible.is_dir():
        raise RequestError("a folder and a picture", expected="two folders or two pictures")
    ours, theirs = by_stem(infrared), by_stem(visible)
    common = {stem: (path, theirs[stem]) for stem, path in ours.items() if stem in theirs}
    if not common:
        raise RequestError("no picture has a partner", expected=f"equal stems in {infrared} and {visible}")
    return common


def told_if_swapped(shots: Iterator[Shot], cameras: Cameras) -> Iterator[Shot]:
    """The same pairs; a line of warning comes before the first where the two may have been mixed up."""
    for number, shot in enumerate(shots):
        if number == 0:
            reason = suspicion(
                Frame(shot.infrared, shot.time_ns, 0, cameras.infrared[0]),
                Frame(shot.visible, shot.time_ns, 0, cameras.visible[0]),
            )
            if reason is not None:
                log.warning("%s", reason)
        yield shot


def shots(
    cameras: Cameras,
    stack: ExitStack,
    *,
    seconds: float | None,
    interval_s: float,
    stop: threading.Event,
    unreadable: list[str],
) -> Iterator[Shot]:
    """Pairs in the order of their time.

    Args:
        cameras: Two cameras, videos, folders or pictures.
        stack: Closes what is opened.
        seconds: End after so much time; None: at the end of a recording.
        interval_s: Least time between two pairs of a stream; picture files are all given.
        stop: Ends the stream when it is set.
        unreadable: Gets the names of pairs of pictures that are left out, for one of the two cannot be read.

    Raises:
        SourceError: a recording is damaged, no picture of a folder can be read, or the pictures of one camera
            change their size.
    """
    files = picture_files(cameras)
    if files is not None:
        yield from _shots_of_files(cameras, files, stop, unreadable)
        return
    sources = cameras.open(stack)
    sync = msgspec.structs.replace(cameras.sync, policy="drop", on_missing=None)
    streams = stack.enter_context(
        Streams(sources, sync, mode=delivery_mode(None, sources), stop=stop, seconds=seconds)
    )
    last_ns: int | None = None
    for pair in streams:
        if pair.infrared is None or pair.visible is None:
            continue
        if last_ns is not None and pair.time_ns - last_ns < interval_s * 1e9:
            continue
        last_ns = pair.time_ns
        yield Shot(pair.infrared.image, pair.visible.image, pair.time_ns)
    if streams.failure is not None:
        raise streams.failure


def _shots_of_files(
    cameras: Cameras, files: Mapping[str, tuple[Path, Path]], stop: threading.Event, unreadable: list[str]
) -> Iterator[Shot]:
    folders = cameras.files()
    if folders[0].is_dir():
        for line in without_partner(*folders):
            note(line)
    sizes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    for number, (name, (infrared, visible)) in enumerate(files.items(), 1):
        if stop.is_set():
            return
        try:
            shot = Shot(read_image(infrared), read_image(visible, grey16_ok=False), number * 1_000_000_000)
        except SourceError as error:
            unreadable.append(name)
            if len(unreadable) == len(files):  # nothing is left
                raise
            log.warning("%s; the pair is left out", str(error).splitlines()[0])
            continue
        sizes = sizes or (shot.infrared.shape[:2], shot.visible.shape[:2])
        if (shot.infrared.shape[:2], shot.visible.shape[:2]) != sizes:
            raise SourceError(
                f"{visible} and {infrared} have another size than the pair before",
                expected="one size a camera",
            )
        yield shot
