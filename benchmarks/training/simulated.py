"""Labelled pairs of the simulated street, for what needs some pictures and no particular ones."""

from __future__ import annotations

from tdfusion_edge.color import luma
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.runtime.simulation.scene import Scene
from tdfusion_edge.runtime.simulation.truth import NAMES

CLASSES = NAMES
APART_S = 3.5
"""Seconds from one pair to the next."""


def pairs(count: int, size: tuple[int, int] = (640, 480), seed: int = 0) -> list[LabelledPair]:
    """So many pairs of one street, with their true boxes."""
    scene = Scene(seed, size)
    samples = []
    for number in range(count):
        time_s = number * APART_S
        truth = scene.truth(time_s)
        infrared, visible = luma(scene.infrared(time_s)), luma(scene.visible(time_s))
        samples.append(LabelledPair(f"{number:03d}", infrared, visible, Boxes(truth.boxes, truth.class_ids)))
    return samples
