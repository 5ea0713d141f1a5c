"""Fuser: a bundle's networks at work. The one place where they are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import get_args

import numpy as np

from tdfusion_edge import bundle
from tdfusion_edge.bundle import FUSION, ONE_PASS, Bundle, Manifest, Precision
from tdfusion_edge.color import U8
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Image, Pair, whole
from tdfusion_edge.result import Findings, Result
from tdfusion_edge.runtime import engines, rig
from tdfusion_edge.runtime.engines import Choice, Engine, OnProgress
from tdfusion_edge.runtime.executors import camera_way, expect_next, takes_frames, takes_one_pass
from tdfusion_edge.runtime.executors.base import F32, Executor, FromCameras, Looked, Timed, untimed
from tdfusion_edge.runtime.executors.loading import Loader, foreign_of, require_sound
from tdfusion_edge.runtime.executors.onepass import OnePass
from tdfusion_edge.runtime.executors.staged import Staged
from tdfusion_edge.runtime.heads import Head, Scored, kind_of
from tdfusion_edge.runtime.picture.alignment import Aligner
from tdfusion_edge.runtime.picture.stretch import Stretch, StretchName
from tdfusion_edge.runtime.picture.watch import Watch


class Fuser:
    """Fuses pairs of pictures and finds what is in them.

    It serves one stream: pictures follow each other, and nothing may call it from two threads at once.

    >>> import numpy as np
    >>> with Fuser("edge") as fuse:
    ...     result = fuse(np.zeros((480, 640), np.uint16), np.zeros((480, 640, 3), np.uint8))
    >>> result.picture.shape, len(result.detections)
    ((480, 640), 0)

    Args:
        source: Name of a bundle that ships with the package, a path of one, or an opened one.
        backend: What runs the networks: ``onnxruntime``, ``tensorrt``, ... ``auto`` takes the CPU.
        precision: ``fp32``, ``fp16`` or ``int8``; None takes the best that the bundle has for the back end.
        threads: Of the CPU back end; 0 takes one a core.
        engine_cache: Folder of the engines that GPU back ends build; None takes the user's cache folder.
        workspace: Most bytes of GPU memory that such a build may take for scratch; None takes a share of what
            is free.
        graphs: ``staged`` runs network by network, ``onepass`` all in one graph, whose stretch is a picture
            behind and therefore ``temporal`` or ``none``; ``auto`` takes that where the back end gains by it
            and the picture fits. With back end ``cuda`` it hands over the cameras' pictures themselves, with
            the same stretch.
        detect: Whether the bundle's heads (boxes, masks) look at the fused picture.
        score_threshold: Only boxes with a higher score count, 0 to 1; None takes the bundle's, or 0.25 for
            ``detector``.
        detector: An ONNX file of a detector that stands in for the bundle's: YOLOX, NanoDet, YOLOv8 or alike,
            with COCO's 80 classes. It sees the fused luma in the visible picture's colours, runs on the CPU
            by ONNX Runtime, and the networks run ``staged``.
        detector_classes: What it is to find, by COCO's names; ``car`` takes in bus and truck unless they are
            named too. None: all 80.
        range: How infrared becomes 8 bits: a name such as ``percentile``, or a rig's table; ``auto`` where
            None. See :class:`tdfusion_edge.runtime.rig.ThermalRange`.
        stretch: How the fused luma becomes 8 bits: ``image`` by the picture's own extremes, ``temporal`` by
            limits that move slowly, for streams, or ``none``.
        registration: Where infrared pixels lie in the visible picture, a
            :class:`tdfusion_edge.runtime.rig.Registration`; None scales the one to the other. Where it leaves
            a part without infrared, visible stands there, and the networks run ``staged``.
        visible_size: Width and height of the visible pictures, where they are known before the first comes:
            infrared that is alone until then is shown at this size, and not at all where it is not known.
        watch: When a camera of a stream whose pictures show nothing, or one of which repeats, is left out, a
            :class:`tdfusion_edge.runtime.picture.watch.Watch`.
        on_progress: Told of the build of an engine: called with the graph's name, gives what takes progress.
        instrument: Wraps every engine, by its graph's name: for measuring.

    Raises:
        InputMissing: there is no such bundle or detector.
        BundleError: it is damaged, or has no graph in this precision.
        RequestError: an option that is none, or that the bundle cannot serve.
        ConfigError: one pass would be taken, and the registration's homography is of no use.
        EngineError: the back end cannot load a network.
    """

    def __init__(
        self,
        source: str | Path | Bundle = "edge",
        *,
        backend: str = "auto",
        precision: Precision | None = None,
        threads: int = 0,
        engine_cache: str | Path | None = None,
        workspace: int | None = None,
        graphs: str = "auto",
        detect: bool = True,
        score_threshold: float | None = None,
        detector: str | Path | None = None,
        detector_classes: Sequence[str] | None = None,
        range: rig.RangeName | rig.ThermalRange | None = None,
        stretch: StretchName = "image",
        registration: rig.Registration | None = None,
        visible_size: tuple[int, int] | None = None,
        watch: Watch = Watch(),  # noqa: B008 (immutable)
        on_progress: Callable[[str], OnProgress] | None = None,
        instrument: Callable[[str, Engine], Engine] = lambda name, engine: engine,
    ) -> None:
        require_sound(score_threshold, threads, registration)
        thermal = rig.thermal(range)
        self._follows_visible = watch.frozen_ms is not None
        self._mode: StretchName = Stretch(stretch).mode  # which refuses what is none
        opened = source if isinstance(source, Bundle) else bundle.read(_place(source))
        self.manifest: Manifest = opened.manifest
        """What the bundle says of itself."""
        foreign = foreign_of(detector, detector_classes, detect)
        boxes = detect and (foreign is not None or self.manifest.head("boxes") is not None)
        if score_threshold is not None and not boxes:
            raise RequestError(
                "--score-threshold, but nothing is detected",
                expected="a bundle with a detector, and its boxes to be asked for",
                got=f"bundle '{self.manifest.name}' with {', '.join(self.manifest.graphs)}",
            )
        cache = None if engine_cache is None else Path(engine_cache)
        choice = Choice(backend, precision, threads, cache, workspace)
        with ExitStack() as stack:
            load = Loader(opened, choice, on_progress, instrument, stack)
            fusion, ran = load(FUSION), load.ran
            self.backend, self.precision = ran.backend, ran.precision
            self._one_pass = takes_one_pass(
                opened,
                ran,
                graphs,
                stretch=stretch,
                detect=detect,
                foreign=foreign is not None,
                registration=registration,
            )
            self.heads: Mapping[str, Head] = load.heads(score_threshold, foreign) if detect else {}
            """What looks at the fused picture, by kind."""
            infrared = any(graph.takes_infrared for graph in load.looking)
            self._staged = Staged(fusion, self.heads, infrared=infrared)
            self._executor: Executor = self._staged
            if self._one_pass:
                self._executor = OnePass(
                    self.manifest.graphs[ONE_PASS],
                    load(ONE_PASS),
                    self.manifest.classes("boxes"),
                    threshold=self.manifest.score_threshold if score_threshold is None else score_threshold,
                    staged=self._staged,
                    detect=detect,
                    demanded=graphs == "onepass",
                )
            minimum = self.manifest.graphs[FUSION].minimum_size
            self._aligner = Aligner(
                thermal, registration, minimum=minimum, visible_size=visible_size, watch=watch
            )
            self._from_cameras: FromCameras | None = None
            if takes_frames(ran, graphs, stretch=stretch):
                self._from_cameras = camera_way(ran)(
                    ran.engine, self._aligner, self._staged, thermal,
                    colours=foreign is not None or any(graph.takes_chroma for graph in load.looking),
                    infrared=infrared,
                )  # fmt: skip
                stack.callback(self._from_cameras.close)
            self._closing = stack.pop_all()
        head = self.heads.get("boxes")
        self._scored = head if isinstance(head, Scored) else None
        """The head whose findings have scores."""
        self._time_ns: int | None = None
        """Of the last array that was given with a time."""
        self.forget()

    def __call__(self, infrared: Image, visible: Image, time_ns: int | None = None) -> Result:
        """Fuse two arrays.

        Args:
            infrared: uint8 or uint16 (H, W), hot is bright; uint8 (H, W, 3) BGR counts as its luma.
            visible: uint8 (H, W, 3) BGR, or (H, W). Of any size: infrared is brought to it.
            time_ns: Capture time in nanoseconds. Without it the pair stands alone; with it range and stretch
                follow those of the pairs before it. A time before the last one begins a new stream, and so
                does :meth:`forget`.

        Returns:
            The picture at the visible one's size, with what was found in it.

        Raises:
            SourceError: an array is no picture, or the time no whole number.
            RequestError: the visible picture has 16 bits or is too small, or the registration does not fit.
            EngineError: a network failed.
        """
        time_ns = None if time_ns is None else whole(time_ns, "time_ns")
        if time_ns is None or self._time_ns is None or time_ns < self._time_ns:
            self.forget()
        self._time_ns = time_ns
        if time_ns is not None:  # compared with the next ones, which may come in the same buffers
            infrared, visible = (
                one.copy() if isinstance(one, np.ndarray) and kept else one
                for one, kept in ((infrared, True), (visible, self._follows_visible))
            )
        at, number = time_ns or 0, self._count
        pair = Pair(Frame(infrared, at, number, "infrared"), Frame(visible, at, number, "visible"))
        result = self.fuse(pair)
        assert result is not None  # only infrared alone has no picture
        return result

    def fuse(
        self, pair: Pair, timed: Timed = untimed, following: Callable[[], Pair | None] = lambda: None
    ) -> Result | None:
        """Fuse a pair of frames, or show the one that is there.

        Args:
            pair: Of one stream, in the order of their time.
            timed: Times the stages ``align``, ``network``, that of each head, and ``compose``.
            following: Gives the next pair if it is there already, and does not wait for it. A back end that
                takes the cameras' pictures themselves uploads it while this pair is computed. It may be asked
                or not, and another pair may come instead.

        Returns:
            None for infrared alone before the visible size is known.

        Raises:
            RequestError: the frames do not fit the network or the registration.
            EngineError: a network failed.
        """
        with timed("align"):
            present = self._aligner.present(pair)
            if present is None:
                return None
            way = self._from_cameras
            if way is not None and (self._mode == "image" or not way.takes(present)):
                way = None
            aligned = self._aligner.brought(present) if way is None else None
        if way is not None:
            made = way.fuse(present, self._stretch, timed, partial(expect_next, way, following))
        else:
            assert aligned is not None
            made = self._executor.fuse(aligned, self._stretch, timed)
        self._count += 1
        return Result(
            self._count - 1, pair, made.picture, made.findings, made.luma, present.degraded,
            infrared=None if aligned is None else aligned.warped,
        )  # fmt: skip

    def look(self, infrared: U8, visible: Image) -> Looked:
        """What the networks alone make of an aligned pair: without range, registration and stretch.

        Args:
            infrared: uint8 (H, W).
            visible: uint8 (H, W) or (H, W, 3) BGR, of the same size.

        Raises:
            EngineError: a network failed.
            RequestError: it goes in one pass, and the graph does not serve this size.
        """
        return self._executor.look(infrared, visible)

    def luma(self, infrared: U8, visible: U8) -> F32:
        """The fused luma of an aligned pair of lumas alone, float32 (H, W); safe in several threads at once.

        Args:
            infrared: uint8 (H, W).
            visible: uint8 (H, W), luma.
        """
        return self._staged.luma(infrared, visible)

    def find(self, luma: U8 | F32, chroma: U8 | None = None, infrared: U8 | F32 | None = None) -> Findings:
        """What the heads find in any picture, by their kind.

        Args:
            luma: uint8 (H, W) or float32 (H, W) in [0, 1].
            chroma: uint8 (2, H, W), Cr then Cb around 128, for heads that see colours; None: grey.
            infrared: (H, W) as ``luma``, for heads that see it beside a picture of both sensors.

        Raises:
            EngineError: a head failed.
            RequestError: infrared is of another size, or of more than 8 bits.
        """
        return self._staged.find(luma, chroma, infrared)

    def move(self, distance_m: float) -> None:
        """Let infrared lie on visible at another distance, from the next pair on; safe from any thread.

        Where the shift leaves a part without infrared, one pass goes on network by network.

        Args:
            distance_m: From the cameras, metres.

        Raises:
            RequestError: it is no distance, or the registration lacks ``distance_m``, ``baseline_m`` or
                ``focal_px``.
        """
        self._aligner.move(distance_m)

    @property
    def registration(self) -> rig.Registration | None:
        """How infrared lies on visible, before :meth:`move`; :meth:`register` changes it."""
        return self._aligner.registration

    def register(self, registration: rig.Registration | None) -> None:
        """Let infrared lie on visible in another way, from the next pair on; not while a pair is fused.

        It lies at the distance that this registration holds for. Where that leaves a part without infrared,
        one pass goes on network by network. What of it is of no use is refused when the next pair is fused.

        Args:
            registration: Where infrared pixels lie in the visible picture; None scales the one to the other.
        """
        self._aligner.register(registration)

    def forget(self) -> None:
        """Begin a new stream: nothing is left of earlier pictures."""
        self._aligner.forget()
        if self._from_cameras is not None:
            self._from_cameras.forget()
        self._stretch = Stretch(self._mode)
        self._count = 0

    @property
    def stretches(self) -> tuple[StretchName, ...]:
        """What :attr:`stretch` may be: in one pass not ``image``, which depends on the very picture."""
        names: tuple[StretchName, ...] = get_args(StretchName)
        return tuple(name for name in names if not (self._one_pass and name == "image"))

    @property
    def stretch(self) -> StretchName:
        """How the fused luma becomes 8 bits; may be set between two pictures, and then begins anew.

        Raises:
            RequestError: it is none of :attr:`stretches`.
        """
        return self._mode

    @stretch.setter
    def stretch(self, name: StretchName) -> None:
        if name not in self.stretches:
            raise RequestError("output stretch", expected=" | ".join(self.stretches), got=repr(name))
        if name != self._mode:
            self._mode, self._stretch = name, Stretch(name)

    @property
    def score_threshold(self) -> float | None:
        """Only boxes with a higher score count, 0 to 1; None without a detector. It may be set as well.

        Raises:
            RequestError: it lies outside, or nothing is detected.
        """
        return None if self._scored is None else self._scored.threshold

    @score_threshold.setter
    def score_threshold(self, threshold: float) -> None:
        if self._scored is None:
            raise RequestError("score threshold, but nothing is detected")
        if not 0 <= threshold <= 1:
            raise RequestError("score threshold", expected="0 to 1", got=f"{threshold:g}")
        self._scored.threshold = threshold
        if isinstance(self._executor, OnePass):
            self._executor.threshold = threshold

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of what :meth:`fuse` times, in their order."""
        return ("align", "network", *(kind_of(kind).stage for kind in self.heads), "compose")

    def __str__(self) -> str:
        """Bundle, back end, precision and what is found, for people."""
        graph = self.manifest.graphs.get(ONE_PASS)
        one = f", in one pass for {graph.sizes_in_words}" if self._one_pass and graph is not None else ""
        row = engines.BACKENDS[self.backend]
        one += ", from the cameras' pictures" if self._from_cameras is not None else ""
        one += f", heads by {row.heads}" if row.heads is not None and self.heads else ""
        finds = "".join(f", {kind_of(kind).verb} {_listed(head.names)}" for kind, head in self.heads.items())
        return f"bundle {self.manifest.name}, back end {self.backend}, {self.precision}{one}{finds}"

    def close(self) -> None:
        """Release the networks; safe to call twice."""
        self._closing.close()

    def __enter__(self) -> Fuser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _place(source: str | Path) -> Path:
    """Where the bundle lies; a RequestError where ``source`` is no name and no path."""
    if not isinstance(source, str | Path) or not str(source):
        raise RequestError("bundle", expected="a name, a path or a Bundle", got=repr(source))
    return bundle.place(str(source))


NAMED = 6
"""So many classes of a head are named."""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
