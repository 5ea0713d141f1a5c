"""A thread that stores every frame of both cameras, whatever becomes of it afterwards."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from tdfusion_edge.errors import SinkError, TdfusionError
from tdfusion_edge.frames import Frame
from tdfusion_edge.redact import redact, redact_address
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.recording import rig_file
from tdfusion_edge.runtime.recording.files import CameraFile, codec_of
from tdfusion_edge.runtime.sinks.kinds import VisibleCodec
from tdfusion_edge.runtime.sinks.output import require_writable
from tdfusion_edge.runtime.sinks.segments import Budget, Limits, free_stamp
from tdfusion_edge.runtime.sources.base import Source, Wrapped
from tdfusion_edge.video.times import FOLDERS, SUFFIX, VERSION, Piece

log = logging.getLogger(__name__)

WAITING = 128 << 20
"""Bytes of pictures that may wait for the disk: 2.8 s of 640x512 in 16 bits beside 640x480 in colours."""
MARGIN_NS = 1_000_000_000
"""Time 0 of a piece lies so long before its first frame, so that one that was taken earlier and comes later
has a place."""
AGAIN_NS = 5_000_000_000
"""After a failure the disk is tried again behind so much time."""
LOOK_NS = 1_000_000_000
"""How often it is looked whether the files are still there."""
JOIN_S = 10.0
"""At the end a disk that takes no frame for so long is given up."""


class Recorder:
    """Stores the frames of both cameras in a folder that can be replayed as a rig.

    ``DIR/ir/STAMP.mkv`` and ``DIR/vi/STAMP.mkv``, each with its capture times in ``STAMP.jsonl``, and
    ``DIR/rig.toml``. A frame of a live camera never waits: where the disk is too slow it is not recorded, and
    counted. A disk that is full or gone is told of and tried again; nothing is raised.

    Args:
        folder: Where to; made if its parent is there.
        describe: Writes the rig file into the folder.
        limits: When a piece is full.
        budget: Told of the folder, and asked to make room.
        visible: How visible pictures are stored.
        waiting: Bytes of pictures that may wait.
        clock: Monotonic nanoseconds, the clock of the capture times.
        wall_clock: Nanoseconds since 1970.

    Raises:
        RequestError: the folder cannot be written, or is somebody else's.
    """

    def __init__(
        self,
        folder: Path,
        describe: Callable[[Path], None],
        *,
        limits: Limits | None = None,
        budget: Budget | None = None,
        visible: VisibleCodec = "h264",
        waiting: int = WAITING,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        require_writable(folder, folder=True)
        rig_file.require_ours(folder)
        self._folder, self._describe, self._visible = folder, describe, visible
        self._limits, self._budget = limits or Limits(), budget or Budget(None)
        self._most, self._clock, self._wall_clock = waiting, clock, wall_clock
        self._numbers = [self._budget.add(folder / name, "", (".mkv", SUFFIX)) for name in FOLDERS.values()]
        self._made_here = not folder.exists()
        self._name = uuid.uuid4().hex
        self._begun = clock(), wall_clock()
        self._piece: Piece | None = None
        self._stamp, self._first_ns = "", 0
        self._files: dict[rig.Role, CameraFile] = {}
        self._again_ns: int | None = None
        self._looked_ns = clock()
        self._queue: deque[tuple[rig.Role, str, Frame]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = self._given_up = False
        self.recorded: dict[rig.Role, int] = dict.fromkeys(rig.OTHER, 0)
        """Frames that were given to the files."""
        self.dropped: dict[rig.Role, int] = dict.fromkeys(rig.OTHER, 0)
        """Frames that were not: the disk was too slow, full or gone."""
        self.failures = 0
        """How often the disk refused."""
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def tap(self, role: rig.Role, source: Source) -> Source:
        """The source, each of whose frames is recorded as it is read."""
        return _Tapped(role, source, self)

    def put(self, role: rig.Role, frame: Frame, *, camera: str = "", wait: bool = False) -> None:
        """Record a frame.

        Args:
            role: Of its camera.
            frame: Its picture must not be changed afterwards.
            camera: Name of the camera, without credentials.
            wait: Wait for room, as for frames of a file, instead of dropping the frame.
        """
        size = frame.image.nbytes
        with self._changed:
            if wait:
                self._changed.wait_for(
                    lambda: self._closing or not self._queue or self._bytes + size <= self._most
                )
            if self._closing or (self._queue and self._bytes + size > self._most):
                self.dropped[role] += 1
                return
            self._queue.append((role, camera, frame))
            self._bytes += size
            self._changed.notify_all()

    def counts(self) -> dict[str, object]:
        """What became of the frames so far; safe from any thread."""
        return {
            "recorded": dict(self.recorded),
            "dropped": dict(self.dropped),
            "failures": self.failures,
            "removed": self._budget.removed,
        }

    def close(self) -> None:
        """Store what waits and finish the files; safe to call twice. Never raises."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        done, since_ns = -1, self._clock()
        while self._thread.is_alive():
            self._thread.join(0.1)
            # However slow it is: what waits is stored as long as there is progress.
            if (now := self._done()) != done:
                done, since_ns = now, self._clock()
            elif self._clock() - since_ns >= JOIN_S * 1e9:
                break
        if self._thread.is_alive() and not self._given_up:
            self._given_up = True
            log.error("%s does not answer: the end of the recording is lost", self._folder)

    def _done(self) -> int:
        return sum(self.recorded.values()) + sum(self.dropped.values())

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            role, camera, frame = item
            now_ns = self._clock()
            if self._again_ns is not None and now_ns < self._again_ns:
                self.dropped[role] += 1
                continue
            try:
                self._store(role, camera, frame, now_ns)
                self.recorded[role] += 1
            # Everything: the cameras' pictures go on whatever a disk or an encoder says.
            except Exception as error:
                self.dropped[role] += 1
                self._fail(error)
        self._finish()

    def _next(self) -> tuple[rig.Role, str, Frame] | None:
        """The oldest frame, waiting for it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            item = self._queue.popleft()
            self._bytes -= item[2].image.nbytes
            self._changed.notify_all()
            return item

    def _store(self, role: rig.Role, camera: str, frame: Frame, now_ns: int) -> None:
        file = self._files.get(role)
        if self._piece is not None and (self._is_full(frame) or (file and not file.fits(frame.image))):
            self._finish()
            file = None
        if self._piece is None:
            self._begin(frame)
        if file is None:
            file = self._files[role] = self._opened(role, camera, frame)
        file.write(frame)
        self._again_ns = None
        self._budget.look(self._numbers, self._stamp)
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            for one in self._files.values():
                one.require_there()

    def _is_full(self, frame: Frame) -> bool:
        size = sum(file.size for file in self._files.values())
        return self._limits.reached(self._first_ns, frame.time_ns, size) or (
            frame.time_ns < self._first_ns - MARGIN_NS  # a clock that was set back
        )

    def _begin(self, frame: Frame) -> None:
        """A piece begins with this frame."""
        if self._made_here:
            self._folder.mkdir(exist_ok=True)
            self._made_here = False
        self._describe(self._folder)
        for name in FOLDERS.values():  # a camera's that never comes too: no other folder passes for it
            (self._folder / name).mkdir(exist_ok=True)
        begun_ns, begun_utc_ns = self._begun
        # By the wall clock as it is now: it may have been set since the recording began.
        utc_ns = self._wall_clock() - (self._clock() - frame.time_ns)
        self._stamp = free_stamp(max(utc_ns, 0), self._is_taken)
        self._first_ns = frame.time_ns
        self._piece = Piece(
            version=VERSION, recording=self._name, role="", camera="", begun_ns=begun_ns,
            begun_utc_ns=begun_utc_ns, origin_ns=frame.time_ns - MARGIN_NS,
        )  # fmt: skip
        self._budget.look(self._numbers, self._stamp, now=True)

    def _is_taken(self, stamp: str) -> bool:
        return any((self._folder / name / f"{stamp}.mkv").exists() for name in FOLDERS.values())

    def _opened(self, role: rig.Role, camera: str, frame: Frame) -> CameraFile:
        assert self._piece is not None
        path = self._folder / FOLDERS[role] / f"{self._stamp}.mkv"
        piece = Piece(
            version=VERSION, recording=self._name, role=role, camera=redact_address(camera),
            begun_ns=self._piece.begun_ns, begun_utc_ns=self._piece.begun_utc_ns,
            origin_ns=self._piece.origin_ns,
        )  # fmt: skip
        codec = codec_of(role, frame.image, self._visible)
        return CameraFile(path, piece, codec, frame.image, clock=self._clock)

    def _finish(self) -> None:
        """End the piece; a file that cannot be ended is told of."""
        files, self._files, self._piece = self._files, {}, None
        for file in files.values():
            try:
                file.close()
            except (SinkError, OSError, ValueError) as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        files, self._files, self._piece = self._files, {}, None
        for file in files.values():
            file.abort()
        self.failures += 1
        self._again_ns = self._clock() + AGAIN_NS
        what = str(error) if isinstance(error, TdfusionError) else repr(error)
        if isinstance(error, OSError):  # of the rig file, whose name is a passing one while it is written
            what = f"{self._folder} cannot be written: {error.strerror or error}"
        log.error(
            "%s; frames are not recorded until it is tried again in %g s, the pictures go on",
            redact(what.splitlines()[0]), AGAIN_NS / 1e9,
        )  # fmt: skip


def opened(
    folder: Path,
    cameras: Mapping[rig.Role, rig.Camera],
    sync: rig.Sync,
    registration: rig.Registration | None,
    places: rig.Rig | None = None,
    *,
    visible: VisibleCodec = "h264",
    limits: Limits | None = None,
    budget: Budget | None = None,
) -> Recorder:
    """A recorder for the cameras and the places of a rig; errors as :class:`Recorder`."""

    def describe(place: Path) -> None:
        rig_file.write(place, cameras, sync, registration, places)

    return Recorder(folder, describe, limits=limits, budget=budget, visible=visible)


class _Tapped(Wrapped):
    """A source whose frames are recorded as they are read."""

    def __init__(self, role: rig.Role, source: Source, recorder: Recorder) -> None:
        super().__init__(source)
        self._role, self._recorder = role, recorder

    def passed(self, frame: Frame) -> Frame:
        self._recorder.put(self._role, frame, camera=self.name, wait=not self.live)
        return frame
