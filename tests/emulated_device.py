"""A GPU that is none: the kernels built by g++ behind the interface of a Device, with faults on demand.

It is as late as a GPU may be: what is put on a stream is done when somebody waits for it and not before, and
nothing of another stream unless an event says so. And it is stricter: what reads or writes memory that
another stream may still be at is an error where it is queued; a GPU would give another picture now and then.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.kernels.emulator import Library
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.device import Gpu, HostMemory
from tdfusion_edge.runtime.engines.cuda.failures import failure
from tdfusion_edge.runtime.engines.cuda.tiles import Limits

ORIN_NANO = Gpu("Orin", 87, (12, 6), 8 << 30, integrated=True, limits=Limits(8, 166_912, 167_936, 1536))
DESKTOP = Gpu(
    "NVIDIA GeForce RTX 4060",
    89,
    (13, 0),
    8 << 30,
    integrated=False,
    limits=Limits(24, 101_376, 102_400, 1536),
)
WRITTEN = {
    "stem": {"target"},
    "gram": {"partial"},
    "fold": {"mixing"},
    "apply": {"target"},
    "head": {"luma"},
    "edge": {"fused", "fused_chroma", "luma", "aligned", "histogram", "measured"},
    "edge_unit": {"fused"},
    "thermal": {"state", "thermal"},
    "shrink": {"seen", "seen_chroma", "seen_infrared"},
    "boxes": {"found"},
}
"""What a kernel writes to, by its parameters; the rest it reads."""
POISON = 0xA5


@dataclass
class Faults:
    """What goes wrong, and when."""

    memory: int | None = None
    """So many bytes can be had."""
    launch: int | None = None
    """The launch of this number, from 0, fails; it shows when somebody waits."""
    lost: int | None = None
    """The GPU is gone after so many operations."""
    refuse_kernels: str | None = None
    """The driver's reason not to load them."""


@dataclass(eq=False)
class Stream:
    queue: list[Callable[[], None]] = field(default_factory=list)
    knows: dict[int, int] = field(default_factory=dict)
    """How far of each stream must be done before what comes next."""
    captured: list[Any] | None = None


@dataclass(eq=False)
class Event:
    stream: Stream | None = None
    upto: int = 0
    knows: dict[int, int] = field(default_factory=dict)


@dataclass
class Memory:
    array: Any
    writer: tuple[int, int] | None = None
    readers: dict[int, int] = field(default_factory=dict)


