"""Which pairs of a training are degraded, how, and what is right for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.train.data.degradation.kinds import GONE, SENSORS, Sensor, alone, degrade
from tdfusion_edge.train.data.degradation.labels import SensorLabels
from tdfusion_edge.train.recipe import Augmentation


class Seen(Protocol):
    """One pair as the networks of a strategy see it: the strategy's own ``seen``."""

    def __call__(self, pair: LabelledPair, *, alone: bool = False) -> LabelledPair:
        """The pair, of which ``alone`` says that both pictures are the one sensor's that is there."""


class Degraded(NamedTuple):
    """One pair of which one sensor is degraded."""

    fused: LabelledPair
    """What F fuses: of a sensor that is missing, zeros."""
    shown: LabelledPair
    """What T's picture is made of; where a sensor is missing, the other one in both places."""
    alone: bool
    """T sees that one as it is, as the runtime shows it, and no fused picture."""
    gone: Sensor | None
    """The sensor that the fused picture is not to follow, if there is one."""


class Degrader:
    """Decides by chance which pairs are degraded.

    Args:
        samples: The pairs as they were read, by the feed's indices.
        augmentation: ``degraded`` and ``degradations``.
        seen: What the networks see of a pair.
        labels: What is to be found in each sensor alone, by the same indices; None: as in both.
    """

    def __init__(
        self,
        samples: Sequence[LabelledPair],
        augmentation: Augmentation,
        seen: Seen,
        labels: SensorLabels,
    ) -> None:
        self._samples, self._seen, self._labels = samples, seen, labels
        self._share, self._kinds = augmentation.degraded, augmentation.degradations

    def __call__(
        self, index: int, other: Callable[[np.random.Generator], int], random: np.random.Generator
    ) -> Degraded | None:
        """One pair degraded, or None where it stays as it is.

        Args:
            index: Of the pair.
            other: Index of any other pair, for what is frozen.
            random: What decides.
        """
        if random.random() >= self._share:
            return None
        kind = self._kinds[int(random.integers(len(self._kinds)))]
        # The labels and the colours are where visible is: a shift between the sensors is infrared's.
        sensor = "infrared" if kind == "shift" else SENSORS[int(random.integers(2))]
        strength = float(random.uniform())
        pair = self._samples[index]
        another = self._samples[other(random)] if kind == "frozen" else None
        fused = degrade(pair, kind, sensor, strength, random, another)
        missing = kind == "missing"
        shown = self._seen(alone(pair, sensor) if missing else fused, alone=missing)
        if kind not in GONE:
            return Degraded(fused, shown, missing, None)
        own = self._labels["visible" if sensor == "infrared" else "infrared"][index]
        if own is not None:
            boxes, mask = own.of(pair.name, *pair.visible.shape)
            shown = shown._replace(boxes=boxes, mask=mask)
        return Degraded(fused, shown, missing, sensor)
