"""A real mosquitto on a loopback port, with a password, that can be killed, paused and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

USER, PASSWORD = "rig", "p@ss/w%rd QZX"
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="no mosquitto: apt-get install mosquitto"
)
PATIENCE_S = 20


def wait_for(what: Callable[[], object], why: str) -> None:
    """Wait until something is true; a failure names it."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, why
        threading.Event().wait(0.02)


class Broker:
    """mosquitto in a folder; ``tls`` names the files of a certificate and its key."""

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        subprocess.run(
            ["mosquitto_passwd", "-b", str(passwords), USER, PASSWORD], check=True, capture_output=True
        )
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous false", f"password_file {passwords}"]
        # Whoever subscribed before it was killed gets what comes before he is back.
        lines += ["persistence true", f"persistence_location {folder}/", "autosave_on_changes true"]
        lines += ["autosave_interval 1"]
        # As root it would become a user who cannot read the folder of a test.
        lines += ["user root"] if os.geteuid() == 0 else []
        lines += [] if tls is None else [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self._folder / "log").open("ab") as log:
            command = ["mosquitto", "-c", str(self._folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._listens, "mosquitto does not start")

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self, paused: bool) -> None:
        """Let it stand still, with its connections open, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def log(self) -> str:
        """What it wrote so far."""
        return (self._folder / "log").read_text()

    def _listens(self) -> bool:
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self.port)) == 0


class Listener:
    """Everything that a broker gets, in order, as somebody else sees it."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _, __, one: self.got.append((one.topic, one.payload, one.retain))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def of(self, topic: str) -> list[bytes]:
        """Payloads of one topic."""
        return [payload for name, payload, _ in self.got if name == topic]

    def again(self) -> None:
        """From now it waits for a new subscription."""
        self._subscribed.clear()

    def back(self) -> None:
        """Wait until it has subscribed again."""
        assert self._subscribed.wait(PATIENCE_S)

    def settle(self) -> None:
        """Wait until all is here that the broker had for us: what we send ourselves comes behind it."""
        self._client.publish("settled")
        wait_for(lambda: self.got[-1][0] == "settled", "our own message returns")
        del self.got[-1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
