from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.rig import Camera, Crop
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.crop import taken_from
from tdfusion_edge.runtime.sources.uri import parse

TALL = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40)
"""A thermal picture of 40x24 below one of telemetry."""


@pytest.fixture
def tall(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "0.png"), TALL)
    return tmp_path


def test_a_part_of_every_frame_is_taken_by_the_rig(tall: Path) -> None:
    camera = Camera(uri=str(tall), crop=Crop(left=2, top=24, width=38, height=24), offset_ms=3)
    frame = open_source("ir0", camera, "infrared", epoch_ns=0).read()
    assert frame is not None
    assert np.array_equal(frame.image, TALL[24:, 2:])
    assert frame.image.flags.c_contiguous
    assert frame.time_ns == 3_000_000


@pytest.mark.parametrize("plus", ["+", "%2B"])
def test_a_part_of_every_frame_is_taken_by_the_address(tall: Path, plus: str) -> None:
    camera = Camera(uri=f"file://{tall}?crop=38x24{plus}2{plus}24&fps=5")
    frame = open_source("ir0", camera, "infrared", epoch_ns=0).read()
    assert frame is not None
    assert np.array_equal(frame.image, TALL[24:, 2:])


def test_a_simulation_never_sees_the_option() -> None:
    uri, crop = taken_from(parse("sim://ir?seed=3&crop=64x32+0+0"), None)
    assert (str(uri), crop) == ("sim://ir?seed=3", Crop(width=64, height=32))


@pytest.mark.parametrize("crop", [Crop(width=41, height=1), Crop(top=47, width=1, height=2)])
def test_a_part_that_is_not_there_is_refused(tall: Path, crop: Crop) -> None:
    source = open_source("ir0", Camera(uri=str(tall), crop=crop), "infrared", epoch_ns=0)
    with pytest.raises(RequestError, match="the crop is larger than the picture") as caught:
        source.read()
    assert caught.value.expected == "a part of 40x48"


@pytest.mark.parametrize("text", ["", "40x24", "0x24+0+0", "40x24+0", "40,24,0,0", "-4x4+0+0", "4x4+-1+0"])
def test_a_part_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="bad crop"):
        taken_from(parse(f"v4l2:///dev/video0?crop={text}"), None)


def test_a_part_stands_in_one_place() -> None:
    uri = parse("v4l2:///dev/video0?crop=4x3+2+1&format=Y16")
    crop = Crop(left=2, top=1, width=4, height=3)
    assert taken_from(uri, crop) == taken_from(uri, None) == (parse("v4l2:///dev/video0?format=Y16"), crop)
    with pytest.raises(RequestError, match="crop is given twice"):
        taken_from(uri, Crop(width=4, height=3))


def test_a_rig_describes_the_part_and_pictures_have_its_size(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    text = """
[cameras.ir0]
uri = "v4l2:///dev/video2?format=Y16"
[cameras.vis0]
uri = "v4l2:///dev/video0"
size = [640, 490]
crop = {width = 640, height = 480}
"""
    path.write_text(text)
    assert rig.read(path).cameras["vis0"].crop == Crop(left=0, top=0, width=640, height=480)
    assert choose_cameras("ir0,vis0", path).visible_size == (640, 480)
    path.write_text(text.replace("height = 480", "heigth = 480"))
    with pytest.raises(ConfigError, match="heigth"):
        rig.read(path)
