"""Blocks of F for the emulated kernels: random weights in PyTorch's own modules, features, launches."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.kernels.emulator import Launch
from benchmarks.kernels.restormer import block_of, merge_of, weights_of
from tdfusion_edge.runtime.engines.cuda.parameters import (
    ApplyParameters,
    FoldParameters,
    GramParameters,
    HeadParameters,
    StemParameters,
)
from tdfusion_edge.runtime.engines.cuda.restormer import pack
from tdfusion_edge.runtime.engines.cuda.restormer.plan import (
    DECODER,
    ENCODER,
    HEAD_KERNEL,
    HEAD_SHARED_BYTES,
    MERGE,
    STEM_SHARED_BYTES,
    THREADS,
    Kind,
)
from tdfusion_edge.train.models.tdfusion import TDFusion

GUARD = 64
"""Bytes of poison behind what is written."""
POISON = 0xA5


def network(seed: int = 0) -> TDFusion:
    """F with weights that nothing of it can be left out of without notice."""
    torch.manual_seed(seed)
    made = TDFusion()
    with torch.no_grad():
        for name, one in made.named_parameters():
            if "temperature" in name:
                one.copy_(0.5 + 2 * torch.rand_like(one))
            elif ".norm" in name:
                one.copy_((0 if name.endswith("bias") else 1) + 0.2 * torch.randn_like(one))
            else:
                one.copy_(one.half())
    return made.eval()


@dataclass(eq=False)
class BlockCase:
    """One block on random features."""

    kind: Kind
    tile: tuple[int, int]
    """Of the second pass."""
    size: tuple[int, int]
    seed: int = 0
    blocks: int = 2
    backwards: bool = False
    scale: float = 1.0
    given: Any = field(init=False)
    """float16 (streams, H, W, C)"""
    wanted: Any = field(init=False)
    """float32, likewise."""
    made: Any = field(init=False)
    """What the kernels wrote: float16 (streams, H, W, C), and poison."""

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        width, height = self.size
        streams = 2 if self.kind is ENCODER else 1
        shape = streams, height, width, self.kind.channels
        self.given = (self.scale * random.normal(size=shape)).astype(np.float16)
        net = network(self.seed)
        planes = torch.from_numpy(self.given.astype(np.float32)).permute(0, 3, 1, 2)
        packed: list[pack.Packed]
        if self.kind is MERGE:
            ways: list[Callable[[Tensor], Tensor]] = [lambda x: net.merge(x[:, :16], x[:, 16:])]
            packed = [pack.pack_merge(merge_of(net.merge))]
        else:
            blocks = (
                [net.decoder[0]]
                if self.kind is DECODER
                else [net.encoder_infrared[0], net.encoder_visible[1]]
            )
            ways, packed = blocks, [pack.pack_block(block_of(one)) for one in blocks]  # type: ignore[assignment]
        with torch.no_grad():
            done = torch.cat([way(planes[i : i + 1]) for i, way in enumerate(ways)])
        self.wanted = done.permute(0, 2, 3, 1).numpy()
        self._packed = [np.concatenate(one) for one in zip(*packed, strict=True)]
        self.made = np.full(self.given.nbytes + GUARD, POISON, np.uint8)
        self.partial = np.full(self.blocks * streams * self.kind.sums, np.nan, np.float32)
        self.mixing = np.full(streams * self.kind.mixing_bytes, POISON, np.uint8)

    @property
    def features(self) -> Any:
        """What was made, float32."""
        return self.made[:-GUARD].view(np.float16).reshape(self.given.shape).astype(np.float32)

    @property
    def gram_tile(self) -> tuple[int, int]:
        return self.kind.gram_tiles[0]

    def launches(self) -> list[Launch]:
        """The three, in their order."""
        return [self.gram(), self.fold(), self.apply()]

    def _shape(self) -> dict[str, int]:
        streams, height, width, channels = self.given.shape
        return {"width": width, "height": height, "streams": streams, "pixel_bytes": 2 * channels}

    def gram(self) -> Launch:
        streams, height, width, channels = self.given.shape
        p = GramParameters(stream_bytes=height * width * 2 * channels, **self._shape())
        gram_kernel = "gram_{}_{}x{}".format(self.kind.name, *self.gram_tile)
        shared = self.kind.gram_shared_bytes(*self.gram_tile)
        buffers = {"source": self.given, "weights": self._packed[0], "partial": self.partial}
        return Launch(gram_kernel, self.blocks * streams, THREADS, shared, p, buffers, self.backwards)

    def fold(self) -> Launch:
        streams, height, width, _ = self.given.shape
        p = FoldParameters(share=1 / (height * width), blocks=self.blocks, streams=streams)
        buffers = {"partial": self.partial, "weights": self._packed[1], "mixing": self.mixing}
        shared = self.kind.fold_shared_bytes
        return Launch(f"fold_{self.kind.name}", streams, THREADS, shared, p, buffers, self.backwards)

    def apply(self) -> Launch:
        streams, height, width, channels = self.given.shape
        stream = height * width * 2 * channels
        p = ApplyParameters(
            stream_bytes=stream, target_stream_bytes=stream, target_pixel_bytes=2 * channels, **self._shape()
        )
        buffers = {
            "source": self.given,
            "weights": self._packed[2],
            "mixing": self.mixing,
            "target": self.made,
        }
        apply_kernel = "apply_{}_{}x{}".format(self.kind.name, *self.tile)
        shared = self.kind.apply_shared_bytes(*self.tile)
        return Launch(apply_kernel, self.blocks * streams, THREADS, shared, p, buffers, self.backwards)


def stem_launch(net: TDFusion, pictures: Any, target: Any, blocks: int = 3) -> Launch:
    """Both stems on uint8 (2, H, W)."""
    _, height, width = pictures.shape
    p = StemParameters(width=width, height=height, infrared_pitch=width, visible_pitch=width)
    weights = pack.pack_stems(weights_of(net))
    buffers = {
        "infrared": pictures[0].copy(),
        "visible": pictures[1].copy(),
        "weights": weights,
        "target": target,
    }
    return Launch("stem", blocks, THREADS, STEM_SHARED_BYTES, p, buffers)


def head_launch(net: TDFusion, features: Any, luma: Any, blocks: int = 3) -> Launch:
    """The end, on float16 (H, W, 32)."""
    height, width, _ = features.shape
    p: ctypes.Structure = HeadParameters(width=width, height=height)
    buffers = {"source": features, "weights": pack.pack_head(weights_of(net)), "luma": luma}
    return Launch(HEAD_KERNEL, blocks, THREADS, HEAD_SHARED_BYTES, p, buffers)
