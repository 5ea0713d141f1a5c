"""From the cameras' pictures to the fused one, for a Fuser: one launch, and heads on the luma behind it.

A detector whose engine runs on the GPU looks there, and its boxes come back with the picture
(:mod:`~tdfusion_edge.runtime.engines.cuda.detector`); the luma then stays on the GPU.

The launch (:mod:`~tdfusion_edge.runtime.engines.cuda.path`) holds range, registration, border, network,
stretch and colour. The limits of the thermal range live on the GPU for ``percentile``, and for ``auto`` with
16 bits. For the other modes the CPU says gain and offset with every pair, from a sample of it. Two things
go network by network: ``clahe``, which depends on each pixel's surroundings, and infrared that is larger than
visible without a registration, for its pixels are averaged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8, is_grey, split
from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.result import Findings
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.base import Engine
from tdfusion_edge.runtime.engines.cuda.detector import Found, Looking, looking_of
from tdfusion_edge.runtime.engines.cuda.engine import KEEP, CudaEngine
from tdfusion_edge.runtime.engines.cuda.form import Form
from tdfusion_edge.runtime.engines.cuda.parameters import BGR, GREY
from tdfusion_edge.runtime.engines.cuda.path import Fused as Made
from tdfusion_edge.runtime.engines.cuda.path import PicturePath, numbers_of
from tdfusion_edge.runtime.executors.base import Fused, Timed
from tdfusion_edge.runtime.executors.staged import Staged
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.heads.boxes.run import Detector
from tdfusion_edge.runtime.picture.alignment import Aligner, Present
from tdfusion_edge.runtime.picture.border import Border
from tdfusion_edge.runtime.picture.range import smoothing_share
from tdfusion_edge.runtime.picture.stretch import Stretch


class _Key(NamedTuple):
    """What one path serves."""

    infrared: tuple[int, int]
    deep: bool
    visible: tuple[int, int]
    grey: bool
    inverse: tuple[float, ...] | None
    """From visible pixels to infrared ones; it changes where the rig is moved to another distance."""


@dataclass(frozen=True, eq=False)
class _Expected:
    """A pair that is uploaded."""

    infrared: Frame
    visible: Frame
    key: _Key

    def __eq__(self, other: object) -> bool:
        """The same frames, and not such that look alike."""
        if not isinstance(other, _Expected):
            return NotImplemented
        return self.infrared is other.infrared and self.visible is other.visible and self.key == other.key

    __hash__ = None  # type: ignore[assignment]


@dataclass(eq=False)
class _Open:
    path: PicturePath
    seen_ns: int | None = None
    """Capture time of the infrared frame that it saw last in this stream."""


class CameraPath:
    """A :class:`~tdfusion_edge.runtime.executors.base.FromCameras` over our own kernels.

    Args:
        engine: The fusion network, which stays the caller's to close.
        aligner: Of the stream: it knows how the pictures lie, and the limits that the CPU says.
        staged: Has the heads.
        thermal: How infrared becomes 8 bits.
        colours: Whether a head sees the visible picture's colours.
        infrared: Whether a head sees infrared beside the fused luma.
    """

    def __init__(
        self,
        engine: CudaEngine,
        aligner: Aligner,
        staged: Staged,
        thermal: rig.ThermalRange,
        *,
        colours: bool,
        infrared: bool,
    ) -> None:
        self._engine, self._aligner, self._staged, self._thermal = engine, aligner, staged, thermal
        self._colours, self._infrared = colours, infrared
        self._detector = staged.only("boxes")
        self._looking: Looking | None = None
        self._expected: _Expected | None = None
        self._open: OrderedDict[_Key, _Open] = OrderedDict()

    @staticmethod
    def serves(engine: Engine) -> bool:
        """Whether an engine's network goes this way: ``edge`` alone."""
        return isinstance(engine, CudaEngine) and engine.weights is not None

    def takes(self, present: Present) -> bool:
        """As :class:`~tdfusion_edge.runtime.executors.base.FromCameras` says, and so below."""
        if present.infrared is None or present.visible is None or self._thermal.mode == "clahe":
            return False
        warp, _ = self._aligner.placed(present.infrared.size, present.visible_size)
        return warp.inverse is not None or warp.infrared == warp.visible

    def fuse(
        self, present: Present, stretch: Stretch, timed: Timed, ahead: Callable[[], None] = lambda: None
    ) -> Fused:
        """One launch, or two for the first picture of a stretch: its limits come of it."""
        infrared, visible = present.infrared, present.visible
        assert infrared is not None
        assert visible is not None
        time_ns = present.pair.time_ns
        with timed("network"):
            if stretch.mode == "temporal" and not stretch.begun:
                stretch.follow(self._made(infrared, visible, stretch).measured, time_ns)
            made = self._made(infrared, visible, stretch, ahead)
            if stretch.mode == "temporal":
                stretch.follow(made.measured, time_ns)
            picture = made.planes[0]
            # The next pair overwrites what this one's results lie in.
            grey = visible.image.ndim == 3 and is_grey(visible.image)
            shown = (picture[..., 0] if grey else picture).copy()
            luma = None if made.luma is None else made.luma.copy()
            levels = None if made.infrared is None else made.infrared.copy()
        if made.found is not None:
            return Fused(shown, self._judged(made.found, timed), None)
        if luma is None:
            return Fused(shown, {}, None)
        chroma = split(visible.image)[1] if self._colours else None
        return Fused(shown, self._staged.find(luma, chroma, levels, timed), luma)

    def expect(self, infrared: Frame, visible: Frame) -> None:
        """Upload a pair whose size has come before; what fails is told when its turn has come."""
        self._expected = None
        try:
            counts, key = self._counted(infrared, visible)
            if key in self._open:
                self._open[key].path.upload({"infrared": counts, "visible": visible.image})
                self._expected = _Expected(infrared, visible, key)
        except TdfusionError:
            return

    def _judged(self, found: Found, timed: Timed) -> Findings:
        """What overlaps is compared on the CPU."""
        head = self._detector
        assert isinstance(head, Detector)
        with timed(kind_of("boxes").stage):
            proposals, low, high, finite = found
            return {
                "boxes": head.judge(proposals, low=low, high=high, finite=finite, threshold=head.threshold)
            }

    def forget(self) -> None:
        """The next pair begins the limits of the range anew."""
        self._expected = None
        for one in self._open.values():
            one.seen_ns = None

    def close(self) -> None:
        """All paths."""
        while self._open:
            self._open.popitem()[1].path.close()

    def _counted(self, infrared: Frame, visible: Frame) -> tuple[Image, _Key]:
        """The counts of an infrared frame, and which path serves the pair."""
        counts = self._aligner.counts(infrared)
        inverse = self._aligner.placed(infrared.size, visible.size)[0].inverse
        return counts, _Key(
            infrared.size, counts.dtype == np.uint16, visible.size, visible.image.ndim == 2,
            None if inverse is None else tuple(inverse.ravel().tolist()),
        )  # fmt: skip

    def _made(
        self, infrared: Frame, visible: Frame, stretch: Stretch, ahead: Callable[[], None] = lambda: None
    ) -> Made:
        counts, key = self._counted(infrared, visible)
        correction = None if self._follows(key.deep) else self._aligner.correction(infrared)
        one = self._opened(key)
        share = 1.0
        if one.seen_ns is not None:
            share = smoothing_share((infrared.time_ns - one.seen_ns) / 1e9, self._thermal.smoothing_s)
        there, self._expected = self._expected == _Expected(infrared, visible, key), None
        if not there:
            one.path.upload({"infrared": counts, "visible": visible.image})
        threshold = self._detector.threshold if isinstance(self._detector, Detector) else 1.0
        one.path.launch(numbers_of(stretch.limits, share, correction or (1.0, 0.0), threshold))
        one.seen_ns = infrared.time_ns
        ahead()
        return one.path.take()

    def _follows(self, deep: bool) -> bool:
        """Whether the GPU follows the limits of the range by itself."""
        return self._thermal.mode == "percentile" or (self._thermal.mode == "auto" and deep)

    def _opened(self, key: _Key) -> _Open:
        if key not in self._open:
            while len(self._open) >= KEEP:
                self._open.popitem(last=False)[1].path.close()
            border = self._aligner.placed(key.infrared, key.visible)[1]
            colour = GREY if key.grey else BGR
            if self._looking is None:  # here, since it may build an engine, which takes minutes
                self._looking = looking_of(self._detector)
            here = self._staged.looks and self._looking is None  # heads look on the CPU
            form = Form(
                key.visible, key.infrared, infrared_bytes=2 if key.deep else 1, visible=colour, fused=colour,
                luma=here, aligned=here and self._infrared,
                percentiles=self._thermal.limits if self._follows(key.deep) else None,
                corrected=not self._follows(key.deep) and self._thermal.mode != "camera",
                inverse=key.inverse,
            )  # fmt: skip
            engine = self._engine
            assert engine.weights is not None
            path = PicturePath(
                engine.device, engine.image, engine.weights, form, share=_shares(border),
                looking=self._looking,
            )  # fmt: skip
            self._open[key] = _Open(path)
        self._open.move_to_end(key)
        return self._open[key]


def _shares(border: Border | None) -> U8 | None:
    """How much of the fused luma counts, in 8 bits: 0 outside of infrared's view and nowhere else."""
    if border is None:
        return None
    share: npt.NDArray[np.float32] = np.rint(border.fused_share * 255)
    return np.where(border.outside > 0, 0, np.maximum(share, 1)).astype(np.uint8)
