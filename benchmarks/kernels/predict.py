"""What a Jetson could do at best: bounds from the kernel's counted work, **and measured on no device**.

  python -m benchmarks.kernels.predict
  python -m benchmarks.kernels.predict --size 1280x720

Three things bound a launch of `edge` from below: bytes over the memory's bandwidth, multiplications over the
tensor cores' rate, and what these take from shared memory. Bytes and shared memory are counted while the
kernel's own sources run on an emulated GPU of so many multiprocessors; the busiest multiprocessor decides.
Arithmetic beside the products, the start of a launch and whatever else the memory serves are in none of them:
a device is slower. `tdfusion-edge bench --backend cuda` on it replaces all of this.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.kernels import emulator
from benchmarks.kernels.__main__ import CASES, SECTOR, launched_edge, prepared_edge
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_bundle, main, parse_size
from tdfusion_edge.bundle import FUSION, read

CASE = "bgr to bgr"
"""What a Fuser hands over."""
PASS_BYTES = 128
"""Of shared memory, in one clock of one multiprocessor."""
KILO = 1000


class Module(NamedTuple):
    """What NVIDIA's data sheets say of one module in its fastest mode."""

    name: str
    multiprocessors: int
    gpu_mhz: float
    gigabytes_a_second: float
    products: int
    """FP16 multiplications of all tensor cores of a multiprocessor in one clock."""


MODULES = (
    Module("Orin Nano 4GB", 4, 625, 34, 1024),
    Module("Orin Nano 8GB", 8, 625, 68, 1024),
    Module("Orin Nano 8GB Super", 8, 1020, 102, 1024),
    Module("Orin NX 16GB", 8, 918, 102, 1024),
    Module("Orin NX 16GB Super", 8, 1173, 102, 1024),
    Module("AGX Orin 32GB", 14, 930, 204.8, 1024),
    Module("AGX Orin 64GB", 16, 1301, 204.8, 1024),
)
"""Rates of the tensor cores follow from the sheets' INT8 operations with sparsity, of which dense FP16 are a
quarter. Thor is not here: its sheet tells what other instructions than the kernel's reach."""


class Work(NamedTuple):
    """Of one launch."""

    megabytes: float
    products: float
    """Multiplications of the busiest multiprocessor, what is computed around its tiles included."""
    passes: float
    """Of shared memory on the busiest multiprocessor."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH", help="both pictures (default: 640x480)"
    )
    add_bundle(parser)


def measure(args: argparse.Namespace) -> Measured:
    """Count the work for every number of multiprocessors, and divide it."""
    _, onnx = read(args.bundle).graph(FUSION, "fp32")
    counted: dict[int, Work] = {}
    with tempfile.TemporaryDirectory() as folder:
        library = emulator.Library(emulator.build(Path(folder), emulator.QUICK))
        for module in MODULES:
            if module.multiprocessors not in counted:
                counted[module.multiprocessors] = work(library, args.size, onnx, module.multiprocessors)
    figures = [figure for module in MODULES for figure in bounds(module, counted[module.multiprocessors])]
    facts = {"these are": "predictions: bounds from counted work, not measured on any device", "case": CASE}
    return Measured(Results(figures=tuple(figures)), facts)


def work(library: emulator.Library, size: tuple[int, int], onnx: bytes, multiprocessors: int) -> Work:
    """Count the work of one launch."""
    prepared = prepared_edge(CASES[CASE], size, onnx, multiprocessors)
    moved = launched_edge(library, prepared)
    tile, blocks = prepared.plan.tile, prepared.plan.blocks
    tiles = tile.tiles_of(*size)
    busiest = -(-tiles // blocks) * -(-blocks // multiprocessors)
    return Work(
        megabytes=SECTOR * (moved.once_loaded + moved.once_stored) / 1e6,
        products=KILO * tile.work(*size) * busiest / tiles,
        passes=moved.passes * busiest / tiles,
    )


def bounds(module: Module, counted: Work) -> Iterator[Figure]:
    """What each of the three takes alone, in microseconds; their largest if all overlap, else their sum."""
    clocks = module.gpu_mhz  # a microsecond
    parts = {
        "memory": counted.megabytes * 1e3 / module.gigabytes_a_second,
        "tensor cores": counted.products / (module.products * clocks),
        "shared memory": counted.passes / clocks,
    }
    for name, value in parts.items():
        yield Figure(name=f"{module.name}: {name}", value=round(value, 2), unit="us, predicted")
    for name, value in (("all at once", max(parts.values())), ("one by one", sum(parts.values()))):
        yield Figure(name=f"{module.name}: {name}", value=round(value, 2), unit="us, predicted")


BENCHMARK = Benchmark("kernels.predict", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
