"""What a kind of head has to say for itself when a network of it is exported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from tdfusion_edge.bundle import CHROMA, INFRARED
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.graph import smooth_pair
from tdfusion_edge.export.precisions import StayFloat
from tdfusion_edge.train.models.task import TaskNetwork

PICTURES = 3
"""Random pictures that a network and its graph are compared on."""


class Gap(NamedTuple):
    """How far a graph is from its network."""

    max_error: float
    """Of a score."""
    figures: dict[str, float]
    """What else was measured, by the names that a manifest's parity rows have."""


class Compare(Protocol):
    """Compares a network with its float32 graph."""

    def __call__(self, network: TaskNetwork, graph: bytes, view: TaskView) -> Gap:
        """The largest differences over several pictures.

        Raises:
            ExportError: one passes its tolerance or is not finite, or the network gives something else.
        """


class Kind(NamedTuple):
    """A kind of head."""

    head: str
    """Name of the head and of its graph in a bundle."""
    title: str
    """What people call such a network."""
    finds: str
    """What the model card says it does, with ``{classes}`` and ``{threshold}``."""
    scored: bool
    """Whether only what gets more than a score counts."""
    in_one_pass: bool
    """Whether the one-pass graph can hold it; beside a head that it cannot hold there is none."""
    stay_float: StayFloat
    """Convolutions that INT8 would cost too much at."""
    figures: Mapping[str, str]
    """How a figure of a parity row is put in words, by its name."""
    compare: Compare


def pictures(view: TaskView, planes: Collection[str]) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """:data:`PICTURES` smooth random pictures of the head's size, as its graph takes them.

    Args:
        view: The head's.
        planes: Names of what it sees, of :data:`tdfusion_edge.bundle.PLANES`.

    Yields:
        By these names (1, 1, h, w) float32 in [0, 1], chroma (1, 2, h, w).
    """
    for seed in range(PICTURES):
        luma, infrared = smooth_pair(view.height, view.width, seed)
        given = {"luma": luma}
        if CHROMA in planes:
            given[CHROMA] = np.concatenate(smooth_pair(view.height, view.width, PICTURES + seed), axis=1)
        if INFRARED in planes:
            given[INFRARED] = infrared
        yield given


def require_finite(title: str, *arrays: npt.NDArray[np.float32] | torch.Tensor) -> None:
    """Refuse NaN and infinity.

    Raises:
        ExportError: one is there.
    """
    if not all(np.isfinite(np.asarray(array)).all() for array in arrays):
        raise ExportError(f"what the {title} gives is not finite")
