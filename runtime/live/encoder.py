"""The thread that draws and encodes pictures for viewers, and sleeps while there is none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import cv2
import msgspec

from tdfusion_edge.redact import redact_all
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.live.hub import Hub, Packet
from tdfusion_edge.runtime.live.views import DETAIL, Painter, View

log = logging.getLogger(__name__)

MOST_HZ = 60.0
"""Pictures a second for viewers at most: recordings are fused faster than anybody looks."""


class Encoder:
    """Works until the hub is closed.

    Args:
        hub: Says what is to be drawn, and for whom.
        painter: Draws.
        clock: Seconds that only grow.
        sleep: Waits a number of seconds.
    """

    def __init__(
        self,
        hub: Hub,
        painter: Painter,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hub, self._painter = hub, painter
        self._clock, self._sleep = clock, sleep
        self._failed = False
        self._kept: tuple[Result, dict[View, Packet]] | None = None
        self._thread = threading.Thread(target=self._run, name="page encoder", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, which the hub's brings."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (work := self._hub.work()) is not None:
            begun = self._clock()
            for view, viewers in work.views.items():
                packet = self._packet(work.result, view)
                for viewer in viewers:
                    if packet is None:
                        self._hub.taken(viewer)
                    else:
                        viewer.give(packet)
            self._sleep(max(0.0, 1 / MOST_HZ - (self._clock() - begun)))

    def _packet(self, result: Result, view: View) -> Packet | None:
        """Drawn once for a result and a view, however late a viewer comes; None where it cannot be."""
        if self._kept is None or self._kept[0] is not result:
            self._kept = result, {}
        known = self._kept[1]
        if view not in known:
            try:
                known[view] = encoded(result, view, self._painter)
            # Whatever it is: a view that cannot be drawn must end neither the page nor the run.
            except Exception as error:
                if not self._failed:
                    log.warning("a view of the page cannot be drawn: %s", error)
                    log.debug("where the error comes from", exc_info=error)
                self._failed = True
                return None
        return known[view]


def encoded(result: Result, view: View, painter: Painter) -> Packet:
    """One view of a result as JPEG.

    Raises:
        ValueError: OpenCV cannot encode it.
    """
    picture = painter.paint(result, view)
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, DETAIL[view.detail][1]])
    if not done:
        raise ValueError(f"no JPEG of {picture.dtype} {picture.shape}")
    header = {
        "index": result.index,
        "utc_ms": None if result.utc_ns is None else result.utc_ns / 1e6,
        "degraded": result.degraded,
        "kind": view.kind,
        "found": len(result.detections),
    }
    return Packet(msgspec.json.encode(redact_all(header)), jpeg.tobytes())
