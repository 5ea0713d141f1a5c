"""Loading the graphs of one bundle, and its heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tdfusion_edge.bundle import Bundle, Graph
from tdfusion_edge.errors import BundleError, RequestError
from tdfusion_edge.runtime import heads, rig
from tdfusion_edge.runtime.engines import BACKENDS, Choice, Engine, OnProgress, Opened, open_graph
from tdfusion_edge.runtime.heads import Head, kind_of

MOST_THREADS = 1024
"""More than any machine has cores; a library asked for a million of them takes all memory."""


class Foreign(NamedTuple):
    """A detector of the user's own that stands in for the bundle's."""

    path: Path
    """An ONNX file."""
    classes: tuple[str, ...] | None
    """What it is to find; None: all that it knows."""


def require_sound(score_threshold: float | None, threads: int, registration: rig.Registration | None) -> None:
    """Refuse what no bundle could be opened with.

    Args:
        score_threshold: 0 to 1; None: the bundle's.
        threads: Of the CPU back end; 0: one a core.
        registration: None scales infrared to visible.

    Raises:
        RequestError: one of them is out of range, or no registration.
    """
    if score_threshold is not None and not 0 <= score_threshold <= 1:
        raise RequestError("--score-threshold", expected="0 to 1", got=f"{score_threshold:g}")
    if not isinstance(threads, int) or not 0 <= threads <= MOST_THREADS:
        raise RequestError("--threads", expected=f"0 or more, at most {MOST_THREADS}", got=str(threads))
    if registration is not None and not isinstance(registration, rig.Registration):
        raise RequestError(
            "registration",
            expected="a tdfusion_edge.runtime.rig.Registration, as rig.read(path).registration is",
            got=type(registration).__name__,
        )


def foreign_of(detector: str | Path | None, classes: Sequence[str] | None, detect: bool) -> Foreign | None:
    """The detector that stands in for the bundle's, if any.

    Args:
        detector: An ONNX file.
        classes: What it is to find, by COCO's names.
        detect: Whether anything is to be detected.

    Raises:
        RequestError: nothing is to be detected, or there are classes without a detector of theirs.
    """
    if detector is None:
        if classes is not None:
            raise RequestError("--detector-classes", expected="--detector as well")
        return None
    if not isinstance(detector, str | Path) or not str(detector):
        raise RequestError("--detector", expected="a path of an ONNX file", got=repr(detector))
    if not detect:
        raise RequestError(
            f"--detector {detector}, but nothing is detected",
            expected="what it finds to be asked for",
            hint="Give fuse --boxes or --detections; leave run's --no-detect out.",
        )
    if isinstance(classes, str):
        raise RequestError("detector_classes", expected="a sequence of names", got=repr(classes))
    return Foreign(Path(detector), None if classes is None else tuple(classes))


class Loader:
    """Loads graphs of one bundle, closed by ``stack``.

    Args:
        opened: The bundle.
        choice: Back end, precision and the back end's own options.
        on_progress: Gives what takes the progress of an engine's build, by the graph's name.
        instrument: Wraps an engine, by its graph's name.
        stack: Closes the engines.
    """

    def __init__(
        self,
        opened: Bundle,
        choice: Choice,
        on_progress: Callable[[str], OnProgress] | None,
        instrument: Callable[[str, Engine], Engine],
        stack: ExitStack,
    ) -> None:
        self._opened, self._choice, self._stack = opened, choice, stack
        self._on_progress, self._instrument = on_progress, instrument
        self.ran: Opened
        """What took the last graph."""
        self.looking: list[Graph] = []
        """Of the bundle's heads that were opened, without one that a foreign detector stands in for."""

    def __call__(self, name: str) -> Engine:
        """The engine of one graph; raises as :func:`~tdfusion_edge.runtime.engines.open_graph`."""
        return self._load(name, self._choice)

    def _load(self, name: str, choice: Choice) -> Engine:
        progress = None if self._on_progress is None else self._on_progress(name)
        self.ran = open_graph(self._opened, name, choice, progress)
        self._stack.callback(self.ran.engine.close)
        return self._instrument(name, self.ran.engine)

    def heads(self, threshold: float | None, foreign: Foreign | None = None) -> dict[str, Head]:
        """All heads of the bundle, by kind.

        Args:
            threshold: Only scores above it count; None takes the head's own.
            foreign: Stands in for the bundle's boxes head, or beside its others.

        Raises:
            BundleError: a head is of a kind that is not known here.
            InputMissing: there is no such detector.
            RequestError: the detector is none that is known.
        """
        manifest = self._opened.manifest
        found: dict[str, Head] = {}
        choice, row = self._choice, BACKENDS.get(self._choice.backend)
        if row is not None and row.heads is not None:
            choice = choice._replace(backend=row.heads, precision=None)
        for name, info in manifest.heads.items():
            if info.kind not in heads.HEADS:
                raise BundleError(
                    f"bundle '{manifest.name}' has a head of an unknown kind",
                    expected=", ".join(heads.HEADS),
                    got=info.kind,
                    hint="A newer version of tdfusion-edge may know it.",
                )
            if info.kind in found:
                raise BundleError(
                    f"bundle '{manifest.name}' has two heads of one kind",
                    expected="one",
                    got=f"{info.kind} twice",
                )
            if foreign is None or info.kind != "boxes":
                self.looking.append(manifest.graphs[name])
                found[info.kind] = kind_of(info.kind).open(
                    manifest.graphs[name], self._load(name, choice), info, threshold
                )
        if foreign is not None:
            found["boxes"] = self._detector(foreign, threshold)
        return found

    def _detector(self, foreign: Foreign, threshold: float | None) -> Head:
        # Imported here: ONNX Runtime is loaded by who needs it.
        from tdfusion_edge.runtime.heads.boxes.foreign.run import open_detector

        detector = open_detector(
            foreign.path,
            foreign.classes,
            threshold=threshold,
            threads=self._choice.threads,
            instrument=self._instrument,
        )
        self._stack.callback(detector.close)
        return detector
