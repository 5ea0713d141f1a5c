"""The doctor opens every live camera of the rig, and says what is wrong with its pictures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_edge.cli import main
from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.commands.camera_checkup import look, looks
from tdfusion_edge.runtime.commands.checkup import Check
from tdfusion_edge.runtime.picture.judge import judge
from tdfusion_edge.runtime.sources.base import Source

V4L2 = rig.Camera(uri="v4l2:///dev/video7", role="visible")


def scene(number: int, channels: int = 3, dtype: type = np.uint8) -> Image:
    """A picture with structure and a sensor's noise, another one for each number."""
    ramp = np.linspace(30, 200, 64)[None, :, None] * np.ones((48, 1, channels))
    noise = np.random.default_rng(number).normal(0, 3, ramp.shape)
    return np.squeeze((ramp + noise).clip(0, 255).astype(dtype))


class Lent:
    """A camera that gives these pictures at 25 Hz, and then none."""

    live = True

    def __init__(self, pictures: Sequence[Image]) -> None:
        self.name, self._pictures, self._next, self.closed = "lent", list(pictures), 0, False

    def read(self) -> Frame | None:
        if self._next == len(self._pictures):
            raise SourceError("camera lent is silent", expected="a frame within 5 s", got="none")
        self._next += 1
        return Frame(self._pictures[self._next - 1], self._next * 40_000_000, self._next, "lent")

    def close(self) -> None:
        self.closed = True


def opening(source: Source) -> Callable[[str, rig.Camera, rig.Role], Source]:
    return lambda name, camera, role: source


def looked(pictures: Sequence[Image], camera: rig.Camera = V4L2) -> Check:
    source = Lent(pictures)
    check = look("cam", camera, camera.role, opening(source))
    assert source.closed
    return check


def frames(pictures: Sequence[Image]) -> list[Frame]:
    return [Frame(image, number, number, "x") for number, image in enumerate(pictures)]


def test_a_camera_that_works_is_ok_and_its_rate_is_told() -> None:
    check = looked([scene(number) for number in range(20)])
    assert check == Check("look: cam", "ok", "64x48 uint8, colour, 25.0 a second")


def yuv_of_nothing() -> Image:
    """What a converter makes of a buffer of zeros in NV12: the green that people meet."""
    return cv2.cvtColor(np.zeros((72, 64), np.uint8), cv2.COLOR_YUV2BGR_NV12)


def luma_alone() -> Image:
    """A picture whose chroma planes are zero."""
    nv12 = np.zeros((72, 64), np.uint8)
    nv12[:48] = scene(0, 1)
    return cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((48, 64, 3), np.uint8), "black all over"),
        (np.full((48, 64, 3), 255, np.uint8), "white all over"),
        (yuv_of_nothing(), "green all over"),
        (np.full((48, 64, 3), (200, 40, 40), np.uint8), "one colour all over"),
        (np.full((48, 64), 7812, np.uint16), "one count all over (7812)"),
        (scene(1), "frozen"),
    ],
)
def test_what_is_wrong_with_a_picture_is_said_with_a_command(picture: Image, words: str) -> None:
    check = looked([picture] * 20)
    assert check.status == "broken"
    assert words in check.found
    assert check.fix is not None
    assert "/dev/video7" in check.fix


def test_a_picture_without_chroma_is_green() -> None:
    wrong = judge(frames([luma_alone(), luma_alone()]), "visible")
    assert wrong is not None
    assert wrong.startswith("green")


def test_a_meadow_is_not() -> None:
    meadow = scene(4)
    meadow[..., 0], meadow[..., 2] = meadow[..., 1] // 3, meadow[..., 1] // 2
    assert judge(frames([meadow, scene(5)]), "visible") is None


def test_sixteen_bits_of_a_visible_camera_are_told() -> None:
    counts = [scene(number, 1).astype(np.uint16) * 30 for number in range(3)]
    wrong = judge(frames(counts), "visible")
    assert wrong is not None
    assert "16 bits" in wrong
    assert judge(frames(counts), "infrared") is None


def test_a_camera_that_is_silent_after_its_first_frames_is_broken() -> None:
    check = looked([scene(0)] * 3)
    assert (check.status, check.found) == (
        "broken",
        "camera lent is silent: expected a frame within 5 s, got none",
    )


def test_a_driver_that_hangs_does_not_take_the_doctor_with_it() -> None:
    never = threading.Event()

    def hang(name: str, camera: rig.Camera, role: rig.Role) -> Source:
        never.wait()
        raise AssertionError

    check = look("cam", V4L2, None, hang, patience_s=-2.9)
    never.set()
    assert check.status == "broken"
    assert "hangs" in check.found


def test_what_a_library_raises_becomes_a_row_without_credentials() -> None:
    def fail(name: str, camera: rig.Camera, role: rig.Role) -> Source:
        raise RuntimeError("cannot open rtsp://root:hunter2@10.1.2.3/live")

    check = look("cam", V4L2, None, fail)
    assert check.status == "broken"
    assert "hunter2" not in check.found


def test_simulated_cameras_and_recordings_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(
        '[cameras.ir0]\nuri = "sim://ir"\n[cameras.walk]\nuri = "walk.mp4"\n'
        '[cameras.vis0]\nuri = "v4l2:///dev/video7"\nrole = "visible"\n'
    )
    source = Lent([scene(number) for number in range(20)])
    rows = list(looks(path, opening(source)))
    assert [row.name for row in rows] == ["look: vis0"]


def test_the_command_looks_unless_told_not_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rig.toml"
    path.write_text('[cameras.vis0]\nuri = "v4l2:///dev/video-of-nobody"\nrole = "visible"\n')
    main(["doctor", "--rig", str(path), "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    assert "there is no camera /dev/video-of-nobody" in rows["look: vis0"]["found"]
    main(["doctor", "--rig", str(path), "--json", "--no-look"])
    assert "look: vis0" not in capsys.readouterr().out
