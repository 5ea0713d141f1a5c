"""The kernels of F in their tile shapes: what each takes of a GPU, and how a block is launched.

A pass works tile by tile, with one pixel more at each side in `gram` and two in `apply`.
``kernels/attention.h`` and ``apply.h`` have the same arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.restormer.pack import CHUNK
from tdfusion_edge.runtime.engines.cuda.tiles import RESERVED, Limits

THREADS = 256
RESIDENT = 2
"""Blocks of one kernel that the registers of a multiprocessor hold."""
_SLOT = 256
"""Bytes of 16 inputs' weights for 8 outputs."""


class Kind(NamedTuple):
    """A kind of block."""

    name: str
    channels: int
    hidden: int
    heads: int
    apart: bool
    """Two streams of 16 channels that meet in the gates alone: no LayerNorm, no values across."""
    gram_tiles: tuple[tuple[int, int], ...]
    """Rows and columns of those that are compiled."""
    apply_tiles: tuple[tuple[int, int], ...]
    """Likewise; the small ones are for GPUs with little shared memory."""

    @property
    def sums(self) -> int:
        """Floats that a block of `gram` writes."""
        of_head = self.channels // self.heads
        return self.heads * (of_head * of_head + 2 * of_head)

    @property
    def mixing_bytes(self) -> int:
        """Of the matrix that `fold` makes; and of the values' weights."""
        tiles, steps = self.channels // 8, self.channels // 16
        return tiles * (1 if self.apart else steps) * _SLOT

    @property
    def fold_floats(self) -> int:
        """What `fold` is given: temperatures and projection."""
        return self.heads + self.channels * (16 if self.apart else self.channels)

    @property
    def gram_weight_bytes(self) -> int:
        """Weights of `gram`."""
        return self.channels // 4 * (self.channels // 16) * _SLOT + (9 + 2) * 4 * self.channels

    @property
    def apply_weight_bytes(self) -> int:
        """Weights of `apply`, the matrix of `fold` apart."""
        chunk = 4 * (self.channels // 16) * _SLOT + 9 * 4 * CHUNK + 8 * CHUNK + self.channels // 8 * _SLOT
        return self.mixing_bytes + (18 + 4) * self.channels + self.hidden // CHUNK * chunk

    @property
    def fold_shared_bytes(self) -> int:
        """Shared memory of a block of `fold`."""
        of_head = self.channels // self.heads
        return 4 * (self.sums + self.heads * of_head**2 + self.fold_floats)

    def gram_shared_bytes(self, height: int, width: int) -> int:
        """Shared memory of a block of `gram` with such tiles."""
        pixels = (height + 2) * (width + 2)
        summed = 4 * THREADS * self.sums // self.heads
        return self.gram_weight_bytes + max(pixels * (2 + 4) * self.channels, summed)

    def apply_shared_bytes(self, height: int, width: int) -> int:
        """Shared memory of a block of `apply` with such tiles."""
        row, near, around = 2 * self.channels, (height + 2) * (width + 2), (height + 4) * (width + 4)
        first = max(0 if self.apart else around * row, near * row, near * 4 * CHUNK)
        weights = self.apply_weight_bytes + self.mixing_bytes
        return weights + around * row + first + around * row + height * width * 2 * CHUNK


ENCODER = Kind("encoder", 16, 32, 8, False, ((16, 16),), ((8, 16), (16, 16)))
DECODER = Kind("decoder", 32, 64, 8, False, ((8, 16),), ((8, 8), (8, 16)))
MERGE = Kind("merge", 32, 128, 16, True, ((8, 16),), ((8, 8), (8, 16)))
KINDS = (ENCODER, DECODER, MERGE)

HEAD_TILE = 8, 16
HEAD_KERNEL = "head_8x16"
HEAD_WEIGHT_BYTES = 36 * _SLOT + 4 * 9 * 16
HEAD_SHARED_BYTES = HEAD_WEIGHT_BYTES + 12 * 20 * 64 + 10 * 18 * 32
STEM_SHARED_BYTES = 4 * 2 * 9 * 16


class Pass(NamedTuple):
    """How one pass is launched."""

    kernel: str
    blocks: int
    shared_bytes: int
    tile: tuple[int, int]


def pass_of(name: str, kind: Kind, size: tuple[int, int], streams: int, limits: Limits) -> Pass:
    """The tile whose slowest multiprocessor has the least pixels to make, and as many blocks as fit the GPU.

    Args:
        name: ``gram`` or ``apply``.
        kind: Of the block.
        size: Width and height of the picture, pixels.
        streams: That go through one launch.
        limits: Of the GPU.

    Raises:
        EngineError: no tile fits.
    """
    around = {"gram": 1, "apply": 2}[name]
    offered, taken = (
        (kind.gram_tiles, kind.gram_shared_bytes)
        if name == "gram"
        else (kind.apply_tiles, kind.apply_shared_bytes)
    )
    found = []
    for height, width in offered:
        shared = taken(height, width)
        if shared > limits.shared_per_block:
            continue
        tiles = -(-size[0] // width) * -(-size[1] // height)
        blocks = _blocks(tiles, streams, shared, limits)
        busiest = -(-tiles * streams // blocks) * -(-blocks // limits.multiprocessors)
        made = (height + 2 * around) * (width + 2 * around)  # pixels of a tile, with those around it
        kernel = f"{name}_{kind.name}_{height}x{width}"
        found.append((busiest * made, Pass(kernel, blocks, shared, (height, width))))
    if not found:
        least = min(taken(*tile) for tile in offered)
        raise EngineError(
            "the GPU has too little shared memory for our kernels",
            expected=f"{least} bytes a block",
            got=str(limits.shared_per_block),
        )
    return min(found, key=lambda one: one[0])[1]


def head_of(size: tuple[int, int], limits: Limits) -> Pass:
    """How the last two convolutions are launched."""
    tiles = -(-size[0] // HEAD_TILE[1]) * -(-size[1] // HEAD_TILE[0])
    blocks = _blocks(tiles, 1, HEAD_SHARED_BYTES, limits)
    return Pass(HEAD_KERNEL, blocks, HEAD_SHARED_BYTES, HEAD_TILE)


def stem_of(size: tuple[int, int], limits: Limits) -> Pass:
    """How both stems are launched: two threads a pixel and stream."""
    wanted = -(-4 * size[0] * size[1] // THREADS)
    resident = limits.threads_per_multiprocessor // THREADS
    return Pass("stem", min(wanted, resident * limits.multiprocessors), STEM_SHARED_BYTES, (1, THREADS))


def _blocks(tiles: int, streams: int, shared: int, limits: Limits) -> int:
    """As many as are resident at a time, equally many a stream."""
    by_memory = limits.shared_per_multiprocessor // (shared + RESERVED)
    resident = max(1, min(by_memory, limits.threads_per_multiprocessor // THREADS, RESIDENT))
    return streams * min(tiles, max(1, resident * limits.multiprocessors // streams))
