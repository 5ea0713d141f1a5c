"""A detector between two kernels of ours: its input is made on the GPU, and what it proposes is taken there.

``shrink`` makes the fused luma, chroma and infrared as small as the detector sees them; the detector's own
engine runs; ``boxes`` takes what counts. The kernels lie in ``kernels/shrink.cu`` and ``kernels/boxes.cu``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import CHROMA, INFRARED
from tdfusion_edge.detections import PROPOSALS, Proposals, scale_to
from tdfusion_edge.resize import taps_of
from tdfusion_edge.runtime.engines.base import Array, DeviceEngine, OnDevice
from tdfusion_edge.runtime.engines.cuda.parameters import BoxesParameters, ShrinkParameters
from tdfusion_edge.runtime.heads import Head
from tdfusion_edge.runtime.heads.boxes.run import Detector

SHRINK, SHRINK_THREADS = "shrink", 256
BOXES, BOXES_THREADS = "boxes", 512
BOXES_SHARED = 1116
"""Shared memory of its one block."""
HEAD, ROW = 4, 6
"""Words before the proposals, and of each."""
FOUND_BYTES = 4 * (HEAD + ROW * PROPOSALS)


@dataclass(frozen=True, slots=True)
class Looking:
    """A detector whose engine runs where our kernels do."""

    engine: OnDevice
    seen: tuple[int, int]
    """Width and height of what it sees, pixels."""
    colour: bool
    """Whether it sees chroma as well."""
    infrared: bool
    """Whether it sees infrared as well."""
    anchors: int
    """Boxes that it proposes."""
    classes: int


class Found(NamedTuple):
    """What a detector proposes with scores that count, and what is known of all of its scores."""

    proposals: Proposals
    low: float
    high: float
    finite: bool
    """Whether no score is NaN or infinite."""


def looking_of(head: Head | None) -> Looking | None:
    """The detector of a head, if its engine can run where its input lies.

    Raises:
        EngineError: it could, and cannot be loaded or built.
    """
    if not isinstance(head, Detector) or head.proposals is None:
        return None
    if not isinstance(head.engine, DeviceEngine):
        return None
    engine = head.engine.on_device()
    return Looking(engine, head.seen, head.colour, head.infrared, head.proposals, len(head.names))


def shrink_blocks(looking: Looking) -> int:
    """Blocks of ``shrink``: a thread a pixel that is seen."""
    return -(-looking.seen[0] * looking.seen[1] // SHRINK_THREADS)


def shrink_constants(size: tuple[int, int], looking: Looking) -> dict[str, Array]:
    """What ``shrink`` multiplies with, by its parameters' names.

    Args:
        size: Width and height of the fused picture.
        looking: The detector.
    """
    rows, columns = taps_of(size[::-1], *looking.seen)
    return {
        "row_first": rows.first, "row_weights": rows.weights,
        "column_first": columns.first, "column_weights": columns.weights,
    }  # fmt: skip


def shrink_parameters(
    size: tuple[int, int], looking: Looking, constants: dict[str, Array]
) -> ShrinkParameters:
    """Parameters with the addresses of the detector's inputs, and without those of pictures and constants."""
    width, height = looking.seen
    inputs = looking.engine.addresses
    return ShrinkParameters(
        width=size[0], visible_pitch=3 * size[0], seen_width=width, seen_height=height,
        row_taps=constants["row_weights"].shape[1], column_taps=constants["column_weights"].shape[1],
        seen=inputs["luma"], seen_chroma=inputs[CHROMA] if looking.colour else 0,
        seen_infrared=inputs[INFRARED] if looking.infrared else 0,
    )  # fmt: skip


def boxes_parameters(size: tuple[int, int], looking: Looking) -> BoxesParameters:
    """Parameters without the addresses of threshold and result."""
    scale = scale_to(size, looking.seen)
    outputs = looking.engine.addresses
    return BoxesParameters(
        boxes=outputs["boxes"], scores=outputs["scores"], scale_x=scale[0], scale_y=scale[1],
        picture_width=size[0], picture_height=size[1],
        anchors=looking.anchors, classes=looking.classes, most=PROPOSALS,
    )  # fmt: skip


def found_of(raw: npt.NDArray[np.uint8], classes: int) -> Found:
    """What ``boxes`` wrote, in arrays of its own.

    Args:
        raw: uint8 (:data:`FOUND_BYTES`,).
        classes: Of the detector.
    """
    words = raw.view(np.uint32)
    count, infinite = int(words[0]), int(words[3])
    low, high = words[1:3].view(np.float32).tolist()
    rows = words[HEAD:].reshape(PROPOSALS, ROW)[: min(count, PROPOSALS)]
    boxes, scores = rows[:, :4].copy().view(np.float32), rows[:, 4].copy().view(np.float32)
    places = rows[:, 5].astype(np.int64) % classes
    if count > PROPOSALS:  # as on the CPU: the best first, the earlier of two that are equal
        order = np.argsort(-scores, kind="stable")
        boxes, scores, places = boxes[order], scores[order], places[order]
    return Found(Proposals(boxes, scores, places), low, high, infinite == 0)
