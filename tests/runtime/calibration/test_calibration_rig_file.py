"""What is written into a rig file, and that nothing else of it changes."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import ConfigError, RequestError, TdfusionError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration import rig_file

RIG = """# the yard
[cameras.ir0]                 # on the mast
uri = "rtsp://u:p@10.0.0.2/ir"
role = "infrared"
offset_ms = -8.0              # its stamps are late

[cameras."the other one"]
uri = 'v4l2:///dev/video0'

[sync]
tolerance_ms = 33.0 # two pictures

[registration] # by hand
homography = [[1.0, 0.0, 0.0], # a guess
              [0.0, 1.0, 0.0],
              [0.0, 0.0, 1.0]]
infrared_size = [640, 512]
visible_size = [640, 480]
distance_m = 9.0

# the end
"""
MADE = rig.Registration(
    homography=((1.02, 0.0, -11.5), (1e-3, 1.02, 4.0), (0.0, 1e-6, 1.0)),
    infrared_size=(320, 256),
    visible_size=(1280, 720),
    reprojection_error=0.4,
    baseline_m=(0.12, -0.03),
)


def test_the_table_is_replaced_and_all_else_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    found = rig_file.written(path, text=RIG, cameras={}, registration=MADE)
    assert found.registration == MADE == rig.read(path).registration
    text = path.read_text()
    kept = RIG.partition("homography")[0]
    assert text.startswith(kept)
    assert "\n# the end\n" in text
    assert "distance_m" not in text  # that of another measurement
    assert [entry.name for entry in tmp_path.iterdir()] == ["rig.toml"]


def test_a_rig_without_the_table_gets_one(tmp_path: Path) -> None:
    text = RIG.partition("[registration]")[0]
    path = tmp_path / "rig.toml"
    assert rig_file.written(path, text=text, cameras={}, registration=MADE).registration == MADE
    assert path.read_text().startswith(text.rstrip())


def test_an_offset_is_set_and_its_comment_stays(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    found = rig_file.written(path, text=RIG, cameras={}, offsets_ms={"ir0": 12.5, "the other one": -3.0})
    assert found.cameras["ir0"].offset_ms == 12.5
    assert found.cameras["the other one"].offset_ms == -3
    assert "offset_ms = 12.5              # its stamps are late" in path.read_text()


def test_a_new_file_has_the_cameras_and_is_the_user_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    cameras = {
        "ir0": rig.Camera(uri="rtsp://u:p@h/ir", role="infrared"),
        "vis0": rig.Camera(uri='a "b" \\c', role="visible"),
    }
    found = rig_file.written(path, text=None, cameras=cameras, registration=MADE, offsets_ms={"ir0": 4.0})
    assert found.cameras["vis0"] == cameras["vis0"]
    assert found.cameras["ir0"].offset_ms == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_and_rights_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "rig.toml"
    real.write_text(RIG)
    real.chmod(0o640)
    link.symlink_to(real)
    rig_file.written(link, text=RIG, cameras={}, registration=MADE)
    assert link.is_symlink()
    assert rig.read(real).registration == MADE
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_value_that_the_rig_refuses_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    with pytest.raises(ConfigError):
        rig_file.written(path, text=RIG, cameras={}, offsets_ms={"ir0": 1e12})
    assert path.read_text() == RIG


def test_without_the_library_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def none(name: str, *args: Any, **options: Any) -> Any:
        if name.split(".")[0] == "tomlkit":
            raise ImportError("No module named 'tomlkit'", name="tomlkit")
        return real(name, *args, **options)

    monkeypatch.setitem(__import__("sys").modules, "tomlkit", None)
    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(RequestError, match=r"needs tomlkit(.|\n)*pip install .*calibrate"):
        rig_file.require_library()


NAMES = st.text("ab -.\"'é", min_size=1, max_size=5)


@settings(max_examples=20)
@given(
    st.dictionaries(NAMES, st.floats(-100, 100), min_size=1, max_size=3),
    st.sampled_from(["", "# c\n", "\n\n"]),
    st.sampled_from(["table", "inline", "dotted"]),
    st.booleans(),
)
def test_whatever_way_it_is_written_the_result_is_the_rig_or_an_error(
    offsets: dict[str, float], gap: str, way: str, old: bool
) -> None:
    import json

    quoted = {name: json.dumps(name, ensure_ascii=False) for name in offsets}
    if way == "table":
        text = "".join(f'[cameras.{name}]\nuri = "sim://ir"{gap or chr(10)}' for name in quoted.values())
    elif way == "inline":
        text = "[cameras]\n" + "".join(f'{name} = {{ uri = "sim://ir" }}\n' for name in quoted.values()) + gap
    else:
        text = "".join(f'cameras.{name}.uri = "sim://ir"\n' for name in quoted.values()) + gap
    if old:
        text += "\n[registration]\nhomography = [[1,0,0],[0,1,0],[0,0,1]]\n"
        text += "infrared_size=[64,64]\nvisible_size=[64,64]\n"
    try:
        edited = rig_file.edited(text, {}, MADE, offsets)
    except TdfusionError:
        return
    from tdfusion_edge import config

    found = config.parse(edited.encode(), rig.Rig, name="rig.toml", toml=True)
    assert found.registration == MADE
    assert {name: camera.offset_ms for name, camera in found.cameras.items()} == offsets
