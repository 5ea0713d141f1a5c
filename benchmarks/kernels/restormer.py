"""What our kernels for the paper's F move between GPU and memory, counted from their own loads and stores.

  python -m benchmarks.kernels.restormer
  python -m benchmarks.kernels.restormer --size 160x120

No GPU is needed and none is timed: the kernels' sources are compiled by g++ for an emulated one, which takes
minutes for a picture of 640x480. The weights are random, for nothing that is moved depends on them; the
picture is compared with PyTorch's in the same run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.kernels import emulator
from benchmarks.kernels.__main__ import ALIGNED, MEGA, SECTOR, SHARED
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_count, main, parse_size
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.engines.cuda.restormer.network import Block, Merge, Network, Norm, Separable
from tdfusion_edge.runtime.engines.cuda.restormer.path import packed, program
from tdfusion_edge.runtime.engines.cuda.restormer.plan import THREADS
from tdfusion_edge.runtime.engines.cuda.tiles import Limits

TOLERANCE = 2e-3
"""Of the fused luma."""
KINDS = ("stem", "gram", "fold", "apply", "head")
"""Kernels, by the first word of their names."""


class Counted(NamedTuple):
    """One picture through the emulated GPU."""

    luma: Any
    """float32 (H, W)"""
    moved: dict[str, list[emulator.Traffic]]
    """Of every launch, by the first word of its kernel's name."""
    kernels: tuple[str, ...]
    """In the order in which they were launched."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH", help="both pictures (default: 640x480)"
    )
    add_count(parser, "multiprocessors", 8, "of the GPU that the launches are planned for")


def measure(args: argparse.Namespace) -> Measured:
    """One picture."""
    net, pictures = random_network(), random_pictures(args.size)
    with tempfile.TemporaryDirectory() as folder:
        path = emulator.build(Path(folder), emulator.QUICK, kernels=emulator.RESTORMER)
        limits = Limits(args.multiprocessors, *SHARED)
        counted = fused(emulator.Library(path), weights_of(net), pictures, limits)
    error = float(np.abs(counted.luma - exact(net, pictures)).max())
    if not error <= TOLERANCE:
        raise WorkError(
            "the kernels compute something else", expected=f"at most {TOLERANCE:g}", got=f"{error:g}"
        )
    figures = [one for kind in KINDS for one in _figures(kind, counted.moved[kind])]
    figures += _figures("all", [one for kind in KINDS for one in counted.moved[kind]])
    passes, matrices = (
        sum(getattr(one, name) for some in counted.moved.values() for one in some)
        for name in ("passes", "matrices")
    )
    figures.append(Figure(name="passes a matrix", value=round(passes / matrices, 3), unit="of shared memory"))
    figures.append(Figure(name="largest error of the luma", value=error, unit="of 1"))
    facts = {"launches": ", ".join(counted.kernels), "size": "{}x{}".format(*args.size)}
    return Measured(Results(figures=tuple(figures)), facts)


def random_network(seed: int = 0) -> Any:
    """F with a fresh network's weights."""
    import torch

    from tdfusion_edge.train.models.tdfusion import TDFusion

    torch.manual_seed(seed)
    return TDFusion().eval()


def random_pictures(size: tuple[int, int]) -> Any:
    """Infrared and visible, uint8 (2, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (2, size[1], size[0]), np.uint8)


def exact(net: Any, pictures: Any) -> Any:
    """The fused luma of uint8 (2, H, W) by PyTorch in float32, (H, W)."""
    import torch

    with torch.inference_mode():
        lumas = torch.from_numpy(pictures.astype(np.float32) / 255)[:, None, None]
        return net(lumas[0], lumas[1]).fused[0, 0].numpy()


def fused(library: emulator.Library, network: Network, pictures: Any, limits: Limits) -> Counted:
    """Fuse one pair on the emulated GPU.

    Args:
        library: The kernels.
        network: The weights.
        pictures: Infrared and visible, uint8 (2, H, W).
        limits: Of the GPU that the launches are planned for.
    """
    height, width = pictures.shape[1:]
    made = program(packed(network), (width, height), limits)
    memory = {name: aligned(size) for name, size in made.scratch.items()}
    for name, array in {**made.constants, "infrared": pictures[0], "visible": pictures[1]}.items():
        memory[name] = aligned(array.nbytes)
        memory[name][:] = array.reshape(-1)
    memory["luma"] = aligned(4 * width * height)
    moved: dict[str, list[emulator.Traffic]] = {kind: [] for kind in KINDS}
    for step in made.steps:
        for field, name in step.at.items():
            setattr(step.parameters, field, memory[name].ctypes.data)
        size = step.blocks, THREADS, step.shared_bytes
        traffic = library.launch(step.kernel, *size, bytes(step.parameters))
        moved[step.kernel.split("_")[0]].append(traffic)
    luma = memory["luma"].view(np.float32).reshape(height, width)
    return Counted(luma, moved, tuple(step.kernel for step in made.steps))


def aligned(size: int) -> Any:
    """So many bytes where a GPU would place them."""
    room = np.zeros(size + ALIGNED, np.uint8)
    start = -room.ctypes.data % ALIGNED
    return room[start : start + size]


def _figures(name: str, moved: list[emulator.Traffic]) -> list[Figure]:
    sums = {
        "memory": SECTOR * sum(one.once_loaded + one.once_stored for one in moved),
        "requests": SECTOR * sum(one.sectors_loaded + one.sectors_stored for one in moved),
    }
    return [
        Figure(name=f"{name}, {what}", value=round(size / MEGA, 3), unit="MB") for what, size in sums.items()
    ]


def weights_of(net: Any) -> Network:
    """The weights of a PyTorch network, as :func:`recognise.network_of` finds them in its graph."""
    infrared, visible = net.encoder_infrared, net.encoder_visible
    return Network(
        (_array(net.stem_infrared.weight)[:, 0], _array(net.stem_visible.weight)[:, 0]),
        (
            (block_of(infrared[0]), block_of(infrared[1])),
            (block_of(visible[0]), block_of(visible[1])),
        ),
        merge_of(net.merge),
        (block_of(net.decoder[0]), block_of(net.decoder[1])),
        _array(net.head1.weight),
        _array(net.head2.weight)[0],
    )


def block_of(block: Any) -> Block:
    """The weights of a Restormer block."""
    attention, fed = block.attention, block.feed_forward
    return Block(
        Norm(_array(block.norm1.weight), _array(block.norm1.bias)),
        _separable(attention.qkv, attention.qkv_depthwise),
        _array(attention.temperature).ravel(),
        _point(attention.project),
        Norm(_array(block.norm2.weight), _array(block.norm2.bias)),
        _separable(fed.expand, fed.depthwise),
        _point(fed.project),
    )


def merge_of(merge: Any) -> Merge:
    """The weights of a cross-attention merge."""
    return Merge(
        (_separable(*merge.qkv_infrared), _separable(*merge.qkv_visible)),
        (_array(merge.temperature_infrared).ravel(), _array(merge.temperature_visible).ravel()),
        (_point(merge.project_infrared), _point(merge.project_visible)),
        _separable(*merge.gates),
        (_separable(*merge.value_infrared), _separable(*merge.value_visible)),
        (_point(merge.out_infrared), _point(merge.out_visible)),
    )


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy().astype(np.float32)


def _separable(point: Any, depth: Any) -> Separable:
    return Separable(_point(point), _array(depth.weight)[:, 0])


def _point(convolution: Any) -> Any:
    return _array(convolution.weight)[:, :, 0, 0]


BENCHMARK = Benchmark("kernels.restormer", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
