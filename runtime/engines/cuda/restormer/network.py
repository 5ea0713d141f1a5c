"""Weights of the paper's F, in float32 and in PyTorch's order: out, in.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.3; ``train/models/tdfusion.py`` has the network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
WIDTH, HEADS = 16, 8
"""Channels of a stream; the decoder has twice as many. Heads of an attention."""


class Norm(NamedTuple):
    """LayerNorm over channels."""

    scale: F32
    """(C,)"""
    shift: F32


class Separable(NamedTuple):
    """A 1x1 convolution and the depth-wise 3x3 one behind it."""

    point: F32
    """(out, in)"""
    depth: F32
    """(out, 3, 3)"""


class Block(NamedTuple):
    """A Restormer block of C channels."""

    norm1: Norm
    qkv: Separable
    """3C out of C: queries, keys, values."""
    temperature: F32
    """(8,)"""
    project: F32
    """(C, C)"""
    norm2: Norm
    expand: Separable
    """4C out of C: gates, then values."""
    out: F32
    """(C, 2C)"""


class Merge(NamedTuple):
    """The cross-attention merge; pairs are infrared and visible."""

    qkv: tuple[Separable, Separable]
    temperature: tuple[F32, F32]
    project: tuple[F32, F32]
    gates: Separable
    """128 out of 32: 64 for infrared, 64 for visible."""
    value: tuple[Separable, Separable]
    """64 out of 16."""
    out: tuple[F32, F32]
    """(32, 64)"""


class Network(NamedTuple):
    """All of F."""

    stems: tuple[F32, F32]
    """(16, 3, 3), infrared and visible."""
    encoders: tuple[tuple[Block, Block], tuple[Block, Block]]
    """Of infrared and of visible, in their order."""
    merge: Merge
    decoder: tuple[Block, Block]
    head1: F32
    """(16, 32, 3, 3)"""
    head2: F32
    """(16, 3, 3)"""
