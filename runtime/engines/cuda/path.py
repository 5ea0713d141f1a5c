"""From camera pictures to the fused one on a GPU: two launches a pair, the next pair on its way meanwhile.

Where a detector's engine runs on the GPU as well, a launch before it and one behind it go with it
(:mod:`~tdfusion_edge.runtime.engines.cuda.detector`), and boxes come back with the picture.

A slot holds what one pair needs. While the kernels work on one slot's pair, the next slot's is copied to the
GPU and the last one's picture back, each on a stream of its own; events order them. Where GPU and CPU share
their memory nothing is copied: the kernels read and write the slot's page-locked memory. Memory is taken
once, and the CPU waits in :meth:`PicturePath.take` alone.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.cuda import detector, thermal
from tdfusion_edge.runtime.engines.cuda.detector import Found, Looking
from tdfusion_edge.runtime.engines.cuda.device import Device, Handle, HostMemory
from tdfusion_edge.runtime.engines.cuda.form import Form, inputs_of, outputs_of
from tdfusion_edge.runtime.engines.cuda.held import Held
from tdfusion_edge.runtime.engines.cuda.parameters import (
    BGR,
    BINS,
    GREY,
    THERMAL_STATE,
    BoxesParameters,
    EdgeParameters,
    ShrinkParameters,
    ThermalParameters,
)
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS, Plan, plan
from tdfusion_edge.runtime.picture.range import sample_step

F32 = npt.NDArray[np.float32]
SLOTS = 2
NUMBERS_BYTES = 24
"""Limits, share, correction and threshold of a pair."""
POINTED = (
    *("infrared", "visible", "chroma", "share", "weights", "fused", "fused_chroma", "luma", "aligned"),
    *("histogram", "measured"),
)
"""Addresses among the parameters of `edge` that a slot or the path has memory for under the same name."""


class Fused(NamedTuple):
    """What became of a pair; views of memory that the next pair but one overwrites."""

    planes: tuple[Array, ...]
    """uint8 (H, W), (H, W, 3) BGR, or the two planes of NV12."""
    luma: F32 | None
    measured: tuple[float, float]
    """Stretch limits that this picture alone would have, in fused luma."""
    found: Found | None = None
    """What the detector proposes, in arrays of its own; None where none looks."""
    infrared: U8 | None = None
    """The levels that were fused, uint8 (H, W), at a border passing into the visible luma; where wanted."""


class _Slot(NamedTuple):
    host: dict[str, HostMemory]
    device: dict[str, int]
    edge: EdgeParameters
    thermal: ThermalParameters | None
    look: tuple[ShrinkParameters, BoxesParameters] | None
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
        looking: A detector that looks at each fused luma; its engine stays the caller's to close. It takes
            colours of BGR alone.

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
        looking: Looking | None = None,
    ) -> None:
        if looking is not None and looking.colour and form.visible not in (GREY, BGR):
            raise EngineError("a detector that sees colours", expected="pictures in BGR, or grey ones")
        self._device, self.form = device, form
        self.plan: Plan = plan(*form.size, device.gpu.limits)
        self._edge = device.kernel(image, self.plan.tile.kernel, self.plan.tile.shared_bytes)
        self._thermal = device.kernel(image, thermal.KERNEL, thermal.SHARED_BYTES)
        self._looking = looking
        if looking is not None:
            self._shrink = device.kernel(image, detector.SHRINK, 0)
            self._boxes = device.kernel(image, detector.BOXES, detector.BOXES_SHARED)
        self._held = Held(device)
        self._inputs, self._outputs = inputs_of(form), outputs_of(form)
        if looking is not None:
            self._outputs["found"] = detector.FOUND_BYTES
            self._taps = detector.shrink_constants(form.size, looking)
        try:
            self._upload, self._compute, self._download = (device.open_stream() for _ in range(3))
            self._constants = self._put_constants({"weights": weights, "share": share})
            self._slots = [self._slot() for _ in range(slots)]
        except BaseException:
            self._held.release()
            raise
        self._waiting: deque[_Slot] = deque()
        self._next = 0
        self._uploaded = False

    def submit(
        self,
        pictures: Mapping[str, Array],
        limits: Sequence[float],
        share: float = 1.0,
        correction: tuple[float, float] = (1.0, 0.0),
        threshold: float = 1.0,
    ) -> None:
        """Put a pair on its way.

        Args:
            pictures: ``infrared`` uint8 or uint16 (H, W), ``visible`` with the bytes of its format, and for
                NV12 ``chroma``; they may change as soon as this returns.
            limits: Fused lumas that are shown as 0 and as 255, the second above the first.
            share: Of the way to their target that the limits of the thermal range cover since the last pair;
                1 begins a new stream.
            correction: Gain and offset from counts to levels, where the form has such.
            threshold: Only scores of the detector above it count.

        Raises:
            EngineError: pictures of another form, all slots are on their way, or the GPU failed.
        """
        numbers = numbers_of(limits, share, correction, threshold)
        self.upload(pictures)
        self.launch(numbers)

    def upload(self, pictures: Mapping[str, Array]) -> None:
        """The first half of :meth:`submit`: bring a pair's pictures to the GPU, while others are computed.

        A pair that is uploaded and was not launched makes way for the next one that is.

        Args:
            pictures: As there.

        Raises:
            EngineError: pictures of another form, all slots are on their way, or the GPU failed.
        """
        slot = self._slots[self._next]
        if len(self._waiting) == len(self._slots):
            raise EngineError(
                f"{len(self._slots)} pairs are on their way", expected="a take() before the next one"
            )
        if set(pictures) != set(self._inputs):
            raise EngineError("pictures", expected=", ".join(self._inputs), got=", ".join(pictures))
        arrays = {name: np.ascontiguousarray(given) for name, given in pictures.items()}
        for name, array in arrays.items():
            if array.nbytes != self._inputs[name]:
                raise EngineError(f"{name}", expected=f"{self._inputs[name]} bytes", got=f"{array.nbytes}")
        device, copied = self._device, not self._device.gpu.integrated
        if copied and self._uploaded:  # its pages are still being read
            device.await_event(slot.uploaded)
        for name, array in arrays.items():
            slot.host[name].array[: array.nbytes] = array.reshape(-1).view(np.uint8)
            if copied:
                device.copy_in(slot.device[name], slot.host[name].array[: array.nbytes], self._upload)
        if copied:
            device.record(slot.uploaded, self._upload)
        self._uploaded = True

    def launch(self, numbers: npt.NDArray[np.float32]) -> None:
        """The second half: have the pair computed that was uploaded last.

        Args:
            numbers: What :func:`numbers_of` gives.

        Raises:
            EngineError: none was uploaded, or the GPU failed.
        """
        if not self._uploaded:
            raise EngineError("no pair was uploaded")
        slot = self._slots[self._next]
        slot.host["numbers"].array[: numbers.nbytes] = numbers.view(np.uint8)
        self._uploaded = False
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
        infrared = got["aligned"].reshape(height, width) if self.form.aligned else None
        low, high = got["measured"].view(np.float32).tolist()
        looking = self._looking
        found = None if looking is None else detector.found_of(got["found"], looking.classes)
        return Fused(planes, luma, (low, high), found, infrared)

    def close(self) -> None:
        """Wait for what is on its way and give all memory back; safe to call twice."""
        try:
            while self._waiting:
                self._device.await_event(self._waiting.popleft().downloaded)
            if self._uploaded:
                self._uploaded = False
                self._device.await_event(self._slots[self._next].uploaded)
        finally:
            self._held.release()

    def _queue(self, slot: _Slot) -> None:
        device = self._device
        if not device.gpu.integrated:
            device.wait(self._compute, slot.uploaded)
            numbers = slot.host["numbers"].array[:NUMBERS_BYTES]
            device.copy_in(slot.device["numbers"], numbers, self._compute)
        if not device.captures:
            self._launch(slot)
        else:
            if not slot.graph:
                device.begin_capture(self._compute)
                self._launch(slot)
                slot.graph.append(device.end_capture(self._compute))
            device.launch_graph(slot.graph[0], self._compute)
        if self._looking is not None and slot.look is not None:
            # Not in the graph: not every engine of a library can be noted in one.
            self._looking.engine.enqueue(device.number_of(self._compute))
            sizes = 1, detector.BOXES_THREADS, detector.BOXES_SHARED
            device.launch(self._boxes, *sizes, slot.look[1], self._compute)
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
        if self._looking is not None and slot.look is not None:
            sizes = detector.shrink_blocks(self._looking), detector.SHRINK_THREADS, 0
            self._device.launch(self._shrink, *sizes, slot.look[0], self._compute)

    def _put_constants(self, arrays: Mapping[str, Array | None]) -> dict[str, int]:
        constants = {
            "state": self._held.allocate(4 * THERMAL_STATE),
            "thermal": self._held.allocate(8),
            "histogram": self._held.allocate(4 * (BINS + 1)),
        }
        if self._looking is not None:
            arrays = {**arrays, **self._taps}
            pixels = self.form.size[0] * self.form.size[1]
            if not self.form.luma:  # it stays on the GPU
                constants["luma"] = self._held.allocate(4 * pixels)
            if self._looking.infrared and not self.form.aligned:
                constants["aligned"] = self._held.allocate(pixels)
        for name, array in arrays.items():
            if array is None:
                continue
            memory = self._held.allocate_host(array.nbytes)
            memory.array[:] = array.reshape(-1).view(np.uint8)
            constants[name] = self._held.allocate(array.nbytes)
            self._device.copy_in(constants[name], memory.array, self._compute)
        return constants

    def _slot(self) -> _Slot:
        sizes = {**self._inputs, "numbers": NUMBERS_BYTES, **self._outputs}
        host = {name: self._held.allocate_host(size) for name, size in sizes.items()}
        if self._device.gpu.integrated:
            device = {name: memory.address for name, memory in host.items()}
        else:
            device = {name: self._held.allocate(size) for name, size in sizes.items()}
        uploaded, computed, downloaded = (self._device.open_event() for _ in range(3))
        at = {**self._constants, **device}
        edge, ranged = self._parameters(at)
        look = self._look_parameters(at)
        return _Slot(host, device, edge, ranged, look, uploaded, computed, downloaded, [])

    def _look_parameters(self, at: Mapping[str, int]) -> tuple[ShrinkParameters, BoxesParameters] | None:
        if self._looking is None:
            return None
        shrink = detector.shrink_parameters(self.form.size, self._looking, self._taps)
        shrink.luma = at["luma"]
        shrink.aligned = at["aligned"] if self._looking.infrared else 0
        shrink.visible = at["visible"] if self.form.visible == BGR else 0
        for name in self._taps:
            setattr(shrink, name, at[name])
        boxes = detector.boxes_parameters(self.form.size, self._looking)
        boxes.threshold, boxes.found = at["numbers"] + 20, at["found"]
        return shrink, boxes

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


def numbers_of(
    limits: Sequence[float], share: float, correction: tuple[float, float], threshold: float
) -> npt.NDArray[np.float32]:
    """What the kernels read of a pair beside its pictures, float32 (6,).

    Args:
        limits: As :meth:`PicturePath.submit` says, and so below.
        share: Likewise.
        correction: Likewise.
        threshold: Likewise.

    Raises:
        EngineError: the limits are none.
    """
    numbers = np.array([*limits, share, *correction, threshold], np.float32)
    if not (np.isfinite(numbers).all() and numbers[1] > numbers[0]):
        raise EngineError("limits of the stretch", expected="the second above the first", got=str(limits))
    return numbers
