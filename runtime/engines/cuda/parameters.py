"""What the kernels are launched with: ``kernels/parameters.h`` in ctypes, field by field.

The fields and their meaning stand there; the order here must be the same. Addresses are those of the device.
"""

from __future__ import annotations

import ctypes
from typing import TypeAlias

GREY, BGR, NV12, YUYV = range(4)
"""Formats of pictures."""
PROFILE = 19
"""Percentiles that infrared pictures are compared by."""
THERMAL_STATE = 3 + PROFILE
"""Floats that ``thermal`` remembers: both limits, whether there was a picture, and its profile."""
BINS = 4096
"""Counts of fused lumas; one more counts finished blocks."""

_Address: TypeAlias = ctypes.c_uint64


class EdgeParameters(ctypes.Structure):
    """One launch of ``edge``."""

    _fields_ = (
        *((name, _Address) for name in (
            "infrared", "visible", "chroma", "share", "weights", "thermal", "limits",
            "fused", "fused_chroma", "luma", "aligned", "histogram", "measured",
        )),
        ("inverse", ctypes.c_float * 9),
        *((name, ctypes.c_int32) for name in (
            "width", "height", "infrared_width", "infrared_height",
            "infrared_pitch", "visible_pitch", "chroma_pitch", "share_pitch",
            "fused_pitch", "fused_chroma_pitch",
            "infrared_bytes", "visible_format", "fused_format", "warped", "limited_range", "sample_step",
        )),
    )  # fmt: skip


class GramParameters(ctypes.Structure):
    """One launch of ``gram``."""

    _fields_ = (
        *((name, _Address) for name in ("source", "weights", "partial")),
        ("stream_bytes", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("width", "height", "streams", "pixel_bytes")),
    )


class FoldParameters(ctypes.Structure):
    """One launch of ``fold``."""

    _fields_ = (
        *((name, _Address) for name in ("partial", "weights", "mixing")),
        ("share", ctypes.c_float),
        *((name, ctypes.c_int32) for name in ("blocks", "streams")),
    )


class ApplyParameters(ctypes.Structure):
    """One launch of ``apply``."""

    _fields_ = (
        *((name, _Address) for name in ("source", "weights", "mixing", "target")),
        *((name, ctypes.c_int64) for name in ("stream_bytes", "target_stream_bytes")),
        *((name, ctypes.c_int32) for name in (
            "width", "height", "streams", "pixel_bytes", "target_pixel_bytes"
        )),
    )  # fmt: skip


class StemParameters(ctypes.Structure):
    """One launch of ``stem``."""

    _fields_ = (
        *((name, _Address) for name in ("infrared", "visible", "weights", "target")),
        *((name, ctypes.c_int32) for name in ("width", "height", "infrared_pitch", "visible_pitch")),
    )


class HeadParameters(ctypes.Structure):
    """One launch of ``head``."""

    _fields_ = (
        *((name, _Address) for name in ("source", "weights", "luma")),
        *((name, ctypes.c_int32) for name in ("width", "height")),
    )


class ThermalParameters(ctypes.Structure):
    """One launch of ``thermal``."""

    _fields_ = (
        *((name, _Address) for name in ("infrared", "state", "thermal", "elapsed_share")),
        ("least_span", ctypes.c_float),
        *((name, ctypes.c_int32) for name in (
            "width", "height", "pitch", "bytes", "sample_step", "low_rank", "high_rank"
        )),
        ("profile_ranks", ctypes.c_int32 * PROFILE),
    )  # fmt: skip


class UnitParameters(ctypes.Structure):
    """One launch of ``edge_unit``."""

    _fields_ = (
        *((name, _Address) for name in ("infrared", "visible", "weights", "fused")),
        *((name, ctypes.c_int32) for name in ("height", "width")),
    )  # fmt: skip


class ShrinkParameters(ctypes.Structure):
    """One launch of ``shrink``."""

    _fields_ = (
        *((name, _Address) for name in (
            "luma", "visible", "aligned", "row_first", "row_weights", "column_first", "column_weights",
            "seen", "seen_chroma", "seen_infrared",
        )),
        *((name, ctypes.c_int32) for name in (
            "width", "visible_pitch", "seen_width", "seen_height", "row_taps", "column_taps"
        )),
    )  # fmt: skip


class BoxesParameters(ctypes.Structure):
    """One launch of ``boxes``."""

    _fields_ = (
        *((name, _Address) for name in ("boxes", "scores", "threshold", "found")),
        *((name, ctypes.c_float) for name in ("scale_x", "scale_y", "picture_width", "picture_height")),
        *((name, ctypes.c_int32) for name in ("anchors", "classes", "most")),
    )  # fmt: skip
