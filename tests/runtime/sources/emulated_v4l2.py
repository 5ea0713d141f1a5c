"""A V4L2 driver and its camera, on a clock that only waiting moves.

It answers the ioctls of ``linux/videodev2.h`` as drivers do: a size becomes the nearest one, a buffer that
nobody gave back is not filled, and a frame that finds no buffer is lost while the driver counts on.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tdfusion_edge.runtime.sources import listing
from tdfusion_edge.runtime.sources.video4linux import layouts

SECOND = 1_000_000_000


def code(fourcc: str) -> int:
    return int.from_bytes(fourcc.ljust(4).encode("ascii"), "little")


@dataclass
class ControlState:
    minimum: int
    maximum: int
    value: int
    flags: int = 0
    menu: tuple[int, ...] = ()


@dataclass
class Driver:
    """One camera; :meth:`open` opens its device file.

    Args:
        paint: The bytes of a frame, by its number, in the format and size of now.
    """

    paint: Callable[[int, str, tuple[int, int], int], bytes]
    formats: tuple[str, ...] = ("Y16", "GREY")
    sizes: tuple[tuple[int, int], ...] = ((32, 24),)
    rates: tuple[int, ...] = (10,)
    capabilities: int = 0x04200001
    padding: int = 0
    """Bytes behind each row."""
    controls: dict[int, ControlState] = field(default_factory=dict)
    now_ns: int = 100 * SECOND
    first_number: int = 0
    """The driver's number of the first frame after the stream is started."""
    damaged: Callable[[int], bool] = lambda number: False
    short: Callable[[int], bool] = lambda number: False
    fails: Callable[[int, int], int | None] = lambda request, now_ns: None
    """The error of an ioctl, or of a wait as request 0."""
    opened: int = 0
    closed: int = 0

    def clock(self) -> int:
        return self.now_ns

    def open(self, path: str) -> Device:
        self.opened += 1
        return Device(self)


