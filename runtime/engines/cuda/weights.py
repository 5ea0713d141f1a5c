"""``edge`` told from a bundle's graph, and its weights in the order in which the kernel reads them.

The kernel is made for one shape of the network: 16 channels and two layers between stem and head. A graph of
another network, or of another shape of this one, is refused with the node at which it differs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.graph import Node, OnnxGraph, read

F32 = npt.NDArray[np.float32]

CHANNELS, LAYERS, GAINS = 16, 2, 2
MOST_HALF = 65504.0
WEIGHT_BYTES = 10_448
"""What :func:`pack` gives; ``kernels/tile.h`` has the same."""
_LANES = np.arange(32)
_GROUP, _THREAD = _LANES // 4, _LANES % 4
_FORM = (
    *("Concat", "Conv", "Relu", "Conv", "Relu", "Conv", "Relu", "Conv", "Sigmoid"),
    *("Pad", "Conv", "DepthToSpace"),
    *("Concat", "Slice", "Split", "Mul", "Mul", "Add", "Min"),
)  # fmt: skip
"""Operations of an exported ``edge``, without casts and what asks for sizes."""
_PASSED = ("Cast", "Shape", "Constant", "Identity")


class EdgeWeights(NamedTuple):
    """Weights of ``edge`` in float32, in the order of a convolution: out, in, rows, columns."""

    stem: F32
    """(16, 2, 3, 3)"""
    stem_bias: F32
    layers: tuple[F32, F32]
    """(16, 16, 3, 3) each"""
    biases: tuple[F32, F32]
    head: F32
    """(2, 16, 1, 1)"""
    head_bias: F32
    most: float
    """Largest gain."""


def edge_of(onnx: bytes) -> EdgeWeights:
    """The weights of a fusion graph, if it is an ``edge`` that the kernel is made for.

    Args:
        onnx: The graph, in FP32 or FP16.

    Raises:
        EngineError: it is none.
    """
    graph = read(onnx)
    nodes = [node for node in graph.nodes if node.kind not in _PASSED]
    kinds = tuple(node.kind for node in nodes)
    if kinds != _FORM:
        at = next(
            (i for i, (a, b) in enumerate(zip(kinds, _FORM, strict=False)) if a != b),
            min(len(kinds), len(_FORM)),
        )
        raise _another(
            f"{_FORM[at] if at < len(_FORM) else 'nothing'} at place {at + 1}",
            kinds[at] if at < len(kinds) else "nothing",
        )
    _require_wiring(graph, nodes)
    convolutions = [node for node in nodes if node.kind == "Conv"]
    shapes = [(16, 2, 3, 3), (16, 16, 3, 3), (16, 16, 3, 3), (2, 16, 1, 1), (8, 2, 3, 3)]
    taken = [
        _weights(graph, node, shape, first=i == 0)
        for i, (node, shape) in enumerate(zip(convolutions, shapes, strict=True))
    ]
    (stem, stem_bias), *layers, (head, head_bias), (interpolation, _) = taken
    return EdgeWeights(
        stem,
        stem_bias,
        (layers[0][0], layers[1][0]),
        (layers[0][1], layers[1][1]),
        head,
        head_bias,
        _most(interpolation),
    )


def pack(weights: EdgeWeights) -> npt.NDArray[np.uint8]:
    """Weights as ``kernels/tile.h`` lays them out.

    Returns:
        uint8 (10448,).

    Raises:
        EngineError: a weight, or a feature that some picture could lead to, that FP16 does not hold.
    """
    _require_range(weights)
    taps = weights.stem.transpose(2, 3, 1, 0).reshape(9, 2, 16)  # tap, from, to
    deep = np.zeros((24, 16), np.float32)
    deep[:18] = taps.reshape(18, 16)
    last = np.zeros((8, 16), np.float32)
    last[:2] = deep[16:18]
    head = np.zeros((16, 8), np.float32)
    head[:, :GAINS] = weights.head.reshape(GAINS, CHANNELS).T
    parts = [_fragments(deep[:16]), _fragments(last)]
    for layer in weights.layers:
        parts += [_fragments(tap) for tap in layer.transpose(2, 3, 1, 0).reshape(9, CHANNELS, CHANNELS)]
    parts.append(_fragments(head))
    floats = np.concatenate(
        (weights.stem_bias, *weights.biases, weights.head_bias, np.array([weights.most, 0], np.float32))
    ).astype("<f4")
    packed = np.concatenate([part.ravel().view(np.uint8) for part in (*parts, floats)])
    assert packed.size == WEIGHT_BYTES
    return packed


def _require_range(weights: EdgeWeights) -> None:
    """No picture may lead to features beyond FP16: an infinity there would be no NaN behind ReLU, but a 0.

    Inputs and features are 0 or more, so that the positive weights and the bias bound what comes of them.
    """
    most = np.ones(2)
    kernels = (weights.stem, *weights.layers), (weights.stem_bias, *weights.biases)
    for kernel, bias in zip(*kernels, strict=True):
        most = np.maximum(0, np.maximum(kernel.astype(np.float64), 0).sum(axis=(2, 3)) @ most + bias)
        if not most.max() < MOST_HALF:
            raise EngineError(
                "features of the fusion network may pass what FP16 holds",
                expected=f"below {MOST_HALF:g} for every picture",
                got=f"up to {most.max():.3g}",
                hint="Take another back end with --precision fp32.",
            )


def _fragments(matrix: F32) -> npt.NDArray[np.float16]:
    """B (K, N) of ``mma.m16n8k16`` or ``k8``: a lane's words side by side, (N / 8, 32, K / 4)."""
    with np.errstate(over="ignore"):
        halves = matrix.astype("<f2")
    if not np.isfinite(halves).all():
        raise EngineError("a weight of the fusion graph is none in FP16", hint="Take another back end.")
    # Lane l holds rows 2t, 2t+1 (and 8 more than these) of column g.
    pairs = 2 * _THREAD[:, None] + np.arange(2)
    rows = np.concatenate([base + pairs for base in range(0, len(matrix), 8)], axis=1)
    return np.stack([halves[rows, column + _GROUP[:, None]] for column in range(0, matrix.shape[1], 8)])


