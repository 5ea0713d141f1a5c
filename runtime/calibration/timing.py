"""The time offset of two cameras, measured once from something that moves through both pictures.

What is compared, and how sure it is, is that of the check that a run makes of its capture times
(:mod:`tdfusion_edge.runtime.pairing.content`); here all frames of a recording are looked at together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from tdfusion_edge.errors import FrameLost, WorkError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.content import Content, ContentReport, Place
from tdfusion_edge.runtime.sources.base import Source

SHORTEST_S = 15
"""Seconds that both cameras have to have in common."""
LONGEST_S = 60
"""What is beyond is not looked at."""


def time_offset(
    sources: Mapping[rig.Role, Source],
    place: Place,
    *,
    seconds: float,
    stop: threading.Event,
    tell: Callable[[float], None] = lambda done: None,
) -> ContentReport:
    """What must be added to infrared's capture times, by what moves in both pictures.

    Args:
        sources: Both cameras, live or recorded; each is read in a thread of its own.
        place: How infrared lies on visible.
        seconds: Look at so much capture time, at most :data:`LONGEST_S`.
        stop: Ends the look early; what was seen until then counts.
        tell: Called with the share of the time that has passed.

    Raises:
        SourceError: a camera failed.
        WorkError: too short, nothing moves in both, or no clear offset; with what was found.
    """
    content = Content(place, tolerance_ms=rig.DAY_MS)  # a day: whoever measures it needs no warning of it
    failures: list[BaseException] = []

    def read(role: rig.Role, source: Source) -> None:
        begun_ns: int | None = None
        try:
            while not stop.is_set():
                try:
                    frame = source.read()
                except FrameLost:
                    continue
                if frame is None:
                    return
                begun_ns = frame.time_ns if begun_ns is None else begun_ns
                passed_s = (frame.time_ns - begun_ns) / 1e9
                if passed_s > min(seconds, LONGEST_S):
                    return
                content.take(role, frame)
                if role == "visible":
                    tell(passed_s / min(seconds, LONGEST_S))
        except BaseException as error:  # raised in the caller's thread
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=read, args=item, daemon=True) for item in sources.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    content.look()
    return _required(content.report())


def _required(found: ContentReport | None) -> ContentReport:
    """The report, where it is one to rely on."""
    if found is not None and found.confidence == "good":
        return found
    raise WorkError(
        "the time offset cannot be told from what moves",
        expected=f"{SHORTEST_S} s or more in which something warm moves through both views",
        got="too little" if found is None else f"{found.offset_ms:+.0f} ms, ± {found.error_ms:.0f}",
        hint="Wave a hand or a cup through both views for half a minute, in no steady rhythm; "
        "calibrate the registration first.",
    )
