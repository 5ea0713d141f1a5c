"""What of ``linux/videodev2.h`` the reader of cameras needs, as on 64-bit Linux.

Names and fields are the header's. A test compiles a program against the system's header and compares every
size, offset and number.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int32, c_long, c_uint8, c_uint32

_U32 = c_uint32

VIDEO_CAPTURE, MEMORY_MMAP = 1, 1
CAN_CAPTURE, CAN_STREAM = 0x1, 0x04000000
BUFFER_ERROR = 0x40
"""``V4L2_BUF_FLAG_ERROR``: the frame in the buffer is damaged."""
CONTROL_DISABLED, CONTROL_READ_ONLY = 0x1, 0x4

EXPOSURE_AUTO, EXPOSURE_ABSOLUTE = 0x009A0901, 0x009A0902
"""``V4L2_CID_EXPOSURE_AUTO`` (a menu) and ``_ABSOLUTE`` (in 0.1 ms)."""
AUTOGAIN, GAIN = 0x00980912, 0x00980913


class Capability(ctypes.Structure):
    """``v4l2_capability``."""

    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", _U32),
        ("capabilities", _U32),
        ("device_caps", _U32),
        ("reserved", _U32 * 3),
    ]


class PixFormat(ctypes.Structure):
    """``v4l2_pix_format``."""

    _fields_ = [
        ("width", _U32),
        ("height", _U32),
        ("pixelformat", _U32),
        ("field", _U32),
        ("bytesperline", _U32),
        ("sizeimage", _U32),
        ("colorspace", _U32),
        ("priv", _U32),
        ("flags", _U32),
        ("ycbcr_enc", _U32),
        ("quantization", _U32),
        ("xfer_func", _U32),
    ]


class Format(ctypes.Structure):
    """``v4l2_format``: of its union the part for a picture in one piece."""

    _fields_ = [
        ("type", _U32),
        ("padding", _U32),
        ("pix", PixFormat),
        ("rest", c_uint8 * 152),
    ]


class Fraction(ctypes.Structure):
    """``v4l2_fract``."""

    _fields_ = [("numerator", _U32), ("denominator", _U32)]


class StreamParameter(ctypes.Structure):
    """``v4l2_streamparm``: of its union ``v4l2_captureparm``."""

    _fields_ = [
        ("type", _U32),
        ("capability", _U32),
        ("capturemode", _U32),
        ("timeperframe", Fraction),
        ("extendedmode", _U32),
        ("readbuffers", _U32),
        ("rest", c_uint8 * 176),
    ]


class RequestBuffers(ctypes.Structure):
    """``v4l2_requestbuffers``."""

    _fields_ = [
        ("count", _U32),
        ("type", _U32),
        ("memory", _U32),
        ("capabilities", _U32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class Timeval(ctypes.Structure):
    """``timeval``."""

    _fields_ = [("tv_sec", c_long), ("tv_usec", c_long)]


class Buffer(ctypes.Structure):
    """``v4l2_buffer``: of its union the offset."""

    _fields_ = [
        ("index", _U32),
        ("type", _U32),
        ("bytesused", _U32),
        ("flags", _U32),
        ("field", _U32),
        ("timestamp", Timeval),
        ("timecode", c_uint8 * 16),
        ("sequence", _U32),
        ("memory", _U32),
        ("offset", ctypes.c_uint64),
        ("length", _U32),
        ("reserved2", _U32),
        ("request_fd", c_int32),
    ]


class Queryctrl(ctypes.Structure):
    """``v4l2_queryctrl``."""

    _fields_ = [
        ("id", _U32),
        ("type", _U32),
        ("name", c_char * 32),
        ("minimum", c_int32),
        ("maximum", c_int32),
        ("step", c_int32),
        ("default_value", c_int32),
        ("flags", _U32),
        ("reserved", _U32 * 2),
    ]


class Querymenu(ctypes.Structure):
    """``v4l2_querymenu``."""

    _pack_ = 1
    _fields_ = [("id", _U32), ("index", _U32), ("name", c_char * 32), ("reserved", _U32)]


class Control(ctypes.Structure):
    """``v4l2_control``."""

    _fields_ = [("id", _U32), ("value", c_int32)]


def request(number: int, size: int, *, reads: bool = True, writes: bool = True) -> int:
    """The code of an ioctl of type 'V': direction, size of its struct, type, number.

    Args:
        number: As in the header.
        size: Of the struct, in bytes.
        reads: The kernel fills the struct.
        writes: The kernel reads it.
    """
    return ((reads << 1 | writes) << 30) | (size << 16) | (ord("V") << 8) | number


QUERYCAP = request(0, ctypes.sizeof(Capability), writes=False)
G_FMT = request(4, ctypes.sizeof(Format))
S_FMT = request(5, ctypes.sizeof(Format))
REQBUFS = request(8, ctypes.sizeof(RequestBuffers))
QUERYBUF = request(9, ctypes.sizeof(Buffer))
QBUF = request(15, ctypes.sizeof(Buffer))
DQBUF = request(17, ctypes.sizeof(Buffer))
STREAMON = request(18, 4, reads=False)
STREAMOFF = request(19, 4, reads=False)
G_PARM = request(21, ctypes.sizeof(StreamParameter))
S_PARM = request(22, ctypes.sizeof(StreamParameter))
S_CTRL = request(28, ctypes.sizeof(Control))
QUERYCTRL = request(36, ctypes.sizeof(Queryctrl))
QUERYMENU = request(37, ctypes.sizeof(Querymenu))
