"""From camera pictures to the fused one on a GPU: two launches a pair, the next pair on its way meanwhile.

A slot holds what one pair needs. While the kernels work on one slot's pair, the next slot's is copied to the
GPU and the last one's picture back, each on a stream of its own; events order them. Where GPU and CPU share
their memory nothing is copied: the kernels read and write the slot's page-locked memory. Memory is taken
once, and the CPU waits in :meth:`PicturePath.take` alone.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.cuda import thermal
from tdfusion_edge.runtime.engines.cuda.device import Device, Handle, HostMemory
from tdfusion_edge.runtime.engines.cuda.parameters import (
    BGR,
    BINS,
    GREY,
    NV12,
    THERMAL_STATE,
    YUYV,
    EdgeParameters,
    ThermalParameters,
)
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS, Plan, plan
from tdfusion_edge.runtime.picture.range import sample_step

F32 = npt.NDArray[np.float32]
BYTES = {GREY: 1, BGR: 3, NV12: 1, YUYV: 2}
"""Of a pixel; of NV12 those of its lumas."""
SLOTS = 2
POINTED = (
    *("infrared", "visible", "chroma", "share", "weights", "fused", "fused_chroma", "luma"),
    *("histogram", "measured"),
)
"""Addresses among the parameters of `edge` that a slot or the path has memory for under the same name."""


@dataclass(frozen=True, slots=True)
class Form:
    """What goes in and what comes out; one path serves one form."""

    size: tuple[int, int]
    """Width and height of the visible picture and of the fused one, pixels."""
    infrared_size: tuple[int, int]
    infrared_bytes: int = 1
    """Of a count: 1 or 2."""
    visible: int = BGR
    """GREY, BGR, NV12 or YUYV."""
    fused: int | None = BGR
    """GREY, BGR or NV12; None: no picture."""
    luma: bool = False
    """Whether the fused luma before the stretch is wanted."""
    percentiles: tuple[float, float] | None = None
    """Of infrared counts, 0 to 100, that become 0 and 255; None: they are levels, or :attr:`corrected`."""
    corrected: bool = False
    """Whether gain and offset from counts to levels come with every pair."""
    limited_range: bool = False
    """Of NV12 and YUYV: lumas are 16 to 235, as video has them."""
    inverse: tuple[float, ...] | None = None
    """Homography from visible pixels to infrared ones, row by row; None: they are the same pixels."""

    def __post_init__(self) -> None:
        if self.inverse is None and self.infrared_size != self.size:
            raise EngineError(
                "infrared of another size needs a homography",
                expected=f"{self.size}",
                got=f"{self.infrared_size}",
            )
        if self.visible == YUYV and self.size[0] % 2:
            raise EngineError("YUYV pictures have an even width", got=str(self.size[0]))
        if self.percentiles is not None and self.corrected:
            raise EngineError("infrared has percentiles for its range, or a correction with every pair")
        if self.infrared_bytes == 2 and self.percentiles is None and not self.corrected:
            raise EngineError("16-bit infrared needs percentiles for its range, or a correction")

    def planes(self, kind: int) -> tuple[tuple[int, int], ...]:
        """Rows and bytes a row of a picture's planes."""
        width, height = self.size
        first = (height, width * BYTES[kind])
        return (first, (-(-height // 2), -(-width // 2) * 2)) if kind == NV12 else (first,)


class Fused(NamedTuple):
    """What became of a pair; views of memory that the next pair but one overwrites."""

    planes: tuple[Array, ...]
    """uint8 (H, W), (H, W, 3) BGR, or the two planes of NV12."""
    luma: F32 | None
    measured: tuple[float, float]
    """Stretch limits that this picture alone would have, in fused luma."""


class _Slot(NamedTuple):
    host: dict[str, HostMemory]
    device: dict[str, int]
    edge: EdgeParameters
    thermal: ThermalParameters | None
    uploaded: Handle
    computed: Handle
    downloaded: Handle
    graph: list[Handle]


class PicturePath:
    """Fuses pairs of one form on one GPU, in their order. One thread submits and takes.

    Args:
        device: The GPU, which stays the caller's to close.
        image: The compiled kernels.
        weights: As :func:`~tdfusion_edge.runtime.engines.cuda.weights.pack` gives them.
        form: What goes in and what comes out.
        slots: Pairs that may be on their way.
        share: uint8 (H, W), how much of the fused luma counts at the border of infrared's view, 0 outside
            of it; None where infrared sees everything.

    Raises:
        EngineError: the GPU has too little memory, or the kernels are not for it.
    """

    def __init__(
        self,
        device: Device,
        image: bytes,
        weights: npt.NDArray[np.uint8],
        form: Form,
        *,
        slots: int = SLOTS,
        share: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self._device, self.form = device, form
        self.plan: Plan = plan(*form.size, device.gpu.limits)
        self._edge = device.kernel(image, self.plan.tile.kernel, self.plan.tile.shared_bytes)
        self._thermal = device.kernel(image, thermal.KERNEL, thermal.SHARED_BYTES)
        self._addresses: list[int] = []
        self._hosts: list[HostMemory] = []
        self._inputs, self._outputs = _inputs_of(form), _outputs_of(form)
        try:
            self._upload, self._compute, self._download = (device.open_stream() for _ in range(3))
            self._constants = self._put_constants({"weights": weights, "share": share})
            self._slots = [self._slot() for _ in range(slots)]
        except BaseException:
            self._release()
            raise
        self._waiting: deque[_Slot] = deque()
        self._next = 0

    def submit(
        self,
        pictures: Mapping[str, Array],
        limits: Sequence[float],
        share: float = 1.0,
        correction: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        """Put a pair on its way.

        Args:
            pictures: ``infrared`` uint8 or uint16 (H, W), ``visible`` with the bytes of its format, and for
                NV12 ``chroma``; they may change as soon as this returns.
            limits: Fused lumas that are shown as 0 and as 255, the second above the first.
            share: Of the way to their target that the limits of the thermal range cover since the last pair;
                1 begins a new stream.
            correction: Gain and offset from counts to levels, where the form has such.

        Raises:
            EngineError: pictures of another form, all slots are on their way, or the GPU failed.
        """
        slot = self._slots[self._next]
        if len(self._waiting) == len(self._slots):
            raise EngineError(
                f"{len(self._slots)} pairs are on their way", expected="a take() before the next one"
            )
        if set(pictures) != set(self._inputs) - {"numbers"}:
            raise EngineError("pictures", expected=", ".join(self._inputs), got=", ".join(pictures))
        numbers = np.array([*limits, share, *correction], np.float32)
        if not (np.isfinite(numbers).all() and numbers[1] > numbers[0]):
            raise EngineError("limits of the stretch", expected="the second above the first", got=str(limits))
        for name, given in {**pictures, "numbers": numbers}.items():
            array, memory = np.ascontiguousarray(given), slot.host[name].array
            if array.nbytes != self._inputs[name]:
                raise EngineError(f"{name}", expected=f"{self._inputs[name]} bytes", got=f"{array.nbytes}")
            memory[: array.nbytes] = array.reshape(-1).view(np.uint8)
        self._queue(slot)
        self._waiting.append(slot)
        self._next = (self._next + 1) % len(self._slots)

    def take(self) -> Fused:
        """The oldest pair's picture; waits for it.

        Raises:
            EngineError: none is on its way, or the GPU failed.
        """
        if not self._waiting:
            raise EngineError("no pair is on its way")
        slot = self._waiting.popleft()
        self._device.await_event(slot.downloaded)
        got = {name: slot.host[name].array[:size] for name, size in self._outputs.items()}
        width, height = self.form.size
        planes: tuple[Array, ...] = ()
        if self.form.fused is not None:
            names = ("fused", "fused_chroma")
            planes = tuple(
                got[name].reshape(shape)
                for name, shape in zip(names, self.form.planes(self.form.fused), strict=False)
            )
        if self.form.fused == BGR:
            planes = (planes[0].reshape(height, width, 3),)
        luma = got["luma"].view(np.float32).reshape(height, width) if self.form.luma else None
        low, high = got["measured"].view(np.float32).tolist()
        return Fused(planes, luma, (low, high))

    def close(self) -> None:
        """Wait for what is on its way and give all memory back; safe to call twice."""
        try:
            while self._waiting:
                self._device.await_event(self._waiting.popleft().downloaded)
        finally:
            self._release()

    def _queue(self, slot: _Slot) -> None:
        device = self._device
        if not device.gpu.integrated:
            for name, size in self._inputs.items():
                device.copy_in(slot.device[name], slot.host[name].array[:size], self._upload)
            device.record(slot.uploaded, self._upload)
            device.wait(self._compute, slot.uploaded)
        if not device.captures:
            self._launch(slot)
        else:
            if not slot.graph:
                device.begin_capture(self._compute)
                self._launch(slot)
                slot.graph.append(device.end_capture(self._compute))
            device.launch_graph(slot.graph[0], self._compute)
        if device.gpu.integrated:
            device.record(slot.downloaded, self._compute)
            return
        device.record(slot.computed, self._compute)
        device.wait(self._download, slot.computed)
        for name, size in self._outputs.items():
            device.copy_out(slot.host[name].array[:size], slot.device[name], self._download)
        device.record(slot.downloaded, self._download)

    def _launch(self, slot: _Slot) -> None:
        if slot.thermal is not None:
            size = 1, thermal.THREADS, thermal.SHARED_BYTES
            self._device.launch(self._thermal, *size, slot.thermal, self._compute)
        shared = self.plan.tile.shared_bytes
        self._device.launch(self._edge, self.plan.blocks, THREADS, shared, slot.edge, self._compute)

    def _put_constants(self, arrays: Mapping[str, Array | None]) -> dict[str, int]:
        constants = {
            "state": self._allocate(4 * THERMAL_STATE),
            "thermal": self._allocate(8),
            "histogram": self._allocate(4 * (BINS + 1)),
        }
        for name, array in arrays.items():
            if array is None:
                continue
            memory = self._allocate_host(array.nbytes)
            memory.array[:] = array.reshape(-1).view(np.uint8)
            constants[name] = self._allocate(array.nbytes)
            self._device.copy_in(constants[name], memory.array, self._compute)
        return constants

    def _slot(self) -> _Slot:
        sizes = {**self._inputs, **self._outputs}
        host = {name: self._allocate_host(size) for name, size in sizes.items()}
        if self._device.gpu.integrated:
            device = {name: memory.address for name, memory in host.items()}
        else:
            device = {name: self._allocate(size) for name, size in sizes.items()}
        uploaded, computed, downloaded = (self._device.open_event() for _ in range(3))
        edge, ranged = self._parameters({**self._constants, **device})
        return _Slot(host, device, edge, ranged, uploaded, computed, downloaded, [])

    def _parameters(self, at: Mapping[str, int]) -> tuple[EdgeParameters, ThermalParameters | None]:
        form = self.form
        (width, height), (infrared_width, infrared_height) = form.size, form.infrared_size
        pitch = infrared_width * form.infrared_bytes
        visible, fused = form.planes(form.visible), form.planes(GREY if form.fused is None else form.fused)
        p = EdgeParameters(
            width=width, height=height, infrared_width=infrared_width, infrared_height=infrared_height,
            infrared_pitch=pitch, visible_pitch=visible[0][1], chroma_pitch=visible[-1][1], share_pitch=width,
            fused_pitch=fused[0][1], fused_chroma_pitch=fused[-1][1], infrared_bytes=form.infrared_bytes,
            visible_format=form.visible, fused_format=GREY if form.fused is None else form.fused,
            limited_range=form.limited_range, sample_step=sample_step(width * height),
            warped=form.inverse is not None, limits=at["numbers"],
        )  # fmt: skip
        for name in POINTED:
            setattr(p, name, at.get(name, 0))
        if form.inverse is not None:
            p.inverse = (ctypes.c_float * 9)(*form.inverse)
        if form.corrected:
            p.thermal = at["numbers"] + 12
        if form.percentiles is None:
            return p, None
        p.thermal = at["thermal"]
        ranged = thermal.thermal_parameters(form.infrared_size, form.infrared_bytes, pitch, form.percentiles)
        ranged.infrared, ranged.state, ranged.thermal = at["infrared"], at["state"], at["thermal"]
        ranged.elapsed_share = at["numbers"] + 8
        return p, ranged

    def _allocate(self, size: int) -> int:
        self._addresses.append(self._device.allocate(size))
        return self._addresses[-1]

    def _allocate_host(self, size: int) -> HostMemory:
        self._hosts.append(self._device.allocate_host(size))
        return self._hosts[-1]

    def _release(self) -> None:
        # A lost GPU refuses that too; what is to be told of it was told before.
        while self._addresses:
            with contextlib.suppress(EngineError):
                self._device.free(self._addresses.pop())
        while self._hosts:
            with contextlib.suppress(EngineError):
                self._device.free_host(self._hosts.pop())


def _inputs_of(form: Form) -> dict[str, int]:
    """Bytes of what goes in, by the kernels' names."""
    width, height = form.infrared_size
    sizes = {"infrared": width * height * form.infrared_bytes}
    for name, (rows, columns) in zip(("visible", "chroma"), form.planes(form.visible), strict=False):
        sizes[name] = rows * columns
    return {**sizes, "numbers": 20}


def _outputs_of(form: Form) -> dict[str, int]:
    """Bytes of what comes out."""
    sizes = {"measured": 8}
    if form.fused is not None:
        for name, (rows, columns) in zip(("fused", "fused_chroma"), form.planes(form.fused), strict=False):
            sizes[name] = rows * columns
    if form.luma:
        sizes["luma"] = 4 * form.size[0] * form.size[1]
    return sizes
