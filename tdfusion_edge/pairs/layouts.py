"""Where a data folder keeps its two sensors and its labels.

What each row rests on:

- ``msrs``: the set's README names ``train/ir``, ``train/vi``, ``test/ir`` and ``test/vi``; the folder
  ``Segmentation_labels`` and the nine classes, which are MFNet's, are as third-party loaders have them.
- ``fmb``: ``train/Visible``, ``train/Infrared`` and the parts are as third-party configurations have them,
  ``Label`` and the fifteen classes as two third-party loaders do.
- ``m3fd``: ``Ir``, ``Vis``, ``Annotation`` (VOC XML) and the six classes are as several third-party
  scripts have them. The set comes without an official division into parts.
- ``llvip``: the README that comes with the set and its repository's name all folders; one class, ``person``.

None of them was read from an original archive, so ``tdfusion-edge dataset check`` comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from tdfusion_edge.config import Table
from tdfusion_edge.errors import RequestError
from tdfusion_edge.pairs.source import Labels, PairSource


class Layout(Table, frozen=True, kw_only=True):
    """One row of the table. ``{part}`` in a folder stands for a name from ``parts``."""

    infrared: tuple[str, ...]
    """Folders that may hold the infrared pictures; the first that exists is taken."""
    visible: tuple[str, ...]
    parts: dict[str, str] = {}
    """``part`` of a data source to the set's own folder name; empty: not divided by folders."""
    needs_names: bool = False
    """Whether training and validation can only be told apart by a list of names."""
    labels: Labels | None = None
    """Where the set keeps its labels, and what their classes are called."""


class Place(NamedTuple):
    """The folders of one data source."""

    infrared: Path
    visible: Path
    labels: Labels | None
    """Its ``path`` is relative to the data source's folder."""


_TRAIN_TEST = {"train": "train", "validation": "test"}

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "plain": Layout(infrared=("ir", "infrared"), visible=("vi", "visible")),
        "msrs": Layout(
            infrared=("{part}/ir",),
            visible=("{part}/vi",),
            parts=_TRAIN_TEST,
            labels=Labels(
                format="mask",
                path="{part}/Segmentation_labels",
                classes=(
                    "background",
                    "car",
                    "person",
                    "bike",
                    "curve",
                    "car_stop",
                    "guardrail",
                    "color_cone",
                    "bump",
                ),
            ),
        ),
        "fmb": Layout(
            infrared=("{part}/Infrared",),
            visible=("{part}/Visible",),
            parts=_TRAIN_TEST,
            labels=Labels(
                format="mask",
                path="{part}/Label",
                classes=(
                    "background",
                    "Road",
                    "Sidewalk",
                    "Building",
                    "Lamp",
                    "Sign",
                    "Vegetation",
                    "Sky",
                    "Person",
                    "Car",
                    "Truck",
                    "Bus",
                    "Motorcycle",
                    "Bicycle",
                    "Pole",
                ),
            ),
        ),
        "m3fd": Layout(
            infrared=("Ir", "ir"),
            visible=("Vis", "vis", "vi"),
            needs_names=True,
            labels=Labels(
                format="voc",
                path="Annotation",
                classes=("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck"),
            ),
        ),
        "llvip": Layout(
            infrared=("infrared/{part}",),
            visible=("visible/{part}",),
            parts=_TRAIN_TEST,
            labels=Labels(format="voc", path="Annotations", classes=("person",)),
        ),
    }
)
"""Read-only; the names are those of ``layout`` in a recipe."""


def locate(folder: Path, source: PairSource) -> Place:
    """The folders of a data source in ``folder``; they need not exist.

    The source's own ``labels`` stand before those of the layout; ``{part}`` may stand in both.
    """
    layout = LAYOUTS[source.layout]
    part = layout.parts.get(source.part, "")

    def first(candidates: tuple[str, ...]) -> Path:
        paths = [folder / candidate.replace("{part}", part) for candidate in candidates]
        return next((path for path in paths if path.is_dir()), paths[0])

    labels = source.labels or layout.labels
    if labels is not None:
        labels = replace(labels, path=labels.path.replace("{part}", part))
    return Place(first(layout.infrared), first(layout.visible), labels)


def require_division(source: PairSource) -> None:
    """Refuse to train on all of a set whose parts only a list can tell apart.

    Raises:
        RequestError: the layout is such a set's, and the source has no ``names``.
    """
    if LAYOUTS[source.layout].needs_names and source.names is None:
        raise RequestError(
            f"{source.layout} is not divided into training and validation",
            expected=f'names = "FILE" beside layout = "{source.layout}"',
            got="every pair for both",
            hint="Write two lists with one stem a line into the data folder; scenes belong together.",
        )
