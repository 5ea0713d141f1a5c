"""What the verbose log of a TensorRT-RTX build says about the engine: its kernels, memory and arithmetic.

An engine can be inspected only where its GPU is. The log of the build (``log_to`` of
:mod:`~tdfusion_edge.runtime.engines.tensorrt.builder`) can be read anywhere, so a test can tell on any
machine that no sum of an engine is made in FP16, and how much a picture moves through memory.

What it holds, in the format of TensorRT-RTX 1.7: the parser's line for every ONNX node with the types of its
inputs; sums of memory; one line a kernel, with its tensors and the ONNX nodes that it came of. The name of a
generated kernel lists its operations, four letters of each: ``__myl_CastMulSum_myl0_3``.

What it does not hold:

- in which type a kernel accumulates. It tells the types of tensors, and of the numbers that a reduction adds
  and gives. (TensorRT-RTX 1.7 was seen to accumulate the sum of FP16 numbers in float32 and then to round it
  to FP16: it overflows all the same.) Products of matrices and convolutions are therefore left out.
- kernels for each GPU. A build for several lists one set, which was the oldest GPU's wherever they differed.
- time. Kernels are compiled on the device, and nothing is measured in a build.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from tdfusion_edge.errors import EngineError

DTYPES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "float": ("float32", 4),
        "half": ("float16", 2),
        "bfloat16": ("bfloat16", 2),
        "bf16": ("bfloat16", 2),
        "fp8": ("float8", 1),
        "int8": ("int8", 1),
        "uint8": ("uint8", 1),
        "int32": ("int32", 4),
        "int64": ("int64", 8),
        "bool": ("bool", 1),
    }
)
"""Names of types in the log, in small letters, to ours and bytes a number."""
LOW = frozenset({"float16", "bfloat16", "float8"})
FLOATING = LOW | {"float32"}
SUMS = frozenset({"Sum", "Mean", "Prod", "Cums", "Inor"})
"""Operations in the names of kernels that add or multiply a number of numbers that the picture decides."""
CUT = "Etc"
PICKS = frozenset({"ReduceMax", "ReduceMin"})

HINT = "Give build_in a log_to; other versions of the library may write another format."


class Tensor(NamedTuple):
    """An input or output of a kernel or of the engine."""

    name: str
    dtype: str
    """As NumPy calls it; what is not known stands as in the log."""
    shape: tuple[int, ...]
    """-1 is a free axis."""


class Kernel(NamedTuple):
    """One launch on the GPU."""

    name: str
    kind: str
    """``kgen`` is generated code; a convolution is ``correlation``, a product of matrices ``gemm``."""
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    """Weights, and what else is known at the build."""
    outputs: tuple[Tensor, ...]
    nodes: tuple[str, ...]
    """Names of the ONNX nodes in it, as far as the log tells."""

    @property
    def ops(self) -> tuple[str, ...]:
        """Fused operations in their order, such as ``Cast``, ``Mul``, ``Sum``; none for library kernels.

        The library cuts long names, and ends them with ``Etc``.
        """
        match = re.fullmatch(r"__myl_([A-Za-z0-9]+)_myl\d+_\d+", self.name)
        return () if match is None else tuple(re.findall(r"[A-Z][a-z0-9]*", match[1]))


class Node(NamedTuple):
    """An ONNX node as the parser read it."""

    op: str
    dtype: str
    """Of its first input; empty where it has none."""


class Memory(NamedTuple):
    """Bytes of GPU memory."""

    activations: int
    """Of one context, the largest of all profiles; in TensorRT-RTX it contains the scratch memory."""
    weights: int
    scratch: int


class BuildLog(NamedTuple):
    """A log."""

    kernels: tuple[Kernel, ...]
    """In the order of their launches, one profile behind the other."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    memory: Memory
    nodes: Mapping[str, tuple[Node, ...]]
    """By name; names need not be unique."""


class Traffic(NamedTuple):
    """Bytes that one pass moves between GPU and DRAM, estimated by :func:`traffic`."""

    inputs: int
    outputs: int
    constants: int

    @property
    def total(self) -> int:
        """Bytes in and out and of constants together."""
        return sum(self)


class Reduction(NamedTuple):
    """A kernel that adds up, or normalises by a sum."""

    kernel: str
    what: tuple[str, ...]
    """Operations of the kernel, or ONNX operations, that reduce."""
    dtype: str | None
    """Of the numbers that it adds; None where the log does not tell."""


