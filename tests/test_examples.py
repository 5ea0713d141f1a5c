"""The scripts that newcomers copy from do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.rig import Camera
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.plugins import open_plugin
from tdfusion_edge.runtime.sources.uri import parse

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
HEIGHT, WIDTH = 144, 160


def run(name: str, *arguments: object, code: int = 0, path: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}"},
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


@pytest.fixture
def genicam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """harvesters with a camera, and a package of the user's that has the example's source as entry point."""
    (tmp_path / "harvesters").mkdir()
    shutil.copy(Path(__file__).parent / "harvesters_fake.py", tmp_path / "harvesters" / "core.py")
    package = tmp_path / "my_cameras-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: my-cameras\nVersion: 1.0\n")
    point = "[tdfusion_edge.sources]\ngenicam = genicam_source:GenICamSource\n"
    (package / "entry_points.txt").write_text(point)
    for place in (EXAMPLES, tmp_path):
        monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    return tmp_path


def test_genicam_cameras_are_listed(genicam: Path) -> None:
    assert run("genicam_source.py", "maker.cti", path=genicam) == "16: Thermal 16\n"


def test_a_genicam_camera_is_a_source(genicam: Path) -> None:
    # Frames take 7, 3 and 9 ms to come; the camera's clock says nothing of ours.
    arrivals = iter([900_007_000_000, 900_023_000_000, 900_069_000_000])
    address = parse("genicam:///opt/maker.cti?serial=16")
    source = open_plugin("ir0", address, epoch_ns=0, clock=lambda: next(arrivals))
    frames = [source.read() for _ in range(3)]
    assert [frame and frame.sequence for frame in frames] == [7, 8, 10]
    assert [frame and int(frame.image[0, 0]) for frame in frames] == [1007, 1008, 1010]
    first, second, third = (frame.time_ns for frame in frames if frame)
    assert first == 900_007_000_000
    assert second == 900_023_000_000
    # The quickest is the measure of the next, up to the drift that clocks may have.
    assert abs(third - 900_063_000_000) <= 40_000_000 * 1e-4
    source.close()


def test_a_genicam_camera_in_colour_and_one_that_is_not_taken(genicam: Path) -> None:
    def read(serial: str) -> Frame | None:
        address = f"genicam:///opt/maker.cti?serial={serial}"
        with closing(open_source("vis0", Camera(uri=address), "visible", epoch_ns=0)) as source:
            return source.read()

    frame = read("rgb")
    assert frame is not None
    assert frame.image.tolist() == [[[30, 20, 10]] * 4] * 3
    with pytest.raises(SourceError, match="vis0 gives BayerRG8: expected Mono8, Mono16, BGR8, RGB8"):
        read("bayer")
    with pytest.raises(SourceError, match="vis0 is silent"):
        read("none")
    with pytest.raises(SourceError, match=r"plug-in genicam of my-cameras 1\.0 failed to open"):
        open_source("vis0", Camera(uri="genicam:///opt/none"), "visible", epoch_ns=0)


def test_a_genicam_camera_is_set_up_as_far_as_it_lets_itself(genicam: Path) -> None:
    from harvesters.core import CREATED  # type: ignore[import-not-found]

    address = "genicam:///opt/maker.cti?serial=16"
    open_source("ir0", Camera(uri=f"{address}&size=4x3", fps=25), "infrared", epoch_ns=0).close()
    nodes = CREATED[-1].remote_device.node_map
    assert (nodes.Width.value, nodes.Height.value, nodes.AcquisitionFrameRate.value) == (4, 3, 25)
    assert nodes.AcquisitionFrameRateEnable.value is True
    with pytest.raises(SourceError, match=r"failed to open ir0: ValueError: 100\.0 is out of range 1 to 60"):
        open_source("ir0", Camera(uri=address, fps=100), "infrared", epoch_ns=0)
    for options in ("size=4x3", "fps=9"):
        with pytest.raises(RequestError, match=r"this camera has no (Width|AcquisitionFrameRate)"):
            open_source(
                "vis0", Camera(uri=f"genicam:///opt/maker.cti?serial=rgb&{options}"), "visible", epoch_ns=0
            )


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
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 71
        assert f'run("{path.name}"' in Path(__file__).read_text(encoding="utf-8")
