"""What systemd is told of a run: through a real socket, and by the rules of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tdfusion_edge.runtime.pairing.health import CameraState
from tdfusion_edge.runtime.pipeline.monitor import Monitor, Snapshot
from tdfusion_edge.runtime.pipeline.service import Systemd, status_line, told_to_systemd

STANDS = Snapshot(
    running=True,
    loop_age_s=0.004,
    pictures=300,
    rate_hz=29.8,
    age_s=0.03,
    cameras={
        "infrared": CameraState("failing", 0.0, 7.5, 3, "camera ir0 is silent"),
        "visible": CameraState("live", 29.9, 0.02, 0, None),
    },
)


class Standing(Monitor):
    """A monitor that says what it is told to."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.told = snapshot

    def snapshot(self) -> Snapshot:
        return self.told


def messages(monitor: Monitor, rounds: int = 1, watchdog_s: float | None = 30.0) -> list[list[str]]:
    sent: list[str] = []
    systemd = Systemd(monitor, sent.append, watchdog_s=watchdog_s)
    for _ in range(rounds):
        systemd.tell()
    return [words.split("\n") for words in sent]


def test_ready_is_said_once_and_the_watchdog_is_fed_in_every_round() -> None:
    first, second = messages(Standing(STANDS), rounds=2)
    assert first[0] == "READY=1"
    assert "READY=1" not in second
    assert first[-1] == second[-1] == "WATCHDOG=1"


def test_nothing_is_said_before_the_run_has_begun_and_after_its_end() -> None:
    assert messages(Standing(Snapshot(running=False))) == []
    assert messages(Standing(replace(STANDS, running=False))) == []


def test_a_loop_that_hangs_starves_the_watchdog_and_cameras_that_are_away_do_not() -> None:
    away = CameraState("failing", 0.0, None, 9, "no route")
    both_away = replace(STANDS, rate_hz=0.0, age_s=900.0, cameras={"infrared": away, "visible": away})
    assert messages(Standing(both_away))[0][-1] == "WATCHDOG=1"
    assert "WATCHDOG=1" not in messages(Standing(replace(STANDS, loop_age_s=15.1)))[0]


def test_without_a_watchdog_it_is_not_fed() -> None:
    assert "WATCHDOG=1" not in messages(Standing(STANDS), watchdog_s=None)[0]


def test_the_status_is_one_line_with_both_cameras() -> None:
    line = status_line(STANDS)
    assert "\n" not in line
    assert "infrared failing 0.0 Hz (camera ir0 is silent)" in line
    assert "visible live 29.9 Hz" in line


@pytest.mark.parametrize(
    ("environment", "fed"),
    [
        ({"WATCHDOG_USEC": "600000"}, True),
        ({"WATCHDOG_USEC": "600000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "600000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "often"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("abstract", [False, True])
def test_words_arrive_at_the_socket(
    environment: Mapping[str, str], fed: bool, abstract: bool, tmp_path: Path
) -> None:
    place = f"@tdfusion-test-{os.getpid()}-{fed}-{len(environment)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + place[1:] if abstract else place)
        manager.settimeout(5)
        with told_to_systemd(Standing(STANDS), {"NOTIFY_SOCKET": place, **environment}):
            first = manager.recv(4096).decode().split("\n")
        last = manager.recv(4096).decode()
        while "STOPPING=1" not in last:
            last = manager.recv(4096).decode()
    assert first[0] == "READY=1"
    assert ("WATCHDOG=1" in first) is fed


def test_a_manager_without_a_socket_stops_nothing(tmp_path: Path) -> None:
    with told_to_systemd(Standing(STANDS), {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_says_that_it_is_ready_lives_and_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"}
        command = [sys.executable, "-m", "tdfusion_edge", "run", "--camera", "ir0,vis0", "--no-detect"]
        process = subprocess.Popen([*command, "-o", str(tmp_path / "a.jsonl")], env=environment)
        try:
            words = [manager.recv(4096).decode() for _ in range(4)]
            process.terminate()
            while "STOPPING=1" not in words[-1]:
                words.append(manager.recv(4096).decode())
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert words[0].startswith("READY=1\nSTATUS=")
    assert all(word.endswith("WATCHDOG=1") for word in words[:4])
