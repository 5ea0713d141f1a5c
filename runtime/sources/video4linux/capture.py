"""Frames from the kernel's own buffers, with the time and the number that the driver gave them."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable
from contextlib import suppress

import cv2

from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.sources.capture import Capture, OpenCVCapture
from tdfusion_edge.runtime.sources.listing import offered
from tdfusion_edge.runtime.sources.video4linux import layouts
from tdfusion_edge.runtime.sources.video4linux.controls import set_controls
from tdfusion_edge.runtime.sources.video4linux.decode import READ, decoded
from tdfusion_edge.runtime.sources.video4linux.device import Device, DeviceFile, taken

BUFFERS = 4
"""As many as the driver can fill while nobody reads."""
USUAL_SIZE = (640, 480)
"""Asked for where no size is named, as OpenCV does."""


def open_capture(
    path: str,
    *,
    name: str,
    pixel_format: str | None = None,
    exposure_ms: float | None = None,
    gain: float | None = None,
    open_device: Callable[[str], Device] = DeviceFile,
) -> Capture:
    """A camera, by this reader where it knows the format, else by OpenCV.

    OpenCV has more formats and knows devices of several planes, but does not tell of frames that a driver
    drops.

    Args:
        path: Device file.
        name: Of the source, for messages.
        pixel_format: Four-character code; None for the one that the camera is set to.
        exposure_ms: Exposure in milliseconds; None for automatic.
        gain: In the driver's unit; None for automatic.
        open_device: Opens the device file.

    Raises:
        InputMissing: there is no such device.
        RequestError: it has no such exposure or gain.
        SourceError: it is taken, may not be used or is no camera.
    """
    device = open_device(path)
    try:
        set_controls(device, name, path, exposure_ms=exposure_ms, gain=gain)
        if _is_ours(device, pixel_format):
            return KernelCapture(device, path)
    except BaseException:
        device.close()
        raise
    device.close()
    return OpenCVCapture(path)


def _is_ours(device: Device, pixel_format: str | None) -> bool:
    """Whether this reader can take frames from the device."""
    if sys.maxsize < 1 << 32:  # the structs are those of 64 bits
        return False
    capability, form = layouts.Capability(), layouts.Format(type=layouts.VIDEO_CAPTURE)
    try:
        device.ioctl(layouts.QUERYCAP, capability)
        device.ioctl(layouts.G_FMT, form)
    except OSError:
        return False
    needed = layouts.CAN_CAPTURE | layouts.CAN_STREAM
    can = capability.device_caps or capability.capabilities
    return can & needed == needed and (pixel_format or _fourcc(form.pix.pixelformat)) in READ


class KernelCapture:
    """A V4L2 device, read through its own buffers; as :class:`~.capture.Capture`.

    Args:
        device: Open, of a kind that captures pictures in one piece.
        path: For messages.
    """

    def __init__(self, device: Device, path: str) -> None:
        self._device, self._path = device, path
        self._format = layouts.Format(type=layouts.VIDEO_CAPTURE)
        device.ioctl(layouts.G_FMT, self._format)
        self._ask_for(*USUAL_SIZE)
        self._width = 0
        self._buffers: list[memoryview] | None = None
        self._held: layouts.Buffer | None = None
        """The frame that was waited for."""

    def set(self, prop: int, value: float) -> bool:
        """Ask for a property."""
        pix = self._format.pix
        if prop == cv2.CAP_PROP_FOURCC:
            pix.pixelformat = int(value)
            return self._ask_for(pix.width, pix.height)
        if prop == cv2.CAP_PROP_FRAME_WIDTH:
            self._width = int(value)  # a size is asked for as a whole
            return True
        if prop == cv2.CAP_PROP_FRAME_HEIGHT:
            return self._ask_for(self._width or pix.width, int(value))
        if prop == cv2.CAP_PROP_FPS:
            rate = layouts.StreamParameter(type=layouts.VIDEO_CAPTURE)
            rate.timeperframe = layouts.Fraction(1000, round(value * 1000))
            with suppress(OSError):
                self._device.ioctl(layouts.S_PARM, rate)
                return True
        return False

    def get(self, prop: int) -> float:
        """What a property is now."""
        pix = self._format.pix
        if prop == cv2.CAP_PROP_FPS:
            return self._rate()
        if prop == cv2.CAP_PROP_POS_MSEC:
            stamp = self._held.timestamp if self._held is not None else layouts.Timeval()
            return float(stamp.tv_sec * 1000 + stamp.tv_usec / 1000)
        known = {
            cv2.CAP_PROP_FOURCC: pix.pixelformat,
            cv2.CAP_PROP_FRAME_WIDTH: pix.width,
            cv2.CAP_PROP_FRAME_HEIGHT: pix.height,
        }
        return float(known.get(prop, -1))

    def offers(self, pixel_format: str) -> str:
        """Sizes and rates of a format, for people; empty where the driver does not say."""
        return offered(lambda _, request, buffer: self._device.ioctl(request, buffer), pixel_format)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next frame."""
        try:
            if self._buffers is None:
                self._start()
            self._give_back()
            if not self._device.wait(timeout_s):
                return False
            buffer = self._buffer(0)
            self._device.ioctl(layouts.DQBUF, buffer)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return False
            if error.errno == errno.EBUSY:
                raise taken(self._path, error) from error
            raise SourceError(
                f"{self._path} is gone: {error.strerror}", hint="Check the cable and the power.", kind="gone"
            ) from error
        self._held = buffer
        return True

    def number(self) -> int | None:
        """Number of the frame that was waited for, as the driver counts them."""
        return None if self._held is None else int(self._held.sequence)

    def take(self) -> Image | None:
        """The frame that was waited for; None where the driver calls it damaged, or it is not whole."""
        held, pix = self._held, self._format.pix
        assert held is not None
        assert self._buffers is not None
        try:
            if held.flags & layouts.BUFFER_ERROR:
                return None
            data = self._buffers[held.index][: held.bytesused]
            return decoded(data, _fourcc(pix.pixelformat), (pix.width, pix.height), pix.bytesperline)
        finally:
            with suppress(OSError):  # a device that is gone says so at the next wait
                self._give_back()

    def release(self) -> None:
        """Stop and close the device."""
        if self._buffers is not None:
            with suppress(OSError):
                self._device.ioctl(layouts.STREAMOFF, ctypes.c_int(layouts.VIDEO_CAPTURE))
        self._buffers, self._held = None, None
        self._device.close()

    def _ask_for(self, width: int, height: int) -> bool:
        """Ask for a size in the format of now; the driver answers with the nearest that it has."""
        pix = self._format.pix
        pix.width, pix.height, pix.bytesperline, pix.sizeimage = width, height, 0, 0
        try:
            self._device.ioctl(layouts.S_FMT, self._format)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise taken(self._path, error) from error
            self._device.ioctl(layouts.G_FMT, self._format)
            return False
        return True

    def _rate(self) -> float:
        rate = layouts.StreamParameter(type=layouts.VIDEO_CAPTURE)
        try:
            self._device.ioctl(layouts.G_PARM, rate)
        except OSError:
            return 0.0
        period = rate.timeperframe
        return float(period.denominator / period.numerator) if period.numerator else 0.0

    def _start(self) -> None:
        asked = layouts.RequestBuffers(count=BUFFERS, type=layouts.VIDEO_CAPTURE, memory=layouts.MEMORY_MMAP)
        self._device.ioctl(layouts.REQBUFS, asked)
        self._buffers = []
        for index in range(asked.count):
            buffer = self._buffer(index)
            self._device.ioctl(layouts.QUERYBUF, buffer)
            # The low half of the union.
            self._buffers.append(self._device.map(buffer.length, buffer.offset & 0xFFFFFFFF))
            self._device.ioctl(layouts.QBUF, buffer)
        self._device.ioctl(layouts.STREAMON, ctypes.c_int(layouts.VIDEO_CAPTURE))

    def _give_back(self) -> None:
        """Let the driver fill the buffer of the last frame anew."""
        held, self._held = self._held, None
        if held is not None:
            self._device.ioctl(layouts.QBUF, self._buffer(held.index))

    def _buffer(self, index: int) -> layouts.Buffer:
        return layouts.Buffer(index=index, type=layouts.VIDEO_CAPTURE, memory=layouts.MEMORY_MMAP)


def _fourcc(code: int) -> str:
    return int(code).to_bytes(4, "little").decode("ascii", "replace").strip()
