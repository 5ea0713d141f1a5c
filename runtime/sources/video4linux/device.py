"""An open device file, behind a seam that tests can fill."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
from typing import Protocol

from tdfusion_edge.errors import InputMissing, SourceError
from tdfusion_edge.runtime.sources.listing import device_nodes


class Device(Protocol):
    """What a camera's device file can do."""

    def ioctl(self, request: int, argument: ctypes.Structure | ctypes.c_int | bytearray) -> None:
        """Ask the driver; it reads and writes ``argument``. OSError where it refuses."""

    def map(self, length: int, offset: int) -> memoryview:
        """A buffer of the driver, for reading."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for a frame; False where none came in time. OSError where the device is gone."""

    def close(self) -> None:
        """Close it, and give its buffers back; safe to call twice."""


class DeviceFile:
    """A device file of the kernel.

    Args:
        path: ``/dev/video0``, or a link to it.

    Raises:
        InputMissing: there is none.
        SourceError: it is taken, or may not be used.
    """

    def __init__(self, path: str) -> None:
        self._descriptor: int | None = opened(path)
        self._maps: list[mmap.mmap] = []

    def ioctl(self, request: int, argument: ctypes.Structure | ctypes.c_int | bytearray) -> None:
        """Ask the driver."""
        import fcntl  # Linux has it; the rest of this package works elsewhere too

        fcntl.ioctl(self._open(), request, argument)

    def map(self, length: int, offset: int) -> memoryview:
        """A buffer of the driver."""
        mapped = mmap.mmap(self._open(), length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)
        self._maps.append(mapped)
        return memoryview(mapped)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a frame."""
        poll = select.poll()
        poll.register(self._open(), select.POLLIN)
        events = poll.poll(max(timeout_s, 0) * 1000)
        if events and events[0][1] & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return bool(events)

    def close(self) -> None:
        """Close it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # A picture may still look at a buffer; the memory goes with the last one that does.
            self._maps.clear()
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._descriptor


def opened(path: str) -> int:
    """The descriptor of a device file, which never blocks.

    Raises:
        InputMissing: there is none.
        SourceError: it is taken, or may not be used.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        there = ", ".join(str(node) for node, _ in device_nodes())
        raise InputMissing(
            f"there is no camera {path}",
            expected=f"one of {there}" if there else "a camera at /dev/video*, and none is connected",
            hint="See what each one offers: tdfusion-edge cameras",
        ) from error
    except PermissionError as error:
        raise SourceError(
            f"no permission to use {path}",
            hint="Join the group of the device and log in again: sudo usermod -aG video $USER",
        ) from error
    except OSError as error:
        raise (
            taken(path, error)
            if error.errno == errno.EBUSY
            else SourceError(
                f"{path} cannot be opened: {error.strerror}", hint="Unplug the camera and plug it in again."
            )
        ) from error


def taken(path: str, error: OSError) -> SourceError:
    """What is said of a device that another program uses."""
    return SourceError(
        f"{path} is taken by another program: {error.strerror}", hint=f"See who has it: fuser -v {path}"
    )
