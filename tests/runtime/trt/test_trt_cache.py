from __future__ import annotations

import fcntl
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from trt_host import ORIN

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt.builder import Built
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.facts import EngineFacts, facts_of
from tdfusion_edge.runtime.engines.tensorrt.folder import WAIT_S, default_folder, locked
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions, exactly

ENGINE = b"native code " * 100
ASKED = BuildOptions(profiles=(exactly({"x": (1, 1, 4, 6)}),))
FACTS = facts_of(b"graph", ASKED, "tensorrt", "10.3.0", ORIN)


class Maker:
    """Builds ``ENGINE`` with its number in front."""

    def __init__(self) -> None:
        self.times: list[bytes | None] = []

    def __call__(self, folder: Path, timing: bytes | None) -> Built:
        self.times.append(timing)
        (folder / "p").write_bytes(self.engine(len(self.times)))
        (folder / "t").write_bytes((timing or b"") + b"+")
        return Built(folder / "p", folder / "t", 2.0)

    @staticmethod
    def engine(number: int) -> bytes:
        return str(number).encode() + ENGINE


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def cache(engines: Path) -> EngineCache:
    return EngineCache(engines)


def kept(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def obtain(cache: EngineCache, make: Any, facts: EngineFacts = FACTS, **more: Any) -> tuple[bytes, bool]:
    return cache.obtain(facts, make, limit_s=0, **more)


def test_an_engine_is_built_once(cache: EngineCache, make: Maker) -> None:
    assert cache.find(FACTS) is None
    assert obtain(cache, make) == (make.engine(1), True)
    assert obtain(cache, make) == (make.engine(1), False)
    assert obtain(EngineCache(cache.folder), make) == (make.engine(1), False)
    assert len(make.times) == 1


def test_only_the_user_can_read_it_and_nothing_else_is_left(cache: EngineCache, make: Maker) -> None:
    before = os.umask(0)
    try:
        obtain(cache, make)
    finally:
        os.umask(before)
    assert kept(cache.folder) == {".plan", ".json", ".timing"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "other",
    [
        facts_of(b"another graph", ASKED, "tensorrt", "10.3.0", ORIN),
        facts_of(b"graph", ASKED, "tensorrt", "10.13.0", ORIN),
        facts_of(b"graph", ASKED, "tensorrt-rtx", "10.3.0", ORIN),
        facts_of(b"graph", ASKED, "tensorrt", "10.3.0", Gpu("Orin Nano", "sm_87", True, "12.6")),
        facts_of(b"graph", ASKED, "tensorrt", "10.3.0", Gpu("Fake Orin", "sm_110", True, "12.6")),
        replace(FACTS, options=replace(ASKED, precision="fp16")),
        replace(FACTS, options=replace(ASKED, tf32=True)),
        replace(FACTS, options=replace(ASKED, workspace=9)),
        replace(FACTS, options=replace(ASKED, profiles=(exactly({"x": (1, 1, 6, 4)}),))),
        replace(FACTS, recipe=FACTS.recipe + 1),
    ],
)
def test_any_other_fact_is_another_engine(cache: EngineCache, make: Maker, other: EngineFacts) -> None:
    """Also where somebody renames the files of one engine to the key of another."""
    obtain(cache, make)
    assert cache.find(other) is None
    for path in cache.folder.glob(f"{FACTS.key()}.*"):
        path.rename(path.with_name(other.key() + path.suffix))
    told: list[str] = []
    assert obtain(cache, make, other, on_reject=told.append) == (make.engine(2), True)
    assert told == ["it was built from something else"]


def test_the_driver_and_the_order_of_names_are_no_facts(cache: EngineCache, make: Maker) -> None:
    orders = [{"a": (1, 2), "b": (3, 4)}, {"b": (3, 4), "a": (1, 2)}]
    pair = [BuildOptions(profiles=(exactly(shapes),)) for shapes in orders]
    new = Gpu(ORIN.name, ORIN.capability, True, "13.2")
    keys = {facts_of(b"", asked, "tensorrt", "1", gpu).key() for asked in pair for gpu in (ORIN, new)}
    assert len(keys) == 1


def damage_cut(plan: Path, record: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])


