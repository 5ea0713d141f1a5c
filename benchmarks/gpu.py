"""Our CUDA kernels on a GPU beside the same ways in PyTorch: time, error, share of a copy's bandwidth.

  python -m benchmarks.gpu
  python -m benchmarks.gpu --size 1920x1080 --seconds 200

It wants PyTorch, nvcc and cuda-python, and neither TensorRT nor a network, and takes at most --seconds and
what `torch.compile` needs. The kernels are compiled for the GPU that is there. Every way fuses the same
pictures, more of them than a cache holds, between two events of the GPU; the ways take turns. Where the
kernel's picture is not PyTorch's in float64, nothing is written. The paper's F has rows of its own, with a
fresh network's weights.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.schema import Figure, Ratio, Results, Timing
from benchmarks.script import Benchmark, Measured, add_bundle, add_count, main, parse_size
from tdfusion_edge.bundle import FUSION, read
from tdfusion_edge.console import say
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.engines.cuda.build import compile_kernels
from tdfusion_edge.runtime.engines.cuda.device import Device, open_device
from tdfusion_edge.runtime.measuring.timing import Samples, in_turn, ratio, timing

OURS, EAGER, COMPILED, THERMAL = "our kernel", "PyTorch FP32", "torch.compile FP16", "thermal limits"
LUMA, LEVELS = 2e-3, 1
"""Most between the kernel's fused luma and that of float64, and between the pictures, in levels."""
WARM_UP = 3
MEGA = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--size", type=parse_size, action="append", metavar="WxH",
        help="both pictures, may be repeated (default: 640x480 and 1920x1080)",
    )  # fmt: skip
    add_count(parser, "rounds", 30, "rounds at most")
    add_count(parser, "seconds", 240, "end the rounds after so many seconds")
    parser.add_argument("--no-compile", action="store_true", help=f"leave {COMPILED} out")
    parser.add_argument("--no-f", action="store_true", help="leave the paper's F out")
    add_bundle(parser)


def measure(args: argparse.Namespace) -> Measured:
    """Compile the kernels, compare the pictures, and let all ways take turns."""
    _, onnx = read(args.bundle).graph(FUSION, "fp32")
    device = open_device()
    gpu = device.gpu
    sizes = args.size or [(640, 480), (1920, 1080)]
    timings: list[Timing] = []
    ratios: list[Ratio] = []
    figures: list[Figure] = []
    facts = {
        "GPU": f"{gpu.name}, sm_{gpu.capability}, {gpu.limits.multiprocessors} SMs",
        "driver": "CUDA {}.{}".format(*gpu.driver),
    }
    image = compiled_for(gpu.capability)
    end_s = time.monotonic() + args.seconds
    for number, size in enumerate(sizes):
        say("{}x{} ...".format(*size), error=True)
        with ExitStack() as stack:
            cases, ours, exact = opened(device, image, onnx, size, stack, compiled=not args.no_compile)
            figures += compared(ours, exact, size)
            left_s = max(1.0, (end_s - time.monotonic()) / (len(sizes) - number))
            samples = in_turns(cases, args.rounds, left_s if args.no_f else left_s / 2)
        rows, quotients = tabled(samples, size)
        timings += rows
        ratios += quotients
        figures += bandwidth(samples, size)
        if not args.no_f:
            rows, quotients, more = of_f(device, image, size, args, left_s / 2)
            timings += rows
            ratios += quotients
            figures += more
    device.close()
    results = Results(timings=tuple(timings), ratios=tuple(ratios), figures=tuple(figures))
    return Measured(results, facts)


def compiled_for(capability: int) -> bytes:
    """The kernels for one GPU.

    Raises:
        EngineError: nvcc is missing or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernels.fatbin"
        compile_kernels(shutil.which("nvcc") or "nvcc", target, [capability])
        return target.read_bytes()


Cases = Mapping[str, Callable[[], float]]
"""Milliseconds of one picture, by the way that it went."""
Made = Callable[[], tuple[Any, Any]]
"""Makes the first set's picture and its fused luma."""


def opened(
    device: Device,
    image: bytes,
    onnx: bytes,
    size: tuple[int, int],
    stack: ExitStack,
    *,
    compiled: bool,
) -> tuple[Cases, Made, Made]:
    """All ways for one size, closed by ``stack``; ours and that of float64."""
    import torch

    from benchmarks.kernels.in_torch import CameraToPicture, TorchCase, network
    from benchmarks.kernels.on_gpu import EdgeLaunches, ThermalLaunches

    ours, thermal = EdgeLaunches(device, image, onnx, size), ThermalLaunches(device, image, size)
    stack.callback(thermal.close)
    stack.callback(ours.close)
    eager = TorchCase(CameraToPicture(network(onnx)).cuda(), ours.given)
    cases = {OURS: ours.milliseconds, EAGER: eager.milliseconds, THERMAL: thermal.milliseconds}
    if compiled:
        half: Any = torch.compile(CameraToPicture(network(onnx).half()).cuda())
        cases[COMPILED] = TorchCase(half, ours.given).milliseconds

    def by_kernel() -> tuple[Any, Any]:
        ours.milliseconds()
        return ours.fused(0), ours.luma(0)

    def exact() -> tuple[Any, Any]:
        way = CameraToPicture(network(onnx).double()).cuda()
        with torch.inference_mode():
            made = way(*(torch.from_numpy(ours.given[0][name]).cuda() for name in ("infrared", "visible")))
        return made[0].cpu().numpy(), made[1].cpu().numpy()

    return cases, by_kernel, exact


