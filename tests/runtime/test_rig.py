from __future__ import annotations

from pathlib import Path

import pytest

from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.rig import SIMULATED, Camera, Rig, Role, choose

WHOLE = """
[cameras.thermal]
uri = "v4l2:///dev/video2?format=Y16"
role = "infrared"
size = [640, 512]
fps = 30
offset_ms = -12.5
range = { mode = "linear", low = 7000, high = 9000 }

[cameras.colour]
uri = "v4l2:///dev/video0"

[sync]
tolerance_ms = 15
policy = "hold-last"

[registration]
homography = [[1.1, 0, 5], [0, 1.1, -3], [0, 0, 1]]
infrared_size = [640, 512]
visible_size = [1280, 720]
reprojection_error = 0.8
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an empty configuration folder."""
    monkeypatch.delenv("TDFUSION_RIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def place(path: Path, text: str = WHOLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- finding and reading -------------------------------------------------------------------------


def test_a_whole_rig_is_read(tmp_path: Path) -> None:
    read = rig.read(place(tmp_path / "rig.toml"))
    thermal = read.cameras["thermal"]
    assert (thermal.role, thermal.size, thermal.fps, thermal.offset_ms) == ("infrared", (640, 512), 30, -12.5)
    assert thermal.range.limits == (7000, 9000)
    assert (read.sync.tolerance_ms, read.sync.policy, read.sync.silent_ms) == (15, "hold-last", 500)
    assert read.registration is not None
    assert read.registration.homography[0] == (1.1, 0, 5)


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    read = rig.read(place(tmp_path / "rig.toml", '[cameras.a]\nuri = "x.mp4"'))
    assert read == Rig(cameras={"a": Camera(uri="x.mp4")})
    assert read.registration is None


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ('[cameras.a]\nurl = "x"', "unknown key 'url' in [cameras.a]\n  Did you mean 'uri'?"),
        ('[cameras.a]\nuri = "x"\n[sinc]', "Did you mean 'sync'?"),
        ("[sync]", "missing required field `cameras`"),
        ("[cameras.a]", "missing required field `uri`"),
        ('[cameras.a]\nuri = "x"\nrole = "ir"', "Invalid enum value 'ir'"),
        ('[cameras.a]\nuri = "x"\nsize = [640]', "Expected `array` of length 2"),
        ('[cameras.a]\nuri = "x"\nsize = [31, 640]', ">= 32"),
        ('[cameras.a]\nuri = "x"\nfps = 0', ">= 1e-05"),
        ('[cameras.a]\nuri = "x"\nfps = 1e-300', ">= 1e-05"),
        ('[cameras.a]\nuri = "x"\nfps = 1e300', "<= 100000.0"),
        ('[cameras.a]\nuri = "x"\noffset_ms = 1e300', "<= 86400000.0"),
        ('[cameras.a]\nuri = "x"\noffset_ms = -1e300', ">= -86400000.0"),
        ("[cameras]\n[sync]\ntolerance_ms = 1e305", "<= 86400000.0"),
        ("[cameras]\n[sync]\nsilent_ms = 1e305", "<= 86400000.0"),
        ('[cameras.a]\nuri = "x"\noffset_ms = nan', "expected a finite number"),
        ('[cameras.a]\nuri = "x"\nrange = { mode = "linear" }', "needs low and high"),
        ("[cameras]\n[sync]\ntolerance_ms = 0", "> 0.0"),
        ('[cameras]\n[sync]\npolicy = "hold"', "Invalid enum value 'hold'"),
        ("[cameras]\n[registration]\nhomography = [[1, 0, 0], [0, 1, 0]]", "length 3"),
    ],
)
def test_a_wrong_rig_is_refused_with_its_place(tmp_path: Path, text: str, tells: str) -> None:
    path = place(tmp_path / "rig.toml", text)
    with pytest.raises(ConfigError) as refused:
        rig.read(path)
    assert str(path) in str(refused.value)
    assert tells in str(refused.value)


def test_without_a_file_the_cameras_are_simulated(elsewhere: Path) -> None:
    assert rig.find(None) is None
    assert rig.read(None) is SIMULATED
    (ir_name, ir), (vis_name, vis) = choose(SIMULATED, ("ir0", "vis0"))
    assert (ir_name, ir.uri, vis_name, vis.uri) == ("ir0", "sim://ir", "vis0", "sim://vis")


