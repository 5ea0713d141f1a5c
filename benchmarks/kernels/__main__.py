"""What our kernels move between GPU and memory for one picture, counted from their own loads and stores.

  python -m benchmarks.kernels
  python -m benchmarks.kernels --case "nv12 to bgr" --size 1280x720 --multiprocessors 16

No GPU is needed and none is timed: the kernels' sources are compiled by g++ for an emulated one, in which
every load and store of global memory is counted. The picture is compared with ONNX Runtime's in the same run.
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from benchmarks.kernels import emulator
from benchmarks.kernels.around_detector import around_detector
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_bundle, add_count, main, parse_size
from tdfusion_edge.bundle import FUSION, Bundle, read
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.engines.cuda.parameters import BGR, BINS, NV12, THERMAL_STATE, YUYV, EdgeParameters
from tdfusion_edge.runtime.engines.cuda.thermal import KERNEL, SHARED_BYTES, THREADS, thermal_parameters
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS as EDGE_THREADS
from tdfusion_edge.runtime.engines.cuda.tiles import Limits, Plan, plan
from tdfusion_edge.runtime.engines.cuda.weights import edge_of, pack
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.picture.range import sample_step
from tdfusion_edge.runtime.picture.units import unit_inputs

MEGA, SECTOR, ALIGNED = 1e6, 32, 256
TOLERANCE = 2e-3
"""Of the fused luma; a kernel that computes something else moves something else."""
SHARED = 166_912, 167_936, 1536
"""Shared memory of a block and of a multiprocessor, and its threads: Orin's, sm_87."""


class Kind(NamedTuple):
    """Formats of one case."""

    visible: int
    fused: int
    infrared_bytes: int


CASES: Mapping[str, Kind] = MappingProxyType(
    {
        "nv12 to bgr": Kind(NV12, BGR, 1),
        "nv12 to nv12": Kind(NV12, NV12, 1),
        "yuyv to bgr": Kind(YUYV, BGR, 1),
        "bgr to bgr": Kind(BGR, BGR, 1),
        "nv12 to bgr, 16-bit infrared": Kind(NV12, BGR, 2),
    }
)
_WIDTH = MappingProxyType({BGR: 3, NV12: 1, YUYV: 2})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--case", choices=list(CASES), action="append", help="may be repeated (default: all)")
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH", help="both pictures (default: 640x480)"
    )
    add_count(parser, "multiprocessors", 8, "of the GPU that the launch is planned for")
    add_bundle(parser)


def measure(args: argparse.Namespace) -> Measured:
    """Launch every case once."""
    opened = read(args.bundle)
    facts: dict[str, str] = {}
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        library = emulator.Library(emulator.build(Path(folder), emulator.QUICK))
        for name in args.case or CASES:
            facts[f"{name}: launch"] = _edge(library, name, args, opened, figures)
        _thermal(library, args.size, figures)
        for name, moved in around_detector(opened, args.size, partial(_launched, library)).items():
            figures += _figures(name, moved)
    return Measured(Results(figures=tuple(figures)), facts)


def _edge(
    library: emulator.Library, name: str, args: argparse.Namespace, opened: Bundle, figures: list[Figure]
) -> str:
    _, onnx = opened.graph(FUSION, "fp32")
    prepared = prepared_edge(CASES[name], args.size, onnx, args.multiprocessors)
    moved = launched_edge(library, prepared)
    figures += _figures(name, moved)
    passes = round(moved.passes / moved.matrices, 3)
    figures.append(Figure(name=f"{name}, passes a matrix", value=passes, unit="of shared memory"))
    seen = _seen(opened, args.size)
    figures += _figures(
        f"{name}, with what heads see",
        launched_edge(library, prepared._replace(arrays={**prepared.arrays, **seen})),
    )
    error = _error(CASES[name], onnx, prepared.arrays, seen["luma"])
    figures.append(Figure(name=f"{name}, largest error of the luma", value=error, unit="of 1"))
    planned = prepared.plan
    return f"{planned.tile.kernel}, {planned.blocks} blocks: {planned.reason}"


def _seen(opened: Bundle, size: tuple[int, int]) -> dict[str, Any]:
    """Where `edge` stores what the bundle's heads see beside the picture: the luma, and maybe infrared."""
    planes: dict[str, Any] = {"luma": np.full(size[::-1], np.nan, np.float32)}
    if any(opened.manifest.graphs[name].takes_infrared for name in opened.manifest.heads):
        planes["aligned"] = np.zeros(size[::-1], np.uint8)
    return planes


class Prepared(NamedTuple):
    """A launch of `edge` on random pictures."""

    plan: Plan
    parameters: EdgeParameters
    """Without addresses."""
    arrays: dict[str, Any]
    """By the parameter that takes the address."""


