"""The layouts of the reader against the header that the kernel ships, by a C compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from tdfusion_edge.runtime.sources import listing
from tdfusion_edge.runtime.sources.video4linux import layouts

STRUCTS = {
    "v4l2_capability": layouts.Capability,
    "v4l2_pix_format": layouts.PixFormat,
    "v4l2_format": layouts.Format,
    "v4l2_fract": layouts.Fraction,
    "v4l2_streamparm": layouts.StreamParameter,
    "v4l2_requestbuffers": layouts.RequestBuffers,
    "timeval": layouts.Timeval,
    "v4l2_buffer": layouts.Buffer,
    "v4l2_queryctrl": layouts.Queryctrl,
    "v4l2_querymenu": layouts.Querymenu,
    "v4l2_control": layouts.Control,
}
INNER = {
    ("v4l2_format", "pix"): "fmt.pix",
    ("v4l2_streamparm", "capability"): "parm.capture.capability",
    ("v4l2_streamparm", "capturemode"): "parm.capture.capturemode",
    ("v4l2_streamparm", "timeperframe"): "parm.capture.timeperframe",
    ("v4l2_streamparm", "extendedmode"): "parm.capture.extendedmode",
    ("v4l2_streamparm", "readbuffers"): "parm.capture.readbuffers",
    ("v4l2_buffer", "offset"): "m.offset",
}
"""Where a field of ours lies in a union of the header."""
OURS = ("padding", "rest")
"""Fields that only fill."""
NUMBERS = {
    **{f"VIDIOC_{name}": getattr(layouts, name) for name in (
        "QUERYCAP", "G_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF",
        "G_PARM", "S_PARM", "S_CTRL", "QUERYCTRL", "QUERYMENU",
    )},
    **{f"VIDIOC_{name}": getattr(listing, name) for name in (
        "ENUM_FMT", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS",
    )},
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": layouts.VIDEO_CAPTURE,
    "V4L2_MEMORY_MMAP": layouts.MEMORY_MMAP,
    "V4L2_CAP_VIDEO_CAPTURE": layouts.CAN_CAPTURE,
    "V4L2_CAP_STREAMING": layouts.CAN_STREAM,
    "V4L2_BUF_FLAG_ERROR": layouts.BUFFER_ERROR,
    "V4L2_CTRL_FLAG_DISABLED": layouts.CONTROL_DISABLED,
    "V4L2_CTRL_FLAG_READ_ONLY": layouts.CONTROL_READ_ONLY,
    "V4L2_CID_EXPOSURE_AUTO": layouts.EXPOSURE_AUTO,
    "V4L2_CID_EXPOSURE_ABSOLUTE": layouts.EXPOSURE_ABSOLUTE,
    "V4L2_CID_AUTOGAIN": layouts.AUTOGAIN,
    "V4L2_CID_GAIN": layouts.GAIN,
    "V4L2_EXPOSURE_MANUAL": 1,
    "V4L2_EXPOSURE_APERTURE_PRIORITY": 3,
    "V4L2_EXPOSURE_AUTO": 0,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc: apt-get install gcc")
@pytest.mark.skipif(
    not Path("/usr/include/linux/videodev2.h").is_file(), reason="no header: apt-get install linux-libc-dev"
)
def test_sizes_offsets_and_numbers_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    ours: dict[str, int] = {}
    lines = []
    for name, layout in STRUCTS.items():
        ours[name] = ctypes.sizeof(layout)
        lines.append(f'say("{name}", sizeof(struct {name}));')
        for field in layout._fields_:
            if field[0] not in OURS:
                key = f"{name}.{field[0]}"
                ours[key] = getattr(layout, field[0]).offset
                place = INNER.get((name, field[0]), field[0])
                lines.append(f'say("{key}", offsetof(struct {name}, {place}));')
    for name, number in NUMBERS.items():
        ours[name] = number
        lines.append(f'say("{name}", {name});')
    source = tmp_path / "told.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <sys/time.h>\n#include <linux/videodev2.h>\n"
        'static void say(const char *name, unsigned long v) { printf("%s %lu\\n", name, v); }\n'
        "int main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n"
    )
    program = tmp_path / "told"
    subprocess.run(["gcc", "-o", program, source], check=True)
    told = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    theirs = {name: int(number) for name, number in (line.split() for line in told.splitlines())}
    assert len(theirs) > 100
    assert ours == theirs
