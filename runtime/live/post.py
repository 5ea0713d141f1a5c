"""What waits to be sent to one viewer."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from tdfusion_edge.runtime.live.hub import Packet

PATIENCE_S = 30.0
"""A viewer that takes no picture for so long is let go, and its place is free."""
LEAVE_S = 0.5
"""At the end a viewer has so long to take its last picture."""


class Post:
    """What waits to be sent to one viewer: a picture or two, the newest status, answers; never more.

    Made and read in the server's loop; :meth:`picture` may be called from any thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._pictures: deque[Packet] = deque()
        self._texts: dict[str, bytes] = {}
        self._over = asyncio.Event()
        self.unanswered = 0
        """Pictures that were sent, and not yet said to be shown."""

    def picture(self, packet: Packet | None) -> None:
        """A picture, or None at the end."""
        with suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self._loop.call_soon_threadsafe(self._put, packet)

    def text(self, kind: str, text: bytes) -> None:
        """A message in the place of an older one of its kind."""
        self._texts[kind] = text
        self._ready.set()

    def _put(self, packet: Packet | None) -> None:
        if packet is None:
            self._over.set()
        else:
            self._pictures.append(packet)
        self._ready.set()

    async def next(self) -> Packet | bytes | None:
        """What is to be sent next, waiting for it; None at the end."""
        while True:
            if self._over.is_set():
                return None
            if self._texts:
                return self._texts.pop(next(iter(self._texts)))
            if self._pictures:
                return self._pictures.popleft()
            self._ready.clear()
            await self._ready.wait()

    async def over(self) -> None:
        """Wait for the end, and as long as saying so to the viewer may take."""
        await self._over.wait()
        await asyncio.sleep(LEAVE_S)