def damage_empty(plan: Path, record: Path) -> None:
    plan.write_bytes(b"")


def damage_changed(plan: Path, record: Path) -> None:
    raw = bytearray(plan.read_bytes())
    raw[50] ^= 1
    plan.write_bytes(raw)


def damage_no_plan(plan: Path, record: Path) -> None:
    plan.unlink()


def damage_no_record(plan: Path, record: Path) -> None:
    record.unlink()


def damage_record(plan: Path, record: Path) -> None:
    record.write_bytes(record.read_bytes()[:-9])


def damage_unknown_key(plan: Path, record: Path) -> None:
    record.write_bytes(record.read_bytes().replace(b'"seconds"', b'"hours"'))


def damage_link(plan: Path, record: Path) -> None:
    plan.rename(plan.parent.parent / "elsewhere")
    plan.symlink_to(plan.parent.parent / "elsewhere")


def damage_writable(plan: Path, record: Path) -> None:
    plan.chmod(0o666)


def damage_pipe(plan: Path, record: Path) -> None:
    plan.unlink()
    os.mkfifo(plan, 0o600)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damage_cut, "it has 1200 bytes instead of 1201"),
        (damage_empty, "it has 0 bytes"),
        (damage_changed, "it was changed"),
        (damage_no_plan, None),
        (damage_no_record, "its record is missing"),
        (damage_record, "the record is no valid JSON"),
        (damage_unknown_key, "unknown key 'hours'"),
        (damage_link, "symbolic links"),
        (damage_writable, "no file that this user alone can write to"),
        (damage_pipe, "no file that this user alone"),
    ],
)
def test_a_damaged_engine_is_never_given_and_built_anew(
    cache: EngineCache, make: Maker, damage: Callable[[Path, Path], None], why: str | None
) -> None:
    obtain(cache, make)
    paths = [cache.folder / f"{FACTS.key()}{suffix}" for suffix in (".plan", ".json")]
    damage(paths[0], paths[1])
    assert cache.find(FACTS) is None
    told: list[str] = []
    assert obtain(cache, make, on_reject=told.append) == (make.engine(2), True)
    assert why is None or (len(told) == 1 and why in told[0])
    assert cache.find(FACTS) == make.engine(2)
    assert not paths[0].is_symlink()
    assert kept(cache.folder) == {".plan", ".json", ".timing"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("no"), BrokenPipeError()])
def test_an_interrupted_build_leaves_nothing(cache: EngineCache, make: Maker, error: BaseException) -> None:
    def half(folder: Path, timing: bytes | None) -> Built:
        (folder / "p").write_bytes(ENGINE[:7])
        (folder / "deeper").mkdir()
        raise error

    with pytest.raises(type(error)):
        obtain(cache, half)
    assert kept(cache.folder) == set()
    assert obtain(cache, make)[1]


def test_what_a_killed_process_left_is_swept_by_the_next_build(cache: EngineCache, make: Maker) -> None:
    for key in (FACTS.key(), "another"):
        (cache.folder / f"{key}.part").mkdir()
        (cache.folder / f"{key}.part" / "engine.plan").write_bytes(ENGINE[:7])
        (cache.folder / f"{key}.lock").write_bytes(b"")
    obtain(cache, make)
    assert kept(cache.folder) == {".plan", ".json", ".timing"}


def test_what_another_process_is_building_is_not_swept(cache: EngineCache, make: Maker) -> None:
    (cache.folder / "another.part").mkdir()
    with locked(cache.folder / "another.lock", limit_s=0):
        obtain(cache, make)
        assert (cache.folder / "another.part").is_dir()


