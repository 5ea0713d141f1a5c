"""The connection to a broker: paho-mqtt's own loop keeps it, a thread of ours hands it messages."""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.install import imported
from tdfusion_edge.runtime.mqtt.address import Broker
from tdfusion_edge.runtime.mqtt.failures import of_answer, of_error
from tdfusion_edge.runtime.mqtt.outbox import Message, Outbox
from tdfusion_edge.runtime.mqtt.tables import Mqtt

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

WINDOW = 16
"""Messages on their way at once; so many events may be with paho when the connection breaks, which sends them
again."""
SLOWEST_RETRY_S = 30
FAREWELL_S = 3.0
"""How long the end of a run waits for the broker to take what is left."""


class Connection:
    """Keeps a broker supplied; nothing here waits for it.

    Args:
        broker: Where, and as whom.
        table: ``[mqtt]`` of the rig.
        outbox: What is to be sent.
        status: Gives the message about the state of the run, every ``status_s`` and at the end.
        keepalive_s: A broker that is silent for longer is gone.

    Raises:
        RequestError: paho-mqtt is not installed.
        InputMissing: there are no certificates at ``ca_file``.
    """

    def __init__(
        self,
        broker: Broker,
        table: Mqtt,
        outbox: Outbox,
        status: Callable[[], Message],
        keepalive_s: int = 20,
    ) -> None:
        self._broker, self._outbox, self._status = broker, outbox, status
        self._status_s = table.status_s
        self.ever = False
        """There was a connection once."""
        self.connected = False
        self.failure: str | None = None
        """Why there is none; None while there is one, or before anything was heard."""
        self.sent = 0
        """Messages that went out; of events, that the broker has."""
        self._wake = threading.Event()
        # paho calls back with its locks held: these only take notes, which the thread reads.
        self._published: deque[int] = deque()
        self._news: deque[bool] = deque()
        self._unacknowledged: set[int] = set()
        self._states: set[int] = set()
        """Those among them that are no events but say that we are there."""
        self._unwritten: set[int] = set()
        self._deadline: float | None = None
        self.broken: Exception | None = None
        """What ended the thread, which nothing should."""
        self._keepalive_s = keepalive_s
        self._client = self._new_client(table)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Connect, and begin to send."""
        self._client.connect_async(self._broker.host, self._broker.port, self._keepalive_s)
        self._client.loop_start()
        self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    @property
    def unfinished(self) -> int:
        """Events that the broker has not acknowledged."""
        return len(self._unacknowledged - self._states)

    def close(self, wait_s: float = FAREWELL_S) -> None:
        """Send what is left, if the broker takes it at once, say goodbye and end."""
        self._deadline = time.monotonic() + wait_s
        self._wake.set()
        self._thread.join(wait_s + 2)

    def _new_client(self, table: Mqtt) -> Client:
        imported("paho.mqtt.client", "mqtt", f"{self._broker.said} needs paho-mqtt", RequestError)
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        name = table.client_id or f"tdfusion-edge-{secrets.token_hex(4)}"
        client = Client(CallbackAPIVersion.VERSION2, client_id=name)
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            if table.ca_file is not None and not Path(table.ca_file).is_file():
                raise InputMissing(f"there are no certificates at {table.ca_file}")
            client.tls_set(ca_certs=table.ca_file)
        elif self._broker.password is not None and not self._broker.nearby:
            log.warning(
                "%s: the password goes over the network in the clear; mqtts:// hides it", self._broker.said
            )
        client.will_set(self._topic("state"), "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, SLOWEST_RETRY_S)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_publish = self._on_disconnect, self._on_publish
        return client

    def _topic(self, last: str) -> str:
        return f"{self._broker.topic}/{last}"

    # --- in paho's thread --------------------------------------------------------------------------

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del client, userdata, flags, properties
        if reason.is_failure:
            self._failed(of_answer(str(reason)))
            return
        if self.failure is not None:
            log.warning("%s: connected", self._broker.said)
        self.ever, self.failure = True, None
        self._news.append(True)
        self._wake.set()

    def _on_connect_fail(self, client: Client, userdata: Any) -> None:
        del client, userdata
        self._failed(of_error(sys.exc_info()[1]))  # it is called while the error is handled

    def _on_disconnect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del client, userdata, flags, properties
        self._news.append(False)
        self._wake.set()
        if reason.is_failure and self.failure is None:
            self._failed("the connection broke" if self.connected else "it ends the connection at once")

    def _on_publish(self, client: Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        del client, userdata, reason, properties
        self._published.append(mid)
        self._wake.set()

    def _failed(self, why: str) -> None:
        """Say it once, however often it is tried again."""
        if why != self.failure:
            self.failure = why
            log.error("%s: %s; it is tried again, and the run goes on", self._broker.said, why)

    # --- in our thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # an output that stands still without a word would be a lie
            self.broken = error
            log.error("%s: nothing is sent any more: %r", self._broker.said, error)
            log.debug("where it comes from", exc_info=error)
        self._farewell()

    def _serve(self) -> None:
        """Send until the end."""
        status_due = 0.0
        while not self._over():
            self._wake.wait(0.25 if self._deadline is not None else 1.0)
            self._wake.clear()
            self._read_notes()
            if self.connected and time.monotonic() >= status_due and self._deadline is None:
                self._send(self._status())
                status_due = time.monotonic() + self._status_s
            while self.connected and len(self._unacknowledged) + len(self._unwritten) < WINDOW:
                message = self._outbox.take()
                if message is None:
                    break
                self._send(message)
        if self.connected:
            self._send(self._status())  # that it runs no more

    def _read_notes(self) -> None:
        while self._news:
            self.connected = self._news.popleft()
            self._unwritten.clear()  # of another connection; paho sends again what is unacknowledged
            if self.connected:
                self._states.add(self._send(Message(self._topic("state"), b"online", 1, retain=True)))
        while self._published:
            mid = self._published.popleft()
            self.sent += 1
            self._unacknowledged.discard(mid)
            self._states.discard(mid)
            self._unwritten.discard(mid)

    def _send(self, message: Message) -> int:
        """Hand a message to paho; its number there."""
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if message.qos:
            self._unacknowledged.add(info.mid)  # without a connection paho keeps it
        elif info.rc == 0:
            self._unwritten.add(info.mid)
        else:
            self._outbox.dropped_records += 1
        return info.mid

    def _over(self) -> bool:
        if self._deadline is None:
            return False
        left = any(self._outbox.waiting) or self._unacknowledged or self._unwritten
        return not (self.connected and left) or time.monotonic() >= self._deadline

    def _farewell(self) -> None:
        if self.connected:
            info = self._client.publish(self._topic("state"), b"offline", 1, retain=True)
            try:
                info.wait_for_publish(1.0)
            except (RuntimeError, ValueError):  # it broke just now: the broker says it for us
                log.debug("no goodbye", exc_info=True)
        self._client.disconnect()
        # It may wait for a host that does not answer: the thread ends with the process then.
        threading.Thread(target=self._client.loop_stop, name="mqtt end", daemon=True).start()
