"""F on a GPU: two lumas in, the fused luma out, by 17 launches in one graph.

Both encoders go through the same launches. Features pass to and fro between two buffers; memory is taken
once. Where GPU and CPU share their memory, the ends read and write page-locked memory and nothing is copied.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.runtime.engines.cuda.device import Device, Handle
from tdfusion_edge.runtime.engines.cuda.held import Held
from tdfusion_edge.runtime.engines.cuda.parameters import (
    ApplyParameters,
    FoldParameters,
    GramParameters,
    HeadParameters,
    StemParameters,
)
from tdfusion_edge.runtime.engines.cuda.restormer import pack
from tdfusion_edge.runtime.engines.cuda.restormer.network import WIDTH, Network
from tdfusion_edge.runtime.engines.cuda.restormer.plan import (
    DECODER,
    ENCODER,
    MERGE,
    THREADS,
    Kind,
    head_of,
    pass_of,
    stem_of,
)
from tdfusion_edge.runtime.engines.cuda.tiles import Limits

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
PIXEL_BYTES = 2 * 2 * WIDTH
"""Of both streams' features, or of the decoder's."""


class Weights(NamedTuple):
    """F as the kernels take it."""

    stems: U8
    blocks: tuple[pack.Packed, ...]
    """Two of both encoders, the merge, two of the decoder."""
    head: U8


class _Step(NamedTuple):
    """One launch, its addresses apart."""

    kernel: str
    blocks: int
    shared_bytes: int
    parameters: ctypes.Structure
    at: dict[str, str]
    """What its addresses are of: memory by name."""


class Program(NamedTuple):
    """All launches for one size of pictures, and the memory that they share."""

    steps: tuple[_Step, ...]
    scratch: dict[str, int]
    """Bytes by name."""
    constants: dict[str, U8]
    """Weights by name."""


def packed(network: Network) -> Weights:
    """F as the kernels take it.

    Raises:
        EngineError: a weight that FP16 does not hold.
    """
    encoders = [
        pack.Packed(*(np.concatenate(one) for one in zip(*map(pack.pack_block, pair), strict=True)))
        for pair in zip(*network.encoders, strict=True)
    ]
    decoder = [pack.pack_block(block) for block in network.decoder]
    blocks = (*encoders, pack.pack_merge(network.merge), *decoder)
    return Weights(pack.pack_stems(network), blocks, pack.pack_head(network))


def program(weights: Weights, size: tuple[int, int], limits: Limits) -> Program:
    """The launches for one size of pictures.

    Args:
        weights: Of the network.
        size: Width and height, pixels.
        limits: Of the GPU.

    Raises:
        EngineError: the GPU has too little shared memory.
    """
    width, height = size
    constants = {"stems": weights.stems, "head": weights.head}
    stem = stem_of(size, limits)
    shape = StemParameters(width=width, height=height, infrared_pitch=width, visible_pitch=width)
    names = {"infrared": "infrared", "visible": "visible", "weights": "stems", "target": "features0"}
    steps = [_Step(stem.kernel, stem.blocks, stem.shared_bytes, shape, names)]
    partial = 0
    kinds = ENCODER, ENCODER, MERGE, DECODER, DECODER
    for number, (kind, one) in enumerate(zip(kinds, weights.blocks, strict=True)):
        for name, array in one._asdict().items():
            constants[f"{name}{number}"] = array
        made, floats = _block(number, kind, size, limits)
        steps += made
        partial = max(partial, floats)
    end = head_of(size, limits)
    names = {"source": f"features{len(kinds) % 2}", "weights": "head", "luma": "luma"}
    shape_end = HeadParameters(width=width, height=height)
    steps.append(_Step(end.kernel, end.blocks, end.shared_bytes, shape_end, names))
    pixels = width * height
    scratch = {
        "features0": PIXEL_BYTES * pixels, "features1": PIXEL_BYTES * pixels,
        "partial": 4 * partial, "mixing": max(2 * ENCODER.mixing_bytes, DECODER.mixing_bytes),
    }  # fmt: skip
    return Program(tuple(steps), scratch, constants)


def _block(number: int, kind: Kind, size: tuple[int, int], limits: Limits) -> tuple[list[_Step], int]:
    """The three launches of a block, and how many floats the first one writes."""
    width, height = size
    streams = 2 if kind is ENCODER else 1
    pixel, stream = 2 * kind.channels, 2 * kind.channels * width * height
    source, target = f"features{number % 2}", f"features{(number + 1) % 2}"
    first, second = (pass_of(name, kind, size, streams, limits) for name in ("gram", "apply"))
    gram = GramParameters(stream_bytes=stream, width=width, height=height, streams=streams, pixel_bytes=pixel)
    fold = FoldParameters(share=1 / (width * height), blocks=first.blocks // streams, streams=streams)
    # The encoders' last blocks write side by side what the merge takes as one.
    joins = kind is ENCODER and number == 1
    apply = ApplyParameters(
        stream_bytes=stream, target_stream_bytes=pixel if joins else stream, width=width, height=height,
        streams=streams, pixel_bytes=pixel, target_pixel_bytes=PIXEL_BYTES if joins else pixel,
    )  # fmt: skip
    mixed = {"weights": f"fold{number}", "partial": "partial", "mixing": "mixing"}
    given = {"source": source, "weights": f"gram{number}", "partial": "partial"}
    ends = {"source": source, "weights": f"apply{number}", "mixing": "mixing", "target": target}
    return [
        _Step(first.kernel, first.blocks, first.shared_bytes, gram, given),
        _Step(f"fold_{kind.name}", streams, kind.fold_shared_bytes, fold, mixed),
        _Step(second.kernel, second.blocks, second.shared_bytes, apply, ends),
    ], first.blocks * kind.sums


class NetworkPath:
    """Fuses lumas of one size on one GPU.

    Args:
        device: The GPU, which stays the caller's to close.
        image: The compiled kernels.
        weights: Of the network.
        size: Width and height, pixels.

    Raises:
        EngineError: the GPU has too little memory, or the kernels are not for it.
    """

    def __init__(self, device: Device, image: bytes, weights: Weights, size: tuple[int, int]) -> None:
        self._device, self._size = device, size
        self._held = Held(device)
        made = program(weights, size, device.gpu.limits)
        pixels = size[0] * size[1]
        try:
            self._stream, self._done = device.open_stream(), device.open_event()
            names = {(step.kernel, step.shared_bytes) for step in made.steps}
            kernels = {key: device.kernel(image, *key) for key in names}
            self._ends = {"infrared": pixels, "visible": pixels, "luma": 4 * pixels}
            self._host = {name: self._held.allocate_host(count) for name, count in self._ends.items()}
            at = {name: self._held.allocate(count) for name, count in made.scratch.items()}
            at |= {name: self._put(array) for name, array in made.constants.items()}
            for name, count in self._ends.items():
                shared = device.gpu.integrated
                at[name] = self._host[name].address if shared else self._held.allocate(count)
            self._at = at
            self._launches = [
                _placed(step, kernels[step.kernel, step.shared_bytes], at) for step in made.steps
            ]
            self._graph: Handle = None
        except BaseException:
            self.close()
            raise

    def fuse(self, infrared: U8, visible: U8) -> F32:
        """Fuse two lumas and wait for it.

        Args:
            infrared: uint8 (H, W).
            visible: uint8 (H, W).

        Returns:
            float32 (H, W); the next call overwrites it.

        Raises:
            EngineError: the GPU failed.
        """
        device, integrated = self._device, self._device.gpu.integrated
        for name, picture in (("infrared", infrared), ("visible", visible)):
            self._host[name].array[:] = picture.reshape(-1)
            if not integrated:
                device.copy_in(self._at[name], self._host[name].array, self._stream)
        if not device.captures:
            self._queue()
        else:
            if self._graph is None:
                device.begin_capture(self._stream)
                self._queue()
                self._graph = device.end_capture(self._stream)
            device.launch_graph(self._graph, self._stream)
        if not integrated:
            device.copy_out(self._host["luma"].array, self._at["luma"], self._stream)
        device.record(self._done, self._stream)
        device.await_event(self._done)
        width, height = self._size
        luma: F32 = self._host["luma"].array.view(np.float32).reshape(height, width)
        return luma

    def close(self) -> None:
        """Give all memory back; safe to call twice."""
        self._held.release()

    def _queue(self) -> None:
        for kernel, blocks, shared, parameters in self._launches:
            self._device.launch(kernel, blocks, THREADS, shared, parameters, self._stream)

    def _put(self, array: U8) -> int:
        host = self._held.allocate_host(array.nbytes)
        host.array[:] = array
        address = self._held.allocate(array.nbytes)
        self._device.copy_in(address, host.array, self._stream)
        return address


def _placed(step: _Step, kernel: Handle, at: dict[str, int]) -> tuple[Handle, int, int, ctypes.Structure]:
    """A launch with its addresses."""
    parameters = type(step.parameters).from_buffer_copy(step.parameters)
    for field, name in step.at.items():
        setattr(parameters, field, at[name])
    return kernel, step.blocks, step.shared_bytes, parameters