def test_who_comes_second_waits_and_takes_what_the_first_built(engines: Path, make: Maker) -> None:
    waited: list[float] = []
    times = iter(range(100))
    with locked(engines / f"{FACTS.key()}.lock", limit_s=0):
        first = EngineCache(engines)._build(FACTS, make, "")
        cache = EngineCache(engines, clock=lambda: float(next(times)), sleep=lambda _: None)
        (engines / f"{FACTS.key()}.json").rename(engines / "hidden")
        with pytest.raises(EngineError, match=r"another process builds .* expected its end in 3 s"):
            cache.obtain(FACTS, make, limit_s=3, on_wait=waited.append)
        assert waited == [1.0, 2.0]
        (engines / "hidden").rename(engines / f"{FACTS.key()}.json")
    assert obtain(cache, make) == (first, False)
    assert len(make.times) == 1


def _contend(folder: Path, barrier: Any, answers: Any) -> None:
    def make(part: Path, timing: bytes | None) -> Built:
        (part / "p").write_bytes(str(os.getpid()).encode())
        return Built(part / "p", None, 0.0)

    barrier.wait()
    answers.put(EngineCache(folder).obtain(FACTS, make, limit_s=60))


def test_processes_that_want_the_same_engine_get_the_same_one(engines: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_contend, args=(engines, barrier, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    got = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert len({plan for plan, _ in got}) == 1
    assert sorted(fresh for _, fresh in got) == [False, False, True]
    assert kept(engines) == {".plan", ".json"}


def test_kernel_times_are_handed_to_the_next_build_of_any_graph(cache: EngineCache, make: Maker) -> None:
    others = [facts_of(f"graph {n}".encode(), ASKED, "tensorrt", "10.3.0", ORIN) for n in range(3)]
    obtain(cache, make, others[0])
    obtain(cache, make, others[1])
    timing = next(cache.folder.glob("*.timing"))
    timing.write_bytes(timing.read_bytes()[:-1] + b"!")
    obtain(cache, make, others[2])
    obtain(cache, make, facts_of(b"graph 0", ASKED, "tensorrt", "10.13.0", ORIN))
    assert make.times == [None, b"+", None, None]


def test_an_engine_that_the_library_refuses_is_removed(cache: EngineCache, make: Maker) -> None:
    obtain(cache, make)
    cache.discard(FACTS, limit_s=0)
    assert kept(cache.folder) == {".timing"}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(engines: Path, make: Maker, mode: int) -> None:
    engines.chmod(mode)
    for call in (lambda: EngineCache(engines).find(FACTS), lambda: obtain(EngineCache(engines), make)):
        with pytest.raises(EngineError, match=rf"others can write to it\n  chmod 700 {engines}"):
            call()
    assert make.times == []


def test_a_folder_that_others_can_swap_is_refused(engines: Path, make: Maker) -> None:
    engines.parent.chmod(0o777)
    with pytest.raises(EngineError, match="everyone can write to"):
        obtain(EngineCache(engines), make)
    engines.parent.chmod(0o1777)  # as /tmp: there only the owner can rename
    assert obtain(EngineCache(engines), make)[1]


def test_a_folder_of_another_user_is_refused(
    engines: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: engines.stat().st_uid + 1)
    with pytest.raises(EngineError, match=r"expected a folder of user \d+, got one of user \d+"):
        obtain(EngineCache(engines), make)


def test_a_place_where_nothing_can_be_kept_is_an_error(tmp_path: Path, make: Maker) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"engines cannot be kept in .*file"):
        obtain(EngineCache(tmp_path / "file" / "engines"), make)


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path, make: Maker) -> None:
    obtain(EngineCache(tmp_path / "a" / "engines"), make)
    assert stat.S_IMODE((tmp_path / "a" / "engines").stat().st_mode) == 0o700


def test_it_lies_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "tdfusion-edge" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_folder() == Path("/home/somebody/.cache/tdfusion-edge/engines")


def test_a_lock_is_no_lock_where_its_file_was_removed_meanwhile(
    engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who held it before removes the file at its end, perhaps between our opening and locking it."""
    path, real, slept = engines / "key.lock", fcntl.flock, list[float]()
    ends = [path.unlink]

    def flock(descriptor: int, how: int) -> None:
        if ends:
            ends.pop()()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, limit_s=9, sleep=slept.append):
        assert path.exists()
    assert slept == [WAIT_S]
    assert not path.exists()
