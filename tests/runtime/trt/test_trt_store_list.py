"""What a folder of engines holds, and tidying it up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trt_fake import make as make_trt
from trt_host import ORIN
from trt_requests import asked_of

from tdfusion_edge.cli import main
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.commands.engines import line_of_kept
from tdfusion_edge.runtime.engines.tensorrt.store import DAY_S, EngineStore
from tdfusion_edge.runtime.engines.tensorrt.store.private import locked
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request

NOW = 1_000_000_000.0


def request(onnx: bytes) -> Request:
    return asked_of(make_trt("10.3"), onnx, {"x": (1, 1, 4, 6), "y": (1, 1, 4, 6)}, gpu=ORIN)


OLD, NEW = request(b"old"), request(b"new")


def make(folder: Path, times: bytes | None) -> tuple[bytes, bytes | None]:
    return b"native code", b"times"


def last_used(folder: Path, asked: Request, days: float) -> None:
    """As if it had been loaded so many days before NOW."""
    os.utime(folder / f"{asked.key()}.json", (NOW - days * DAY_S,) * 2)


@pytest.fixture
def store(engines: Path) -> EngineStore:
    """Two engines, loaded 40 and 3 days ago."""
    store = EngineStore(engines)
    for asked, days in ((OLD, 40), (NEW, 3)):
        store.find_or_build(asked, make, limit_s=0)
        last_used(engines, asked, days)
    return store


def keys(store: EngineStore) -> list[str]:
    return [kept.key for kept in store.kept()]


def test_the_one_that_was_used_last_stands_in_front(store: EngineStore) -> None:
    first, second = store.kept()
    assert (first.request, second.request) == (NEW, OLD)
    assert first.problem == ""
    files = [store.folder / f"{NEW.key()}{suffix}" for suffix in (".json", ".plan")]
    assert first.size == sum(path.stat().st_size for path in files)
    told = line_of_kept(first, lambda: NOW)
    assert told.startswith(
        f"graph {NEW.onnx_sha256[:12]}  TensorRT 10.3.0  Fake Orin (sm_87, 8 SMs, 8 GiB)  1x1x4x6  fp32"
    )
    assert told.endswith("used 3.0 days ago")


def test_what_could_not_be_used_is_said(store: EngineStore) -> None:
    (store.folder / f"{OLD.key()}.plan").write_bytes(b"native")
    (store.folder / f"{NEW.key()}.json").unlink()
    other = request(b"other")
    store.find_or_build(other, make, limit_s=0)
    (store.folder / f"{other.key()}.json").write_bytes(b"{")
    found = {kept.key: kept for kept in store.kept()}
    assert found[OLD.key()].problem == "the engine is cut off or missing"
    assert found[NEW.key()].problem == "its record is missing"
    assert "JSON" in found[other.key()].problem
    assert "cannot be used" in line_of_kept(found[OLD.key()])
    assert line_of_kept(found[NEW.key()]).startswith(
        f"{NEW.key()[:12]}  cannot be used: its record is missing"
    )


def test_a_folder_that_is_not_there_stays_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert EngineStore(tmp_path / "none").kept() == []
    assert EngineStore(tmp_path / "none").prune(0) == []
    assert main(["engines", "--list", "--engine-cache", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"0 engines, 0.0 MB in {tmp_path / 'none'}\n"
    assert not (tmp_path / "none").exists()


def test_what_was_not_used_for_long_goes(store: EngineStore) -> None:
    gone = store.prune(30, now=lambda: NOW)
    assert [kept.request for kept in gone] == [OLD]
    assert keys(store) == [NEW.key()]
    assert store.find(NEW) is not None
    assert not list(store.folder.glob(f"{OLD.key()}*"))


def test_loading_an_engine_is_using_it(store: EngineStore) -> None:
    assert store.find(OLD) is not None
    (used,) = (kept.used for kept in store.kept() if kept.key == OLD.key())
    assert used > NOW
    last_used(store.folder, NEW, 400)
    assert keys(store)[0] == OLD.key()


def test_what_another_process_builds_stays(store: EngineStore) -> None:
    with locked(store.folder / f"{OLD.key()}.lock", limit_s=0):
        assert store.prune(30, now=lambda: NOW) == []
    assert len(store.prune(30, now=lambda: NOW)) == 1


def test_what_was_used_meanwhile_stays(store: EngineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process loads the engine between the look and the lock."""
    real = EngineStore.remove

    def late(self: EngineStore, key: str, **more: object) -> bool:
        last_used(store.folder, OLD, 0)
        return real(self, key, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(EngineStore, "remove", late)
    assert store.prune(30, now=lambda: NOW) == []
    assert len(keys(store)) == 2


def test_what_is_left_of_builds_goes_too(store: EngineStore) -> None:
    (timing,) = store.folder.glob("*.timing")
    (store.folder / f"{'a' * 64}.part").mkdir()
    (store.folder / "notes.txt").write_text("mine")
    os.utime(timing, (NOW, NOW))
    store.prune(30, now=lambda: NOW)
    assert timing.exists()
    os.utime(timing, (NOW - 31 * DAY_S,) * 2)
    store.prune(30, now=lambda: NOW)
    assert {path.suffix for path in store.folder.iterdir()} == {".json", ".plan", ".txt"}


def test_nothing_is_removed_from_a_folder_of_everybody(store: EngineStore) -> None:
    store.folder.chmod(0o777)
    with pytest.raises(EngineError, match="others can write to it"):
        store.prune(0)
    store.folder.chmod(0o700)
    assert len(keys(store)) == 2


def test_what_an_older_version_kept_is_listed_and_goes_with_time(
    store: EngineStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is under another key, and its record has other fields."""
    key = "b" * 64
    for suffix, raw in ((".plan", b"native code"), (".json", b'{"facts": {"recipe": 1}, "size": 11}')):
        (store.folder / f"{key}{suffix}").write_bytes(raw)
    assert main(["engines", "--list", "--engine-cache", str(store.folder)]) == 0
    assert f"{key[:12]}  cannot be used: the record: unknown key 'facts'" in capsys.readouterr().out
    os.utime(store.folder / f"{key}.json", (NOW - 31 * DAY_S,) * 2)
    assert key in [kept.key for kept in store.prune(30, now=lambda: NOW)]
    assert not list(store.folder.glob(f"{key}*"))
