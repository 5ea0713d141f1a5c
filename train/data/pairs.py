"""Aligned pairs of a data source with their labels.

What fits is read once into memory as luma: 242 pairs of 640x480 take 150 MB, and decoding them each epoch
takes longer than a step. A larger set is read picture by picture while the training asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tdfusion_edge.color import U8
from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES, by_stem, read_luma8, read_names
from tdfusion_edge.train.data.labels import TaskLabels, find_labels
from tdfusion_edge.train.data.layouts import locate, require_division
from tdfusion_edge.train.data.lazy import LazyPairs, joined
from tdfusion_edge.train.data.types import Sample
from tdfusion_edge.train.data.videos import read_videos
from tdfusion_edge.train.recipe import DataSource, Labels, Task

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


def load_pairs(
    root: Path, source: DataSource, task: Task | None = None, *, memory: int = IN_MEMORY
) -> Sequence[Sample]:
    """Pairs of one data source: pictures in the order of their names or of its list, then videos.

    Args:
        root: Folder that the data source's folder is relative to.
        source: What to read.
        task: Whose classes the labels are mapped to; None leaves labels unread.
        memory: Bytes that the pictures may take; above that they are read at use, and a pair that turns
            out unusable then is a :class:`SourceError`. Videos are in memory always.

    Returns:
        A list, or a lazy sequence. Without labels in source or layout, boxes and mask are None.

    Raises:
        InputMissing: the folder, one of a sensor, a pair named in the list or a label is not there.
        RequestError: the two sides of a pair differ in size, kind or number of frames, one has more
            than 8 bits, two files have one stem, a label is malformed, or there is no pair at all.
        SourceError: a picture or video is cut short or cannot be decoded.
    """
    folder = root / source.folder
    if not folder.is_dir():
        raise InputMissing(f"there is no folder {folder}", hint="Name the data folder with --data DIR.")
    require_division(source)
    files = find_files(folder, source)
    names = _chosen(folder, source, files)
    pictures = _thinned([name for name in names if not is_video(files.infrared[name])], source)
    videos = [name for name in names if is_video(files.infrared[name])]
    parts: list[Sequence[Sample]] = [_load_pictures(folder, files, pictures, task, memory)]
    for name in videos:
        _refuse_labelled_video(name, files, task)
        frames = read_pair(name, files.infrared[name], files.visible[name], source.every)
        parts.append(_without(frames, source.without_every))
    pairs = joined(parts)
    if not pairs:
        raise RequestError(f"{folder} has no pair", expected="files of the same stem in ir/ and vi/")
    return pairs


def find_files(folder: Path, source: DataSource) -> Files:
    """Pictures and videos of both sensors, without opening any.

    Raises:
        InputMissing: a sensor's folder is not there, or empty.
        RequestError: two files of a folder have one stem.
    """
    place = locate(folder, source)
    infrared, visible = (
        by_stem(side, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)) for side in (place.infrared, place.visible)
    )
    return Files(infrared, visible, place.labels)


def is_video(path: Path) -> bool:
    """Whether a file of a data folder is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_pair(name: str, infrared: Path, visible: Path, every: int = 1) -> list[Sample]:
    """One pair of pictures, or every n-th of two videos, without labels.

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
        pairs = read_videos(name, infrared, visible, every)
    else:
        pairs = [Sample(name, read_luma8(infrared), read_luma8(visible))]
    for pair in pairs:
        if pair.infrared.shape != pair.visible.shape:
            raise RequestError(
                f"pair '{pair.name}' is not aligned",
                expected=str(pair.visible.shape),
                got=str(pair.infrared.shape),
            )
    return pairs


def listed(folder: Path, names: str | Sequence[str]) -> list[str]:
    """The stems of a list: a file in ``folder``, or the stems themselves."""
    return read_names(folder / names) if isinstance(names, str) else list(names)


def _chosen(folder: Path, source: DataSource, files: Files) -> list[str]:
    names = files.common if source.names is None else listed(folder, source.names)
    lacking = [name for name in names if name not in files.infrared or name not in files.visible]
    if lacking:
        sides = (f"{next(iter(side.values())).parent.name}/{lacking[0]}.*" for side in files[:2])
        raise InputMissing(f"{folder} lacks the pair '{lacking[0]}'", expected=" and ".join(sides))
    return names


def _thinned(names: list[str], source: DataSource) -> list[str]:
    return _without(names[:: source.every], source.without_every)


def _without(items: list[Item], every: int) -> list[Item]:
    """Without the first, and every n-th after it; all of them where ``every`` is 0."""
    return [item for index, item in enumerate(items) if not every or index % every]


def _load_pictures(
    folder: Path, files: Files, names: list[str], task: Task | None, memory: int
) -> Sequence[Sample]:
    labels: TaskLabels | None = None
    if task is not None and files.labels is not None and names:
        labels = TaskLabels(find_labels(folder, files.labels, names), names, task.classes)

    def read(index: int) -> Sample:
        name = names[index]
        (sample,) = read_pair(name, files.infrared[name], files.visible[name])
        if labels is None:
            return sample
        boxes, mask = labels.of(name, *sample.visible.shape)
        return sample._replace(boxes=boxes, mask=mask)

    if _needed(read, len(names)) > memory:
        return LazyPairs(len(names), read)
    return [read(index) for index in range(len(names))]


def _needed(read: Callable[[int], Sample], count: int) -> int:
    """Bytes of all pictures, from the first one that can be read."""
    for index in range(count):
        try:
            sample = read(index)
        except SourceError:
            continue
        arrays: tuple[U8 | None, ...] = (sample.infrared, sample.visible, sample.mask)
        return count * sum(array.nbytes for array in arrays if array is not None)
    return 0


def _refuse_labelled_video(name: str, files: Files, task: Task | None) -> None:
    if task is not None and files.labels is not None:
        raise RequestError(
            f"'{name}' is a video, whose frames cannot be labelled",
            expected="pictures beside labels",
            hint="Leave it out with a list of names, or put it into a [[data]] without labels.",
        )


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
