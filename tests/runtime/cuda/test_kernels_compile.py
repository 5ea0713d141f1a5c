"""All kernels for all GPUs by nvcc, which needs none; and the binaries of an installation."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda import build as building
from tdfusion_edge.runtime.engines.cuda.binaries import (
    FOLDER,
    MANIFEST,
    Binary,
    image_for,
    manifest,
    manifest_with,
    ptx_for,
    sources_digest,
)
from tdfusion_edge.runtime.engines.cuda.build import TARGETS, build, known_targets, main, version_of
from tdfusion_edge.runtime.engines.cuda.restormer.plan import (
    HEAD_KERNEL,
    HEAD_SHARED_BYTES,
    KINDS,
    RESIDENT,
)
from tdfusion_edge.runtime.engines.cuda.restormer.plan import THREADS as BLOCK_THREADS
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS, TILES, Limits, plan

NVCC = shutil.which("nvcc")
MULTIPROCESSOR = 65_536
"""Registers; so many in all supported GPUs."""
MOST_REGISTERS = {
    # Two blocks of 256 threads with either pass over a block of F.
    **{
        (f"gram_{kind.name}_{h}x{w}", sm): 128 for kind in KINDS for h, w in kind.gram_tiles for sm in TARGETS
    },
    **{
        (f"apply_{kind.name}_{h}x{w}", sm): 128
        for kind in KINDS
        for h, w in kind.apply_tiles
        for sm in TARGETS
    },
    **{(f"fold_{kind.name}", sm): 64 for kind in KINDS for sm in TARGETS},
    **{("stem", sm): 64 for sm in TARGETS},
    **{(HEAD_KERNEL, sm): 80 for sm in TARGETS},
    # Three blocks of 256 threads fit a multiprocessor of the Ampere and Ada generations, two any other.
    **{(tile.kernel, sm): 80 if 80 <= sm < 90 else 96 for tile in TILES for sm in TARGETS},
    **{(name, sm): 96 for name in ("edge_unit", "edge_unit_plain") for sm in TARGETS},
    **{(name, sm): 64 for name in ("thermal", "boxes", "shrink") for sm in TARGETS},
}
MOST_SHARED = {
    75: 65_536,
    80: 166_912,
    86: 101_376,
    87: 166_912,
    89: 101_376,
    90: 232_448,
    110: 232_448,
    120: 101_376,
}
"""Bytes that a block may take: CUDA C++ Programming Guide, "Compute Capabilities"."""


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="no nvcc to compile the kernels with")
def test_all_kernels_compile_for_all_gpus_without_spills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert NVCC is not None
    folder = tmp_path / "kernels"
    folder.mkdir()
    for path in (*FOLDER.glob("*.cu"), *FOLDER.glob("*.h")):
        shutil.copy(path, folder)
    seen: list[building.Resources] = []
    compiled = building.compile_kernels

    def noted(*args: object, **named: object) -> tuple[building.Resources, ...]:
        found = compiled(*args, **named)  # type: ignore[arg-type]
        seen.extend(found)
        return found

    monkeypatch.setattr(building, "compile_kernels", noted)
    targets = known_targets(NVCC)
    binary = build(NVCC, folder)
    assert binary.targets == targets
    assert {(one.kernel, one.target) for one in seen} == {key for key in MOST_REGISTERS if key[1] in targets}
    over = [one for one in seen if one.registers > MOST_REGISTERS[one.kernel, one.target] or one.spilled]
    assert over == []
    major, minor = version_of(NVCC)
    raw = image_for((major, minor), 87, folder)
    ptx = {capability: ptx_for((major, minor), capability, folder) for capability in (75, 87, 120)}
    assert ptx[87] == ptx[120] != ptx[75]
    assert b".target sm_80" in ptx[87]
    assert b"mma.sync" in ptx[87]
    assert b"mma.sync" not in ptx[75]
    for (
        text
    ) in ptx.values():  # the parameters stand side by side, and no more shared memory than any GPU gives
        assert re.search(rb"\.entry edge_unit_plain\((?:\s*\.param[^,)]*,){5}\s*\.param[^,)]*\)", text)
    (folder / binary.ptx[0].file).write_bytes(b"other")
    with pytest.raises(EngineError, match="changed since it was compiled"):
        ptx_for((major, minor), 75, folder)
    damaged = folder / binary.file
    damaged.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(EngineError, match="changed since it was compiled"):
        image_for((major, minor), 87, folder)
    damaged.write_bytes(raw)
    (folder / "edge.cu").write_text((folder / "edge.cu").read_text() + "\n")
    with pytest.raises(EngineError, match="of other sources"):
        image_for((major, minor), 87, folder)


def test_blocks_fit_the_gpus() -> None:
    for sm, most in MOST_SHARED.items():
        fitting = [tile for tile in TILES if tile.shared_bytes <= most]
        assert len(fitting) >= (2 if sm == 75 else 3), sm
        # Two blocks share a multiprocessor, which has 1 KB more than a block may take.
        assert any(2 * (tile.shared_bytes + 1024) <= most + 1024 for tile in fitting) or sm == 75
    assert all(MULTIPROCESSOR // (THREADS * most) >= 2 for (_, _), most in MOST_REGISTERS.items())


def test_blocks_of_f_fit_the_gpus() -> None:
    most_registers = max(most for (name, _), most in MOST_REGISTERS.items() if name[:4] in ("gram", "appl"))
    assert MULTIPROCESSOR // (BLOCK_THREADS * most_registers) == RESIDENT
    for sm, most in MOST_SHARED.items():
        assert most >= HEAD_SHARED_BYTES
        for kind in KINDS:
            assert kind.fold_shared_bytes <= 48 << 10  # what every kernel may take without being asked
            assert all(kind.gram_shared_bytes(*tile) <= most for tile in kind.gram_tiles), sm
            fitting = [tile for tile in kind.apply_tiles if kind.apply_shared_bytes(*tile) <= most]
            assert len(fitting) >= (1 if sm == 75 else 2), sm
            # On Orin, A100, H100 and Thor the larger one too fits a multiprocessor twice.
            largest = max(kind.apply_shared_bytes(*tile) for tile in kind.apply_tiles)
            assert RESIDENT * (largest + 1024) <= most + 1024 or sm in (75, 86, 89, 120)


@pytest.mark.parametrize("size", [(640, 480), (75, 53), (1920, 1080), (2, 2)])
@pytest.mark.parametrize("multiprocessors", [8, 16, 132])
def test_a_plan_fills_the_gpu_and_no_more(size: tuple[int, int], multiprocessors: int) -> None:
    planned = plan(*size, Limits(multiprocessors, 166_912, 167_936, 1536))
    tiles = planned.tile.tiles_of(*size)
    assert 1 <= planned.blocks <= min(tiles, planned.resident * multiprocessors)
    assert planned.resident * planned.tile.shared_bytes <= 167_936
    with pytest.raises(EngineError, match="too little shared memory"):
        plan(*size, Limits(multiprocessors, 32_768, 32_768, 1536))


def entry(name: str, cuda: tuple[int, int], raw: bytes, folder: Path) -> Binary:
    import hashlib

    (folder / name).write_bytes(raw)
    digest = hashlib.sha256(raw).hexdigest()
    binary = Binary(file=name, sha256=digest, cuda=cuda, targets=(75, 87), sources=sources_digest(folder))
    manifest_with(binary, folder)
    return binary


def test_the_driver_decides_which_set_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no compiled kernels.*\n.*nvcc"):
        image_for((13, 0), 87, tmp_path)
    entry("kernels-cuda13.fatbin", (13, 0), b"thirteen", tmp_path)
    with pytest.raises(EngineError, match="newer driver"):
        image_for((12, 6), 87, tmp_path)
    entry("kernels-cuda12.fatbin", (12, 6), b"twelve", tmp_path)
    assert image_for((12, 6), 87, tmp_path) == b"twelve"
    assert image_for((13, 1), 87, tmp_path) == b"thirteen"
    assert image_for((14, 0), 120, tmp_path) == b"thirteen"
    with pytest.raises(EngineError, match="too old"):
        image_for((13, 0), 72, tmp_path)
    assert [one.file for one in manifest(tmp_path).binaries] == [
        "kernels-cuda12.fatbin",
        "kernels-cuda13.fatbin",
    ]
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode({"binaries": [{"file": "x"}]}))
    with pytest.raises(EngineError, match="cannot be read"):
        image_for((13, 0), 87, tmp_path)


def test_without_nvcc_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nvcc", "/nowhere/nvcc"]) == 1
    said = capsys.readouterr().err
    assert "/nowhere/nvcc cannot be run" in said
    assert "--nvcc" in said
