"""Aligned pairs of a data folder with their labels: one at a time, or all that fit into memory.

A set is opened before any picture of it is read: its folders are listed, and its labels read and checked.
Training keeps what fits in memory as luma, because decoding 242 pairs of 640x480 each epoch takes longer than
a step; evaluation reads pair by pair.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tdfusion_edge.color import U8
from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.images import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    by_stem,
    read_image,
    read_image8,
    read_names,
)
from tdfusion_edge.images.remarks import Remarks
from tdfusion_edge.pairs.labels import HeadLabels, find_labels
from tdfusion_edge.pairs.layouts import locate, require_division
from tdfusion_edge.pairs.lazy import LazyPairs, PairSequence
from tdfusion_edge.pairs.source import Labels, PairSource
from tdfusion_edge.pairs.types import LabelledPair, paired
from tdfusion_edge.pairs.videos import read_videos
from tdfusion_edge.text import composed, few

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

IN_MEMORY = 4 << 30
"""Bytes of luma and masks that one data source may hold in memory; a larger one is read at use."""


class Files(NamedTuple):
    """What a data source's folders hold."""

    infrared: Mapping[str, Path]
    """Stem to file, in natural order."""
    visible: Mapping[str, Path]
    labels: Labels | None

    @property
    def common(self) -> list[str]:
        """Stems that both sensors have."""
        return [name for name in self.infrared if name in self.visible]

    @property
    def folders(self) -> list[Path]:
        """Those that the files of both sensors lie in."""
        return list({path.parent: None for side in (self.infrared, self.visible) for path in side.values()})


class PairSet(PairSequence):
    """The pairs of one source: pictures in the order of their names or of the list, then videos' frames.

    A picture is read each time that it is asked for, by several threads at once if need be; the frames of
    videos are in memory. What is wrong with a pair is raised then, as by :func:`read_pair` and
    :meth:`~tdfusion_edge.pairs.labels.HeadLabels.of`.

    Args:
        files: Where the pairs are.
        pictures: Stems of the pictures.
        frames: Of the videos, already read.
        labels: Of the pictures; None leaves boxes and masks out.
        colour: Whether the visible pictures' colours are kept beside their luma.
    """

    def __init__(
        self,
        files: Files,
        pictures: Sequence[str],
        frames: Sequence[LabelledPair] = (),
        labels: HeadLabels | None = None,
        *,
        colour: bool = False,
    ) -> None:
        self.labels = labels
        self.pictures = len(pictures)
        """How many of the pairs are pictures."""
        self.names = [*pictures, *(pair.name for pair in frames)]
        """Of all pairs, in their order."""
        self._files, self._frames, self._colour = files, frames, colour
        self._remarks = Remarks()

    def __len__(self) -> int:
        return len(self.names)

    def _at(self, index: int) -> LabelledPair:
        if index >= self.pictures:
            return self._frames[index - self.pictures]
        name = self.names[index]
        infrared, visible = self._files.infrared[name], self._files.visible[name]
        (pair,) = read_pair(name, infrared, visible, colour=self._colour, read=self._remarks.read)
        if self.labels is None:
            return pair
        boxes, mask = self.labels.of(name, *pair.visible.shape)
        return pair._replace(boxes=boxes, mask=mask)


def open_pairs(
    root: Path,
    source: PairSource,
    classes: Sequence[str] | None = None,
    *,
    whose: str = "the task",
    colour: bool = False,
    videos: bool = True,
) -> PairSet:
    """The pairs of one data source, each picture of which is read when it is asked for.

    Args:
        root: Folder that the source's folder is relative to.
        source: What to read.
        classes: Of the head that the labels are mapped to; None leaves labels unread.
        whose: What that head is called in messages.
        colour: Whether the visible pictures' colours are kept beside their luma.
        videos: Whether videos are pairs as well, all of whose frames are held in memory; without them they
            are passed over.

    Returns:
        The set, with at least one pair. Without labels in source or layout, boxes and mask are None.

    Raises:
        InputMissing: the folder, one of a sensor, a pair named in the list or a label is not there.
        RequestError: two files have one stem, labels are malformed or have no class of the head, two videos
            differ in size, kind or length, a video is to be labelled, or there is no pair at all.
        SourceError: a video is cut short or cannot be decoded.
    """
    folder = root / source.folder
    require_division(source)
    files = find_files(folder, source, videos=videos)
    names = pair_names(folder, source, files)
    pictures = _thinned([name for name in names if not is_video(files.infrared[name])], source)
    labels = None
    if classes is not None and files.labels is not None and pictures:
        labels = HeadLabels(find_labels(folder, files.labels, pictures), pictures, classes, whose)
    frames: list[LabelledPair] = []
    for name in names:
        if not is_video(files.infrared[name]):
            continue
        if classes is not None and files.labels is not None:
            raise RequestError(
                f"'{name}' is a video, whose frames cannot be labelled",
                expected="pictures beside labels",
                hint="Leave it out with a list of names, or put it into a [[data]] without labels.",
            )
        video = read_pair(name, files.infrared[name], files.visible[name], source.every, colour=colour)
        frames += _without(video, source.without_every)
    if not pictures and not frames:
        raise RequestError(f"{folder} has no pair", expected="files of the same stem in ir/ and vi/")
    return PairSet(files, pictures, frames, labels, colour=colour)


