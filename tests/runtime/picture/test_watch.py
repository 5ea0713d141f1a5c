"""Cameras that tell nothing: which one is left out, when, what is said, and that it comes back."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge import bundle
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.dead import Dead, is_flat
from tdfusion_edge.runtime.picture.watch import Watch, Watcher
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.sinks import open_sink
from tdfusion_edge.runtime.sources import open_source

STEP_NS = 100_000_000
SHAPE = (96, 128)
Show = Callable[[int], Image]


def live(number: int, *, level: int = 0) -> Image:
    """A scene whose noise differs from picture to picture."""
    scene = np.random.default_rng(7).integers(20, 200, SHAPE, dtype=np.uint8)
    return scene + np.random.default_rng((1, number)).integers(0, 5, SHAPE, dtype=np.uint8) + np.uint8(level)


def capped(number: int) -> Image:
    """Black with the noise of a sensor."""
    noise = np.random.default_rng((2, number)).normal(0, 2.5, SHAPE)
    return noise.clip(0, 255).round().astype(np.uint8)


def blue(number: int) -> Image:
    """What some grabbers show without a signal."""
    return np.full((*SHAPE, 3), (200, 20, 10), np.uint8)


def stuck(number: int) -> Image:
    return live(3)


def pairs(infrared: Show, visible: Show, numbers: Iterable[int]) -> list[Pair]:
    return [
        Pair(
            Frame(infrared(number), number * STEP_NS, number, "ir"),
            Frame(visible(number), number * STEP_NS, number, "vis"),
        )
        for number in numbers
    ]


def told(watch: Watch, taken: list[Pair]) -> list[str | None]:
    watcher = Watcher(watch)
    return [watcher.judge(pair).degraded for pair in taken]


@pytest.mark.parametrize("nothing", [capped, blue])
def test_a_dead_camera_is_left_out_after_its_time_and_comes_back_at_once(nothing: Show) -> None:
    def visible(number: int) -> Image:
        return nothing(number) if 3 <= number < 12 else live(number)

    found = told(Watch(dead_ms=500), pairs(live, visible, range(15)))
    assert found == [None] * 8 + ["visible dead"] * 4 + [None] * 3


def test_the_other_camera_likewise(mean_bundle: bundle.Bundle) -> None:
    found = told(Watch(dead_ms=0), pairs(capped, live, range(2)))
    assert found == ["infrared dead"] * 2


def test_two_dead_cameras_are_fused_and_called_so() -> None:
    assert told(Watch(dead_ms=200), pairs(capped, capped, range(4))) == [None, None, "both dead", "both dead"]


def test_a_single_black_picture_is_no_dead_camera() -> None:
    found = told(Watch(), pairs(live, lambda n: capped(n) if n in (2, 5) else live(n), range(9)))
    assert found == [None] * 9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 255), st.floats(0, 2.5), st.booleans(), st.integers(0, 2**32 - 1))
def test_no_level_and_no_noise_of_a_sensor_makes_a_scene(
    level: int, noise: float, deep: bool, seed: int
) -> None:
    kind = np.uint16 if deep else np.uint8
    image = np.random.default_rng(seed).normal(level, noise, (120, 160)).round().clip(0, 255)
    assert is_flat(image.astype(kind))
    image[40:72, 64:96] += -20 if level > 128 else 20  # something that can be seen, two blocks wide
    assert not is_flat(image.clip(0, 255).astype(kind))


def test_what_is_nearly_dead_does_not_come_and_go() -> None:
    """At one bound for both ways, a scene about it would."""
    ramp = np.linspace(0, 1, SHAPE[1], dtype=np.float32)[None] * np.ones((SHAPE[0], 1), np.float32)
    dead, found = Dead(), []
    for number, spread in enumerate((0, 0.8, 1.5, 1.5, 0.8, 1.9, 4, 1.5)):
        # Block means fall short of the ends of the ramp by a sixteenth; counts of 16 bits are whole.
        image = np.round(ramp * spread * 8 / 7 + np.random.default_rng(number).random(SHAPE) - 0.5 + 100)
        dead.update(Frame(image.astype(np.uint16), number * STEP_NS, number, "ir"))
        found.append(dead.for_ns is not None)
    assert found == [True] * 6 + [False] * 2


def test_a_frozen_camera_beside_a_live_one_is_first_marked_and_then_left_out() -> None:
    def infrared(number: int) -> Image:
        return live(min(number, 2) if number < 27 else number)

    found = told(Watch(frozen_ms=2000), pairs(infrared, live, range(30)))
    assert found == [None] * 5 + ["frozen"] * 17 + ["infrared frozen"] * 5 + [None] * 3


def test_a_frozen_visible_camera_is_left_out_as_well() -> None:
    found = told(Watch(frozen_ms=500), pairs(live, stuck, range(8)))
    assert found == [None] * 5 + ["visible frozen"] * 3


def test_nothing_is_left_out_for_good_where_nobody_asks_for_it() -> None:
    assert told(Watch(), pairs(stuck, live, range(40)))[-1] == "frozen"
    assert told(Watch(), pairs(live, stuck, range(40)))[-1] is None


def test_two_still_pictures_are_a_still_scene() -> None:
    assert told(Watch(frozen_ms=500), pairs(stuck, stuck, range(20)))[-1] == "frozen"


def test_a_still_scene_before_a_live_sensor_is_no_frozen_one() -> None:
    assert told(Watch(frozen_ms=500), pairs(lambda n: live(n), live, range(20))) == [None] * 20


def test_a_held_frame_is_not_taken_for_a_repeated_one() -> None:
    watcher = Watcher(Watch(frozen_ms=500))
    (first,) = pairs(live, live, [0])
    for number in range(1, 12):
        frame = Frame(live(number), number * STEP_NS, number, "vis")
        assert watcher.judge(Pair(first.infrared, frame, held=True)).degraded == "held"


def test_it_is_told_once_and_again_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    def infrared(number: int) -> Image:
        return capped(number) if 5 <= number < 20 or number in (22, 24) else live(number)

    with caplog.at_level(logging.WARNING):
        told(Watch(dead_ms=0), pairs(infrared, live, range(30)))
    assert [record.getMessage() for record in caplog.records] == [
        "infrared camera: its pictures show nothing; visible goes on alone",
        "infrared camera: it is back",
    ]


def test_what_remains_is_shown_in_its_colours_and_looked_at(finder_bundle: bundle.Bundle) -> None:
    def coloured(number: int) -> Image:
        image = np.stack([live(number)] * 3, axis=2) // 4
        image[20:60, 32:60] = (250, 240, 255)  # what the finder finds
        return image

    def warm(number: int) -> Image:
        image = live(number) // 4
        image[20:60, 32:60] = 250
        return image

    watch = Watch(dead_ms=0)
    with Fuser(finder_bundle, threads=1, stretch="none", watch=watch, range="camera") as fuser:
        (taken,) = pairs(capped, coloured, [0])
        result = fuser.fuse(taken)
        assert result is not None
        assert (result.degraded, result.fused) == ("infrared dead", None)
        np.testing.assert_allclose(result.picture, coloured(0), atol=3)
        assert len(result.detections) == 1
    with Fuser(finder_bundle, threads=1, stretch="none", watch=watch, range="camera") as fuser:
        (taken,) = pairs(warm, blue, [0])
        result = fuser.fuse(taken)
        assert result is not None
        assert result.degraded == "visible dead"
        np.testing.assert_array_equal(result.picture, warm(0))
        assert len(result.detections) == 1


def test_buffers_that_are_used_again_are_no_frozen_cameras(mean_bundle: bundle.Bundle) -> None:
    infrared, visible = np.empty(SHAPE, np.uint8), np.empty(SHAPE, np.uint8)
    with Fuser(mean_bundle, threads=1, watch=Watch(frozen_ms=300)) as fuse:
        for number in range(12):
            infrared[:], visible[:] = live(number), live(number + 50)
            assert fuse(infrared, visible, time_ns=number * STEP_NS).degraded is None


def test_a_run_goes_on_with_what_remains_and_tells_of_it(mean_bundle: bundle.Bundle, tmp_path: Path) -> None:
    """By the simulated rig: visible dead from second 1 to 3, infrared frozen from 4 to 8."""
    asked: dict[rig.Role, str] = {"infrared": "sim://ir?freeze=4:4", "visible": "sim://vis?dead=1:2&noise=2"}
    sources = {
        role: open_source(role, rig.Camera(uri=f"{uri}&realtime=0&frames=90&fps=10"), role, epoch_ns=0)
        for role, uri in asked.items()
    }
    out = tmp_path / "out.jsonl"
    with Fuser(mean_bundle, threads=1, stretch="temporal", watch=Watch(frozen_ms=1000)) as fuser:
        report = run(Plan(sources, rig.Sync(), fuser, "every", [open_sink(out)]))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    found = Counter(row["degraded"] for row in rows)
    assert len(rows) == 90
    assert report.as_dict()["degraded"] == {why: count for why, count in found.items() if why is not None}
    # dead: 20 pictures less those of half a second; frozen: 40 and the one that is repeated, less 1 s
    assert found["visible dead"] == 15
    assert found["infrared frozen"] == 31
    assert [row["degraded"] for row in rows[80:]] == [None] * 10
    assert all(row["infrared_sequence"] == row["visible_sequence"] for row in rows)


@pytest.mark.parametrize(
    ("camera", "text", "expected"),
    [
        ("ir0,vis0", "", Watch(dead_ms=500, frozen_ms=2000)),
        ("ir0,vis0", "[sync]\nfrozen_ms = 800\nsilent_ms = 300\n", Watch(dead_ms=300, frozen_ms=800)),
        ("a.mp4,b.mp4", "", Watch(dead_ms=500, frozen_ms=None)),
        ("a.mp4,b.mp4", "[sync]\nfrozen_ms = 800\n", Watch(dead_ms=500, frozen_ms=800)),
    ],
)
def test_live_cameras_are_watched_for_frozen_ones_and_recordings_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera: str, text: str, expected: Watch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        Path(name).touch()
    cameras = '[cameras.ir0]\nuri = "sim://ir"\n[cameras.vis0]\nuri = "sim://vis"\n'
    Path("rig.toml").write_text(cameras + text)
    assert choose_cameras(camera).watch == expected
