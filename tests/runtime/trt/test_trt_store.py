from __future__ import annotations

import dataclasses
import fcntl
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trt_fake import make as make_trt
from trt_host import ORIN
from trt_requests import asked_of

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines import Progress
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore
from tdfusion_edge.runtime.engines.tensorrt.store.private import default_folder, locked
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request

ENGINE = b"native code " * 100


ANEW = "building anew, since the kept engine is no good"


def request(onnx: bytes = b"graph", version: str = "10.3.0", gpu: Gpu = ORIN) -> Request:
    return asked_of(make_trt("10.3"), onnx, {"x": (1, 1, 4, 6)}, version=version, gpu=gpu)


REQUEST = request()


class Maker:
    """Builds ``ENGINE`` with its number in front."""

    def __init__(self) -> None:
        self.times: list[bytes | None] = []

    def __call__(self, folder: Path, times: bytes | None) -> tuple[bytes, bytes | None]:
        self.times.append(times)
        return self.engine(len(self.times)), (times or b"") + b"+"

    @staticmethod
    def engine(number: int) -> bytes:
        return str(number).encode() + ENGINE


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def store(engines: Path) -> EngineStore:
    return EngineStore(engines)


def kept(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def taken(store: EngineStore, make: Any, asked: Request = REQUEST, **more: Any) -> tuple[bytes, bool]:
    return store.find_or_build(asked, make, limit_s=0, **more)


def test_an_engine_is_built_once(store: EngineStore, make: Maker) -> None:
    assert store.find(REQUEST) is None
    assert taken(store, make) == (make.engine(1), True)
    assert taken(store, make) == (make.engine(1), False)
    assert taken(EngineStore(store.folder), make) == (make.engine(1), False)
    assert len(make.times) == 1


def test_only_the_user_can_read_it_and_nothing_else_is_left(store: EngineStore, make: Maker) -> None:
    before = os.umask(0)
    try:
        taken(store, make)
    finally:
        os.umask(before)
    assert kept(store.folder) == {".plan", ".json", ".timing"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "other",
    [
        request(b"another graph"),
        request(version="10.13.0"),
        replace(REQUEST, flavour="tensorrt-rtx"),
        replace(REQUEST, route="torch-tensorrt"),
        request(gpu=Gpu("Orin Nano", "sm_87")),
        request(gpu=Gpu("Fake Orin", "sm_110")),
        replace(REQUEST, precision="fp16"),
        request(gpu=dataclasses.replace(ORIN, multiprocessors=16)),
        request(gpu=dataclasses.replace(ORIN, memory=15 << 30)),
        replace(REQUEST, shapes={"x": (1, 1, 6, 4)}),
        replace(REQUEST, shapes={"y": (1, 1, 4, 6)}),
        replace(REQUEST, recipe=REQUEST.recipe + 1),
    ],
)
def test_any_other_request_is_another_engine(store: EngineStore, make: Maker, other: Request) -> None:
    """Also where somebody renames the files of one engine to the key of another."""
    taken(store, make)
    assert store.find(other) is None
    for path in store.folder.glob(f"{REQUEST.key()}.*"):
        path.rename(path.with_name(other.key() + path.suffix))
    told: list[Progress] = []
    assert taken(store, make, other, on_progress=told.append) == (make.engine(2), True)
    assert [progress.phase for progress in told] == [f"{ANEW}: it was built from something else"]


@given(
    one=st.dictionaries(st.text(max_size=3), st.lists(st.integers(1, 9), max_size=3), max_size=3),
    other=st.dictionaries(st.text(max_size=3), st.lists(st.integers(1, 9), max_size=3), max_size=3),
)
def test_keys_are_equal_where_requests_are(one: dict[str, list[int]], other: dict[str, list[int]]) -> None:
    """Whatever the order of the names is."""
    first, second = (
        replace(REQUEST, shapes={name: tuple(shape) for name, shape in shapes.items()})
        for shapes in (one, other)
    )
    assert (first.key() == second.key()) == (first == second)
    assert replace(first, shapes=dict(reversed(first.shapes.items()))).key() == first.key()


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
    record.write_bytes(record.read_bytes().replace(b'"size"', b'"hours"'))


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
    store: EngineStore, make: Maker, damage: Callable[[Path, Path], None], why: str | None
) -> None:
    taken(store, make)
    paths = [store.folder / f"{REQUEST.key()}{suffix}" for suffix in (".plan", ".json")]
    damage(paths[0], paths[1])
    assert store.find(REQUEST) is None
    told: list[Progress] = []
    assert taken(store, make, on_progress=told.append) == (make.engine(2), True)
    assert why is None or (len(told) == 1 and why in told[0].phase)
    assert store.find(REQUEST) == make.engine(2)
    assert not paths[0].is_symlink()
    assert kept(store.folder) == {".plan", ".json", ".timing"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("no"), BrokenPipeError()])
def test_an_interrupted_build_leaves_nothing(store: EngineStore, make: Maker, error: BaseException) -> None:
    def half(folder: Path, times: bytes | None) -> tuple[bytes, bytes | None]:
        (folder / "p").write_bytes(ENGINE[:7])
        (folder / "deeper").mkdir()
        raise error

    with pytest.raises(type(error)):
        taken(store, half)
    assert kept(store.folder) == set()
    assert taken(store, make)[1]


