"""How a program ends that is asked to, or that nobody listens to any more: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
from hostile_graphs import write_bundle

PROGRAM = [sys.executable, "-m", "tdfusion_edge"]
WAIT_S = 60


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ir and vi of 12 pictures; the last visible one has a white pixel. A bundle endless."""
    folder = tmp_path_factory.mktemp("street")
    for sensor in ("ir", "vi"):
        (folder / sensor).mkdir()
        for number in range(12):
            picture = np.full((64, 80), 40 + number, np.uint8)
            picture[5, 5] = 255 if sensor == "vi" and number == 11 else 0
            cv2.imwrite(str(folder / sensor / f"{number:02}.png"), picture)
    write_bundle(folder / "endless", "endless")
    write_bundle(folder / "whole", "whole")
    return folder


def run_of(street: Path, out: Path, bundle: str) -> list[str]:
    cameras = f"file://{street}/ir?fps=10,file://{street}/vi?fps=10"
    outputs = ["-o", str(out / "x.mp4"), "-o", str(out / "x.jsonl")]
    return [*PROGRAM, "run", "--camera", cameras, *outputs, "--bundle", str(street / bundle)]


def heeding_interrupts() -> None:
    """A shell has its background jobs ignore SIGINT, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def cpu_s(process: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_network_that_computes_without_end(
    street: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        run_of(street, tmp_path, "endless"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        while lines_in(tmp_path / "x.jsonl") < 11:  # the twelfth picture is the one that it hangs at
            assert process.poll() is None, process.communicate()
            os.sched_yield()
        time.sleep(1)  # the eleventh may be written before the twelfth has reached the network
        process.send_signal(signal.SIGINT)
        told = next(line for line in process.stderr if "once more ends at once" in line)  # it still computes
        assert told.startswith("still ending")
        assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    rows = [msgspec.json.decode(line) for line in (tmp_path / "x.jsonl").read_bytes().splitlines()]
    assert [row["index"] for row in rows] == list(range(11))
    with av.open(str(tmp_path / "x.mp4")) as video:  # fragments of a second
        assert sum(1 for _ in video.decode(video=0)) >= 1


def test_other_commands_end_by_a_second_signal_too(street: Path, tmp_path: Path) -> None:
    white = tmp_path / "white.png"
    cv2.imwrite(str(white), np.full((64, 80), 255, np.uint8))
    process = subprocess.Popen(
        [*PROGRAM, "fuse", white, white, "-o", tmp_path / "o.png", "--bundle", street / "endless"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_interrupts,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        loaded = [next(process.stderr) for _ in range(2)]  # that it loads, and what it loaded
        assert "endless" in loaded[0]
        begun = cpu_s(process.pid)
        while cpu_s(process.pid) < begun + 1:  # nothing but the network takes so long
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        next(line for line in process.stderr if "once more ends at once" in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert not (tmp_path / "o.png").exists()


# --- nobody listens ----------------------------------------------------------------------------------


def shell(line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "bash", *arguments],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("ends", ["2>&-", ">&-", "<&- >&- 2>&-", "2>/dev/full", "2>&1 | head -1"])
def test_a_recording_needs_nobody_who_listens(street: Path, tmp_path: Path, ends: str) -> None:
    done = shell(f'"$@" {ends}', *run_of(street, tmp_path, "whole"))
    assert done.returncode == 0 or ("head" in ends and done.returncode == 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert lines_in(tmp_path / "x.jsonl") == 12
    assert (tmp_path / "x.jsonl").read_bytes().startswith(b"{")
    with av.open(str(tmp_path / "x.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 12


@pytest.mark.parametrize("ends", ["2>&-", "2>/dev/full"])
def test_an_error_that_cannot_be_told_keeps_its_code(ends: str) -> None:
    for arguments, code in ((["fuse", "nowhere", "nowhere", "-o", "x"], 2), (["cameras", "--no-such"], 2)):
        done = shell(f'"$@" {ends}', *PROGRAM, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("command", [["cameras", "--json"], ["--help"]])
def test_a_result_that_cannot_be_written_is_an_error(command: list[str]) -> None:
    full = shell('"$@" >/dev/full', *PROGRAM, *command)
    assert full.returncode == 1
    assert full.stderr == "error: standard output cannot be written: No space left on device\n"
    assert shell('"$@" >&-', *PROGRAM, *command).returncode == 0


def test_what_a_library_says_at_a_closed_error_stream_lands_in_no_file(tmp_path: Path) -> None:
    """Without care the next file that is opened gets number 2, and so the library's words."""
    code = (
        "import os, sys, types\n"
        "from tdfusion_edge import cli\n"
        "def main(args):\n"
        f"    with open({str(tmp_path / 'out')!r}, 'wb', buffering=0) as file:\n"
        "        os.write(2, b'a warning from C')\n"
        "        file.write(b'whole')\n"
        "    sys.stderr.write('and one from Python')\n"
        "    return 0\n"
        "probe = types.ModuleType('probe')\n"
        "probe.add_arguments, probe.main = (lambda parser: None), main\n"
        "sys.modules['probe'] = probe\n"
        "cli.COMMANDS = (cli.Command('probe', 'probe', ''),)\n"
        "sys.exit(cli.main(['probe']))\n"
    )
    done = shell('"$@" 2>&-', sys.executable, "-c", code)
    assert done.returncode == 0
    assert (tmp_path / "out").read_bytes() == b"whole"