def read(text: str) -> BuildLog:
    """Read a log.

    Raises:
        EngineError: there are no kernels, tensors or memory in it that can be read.
    """
    lines = text.split("\n")  # a name may hold what splitlines() takes for an end
    kernels = tuple(_kernels(lines))
    inputs, outputs = (tuple(_engine_tensors(lines, mode)) for mode in ("Input", "Output"))
    for what, found in (("kernels", kernels), ("inputs", inputs), ("outputs", outputs)):
        if not found:
            raise EngineError(f"the build's log names no {what}", hint=HINT)
    # Sizes that are worked out on the CPU, and streams that wait for each other, touch no tensor.
    kernels = tuple(kernel for kernel in kernels if kernel.inputs or kernel.outputs)
    memory = Memory(
        activations=max(_bytes(lines, "Total Activation Memory")),
        weights=max(_bytes(lines, "Total Weights Memory")),
        scratch=max(_bytes(lines, "Max Scratch Memory")),
    )
    return BuildLog(kernels, inputs, outputs, memory, _nodes(lines))


def traffic(log: BuildLog) -> Traffic:
    """DRAM traffic of one pass: every kernel's inputs, outputs and constants, each read or written once.

    An estimate. It ignores the L2 cache, so that it is an upper bound where kernels read what they need
    once; what a kernel reads twice, or keeps in a workspace of its own, is not in it. A tensor that a
    kernel lists twice, such as two slices of one, counts twice.

    Raises:
        EngineError: the engine has free shapes or several profiles, or a type of unknown size.
    """
    tensors = [tensor for kernel in log.kernels for tensor in (*kernel.inputs, *kernel.outputs)]
    if any(-1 in tensor.shape or " [profile " in tensor.name for tensor in tensors):
        raise EngineError(
            "traffic cannot be told of an engine for several shapes",
            hint="Build for one: give the request shapes.",
        )
    groups = zip(*((kernel.inputs, kernel.outputs, kernel.constants) for kernel in log.kernels), strict=True)
    return Traffic(*(sum(map(_size, (tensor for part in group for tensor in part))) for group in groups))


def reductions(log: BuildLog) -> list[Reduction]:
    """Every kernel that reduces floating-point numbers, and their type.

    Maxima and minima pick a number and are none; average pools have a window that bounds their sum.
    Convolutions, products of matrices and Einsum are left out, see above.

    The type comes from the kernel where its tensors leave one possibility: all that it reads are of one
    type, and it casts none before it adds. Elsewhere what the ONNX graph says counts, which a strongly
    typed build keeps: FP32 there is FP32. Where the graph says FP16, a kernel that reads FP16 alone, has
    one Cast before its sum and none from the graph was given it by TensorRT, as for ReduceL2 and
    LayerNormalization: FP32 as well.

    An ONNX reduction that shows as a sum in no kernel's name is listed behind the others, with the type that
    it has in the graph: a softmax over two numbers becomes additions, and a long name is cut.
    """
    found: list[Reduction] = []
    shown: set[str] = set()
    for kernel in log.kernels:
        nodes = [node for name in kernel.nodes for node in log.nodes.get(name, ())]
        graph = [node for node in nodes if reduces(node.op)]
        # A generated kernel names what it does; its node may have left it a square root alone.
        what = tuple(op for op in kernel.ops if op in SUMS) if kernel.ops else tuple(op for op, _ in graph)
        kinds = {tensor.dtype for tensor in kernel.inputs} & FLOATING
        if what and kinds:
            own_casts = all(node.op != "Cast" for node in nodes)
            found.append(Reduction(kernel.name, what, _added(kernel.ops, kinds, graph, own_casts)))
            shown.update(kernel.nodes)
    where = {name: kernel.name for kernel in reversed(log.kernels) for name in kernel.nodes}
    for name in (name for name in log.nodes if name not in shown):
        left = [node for node in log.nodes[name] if reduces(node.op) and node.dtype in FLOATING]
        found += [Reduction(where.get(name, f"no kernel of {name}"), (node.op,), node.dtype) for node in left]
    return found


def not_float32(log: BuildLog) -> list[Reduction]:
    """Reductions of FP16, BF16 or FP8 numbers, and those whose type the log does not tell."""
    return [reduction for reduction in reductions(log) if reduction.dtype is None or reduction.dtype in LOW]