def test_what_a_killed_process_left_is_swept_by_the_next_build(store: EngineStore, make: Maker) -> None:
    for key in (REQUEST.key(), "another"):
        (store.folder / f"{key}.part").mkdir()
        (store.folder / f"{key}.part" / "engine.plan").write_bytes(ENGINE[:7])
        (store.folder / f"{key}.lock").write_bytes(b"")
    taken(store, make)
    assert kept(store.folder) == {".plan", ".json", ".timing"}


def test_what_another_process_is_building_is_not_swept(store: EngineStore, make: Maker) -> None:
    (store.folder / "another.part").mkdir()
    with locked(store.folder / "another.lock", limit_s=0):
        taken(store, make)
        assert (store.folder / "another.part").is_dir()


def test_who_comes_second_waits_and_takes_what_the_first_built(engines: Path, make: Maker) -> None:
    waited: list[Progress] = []
    times = iter(range(100))
    with locked(engines / f"{REQUEST.key()}.lock", limit_s=0):
        first = EngineStore(engines)._build(REQUEST, make)
        store = EngineStore(engines, clock=lambda: float(next(times)), sleep=lambda _: None)
        (engines / f"{REQUEST.key()}.json").rename(engines / "hidden")
        with pytest.raises(EngineError, match=r"another process builds .* expected its end in 3 s"):
            store.find_or_build(REQUEST, make, limit_s=3, on_progress=waited.append)
        assert waited == [Progress("waiting for another process", seconds) for seconds in (1.0, 2.0)]
        (engines / "hidden").rename(engines / f"{REQUEST.key()}.json")
    assert taken(store, make) == (first, False)
    assert len(make.times) == 1


def _contend(folder: Path, barrier: Any, answers: Any) -> None:
    def make(part: Path, times: bytes | None) -> tuple[bytes, bytes | None]:
        return str(os.getpid()).encode(), None

    barrier.wait()
    answers.put(EngineStore(folder).find_or_build(REQUEST, make, limit_s=60))


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


def test_kernel_times_are_handed_to_the_next_build_of_any_graph(store: EngineStore, make: Maker) -> None:
    others = [request(f"graph {n}".encode()) for n in range(3)]
    taken(store, make, others[0])
    taken(store, make, others[1])
    timing = next(store.folder.glob("*.timing"))
    timing.write_bytes(timing.read_bytes()[:-1] + b"!")
    taken(store, make, others[2])
    taken(store, make, request(b"graph 0", version="10.13.0"))
    assert make.times == [None, b"+", None, None]


def test_an_engine_that_the_library_refuses_is_removed(store: EngineStore, make: Maker) -> None:
    taken(store, make)
    store.remove(REQUEST.key(), limit_s=0)
    assert kept(store.folder) == {".timing"}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(engines: Path, make: Maker, mode: int) -> None:
    engines.chmod(mode)
    for call in (lambda: EngineStore(engines).find(REQUEST), lambda: taken(EngineStore(engines), make)):
        with pytest.raises(EngineError, match=rf"others can write to it\n  chmod 700 {engines}"):
            call()
    assert make.times == []


@pytest.mark.parametrize(
    ("mode", "who", "fix"), [(0o777, "everyone", "go"), (0o770, "a group", "g"), (0o772, "everyone", "go")]
)
def test_a_folder_that_others_can_swap_is_refused(
    engines: Path, make: Maker, mode: int, who: str, fix: str
) -> None:
    engines.parent.chmod(mode)
    with pytest.raises(
        EngineError, match=rf"{who} can write to {engines.parent}\n  chmod {fix}-w {engines.parent}"
    ):
        taken(EngineStore(engines), make)
    engines.parent.chmod(mode | stat.S_ISVTX)  # as /tmp: there only the owner can rename
    assert taken(EngineStore(engines), make)[1]


def test_folders_that_are_made_are_this_user_s_alone(engines: Path, make: Maker) -> None:
    """Also those above it, whatever the umask leaves to groups."""
    before = os.umask(0o002)
    try:
        assert taken(EngineStore(engines / "a" / "b"), make)[1]
    finally:
        os.umask(before)
    for folder in (engines / "a", engines / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_engine_of_another_driver_is_built_anew_in_its_place(engines: Path, make: Maker) -> None:
    told: list[Progress] = []
    taken(EngineStore(engines), make)
    newer = request(gpu=dataclasses.replace(ORIN, driver="540.5.0, CUDA 12.6"))
    assert newer.key() == REQUEST.key()
    assert EngineStore(engines).find(newer) is None
    assert taken(EngineStore(engines), make, newer, on_progress=told.append)[1]
    assert told[0].phase.endswith("built under driver 540.4.0, CUDA 12.6, and here is 540.5.0, CUDA 12.6")
    assert len(list(engines.glob("*.plan"))) == 1
    assert make.times == [None, None], "kernel times are of one driver too"


def test_a_folder_of_another_user_is_refused(
    engines: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: engines.stat().st_uid + 1)
    with pytest.raises(EngineError, match=r"expected a folder of user \d+, got one of user \d+"):
        taken(EngineStore(engines), make)


def test_a_place_where_nothing_can_be_kept_is_an_error(tmp_path: Path, make: Maker) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"engines cannot be kept in .*file"):
        taken(EngineStore(tmp_path / "file" / "engines"), make)


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path, make: Maker) -> None:
    taken(EngineStore(tmp_path / "a" / "engines"), make)
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
    assert slept == [], "nobody holds the new one"
    assert not path.exists()