def _require_wiring(graph: OnnxGraph, nodes: list[Node]) -> None:
    """Refuse operations that are those of ``edge`` and hang together in another way."""
    same = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.kind in ("Cast", "Identity")}

    def source(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    def given(place: int, count: int = 1) -> list[str]:
        return [source(name) for name in nodes[place].inputs[:count]]

    wired = given(0, 2) == ["infrared", "visible"] and nodes[0].attributes.get("axis") == 1
    for place in range(1, 12):  # one behind the other, up to the shuffle
        wired &= given(place) == [nodes[place - 1].outputs[0]]
    shuffle, cut, parts, (first, second, total, least) = nodes[11], nodes[13], nodes[14], nodes[15:19]
    wired &= given(13) == [shuffle.outputs[0]] and given(14) == [cut.outputs[0]]
    wired &= nodes[9].attributes.get("mode") == "edge"
    wired &= (shuffle.attributes.get("mode"), shuffle.attributes.get("blocksize")) == ("CRD", 2)
    wired &= parts.attributes.get("axis") == 1 and len(parts.outputs) == 2
    for number, (place, picture) in enumerate(((15, "infrared"), (16, "visible"))):
        wired &= len(parts.outputs) > number and set(given(place, 2)) == {parts.outputs[number], picture}
    wired &= set(given(17, 2)) == {first.outputs[0], second.outputs[0]}
    cap = [name for name in given(18, 2) if name != total.outputs[0]]
    wired &= len(cap) == 1 and np.array_equal(graph.constants.get(cap[0], 0), np.float32(1))
    if not (wired and least.outputs[0] == "fused"):
        raise _another("operations one behind the other", "others")


def _weights(graph: OnnxGraph, node: Node, shape: tuple[int, ...], *, first: bool) -> tuple[F32, F32]:
    constants = [graph.constants.get(name) for name in node.inputs[1:]]
    got = constants[0].shape if constants and constants[0] is not None else None
    if got != shape:
        raise _another(f"a convolution {shape}", f"{got}")
    strides = node.attributes.get("strides", (1, 1))
    pads = node.attributes.get("pads", (0, 0, 0, 0))
    wanted = (2, 2) if first else (1, 1), (0,) * 4 if shape[0] in (2, 8) else (1,) * 4
    if (strides, pads) != wanted or node.attributes.get("group", 1) != 1:
        raise _another(f"strides and padding {wanted}", f"{strides} and {pads}")
    assert constants[0] is not None
    bias = constants[1] if len(constants) > 1 else None
    given = np.zeros(shape[0], np.float32) if bias is None else bias.astype(np.float32)
    return constants[0].astype(np.float32), given


def _most(interpolation: F32) -> float:
    """The largest gain: what the kernels of the bilinear interpolation are multiplied with."""
    sides = np.array([[0.25, 0.75, 0], [0, 0.75, 0.25]], np.float32)
    phases = np.einsum("iy,jx->ijyx", sides, sides).reshape(4, 3, 3)
    wanted = np.zeros((2, 4, 2, 3, 3), np.float32)
    for gain in range(GAINS):
        wanted[gain, :, gain] = phases
    most = float(interpolation.sum() / 8)
    if not np.allclose(interpolation, most * wanted.reshape(8, 2, 3, 3), rtol=2e-3, atol=1e-4):
        raise _another("bilinear interpolation of the gains", "other kernels")
    return most


def _another(expected: str, got: str) -> EngineError:
    return EngineError(
        "our kernel is not made for this fusion network",
        expected=f"`edge` with {CHANNELS} channels and {LAYERS} layers: {expected}",
        got=got,
        hint="Leave --backend cuda out, or take another bundle.",
    )
