"""What systemd is told of a run: that it is ready, how it stands, and that its loop lives.

The protocol is that of ``sd_notify(3)``: datagrams to the socket that ``$NOTIFY_SOCKET`` names. Where there
is none, nothing is told. The watchdog is fed while the *loop* turns. Cameras that are away do not starve it:
they are asked again by the run itself, and starting it anew would not bring them back.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from tdfusion_edge.runtime.pipeline.monitor import Monitor, Snapshot

STATUS_S = 5.0
"""The line that ``systemctl status`` shows is this old at most."""


class Systemd:
    """Tells systemd of a run, from a thread of its own.

    Args:
        monitor: It knows how the run stands.
        send: Takes one message.
        watchdog_s: So long without a word, and systemd starts the service anew; None: it does not watch.
    """

    def __init__(self, monitor: Monitor, send: Callable[[str], None], *, watchdog_s: float | None) -> None:
        self._monitor, self._send, self._watchdog_s = monitor, send, watchdog_s
        # Three words in a watchdog's time: one that is late does not end the service.
        self._pause_s = STATUS_S if watchdog_s is None else min(STATUS_S, watchdog_s / 3)
        self._ready = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="systemd", daemon=True)

    def tell(self) -> None:
        """One round of messages."""
        snapshot = self._monitor.snapshot()
        if not snapshot.running or snapshot.loop_age_s is None:
            return
        words = [f"STATUS={status_line(snapshot)}"]
        if not self._ready:
            words.insert(0, "READY=1")
        if self._watchdog_s is not None and snapshot.loop_age_s < self._watchdog_s / 2:
            words.append("WATCHDOG=1")
        self._send("\n".join(words))
        self._ready = True

    def __enter__(self) -> Systemd:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._send("STOPPING=1")

    def _run(self) -> None:
        while not self._stop.is_set():
            self.tell()
            # Until the run has begun it is looked at often, so that READY does not lag behind it.
            self._stop.wait(self._pause_s if self._ready else min(0.2, self._pause_s))


def status_line(snapshot: Snapshot) -> str:
    """How a run stands, in the one line of ``systemctl status``."""
    cameras = ", ".join(
        f"{role} {state.state} {state.rate_hz:.1f} Hz" + (f" ({state.failure})" if state.failure else "")
        for role, state in snapshot.cameras.items()
    )
    return f"{snapshot.rate_hz:.1f} pictures/s, {snapshot.pictures} in all; {cameras}".replace("\n", " ")


@contextmanager
def told_to_systemd(monitor: Monitor, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """While the block runs systemd is told of it, where it asked for that; otherwise nothing happens."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        # A name that begins with "@" has no file: Linux writes it with a zero byte.
        place = "\0" + address[1:] if address.startswith("@") else address

        def send(words: str) -> None:
            # A manager that is being started anew has no socket for a moment; the next round finds it.
            try:
                channel.sendto(words.encode(), place)
            except OSError:
                return

        with Systemd(monitor, send, watchdog_s=_watchdog_s(environment)):
            yield


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Seconds of the watchdog that is meant for this process; None where there is none."""
    if environment.get("WATCHDOG_PID") not in (None, "", str(os.getpid())):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() and int(text) else None