class Device:
    """An open device file."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.fourcc, self.size, self.rate = driver.formats[0], driver.sizes[0], driver.rates[0]
        self.memory: list[bytearray] = []
        self.free: list[int] = []
        self.full: list[tuple[int, int, int, int, int]] = []
        self.number = driver.first_number
        self.started_ns: int | None = None
        self.last_ns = 0

    def ioctl(self, request: int, argument: Any) -> None:
        if (error := self.driver.fails(request, self.driver.now_ns)) is not None:
            raise OSError(error, "refused")
        answers: dict[int, Callable[[Any], None]] = {
            layouts.QUERYCAP: self.capability,
            layouts.G_FMT: self.get_format,
            layouts.S_FMT: self.set_format,
            layouts.G_PARM: self.get_rate,
            layouts.S_PARM: self.set_rate,
            layouts.REQBUFS: self.request_buffers,
            layouts.QUERYBUF: self.query_buffer,
            layouts.QBUF: self.queue,
            layouts.DQBUF: self.dequeue,
            layouts.STREAMON: lambda _: self.start(),
            layouts.STREAMOFF: lambda _: None,
            layouts.QUERYCTRL: self.query_control,
            layouts.QUERYMENU: self.query_menu,
            layouts.S_CTRL: self.set_control,
            listing.ENUM_FMT: self.enumerate_formats,
            listing.ENUM_FRAMESIZES: self.enumerate_sizes,
            listing.ENUM_FRAMEINTERVALS: self.enumerate_rates,
        }
        answers[request](argument)

    def map(self, length: int, offset: int) -> memoryview:
        memory = self.memory[offset // 4096]
        assert len(memory) == length
        return memoryview(memory)

    def wait(self, timeout_s: float) -> bool:
        driver = self.driver
        if (error := driver.fails(0, driver.now_ns)) is not None:
            raise OSError(error, "refused")
        self.run()
        limit = driver.now_ns + int(timeout_s * SECOND)
        while not self.full and self.last_ns + self.period < limit:
            driver.now_ns = self.last_ns + self.period
            self.run()
        if not self.full:
            driver.now_ns = limit
        return bool(self.full)

    def close(self) -> None:
        self.driver.closed += 1

    @property
    def period(self) -> int:
        return SECOND // self.rate

    def run(self) -> None:
        """What the sensor gave until now."""
        assert self.started_ns is not None
        driver = self.driver
        while self.last_ns + self.period <= driver.now_ns:
            self.last_ns += self.period
            number, self.number = self.number, self.number + 1
            if not self.free:
                continue  # lost
            index = self.free.pop(0)
            stride = self.stride()
            data = driver.paint(number, self.fourcc, self.size, stride)
            used = len(data) // 2 if driver.short(number) else len(data)
            self.memory[index][:used] = data[:used]
            flags = layouts.BUFFER_ERROR if driver.damaged(number) else 0
            self.full.append((index, used, number, self.last_ns, flags))

    def stride(self) -> int:
        per_pixel = {"Y16": 2, "YUYV": 2, "UYVY": 2, "BGR3": 3, "RGB3": 3, "MJPG": 0}.get(self.fourcc, 1)
        return per_pixel * self.size[0] + (self.driver.padding if per_pixel else 0)

    def capability(self, answer: Any) -> None:
        answer.capabilities, answer.device_caps = 0x80000000, self.driver.capabilities

    def get_format(self, answer: Any) -> None:
        answer.pix.width, answer.pix.height = self.size
        answer.pix.pixelformat, answer.pix.bytesperline = code(self.fourcc), self.stride()

    def set_format(self, answer: Any) -> None:
        driver, pix = self.driver, answer.pix
        named = [one for one in driver.formats if code(one) == pix.pixelformat]
        self.fourcc = (named or [self.fourcc])[0]
        self.size = min(driver.sizes, key=lambda size: abs(size[0] - pix.width) + abs(size[1] - pix.height))
        self.get_format(answer)

    def get_rate(self, answer: Any) -> None:
        answer.timeperframe = layouts.Fraction(1, self.rate)

    def set_rate(self, answer: Any) -> None:
        asked = answer.timeperframe.denominator / answer.timeperframe.numerator
        self.rate = min(self.driver.rates, key=lambda rate: abs(rate - asked))
        self.get_rate(answer)

    def request_buffers(self, answer: Any) -> None:
        # Drivers may give fewer than they are asked for.
        answer.count = min(answer.count, 3)
        self.memory = [bytearray(1 << 16) for _ in range(answer.count)]

    def query_buffer(self, answer: Any) -> None:
        answer.length, answer.offset = 1 << 16, answer.index * 4096

    def queue(self, answer: Any) -> None:
        if self.started_ns is not None:
            self.run()  # what came before this buffer was there did not find it
        self.free.append(answer.index)

    def dequeue(self, answer: Any) -> None:
        if not self.full:
            raise OSError(errno.EAGAIN, "")
        index, used, number, time_ns, flags = self.full.pop(0)
        answer.index, answer.bytesused, answer.sequence, answer.flags = index, used, number % (1 << 32), flags
        answer.timestamp = layouts.Timeval(time_ns // SECOND, time_ns % SECOND // 1000)

    def start(self) -> None:
        self.started_ns = self.last_ns = self.driver.now_ns

    def control(self, number: int) -> ControlState:
        if number not in self.driver.controls:
            raise OSError(errno.EINVAL, "")
        return self.driver.controls[number]

    def query_control(self, answer: Any) -> None:
        control = self.control(answer.id)
        answer.minimum, answer.maximum, answer.flags = control.minimum, control.maximum, control.flags

    def query_menu(self, answer: Any) -> None:
        if answer.index not in self.control(answer.id).menu:
            raise OSError(errno.EINVAL, "")

    def set_control(self, answer: Any) -> None:
        control = self.control(answer.id)
        if not control.minimum <= answer.value <= control.maximum:
            raise OSError(errno.ERANGE, "")
        control.value = answer.value

    def enumerate_formats(self, buffer: bytearray) -> None:
        fields = (ctypes.c_uint32 * 16).from_buffer(buffer)
        if fields[0] >= len(self.driver.formats):
            raise OSError(errno.EINVAL, "")
        fields[11] = code(self.driver.formats[fields[0]])

    def enumerate_sizes(self, buffer: bytearray) -> None:
        fields = (ctypes.c_uint32 * 11).from_buffer(buffer)
        if fields[0] >= len(self.driver.sizes):
            raise OSError(errno.EINVAL, "")
        fields[2] = 1
        fields[3:5] = self.driver.sizes[fields[0]]

    def enumerate_rates(self, buffer: bytearray) -> None:
        fields = (ctypes.c_uint32 * 13).from_buffer(buffer)
        if fields[0] >= len(self.driver.rates):
            raise OSError(errno.EINVAL, "")
        fields[4] = 1
        fields[5:7] = (1, self.driver.rates[fields[0]])


def counts(number: int, fourcc: str, size: tuple[int, int], stride: int) -> bytes:
    """Grey of 16 or 8 bits whose every pixel is 1000 + number, or the number."""
    width, height = size
    sixteen = fourcc == "Y16"
    row = np.full(width, 1000 + number if sixteen else number % 256, "<u2" if sixteen else np.uint8).tobytes()
    return b"".join(row.ljust(stride, b"\xee") for _ in range(height))
