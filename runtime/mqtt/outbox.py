"""Messages that wait for the broker: the newest records, and events in their order."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

MOST_RECORDS = 4
"""Records that wait: whoever comes late wants the newest."""
MOST_EVENTS = 1000
"""Events that wait, those of hours without a broker."""


class Message(NamedTuple):
    """One message."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


class Outbox:
    """Two queues of fixed length, safe from any thread; what does not fit pushes the oldest out, counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: deque[Message] = deque()
        self._events: deque[Message] = deque()
        self.dropped_records = 0
        self.dropped_events = 0

    def put_record(self, message: Message) -> None:
        """Take what is out of date soon."""
        with self._lock:
            if len(self._records) == MOST_RECORDS:
                self._records.popleft()
                self.dropped_records += 1
            self._records.append(message)

    def put_event(self, message: Message) -> None:
        """Take what must come, in its order."""
        with self._lock:
            if len(self._events) == MOST_EVENTS:
                self._events.popleft()
                self.dropped_events += 1
            self._events.append(message)

    def take(self) -> Message | None:
        """The next message: the oldest event, else the oldest of the few records that wait."""
        with self._lock:
            queue = self._events or self._records
            return queue.popleft() if queue else None

    def give_up(self) -> None:
        """Nothing of it will be sent."""
        with self._lock:
            self.dropped_records += len(self._records)
            self.dropped_events += len(self._events)
            self._records.clear()
            self._events.clear()

    @property
    def waiting(self) -> tuple[int, int]:
        """Records and events that wait."""
        return len(self._records), len(self._events)
