"""What a task makes of the 80 classes of COCO."""

from __future__ import annotations

from collections.abc import Sequence

from tdfusion_edge.coco import NAMES
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.text import few


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
            "coco of the network yolox", expected=f"names among {', '.join(NAMES)}", got=few(unknown)
        )
    return [[NAMES.index(name) for name in names] or [None] for names in coco]
