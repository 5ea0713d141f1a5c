"""What is to be found in the picture of one sensor alone.

Labels of a pair are of what either sensor shows. Of the 352 persons by night in the pairs of MSRS that the
recipes train on, visible alone shows 64: a detector that is to find the others there learns to guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec.structs import replace

from tdfusion_edge.pairs import Labels, open_pairs
from tdfusion_edge.pairs.labels import HeadLabels
from tdfusion_edge.train.data.degradation.kinds import SENSORS, Sensor
from tdfusion_edge.train.recipe import DataSource

SensorLabels: TypeAlias = Mapping[Sensor, Sequence[HeadLabels | None]]
"""By sensor and by index of the pair; None: what is to be found in both."""


def sensor_labels(root: Path, sources: Sequence[DataSource], classes: Sequence[str]) -> SensorLabels:
    """The labels of each sensor alone, for each pair of the sources in their order; read and checked.

    Args:
        root: The data folder.
        sources: What is trained on. No picture of theirs is read.
        classes: T's.

    Returns:
        By sensor and pair; None where a source names no such labels.

    Raises:
        InputMissing: a picture has no such label.
        RequestError: a label is malformed.
    """
    found: dict[Sensor, list[HeadLabels | None]] = {sensor: [] for sensor in SENSORS}
    for source in sources:
        alone: dict[Sensor, Labels | None] = {
            "infrared": source.labels_infrared,
            "visible": source.labels_visible,
        }
        for sensor, own in alone.items():
            pairs = open_pairs(root, replace(source, labels=own), classes)
            found[sensor] += [None if own is None else pairs.labels] * len(pairs)
    return found
