"""Weights of F in the order in which the kernels read them.

``kernels/attention.h``, ``apply.h`` and ``ends.h`` have the same offsets. LayerNorm's scale is multiplied
into the 1x1 convolution behind it, and its shift becomes a bias there. A merge is packed as a block of 32
channels with 16 heads, whose matrices are zero where streams do not meet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.restormer.network import (
    F32,
    HEADS,
    WIDTH,
    Block,
    Merge,
    Network,
    Norm,
)

Bytes = npt.NDArray[np.uint8]
CHUNK = 16
"""Hidden channels that the feed-forward makes at a time."""
_LANES = np.arange(32)
_GROUP, _THREAD = _LANES // 4, _LANES % 4


class Packed(NamedTuple):
    """One block, for the three launches."""

    gram: Bytes
    fold: Bytes
    apply: Bytes


class _Point(NamedTuple):
    """A 1x1 convolution (out, in) with a bias, and the depth-wise one behind it (out, 9)."""

    weight: F32
    bias: F32
    depth: F32

    def rows(self, order: npt.NDArray[np.intp] | slice) -> _Point:
        return _Point(self.weight[order], self.bias[order], self.depth[order])


class _Unified(NamedTuple):
    """What a block and a merge have in common; ``heads`` of equal size lie one behind the other."""

    heads: int
    q: _Point
    k: _Point
    v: _Point
    temperature: F32
    project: F32
    """(C, inputs of the same stream)"""
    gate: _Point
    value: _Point
    out: F32
    apart: bool
    """Whether values stay in their stream of 16 channels."""


def pack_block(block: Block) -> Packed:
    """A Restormer block.

    Raises:
        EngineError: a weight that FP16 does not hold.
    """
    channels, hidden = block.project.shape[0], block.out.shape[1]
    qkv = _normalised(block.norm1, block.qkv.point, block.qkv.depth)
    q, k, v = (qkv.rows(slice(i * channels, (i + 1) * channels)) for i in range(3))
    fed = _normalised(block.norm2, block.expand.point, block.expand.depth)
    gate, value = fed.rows(slice(0, hidden)), fed.rows(slice(hidden, 2 * hidden))
    return _packed(
        _Unified(HEADS, q, k, v, block.temperature, block.project, gate, value, block.out, apart=False)
    )


def pack_merge(merge: Merge) -> Packed:
    """The cross-attention merge.

    Heads 0 to 7 mix infrared's values, by visible's queries, and 8 to 15 the other way round.

    Raises:
        EngineError: a weight that FP16 does not hold.
    """
    parts = []
    for stream, one in enumerate(merge.qkv):
        wide = np.zeros((3 * WIDTH, 2 * WIDTH), np.float32)
        wide[:, stream * WIDTH : (stream + 1) * WIDTH] = one.point
        point = _plain(wide, one.depth)
        parts.append([point.rows(slice(i * WIDTH, (i + 1) * WIDTH)) for i in range(3)])
    infrared, visible = parts
    values = []
    for stream, one in enumerate(merge.value):
        wide = np.zeros((one.point.shape[0], 2 * WIDTH), np.float32)
        wide[:, stream * WIDTH : (stream + 1) * WIDTH] = one.point
        values.append(_plain(wide, one.depth))
    return _packed(
        _Unified(
            2 * HEADS,
            _both(visible[0], infrared[0]),
            _both(infrared[1], visible[1]),
            _both(infrared[2], visible[2]),
            np.concatenate(merge.temperature),
            np.concatenate(merge.project),
            _plain(merge.gates.point, merge.gates.depth),
            _both(*values),
            np.concatenate(merge.out, axis=1),
            apart=True,
        )
    )


def pack_stems(network: Network) -> Bytes:
    """Both stems: stream, tap, channel, in float32."""
    return _raw(np.stack([stem.reshape(WIDTH, 9).T for stem in network.stems]).astype("<f4"))


def pack_head(network: Network) -> Bytes:
    """The two convolutions behind the blocks.

    Raises:
        EngineError: a weight that FP16 does not hold.
    """
    taps = network.head1.transpose(2, 3, 1, 0).reshape(9 * 2 * WIDTH, WIDTH)
    last = network.head2.reshape(WIDTH, 9).T.astype("<f4")
    return np.concatenate((_raw(fragments(taps)), _raw(last)))


def fragments(matrix: F32) -> npt.NDArray[np.float16]:
    """B (K, N) of ``mma.m16n8k16`` in halves: (K / 16, N / 8, 32 lanes, 4).

    Raises:
        EngineError: a weight that FP16 does not hold.
    """
    halves = _halves(matrix)
    # Lane l holds rows 2t, 2t+1, 2t+8, 2t+9 of column g.
    rows = np.concatenate([2 * _THREAD[:, None] + np.arange(2) + base for base in (0, 8)], axis=1)
    return np.stack(
        [
            [halves[step + rows, column + _GROUP[:, None]] for column in range(0, matrix.shape[1], 8)]
            for step in range(0, matrix.shape[0], 16)
        ]
    )


def _packed(one: _Unified) -> Packed:
    channels = one.project.shape[0]
    of_head = channels // one.heads
    # Head by head its queries, then its keys.
    queries = np.arange(channels).reshape(one.heads, of_head)
    order = np.concatenate((queries, queries + channels), axis=1).ravel()
    qk = _both(one.q, one.k).rows(order)
    gram = (_raw(fragments(qk.weight.T)), _taps(qk.depth), _floats(qk.bias))
    fold = np.concatenate((one.temperature.ravel(), one.project.ravel())).astype("<f4")
    return Packed(np.concatenate(gram), _raw(fold), _packed_apply(one))


def _packed_apply(one: _Unified) -> Bytes:
    if one.apart:
        streams = [slice(i, i + WIDTH) for i in range(0, one.project.shape[0], WIDTH)]
        values = np.concatenate([_raw(fragments(one.v.weight[rows, rows].T)) for rows in streams])
    else:
        values = _raw(fragments(one.v.weight.T))
    parts = [values, _taps(one.v.depth), _floats(one.v.bias)]
    chunks = []
    for first in range(0, one.out.shape[1], CHUNK):
        gate, value = (point.rows(slice(first, first + CHUNK)) for point in (one.gate, one.value))
        pairs = np.concatenate(
            (gate.depth.T.reshape(9, -1, 2), value.depth.T.reshape(9, -1, 2)), axis=2
        )  # tap, pair, two gates and two values
        chunks.append(
            (
                _raw(fragments(np.concatenate((gate.weight, value.weight)).T)),
                _raw(_halves(pairs)),
                _floats(np.concatenate((gate.bias, value.bias))),
                _raw(fragments(one.out[:, first : first + CHUNK].T)),
            )
        )
    parts += [chunk[kind] for kind in range(4) for chunk in chunks]
    return np.concatenate(parts)


def _normalised(norm: Norm, weight: F32, depth: F32) -> _Point:
    return _Point(weight * norm.scale, weight @ norm.shift, depth.reshape(-1, 9))


def _plain(weight: F32, depth: F32) -> _Point:
    return _Point(weight, np.zeros(len(weight), np.float32), depth.reshape(-1, 9))


def _both(one: _Point, other: _Point) -> _Point:
    return _Point(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))


def _taps(depth: F32) -> Bytes:
    return _raw(_halves(np.ascontiguousarray(depth.T)))


def _floats(values: F32) -> Bytes:
    return _raw(values.astype("<f4"))


def _halves(values: F32) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halves: npt.NDArray[np.float16] = values.astype("<f2")
    if not np.isfinite(halves).all():
        raise EngineError("a weight of the fusion graph is none in FP16", hint="Take another back end.")
    return halves


def _raw(array: npt.NDArray[np.generic]) -> Bytes:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
