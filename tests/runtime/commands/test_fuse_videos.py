"""``tdfusion-edge fuse`` of two videos: which frames become pairs, and what is said of the others."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import GREY16, MIRRORS, MKV, MP4, QUARTERS, TS, Kind, bars, hold, number_in, record

from tdfusion_edge.cli import main
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.pipeline.files import PLAIN, Pairing, fuse_videos
from tdfusion_edge.video.reader import VideoReader


def fuse(*arguments: object, bundle: Path) -> int:
    options = ["--bundle", str(bundle), "--stretch", "none", "--range", "camera"]
    return main(["fuse", *map(str, arguments), *options])


def read(path: Path) -> list[tuple[int, float]]:
    """Number and milliseconds of every frame."""
    reader = VideoReader(path)
    frames = list(iter(reader.read, None))
    reader.close()
    return [(number_in(frame.image), frame.time_ns / 1e6) for frame in frames]


def rig_file(folder: Path, text: str) -> Path:
    path = folder / "rig.toml"
    path.write_text(text)
    return path


def later(ms: float, count: int = 12) -> list[int]:
    return [round(ms * 90) + 3000 * index for index in range(count)]


def test_joined_recordings_are_fused_whole(tmp_path: Path, mean_bundle_path: Path) -> None:
    paths = []
    for name in ("ir", "vis"):
        piece = record(tmp_path / name, TS, count=12)
        piece.write_bytes(piece.read_bytes() * 2)
        paths.append(piece)
    out = tmp_path / "out.mkv"
    assert fuse(*paths, "-o", out, bundle=mean_bundle_path) == 0
    assert [number for number, _ in read(out)] == list(range(12)) * 2


def test_a_sound_track_changes_no_pair(tmp_path: Path, mean_bundle_path: Path) -> None:
    infrared, out = record(tmp_path / "ir", MP4, count=12), tmp_path / "out.mkv"
    visible = record(tmp_path / "vis", MKV, later(23), sound_from=0)
    assert fuse(infrared, visible, "-o", out, bundle=mean_bundle_path) == 0
    assert [number for number, _ in read(out)] == list(range(12))  # the mean of n and n


@pytest.mark.parametrize("turn", [90, 180])
def test_a_turned_visible_video_is_fused_upright(tmp_path: Path, mean_bundle_path: Path, turn: int) -> None:
    infrared = record(tmp_path / "ir", MKV, count=5)
    lying = [np.rot90(bars(number), turn // 90) for number in range(5)]
    visible = hold(record(tmp_path / "vis", MP4, pictures=lying), QUARTERS[turn])
    out = tmp_path / "out.mkv"
    assert fuse(infrared, visible, "-o", out, bundle=mean_bundle_path) == 0
    assert [number for number, _ in read(out)] == list(range(5))
    assert hold(visible, MIRRORS["left to right"]) == visible
    assert fuse(infrared, visible, "-o", out, bundle=mean_bundle_path) == 0


def test_every_layout_of_counts_gives_the_same_picture(tmp_path: Path, mean_bundle_path: Path) -> None:
    visible = record(tmp_path / "vis", MKV, count=4)
    seen = []
    for kind in (GREY16, Kind(".mkv", "ffv1", "gbrp16le"), Kind(".mov", "png", "rgb48be")):
        out = tmp_path / "out.mkv"
        infrared = record(tmp_path / "ir", kind, count=4)
        command = ["fuse", infrared, visible, "-o", out, "--bundle", mean_bundle_path, "--stretch", "none"]
        assert main([str(word) for word in command]) == 0
        seen.append(read(out))
    assert seen[0] == seen[1] == seen[2]
    assert [number for number, _ in seen[0]] == list(range(4))


def test_beginnings_that_differ_are_told_and_a_rig_sets_them_right(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared = record(tmp_path / "ir", MKV, later(0))
    visible = record(tmp_path / "vis", MKV, later(133))
    out = tmp_path / "out.mkv"
    assert fuse(infrared, visible, "-o", out, bundle=mean_bundle_path) == 0
    assert f"warning: {visible} begins 133 ms after {infrared} by their own clocks" in capsys.readouterr().err
    described = rig_file(
        tmp_path,
        '[cameras.ir]\nuri = "ir.mkv"\nrole = "infrared"\n[cameras.vis]\nuri = "vis.mkv"\noffset_ms = 133',
    )
    assert fuse(infrared, visible, "-o", out, "--rig", described, bundle=mean_bundle_path) == 0
    said = capsys.readouterr().err
    assert "warning" not in said
    assert f"4 frames of {infrared} have no partner" in said
    assert f"4 frames of {visible} have no partner" in said
    # Number n of visible was taken when n + 4 of infrared was: the mean shows the bits of both.
    assert len(read(out)) == 8


def test_the_tolerance_is_the_rigs_or_the_command_lines(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared, out = record(tmp_path / "ir", MKV, later(0)), tmp_path / "out.mkv"
    visible = record(tmp_path / "vis", MKV, [0, *(time + 270 for time in later(0)[1:])])  # 3 ms later
    strict = rig_file(tmp_path, "[cameras]\n[sync]\ntolerance_ms = 2")
    for options, pairs in (
        ((), 12),
        (("--tolerance-ms", "2"), 1),
        (("--rig", strict), 1),
        (("--rig", strict, "--tolerance-ms", "5"), 12),
    ):
        assert fuse(infrared, visible, "-o", out, *options, bundle=mean_bundle_path) == 0
        assert f"{pairs} fused" in capsys.readouterr().out
    for wrong in ("0", "-1", "nan", "inf", "1e305"):
        assert fuse(infrared, visible, "-o", out, "--tolerance-ms", wrong, bundle=mean_bundle_path) == 2
        assert "--tolerance-ms: expected more than 0" in capsys.readouterr().err
    pair = [tmp_path / "ir.png", tmp_path / "vis.png"]
    for path in pair:
        path.write_bytes(b"")
    assert fuse(*pair, "-o", tmp_path / "o.png", "--tolerance-ms", "5", bundle=mean_bundle_path) == 2
    assert "--tolerance-ms: expected two videos, got two pictures" in capsys.readouterr().err


def test_the_policy_of_a_rig_is_obeyed(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared, out = record(tmp_path / "ir", MKV, count=4), tmp_path / "out.mkv"
    visible = record(tmp_path / "vis", MKV, count=9)
    sync = "[cameras]\n[sync]\npolicy = "
    held = rig_file(tmp_path, f'{sync}"hold-last"')
    assert fuse(infrared, visible, "-o", out, "--rig", held, bundle=mean_bundle_path) == 0
    assert f"5 frames of {visible} are shown with an earlier infrared frame" in capsys.readouterr().err
    assert len(read(out)) == 9
    silent = rig_file(tmp_path, f'{sync}"single"\nsilent_ms = 50')
    assert fuse(infrared, visible, "-o", out, "--rig", silent, bundle=mean_bundle_path) == 0
    assert f"frames of {visible} are shown alone" in capsys.readouterr().err
    plain = rig_file(tmp_path, "[cameras]\n[sync]\nsilent_ms = 50")
    assert fuse(infrared, visible, "-o", out, "--rig", plain, bundle=mean_bundle_path) == 0
    assert f"5 frames of {visible} have no partner" in capsys.readouterr().err


def test_an_offset_of_no_camera_for_sure_is_refused(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [record(tmp_path / name, MKV, count=3) for name in ("ir", "vis")]
    unclear = rig_file(
        tmp_path, "".join(f'[cameras.{name}]\nuri = "x"\noffset_ms = 5\n' for name in ("a", "b"))
    )
    assert fuse(*paths, "-o", tmp_path / "out.mkv", "--rig", unclear, bundle=mean_bundle_path) == 2
    said = capsys.readouterr().err
    assert "the rig's camera a has offset_ms, but stands for no video" in said
    assert not (tmp_path / "out.mkv").exists()


def test_frames_that_are_late_are_told(tmp_path: Path, mean_bundle_path: Path) -> None:
    """Times that repeat, which no player minds, make the later frames late."""
    times = later(0)
    times[6] = times[5]
    with Fuser(mean_bundle_path, detect=False, stretch="none", range="camera") as fuser:
        infrared = record(tmp_path / "ir", MKV, later(0))
        visible = record(tmp_path / "vis", Kind(".mkv", "ffv1", "gray"), times)
        summary = fuse_videos(fuser, infrared, visible, tmp_path / "out.mkv", PLAIN, Pairing())
    assert f"1 frames of {visible} are not later than the one before" in summary.notes
    assert f"1 frames of {infrared} have no partner" in summary.notes
    assert summary.pictures == 11


def test_what_a_stretch_and_odd_pixels_do_to_the_shape_is_told_once(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared = record(tmp_path / "ir", MKV, pictures=[bars(number)[:, :64] for number in range(5)])
    visible = record(tmp_path / "vis", MP4, count=5, aspect=Fraction(16, 11))
    assert fuse(infrared, visible, "-o", tmp_path / "out.mkv", bundle=mean_bundle_path) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 2
    assert f"{visible} has pixels of 16:11" in warnings[0]
    assert "infrared is 64x48 and visible 80x48, of another aspect" in warnings[1]


def test_run_tells_of_beginnings_too(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared, visible = record(tmp_path / "ir", MKV, later(0)), record(tmp_path / "vis", MKV, later(120))
    command = ["run", "--camera", f"{infrared},{visible}", "--bundle", str(mean_bundle_path), "--json"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "begins 120 ms after" in printed.err
    assert "set offset_ms = 120 for the visible camera in a rig file" in printed.err
    assert json.loads(printed.out)["skew"]["median_ms"] == pytest.approx(0)
    text = f'[cameras.ir]\nuri = "{infrared}"\n[cameras.vis]\nuri = "{visible}"\noffset_ms = 120'
    described = rig_file(tmp_path, text)
    command = [
        "run",
        "--camera",
        "ir,vis",
        "--rig",
        str(described),
        "--bundle",
        str(mean_bundle_path),
        "--json",
    ]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "begins" not in printed.err
    assert json.loads(printed.out)["pictures"] < 12


def test_the_two_cameras_of_a_rig_are_known_by_their_roles() -> None:
    def cameras(*roles: Any) -> dict[rig.Role, str]:
        found = rig.by_role(
            rig.Rig(cameras={str(i): rig.Camera(uri=str(i), role=role) for i, role in enumerate(roles)})
        )
        return {role: camera.uri for role, camera in found.items()}

    assert cameras("infrared", "visible") == {"infrared": "0", "visible": "1"}
    assert cameras(None, "infrared") == {"infrared": "1", "visible": "0"}
    assert cameras("visible", None) == {"infrared": "1", "visible": "0"}
    assert cameras(None, None) == {}
    assert cameras("infrared") == {"infrared": "0"}
    assert cameras("infrared", "visible", "visible") == {"infrared": "0"}
