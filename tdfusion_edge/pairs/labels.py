"""Labels of a data source in the classes of a head, whatever format they are in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.pairs.box_files import drawn_voc, drawn_yolo
from tdfusion_edge.pairs.coco_file import drawn_coco
from tdfusion_edge.pairs.drawn import Drawn
from tdfusion_edge.pairs.mask_files import read_mask, require_classes
from tdfusion_edge.pairs.source import Labels
from tdfusion_edge.pairs.types import Boxes
from tdfusion_edge.text import CLASSES, composed, few

SMALLEST = 1.0
"""A box that has less than so many pixels a side within the picture counts nowhere."""
SUFFIXES = {"yolo": ".txt", "voc": ".xml", "mask": ".png"}
MASK_ENDINGS = ("", "_mask", "_label", "_labels", "_annotation")
"""What the stem of a mask may have behind that of its picture."""


class LabelFiles(NamedTuple):
    """Where the labels of some pictures are. Nothing but a COCO file has been read yet."""

    labels: Labels
    path: Path
    """Folder or file."""
    classes: tuple[str, ...]
    """Names that the labels may use; for VOC those are known once all files are read."""
    files: Mapping[str, Path]
    """Stem to file; empty for COCO."""
    coco: Mapping[str, Drawn]
    """Stem to boxes; empty for other formats."""
    lacking: tuple[str, ...]
    """Stems that have no label, not even an empty one."""

    @property
    def is_mask(self) -> bool:
        """Whether the labels are masks; they are boxes otherwise."""
        return self.labels.format == "mask"

    def drawn(self, name: str) -> Drawn:
        """The boxes of one picture, read from its file.

        Raises:
            InputMissing: its file has gone.
            RequestError: its file is malformed.
        """
        if self.labels.format == "yolo":
            return drawn_yolo(self.files[name], self.classes)
        return drawn_voc(self.files[name]) if self.labels.format == "voc" else self.coco[name]

    def mask(self, name: str, size: tuple[int, int] | None = None) -> U8:
        """The mask of one picture in the labels' own classes, 255 where a pixel does not count.

        Args:
            name: Of the picture.
            size: Height and width of the picture, which the mask must have; None takes any.

        Raises:
            InputMissing: its file has gone.
            RequestError: it is no mask, has another size, or values without a class.
            SourceError: it is cut short or cannot be decoded.
        """
        values = read_mask(self.files[name], self.labels.colours)
        if size not in (None, values.shape):
            raise RequestError(
                f"{self.files[name]} does not fit its picture",
                expected=f"{size[1]}x{size[0]}" if size else None,
                got=f"{values.shape[1]}x{values.shape[0]}",
            )
        return require_classes(self.files[name], values, self.classes, self.labels.ignore)


def find_labels(folder: Path, labels: Labels, names: Iterable[str]) -> LabelFiles:
    """The label files of the pictures ``names`` of a data source in ``folder``.

    Raises:
        ConfigError: the format needs the names of the classes.
        InputMissing: the folder or file is not there, or has no label for any of the pictures.
        RequestError: a COCO file is malformed.
    """
    path, names = folder / labels.path, list(names)
    coco: Mapping[str, Drawn] = {}
    files: dict[str, Path] = {}
    classes = labels.classes
    if labels.format == "coco":
        coco, classes = drawn_coco(path)
    else:
        if labels.format != "voc" and not classes:
            raise ConfigError(
                f"labels in {path}", expected="classes, their names in the order of their numbers", got="none"
            )
        if not path.is_dir():
            raise InputMissing(f"there is no folder of labels {path}")
        files = _label_files(path, labels.format, names)
    lacking = tuple(name for name in names if name not in files and name not in coco)
    if names and len(lacking) == len(names):
        raise InputMissing(
            f"{path} has no label of any of {len(names)} pictures",
            expected=_example(labels, names[0]),
            hint="Label files carry the stems of their pictures.",
        )
    return LabelFiles(labels, path, classes, files, coco, lacking)


def _label_files(folder: Path, kind: str, names: Sequence[str]) -> dict[str, Path]:
    """The files of those pictures that have one, by their names."""
    try:
        there = {composed(file.name): file for file in folder.iterdir()}
    except OSError as error:
        raise InputMissing(f"{folder} cannot be read: {error.strerror}") from error
    suffix = SUFFIXES[kind]
    # A system that does not tell upper from lower case takes A.TXT for a.txt.
    loud = {name[: -len(suffix)] + suffix: file for name, file in there.items() if _is_loud(file, suffix)}
    there = loud | there
    found = {}
    for name in names:
        candidates = (f"{name}{ending}{suffix}" for ending in (MASK_ENDINGS if kind == "mask" else ("",)))
        file = next((there[one] for one in candidates if one in there and there[one].is_file()), None)
        if file is not None:
            found[name] = file
    return found


def _is_loud(file: Path, suffix: str) -> bool:
    """Whether a file has the suffix in upper case."""
    return file.suffix != suffix and file.suffix.lower() == suffix


def require_all(found: LabelFiles) -> None:
    """Refuse pictures without a label: only an empty one says that there is no object.

    Raises:
        InputMissing: naming the first such file.
    """
    if found.lacking:
        raise InputMissing(
            f"{found.path} lacks {_example(found.labels, found.lacking[0])}",
            got=f"{len(found.lacking)} pictures without a label",
            hint="Give a picture without objects an empty label, or leave it out with a list of names.",
        )


class HeadLabels:
    """Labels of some pictures in the classes of a head; all boxes are read and checked at once.

    A class of the labels that the head does not know is left out (boxes) or becomes 255 (masks). Names are
    compared without regard to case.

    Args:
        found: Where the labels are.
        names: Pictures that will be asked for.
        classes: The head's.
        whose: What the head is called in messages.

    Raises:
        InputMissing: a picture has no label.
        RequestError: a label file is malformed, or the labels and the head have no class in common.
    """

    def __init__(
        self, found: LabelFiles, names: Iterable[str], classes: Sequence[str], whose: str = "the task"
    ) -> None:
        require_all(found)
        self.classes = tuple(classes)
        self._found, self._names, self._whose = found, list(names), whose
        self._index = {name.casefold(): index for index, name in enumerate(classes)}
        self._drawn = {} if found.is_mask else {name: found.drawn(name) for name in self._names}
        drawn = sorted(set().union(*(one.names for one in self._drawn.values())))
        used = dict.fromkeys((*found.classes, *drawn))
        self._unknown = [name for name in used if name.casefold() not in self._index]
        if used and len(self._unknown) == len(used):
            raise RequestError(
                f"the labels in {found.path} have no class of {whose}",
                expected=few(classes),
                got=few(self._unknown),
            )
        of_labels = {name.casefold() for name in used}
        self._unlabelled = [name for name in classes if name.casefold() not in of_labels]
        self._table = np.full(256, 255, np.uint8)
        if found.is_mask:
            known = [self._index.get(name.casefold(), 255) for name in found.classes]
            self._table[: len(known)] = known

    def note(self, *, scored: bool = False) -> str | None:
        """What of the labels is not taken as it is written; None where all is.

        That are classes that the head does not know, boxes around crowds, and marks of difficulty.

        Args:
            scored: Name those of the head as well that have no class of labels.
        """
        notes = []
        if self._unknown:
            verb = "ignored" if self._found.is_mask else "left out"
            head = f"{self._whose} ({few(self.classes, CLASSES)})"
            notes.append(f"{verb} {few(self._unknown, CLASSES)}, which {head} does not know")
        if scored and self._unlabelled:
            missing = few(self._unlabelled, CLASSES)
            notes.append(f"not scored {missing}, for which there is no class of labels")
        if difficult := sum(drawn.difficult for drawn in self._drawn.values()):
            notes.append(f"{difficult} objects marked difficult, which count as any other")
        if crowds := sum(drawn.crowds for drawn in self._drawn.values()):
            notes.append(f"left out {crowds} boxes around crowds")
        return f"labels in {self._found.path}: {'; '.join(notes)}" if notes else None

    def require_some(self) -> None:
        """Refuse labels that say nothing about any of the head's classes: scores would mean nothing.

        Raises:
            RequestError: no picture has a box of these classes, or no pixel that counts; or as :meth:`of`.
        """
        if self._found.is_mask:
            some = any((self._table[self._found.mask(name)] != 255).any() for name in self._names)
        else:
            some = any(one.casefold() in self._index for drawn in self._drawn.values() for one in drawn.names)
        if not some:
            raise RequestError(
                f"{self._found.path}: no {'pixel' if self._found.is_mask else 'object'} "
                f"of {self._whose} in {len(self._names)} pairs",
                expected=f"labels of {few(self.classes)}",
                got="none",
            )

    def of(self, name: str, height: int, width: int) -> tuple[Boxes | None, U8 | None]:
        """Boxes or mask of one picture of this size, in pixels.

        Raises:
            InputMissing: the mask has gone.
            RequestError: the labels are for another size, or the mask has values without a class.
            SourceError: the mask cannot be decoded.
        """
        if self._found.is_mask:
            return None, self._table[self._found.mask(name, (height, width))]
        return to_boxes(self._drawn[name], name, height, width, self._index), None


def to_boxes(drawn: Drawn, name: str, height: int, width: int, index: Mapping[str, int]) -> Boxes:
    """Boxes clipped to a picture of this size, without those of no area there or not in ``index``.

    Args:
        drawn: What the label file says.
        name: Of the picture, for messages.
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        index: Class names in lower case (``str.casefold``) to numbers.

    Raises:
        RequestError: the label file states another size.
    """
    corners = in_pixels(drawn, name, height, width).clip(0, [width, height, width, height])
    corners = corners.astype(np.float32)
    classes = np.asarray([index.get(one.casefold(), -1) for one in drawn.names], np.int64)
    kept = ((corners[:, 2:] - corners[:, :2]) >= SMALLEST).all(axis=1) & (classes >= 0)
    return Boxes(corners[kept], classes[kept])


def in_pixels(drawn: Drawn, name: str, height: int, width: int) -> npt.NDArray[np.float64]:
    """Corners (N, 4) in pixels, not clipped.

    Raises:
        RequestError: the label file states another size.
    """
    if drawn.size == (1, 1):
        return drawn.corners * [width, height, width, height]
    if drawn.size not in (None, (width, height)):
        lying = drawn.size == (height, width)
        raise RequestError(
            f"the labels of '{name}' are for a picture of another size",
            expected=f"{width}x{height}",
            got=f"{drawn.size[0]}x{drawn.size[1]}" if drawn.size else "none",
            hint="Was the picture drawn on as it is stored, and not turned as its file says (EXIF)?"
            if lying
            else "Was the picture resized without its labels?",
        )
    return drawn.corners


def _example(labels: Labels, name: str) -> str:
    if labels.format == "coco":
        return f"an image with file_name '{name}.*'"
    return f"{name}{SUFFIXES[labels.format]}"
