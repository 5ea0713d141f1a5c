"""Who makes what in a graph, and what is refused on the way back from its output."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.graph import Node, OnnxGraph
from tdfusion_edge.runtime.engines.cuda.restormer.network import F32, Separable

_NEAR = 2e-3
"""Of a constant that a graph in FP16 holds rounded."""
_PASSED = ("Cast", "Identity")


class Wires:
    """Who makes what in a graph."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._constants = graph.constants
        self._makers = {name: (node, i) for node in graph.nodes for i, name in enumerate(node.outputs)}

    def source(self, name: str) -> str:
        """What a wire carries, behind casts."""
        while name in self._makers and self._makers[name][0].kind in _PASSED:
            name = self._makers[name][0].inputs[0]
        return name

    def maker(self, name: str) -> tuple[str, Node, int]:
        """Kind, node and number of the output that make a wire; kind '' for inputs and constants."""
        name = self.source(name)
        if name not in self._makers:
            return "", Node("", (), (name,), {}), 0
        node, number = self._makers[name]
        return node.kind, node, number

    def made_by(self, name: str, kind: str, **attributes: Any) -> Node:
        """The node that makes a wire, which is of this kind and has these attributes."""
        got, node, _ = self.maker(name)
        self.require(got == kind, f"{kind} in front of '{name}'", got or "none")
        for key, value in attributes.items():
            has = node.attributes.get(key)
            same = has == value if not isinstance(value, float) else is_near(has, value)
            self.require(same, f"{kind} with {key} {value}", f"{has}")
        return node

    def constant(self, name: str, *shape: int) -> F32:
        """A constant of this shape."""
        array = self._constants.get(self.source(name))
        got = None if array is None else array.shape
        self.require(got == shape, f"a constant {shape}", f"{got} at '{name}'")
        assert array is not None
        return array.astype(np.float32)

    def is_number(self, name: str, value: float) -> bool:
        """Whether a wire is a constant of this one value."""
        array = self._constants.get(self.source(name))
        return array is not None and array.size == 1 and is_near(float(array.reshape(())), value)

    def number(self, name: str, value: float) -> None:
        """A constant of this value."""
        self.require(self.is_number(name, value), f"{value:g} at '{name}'", "another")

    def other(self, node: Node, is_it: Any) -> tuple[str, str]:
        """The two inputs of a node, the one that `is_it` first."""
        a, b = (self.source(name) for name in node.inputs)
        return (a, b) if is_it(a) else (b, a)

    def convolution(self, name: str, shape: tuple[int, ...], groups: int = 1) -> tuple[str, F32]:
        """What goes into the convolution that makes a wire, and its weights."""
        pad = shape[2] // 2
        node = self.made_by(name, "Conv", group=groups, pads=(pad,) * 4, strides=(1, 1), dilations=(1, 1))
        self.require(len(node.inputs) == 2, "a convolution without bias", "one with a bias")
        self.require(node.attributes.get("auto_pad", "NOTSET") == "NOTSET", "pads as numbers", "auto_pad")
        return self.source(node.inputs[0]), self.constant(node.inputs[1], *shape)

    def separable(self, name: str, outputs: int, inputs: int) -> tuple[str, Separable]:
        """A 1x1 convolution and the depth-wise one behind it."""
        between, depth = self.convolution(name, (outputs, 1, 3, 3), outputs)
        source, point = self.convolution(between, (outputs, inputs, 1, 1))
        return source, Separable(point[:, :, 0, 0], depth[:, 0])

    def split(self, name: str, parts: int, number: int) -> str:
        """What is split into equal parts of channels, of which the wire is this one."""
        node = self.made_by(name, "Split", axis=1)
        has = self._makers[self.source(name)][1]
        self.require((len(node.outputs), has) == (parts, number), f"part {number} of {parts}", f"{has}")
        if len(node.inputs) > 1:
            sizes = self._constants.get(node.inputs[1])
            self.require(sizes is not None and len(set(sizes.tolist())) == 1, "equal parts", "others")
        return self.source(node.inputs[0])

    @staticmethod
    def require(true: bool, expected: str, got: str) -> None:
        """Refuse a graph."""
        if not true:
            raise another(expected, got)


def another(expected: str, got: str) -> EngineError:
    """What is raised where a graph is another one."""
    return EngineError(
        "our kernels are not made for this fusion network",
        expected=f"`tdfusion`: {expected}",
        got=got,
        hint="Leave --backend cuda out, or take another bundle; of `tdfusion` one of --opset 18 or later.",
    )


def is_near(got: Any, wanted: float) -> bool:
    """Whether an attribute or constant is this number, as FP16 may hold it."""
    return isinstance(got, float | int) and abs(got - wanted) <= _NEAR * abs(wanted)
