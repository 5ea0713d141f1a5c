from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from tdfusion_edge.runtime.rig import SIMULATED, Camera, Rig
from tdfusion_edge.runtime.sources.listing import (
    ENUM_FMT,
    ENUM_FRAMEINTERVALS,
    ENUM_FRAMESIZES,
    QUERYCAP,
    CameraInfo,
    Format,
    Mode,
    cameras,
    device_nodes,
)

U32 = ctypes.c_uint32


class Capability(ctypes.Structure):
    """struct v4l2_capability of the kernel's user-space interface."""

    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", U32),
        ("capabilities", U32),
        ("device_caps", U32),
        ("reserved", U32 * 3),
    )


class Fmtdesc(ctypes.Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = (
        ("index", U32),
        ("type", U32),
        ("flags", U32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", U32),
        ("mbus_code", U32),
        ("reserved", U32 * 3),
    )


class Frmsizeenum(ctypes.Structure):
    """struct v4l2_frmsizeenum; ``u`` is the union of discrete (2) and stepwise (6 numbers)."""

    _fields_ = (("index", U32), ("pixel_format", U32), ("type", U32), ("u", U32 * 6), ("reserved", U32 * 2))


class Frmivalenum(ctypes.Structure):
    """struct v4l2_frmivalenum; ``u`` is the union of discrete (1) and stepwise (3 fractions)."""

    _fields_ = (
        ("index", U32),
        ("pixel_format", U32),
        ("width", U32),
        ("height", U32),
        ("type", U32),
        ("u", U32 * 6),
        ("reserved", U32 * 2),
    )


def fourcc(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


class Driver:
    """Answers ioctls as the driver of a thermal camera, or of its metadata node, would."""

    def __init__(self, *, captures: bool = True, planes: bool = False) -> None:
        self.captures, self.planes = captures, planes

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        layout = {
            QUERYCAP: Capability,
            ENUM_FMT: Fmtdesc,
            ENUM_FRAMESIZES: Frmsizeenum,
            ENUM_FRAMEINTERVALS: Frmivalenum,
        }[request]
        row = layout.from_buffer(buffer)
        if isinstance(row, Capability):
            node = 0x1000 if self.planes else 0x1
            row.card = b"Boson: FLIR Video"
            row.capabilities = 0x80000000 | 0x1 | 0x800000
            row.device_caps = node if self.captures else 0x800000
        elif isinstance(row, Fmtdesc):
            self.format(row)
        elif isinstance(row, Frmsizeenum):
            self.size(row)
        else:
            self.interval(row)
        return 0

    def format(self, row: Fmtdesc) -> None:
        kind = 9 if self.planes else 1
        if row.type != kind or row.index > 1:
            raise OSError(errno.EINVAL, "")
        row.description = (b"16-bit Greyscale", b"Planar YUV 4:2:0")[row.index]
        row.pixelformat = (fourcc("Y16 "), fourcc("YU12"))[row.index]

    def size(self, row: Frmsizeenum) -> None:
        if row.pixel_format == fourcc("Y16 "):
            if row.index > 1:
                raise OSError(errno.EINVAL, "")
            row.type = 1
            row.u[0:2] = ((640, 512), (320, 256))[row.index]
        else:
            row.type = 3  # a range, given again for every index as some drivers do
            row.u[0:6] = (160, 1280, 2, 120, 1024, 4)

    def interval(self, row: Frmivalenum) -> None:
        if row.pixel_format == fourcc("Y16 "):
            if row.index > 1:
                raise OSError(errno.EINVAL, "")
            row.type = 1
            row.u[0:2] = ((1, 30), (1, 60))[row.index]
        else:
            row.type = 2
            row.u[0:6] = (1001, 30000, 1, 5, 0, 0)


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, Path]:
    """Two nodes, the second with a number of two digits."""
    sysfs, dev = tmp_path / "video4linux", tmp_path / "dev"
    dev.mkdir()
    for node, name in [("video10", "Boson"), ("video2", "Webcam")]:
        (sysfs / node).mkdir(parents=True)
        (sysfs / node / "name").write_text(f"{name}\n")
        (dev / node).write_bytes(b"")
    (sysfs / "v4l-subdev0").mkdir()
    return {"sysfs": sysfs, "dev": dev}


def test_request_codes_are_those_of_the_kernel() -> None:
    # As <linux/videodev2.h> gives them on every architecture that numbers ioctls alike (x86, arm).
    assert QUERYCAP == 0x80685600
    assert ENUM_FMT == 0xC0405602
    assert ENUM_FRAMESIZES == 0xC02C564A
    assert ENUM_FRAMEINTERVALS == 0xC034564B


@pytest.mark.parametrize("planes", [False, True])
def test_a_camera_is_listed_with_its_formats(machine: dict[str, Path], planes: bool) -> None:
    found = cameras(**machine, ioctl=Driver(planes=planes))
    dev = machine["dev"]
    assert [info.address for info in found] == [f"v4l2://{dev}/video2", f"v4l2://{dev}/video10"]
    assert found[1] == CameraInfo(
        name="Boson: FLIR Video",
        address=f"v4l2://{dev}/video10",
        in_rig=False,
        problem=None,
        formats=(
            Format("Y16", "16-bit Greyscale", (Mode(640, 512, (60.0, 30.0)), Mode(320, 256, (60.0, 30.0)))),
            Format(
                "YU12", "Planar YUV 4:2:0", (Mode(160, 120, (29.97, 5.0)), Mode(1280, 1024, (29.97, 5.0)))
            ),
        ),
    )


def test_a_node_without_video_is_left_out(machine: dict[str, Path]) -> None:
    assert cameras(**machine, ioctl=Driver(captures=False)) == []


def test_a_device_that_cannot_be_opened_or_asked_says_why(machine: dict[str, Path]) -> None:
    (machine["dev"] / "video2").unlink()

    def refuse(descriptor: int, request: int, buffer: bytearray) -> int:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    found = cameras(**machine, ioctl=refuse)
    assert [(info.name, info.problem) for info in found] == [
        ("Webcam", "No such file or directory"),
        ("Boson", "Inappropriate ioctl for device"),
    ]


def test_a_plain_file_is_no_camera_for_the_real_ioctl(machine: dict[str, Path]) -> None:
    assert all(info.problem for info in cameras(**machine))


def test_a_machine_without_cameras_lists_none(tmp_path: Path) -> None:
    assert device_nodes(sysfs=tmp_path / "none") == []
    assert cameras(sysfs=tmp_path / "none") == []


def test_the_rigs_cameras_come_first_and_say_what_is_wrong(machine: dict[str, Path], tmp_path: Path) -> None:
    dev = machine["dev"]
    (tmp_path / "by-id").symlink_to(dev / "video10")
    rig = Rig(
        cameras={
            "gone": Camera(uri="v4l2:///dev/no-such-video"),
            "ir0": Camera(uri=f"v4l2://{tmp_path}/by-id?format=Y16"),
            "net": Camera(uri="rtsp://admin:pa/ss@cam/1"),
            "tape": Camera(uri=str(tmp_path / "none.mkv")),
            "vis": Camera(uri=str(tmp_path)),
        }
    )
    found = cameras(rig, **machine, ioctl=Driver())
    named, devices = found[:5], found[5:]
    assert [info.name for info in named] == ["gone", "ir0", "net", "tape", "vis"]
    assert [info.in_rig for info in found] == [True] * 5 + [False] * 2
    assert [info.problem for info in named[:2]] == ["there is no such camera", None]
    assert named[1].formats == devices[1].formats != ()
    assert named[2].address == "rtsp://***@cam/1"
    assert "its host cannot be read" in (named[2].problem or "")
    assert "pa/ss" not in repr(found)
    assert [info.problem for info in named[3:]] == ["no such file or folder", None]


def test_the_simulated_cameras_can_always_be_opened(tmp_path: Path) -> None:
    found = cameras(SIMULATED, sysfs=tmp_path / "none")
    assert [(info.name, info.problem) for info in found] == [("ir0", None), ("vis0", None)]
