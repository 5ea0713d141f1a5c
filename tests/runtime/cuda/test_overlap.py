"""The next pair is uploaded while one is computed; what comes of it, and how many, is as without that."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from typing import Any

import built_kernels
import numpy as np
import pytest
from emulated_device import DESKTOP, ORIN_NANO, EmulatedDevice
from test_camera_path import SIZE, street

from tdfusion_edge import Fuser
from tdfusion_edge.errors import EngineError, RequestError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.cuda import engine as module
from tdfusion_edge.runtime.engines.cuda.device import Gpu
from tdfusion_edge.runtime.pipeline.loop import Plan, results

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")


class Watched(EmulatedDevice):
    """Notes what was queued by each time that somebody waits."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.at_waits: list[tuple[str, ...]] = []
        self.refuse: Callable[[str], bool] = lambda what: False

    def await_event(self, event: Any) -> None:
        self.at_waits.append(tuple(self.queued))
        super().await_event(event)

    def _put(self, stream: Any, what: str, *rest: Any) -> None:
        if self.refuse(what):
            raise EngineError("planted")
        super()._put(stream, what, *rest)


@pytest.fixture
def opened(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Fuser, Watched]]:
    def open_one(gpu: Gpu = DESKTOP, **options: Any) -> tuple[Fuser, Watched]:
        device = Watched(built_kernels.library(tmp_path_factory), gpu)
        monkeypatch.setattr(module, "open_device", lambda: device)
        monkeypatch.setattr(module, "image_for", lambda driver, capability: b"fatbin")
        settings = {"stretch": "temporal", "detect": False, "range": rig.ThermalRange(), **options}
        return Fuser("edge", backend="cuda", **settings), device

    return open_one


def fused(fuser: Fuser, pairs: list[Pair], following: Callable[[int], Pair | None]) -> list[Any]:
    """The pictures of a stream; ``following`` gives what is said to come behind each."""
    made = []
    for number, pair in enumerate(pairs):
        result = fuser.fuse(pair, following=lambda number=number: following(number))  # type: ignore[misc]
        assert result is not None
        made.append(result.picture)
    return made


def pairs_of(count: int) -> list[Pair]:
    return [street(number, deep=True) for number in range(count)]


@pytest.mark.parametrize(
    "gpu",
    [pytest.param(DESKTOP, id="copies"), pytest.param(ORIN_NANO, id="shared memory", marks=pytest.mark.slow)],
)
def test_pictures_are_the_same_to_the_last_bit(opened: Callable[..., Any], gpu: Gpu) -> None:
    pairs = pairs_of(5)
    with opened(gpu)[0] as alone:
        wanted = fused(alone, pairs, lambda number: None)
    fuser, device = opened(gpu)
    with fuser:
        got = fused(fuser, pairs, lambda number: pairs[number + 1] if number + 1 < len(pairs) else None)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not device.memory
    copies = [queued.count("copy in") for queued in device.at_waits]
    if gpu is DESKTOP:
        # The weights, then two pictures and numbers a launch; the first pair has two. From the second wait
        # on the pictures of the next pair are under way as well; behind the last one none comes.
        assert copies == [4, 9, 12, 15, 18, 19]
    else:
        assert copies == [1] * 6  # nothing is copied where the memory is one, but the weights


def test_another_pair_may_come_instead(opened: Callable[..., Any]) -> None:
    """As in `latest`, where a newer one supersedes it; its own upload makes way."""
    pairs, others = pairs_of(4), [street(number + 9, deep=True, at=number) for number in range(5)]
    with opened()[0] as alone:
        wanted = fused(alone, pairs, lambda number: None)
    fuser, _ = opened()
    with fuser:
        got = fused(fuser, pairs, lambda number: others[number + 1])
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
        odd = street(2, (40, 24), deep=True)  # of a size that did not come yet
        lone = Pair(None, pairs[0].visible)
        for coming in (odd, lone, Pair(others[1].infrared, odd.visible)):
            fuser.forget()
            (picture,) = fused(fuser, pairs[:1], lambda number, coming=coming: coming)  # type: ignore[misc]
            np.testing.assert_array_equal(picture, wanted[0])


def test_what_fails_is_the_pair_that_fails(opened: Callable[..., Any]) -> None:
    pairs = pairs_of(4)
    with opened()[0] as alone:
        wanted = fused(alone, pairs, lambda number: None)
    fuser, device = opened()
    with fuser:
        refused: list[str] = []

        def following(number: int) -> Pair | None:
            if number == 1:  # the upload of the pair behind the second one fails, once
                device.refuse = lambda what: what == "copy in" and not refused and not refused.append(what)  # type: ignore[func-returns-value]
            return pairs[number + 1] if number + 1 < len(pairs) else None

        got = fused(fuser, pairs, following)
        assert refused
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_pair_that_is_none_takes_no_other_with_it(opened: Callable[..., Any]) -> None:
    """16 bits where the camera is said to make 8: refused when its turn comes, and the others are as ever."""
    good = [street(number, deep=False, at=number) for number in range(4)]
    bad = street(1, deep=True)
    options = {"range": rig.ThermalRange(mode="camera"), "stretch": "none"}
    with opened(**options)[0] as alone:
        wanted = fused(alone, good, lambda number: None)
    fuser, _ = opened(**options)
    with fuser:
        assert np.array_equal(fused(fuser, good[:1], lambda number: bad)[0], wanted[0])
        with pytest.raises(RequestError, match="own 8 bits"):
            fuser.fuse(bad, following=lambda: good[1])
        for one, other in zip(fused(fuser, good[1:], lambda number: None), wanted[1:], strict=True):
            np.testing.assert_array_equal(one, other)


class Script:
    """A recorded camera that plays frames."""

    live = False

    def __init__(self, name: str, frames: list[Frame]) -> None:
        self.name, self._frames = name, iter(frames)

    def read(self) -> Frame | None:
        return next(self._frames, None)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("mode", ["every", "latest"])
def test_the_loop_gives_every_pair_once_and_in_order(opened: Callable[..., Any], mode: Any) -> None:
    pairs = pairs_of(12)
    fuser, device = opened()
    asked: list[Pair | None] = []
    fuse = fuser.fuse

    def noted(pair: Pair, timed: Any, following: Callable[[], Pair | None]) -> Result | None:
        def note() -> Pair | None:
            asked.append(following())
            return asked[-1]

        return fuse(pair, timed, note)

    fuser.fuse = noted  # type: ignore[method-assign]
    frames: list[list[Frame]] = [[], []]
    for pair in pairs:
        for one, frame in zip(frames, (pair.infrared, pair.visible), strict=True):
            assert frame is not None
            one.append(frame)
    sources: Any = {
        role: Script(role, some) for role, some in zip(("infrared", "visible"), frames, strict=True)
    }
    with fuser:
        plan = Plan(sources, rig.Sync(tolerance_ms=5), fuser, mode, stop=threading.Event())
        numbers = [result.pair.visible.sequence for result in results(plan) if result.pair.visible]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 11
    if mode == "every":
        assert numbers == list(range(12))
    assert len(asked) == len(numbers)  # once a picture
    assert all(
        one is None or one.visible is None or one.visible.sequence > number
        for one, number in zip(asked, numbers, strict=True)
    )
    assert SIZE == (48, 32)
    assert not device.memory
