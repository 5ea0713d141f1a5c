"""What is wrong with a data folder, found before a training finds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from tqdm import tqdm

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs.labels import LabelFiles, find_labels
from tdfusion_edge.pairs.reader import Files, find_files, is_video, listed
from tdfusion_edge.pairs.source import PairSource
from tdfusion_edge.train.data.alignment import Shift, estimate_shift
from tdfusion_edge.train.data.inspection import KINDS, NOTES, Finding, inspect

ALIGNED = 40
"""Pairs whose shift is estimated, spread evenly over the set."""


class Alignment(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated shift of the infrared pictures against the visible ones, over several pairs."""

    pairs: int
    trusted: int
    """Pairs whose estimate is clear; the rest is of these alone."""
    dx: float | None = None
    """Median to the right, pixels; None without a trusted pair."""
    dy: float | None = None
    """Median downwards, pixels."""
    spread_dx: float | None = None
    """Half of the trusted pairs lie within this distance of the median, pixels."""
    spread_dy: float | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What :func:`check` found."""

    pairs: int
    """Stems that both sensors have, and the list names if there is one."""
    videos: int
    """Of these."""
    sizes: dict[str, int]
    """Pairs by ``WIDTHxHEIGHT``; the frames of a video count as one."""
    objects: dict[str, int]
    """Boxes by class."""
    pixels: dict[str, int]
    """Pixels of the masks by class, and of those that do not count."""
    empty: int
    """Pictures whose label says that there is no object."""
    alignment: Alignment
    faults: dict[str, list[str]]
    """Kind to what it was found in."""
    notes: dict[str, list[str]] = {}
    """What is no fault and worth knowing: kind to what it was found in, an object each."""


class DataSet(NamedTuple):
    """A data folder that was listed, with nothing opened yet."""

    files: Files
    names: list[str]
    """Stems that both sensors have, and the list names if there is one."""
    labels: LabelFiles | None
    faults: dict[str, list[str]]

    @property
    def read_from(self) -> list[Path]:
        """Folders and files that pairs and labels are read from."""
        labels = [] if self.labels is None else [self.labels.path]
        return [*self.files.folders, *self.files.infrared.values(), *self.files.visible.values(), *labels]


def open_set(folder: Path, source: PairSource) -> DataSet:
    """List a data folder.

    Raises:
        ConfigError: the labels' format needs the names of their classes.
        InputMissing: a sensor's folder or the list is not there or empty.
        RequestError: two files of a folder have one stem.
    """
    files = find_files(folder, source)
    faults: dict[str, list[str]] = {kind: [] for kind in KINDS}
    names = files.common
    if source.names is None:
        faults["infrared_only"] = [name for name in files.infrared if name not in files.visible]
        faults["visible_only"] = [name for name in files.visible if name not in files.infrared]
    else:
        common, wanted = set(names), listed(folder, source.names, files)
        names = [name for name in wanted if name in common]
        faults["unnamed"] = [name for name in wanted if name not in common]
    pictures = [name for name in names if not is_video(files.infrared[name])]
    labels = None
    if files.labels is not None and pictures:
        try:
            labels = find_labels(folder, files.labels, pictures)
            faults["unlabelled"] = list(labels.lacking)
        except InputMissing as error:
            faults["labels"] = [error.what]
    return DataSet(files, names, labels, faults)


def check(data: DataSet) -> tuple[Report, list[str]]:
    """Read every pair and label of a set.

    Returns:
        The report, and the stems of the pairs without a fault.

    Raises:
        RequestError: there is no pair.
    """
    if not data.names:
        raise RequestError("there is no pair to check", expected="files of one stem for both sensors")
    sampled = {data.names[index] for index in spaced(len(data.names), ALIGNED)}

    def one(name: str) -> tuple[Finding, Shift | None]:
        found = inspect(name, data.files, data.labels)
        shift = estimate_shift(*found.pair) if found.pair is not None and name in sampled else None
        return found._replace(pair=None), shift

    # Decoding and Fourier transforms release the interpreter: threads are enough. disable=None: a bar on
    # a terminal only.
    with ThreadPoolExecutor(cv2.getNumberOfCPUs()) as pool:
        results = pool.map(one, data.names)
        rows = list(tqdm(results, total=len(data.names), unit="pair", disable=None, leave=False))
    found = [row for row, _ in rows]
    faults = {kind: list(lines) for kind, lines in data.faults.items()}
    for kind, line in (fault for row in found for fault in row.faults):
        faults[kind].append(line)
    report = Report(
        pairs=len(data.names),
        videos=sum(is_video(data.files.infrared[name]) for name in data.names),
        sizes=_total(Counter([row.size]) for row in found if row.size is not None),
        objects=_total(row.objects for row in found),
        pixels=_total(row.pixels for row in found),
        empty=sum(row.empty for row in found),
        alignment=_alignment([shift for _, shift in rows if shift is not None]),
        faults={kind: lines for kind, lines in faults.items() if lines},
        notes=_notes(found),
    )
    return report, [name for name, row in zip(data.names, found, strict=True) if not row.faults]


def _notes(found: list[Finding]) -> dict[str, list[str]]:
    """Notes of all pairs by kind, in the order of :data:`NOTES`."""
    notes = [note for row in found for note in row.notes]
    kinds = (kind for kind in NOTES if any(kind == one for one, _ in notes))
    return {kind: [what for one, what in notes if one == kind] for kind in kinds}


def spaced(count: int, most: int) -> list[int]:
    """Up to ``most`` (2 or more) indices in 0..count - 1, spread evenly.

    >>> spaced(5, 9), spaced(9, 3)
    ([0, 1, 2, 3, 4], [0, 4, 8])
    """
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


def _total(counters: Iterable[Counter[str]]) -> dict[str, int]:
    """Sum of counts, the largest first."""
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return dict(total.most_common())


def _alignment(shifts: list[Shift]) -> Alignment:
    trusted = np.array([(shift.dx, shift.dy) for shift in shifts if shift.trusted])
    if not len(trusted):
        return Alignment(pairs=len(shifts), trusted=0)
    middle = np.median(trusted, axis=0)
    spread = np.median(np.abs(trusted - middle), axis=0)
    dx, dy, spread_dx, spread_dy = (round(float(value), 2) + 0.0 for value in (*middle, *spread))
    return Alignment(
        pairs=len(shifts),
        trusted=len(trusted),
        dx=dx,
        dy=dy,
        spread_dx=spread_dx,
        spread_dy=spread_dy,
    )
