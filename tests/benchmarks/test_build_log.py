"""Reading the log of a build: kernels, bytes, and the types of sums.

The lines have the format of TensorRT-RTX 1.7, with names and types that its builds of small graphs gave;
``test_engines_rtx.py`` holds the reader against the library itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.engines.build_log import Memory, Reduction, Traffic, not_float32, read, reductions, traffic
from tdfusion_edge.errors import EngineError

SHAPE = (1, 8, 64, 96)
PICTURE = "infrared", "Float", SHAPE
FUSED = "fused", "Float", SHAPE
MEMORY = "[INFO] {}Max Scratch Memory: 512 bytes\n[INFO] Total Activation Memory: {} bytes\n"
WEIGHTS = "[INFO] Total Weights Memory: 10816 bytes\n"

Named = tuple[str, str, tuple[int, ...]]


def tensors(listed: Sequence[Named]) -> str:
    told = (
        f"{{ Name: {name}, Dimensions: [{','.join(map(str, shape))}], Strides: [1,1], "
        f"StrideOrder: [3,2,1,0], Datatype: {kind}, Format: (Linear) Row major linear format }}"
        for name, kind, shape in listed
    )
    return ", ".join(told)


def kernel(
    name: str,
    inputs: Sequence[Named] = (PICTURE,),
    outputs: Sequence[Named] = (FUSED,),
    constants: Sequence[Named] = (),
    nodes: Sequence[str] = (),
    kind: str = "kgen",
) -> str:
    layers = "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {tensors(inputs)}], Constants: [{tensors(constants)}], "
        f"Outputs: [ {tensors(outputs)}], TacticName: {name}_0x6d41, StreamId: 0, Metadata: {layers}\n"
    )


def node(name: str, op: str, kind: str) -> str:
    given = f"[x -> (1, 8, 64, 96)[{kind}]], [optional input, not set], [axes -> (2)[INT64]], "
    return f"[VERBOSE] {name} [{op}] inputs: {given}\n[VERBOSE] {name} [{op}] outputs: {given}\n"


def engine_tensor(mode: str, tensor: Named) -> str:
    name, kind, shape = tensor
    dimensions = ",".join(map(str, shape))
    return (
        f" Name: {name}, IOMode: {mode}, DataType: {kind}, Dimensions: [{dimensions}], Location: Device, "
        "IsShapeInferenceIO: false, ProfileInfo: [ { Format: Row major linear FP32 format (kLINEAR) }]\n"
    )


def log(
    *kernels: str,
    nodes: str = "",
    inputs: Sequence[Named] = (PICTURE,),
    outputs: Sequence[Named] = (FUSED,),
    memory: str = MEMORY.format("", 8486912) + WEIGHTS,
) -> str:
    outside = "".join(engine_tensor("Input", it) for it in inputs)
    outside += "".join(engine_tensor("Output", it) for it in outputs)
    return f"{nodes}{memory}[VERBOSE] Layers:\n{''.join(kernels)}\nI/O Tensors:\n{outside}\n[VERBOSE] Done\n"


def test_kernels_tensors_and_memory_are_read() -> None:
    half = ("relu.1_5_myl0", "Half", (1, 2, 96, 128))
    weight = ("w", "Half", (16, 2, 3, 3))
    found = read(
        log(
            kernel("entry^bb^signal^1_myl0_0", (), (), kind="signal"),
            kernel("__myl_MoveConcCast_myl0_1", outputs=(half,), nodes=("node_cat", "node [odd],\x85name")),
            kernel("node_conv2d_myl0_2", (half,), constants=(weight,), kind="correlation"),
        )
    )
    first, second = found.kernels
    assert first.ops == ("Move", "Conc", "Cast")
    assert first.nodes == ("node_cat", "node [odd],\x85name")
    assert first.outputs[0] == ("relu.1_5_myl0", "float16", (1, 2, 96, 128))
    assert (second.kind, second.ops, second.nodes) == ("correlation", (), ())
    assert second.constants[0].shape == (16, 2, 3, 3)
    assert found.memory == Memory(activations=8486912, weights=10816, scratch=512)
    assert found.inputs == (("infrared", "float32", SHAPE),)
    assert found.outputs == (("fused", "float32", SHAPE),)


def test_of_several_profiles_the_largest_memory_counts() -> None:
    memory = MEMORY.format("", 39) + MEMORY.format("", 20) + WEIGHTS
    assert read(log(kernel("k"), memory=memory)).memory.activations == 39


def test_traffic_is_what_all_kernels_read_and_write() -> None:
    between = ("between", "Half", (1, 4, 3, 2))
    picture, shown = ("picture", "UInt8", (3, 2)), ("shown", "Float", (3, 2))
    index = ("index", "Int64", ())
    found = read(
        log(
            kernel("one", (picture,), (between, index)),
            kernel("two", (between, between), (shown,), constants=(("w", "Float", (5,)),)),
            inputs=(picture,),
            outputs=(shown,),
        )
    )
    assert traffic(found) == Traffic(inputs=6 + 48 + 48, outputs=48 + 8 + 24, constants=20)
    assert traffic(found).total == 202


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (("infrared", "Float", (1, 1, -1, -1)), "several shapes\n.*request shapes"),
        (("infrared [profile 1]", "Float", (1, 1, 4, 4)), "several shapes"),
        (("infrared", "Complex", (1, 1, 4, 4)), "'infrared' has a type of unknown size: got Complex"),
    ],
    ids=["free", "profiles", "type"],
)
def test_traffic_that_cannot_be_told_is_an_error(tensor: Named, message: str) -> None:
    for made in (kernel("one", (tensor,)), kernel("one", outputs=(tensor,))):
        with pytest.raises(EngineError, match=message):
            traffic(read(log(made)))


# Name, types that it reads, ONNX nodes with the types of their inputs, type of the sum.
SUMS = [
    ("__myl_ReluSum", ["Half"], [("ReduceSum", "HALF")], "float16"),
    ("__myl_ReluMean", ["Half"], [("ReduceMean", "HALF")], "float16"),
    ("__myl_SumCast", ["Half"], [("ReduceSum", "HALF"), ("Cast", "HALF")], "float16"),
    ("__myl_CastSum", ["Float"], [("Cast", "FLOAT"), ("ReduceSum", "HALF")], "float16"),
    ("__myl_MoveMaxrSubExpSumDiv", ["Half"], [("Softmax", "HALF")], "float16"),
    ("__myl_Inor", ["Half"], [("InstanceNormalization", "HALF")], "float16"),
    ("_gemm_mha_v2", ["Half"], [("MatMul", "HALF"), ("Softmax", "HALF")], "float16"),
    ("__myl_Sum", ["BFloat16"], [("ReduceSum", "BFLOAT16")], "bfloat16"),
    ("__myl_MulSum", ["Float"], [("ReduceSum", "FLOAT")], "float32"),
    ("__myl_CastMulSum", ["UInt8"], [("Cast", "UINT8"), ("ReduceSum", "FLOAT")], "float32"),
    # The library raises these sums itself, and no Cast of the graph is in the kernel.
    ("__myl_ReluCastMulSum", ["Half"], [("Relu", "HALF"), ("ReduceL2", "HALF")], "float32"),
    (
        "__myl_CastMeanSubMulMeanAddSqrtDivMulCastMulAdd",
        ["Half"],
        [("LayerNormalization", "HALF")],
        "float32",
    ),
    ("__myl_CastSum", ["Half"], [("Cast", "HALF"), ("ReduceSum", "HALF")], "float16"),
    ("__myl_CastSum", ["Float"], [("ReduceSum", "HALF")], "float16"),
    # The graph does.
    (
        "__myl_ReluCastMaxrSubExpSumDivCastAdd",
        ["Half", "Half"],
        [("Cast", "HALF"), ("Softmax", "FLOAT"), ("Cast", "FLOAT")],
        "float32",
    ),
    ("__myl_AddCastMean", ["Half", "Float"], [("ReduceMean", "FLOAT")], "float32"),
    ("_gemm_mha_v2", ["Half"], [("Softmax", "FLOAT"), ("MatMul", "HALF")], "float32"),
    # A graph says what the kernel contradicts: the kernel counts.
    ("__myl_MulSum", ["Half"], [("ReduceSum", "FLOAT")], "float16"),
    ("__myl_Sum", ["Float"], [("ReduceSum", "HALF")], "float32"),
    # Several sums: the worst one counts.
    ("__myl_SumCastMulSum", ["Half"], [("ReduceSum", "HALF"), ("ReduceMean", "FLOAT")], "float16"),
    ("__myl_SumCastMulSum", ["Float"], [("ReduceSum", "FLOAT"), ("ReduceMean", "HALF")], None),
    # The name is cut: there may be a cast and a sum behind it.
    ("__myl_SumSubEtc", ["Float"], [("ReduceSum", "FLOAT")], "float32"),
    ("__myl_SumSubEtc", ["Float"], [("ReduceSum", "FLOAT"), ("ReduceSum", "HALF")], None),
    ("__myl_SumSubEtc", ["Float"], [], None),
    # Nothing says which of its inputs is cast, or that one is.
    ("__myl_AddCastSum", ["Half", "Float"], [], None),
    ("__myl_CastSum", ["Half"], [], None),
    *[(f"__myl_{op}", ["Half"], [], "float16") for op in ("Sum", "Mean", "Prod", "Cums", "Inor")],
]


@pytest.mark.parametrize(("name", "kinds", "nodes", "expected"), SUMS, ids=[row[0][6:] for row in SUMS])
def test_the_type_of_a_sum(
    name: str, kinds: list[str], nodes: list[tuple[str, str]], expected: str | None
) -> None:
    told = "".join(node(f"n{place}", *row) for place, row in enumerate(nodes))
    made = kernel(
        f"{name}_myl0_0",
        [(f"t{place}", kind, SHAPE) for place, kind in enumerate(kinds)],
        nodes=[f"n{place}" for place in range(len(nodes))],
    )
    found = read(log(made, nodes=told))
    assert [row.dtype for row in reductions(found)] == [expected]
    assert bool(not_float32(found)) == (expected != "float32")


@pytest.mark.parametrize(
    ("name", "kind", "op"),
    [
        ("__myl_ReluMaxr_myl0_0", "Half", "ReduceMax"),
        ("__myl_Topk_myl0_0", "Half", "TopK"),
        ("__myl_SqrtCastSub_myl0_0", "Half", "Sqrt"),
        ("__myl_CorrSilu_myl0_0", "Half", "Conv"),
        ("__myl_Sum_myl0_0", "Int64", "Add"),
    ],
)
def test_what_is_no_sum_of_floating_point_numbers(name: str, kind: str, op: str) -> None:
    made = kernel(name, [("x", kind, SHAPE)], nodes=("n",))
    assert reductions(read(log(made, nodes=node("n", op, kind.upper())))) == []


def test_a_node_may_be_in_two_kernels_of_which_one_adds() -> None:
    between = ("sum", "Float", (1, 8, 1, 1))
    found = read(
        log(
            kernel("__myl_CastMulSum_myl0_0", [("x", "Half", SHAPE)], (between,), nodes=("norm",)),
            kernel("__myl_SqrtCastSub_myl0_1", (between, ("x", "Half", SHAPE)), nodes=("norm",)),
            nodes=node("norm", "ReduceL2", "HALF"),
        )
    )
    assert reductions(found) == [Reduction("__myl_CastMulSum_myl0_0", ("Sum",), "float32")]


def test_a_sum_of_the_graph_that_no_kernel_names_is_told() -> None:
    graph = node("lost", "ReduceMean", "HALF") + node("found", "ReduceMean", "FLOAT")
    two, name = node("two", "Softmax", "HALF"), "__myl_MaxSubExpSlicSlicAddDiv_myl0_1"
    kernels = [kernel(it, nodes=("two",)) for it in (name, "__myl_Mul_myl0_2")]
    kernels.append(kernel("__myl_Mean_myl0_0", nodes=("found",)))
    assert not_float32(read(log(*kernels, nodes=graph + two))) == [
        Reduction("no kernel of lost", ("ReduceMean",), "float16"),
        Reduction(name, ("Softmax",), "float16"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no kernels\n.*log_to"),
        (log(), "names no kernels"),
        (log(kernel("k"), inputs=()), "names no inputs"),
        (log(kernel("k"), outputs=()), "names no outputs"),
        (log(kernel("k"), memory=WEIGHTS), "does not tell 'Total Activation Memory'"),
        (log(kernel("k").replace("Dimensions: [", "Shape: [")), "tensors in the build's log cannot be read"),
    ],
    ids=["empty", "kernels", "inputs", "outputs", "memory", "tensors"],
)
def test_a_log_of_another_format_is_an_error(text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read(text)