def prepared_edge(kind: Kind, size: tuple[int, int], onnx: bytes, multiprocessors: int) -> Prepared:
    """What is launched for one case.

    Args:
        kind: Formats.
        size: Width and height of both pictures, pixels.
        onnx: The fusion graph.
        multiprocessors: Of the GPU that the launch is planned for.
    """
    width, height = size
    random = np.random.default_rng(0)
    infrared = random.integers(0, 256, (height, width)).astype(
        np.uint8 if kind.infrared_bytes == 1 else np.uint16
    )
    visible = random.integers(0, 256, (height, width * _WIDTH[kind.visible]), dtype=np.uint8)
    halves = (height + 1) // 2, (width + 1) // 2 * 2
    fused = np.zeros((height, width * _WIDTH[kind.fused]), np.uint8)
    arrays: dict[str, Any] = {
        "infrared": infrared, "visible": visible, "weights": pack(edge_of(onnx)),
        "limits": np.array([0, 1], np.float32),
        "fused": fused, "histogram": np.zeros(BINS + 1, np.uint32), "measured": np.zeros(2, np.float32),
    }  # fmt: skip
    if kind.visible == NV12:
        arrays["chroma"] = random.integers(0, 256, halves, dtype=np.uint8)
    if kind.fused == NV12:
        arrays["fused_chroma"] = np.zeros(halves, np.uint8)
    if kind.infrared_bytes == 2:
        arrays["thermal"] = np.array([1, 0], np.float32)
    p = EdgeParameters(
        width=width, height=height, infrared_width=width, infrared_height=height,
        infrared_pitch=infrared.strides[0], visible_pitch=visible.shape[1], chroma_pitch=halves[1],
        fused_pitch=fused.shape[1], fused_chroma_pitch=halves[1], infrared_bytes=kind.infrared_bytes,
        visible_format=kind.visible, fused_format=kind.fused, sample_step=sample_step(width * height),
    )  # fmt: skip
    return Prepared(plan(width, height, Limits(multiprocessors, *SHARED)), p, arrays)


def launched_edge(library: emulator.Library, prepared: Prepared) -> emulator.Traffic:
    """One launch; what it writes is in the arrays."""
    planned = prepared.plan
    size = planned.blocks, EDGE_THREADS, planned.tile.shared_bytes
    return _launched(library, planned.tile.kernel, *size, prepared.parameters, prepared.arrays)


def _error(kind: Kind, onnx: bytes, arrays: Mapping[str, Any], luma: Any) -> float:
    from tdfusion_edge.color import luma as luma_of

    visible = arrays["visible"]
    if kind.visible == YUYV:
        visible = np.ascontiguousarray(visible[:, ::2])
    elif kind.visible == BGR:
        visible = luma_of(visible.reshape(len(visible), -1, 3))
    engine = OnnxRuntimeEngine(onnx, threads=2)
    wanted = engine.run(unit_inputs(arrays["infrared"].astype(np.uint8), visible))["fused"][0, 0]
    error = float(np.abs(luma - wanted).max())
    if not error <= TOLERANCE:
        raise WorkError(
            "the kernel computes something else", expected=f"at most {TOLERANCE:g}", got=f"{error:g}"
        )
    return error


def _thermal(library: emulator.Library, size: tuple[int, int], figures: list[Figure]) -> None:
    width, height = size
    counts = np.random.default_rng(1).integers(7000, 9000, (height, width)).astype(np.uint16)
    arrays: dict[str, Any] = {
        "infrared": counts, "state": np.zeros(THERMAL_STATE, np.float32),
        "thermal": np.zeros(2, np.float32), "elapsed_share": np.zeros(1, np.float32),
    }  # fmt: skip
    p = thermal_parameters(size, 2, counts.strides[0], (1, 99))
    for _ in range(2):  # the first picture has none before it to be compared with
        moved = _launched(library, KERNEL, 1, THREADS, SHARED_BYTES, p, arrays)
    figures += _figures("thermal limits", moved)


def _launched(
    library: emulator.Library,
    kernel: str,
    blocks: int,
    threads: int,
    shared: int,
    parameters: ctypes.Structure,
    arrays: Mapping[str, Any],
) -> emulator.Traffic:
    held = {name: _aligned(array) for name, array in arrays.items()}
    for name, array in held.items():
        setattr(parameters, name, array.ctypes.data)
    moved = library.launch(kernel, blocks, threads, shared, bytes(parameters))
    for name, array in held.items():
        arrays[name].reshape(-1).view(np.uint8)[:] = array
    return moved


def _aligned(array: Any) -> Any:
    """The bytes of an array where a GPU would place them, at a multiple of 256."""
    room = np.zeros(array.nbytes + ALIGNED, np.uint8)
    start = -room.ctypes.data % ALIGNED
    room[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    return room[start : start + array.nbytes]


def _figures(name: str, moved: emulator.Traffic) -> list[Figure]:
    sums = {
        "memory": SECTOR * (moved.once_loaded + moved.once_stored),
        "requests": SECTOR * (moved.sectors_loaded + moved.sectors_stored),
        "instructions": moved.loaded + moved.stored,
    }
    return [
        Figure(name=f"{name}, {what}", value=round(size / MEGA, 4), unit="MB") for what, size in sums.items()
    ]


BENCHMARK = Benchmark("kernels", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
