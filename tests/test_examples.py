"""The scripts that newcomers copy from do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
HEIGHT, WIDTH = 144, 160


def run(name: str, *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def pair(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A warm disc in 16-bit infrared; stripes in colour in visible."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    warm = (x - 40 - 10 * number) ** 2 + (y - 70) ** 2 < 400
    stripes = (100 + 60 * np.sin(x / (3 + number))).astype(np.uint8)
    return np.where(warm, 9000, 7000).astype(np.uint16), np.dstack((stripes, stripes // 2, stripes))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ir/`` and ``vi/``; infrared of 8 bits, as a training wants it."""
    folder = tmp_path_factory.mktemp("own") / "pairs"
    for part in ("ir", "vi"):
        (folder / part).mkdir(parents=True)
    for number in range(10):
        infrared, visible = pair(number)
        cv2.imwrite(str(folder / "ir" / f"{number}.png"), (infrared >> 6).astype(np.uint8))
        cv2.imwrite(str(folder / "vi" / f"{number}.png"), visible)
    return folder


def test_two_arrays_are_fused(tmp_path: Path) -> None:
    infrared, visible = pair(0)
    cv2.imwrite(str(tmp_path / "ir.png"), infrared)
    cv2.imwrite(str(tmp_path / "vis.png"), visible)
    run("fuse_arrays.py", tmp_path / "ir.png", tmp_path / "vis.png", tmp_path / "fused.png")
    fused = cv2.imread(str(tmp_path / "fused.png"))
    assert fused is not None
    assert fused.shape == visible.shape
    luma = fused.mean(axis=2)
    assert luma[60:80, 30:50].mean() > luma[100:140].mean()  # the disc, which visible does not show


def test_a_picture_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    told = run("fuse_arrays.py", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png", code=2)
    assert "cannot be read" in told
    assert "Traceback" not in told


def test_a_function_is_called_with_every_picture(tmp_path: Path) -> None:
    still = "frames=5&realtime=0"
    told = run("stream_callback.py", f"sim://ir?{still},sim://vis?{still}", tmp_path / "people")
    counts = [int(people) for people in re.findall(r"^picture \d+: (\d+) people$", told, re.MULTILINE)]
    assert len(counts) == 5
    kept = sorted(path.name for path in (tmp_path / "people").iterdir())
    assert kept == [f"{index:06d}.png" for index, people in enumerate(counts) if people]
    assert kept  # people walk in the simulated street


@pytest.mark.slow
def test_own_pairs_become_a_bundle(pairs: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    told = run("train_own_pairs.py", pairs, tmp_path / "run", "--steps", 4)
    best = tmp_path / "run" / "best.safetensors"
    assert f"best checkpoint: {best}" in told
    bundle = tmp_path / "bundle"
    told = run("export_and_verify.py", best, bundle, pairs / "ir" / "0.png", pairs / "vi" / "0.png")
    assert (bundle / "manifest.json").is_file()
    assert "fusion in fp16 against fp32: largest error " in told
    levels = re.search(r"on your pair: (\d+) grey levels at most", told)
    assert levels is not None
    assert int(levels[1]) <= 2


def test_every_example_is_short_and_in_this_test() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 55
        assert f'run("{path.name}"' in Path(__file__).read_text(encoding="utf-8")