def compared(ours: Made, exact: Made, size: tuple[int, int]) -> Iterator[Figure]:
    """The largest differences of our picture from the exact one.

    Raises:
        WorkError: they are too large: what computes something else takes another time.
    """
    (picture, luma), (wanted, wanted_luma) = ours(), exact()
    levels, error = int(np.abs(picture.astype(int) - wanted).max()), float(np.abs(luma - wanted_luma).max())
    if not (levels <= LEVELS and error <= LUMA):
        raise WorkError(
            "the kernel gives another picture",
            expected=f"at most {LEVELS} level and {LUMA:g} of the luma",
            got=f"{levels} and {error:.2g}",
        )
    yield Figure(name=row("largest error of the picture", size), value=levels, unit="levels")
    yield Figure(name=row("largest error of the luma", size), value=error, unit="of 1")


def in_turns(
    cases: Cases, rounds: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> Samples:
    """Milliseconds of each case by round: the order rotates, and the time is the GPU's own."""
    for _ in range(WARM_UP):
        for case in cases.values():
            case()
    samples: Samples = {name: {} for name in cases}
    end_s = clock() + seconds
    for number in range(rounds):
        if number and clock() > end_s:
            break
        for name in in_turn(list(cases), number):
            samples[name][number] = round(cases[name](), 6)
    return samples


def of_f(
    device: Device, image: bytes, size: tuple[int, int], args: argparse.Namespace, seconds: float
) -> tuple[list[Timing], list[Ratio], list[Figure]]:
    """The paper's F at one size.

    Raises:
        WorkError: our kernels give another luma than PyTorch in float64.
    """
    from benchmarks.kernels import network_on_gpu as f

    with ExitStack() as stack:
        cases, ours, exact = f.opened(device, image, size, stack, compiled=not args.no_compile)
        error = float(np.abs(ours() - exact()).max())
        if not error <= LUMA:
            raise WorkError("the kernels of F give another luma", expected=f"{LUMA:g}", got=f"{error:.2g}")
        samples = in_turns(cases, args.rounds, seconds)
    rows, quotients = tabled(samples, size, f.OURS, (f.EAGER, f.COMPILED))
    median = float(np.median(list(samples[f.OURS].values())))
    share = round(f.least_bytes(size) / median / copy_rate(), 4)
    return (
        rows,
        quotients,
        [
            Figure(name=row("largest error of F's luma", size), value=error, unit="of 1"),
            Figure(name=row(f"{f.OURS} of a copy's bandwidth", size), value=share, unit="of 1"),
        ],
    )


def tabled(
    samples: Samples,
    size: tuple[int, int],
    ours: str = OURS,
    others: tuple[str, ...] = (EAGER, COMPILED),
) -> tuple[list[Timing], list[Ratio]]:
    """Statistics of one size, and how many times as long PyTorch takes."""
    named = {row(name, size): values for name, values in samples.items()}
    return (
        [timing(name, values) for name, values in named.items()],
        [ratio(named, row(name, size), row(ours, size)) for name in others if name in samples],
    )


def copy_rate() -> float:
    """Bytes that a copy within the GPU moves in a millisecond."""
    from benchmarks.kernels.in_torch import copy_milliseconds

    copied = 1 << 30
    return 2 * copied / copy_milliseconds(copied)


def bandwidth(samples: Samples, size: tuple[int, int]) -> Iterator[Figure]:
    """What the pictures of one launch are of the bytes that a copy moves in the same time."""
    rate = copy_rate()
    yield Figure(name=row("copy", size), value=round(rate / MEGA, 1), unit="GB/s")
    pictures = size[0] * size[1] * (1 + 3 + 3)  # infrared, BGR, BGR
    median = float(np.median(list(samples[OURS].values())))
    share = round(pictures / median / rate, 4)
    yield Figure(name=row("our kernel of a copy's bandwidth", size), value=share, unit="of 1")


def row(name: str, size: tuple[int, int]) -> str:
    """Name of a row."""
    return f"{name} {size[0]}x{size[1]}"


BENCHMARK = Benchmark("gpu", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
