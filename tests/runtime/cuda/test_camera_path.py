"""The back end `cuda` takes the cameras' pictures themselves: the same picture as network by network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import built_kernels
import cv2
import numpy as np
import pytest
from edge_cases import HOMOGRAPHY, WARPED
from emulated_device import ORIN_NANO, EmulatedDevice
from warm import QUARTERS, warm_bundle

from tdfusion_edge import Fuser, cli
from tdfusion_edge.errors import EngineError, RequestError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.cuda import engine as module
from tdfusion_edge.runtime.engines.cuda.path import PicturePath
from tdfusion_edge.runtime.live.views import Painter, View
from tdfusion_edge.runtime.picture.watch import Watch

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")

SIZE = 48, 32
STEP_NS = 40_000_000
LUMA = 2e-3
"""Largest error of a fused luma: the kernel computes in FP16."""


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> EmulatedDevice:
    return emulated(tmp_path_factory, monkeypatch)


def emulated(factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> EmulatedDevice:
    made = EmulatedDevice(built_kernels.library(factory), ORIN_NANO)
    monkeypatch.setattr(module, "open_device", lambda: made)
    monkeypatch.setattr(module, "image_for", lambda driver, capability: b"fatbin")
    return made


def street(
    number: int,
    size: tuple[int, int] = SIZE,
    *,
    deep: bool,
    infrared: tuple[int, int] | None = None,
    at: int | None = None,
) -> Pair:
    """A smooth pair that moves slowly and whose infrared warms up; ``at`` is another place in the stream."""
    random = np.random.default_rng(7)
    width, height = size if infrared is None else infrared
    heat = cv2.GaussianBlur(random.normal(0, 1, (height, width + 20)), (0, 0), 3)[:, number : number + width]
    heat = (heat - heat.min()) / np.ptp(heat)
    counts = 7000 + 900 * heat + 20 * number if deep else 40 + 150 * heat + 2 * number
    colour = cv2.GaussianBlur(random.integers(0, 256, (size[1], size[0] + 20, 3)).astype(np.uint8), (0, 0), 2)
    visible = np.ascontiguousarray(colour[:, number : number + size[0]])
    picture = counts.astype(np.uint16 if deep else np.uint8)
    number = number if at is None else at
    time_ns = number * STEP_NS
    return Pair(Frame(picture, time_ns, number, "ir"), Frame(visible, time_ns, number, "vis"))


def both(source: str | Path = "edge", **options: Any) -> tuple[Fuser, Fuser]:
    """Our kernel from the cameras' pictures, and the reference network by network."""
    options = {"stretch": "none", **options}
    return Fuser(source, backend="cuda", **options), Fuser(
        source, backend="onnxruntime", threads=1, **options
    )


class Noting:
    """An engine that keeps what it was given."""

    def __init__(self, engine: Any, seen: list[dict[str, Any]]) -> None:
        self._engine, self._seen = engine, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, inputs: Any) -> Any:
        self._seen.append({name: array.copy() for name, array in inputs.items()})
        return self._engine.run(inputs)


def noting(seen: list[dict[str, Any]]) -> Callable[[str, Any], Any]:
    """To instrument the detector with."""
    return lambda name, engine: Noting(engine, seen) if name == "detector" else engine


def compare(ours: Any, wanted: Any, *, edges: float = 0.0) -> None:
    """Pictures agree to a level; lumas too, but for a share of pixels whose counts fell to the next level."""
    assert ours.fused.shape == wanted.fused.shape
    error = np.abs(ours.fused - wanted.fused)
    assert np.count_nonzero(error > LUMA) <= edges * error.size
    assert error.max() < 6 * LUMA
    assert ours.picture.shape == wanted.picture.shape
    levels = np.abs(ours.picture.astype(int) - wanted.picture)
    assert np.count_nonzero(levels > 1) <= 3 * edges * error.size
    assert levels.max() <= 4


