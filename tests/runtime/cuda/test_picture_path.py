"""The whole GPU loop without a GPU: pairs in, pictures out, and what becomes of faults."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import built_kernels
import numpy as np
import pytest
from edge_cases import (
    COUNTS,
    LIMITS,
    Case,
    wanted_aligned,
    wanted_luma,
    wanted_picture,
    weights,
)
from emulated_device import DESKTOP, ORIN_NANO, EmulatedDevice

from benchmarks.kernels import emulator
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.cuda.device import Gpu
from tdfusion_edge.runtime.engines.cuda.form import Form, outputs_of
from tdfusion_edge.runtime.engines.cuda.parameters import BGR, NV12
from tdfusion_edge.runtime.engines.cuda.path import PicturePath
from tdfusion_edge.runtime.picture.range import ThermalRange, scale_to_8bit, smoothing_share

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")

SIZE = 64, 40
COLOUR = Form(SIZE, SIZE, luma=True)
RANGE = rig.ThermalRange(mode="percentile")
DEEP = replace(COLOUR, infrared_bytes=2, percentiles=RANGE.limits)
STEP_NS = 40_000_000


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> emulator.Library:
    return built_kernels.library(tmp_path_factory)


def pictures(case: Case) -> dict[str, Any]:
    given = {"infrared": case.infrared, "visible": case.visible}
    return given if case.chroma is None else {**given, "chroma": case.chroma}


def opened(device: EmulatedDevice, form: Form = COLOUR, slots: int = 2) -> PicturePath:
    return PicturePath(device, b"fatbin", weights(), form, slots=slots)


@pytest.mark.parametrize("gpu", [DESKTOP, ORIN_NANO], ids=["copies", "shared memory"])
@pytest.mark.parametrize("captures", [True, False])
def test_every_pair_comes_out_as_itself(library: emulator.Library, gpu: Gpu, captures: bool) -> None:
    device = EmulatedDevice(library, gpu, captures=captures)
    path = opened(device)
    cases = [Case(SIZE, seed=number) for number in range(5)]
    for number, case in enumerate(cases):
        if number >= 2:
            check(path, cases[number - 2])
        path.submit(pictures(case), LIMITS)
    for case in cases[-2:]:
        check(path, case)
    assert device.waits == len(cases)  # at the sink alone
    assert ("copy out" in device.queued) == (not gpu.integrated)
    path.close()
    path.close()
    assert not device.memory


def check(path: PicturePath, case: Case) -> None:
    got = path.take()
    assert got.luma is not None
    np.testing.assert_allclose(got.luma, wanted_luma(case), atol=2e-3, rtol=0)
    assert np.abs(got.planes[0] - wanted_picture(case, got.luma)).max() <= 1


def test_nv12_goes_through(library: emulator.Library) -> None:
    case = Case((37, 25), NV12, NV12, limited_range=True)
    path = opened(
        EmulatedDevice(library),
        Form((37, 25), (37, 25), visible=NV12, fused=NV12, luma=True, aligned=True, limited_range=True),
    )
    path.submit(pictures(case), LIMITS)
    got = path.take()
    assert got.luma is not None
    assert np.abs(got.planes[0][..., None] - wanted_picture(case, got.luma)).max() <= 1
    np.testing.assert_array_equal(got.planes[1], case.chroma)
    np.testing.assert_array_equal(got.infrared, case.infrared)


@pytest.mark.parametrize("gpu", [DESKTOP, ORIN_NANO], ids=["copies", "shared memory"])
def test_every_pair_comes_with_its_own_infrared(library: emulator.Library, gpu: Gpu) -> None:
    """Where it is asked for, with or without the luma, and not otherwise."""
    for luma in (True, False):
        path = opened(EmulatedDevice(library, gpu), replace(COLOUR, luma=luma, aligned=True))
        cases = [Case(SIZE, seed=number) for number in range(4)]
        for number, case in enumerate(cases):
            path.submit(pictures(case), LIMITS)
            if number:
                got = path.take()
                np.testing.assert_array_equal(got.infrared, wanted_aligned(cases[number - 1]))
                assert (got.luma is not None) == luma
    assert "aligned" not in outputs_of(COLOUR)


def test_limits_of_infrared_follow_over_pairs(library: emulator.Library) -> None:
    reference = ThermalRange(RANGE)
    path = opened(EmulatedDevice(library), DEEP)
    for number in range(4):
        case = Case(SIZE, deep=True, seed=number)
        case.infrared += np.uint16(60 * number)
        share = smoothing_share(STEP_NS / 1e9 if number else 0, RANGE.smoothing_s)
        path.submit(pictures(case), LIMITS, share)
        reference.apply(case.infrared, number * STEP_NS)
        low, high = reference.limits or COUNTS
        levels = replace(case, deep=False)
        levels.infrared, levels.visible = scale_to_8bit(case.infrared, low, high), case.visible
        got = path.take().luma
        # A count on the edge between two levels may fall either way: a level is 0.004, times a gain.
        assert got is not None
        assert np.abs(got - wanted_luma(levels)).mean() < 2e-4


def test_a_gpu_without_memory_keeps_none(library: emulator.Library) -> None:
    device = EmulatedDevice(library)
    device.faults.memory = 60_000
    with pytest.raises(EngineError, match=r"no memory left \(CUDA_ERROR_OUT_OF_MEMORY\)\n.*smaller pictures"):
        opened(device)
    assert not device.memory


@pytest.mark.parametrize("captures", [True, False])
def test_a_failed_launch_is_told_at_the_sink_and_for_ever(library: emulator.Library, captures: bool) -> None:
    device = EmulatedDevice(library, captures=captures)
    path = opened(device)
    device.faults.launch = 1
    path.submit(pictures(Case(SIZE)), LIMITS)
    path.submit(pictures(Case(SIZE)), LIMITS)
    path.take()
    for again in (path.take, lambda: path.submit(pictures(Case(SIZE)), LIMITS)):
        with pytest.raises(EngineError, match=r"lost to this process.*\n.*again"):
            again()


@pytest.mark.parametrize("after", [0, 10, 40, 60])
def test_a_lost_gpu_is_told(library: emulator.Library, after: int) -> None:
    device = EmulatedDevice(library)
    device.faults.lost = after

    def loop() -> None:
        path = opened(device)
        for _ in range(8):
            path.submit(pictures(Case(SIZE)), LIMITS)
            path.take()

    with pytest.raises(EngineError, match="the GPU is gone"):
        loop()


def test_kernels_that_the_driver_refuses_are_told(library: emulator.Library) -> None:
    device = EmulatedDevice(library)
    device.faults.refuse_kernels = "CUDA_ERROR_NO_BINARY_FOR_GPU"
    with pytest.raises(EngineError, match=r"no code for this GPU.*\n.*engines.cuda.build"):
        opened(device)


class Forgetful(EmulatedDevice):
    """Streams that do not wait for each other: what a missing event would do."""

    def wait(self, stream: Any, event: Any) -> None:
        pass


def test_a_missing_event_is_seen(library: emulator.Library) -> None:
    path = opened(Forgetful(library))
    with pytest.raises(EngineError, match="wrong stream order"):
        path.submit(pictures(Case(SIZE)), LIMITS)


def test_what_does_not_fit_is_refused(library: emulator.Library) -> None:
    path = opened(EmulatedDevice(library))
    case = Case(SIZE)
    with pytest.raises(EngineError, match="no pair is on its way"):
        path.take()
    with pytest.raises(EngineError, match="infrared: expected 2560 bytes, got 2528"):
        path.submit({**pictures(case), "infrared": case.infrared.reshape(-1)[:-32]}, LIMITS)
    with pytest.raises(EngineError, match="pictures: expected infrared, visible"):
        path.submit({"infrared": case.infrared}, LIMITS)
    with pytest.raises(EngineError, match="limits of the stretch"):
        path.submit(pictures(case), (0.5, 0.5))
    path.submit(pictures(case), LIMITS)
    path.submit(pictures(case), LIMITS)
    with pytest.raises(EngineError, match="2 pairs are on their way"):
        path.submit(pictures(case), LIMITS)
    with pytest.raises(EngineError, match="needs a homography"):
        Form(SIZE, (32, 20))
    with pytest.raises(EngineError, match="even width"):
        Form((33, 20), (33, 20), visible=3)
    with pytest.raises(EngineError, match="percentiles"):
        Form(SIZE, SIZE, infrared_bytes=2, fused=BGR)
