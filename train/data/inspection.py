"""What is wrong with one pair and its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from tdfusion_edge.color import U8, is_coloured, luma
from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.images import PictureFile
from tdfusion_edge.images.remarks import PAGES, RADIOMETRIC, remarks_on
from tdfusion_edge.pairs.labels import SMALLEST, LabelFiles, in_pixels
from tdfusion_edge.pairs.reader import Files, is_video, read_pair

OUTSIDE = 1.0
"""A box may reach this far out of its picture, pixels: what tools write is rounded."""

KINDS: Mapping[str, str] = {
    "unnamed": "names without a pair",
    "infrared_only": "infrared without visible",
    "visible_only": "visible without infrared",
    "damaged": "unreadable",
    "deep": "more than 8 bits",
    "unequal": "sizes differ within the pair",
    "labels": "labels that cannot be used",
    "unlabelled": "without a label",
    "outside": "boxes outside of the picture",
    "degenerate": "boxes without area in the picture",
}
"""Kinds of faults in the order of a report, with their names for people."""

COLOURED, DIFFICULT, CROWDS = "coloured", "difficult", "crowds"

NOTES: Mapping[str, str] = {
    COLOURED: "infrared in colours: their luma is taken, not thermal counts",
    RADIOMETRIC: "radiometric JPEGs: their renderings are taken, not their counts, which "
    "`exiftool -b -RawThermalImage` gets out",
    PAGES: "files of several pages, the first of which is taken",
    DIFFICULT: "objects marked difficult, which count as any other",
    CROWDS: "boxes around crowds, which are left out",
}
"""Kinds of what is no fault and worth knowing, in the order of a report, with what they mean for people."""

IGNORED = "(ignored)"
"""Stands for the class of the pixels that do not count."""


class Finding(NamedTuple):
    """What was found in one pair."""

    size: str | None = None
    """``WIDTHxHEIGHT`` of the visible picture."""
    pair: tuple[U8, U8] | None = None
    """Luma of infrared and visible, where they can be compared."""
    objects: Counter[str] = Counter()
    """Boxes by class."""
    pixels: Counter[str] = Counter()
    """A mask's pixels by class."""
    empty: bool = False
    """Whether there is a label that says that there is no object."""
    faults: tuple[tuple[str, str], ...] = ()
    """Kind, one of :data:`KINDS`, and what it was found in."""
    notes: tuple[tuple[str, str], ...] = ()
    """Kind, one of :data:`NOTES`, and what it was found in."""


def inspect(name: str, files: Files, labels: LabelFiles | None) -> Finding:
    """Read one pair and its label, if it has one; whatever is wrong with them is a fault in the result."""
    infrared, visible = files.infrared[name], files.visible[name]
    found = (_videos if is_video(infrared) or is_video(visible) else _pictures)(name, infrared, visible)
    if found.pair is None or labels is None or name in labels.lacking or is_video(visible):
        return found
    try:
        return (_mask if labels.is_mask else _boxes)(found, labels, name)
    except TdfusionError as error:
        return _with(found, "labels", _line(error))


def _pictures(name: str, infrared: Path, visible: Path) -> Finding:
    found, images = Finding(), []
    for path in (infrared, visible):
        try:
            file = PictureFile(path)
            picture = file.picture()
        except TdfusionError as error:
            found = _with(found, "damaged", _line(error))
            continue
        kinds = [*remarks_on(file), *([COLOURED] if path == infrared and is_coloured(picture) else [])]
        found = found._replace(notes=(*found.notes, *((kind, str(path)) for kind in kinds)))
        image = luma(picture)
        if image.dtype != np.uint8:
            found = _with(found, "deep", str(path))
        images.append(image)
    if len(images) < 2:
        return found
    sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in images]
    found = found._replace(size=sizes[1])
    if sizes[0] != sizes[1]:
        return _with(found, "unequal", f"{name}: infrared {sizes[0]}, visible {sizes[1]}")
    return found if found.faults else found._replace(pair=cast("tuple[U8, U8]", tuple(images)))


def _videos(name: str, infrared: Path, visible: Path) -> Finding:
    try:
        # Every frame is decoded, and the first one kept.
        first = read_pair(name, infrared, visible, every=1 << 30)[0]
    except TdfusionError as error:
        return _with(Finding(), "damaged", _line(error))
    except IndexError:
        return _with(Finding(), "damaged", f"{infrared}: no frame")
    height, width = first.visible.shape
    return Finding(f"{width}x{height}", (first.infrared, first.visible))


def _boxes(found: Finding, labels: LabelFiles, name: str) -> Finding:
    assert found.pair is not None
    height, width = found.pair[1].shape
    drawn = labels.drawn(name)
    corners = in_pixels(drawn, name, height, width)
    limits = np.array([width, height, width, height])
    inside = corners.clip(0, limits)
    outside = ((corners < -OUTSIDE) | (corners > limits + OUTSIDE)).any(axis=1)
    flat = ((inside[:, 2:] - inside[:, :2]) < SMALLEST).any(axis=1)
    for kind, which in (("outside", outside & ~flat), ("degenerate", flat)):
        for index in np.flatnonzero(which):
            box = ", ".join(f"{value:.1f}" for value in corners[index])
            found = _with(found, kind, f"{name}: {drawn.names[index]} at {box} of {width}x{height}")
    counted = {DIFFICULT: drawn.difficult, CROWDS: drawn.crowds}
    notes = tuple((kind, name) for kind, count in counted.items() for _ in range(count))
    return found._replace(objects=Counter(drawn.names), empty=not drawn.names, notes=(*found.notes, *notes))


def _mask(found: Finding, labels: LabelFiles, name: str) -> Finding:
    assert found.pair is not None
    values = labels.mask(name, found.pair[1].shape)
    counts = np.bincount(values.ravel(), minlength=256)
    names = {**dict(enumerate(labels.classes)), 255: IGNORED}
    pixels = Counter({names[int(value)]: int(counts[value]) for value in np.flatnonzero(counts)})
    return found._replace(pixels=pixels, empty=set(pixels) <= {IGNORED})


def _with(found: Finding, kind: str, line: str) -> Finding:
    return found._replace(faults=(*found.faults, (kind, line)))


def _line(error: TdfusionError) -> str:
    """Message without its hint."""
    return str(error).splitlines()[0]
