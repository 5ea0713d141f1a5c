"""Launches of the kernel `edge`, and what the runtime's own code and the shipped graph make of the same."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.kernels.emulator import Launch
from tdfusion_edge import bundle
from tdfusion_edge.color import luma
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.cuda.parameters import BGR, BINS, GREY, NV12, YUYV, EdgeParameters
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS, TILES
from tdfusion_edge.runtime.engines.cuda.weights import edge_of, pack
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.picture.border import Border
from tdfusion_edge.runtime.picture.range import percentiles, sample_step, scale_to_8bit, subsample
from tdfusion_edge.runtime.picture.registration import Warp
from tdfusion_edge.runtime.picture.stretch import PERCENTILES
from tdfusion_edge.runtime.picture.units import unit_inputs

KERNELS = {tile.kernel: tile for tile in TILES}
LIMITS = (0.1, 0.8)
GUARD, POISON = 16, 0xAA
"""Bytes behind every row that nothing may write to; what stands there, and in outputs, beforehand."""
PIXEL = {GREY: 1, BGR: 3, NV12: 1, YUYV: 2}


@dataclass
class Case:
    """A pair of camera pictures and how they are to be fused."""

    size: tuple[int, int]
    visible_format: int = BGR
    fused_format: int = BGR
    deep: bool = False
    warp: Warp | None = None
    limited_range: bool = False
    tight: bool = False
    """Whether rows follow each other without a gap, so that they begin at no multiple of 4."""
    seed: int = 0
    strong: bool = False
    """Whether the network has large random weights and biases, by which a wrong border shows at once."""
    infrared: Any = field(init=False)
    visible: Any = field(init=False)
    chroma: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        width, height = self.size
        infrared = self.size if self.warp is None else self.warp.infrared
        counts = (
            random.integers(7000, 9000, infrared[::-1])
            if self.deep
            else random.integers(0, 256, infrared[::-1])
        )
        self.infrared = counts.astype(np.uint16 if self.deep else np.uint8)
        if self.warp is not None:  # between pixels of noise a ten-thousandth of a pixel is a level
            self.infrared = cv2.GaussianBlur(self.infrared, (0, 0), 2)
        self.visible = random.integers(0, 256, (height, width * PIXEL[self.visible_format]), dtype=np.uint8)
        if self.visible_format == NV12:
            self.chroma = random.integers(60, 200, ((height + 1) // 2, (width + 1) // 2 * 2), dtype=np.uint8)


class Prepared:
    """A case in memory as a kernel takes it: with guards, and poison where results go."""

    def __init__(self, case: Case) -> None:
        self.case = case
        width, height = case.size
        fused_width = width * PIXEL[case.fused_format]
        self.fused = self._plane(height, fused_width)
        self.fused_chroma = (
            self._plane((height + 1) // 2, (width + 1) // 2 * 2) if case.fused_format == NV12 else None
        )
        self.luma = np.full((height, width), np.nan, np.float32)
        self.aligned = np.full((height, width), POISON, np.uint8)
        self.histogram = np.zeros(BINS + 1, np.uint32)
        self.measured = np.full(2, np.nan, np.float32)

    def _plane(self, rows: int, columns: int) -> Any:
        pitch = columns if self.case.tight else (columns + 3) // 4 * 4 + GUARD
        return np.full((rows, pitch), POISON, np.uint8)

    def launch(self, kernel: str, *, blocks: int = 3, backwards: bool = False) -> Launch:
        case = self.case
        width, height = case.size
        visible, infrared = self._plane(*case.visible.shape), case.infrared
        visible[:, : case.visible.shape[1]] = case.visible
        p = EdgeParameters(
            width=width, height=height, visible_pitch=visible.shape[1],
            infrared_width=infrared.shape[1], infrared_height=infrared.shape[0],
            infrared_pitch=infrared.strides[0], infrared_bytes=infrared.itemsize,
            visible_format=case.visible_format, fused_format=case.fused_format,
            fused_pitch=self.fused.shape[1],
            limited_range=case.limited_range, sample_step=sample_step(width * height),
        )  # fmt: skip
        buffers = {
            "infrared": infrared, "visible": visible, "weights": weights(case.strong),
            "limits": np.array(LIMITS, np.float32), "fused": self.fused, "luma": self.luma,
            "aligned": self.aligned, "histogram": self.histogram, "measured": self.measured,
        }  # fmt: skip
        if case.deep:
            gain = 255 / (COUNTS[1] - COUNTS[0])
            buffers["thermal"] = np.array([gain, -COUNTS[0] * gain], np.float32)
        if case.warp is not None:
            p.warped, p.inverse = 1, (ctypes.c_float * 9)(*INVERSE.ravel())
            border = Border(case.warp.valid)
            share = np.rint(border.fused_share * 255)
            buffers["share"] = np.where(border.outside > 0, 0, np.maximum(share, 1)).astype(np.uint8)
            p.share_pitch = width
        if case.chroma is not None:
            buffers["chroma"], p.chroma_pitch = case.chroma, case.chroma.shape[1]
        if self.fused_chroma is not None:
            buffers["fused_chroma"], p.fused_chroma_pitch = self.fused_chroma, self.fused_chroma.shape[1]
        return Launch(kernel, blocks, THREADS, KERNELS[kernel].shared_bytes, p, buffers, backwards)

    @property
    def picture(self) -> Any:
        """What was written, without guards."""
        width, height = self.case.size
        return self.fused[:, : width * PIXEL[self.case.fused_format]].reshape(height, width, -1)

    @property
    def guards(self) -> Any:
        """What must still be poison."""
        columns = self.case.size[0] * PIXEL[self.case.fused_format]
        rest = [self.fused[:, columns:].ravel()]
        if self.fused_chroma is not None:
            rest.append(self.fused_chroma[:, (self.case.size[0] + 1) // 2 * 2 :].ravel())
        return np.concatenate(rest)


COUNTS = (7100.37, 8899.1)
"""Limits of 16-bit infrared at which no count falls on half a level, which either rounding may take."""
HOMOGRAPHY = ((1.6, 0.06, 9.0), (-0.05, 1.55, 5.0), (1e-4, -2e-4, 1.0))
WARPED = (48, 36), (96, 64)
INVERSE = np.linalg.inv(np.array(HOMOGRAPHY))


def registered() -> Warp:
    """Infrared of 48x36 that sees a part of visible's 96x64."""
    infrared, visible = WARPED
    return Warp(
        rig.Registration(homography=HOMOGRAPHY, infrared_size=infrared, visible_size=visible),
        infrared,
        visible,
    )


