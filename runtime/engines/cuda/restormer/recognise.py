"""The paper's F told from a bundle's graph: every operation from the picture back to the inputs, one by one.

Where an operation, a constant or a wire differs from the exported network's, the graph is refused and the
operation named. Casts and identities are passed over; what asks for sizes is followed where numbers depend on
it. It is the network as PyTorch's current exporter writes it, opset 18 and up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tdfusion_edge.runtime.engines.cuda.graph import read
from tdfusion_edge.runtime.engines.cuda.restormer.network import (
    F32,
    HEADS,
    WIDTH,
    Block,
    Merge,
    Network,
    Norm,
)
from tdfusion_edge.runtime.engines.cuda.restormer.wires import Wires, another

GATES = 4 * WIDTH


def network_of(onnx: bytes) -> Network:
    """The weights of a fusion graph, if it is the paper's F.

    Args:
        onnx: The graph, in FP32 or FP16.

    Raises:
        EngineError: it is none.
    """
    wires = Wires(read(onnx))
    try:
        return _network(wires)
    except (
        IndexError,
        ValueError,
        TypeError,
    ) as error:  # an operation without the inputs that it should have
        raise another("operations with their inputs", f"{error}") from error


def _network(wires: Wires) -> Network:
    last = wires.made_by(wires.made_by("fused", "Sigmoid").inputs[0], "Conv")
    active, head2 = wires.convolution(last.outputs[0], (1, WIDTH, 3, 3))
    leaky = wires.made_by(active, "LeakyRelu", alpha=0.01)
    decoded, head1 = wires.convolution(leaky.inputs[0], (WIDTH, 2 * WIDTH, 3, 3))
    middle, second = _block(wires, decoded, 2 * WIDTH)
    merged, first = _block(wires, middle, 2 * WIDTH)
    streams, merge = _merge(wires, merged)
    encoders, stems = [], []
    for name, picture in zip(streams, ("infrared", "visible"), strict=True):
        behind, later = _block(wires, name, WIDTH)
        stemmed, earlier = _block(wires, behind, WIDTH)
        source, stem = wires.convolution(stemmed, (WIDTH, 1, 3, 3))
        wires.require(wires.source(source) == picture, picture, source)
        encoders.append((earlier, later))
        stems.append(stem[:, 0])
    return Network((stems[0], stems[1]), (encoders[0], encoders[1]), merge, (first, second), head1, head2[0])


def _residual(wires: Wires, name: str, shape: tuple[int, int]) -> tuple[str, str, F32]:
    """x, and input and weights of the 1x1 convolution (out, in) that is added to it."""
    node = wires.made_by(name, "Add")

    def is_convolution(one: str) -> bool:
        kind, maker, _ = wires.maker(one)
        return kind == "Conv" and maker.attributes.get("kernel_shape") == (1, 1)

    added, x = wires.other(node, is_convolution)
    inside, weights = wires.convolution(added, (*shape, 1, 1))
    return x, inside, weights[:, :, 0, 0]


def _norm(wires: Wires, name: str, channels: int) -> tuple[str, Norm]:
    outer = wires.made_by(name, "Transpose", perm=(0, 3, 1, 2))
    node = wires.made_by(outer.inputs[0], "LayerNormalization", axis=-1, epsilon=1e-5)
    inner = wires.made_by(node.inputs[0], "Transpose", perm=(0, 2, 3, 1))
    wires.require(len(node.inputs) == 3, "LayerNormalization with scale and shift", "another")
    scale, shift = (wires.constant(one, channels) for one in node.inputs[1:])
    return wires.source(inner.inputs[0]), Norm(scale, shift)


def _block(wires: Wires, name: str, channels: int) -> tuple[str, Block]:
    """What goes into a Restormer block, and the block."""
    attended, gated, out = _residual(wires, name, (channels, 2 * channels))
    gate, value = _gated(wires, gated)
    expanded = wires.split(gate, 2, 0)
    wires.require(wires.split(value, 2, 1) == expanded, "gates and values of one convolution", "others")
    normal2, expand = wires.separable(expanded, 4 * channels, channels)
    source2, norm2 = _norm(wires, normal2, channels)
    wires.require(source2 == attended, "a feed-forward of what it is added to", source2)
    x, mixed, project = _residual(wires, attended, (channels, channels))
    q, k, v, temperature = _attention(wires, mixed, channels)
    made = wires.split(q, 3, 0)
    same = wires.split(k, 3, 1) == made == wires.split(v, 3, 2)
    wires.require(same, "queries, keys and values of one convolution", "others")
    normal1, qkv = wires.separable(made, 3 * channels, channels)
    source1, norm1 = _norm(wires, normal1, channels)
    wires.require(source1 == x, "an attention of what it is added to", source1)
    return x, Block(norm1, qkv, temperature, project, norm2, expand, out)


def _merge(wires: Wires, name: str) -> tuple[tuple[str, str], Merge]:
    """Both streams that go into the merge, and the merge."""
    # The visible stream is added last.
    first, gated_visible, out_visible = _residual(wires, name, (2 * WIDTH, GATES))
    both, gated_infrared, out_infrared = _residual(wires, first, (2 * WIDTH, GATES))
    cat = wires.made_by(both, "Concat", axis=1)
    wires.require(len(cat.inputs) == 2, "two streams", str(len(cat.inputs)))
    attended = [wires.source(one) for one in cat.inputs]
    values, gates = [], []
    for number, gated in enumerate((gated_infrared, gated_visible)):
        gate, value = _gated(wires, gated)
        gates.append(wires.split(gate, 2, number))
        source, separable = wires.separable(value, GATES, WIDTH)
        wires.require(source == attended[number], "values of the own stream", source)
        values.append(separable)
    wires.require(gates[0] == gates[1], "gates of one convolution", "others")
    gated_source, gate_weights = wires.separable(gates[0], 2 * GATES, 2 * WIDTH)
    wires.require(gated_source == wires.source(both), "gates of both streams", gated_source)
    mixed = [_residual(wires, one, (WIDTH, WIDTH)) for one in attended]
    found = [_attention(wires, one[1], WIDTH) for one in mixed]
    made = [wires.split(one[2], 3, 2) for one in found]
    for number, (q, k, _, _) in enumerate(found):
        wires.require(wires.split(q, 3, 0) == made[1 - number], "queries of the other stream", q)
        wires.require(wires.split(k, 3, 1) == made[number], "keys of the own stream", k)
    qkv = [wires.separable(one, 3 * WIDTH, WIDTH) for one in made]
    for (source, _), (x, _, _) in zip(qkv, mixed, strict=True):
        wires.require(source == x, "an attention of what it is added to", source)
    return (mixed[0][0], mixed[1][0]), Merge(
        (qkv[0][1], qkv[1][1]),
        (found[0][3], found[1][3]),
        (mixed[0][2], mixed[1][2]),
        gate_weights,
        (values[0], values[1]),
        (out_infrared, out_visible),
    )


def _gated(wires: Wires, name: str) -> tuple[str, str]:
    """Gate and value of GELU(gate) * value."""
    factors = _factors(wires, name)
    if (found := [one for one in factors if wires.maker(one)[0] == "Gelu"]) and len(factors) == 2:
        node = wires.made_by(found[0], "Gelu")
        wires.require(node.attributes.get("approximate", "none") == "none", "GELU by erf", "another")
        gate = wires.source(node.inputs[0])
        (value,) = [one for one in factors if one != found[0]] or [gate]
        return gate, value
    sums = [one for one in factors if wires.maker(one)[0] == "Add"]
    wires.require(len(factors) == 4 and len(sums) == 1, f"GELU in front of '{name}'", "another")
    one_more, erf = wires.other(wires.made_by(sums[0], "Add"), lambda one: wires.is_number(one, 1))
    wires.number(one_more, 1)
    scaled = wires.made_by(wires.made_by(erf, "Erf").inputs[0], "Div")
    gate = wires.source(scaled.inputs[0])
    wires.number(scaled.inputs[1], 2**0.5)
    rest = list(factors)
    rest.remove(sums[0])
    wires.require(gate in rest, "GELU's gate", "another")
    rest.remove(gate)
    half, value = rest if wires.is_number(rest[0], 0.5) else rest[::-1]
    wires.number(half, 0.5)
    return gate, value


def _factors(wires: Wires, name: str) -> Sequence[str]:
    kind, node, _ = wires.maker(name)
    if kind != "Mul":
        return [wires.source(name)]
    return [one for given in node.inputs for one in _factors(wires, given)]


def _attention(wires: Wires, name: str, channels: int) -> tuple[str, str, str, F32]:
    """Queries, keys and values (C channels) of an attention, and its temperatures."""
    of_head = channels // HEADS
    joined = wires.made_by(name, "Reshape")
    shape = wires.made_by(joined.inputs[1], "Concat")  # the picture's own sizes
    channel = wires.constant(shape.inputs[1], 1) if len(shape.inputs) == 4 else np.zeros(1)
    wires.require(channel.tolist() == [channels], f"a picture of {channels} channels", str(channel))
    wires.require([_axis(wires, one) for one in shape.inputs[2:]] == [2, 3], "the picture's sizes", "others")
    mixed = wires.made_by(joined.inputs[0], "MatMul")
    softmax = wires.made_by(mixed.inputs[0], "Softmax", axis=-1)
    heated = wires.made_by(softmax.inputs[0], "Mul")
    cosine, heat = wires.other(heated, lambda one: wires.maker(one)[0] == "Div")
    temperature = wires.constant(heat, HEADS, 1, 1).ravel()
    division = wires.made_by(cosine, "Div")
    gram = wires.made_by(division.inputs[0], "MatMul")
    norms = wires.made_by(division.inputs[1], "Mul")
    q = _scaled(wires, gram.inputs[0])
    k = _scaled(wires, wires.made_by(gram.inputs[1], "Transpose", perm=(0, 1, 3, 2)).inputs[0])
    lying, standing = wires.other(norms, lambda one: wires.maker(one)[0] == "Transpose")
    other = wires.made_by(lying, "Transpose", perm=(0, 1, 3, 2)).inputs[0]
    wires.require(_rooted(wires, standing) == q, "the queries' norm", "another")
    wires.require(_rooted(wires, other) == k, "the keys' norm", "another")
    found = []
    for one in (q, k, mixed.inputs[1]):
        node = wires.made_by(one, "Reshape")
        wires.require(
            wires.constant(node.inputs[1], 4).tolist() == [1, HEADS, of_head, -1],
            "heads side by side",
            "others",
        )
        found.append(node.inputs[0])
    return found[0], found[1], found[2], temperature


def _rooted(wires: Wires, name: str) -> str:
    """X of sqrt(max(mean(x * x), 1e-12)) over pixels."""
    clip = wires.made_by(wires.made_by(name, "Sqrt").inputs[0], "Clip")
    wires.require(len([one for one in clip.inputs if one]) == 2, "a least mean square", "another")
    wires.number(clip.inputs[1], 1e-12)
    mean = wires.made_by(clip.inputs[0], "ReduceMean", keepdims=1)
    wires.number(mean.inputs[1], -1)
    square = wires.made_by(mean.inputs[0], "Pow")
    wires.number(square.inputs[1], 2)
    return wires.source(square.inputs[0])


def _scaled(wires: Wires, name: str) -> str:
    """X of x / sqrt(H * W)."""
    node = wires.made_by(name, "Mul")
    scale, x = wires.other(node, lambda one: wires.maker(one)[0] == "Pow")
    power = wires.made_by(scale, "Pow")
    wires.number(power.inputs[1], -0.5)
    product = wires.made_by(power.inputs[0], "Mul")
    axes = sorted(_axis(wires, one) for one in product.inputs)
    wires.require(axes == [2, 3], "the picture's pixels", "another number")
    return x


def _axis(wires: Wires, name: str) -> int:
    """Which axis of an input a size is of; -1: it is none."""
    kind, node, _ = wires.maker(name)
    if kind == "Squeeze":
        kind, node, _ = wires.maker(node.inputs[0])
    first, last = node.attributes.get("start", 0), node.attributes.get("end")
    if kind != "Shape" or node.inputs[0] not in ("infrared", "visible") or not isinstance(first, int):
        return -1
    return first if last == first + 1 else -1
