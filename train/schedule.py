"""How the learning rate goes over a training."""

from __future__ import annotations

import math

from tdfusion_edge.train.recipe import Optimiser

DECAY, PARTS = 0.1, 4
"""The released code multiplies by 0.1 every 10 of 40 epochs."""


def rate_factor(step: int, steps: int, optimiser: Optimiser) -> float:
    """Share of the recipe's learning rate at a step counted from 1, in [0, 1].

    >>> cosine = Optimiser(steps=100)
    >>> [round(rate_factor(step, 100, cosine), 2) for step in (1, 5, 52, 100)]
    [0.2, 1.0, 0.51, 0.0]
    >>> [round(rate_factor(step, 8, Optimiser(steps=8, schedule="step")), 3) for step in (2, 3, 8)]
    [1.0, 0.1, 0.001]
    """
    if optimiser.schedule == "constant":
        return 1.0
    if optimiser.schedule == "step":
        return float(DECAY ** ((step - 1) * PARTS // steps))
    warm_up = max(1, round(optimiser.warm_up * steps))
    if step <= warm_up:
        return step / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2
