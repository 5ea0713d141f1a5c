"""The 80 classes of COCO (Lin et al., ECCV 2014, arXiv 1405.0312), and what a task makes of them."""

from __future__ import annotations

from collections.abc import Sequence

from tdfusion_edge.errors import ConfigError

LISTED = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, "
    "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, "
    "backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, "
    "baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, "
    "bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, "
    "potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, "
    "oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
)
NAMES = tuple(name.strip() for name in LISTED.split(","))
"""In the order of published weights."""


def rows_of(coco: Sequence[Sequence[str]], classes: int) -> list[list[int | None]]:
    """For each class of a task the rows of COCO that it is the largest of; ``[None]`` where it has none.

    Args:
        coco: For each class the names of COCO's classes; none: a row of its own that starts afresh.
        classes: Number of classes of the task.

    Raises:
        ConfigError: COCO has no such class, or they are not as many lists.

    >>> rows_of([["person"], ["car", "bus", "truck"], []], 3)
    [[0], [2, 5, 7], [None]]
    """
    if isinstance(coco, str) or any(isinstance(names, str) for names in coco):
        raise ConfigError(
            "coco of the network yolox", expected="a list of names for each class", got="a name without one"
        )
    if len(coco) != classes:
        raise ConfigError(
            "coco of the network yolox",
            expected=f"{classes} lists of COCO's classes, one a class of the task",
            got=str(len(coco)),
        )
    if unknown := [name for names in coco for name in names if name not in NAMES]:
        raise ConfigError(
            "coco of the network yolox", expected=f"names among {', '.join(NAMES)}", got=", ".join(unknown)
        )
    return [[NAMES.index(name) for name in names] or [None] for names in coco]
