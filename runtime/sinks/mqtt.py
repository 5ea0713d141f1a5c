"""An output that tells a broker what is found, what happens and how the run stands."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tdfusion_edge.errors import SinkError
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.mqtt.address import parse
from tdfusion_edge.runtime.mqtt.connection import Connection
from tdfusion_edge.runtime.mqtt.outbox import Message, Outbox
from tdfusion_edge.runtime.mqtt.tables import Mqtt
from tdfusion_edge.runtime.sinks.base import Json
from tdfusion_edge.runtime.sinks.jsonl import VERSION, event_row, iso8601, line_of

if TYPE_CHECKING:
    from tdfusion_edge.runtime.pipeline.monitor import Monitor

log = logging.getLogger(__name__)


class MqttSink:
    """Publishes under the topic of its address.

    ==============  ===  ========  ==========================================================
    ``detections``  qos  retained  what
    ==============  ===  ========  ==========================================================
    ``detections``  0    no        a record a picture, as lines of JSON have it
    ``events``      1    no        a message an event
    ``state``       1    yes       ``online``, or ``offline``, also where the process dies
    ``status``      0    no        cameras and figures, every few seconds and at the end
    ==============  ===  ========  ==========================================================

    Of one connection the broker says one thing where the process dies, which is the ``state``: a ``status``
    that it kept would say for ever that the run goes on.

    A broker that is away neither stops nor delays anything: it is tried again, records are dropped, and the
    last thousand events wait.

    Args:
        address: ``mqtt://user@host:1883/topic``.
        table: ``[mqtt]`` of the rig.
        monitor: Tells how the run stands; None: the status has no cameras.
        wall_clock: Nanoseconds since 1970, UTC.

    Raises:
        RequestError: the address cannot be read, or paho-mqtt is not installed.
        InputMissing: a file with the password or with certificates is missing.
    """

    def __init__(
        self,
        address: str,
        *,
        table: Mqtt | None = None,
        monitor: Monitor | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        table = Mqtt() if table is None else table
        self._broker = parse(address, table)
        self._monitor, self._wall_clock = monitor, wall_clock
        self._first_ns: int | None = None
        self._outbox = Outbox()
        self._closed = False
        self._connection = Connection(self._broker, table, self._outbox, self._status)
        self._connection.start()

    def write(self, result: Result) -> None:
        """Queue a record and its events; never waits.

        Raises:
            SinkError: what sends has failed for good.
        """
        if self._connection.broken is not None:
            raise SinkError(f"{self._broker.said}: nothing is sent any more: {self._connection.broken!r}")
        if self._first_ns is None:
            self._first_ns = result.pair.time_ns
        for event in result.events:
            row = {"version": VERSION, **msgspec.to_builtins(event_row(event))}
            self._outbox.put_event(Message(self._topic("events"), msgspec.json.encode(row), 1))
        line = msgspec.json.encode(line_of(result, self._first_ns))
        self._outbox.put_record(Message(self._topic("detections"), line, 0))
        self._connection.wake()

    def figures(self) -> Json:
        """Messages that were sent, that wait, and that were dropped, for the broker was away or too slow."""
        records, events = self._outbox.waiting
        return {
            "sent": self._connection.sent,
            "waiting_events": events + self._connection.unfinished,
            "waiting_records": records,
            "dropped_events": self._outbox.dropped_events,
            "dropped_records": self._outbox.dropped_records,
        }

    def counts(self) -> dict[str, object]:
        """The same as the report of a run has it; behind the run, events that wait were not acknowledged."""
        now = self.figures()
        return {
            "sent": now["sent"],
            "dropped": {"records": now["dropped_records"], "events": now["dropped_events"]},
            "unacknowledged": {"events": now["waiting_events"]},
        }

    def close(self) -> None:
        """Send what is left, if the broker takes it within seconds, and say goodbye; safe to call twice.

        Raises:
            SinkError: there never was a connection: nothing was sent.
        """
        if not self._end():
            return
        if not self._connection.ever:
            raise SinkError(
                f"{self._broker.said}: nothing was sent, {self._connection.failure or 'no answer'}",
                hint="Is the broker there? mosquitto_sub -h HOST -t '#' -v shows what it gets.",
            )
        lost = self.figures()
        if lost["dropped_records"] or lost["dropped_events"] or lost["waiting_events"]:
            log.warning(
                "%s: %d records and %d events were dropped, %d events were not acknowledged",
                self._broker.said,
                lost["dropped_records"],
                lost["dropped_events"],
                lost["waiting_events"],
            )

    def abort(self) -> None:
        """End without waiting. Never raises."""
        self._end(wait_s=0.5)

    def _end(self, **wait: float) -> bool:
        """Close the connection; False where it is closed."""
        if self._closed:
            return False
        self._closed = True
        self._connection.close(**wait)
        self._outbox.give_up()
        return True

    def _topic(self, last: str) -> str:
        return f"{self._broker.topic}/{last}"

    def _status(self) -> Message:
        utc = iso8601(self._wall_clock())
        row: Json = {"version": VERSION, "utc": utc, "messages": self.figures()}
        if self._monitor is not None:
            now = self._monitor.snapshot()
            row |= {
                "running": now.running,
                "pictures": now.pictures,
                "rate_hz": now.rate_hz,
                "age_s": now.age_s,
                "cameras": now.cameras,
            }
        return Message(self._topic("status"), msgspec.json.encode(row), 0)