def test_the_nearest_file_is_found(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_user = place(elsewhere / "config" / "tdfusion-edge" / "rig.toml")
    assert rig.find(None) == of_the_user
    place(elsewhere / "work" / "rig.toml")
    assert rig.find(None) == Path("rig.toml")
    named = place(elsewhere / "named.toml")
    monkeypatch.setenv("TDFUSION_RIG", str(named))
    assert rig.find(None) == named
    explicit = place(elsewhere / "explicit.toml")
    assert rig.find(explicit) == explicit


def test_the_home_folder_is_the_configuration_s_default(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(elsewhere / "home"))
    at_home = place(elsewhere / "home" / ".config" / "tdfusion-edge" / "rig.toml")
    assert rig.find(None) == at_home


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_file_that_was_named_must_exist(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Falling back to another rig would run other cameras than asked for."""
    place(elsewhere / "work" / "rig.toml")
    missing = elsewhere / "missing.toml"
    if by == "environment":
        monkeypatch.setenv("TDFUSION_RIG", str(missing))
    with pytest.raises(InputMissing, match=r"missing\.toml"):
        rig.find(missing if by == "option" else None)


# --- choosing two cameras ------------------------------------------------------------------------


def with_roles(first: Role | None, second: Role | None) -> Rig:
    return Rig(cameras={"a": Camera(uri="a.mp4", role=first), "b": Camera(uri="b.mp4", role=second)})


@pytest.mark.parametrize(
    ("roles", "order"),
    [
        ((None, None), "ab"),
        (("infrared", None), "ab"),
        (("visible", None), "ba"),
        ((None, "infrared"), "ba"),
        ((None, "visible"), "ab"),
        (("infrared", "visible"), "ab"),
        (("visible", "infrared"), "ba"),
    ],
)
def test_infrared_comes_first_however_the_roles_are_told(
    roles: tuple[Role | None, Role | None], order: str
) -> None:
    chosen = with_roles(*roles)
    infrared, visible = choose(chosen, ("a", "b"))
    assert infrared[0] + visible[0] == order
    assert (infrared[1], visible[1]) == (chosen.cameras[order[0]], chosen.cameras[order[1]])


@pytest.mark.parametrize("role", ["infrared", "visible"])
def test_two_of_one_role_are_refused(role: Role) -> None:
    with pytest.raises(RequestError, match=f"one infrared and one visible camera, got two {role}"):
        choose(with_roles(role, role), ("a", "b"))


def test_the_same_camera_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="names 'ir0' twice"):
        choose(SIMULATED, ("ir0", "ir0"))


def test_addresses_files_and_folders_need_no_rig(tmp_path: Path) -> None:
    folder = tmp_path / "vi"
    folder.mkdir()
    infrared, visible = choose(SIMULATED, ("v4l2:///dev/video2?format=Y16", str(folder)))
    assert infrared[1] == Camera(uri="v4l2:///dev/video2?format=Y16")
    assert visible == (str(folder), Camera(uri=str(folder)))


def test_a_name_of_the_rig_wins_over_a_file_of_that_name(elsewhere: Path) -> None:
    Path("ir0").touch()
    assert choose(SIMULATED, ("ir0", "vis0"))[0][1].uri == "sim://ir"


@pytest.mark.parametrize("name", ["ir1", "no/such/file.mp4", "x" * 5000, ""])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected one of ir0, vis0, a URI, .*\n.*tdfusion-edge cameras"):
        choose(SIMULATED, (name, "vis0"))


def test_a_user_without_a_home_has_no_rig_there(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    place(elsewhere / "work" / "tdfusion-edge" / "rig.toml")
    assert rig.find(None) is None
    place(elsewhere / "work" / "rig.toml")
    assert rig.find(None) == Path("rig.toml")


@pytest.mark.parametrize(
    "names", [2 * ("rtsp://admin:secret@cam/1",), ("admin:secret@cam", "ir0"), ("a", "rtsp://u:secret@cam")]
)
def test_no_credentials_in_what_is_refused(names: tuple[str, str]) -> None:
    chosen = Rig(cameras={name: Camera(uri="x", role="infrared") for name in ("a", "rtsp://u:secret@cam")})
    with pytest.raises(RequestError) as refused:
        choose(chosen, names)
    assert "secret" not in str(refused.value)


def test_a_topic_of_a_bag_is_looked_for_beside_the_rig_file(
    elsewhere: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rig")
    (folder / "walk.mcap").touch()
    path = folder / "rig.toml"
    path.write_text('[cameras.a]\nuri = "walk.mcap?topic=/ir"\n[cameras.b]\nuri = "gone.mcap?topic=/ir"\n')
    ours, theirs = rig.read(path).cameras.values()
    assert ours.uri == f"{folder}/walk.mcap?topic=/ir"
    assert theirs.uri == "gone.mcap?topic=/ir"


def test_files_with_secrets_are_looked_for_beside_the_rig_file(
    elsewhere: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rig")
    for name in ("camera.password", "broker.password", "site.pem"):
        (folder / name).touch()
    path = folder / "rig.toml"
    path.write_text(
        '[cameras.a]\nuri = "rtsp://u@h/a"\npassword_file = "camera.password"\n'
        '[cameras.b]\nuri = "rtsp://u@h/b"\npassword_file = "/run/b"\n'
        '[mqtt]\npassword_file = "broker.password"\nca_file = "site.pem"\n'
    )
    found = rig.read(path)
    assert [camera.password_file for camera in found.cameras.values()] == [
        f"{folder}/camera.password",
        "/run/b",
    ]
    assert found.mqtt.files == [folder / "broker.password", folder / "site.pem"]
    Path("camera.password").touch()
    assert rig.read(path).cameras["a"].password_file == f"{folder}/camera.password", "beside goes first"
    (folder / "camera.password").unlink()
    path.write_text(path.read_text().replace("site.pem", "~/site.pem"))
    assert rig.read(path).mqtt.ca_file == str(Path.home() / "site.pem")
    assert rig.read(path).cameras["a"].password_file == "camera.password"