class EmulatedDevice:
    """A Device over the library of the kernels."""

    provider = "emulated"

    def __init__(self, library: Library, gpu: Gpu = DESKTOP, *, captures: bool = True) -> None:
        self._library, self.gpu, self.captures = library, gpu, captures
        self.faults = Faults()
        self.memory: dict[int, Memory] = {}
        self.launched: list[str] = []
        self.queued: list[str] = []
        self.waits = 0
        self._streams: list[Stream] = []
        self._done: dict[int, int] = {}
        self._error: EngineError | None = None
        self._operations = 0

    def allocate(self, size: int) -> int:
        return self._take(np.zeros(size, np.uint8))

    def allocate_host(self, size: int) -> HostMemory:
        array = np.full(size, POISON, np.uint8)
        return HostMemory(array, self._take(array), None)

    def _take(self, array: Any) -> int:
        self._check()
        held = sum(memory.array.nbytes for memory in self.memory.values())
        if self.faults.memory is not None and held + array.nbytes > self.faults.memory:
            raise failure("CUDA_ERROR_OUT_OF_MEMORY", "cuMemAlloc")
        self.memory[array.ctypes.data] = Memory(array)
        return int(array.ctypes.data)

    def free(self, address: int) -> None:
        del self.memory[address]

    def free_host(self, memory: HostMemory) -> None:
        del self.memory[memory.address]

    def open_stream(self) -> Stream:
        self._check()
        self._streams.append(Stream())
        return self._streams[-1]

    def number_of(self, stream: Stream) -> int:
        return self._streams.index(stream) + 1

    def stream_of(self, number: int) -> Stream:
        return self._streams[number - 1]

    def engine(self, number: int, reads: list[int], writes: list[int], run: Callable[[], None]) -> None:
        """Another library's work on a stream that it knows by its number."""
        self._put(self._streams[number - 1], "engine", reads, writes, run)

    def open_event(self) -> Event:
        self._check()
        return Event()

    def copy_in(self, address: int, array: Any, stream: Stream) -> None:
        assert array.flags.c_contiguous
        self._put(
            stream,
            "copy in",
            [array.ctypes.data],
            [address],
            self._copy(address, array.ctypes.data, array.nbytes),
        )

    def copy_out(self, array: Any, address: int, stream: Stream) -> None:
        assert array.flags.c_contiguous
        self._put(
            stream,
            "copy out",
            [address],
            [array.ctypes.data],
            self._copy(array.ctypes.data, address, array.nbytes),
        )

    def _copy(self, target: int, source: int, size: int) -> Callable[[], None]:
        for address in (target, source):
            _, memory = self._at(address)
            assert size <= memory.array.nbytes

        def run() -> None:
            ctypes.memmove(target, source, size)

        return run

    def kernel(self, image: bytes, name: str, shared_bytes: int) -> Any:
        self._check()
        if self.faults.refuse_kernels is not None:
            raise failure(self.faults.refuse_kernels, "cuModuleLoadData")
        if shared_bytes > self.gpu.limits.shared_per_block:
            raise failure("CUDA_ERROR_INVALID_VALUE", "cuFuncSetAttribute")
        return name

    def launch(
        self,
        kernel: Any,
        blocks: int,
        threads: int,
        shared_bytes: int,
        parameters: ctypes.Structure,
        stream: Stream,
    ) -> None:
        raw = bytes(parameters)
        kind = kernel if kernel in WRITTEN else kernel.split("_")[0]
        reads, writes = [], []
        for name, field_type in parameters._fields_:  # type: ignore[misc]
            address = getattr(parameters, name)
            if field_type is ctypes.c_uint64 and address:
                (writes if name in WRITTEN[kind] else reads).append(address)

        def run() -> None:
            if self.faults.launch == len(self.launched):
                raise failure("CUDA_ERROR_LAUNCH_FAILED", "cuEventSynchronize")
            self.launched.append(kernel)
            self._library.launch(kernel, blocks, threads, shared_bytes, raw)

        self._put(stream, kernel, reads, writes, run)

    def record(self, event: Event, stream: Stream) -> None:
        self._check()
        event.stream, event.upto, event.knows = stream, len(stream.queue), self._past(stream)

    def wait(self, stream: Stream, event: Event) -> None:
        self._check()
        if event.stream is None:
            return  # as CUDA has it: an event that was never recorded has happened
        for other, upto in event.knows.items():
            stream.knows[other] = max(stream.knows.get(other, 0), upto)

    def await_event(self, event: Event) -> None:
        self._check()
        self.waits += 1
        if event.stream is None:
            return
        self._drain(event.knows)
        self._check()

    def elapsed_ms(self, first: Event, second: Event) -> float:
        raise NotImplementedError("nobody is to time an emulation")

    def begin_capture(self, stream: Stream) -> None:
        assert self.captures
        stream.captured = []

    def end_capture(self, stream: Stream) -> Any:
        graph, stream.captured = stream.captured, None
        return graph

    def launch_graph(self, graph: Any, stream: Stream) -> None:
        assert stream.captured is None
        for what, reads, writes, run in graph:
            self._put(stream, what, reads, writes, run)

    def close(self) -> None:
        pass

    def _put(
        self, stream: Stream, what: str, reads: list[int], writes: list[int], run: Callable[[], None]
    ) -> None:
        self._check()
        if stream.captured is not None:
            stream.captured.append((what, reads, writes, run))
            return
        self.queued.append(what)
        knows, own = self._past(stream), self._streams.index(stream)
        for address in reads:
            self._require(knows, what, address, writing=False)
        for address in writes:
            self._require(knows, what, address, writing=True)
        number = len(stream.queue) + 1
        for address in reads:
            self._at(address)[1].readers[own] = number
        for address in writes:
            memory = self._at(address)[1]
            memory.writer, memory.readers = (own, number), {}
        before = dict(stream.knows)
        stream.queue.append(lambda: (self._drain(before), run())[1])

    def _require(self, knows: dict[int, int], what: str, address: int, *, writing: bool) -> None:
        memory = self._at(address)[1]
        others = [memory.writer] if memory.writer else []
        if writing:
            others += list(memory.readers.items())
        for other, number in others:
            if max(knows.get(other, 0), self._done.get(other, 0)) < number:
                verb = "writes to" if writing else "reads"
                raise EngineError(
                    f"wrong stream order: {what} {verb} memory that stream {other} may still be at",
                    expected="an event between them",
                )

    def _past(self, stream: Stream) -> dict[int, int]:
        return {**stream.knows, self._streams.index(stream): len(stream.queue)}

    def _at(self, address: int) -> tuple[int, Memory]:
        for start, memory in self.memory.items():
            if start <= address < start + memory.array.nbytes:
                return start, memory
        raise failure("CUDA_ERROR_ILLEGAL_ADDRESS", "cuLaunchKernel")

    def _drain(self, upto: dict[int, int]) -> None:
        for number, count in upto.items():
            stream = self._streams[number]
            while self._done.get(number, 0) < count and self._error is None:
                at = self._done.get(number, 0)
                try:
                    stream.queue[at]()
                except EngineError as error:
                    self._error = error
                self._done[number] = at + 1

    def _check(self) -> None:
        self._operations += 1
        if self._error is None and self.faults.lost is not None and self._operations > self.faults.lost:
            self._error = failure("CUDA_ERROR_DEVICE_UNAVAILABLE", "cuCtxSetCurrent")
        if self._error is not None:
            raise self._error