@pytest.mark.parametrize(
    ("deep", "range"),
    [
        (True, rig.ThermalRange()),
        (True, rig.ThermalRange(mode="linear", low=6900.0, high=8100.0)),
        (False, rig.ThermalRange()),
        (False, rig.ThermalRange(mode="percentile", low=2, high=98, smoothing_s=0.2)),
        (False, rig.ThermalRange(mode="camera")),
    ],
    ids=["auto of 16 bits", "linear", "auto of 8 bits", "percentile", "camera"],
)
def test_a_stream_is_the_one_of_the_staged_way(
    device: EmulatedDevice, deep: bool, range: rig.ThermalRange
) -> None:
    ours, wanted = both(range=range)
    with ours, wanted:
        assert "from the cameras' pictures" in str(ours)
        for number in (0, 1, 5):
            pair = street(number, deep=deep)
            got = ours.fuse(pair)
            assert got is not None
            assert got.degraded is None
            compare(got, wanted.fuse(pair), edges=0.02)
    device_limits = range.mode == "percentile" or (deep and range.mode == "auto")
    assert device.launched.count("thermal") == (3 if device_limits else 0)
    assert sum(name.startswith("edge") for name in device.launched) == 3  # the fusion engine ran for none
    assert not device.memory


@pytest.mark.parametrize("infrared", [WARPED[0], (24, 18)])
def test_infrared_lies_where_the_registration_says(device: EmulatedDevice, infrared: tuple[int, int]) -> None:
    """At the size that was measured, and at half of it; the border of its view is visible's."""
    placed = rig.Registration(homography=HOMOGRAPHY, infrared_size=WARPED[0], visible_size=WARPED[1])
    ours, wanted = both(registration=placed, range=rig.ThermalRange(mode="camera"))
    with ours, wanted:
        pair = street(0, WARPED[1], deep=False, infrared=infrared)
        compare(ours.fuse(pair), wanted.fuse(pair), edges=0.02)


def test_infrared_moves_with_the_distance(device: EmulatedDevice) -> None:
    placed = rig.Registration(
        homography=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), infrared_size=SIZE, visible_size=SIZE,
        distance_m=10.0, baseline_m=(0.1, 0.0), focal_px=100.0,
    )  # fmt: skip
    ours, wanted = both(registration=placed, range=rig.ThermalRange(mode="camera"), detect=False)
    pictures = []
    with ours, wanted:
        for distance in (10.0, 2.0):
            pair = street(0, deep=False)
            for fuser in (ours, wanted):
                fuser.move(distance)
            got, reference = ours.fuse(pair), wanted.fuse(pair)
            assert got is not None
            assert reference is not None
            assert np.abs(got.picture.astype(int) - reference.picture).max() <= 4
            pictures.append(got.picture)
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 10
    assert device.launched


def test_smaller_infrared_is_enlarged_and_larger_goes_the_other_way(device: EmulatedDevice) -> None:
    ours, wanted = both(range=rig.ThermalRange(mode="camera"))
    with ours, wanted:
        # OpenCV enlarges bytes in whole numbers, and is a level beside the exact value at a tenth of them.
        pair = street(0, deep=False, infrared=(30, 20))
        compare(ours.fuse(pair), wanted.fuse(pair), edges=0.15)
        before = len(device.launched)
        pair = street(0, deep=False, infrared=(96, 64))
        compare(ours.fuse(pair), wanted.fuse(pair))
        assert len(device.launched) == before + 1  # by the engine, behind the CPU's own averaging


def test_the_stretch_is_a_picture_behind_and_settles(device: EmulatedDevice) -> None:
    ours, wanted = both(stretch="temporal", range=rig.ThermalRange(mode="camera"))
    with ours, wanted:
        for number in range(0, 60, 12):  # half a second apart, in which limits go most of their way
            pair = street(0, deep=False, at=number)
            got, reference = ours.fuse(pair), wanted.fuse(pair)
        assert got is not None
        assert reference is not None
        assert np.abs(got.picture.astype(int) - reference.picture).max() <= 2
        assert np.ptp(reference.picture) > np.ptp(reference.fused) * 255  # it stretches at all
        assert sum(name.startswith("edge") for name in device.launched) == 6  # the first one twice


def test_a_new_stream_remembers_no_limits(device: EmulatedDevice) -> None:
    with both(range=rig.ThermalRange())[0] as ours:
        first = ours.fuse(street(0, deep=True))
        warm = street(1, deep=True)
        ours.fuse(Pair(Frame(warm.infrared.image + np.uint16(5000), STEP_NS, 1, "ir"), warm.visible))  # type: ignore[union-attr,operator]
        ours.forget()
        again = ours.fuse(street(0, deep=True))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.picture, again.picture)


