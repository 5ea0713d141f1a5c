"""The kernel `edge`, built by g++ under sanitizers, against the shipped graph and the runtime's own code."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built_kernels import built
from edge_cases import (
    GUARD,
    KERNELS,
    POISON,
    Case,
    Prepared,
    chroma,
    registered,
    visible_luma,
    wanted_aligned,
    wanted_limits,
    wanted_luma,
    wanted_picture,
)

from benchmarks.kernels import emulator
from tdfusion_edge.runtime.engines.cuda.parameters import BGR, GREY, NV12, YUYV
from tdfusion_edge.runtime.picture.border import Border

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")

TOLERANCE = 2e-3
"""Of the fused luma in FP16, before it becomes 8 bits."""
BIN = 1 / 8190 + 1e-6

CASES = {
    "colour": Case((96, 64)),
    "odd": Case((75, 53), seed=1),
    "odd and tight": Case((75, 53), tight=True, seed=2),
    "one cell": Case((1, 1), seed=3),
    "a row": Case((131, 2), tight=True, seed=3),
    "strong weights": Case((96, 64), strong=True, seed=21),
    "strong weights, odd": Case((75, 53), strong=True, seed=22),
    "16 bits": Case((96, 64), deep=True, seed=4),
    "registered": Case((96, 64), deep=True, warp=registered(), seed=5),
    "registered, 8 bits": Case((96, 64), warp=registered(), seed=6),
    "nv12": Case((96, 64), NV12, BGR, limited_range=True, seed=7),
    "nv12, full range, odd": Case((75, 53), NV12, BGR, seed=8),
    "yuyv": Case((98, 53), YUYV, BGR, limited_range=True, seed=9),
    "grey": Case((75, 53), GREY, GREY, seed=10),
    "grey to colour": Case((64, 40), GREY, BGR, seed=11),
    "nv12 to nv12": Case((75, 53), NV12, NV12, limited_range=True, seed=12),
    "yuyv to nv12": Case((98, 53), YUYV, NV12, limited_range=True, seed=13),
    "colour to nv12": Case((75, 53), BGR, NV12, seed=14),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(
            lambda on: built(tmp_path_factory, emulator.SANITIZED, tensor_cores=on), (True, False)
        )
    return dict(zip(("tensor", "plain"), made, strict=True))


@pytest.fixture(scope="module", params=["tensor", "plain"])
def fused(
    request: pytest.FixtureRequest, programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Prepared]:
    prepared = {name: Prepared(case) for name, case in CASES.items()}
    kernels = list(KERNELS)
    launches = [one.launch(kernels[i % 3], blocks=1 + i % 4) for i, one in enumerate(prepared.values())]
    emulator.run(programs[request.param], launches, tmp_path_factory.mktemp("run"))
    return prepared


@pytest.mark.parametrize("name", CASES)
def test_the_fused_luma_is_the_graphs(fused: dict[str, Prepared], name: str) -> None:
    np.testing.assert_allclose(fused[name].luma, wanted_luma(CASES[name]), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_the_picture_is_within_a_level(fused: dict[str, Prepared], name: str) -> None:
    apart = np.abs(fused[name].picture - wanted_picture(CASES[name], fused[name].luma))
    assert apart.max() <= 1, name
    wanted = wanted_picture(CASES[name], wanted_luma(CASES[name]))
    assert np.abs(fused[name].picture - wanted).max() <= 1 + TOLERANCE * 255 / 0.7
    assert np.abs(fused[name].picture - wanted).mean() < 0.6


@pytest.mark.parametrize("name", CASES)
def test_infrared_is_what_the_staged_way_shows_heads(fused: dict[str, Prepared], name: str) -> None:
    """To the level; where it is registered, between two, and rounded to one at the border."""
    case, got = CASES[name], fused[name].aligned
    if case.warp is None:
        np.testing.assert_array_equal(got, wanted_aligned(case))
        return
    outside = Border(case.warp.valid).outside > 0
    np.testing.assert_array_equal(got[outside], visible_luma(case)[outside])
    error = np.abs(got - wanted_aligned(case))
    assert error.max() <= 1.5
    assert error.mean() < 0.2


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_written_beside_the_picture(fused: dict[str, Prepared], name: str) -> None:
    assert (fused[name].guards == POISON).all()
    assert CASES[name].tight or fused[name].guards.size >= GUARD * CASES[name].size[1]


@pytest.mark.parametrize("name", CASES)
def test_measured_limits_are_the_percentiles(fused: dict[str, Prepared], name: str) -> None:
    np.testing.assert_allclose(fused[name].measured, wanted_limits(fused[name].luma), atol=BIN, rtol=0)
    assert not fused[name].histogram.any()  # ready for the next picture


@pytest.mark.parametrize("name", ["nv12 to nv12", "yuyv to nv12", "colour to nv12"])
def test_chroma_travels_into_nv12(fused: dict[str, Prepared], name: str) -> None:
    case, got = CASES[name], fused[name].fused_chroma
    assert got is not None
    width, height = case.size
    got = got[:, : (width + 1) // 2 * 2].reshape((height + 1) // 2, -1, 2)
    if case.visible_format == NV12:
        np.testing.assert_array_equal(got, case.chroma.reshape(got.shape))
        return
    if case.visible_format == BGR:
        from tdfusion_edge.color import split

        planes = split(case.visible.reshape(height, width, 3))[1]
        assert planes is not None
        full = planes[::-1].transpose(1, 2, 0).astype(float) - 128
    else:
        full = chroma(case)
    padded = np.pad(full, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    mean = padded.reshape((height + 1) // 2, 2, -1, 2, 2).mean(axis=(1, 3))
    wanted = np.clip(128 + mean * (224 / 255 if case.limited_range else 1), 0, 255)
    assert np.abs(got - wanted).max() <= 1.5


@pytest.mark.parametrize("path", ["tensor", "plain"])
def test_every_tile_and_every_order_gives_the_same_bytes(
    programs: dict[str, Path], tmp_path: Path, path: str
) -> None:
    case = replace(CASES["odd"], deep=True, seed=20)
    ways = [
        (kernel, blocks, backwards) for kernel in KERNELS for blocks, backwards in ((1, False), (5, True))
    ]
    prepared = [Prepared(case) for _ in ways]
    launches = [one.launch(k, blocks=b, backwards=w) for one, (k, b, w) in zip(prepared, ways, strict=True)]
    emulator.run(programs[path], launches, tmp_path)
    assert np.isfinite(prepared[0].luma).all()
    for one in prepared[1:]:
        assert one.fused.tobytes() == prepared[0].fused.tobytes()
        assert one.luma.tobytes() == prepared[0].luma.tobytes()
        assert one.aligned.tobytes() == prepared[0].aligned.tobytes()
        assert one.measured.tobytes() == prepared[0].measured.tobytes()


@pytest.mark.parametrize("name", ["odd", "registered"])
def test_infrared_that_nobody_sees_costs_nothing(
    programs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """And what is written beside is a byte a pixel, for which nothing more is read."""
    with_it, without = (Prepared(CASES[name]) for _ in range(2))
    launches = [one.launch("edge_16x16") for one in (with_it, without)]
    del launches[1].buffers["aligned"]  # type: ignore[attr-defined]
    moved = emulator.run(programs["tensor"], launches, tmp_path)
    assert (without.aligned == POISON).all()
    assert without.fused.tobytes() == with_it.fused.tobytes()
    assert moved[0].loaded == moved[1].loaded
    assert moved[0].stored == moved[1].stored + with_it.aligned.size


@pytest.mark.parametrize("plane", ["luma", "aligned"])
def test_the_sanitizers_look_on(programs: dict[str, Path], tmp_path: Path, plane: str) -> None:
    short = Prepared(CASES["colour"])
    setattr(short, plane, getattr(short, plane).reshape(-1)[:-1].copy())
    with pytest.raises(emulator.EngineError, match="heap-buffer-overflow"):
        emulator.run(programs["tensor"], [short.launch("edge_16x16")], tmp_path)
