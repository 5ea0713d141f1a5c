"""One run an output: the lock is there while it is held, and no longer than its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdfusion_edge import locks
from tdfusion_edge.errors import RequestError
from tdfusion_edge.locks import claimed

HOLD = (
    "import sys\n"
    "from tdfusion_edge.locks import claimed\n"
    "with claimed([sys.argv[1]]):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_a_second_run_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    command = [sys.executable, "-c", HOLD, str(output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(RequestError, match=f"written by another run, process {other.pid}"),
            claimed([output]),
        ):
            raise AssertionError("it was taken")
        other.kill()
    assert (tmp_path / ".out.mp4.lock").exists(), "nobody removes what a killed process left"
    with claimed([output]):
        assert (tmp_path / ".out.mp4.lock").read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_another_name_of_an_output_is_that_output(tmp_path: Path) -> None:
    (tmp_path / "soft").symlink_to("out")
    with claimed([tmp_path / "out"]), pytest.raises(RequestError), claimed([tmp_path / "soft"]):
        raise AssertionError("it was taken")
    with claimed([tmp_path / "soft"]), claimed([tmp_path / "another"]):
        pass


def test_one_of_several_that_is_taken_frees_the_others(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "b.jsonl"
    with claimed([second]):
        with pytest.raises(RequestError), claimed([first, second]):
            raise AssertionError("it was taken")
        with claimed([first]):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_longest_name_is_claimed_too(tmp_path: Path) -> None:
    output = tmp_path / ("\u00fc" * 127)  # 254 bytes
    with claimed([output]), pytest.raises(RequestError), claimed([output]):
        raise AssertionError("it was taken")
    assert list(tmp_path.iterdir()) == []


def test_where_no_lock_can_stand_beside_it_the_output_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that takes no new file; as root nothing is such a folder, so the system is made to say so."""
    output = tmp_path / "out"
    output.mkdir()
    opened = os.open

    def refusing(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    with claimed([output]), pytest.raises(RequestError, match="being written"), claimed([output]):
        raise AssertionError("it was taken")
    with claimed([output]):
        pass


def test_a_disk_without_locks_is_told_of_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(descriptor: int) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "lock_open", none)
    (tmp_path / "out").mkdir()
    with claimed([tmp_path / "out"]):
        pass
    (said,) = [record.getMessage() for record in caplog.records]
    assert "cannot be locked (No locks available): a second run on it would not be seen" in said


def test_what_is_no_file_is_not_claimed(tmp_path: Path) -> None:
    with claimed(["/dev/null"]), claimed(["/dev/null"]), claimed([tmp_path / "absent" / "out.mp4"]):
        assert list(tmp_path.iterdir()) == []