def test_one_sensor_alone_goes_the_other_way_and_the_stream_goes_on(device: EmulatedDevice) -> None:
    ours, wanted = both(range=rig.ThermalRange(), visible_size=SIZE)
    with ours, wanted:
        for number in range(4):
            pair = street(number, deep=True)
            if number == 1:
                pair = Pair(None, pair.visible)
            if number == 2:
                pair = Pair(pair.infrared, None)
            got, reference = ours.fuse(pair), wanted.fuse(pair)
            assert got is not None
            assert reference is not None
            assert got.degraded == reference.degraded
            if number == 1:
                np.testing.assert_array_equal(got.picture, reference.picture)
            assert got.picture.shape == reference.picture.shape


def test_heads_see_the_fused_luma_and_grey_stays_grey(device: EmulatedDevice) -> None:
    seen: list[dict[str, Any]] = []
    ours, wanted = both(range=rig.ThermalRange(mode="camera"), instrument=noting(seen))
    with ours, wanted:
        pair = street(0, deep=False)
        grey = np.repeat(pair.visible.image[..., :1], 3, axis=2)  # type: ignore[union-attr]
        pair = Pair(pair.infrared, Frame(grey, 0, 0, "vis"))
        got, reference = ours.fuse(pair), wanted.fuse(pair)
        assert got is not None
        assert reference is not None
        assert got.picture.ndim == reference.picture.ndim == 2
        compare(got, reference)
        assert len(got.detections) == len(reference.detections)
    assert np.abs(seen[0]["luma"] - seen[1]["luma"]).max() < LUMA
    with both(detect=False)[0] as alone:
        result = alone.fuse(pair)
        assert result is not None
        assert result.fused is None  # nobody looks at it, and it stays on the GPU


PLACED = rig.Registration(homography=HOMOGRAPHY, infrared_size=WARPED[0], visible_size=WARPED[1])


@pytest.mark.parametrize(
    ("deep", "range", "registration", "levels"),
    [
        (False, rig.ThermalRange(mode="camera"), None, 1e-6),
        (False, rig.ThermalRange(), None, 1.01),
        (True, rig.ThermalRange(), None, 1.01),
        (True, rig.ThermalRange(mode="linear", low=6900.0, high=8100.0), PLACED, 1.5),
        (False, rig.ThermalRange(mode="camera"), PLACED, 1.5),
    ],
    ids=["camera", "auto of 8 bits", "auto of 16 bits", "linear with a border", "camera with a border"],
)
@pytest.mark.parametrize("colour", [True, False])
def test_heads_see_infrared_beside_the_fused_luma(
    device: EmulatedDevice,
    tmp_path: Path,
    deep: bool,
    range: rig.ThermalRange,
    registration: rig.Registration | None,
    levels: float,
    colour: bool,
) -> None:
    """The aligned one, as network by network: to so many levels, by how counts and places are rounded."""
    seen: list[dict[str, Any]] = []
    ours, wanted = both(
        warm_bundle(tmp_path, colour=colour), range=range, registration=registration, instrument=noting(seen)
    )
    size, infrared = (SIZE, None) if registration is None else (WARPED[1], WARPED[0])
    with ours, wanted:
        assert "from the cameras' pictures" in str(ours)
        for number in (0, 3):
            pair = street(number, size, deep=deep, infrared=infrared)
            got, reference = ours.fuse(pair), wanted.fuse(pair)
            assert got is not None
            assert reference is not None
            mine, others = seen[-2:]
            assert list(mine) == list(others) == ["luma", *(["chroma"] if colour else []), "infrared"]
            for name, tolerance in (("luma", 6 * LUMA), ("chroma", 1e-6), ("infrared", levels / 255)):
                if name in mine:
                    assert np.abs(mine[name] - others[name]).max() <= tolerance, name
            assert np.abs(mine["infrared"] - mine["luma"]).max() > 0.1  # it is not the luma once more
            np.testing.assert_allclose(
                np.sort(got.detections.scores), np.sort(reference.detections.scores), atol=levels / 255
            )
            assert len(got.detections) == len(QUARTERS)
    assert sum(name.startswith("edge") for name in device.launched) == 2  # no pair went network by network


