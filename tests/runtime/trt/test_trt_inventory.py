"""What a folder of engines holds, and tidying it up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from trt_host import ORIN

from tdfusion_edge.cli import main
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.commands.engines import line
from tdfusion_edge.runtime.engines.tensorrt.builder import Built
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache
from tdfusion_edge.runtime.engines.tensorrt.facts import EngineFacts, facts_of
from tdfusion_edge.runtime.engines.tensorrt.folder import locked
from tdfusion_edge.runtime.engines.tensorrt.inventory import DAY_S, kept_in, prune
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions, exactly

NOW = 1_000_000_000.0
ASKED = BuildOptions(profiles=(exactly({"x": (1, 1, 4, 6), "y": (1, 1, 4, 6)}),))
OLD, NEW = (facts_of(name, ASKED, "tensorrt", "10.3.0", ORIN) for name in (b"old", b"new"))


def make(folder: Path, timing: bytes | None) -> Built:
    (folder / "p").write_bytes(b"native code")
    (folder / "t").write_bytes(b"times")
    return Built(folder / "p", folder / "t", 2.0)


def last_used(folder: Path, facts: EngineFacts, days: float) -> None:
    """As if it had been loaded so many days before NOW."""
    os.utime(folder / f"{facts.key()}.json", (NOW - days * DAY_S,) * 2)


@pytest.fixture
def cache(engines: Path) -> EngineCache:
    """Two engines, loaded 40 and 3 days ago."""
    cache = EngineCache(engines)
    for facts, days in ((OLD, 40), (NEW, 3)):
        cache.obtain(facts, make, limit_s=0)
        last_used(engines, facts, days)
    return cache


def keys(cache: EngineCache) -> list[str]:
    return [kept.key for kept in kept_in(cache.folder)]


def test_the_one_that_was_used_last_stands_in_front(cache: EngineCache) -> None:
    first, second = kept_in(cache.folder)
    assert (first.facts, second.facts) == (NEW, OLD)
    assert first.problem == ""
    files = [cache.folder / f"{NEW.key()}{suffix}" for suffix in (".json", ".plan")]
    assert first.size == sum(path.stat().st_size for path in files)
    told = line(first, lambda: NOW)
    assert told.startswith(f"graph {NEW.onnx_sha256[:12]}  TensorRT 10.3.0  Fake Orin (sm_87)  1x1x4x6  fp32")
    assert told.endswith("used 3.0 days ago")


def test_what_could_not_be_used_is_said(cache: EngineCache) -> None:
    (cache.folder / f"{OLD.key()}.plan").write_bytes(b"native")
    (cache.folder / f"{NEW.key()}.json").unlink()
    other = facts_of(b"other", ASKED, "tensorrt", "10.3.0", ORIN)
    cache.obtain(other, make, limit_s=0)
    (cache.folder / f"{other.key()}.json").write_bytes(b"{")
    found = {kept.key: kept for kept in kept_in(cache.folder)}
    assert found[OLD.key()].problem == "the engine is cut off or missing"
    assert found[NEW.key()].problem == "its record is missing"
    assert "JSON" in found[other.key()].problem
    assert "cannot be used" in line(found[OLD.key()])
    assert line(found[NEW.key()]).startswith(f"{NEW.key()[:12]}  cannot be used: its record is missing")


def test_a_folder_that_is_not_there_stays_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kept_in(tmp_path / "none") == []
    assert prune(EngineCache(tmp_path / "none"), 0) == []
    assert main(["engines", "--list", "--engine-cache", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"0 engines, 0.0 MB in {tmp_path / 'none'}\n"
    assert not (tmp_path / "none").exists()


def test_what_was_not_used_for_long_goes(cache: EngineCache) -> None:
    gone = prune(cache, 30, now=lambda: NOW)
    assert [kept.facts for kept in gone] == [OLD]
    assert keys(cache) == [NEW.key()]
    assert cache.find(NEW) is not None
    assert not list(cache.folder.glob(f"{OLD.key()}*"))


def test_loading_an_engine_is_using_it(cache: EngineCache) -> None:
    assert cache.find(OLD) is not None
    (used,) = (kept.used for kept in kept_in(cache.folder) if kept.key == OLD.key())
    assert used > NOW
    last_used(cache.folder, NEW, 400)
    assert keys(cache)[0] == OLD.key()


def test_what_another_process_builds_stays(cache: EngineCache) -> None:
    with locked(cache.folder / f"{OLD.key()}.lock", limit_s=0):
        assert prune(cache, 30, now=lambda: NOW) == []
    assert len(prune(cache, 30, now=lambda: NOW)) == 1


def test_what_was_used_meanwhile_stays(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process loads the engine between the look and the lock."""
    real = EngineCache.remove

    def late(self: EngineCache, key: str, **more: object) -> bool:
        last_used(cache.folder, OLD, 0)
        return real(self, key, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(EngineCache, "remove", late)
    assert prune(cache, 30, now=lambda: NOW) == []
    assert len(keys(cache)) == 2


def test_what_is_left_of_builds_goes_too(cache: EngineCache) -> None:
    (timing,) = cache.folder.glob("*.timing")
    (cache.folder / f"{'a' * 64}.part").mkdir()
    (cache.folder / "notes.txt").write_text("mine")
    os.utime(timing, (NOW, NOW))
    prune(cache, 30, now=lambda: NOW)
    assert timing.exists()
    os.utime(timing, (NOW - 31 * DAY_S,) * 2)
    prune(cache, 30, now=lambda: NOW)
    assert {path.suffix for path in cache.folder.iterdir()} == {".json", ".plan", ".txt"}


def test_nothing_is_removed_from_a_folder_of_everybody(cache: EngineCache) -> None:
    cache.folder.chmod(0o777)
    with pytest.raises(EngineError, match="others can write to it"):
        prune(cache, 0)
    cache.folder.chmod(0o700)
    assert len(keys(cache)) == 2


def test_the_route_is_a_fact_and_changes_no_older_key() -> None:
    """The digest of an engine that was built before there was a second route."""
    assert facts_of(b"old", ASKED, "tensorrt", "10.3.0", ORIN, "onnx") == OLD
    other = facts_of(b"old", ASKED, "tensorrt", "10.3.0", ORIN, "torch-tensorrt")
    assert other.key() != OLD.key()
    assert replace(other, route=OLD.route) == OLD
    assert OLD.key() == "4e0f0047ce619b8bd479aa9a9f6eb621270705a2adfb7eaa2b50be37f88bbf7f"