def reduces(op: str) -> bool:
    """Whether an ONNX operation adds up a number of numbers that its input's size decides."""
    if op.startswith("Reduce"):
        return op not in PICKS
    return op.endswith(("Normalization", "Softmax")) or op in ("GlobalAveragePool", "CumSum", "LRN")


def _added(ops: tuple[str, ...], kinds: set[str], graph: list[Node], own_casts: bool) -> str | None:
    """Type of the numbers that a kernel adds.

    Args:
        ops: Its operations, none for a kernel of a library.
        kinds: Floating-point types that it reads.
        graph: ONNX reductions in it.
        own_casts: No Cast in it comes from the ONNX graph.
    """
    places = [place for place, op in enumerate(ops) if op in SUMS] or [0]
    casts = [ops[:place].count("Cast") for place in (places[0], places[-1])]
    declared = {node.dtype for node in graph} & FLOATING
    if len(kinds) == 1:
        if kinds <= LOW and ops and casts[0] == 0:
            return next(iter(kinds))  # of its first sum, whatever the others are
        if kinds == {"float32"} and casts == [0, 0] and (ops[-1:] != (CUT,) or declared == kinds):
            return "float32"
    if declared and own_casts and casts == [1, 1] and len(kinds) == 1 and kinds <= LOW:
        return "float32"
    return next(iter(declared)) if len(declared) == 1 else None


KERNEL = re.compile(
    r"Name: (?P<name>.*), LayerType: (?P<kind>\w*), Inputs: \[(?P<inputs>.*)\], "
    r"Constants: \[(?P<constants>.*)\], Outputs: \[(?P<outputs>.*)\], TacticName: .*Metadata: (?P<nodes>.*)"
)
TENSOR = re.compile(r"\{ Name: (.*?), Dimensions: \[([-\d,]*)\],[^{}]*?Datatype: (\w+)")
ENGINE_TENSOR = re.compile(
    r" Name: (?P<name>.*), IOMode: (?P<mode>\w+), DataType: (?P<kind>\w+), Dimensions: \[(?P<shape>[-\d,]*)\]"
)
NODE = re.compile(r"\[VERBOSE\] (?P<name>.+) \[(?P<op>\w+)\] inputs: (?P<inputs>.*)")
FIRST = re.compile(r" -> \([^()]*\)\[(\w+)\]\]")


def _kernels(lines: list[str]) -> Iterator[Kernel]:
    for match in filter(None, map(KERNEL.fullmatch, lines)):
        inputs, constants, outputs = (_tensors(match[part]) for part in ("inputs", "constants", "outputs"))
        nodes = tuple(re.findall(r"\[ONNX Layer: (.*?)\](?:\x1f|$)", match["nodes"]))
        yield Kernel(match["name"], match["kind"], inputs, constants, outputs, nodes)


def _tensors(text: str) -> tuple[Tensor, ...]:
    found = tuple(Tensor(name, _dtype(kind), _shape(shape)) for name, shape, kind in TENSOR.findall(text))
    if len(found) != text.count("{ Name: "):
        raise EngineError("a kernel's tensors in the build's log cannot be read", got=text[:200], hint=HINT)
    return found


def _engine_tensors(lines: list[str], mode: str) -> Iterator[Tensor]:
    for match in filter(None, map(ENGINE_TENSOR.match, lines)):
        if match["mode"] == mode:
            yield Tensor(match["name"], _dtype(match["kind"]), _shape(match["shape"]))


def _nodes(lines: list[str]) -> dict[str, tuple[Node, ...]]:
    nodes: dict[str, tuple[Node, ...]] = {}
    for match in filter(None, map(NODE.fullmatch, lines)):
        first = FIRST.search(match["inputs"])
        node = Node(match["op"], "" if first is None else _dtype(first[1]))
        nodes[match["name"]] = (*nodes.get(match["name"], ()), node)
    return nodes


def _bytes(lines: list[str], what: str) -> list[int]:
    found = [int(match[1]) for line in lines if (match := re.search(rf"{what}: (\d+) bytes", line))]
    if not found:
        raise EngineError(f"the build's log does not tell '{what}'", hint=HINT)
    return found


def _dtype(name: str) -> str:
    return DTYPES.get(name.lower(), (name, 0))[0]


def _shape(text: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, text.split(","))))


def _size(tensor: Tensor) -> int:
    sizes = dict(DTYPES.values())
    if tensor.dtype not in sizes:
        raise EngineError(f"tensor '{tensor.name}' has a type of unknown size", got=tensor.dtype)
    return math.prod(tensor.shape) * sizes[tensor.dtype]