def load_pairs(
    root: Path,
    source: PairSource,
    classes: Sequence[str] | None = None,
    *,
    colour: bool = False,
    memory: int = IN_MEMORY,
) -> Sequence[LabelledPair]:
    """Pairs of one data source, in memory if they fit; classes that the head does not know are logged.

    Args:
        root: Folder that the source's folder is relative to.
        source: What to read.
        classes: Of the head that the labels are mapped to; None leaves labels unread.
        colour: Whether the visible pictures' colours are kept beside their luma.
        memory: Bytes that the pictures may take; above that they are read at use, and a pair that turns
            out unusable then is a :class:`SourceError`.

    Returns:
        A list, or a lazy sequence.

    Raises:
        InputMissing: as :func:`open_pairs`.
        RequestError: likewise, or the two pictures of a pair differ in size or have more than 8 bits.
        SourceError: a picture or video is cut short or cannot be decoded.
    """
    pairs = open_pairs(root, source, classes, colour=colour)
    note = None if pairs.labels is None else pairs.labels.note()
    if note is not None:
        logger.warning("%s", note)
    if _needed(pairs) > memory:
        return LazyPairs(len(pairs), pairs.__getitem__)
    return list(pairs)


def find_files(folder: Path, source: PairSource, *, videos: bool = True) -> Files:
    """Pictures and, unless they are not wanted, videos of both sensors, without opening any.

    Raises:
        InputMissing: the folder or that of a sensor is not there, or empty.
        RequestError: two files of a folder have one stem.
    """
    if not folder.is_dir():
        raise InputMissing(f"there is no folder {folder}", hint="Name the data folder with --data DIR.")
    place = locate(folder, source)
    infrared, visible = (
        by_stem(side, (*IMAGE_SUFFIXES, *(VIDEO_SUFFIXES if videos else ())))
        for side in (place.infrared, place.visible)
    )
    return Files(infrared, visible, place.labels)


def pair_names(
    folder: Path, source: PairSource, files: Files | None = None, *, videos: bool = True
) -> list[str]:
    """Stems of the pairs that a source takes: those of its list, or all, before ``every`` thins them.

    Args:
        folder: The source's.
        source: What to read.
        files: What the folder holds, where that is known.
        videos: Whether videos are pairs as well.

    Raises:
        InputMissing: there is no such list, or a pair of it is not there; or as :func:`find_files`.
        RequestError: as :func:`find_files`.
    """
    files = find_files(folder, source, videos=videos) if files is None else files
    names = files.common if source.names is None else listed(folder, source.names, files)
    lacking = [name for name in names if name not in files.infrared or name not in files.visible]
    if lacking:
        sides = (f"{next(iter(side.values())).parent.name}/{lacking[0]}.*" for side in files[:2])
        more = f"{len(lacking)} pairs lacking: {few(lacking)}" if len(lacking) > 1 else None
        raise InputMissing(f"{folder} lacks the pair '{lacking[0]}'", expected=" and ".join(sides), got=more)
    return names


def listed(folder: Path, names: str | Sequence[str], files: Files) -> list[str]:
    """The stems of a list: a file in ``folder``, or the stems themselves.

    Raises:
        InputMissing, RequestError: as :func:`~tdfusion_edge.images.read_names`.
    """
    if isinstance(names, str):
        return read_names(folder / names, files.infrared.keys() | files.visible.keys())
    return [composed(name) for name in names]


def is_video(path: Path) -> bool:
    """Whether a file of a data folder is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_pair(
    name: str,
    infrared: Path,
    visible: Path,
    every: int = 1,
    *,
    colour: bool = False,
    read: Callable[[Path], Image] = read_image,
) -> list[LabelledPair]:
    """One pair of pictures, or every n-th of two videos, without labels.

    Args:
        name: Stem.
        infrared: Picture or video.
        visible: Of the same kind.
        every: Frames of a video to take one of.
        colour: Whether the colours of the visible side are kept beside its luma.
        read: What reads a picture, as :func:`~tdfusion_edge.images.read_image` does.

    Raises:
        RequestError: they differ in size, kind or number of frames, or one has more than 8 bits.
        SourceError: one is cut short or cannot be decoded.
    """
    if is_video(infrared) != is_video(visible):
        raise RequestError(
            f"pair '{name}' is a picture and a video",
            expected="two of one kind",
            got=f"{_short(infrared)} and {_short(visible)}",
        )
    if is_video(infrared):
        pairs = read_videos(name, infrared, visible, every, colour=colour)
    else:
        pairs = [paired(name, read_image8(infrared, read), read_image8(visible, read), colour=colour)]
    for pair in pairs:
        require_equal_sizes(pair.name, "infrared", pair.infrared, pair.visible)
    return pairs


def require_equal_sizes(name: str, what: str, picture: U8, visible: U8) -> None:
    """Refuse a picture of another size than its visible one with a RequestError that names the pair."""
    if picture.shape != visible.shape:
        (height, width), (visible_height, visible_width) = picture.shape, visible.shape
        raise RequestError(
            f"pair '{name}': the {what} picture has another size than the visible one",
            expected=f"{visible_width}x{visible_height}",
            got=f"{width}x{height}",
        )


def _thinned(names: list[str], source: PairSource) -> list[str]:
    return _without(names[:: source.every], source.without_every)


def _without(items: list[Item], every: int) -> list[Item]:
    """Without the first, and every n-th after it; all of them where ``every`` is 0."""
    return [item for index, item in enumerate(items) if not every or index % every]


def _needed(pairs: PairSet) -> int:
    """Bytes of all pictures, from the first one that can be read."""
    for index in range(pairs.pictures):
        try:
            pair = pairs[index]
        except SourceError:
            continue
        arrays: tuple[U8 | None, ...] = (pair.infrared, pair.visible, pair.mask, pair.colour)
        return pairs.pictures * sum(array.nbytes for array in arrays if array is not None)
    return 0


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