def test_a_head_that_sees_infrared_gets_the_luma_where_it_is_alone(
    device: EmulatedDevice, tmp_path: Path
) -> None:
    seen: list[dict[str, Any]] = []
    with both(warm_bundle(tmp_path), visible_size=SIZE, instrument=noting(seen))[0] as ours:
        pair = street(0, deep=True)
        for one in (pair, Pair(None, pair.visible), pair):
            ours.fuse(one)
    whole, alone, again = seen
    np.testing.assert_array_equal(alone["infrared"], alone["luma"])
    np.testing.assert_array_equal(whole["infrared"], again["infrared"])


def test_what_does_not_go_this_way(device: EmulatedDevice) -> None:
    pair = street(0, deep=True)
    for options in ({"graphs": "staged"}, {"stretch": "image"}):
        with both(**options)[0] as ours:
            assert "cameras' pictures" not in str(ours)
            ours.fuse(pair)
            assert "thermal" not in device.launched
    with both(range=rig.ThermalRange(mode="clahe"))[0] as ours:
        ours.fuse(pair)
        assert "thermal" not in device.launched
    with (
        both(range=rig.ThermalRange(mode="camera"))[0] as ours,
        pytest.raises(RequestError, match="own 8 bits"),
    ):
        ours.fuse(pair)


def verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    for number in range(2):
        pair = street(number, (64, 48), deep=False)
        for name, frame in (("ir", pair.infrared), ("vi", pair.visible)):
            assert frame is not None
            (folder / name).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name / f"{number}.png"), frame.image)
    code = cli.main(["verify", "edge", "--backend", "cuda", "--data", str(folder), "--json", "-q"])
    return code, json.loads(capsys.readouterr().out)


def test_verify_holds_this_way_against_the_reference_in_colour(
    device: EmulatedDevice,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, told = verified(tmp_path, capsys)
    assert (code, told["from_cameras"]["offences"]) == (0, [])
    assert 0 < told["from_cameras"]["gap"]["colour_levels"] <= 4
    real = PicturePath.take

    def swapped(path: PicturePath) -> Any:
        """Blue and red the wrong way round, which a luma does not show."""
        made = real(path)
        return made._replace(planes=tuple(np.ascontiguousarray(one[..., ::-1]) for one in made.planes))

    monkeypatch.setattr(PicturePath, "take", swapped)
    code, told = verified(tmp_path, capsys)
    assert code == 1
    assert told["offences"] == []
    assert any("colour" in line for line in told["from_cameras"]["offences"])


def test_a_lost_gpu_is_told_and_nothing_is_kept(device: EmulatedDevice) -> None:
    with both(range=rig.ThermalRange())[0] as ours:
        ours.fuse(street(0, deep=True))
        device.faults.launch = len(device.launched)
        with pytest.raises(EngineError, match="lost to this process"):
            ours.fuse(street(1, deep=True))
    device.faults.launch = None


def test_a_dead_camera_is_left_out_as_ever(device: EmulatedDevice) -> None:
    with both(range=rig.ThermalRange(mode="camera"), watch=Watch(dead_ms=50))[0] as ours:
        for number in range(3):
            pair = street(number, deep=False)
            flat = np.full(SIZE[::-1], 9, np.uint8)
            result = ours.fuse(Pair(Frame(flat, number * STEP_NS, number, "ir"), pair.visible))
        assert result is not None
        assert result.degraded == "infrared dead"
        assert pair.visible is not None
        assert np.abs(result.picture.astype(int) - pair.visible.image).max() <= 2  # by way of luma and chroma


def test_a_viewer_sees_the_infrared_that_stayed_on_the_gpu(device: EmulatedDevice) -> None:
    ours, wanted = both()
    with ours, wanted:
        pair = street(0, deep=True)
        got, reference = ours.fuse(pair), wanted.fuse(pair)
    assert got is not None
    assert reference is not None
    assert got.infrared is None
    painter = Painter(None, lambda result: result.picture)
    view = View(kind="infrared", boxes=False)
    assert reference.infrared is not None
    np.testing.assert_array_equal(painter.paint(got, view), painter.paint(reference, view))


def test_a_stretch_that_is_set_while_it_runs_takes_its_way(device: EmulatedDevice) -> None:
    ours, wanted = both(range=rig.ThermalRange(mode="camera"))
    with ours, wanted:
        for fuser in (ours, wanted):
            fuser.stretch = "image"
        pair = street(0, deep=False)
        compare(ours.fuse(pair), wanted.fuse(pair))
        assert "image" in ours.stretches
