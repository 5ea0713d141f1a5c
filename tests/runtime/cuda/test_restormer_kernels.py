"""The kernels of F's blocks, built by g++ under sanitizers, against PyTorch's own modules in float32."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from built_kernels import built
from restormer_cases import GUARD, POISON, BlockCase, head_launch, network, stem_launch
from scipy.linalg import block_diag
from torch.nn import functional as F

from benchmarks.kernels import emulator
from tdfusion_edge.runtime.engines.cuda.restormer import pack
from tdfusion_edge.runtime.engines.cuda.restormer.plan import DECODER, ENCODER, KINDS, MERGE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with"),
]

TOLERANCE = 2e-3
"""Of features up to 1; of larger ones a share, for halves have 11 bits."""
SIZES = (16, 16), (19, 13), (1, 1), (40, 3), (5, 34)


def cases() -> dict[str, BlockCase]:
    made = {}
    for kind in KINDS:
        for number, size in enumerate(SIZES):
            tile = kind.apply_tiles[number % 2]
            case = BlockCase(kind, tile, size, seed=number, blocks=1 + number % 3, scale=0.25)
            made[f"{kind.name} {size[0]}x{size[1]}"] = case
    made["large features"] = BlockCase(DECODER, (8, 16), (21, 18), seed=7, scale=40.0)
    made["small features"] = BlockCase(ENCODER, (8, 16), (21, 18), seed=8, scale=1e-3)
    made["black"] = BlockCase(MERGE, (8, 16), (21, 18), seed=9, scale=0.0)
    return made


NAMES = tuple(cases())
PATHS = "tensor", "plain"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(
            lambda on: built(
                tmp_path_factory, emulator.SANITIZED, tensor_cores=on, kernels=emulator.RESTORMER
            ),
            (True, False),
        )
    return dict(zip(PATHS, made, strict=True))


def run(program: Path, some: list[BlockCase], folder: Path) -> None:
    """All first passes, then all small launches, then all second ones: each takes what the last one gave."""
    for number in range(3):
        emulator.run(program, [case.launches()[number] for case in some], folder)


@pytest.fixture(scope="module", params=PATHS)
def done(
    request: pytest.FixtureRequest, programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, BlockCase]:
    made = cases()
    run(programs[request.param], list(made.values()), tmp_path_factory.mktemp("run"))
    return made


def assert_near(got: Any, wanted: Any) -> None:
    error = np.abs(got - wanted) / np.maximum(1, np.abs(wanted))
    assert error.max() <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_a_block_is_the_networks(done: dict[str, BlockCase], name: str) -> None:
    assert_near(done[name].features, done[name].wanted)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_behind_the_features(done: dict[str, BlockCase], name: str) -> None:
    assert (done[name].made[-GUARD:] == POISON).all()
    assert np.isfinite(done[name].partial).all()  # and every place of the sums is


@pytest.mark.parametrize("path", PATHS)
def test_every_order_gives_the_same_bytes_and_so_does_every_tile(
    programs: dict[str, Path], tmp_path: Path, path: str
) -> None:
    for kind in KINDS:
        first = BlockCase(kind, kind.apply_tiles[0], (19, 21), seed=3)
        other = replace(first, backwards=True)
        run(programs[path], [first, other], tmp_path)
        assert first.partial.tobytes() == other.partial.tobytes()
        assert first.made.tobytes() == other.made.tobytes()
        # More blocks add up in another order; with the same sums, all the rest is the same.
        tile = replace(first, tile=kind.apply_tiles[1], blocks=3)
        emulator.run(programs[path], [tile.gram()], tmp_path)
        sums = [one.partial.reshape(-1, one.given.shape[0], kind.sums).sum(axis=0) for one in (first, tile)]
        np.testing.assert_allclose(sums[1], sums[0], rtol=1e-4, atol=1e-4)
        tile.mixing[:] = first.mixing
        emulator.run(programs[path], [tile.apply()], tmp_path)
        assert tile.made.tobytes() == first.made.tobytes()


@pytest.mark.parametrize("least", [1e-12, 1.0], ids=["at the clamp", "far from it"])
def test_the_small_launch_is_attention_and_projection(
    programs: dict[str, Path], tmp_path: Path, least: float
) -> None:
    """The matrix for sums that are given, some of them around the least mean square."""
    size = 19, 21
    for kind in KINDS:
        case = BlockCase(kind, kind.apply_tiles[0], size, seed=4, blocks=3)
        streams, of_head = case.given.shape[0], kind.channels // kind.heads
        squares = of_head * of_head
        random = np.random.default_rng(2)
        sums = random.uniform(-1, 1, (3, streams, kind.heads, squares + 2 * of_head))
        sums[..., squares:] = np.abs(sums[..., squares:])
        case.partial[:] = (sums * least * size[0] * size[1]).ravel()
        launch = case.fold()
        emulator.run(programs["tensor"], [launch], tmp_path)
        mean = sums.sum(axis=0) * least
        norms = np.sqrt(np.maximum(mean[..., squares:], 1e-12)).reshape(streams, kind.heads, 2, of_head)
        cosine = mean[..., :squares].reshape(streams, kind.heads, of_head, of_head)
        cosine = cosine / (norms[:, :, 0, :, None] * norms[:, :, 1, None, :])
        given = launch.buffers["weights"].view(np.float32).reshape(streams, kind.fold_floats)
        weights = np.exp(given[:, : kind.heads, None, None] * cosine)
        weights /= weights.sum(axis=-1, keepdims=True)
        for stream in range(streams):
            project = given[stream, kind.heads :].reshape(kind.channels, -1)
            if kind.apart:  # each half of the channels has its own
                zero = np.zeros_like(project[:16])
                project = np.block([[project[:16], zero], [zero, project[16:]]])
            attention = block_diag(*weights[stream])
            wanted = (project @ attention).T.astype(np.float32)
            if kind.apart:
                parts = [pack.fragments(wanted[at : at + 16, at : at + 16]) for at in (0, 16)]
                packed = np.concatenate([part.ravel() for part in parts])
            else:
                packed = pack.fragments(wanted).ravel()
            got = case.mixing.view(np.float16).reshape(streams, -1)[stream]
            np.testing.assert_allclose(got.astype(float), packed.astype(float), atol=1e-3, rtol=2e-3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [(1, 1), (37, 19)])
def test_the_ends_are_the_networks(
    programs: dict[str, Path], tmp_path: Path, path: str, size: tuple[int, int]
) -> None:
    random = np.random.default_rng(5)
    net, (width, height) = network(5), size
    pictures = random.integers(0, 256, (2, height, width), np.uint8)
    features = random.normal(size=(height, width, 32)).astype(np.float16)
    stems = np.full((2, height, width, 16), np.nan, np.float16)
    luma = np.full((height, width), np.nan, np.float32)
    emulator.run(
        programs[path], [stem_launch(net, pictures, stems), head_launch(net, features, luma)], tmp_path
    )
    with torch.no_grad():
        lumas = torch.from_numpy(pictures.astype(np.float32) / 255)[:, None, None]
        wanted = torch.cat((net.stem_infrared(lumas[0]), net.stem_visible(lumas[1])))
        x = torch.from_numpy(features.astype(np.float32)).permute(2, 0, 1)[None]
        end = torch.sigmoid(net.head2(F.leaky_relu(net.head1(x), 0.01)))[0, 0].numpy()
    assert_near(stems.astype(np.float32), wanted.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(luma, end, atol=TOLERANCE, rtol=0)


def test_the_sanitizers_look_on(programs: dict[str, Path], tmp_path: Path) -> None:
    short = BlockCase(ENCODER, (8, 16), (16, 16))
    short.given = short.given[:, :, :-1].copy()
    launch = short.apply()
    launch.parameters.width += 1
    with pytest.raises(emulator.EngineError, match="heap-buffer-overflow"):
        emulator.run(programs["tensor"], [launch], tmp_path)
