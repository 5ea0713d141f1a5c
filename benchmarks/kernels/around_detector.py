"""What the two kernels around a detector move: one makes what it sees, one takes what it proposes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from benchmarks.kernels.emulator import Traffic
from tdfusion_edge.bundle import CHROMA, INFRARED, Bundle
from tdfusion_edge.runtime.engines.cuda import detector
from tdfusion_edge.runtime.engines.cuda.detector import Looking

Launched: TypeAlias = Callable[[str, int, int, int, ctypes.Structure, Mapping[str, Any]], Traffic]
"""Kernel, blocks, threads, shared memory, parameters, and arrays by the parameter that takes the address."""
COUNTED = 1 / 50
"""Share of the proposals whose score counts, many for a street."""


class Nowhere:
    """An engine that never runs; its memory is given with each launch."""

    addresses: Mapping[str, int] = MappingProxyType(
        dict.fromkeys(("luma", CHROMA, INFRARED, "boxes", "scores"), 0)
    )

    def enqueue(self, stream: int) -> None:
        """It is not asked to."""
        raise AssertionError(stream)


def around_detector(opened: Bundle, size: tuple[int, int], launched: Launched) -> dict[str, Traffic]:
    """Launch both once for a bundle's detector, on random pictures and proposals; neither where it has none.

    Args:
        opened: The bundle; its detector's graph is of one size.
        size: Width and height of the fused picture, pixels.
        launched: Does a launch, and tells what it moved.
    """
    if "detector" not in opened.manifest.graphs:
        return {}
    graph = opened.manifest.graphs["detector"]
    shapes: dict[str, Any] = {tensor.name: tensor.shape for tensor in (*graph.inputs, *graph.outputs)}
    (_, anchors, classes), (height, width) = shapes["scores"], shapes["luma"][2:]
    looking = Looking(Nowhere(), (width, height), graph.takes_chroma, graph.takes_infrared, anchors, classes)
    random = np.random.default_rng(0)
    constants = detector.shrink_constants(size, looking)
    shrink = {
        "luma": random.random(size[::-1], dtype=np.float32),
        "visible": random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8),
        **constants,
        "seen": np.zeros((height, width), np.float32),
    }
    if looking.colour:
        shrink["seen_chroma"] = np.zeros((2, height, width), np.float32)
    if looking.infrared:
        shrink["aligned"] = random.integers(0, 256, size[::-1], dtype=np.uint8)
        shrink["seen_infrared"] = np.zeros((height, width), np.float32)
    corners = random.uniform(0, width / 2, (anchors, 2))
    boxes = {
        "boxes": np.concatenate((corners, corners + 20), axis=1).astype(np.float32),
        "scores": random.random((anchors, classes), dtype=np.float32),
        "threshold": np.array([1 - COUNTED], np.float32),
        "found": np.zeros(detector.FOUND_BYTES, np.uint8),
    }
    blocks = detector.shrink_blocks(looking)
    seen = detector.shrink_parameters(size, looking, constants)
    taken = detector.boxes_parameters(size, looking)
    return {
        "what a detector sees": launched(detector.SHRINK, blocks, detector.SHRINK_THREADS, 0, seen, shrink),
        "boxes of a detector": launched(
            detector.BOXES, 1, detector.BOXES_THREADS, detector.BOXES_SHARED, taken, boxes
        ),
    }
