"""The kernel `edge` in its tile shapes: what each takes of a GPU, and which one a picture gets.

A block makes the gains of a tile of cells (2x2 pixels) out of what is 3 cells around it. Larger tiles compute
and load less around themselves, smaller ones leave room for more blocks. ``kernels/tile.h`` has the same
arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.weights import CHANNELS, WEIGHT_BYTES

THREADS = 256
RESERVED = 1024
"""Bytes of shared memory that CUDA keeps of every block, from SM 80 on."""


class Tile(NamedTuple):
    """One shape: rows and columns of cells."""

    height: int
    width: int

    @property
    def kernel(self) -> str:
        """Its function's name."""
        return f"edge_{self.height}x{self.width}"

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block."""
        stem, first = (self.height + 6, self.width + 6), (self.height + 4, self.width + 4)
        pair_bytes = 2 * (2 * stem[0] + 1) * (2 * stem[1] + 1)
        features = 2 * CHANNELS * (stem[0] * stem[1] + first[0] * first[1])
        colour = 3 * 4 * self.height * self.width
        return _aligned(WEIGHT_BYTES) + _aligned(pair_bytes) + features + colour + 16

    def tiles_of(self, width: int, height: int) -> int:
        """Tiles of a picture."""
        rows, columns = -(-height // 2), -(-width // 2)
        return -(-rows // self.height) * -(-columns // self.width)

    def work(self, width: int, height: int) -> int:
        """Multiplications of a picture in thousands, what is computed around the tiles included."""
        stem = (self.height + 6) * (self.width + 6) * 2 * 9 * CHANNELS
        first, second = ((self.height + n) * (self.width + n) * CHANNELS * 9 * CHANNELS for n in (4, 2))
        return self.tiles_of(width, height) * (stem + first + second) // 1000


TILES = (Tile(16, 16), Tile(8, 32), Tile(16, 32))
"""Those that are compiled."""


class Limits(NamedTuple):
    """What decides of a GPU which tile is taken."""

    multiprocessors: int
    shared_per_block: int
    """Bytes that a block may take (``MAX_SHARED_MEMORY_PER_BLOCK_OPTIN``)."""
    shared_per_multiprocessor: int
    threads_per_multiprocessor: int


class Plan(NamedTuple):
    """How `edge` is launched for one size of pictures."""

    tile: Tile
    blocks: int
    resident: int
    """Blocks that one multiprocessor holds at a time."""
    reason: str


def plan(width: int, height: int, limits: Limits) -> Plan:
    """The tile whose slowest multiprocessor has the least to do, and as many blocks as fit the GPU at a time.

    Args:
        width: Of the visible picture, pixels.
        height: Of the visible picture, pixels.
        limits: Of the GPU.

    Raises:
        EngineError: no tile fits.
    """
    plans = []
    for tile in TILES:
        if tile.shared_bytes > limits.shared_per_block:
            continue
        by_memory = limits.shared_per_multiprocessor // (tile.shared_bytes + RESERVED)
        resident = max(1, min(by_memory, limits.threads_per_multiprocessor // THREADS))
        tiles = tile.tiles_of(width, height)
        blocks = min(tiles, resident * limits.multiprocessors)
        busiest = -(-tiles // blocks) * -(-blocks // limits.multiprocessors)  # tiles on one multiprocessor
        cost = busiest * tile.work(width, height) / tiles
        reason = f"{tiles} tiles, at most {busiest} on one of {limits.multiprocessors} multiprocessors"
        plans.append((cost, -resident, Plan(tile, blocks, resident, reason)))
    if not plans:
        raise EngineError(
            "the GPU has too little shared memory for our kernel",
            expected=f"{min(tile.shared_bytes for tile in TILES)} bytes a block",
            got=str(limits.shared_per_block),
        )
    return min(plans, key=lambda one: one[:2])[2]


def _aligned(size: int) -> int:
    return -(-size // 16) * 16