@lru_cache
def weights(strong: bool = False) -> Any:
    return pack(edge_of(graph(strong)))


@lru_cache
def graph(strong: bool = False) -> bytes:
    raw = (Path(bundle.default_path()) / "fusion.onnx").read_bytes()
    if not strong:
        return raw
    random = np.random.default_rng(99)
    model = onnx.load_from_string(raw)
    for one in model.graph.initializer:
        if one.name.endswith(("weight", "bias")):
            size = 0.15 if one.name.endswith("weight") else 1.0
            values = random.normal(0, size, tuple(one.dims)).astype(np.float16).astype(np.float32)
            one.CopyFrom(numpy_helper.from_array(values, one.name))
    changed: bytes = model.SerializeToString()
    return changed


@lru_cache
def engine(strong: bool = False) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(graph(strong), threads=1)


def visible_luma(case: Case) -> Any:
    """What the network sees of visible."""
    if case.visible_format == BGR:
        return luma(case.visible.reshape(case.size[1], case.size[0], 3))
    y = case.visible[:, ::2] if case.visible_format == YUYV else case.visible
    if not case.limited_range or case.visible_format == GREY:
        return np.ascontiguousarray(y)
    return np.clip(np.rint((y.astype(np.float32) - 16) * np.float32(255 / 219)), 0, 255).astype(np.uint8)


def fused_levels(case: Case) -> tuple[Any, Any]:
    """The two lumas, uint8 (H, W), that are fused: by the runtime's range, registration and border."""
    levels = scale_to_8bit(case.infrared, *COUNTS) if case.deep else case.infrared
    visible = visible_luma(case)
    if case.warp is not None:
        levels = cv2.copyTo(visible, Border(case.warp.valid).outside, case.warp.apply(levels))
    return levels, visible


def wanted_luma(case: Case) -> Any:
    """The fused luma by the runtime's range, registration and border and the shipped graph."""
    given = unit_inputs(*fused_levels(case))
    fused = engine(case.strong).run(given)["fused"][0, 0]
    return fused if case.warp is None else Border(case.warp.valid).blend(fused, given["visible"][0, 0])


def wanted_aligned(case: Case) -> Any:
    """The infrared levels, (H, W), that heads see beside it."""
    levels, visible = fused_levels(case)
    if case.warp is None:
        return levels
    return Border(case.warp.valid).blend(levels.astype(np.float32), visible.astype(np.float32))


def wanted_limits(fused: Any) -> Any:
    return np.array(percentiles(subsample(fused), *PERCENTILES))


def colours(case: Case) -> Any:
    """The visible picture's difference from grey, B G R, float (H, W, 3)."""
    width, height = case.size
    if case.visible_format == BGR:
        bgr = case.visible.reshape(height, width, 3).astype(float)
        return bgr - visible_luma(case)[..., None]
    if case.visible_format == GREY:
        return np.zeros((height, width, 3))
    u, v = (chroma(case)[..., i] for i in range(2))
    return np.stack((1.773 * u, -0.344 * u - 0.714 * v, 1.403 * v), axis=-1)


def chroma(case: Case) -> Any:
    """U and V of NV12 and YUYV around 0 at every pixel, full range."""
    width, height = case.size
    if case.visible_format == NV12:
        pairs = (
            case.chroma.reshape((height + 1) // 2, -1, 2).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        )
    else:
        quads = case.visible.reshape(height, -1, 4)
        pairs = quads[..., [1, 3]].repeat(2, axis=1)
    return (pairs.astype(float) - 128) * (255 / 224 if case.limited_range else 1)


def wanted_picture(case: Case, fused: Any) -> Any:
    """As the one-pass graph stretches and colours; for NV12 its lumas."""
    shown = scale_to_8bit(fused, *LIMITS).astype(float)
    if case.fused_format == BGR:
        return np.clip(shown[..., None] + colours(case), 0, 255)
    if case.fused_format == NV12 and case.limited_range:
        shown = 16 + shown * 219 / 255
    return shown[..., None]
