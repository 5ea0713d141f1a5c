"""The command, from pictures to a rig file that run understands."""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.live.boards import drawn, noisy, pose, rig
from tdfusion_edge.cli import main
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime import rig as rigs
from tdfusion_edge.runtime.calibration.fit import applied
from tdfusion_edge.runtime.calibration.pattern import parse
from tdfusion_edge.runtime.pairing.content import Place

SIZE, VISIBLE = (160, 120), (320, 240)
BOARD = "acircles:4x9"


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Folders ir and vis with pictures of a hot board, and the homography that they were drawn with."""
    folder = tmp_path_factory.mktemp("boards")
    rng = np.random.default_rng(5)
    known = rig(rng, SIZE, VISIBLE)
    for side in ("ir", "vis"):
        (folder / side).mkdir()
    for number in range(6):
        to = pose(rng, parse(BOARD), SIZE, 0.45)
        hot = noisy(drawn(parse(BOARD), to, SIZE, dark=210, bright=70), rng).astype(np.uint16) * 4 + 21000
        cv2.imwrite(str(folder / "ir" / f"{number}.png"), hot)
        cv2.imwrite(
            str(folder / "vis" / f"{number}.png"), noisy(drawn(parse(BOARD), known @ to, VISIBLE), rng)
        )
    return folder, known


def error(registration: rigs.Registration | None, known: Any) -> float:
    assert registration is not None
    grid = np.random.default_rng(0).uniform((0, 0), SIZE, (100, 2))
    found = applied(np.array(registration.homography), grid)
    return float(np.median(np.linalg.norm(found - applied(known, grid), axis=1)))


def camera(folder: Path) -> str:
    return f"{folder / 'ir'},{folder / 'vis'}"


def test_pictures_of_a_board_become_a_registration(
    boards: tuple[Path, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, known = boards
    text = '# mine\n[cameras.a]\nuri = "sim://ir" # x\nrole = "infrared"\n[cameras.b]\nuri = "sim://vis"\n'
    (tmp_path / "rig.toml").write_text(text)
    line = ["calibrate", "--camera", camera(folder), "--pattern", BOARD, "--rig", "rig.toml"]
    more = ["--distance", "3", "--baseline", "0.06,0", "--focal", "260"]
    assert main([*line, *more, "--picture", "check.png", "--report", "r.json"]) == 0
    found = rigs.read(tmp_path / "rig.toml").registration
    assert error(found, known) < 0.3
    assert found is not None
    assert (found.distance_m, found.baseline_m, found.focal_px) == (3, (0.06, 0), 260)
    assert (found.infrared_size, found.visible_size) == (SIZE, VISIBLE)
    assert found.reprojection_error is not None
    assert found.reprojection_error < 0.3
    assert (tmp_path / "rig.toml").read_text().startswith(text.rstrip())
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["method"] == "pattern"
    assert report["held_out_rms_px"] < 0.5
    picture = cv2.imread(str(tmp_path / "check.png"))
    assert picture is not None
    assert picture.shape == (2 * (240 + 24), 640, 3)
    assert "[registration] is written to rig.toml" in capsys.readouterr().out
    # Measured again without a distance, the rig's baseline stays and the old distance goes.
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["registration"]["baseline_m"] == [0.06, 0]
    assert rigs.read(tmp_path / "rig.toml").registration == rigs.Registration(
        **{**{key: getattr(found, key) for key in found.__struct_fields__}, "distance_m": None}
    )


def test_a_dry_run_and_a_new_file(
    boards: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, known = boards
    line = ["calibrate", "--camera", camera(folder), "--pattern", BOARD]
    assert main([*line, "--dry-run"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert main([*line, "-o", "new.toml"]) == 0
    made = rigs.read(tmp_path / "new.toml")
    assert error(made.registration, known) < 0.3
    assert {name: one.role for name, one in made.cameras.items()} == {"ir0": "infrared", "vis0": "visible"}
    assert made.cameras["ir0"].uri == str(folder / "ir")


def test_matches_and_points(
    boards: tuple[Path, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, known = boards
    ours = np.random.default_rng(1).uniform((30, 25), (130, 95), (40, 2))
    rows = np.concatenate([ours, applied(known, ours)], axis=1)
    np.savetxt("matches.txt", rows)
    line = ["calibrate", "--camera", camera(folder), "-o", "new.toml"]
    assert main([*line, "--matches", "matches.txt"]) == 0
    assert error(rigs.read(tmp_path / "new.toml").registration, known) < 0.01
    corners = rows[
        [int(np.argmin((ours * sign).sum(axis=1))) for sign in ((1, 1), (-1, 1), (1, -1), (-1, -1))]
    ]
    by_hand = [part for row in corners for part in ("--point", ",".join(map(str, row)))]
    assert main([*line, *by_hand]) == 0
    found = rigs.read(tmp_path / "new.toml").registration
    assert error(found, known) < 0.01
    assert found is not None
    assert found.reprojection_error is None
    assert "four points fit any homography" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--pattern", "circles:7x5"],
            "was not seen often enough: expected 3 views or more.*got 0 of 6 pairs",
        ),
        (["--matches", "none.txt"], "there is no file of matches"),
        (["--point", "1,2,3"], "--point 1,2,3"),
        (["--point", "1,2,3,4"], "too few points"),
        (["--baseline", "1"], "--baseline"),
        (["--distance", "0"], "--distance"),
        (["--focal", "-5"], "--focal"),
        (["--seconds", "0"], "--seconds"),
        (["--time"], "--time needs cameras or videos"),
        (["--time", "--distance", "3"], "--time"),
        (["-o", "rig.txt"], "ends in .toml"),
        (["--picture", "check.gif"], "ends in .png or .jpg"),
        (["--report", "ir.png"], "ends in .json"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    boards: tuple[Path, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "--camera", camera(boards[0]), *more]) in (1, 2)
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damaged", "code", "says"),
    [
        (("ir/1.png", "vis/4.png"), 0, ""),
        (("ir/0.png", "ir/1.png", "vis/2.png", "ir/4.png"), 1, "expected 3 views or more.*got 2 of 2 pairs"),
        (tuple(f"vis/{number}.png" for number in range(6)), 1, "error: .*vis/5.png"),
    ],
)
def test_damaged_pictures_are_named_and_counted_and_the_others_serve(
    boards: tuple[Path, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    damaged: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    folder = Path(shutil.copytree(boards[0], tmp_path / "boards"))
    for name in damaged:
        (folder / name).write_bytes((folder / name).read_bytes()[:300])
    line = ["calibrate", "--camera", camera(folder), "--pattern", BOARD, "-o", str(tmp_path / "rig.toml")]
    assert main([*line, "--report", str(tmp_path / "r.json")]) == code
    said = capsys.readouterr()
    assert re.search(says, said.err)
    for name in damaged:
        assert f"{folder / name}" in caplog.text + said.err
    assert caplog.text.count("the pair is left out") == min(len(damaged), 5)
    assert (tmp_path / "rig.toml").exists() == (code == 0)
    if code == 0:
        assert json.loads((tmp_path / "r.json").read_text())["unreadable"] == 2
        assert "2 pairs of pictures are left out: one of the two cannot be read" in said.out
        assert error(rigs.read(tmp_path / "rig.toml").registration, boards[1]) < 0.4


def test_a_rig_that_lies_around_is_not_changed_by_other_cameras(
    boards: tuple[Path, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = '[cameras.a]\nuri = "sim://ir"\n[cameras.b]\nuri = "sim://vis"\n'
    (tmp_path / "rig.toml").write_text(text)
    assert main(["calibrate", "--camera", camera(boards[0]), "--pattern", BOARD]) == 2
    assert "rig.toml does not describe these cameras" in capsys.readouterr().err
    assert (tmp_path / "rig.toml").read_text() == text


@pytest.mark.slow
def test_pictures_that_cannot_be_aligned_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two textures that have nothing to do with each other."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("ir.png", "vis.png")):
        cv2.imwrite(name, texture(number, (160, 120)))
    assert main(["calibrate", "--camera", "ir.png,vis.png"]) == 1
    assert "cannot be aligned" in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ir.png", "vis.png"]


def texture(seed: int, size: tuple[int, int]) -> Any:
    """Patches of random brightness, as a scene of things with edges."""
    rng = np.random.default_rng(seed)
    picture = np.full(size[::-1], 120, np.uint8)
    for _ in range(60):
        x, y = rng.uniform((0, 0), size)
        box = (
            (float(x), float(y)),
            tuple(map(float, rng.uniform(0.05, 0.3, 2) * size[0])),
            float(rng.uniform(0, 90)),
        )
        corners = cv2.boxPoints(box).astype(np.int32)
        cv2.fillConvexPoly(picture, corners, int(rng.integers(20, 240)), cv2.LINE_AA)
    return picture


@pytest.mark.slow
def test_inverted_and_warped_textures_are_aligned_to_half_a_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Infrared's contrast is inverted in half of the pairs, and of another depth: only edges agree."""
    monkeypatch.chdir(tmp_path)
    known = rig(np.random.default_rng(11), SIZE, VISIBLE)
    for side in ("ir", "vis"):
        (tmp_path / side).mkdir()
    for number in range(3):
        visible = texture(number, VISIBLE)
        smooth = cv2.GaussianBlur(visible, (0, 0), 0.8)
        infrared = cv2.warpPerspective(smooth, np.linalg.inv(known), SIZE, borderMode=cv2.BORDER_REFLECT)
        counts = infrared.astype(np.uint16) if number % 2 else 255 - infrared.astype(np.uint16)
        cv2.imwrite(f"ir/{number}.png", counts * 7 + 20000)
        cv2.imwrite(f"vis/{number}.png", visible)
    assert main(["calibrate", "--camera", "ir,vis", "-o", "new.toml", "--report", "r.json"]) == 0
    assert error(rigs.read(tmp_path / "new.toml").registration, known) < 0.5
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["agreeing"] > 0.6
    assert len(report["blocks"]) >= 8


@pytest.mark.slow
def test_the_times_of_the_simulated_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rig.toml").write_text(
        '[cameras.ir0]\nuri = "sim://ir?realtime=0&fps=9&offset_ms=90&frames=400"\n'
        "offset_ms = -20.0 # a guess\n"
        '[cameras.vis0]\nuri = "sim://vis?realtime=0&frames=1200"\n'
    )
    assert main(["calibrate", "--camera", "ir0,vis0", "--time", "--seconds", "40"]) == 0
    made = rigs.read(tmp_path / "rig.toml")
    assert made.cameras["ir0"].offset_ms == pytest.approx(-90, abs=12)
    assert "# a guess" in (tmp_path / "rig.toml").read_text()


def test_a_recording_without_movement_tells_no_offset() -> None:
    from tdfusion_edge.frames import Frame
    from tdfusion_edge.runtime.calibration.timing import time_offset

    class Still:
        name, live = "still", False

        def __init__(self) -> None:
            self.left = iter(range(200))

        def read(self) -> Frame | None:
            number = next(self.left, None)
            picture = np.full((48, 64), 90, np.uint8)
            return None if number is None else Frame(picture, number * 100_000_000, number, "still")

        def close(self) -> None: ...

    with pytest.raises(WorkError, match="cannot be told from what moves"):
        time_offset({"infrared": Still(), "visible": Still()}, Place(), seconds=20, stop=threading.Event())


CORNERS = [word for at in ("1,1", "150,1", "1,110", "150,110", "75,60") for word in ("--point", f"{at},{at}")]


def test_what_has_no_partner_and_what_is_swapped_is_said(
    boards: tuple[Path, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "a").mkdir()
    for number in (0, 1):
        coloured = np.full((120, 160, 3), (9, 90, 200), np.uint8)
        cv2.imwrite(str(tmp_path / "a" / f"{number}.png"), coloured)
    line = ["calibrate", "--camera", f"{tmp_path / 'a'},{boards[0] / 'vis'}", "--dry-run", *CORNERS]
    assert main(line) == 0
    assert "4 without partner in" in capsys.readouterr().err
    assert "are they swapped?" in caplog.text


def test_a_rig_in_another_folder_leads_to_the_cameras(
    boards: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(boards[0])
    assert main(["calibrate", "--camera", "ir,vis", "-o", str(tmp_path / "rig.toml"), *CORNERS]) == 0
    monkeypatch.chdir(tmp_path)
    cameras = rigs.read(tmp_path / "rig.toml").cameras
    assert [camera.uri for camera in cameras.values()] == [str(boards[0] / side) for side in ("ir", "vis")]


def test_what_cannot_be_written_is_printed(
    boards: tuple[Path, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "rig.toml"  # as in a folder where nothing may be written
    assert main(["calibrate", "--camera", camera(boards[0]), "-o", str(target), *CORNERS]) == 1
    said = capsys.readouterr()
    assert "cannot be written" in said.err
    assert "[registration]" in said.out
    assert "infrared_size = [160, 120]" in said.out


def test_a_mark_line_ends_and_the_wished_distance_stay(
    boards: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rig.toml"
    lines = [
        "\ufeff# Größe", "[cameras.a]", 'uri = "ir"', "[cameras.b]", 'uri = "vi"', "[registration]",
        "homography = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]", "infrared_size = [160, 120]",
        "visible_size = [320, 240]", "distance_m = 3.0", "baseline_m = [0.1, 0.0]", "focal_px = 300.0",
        "use_distance_m = 9.0", "",
    ]  # fmt: skip
    path.write_bytes("\r\n".join(lines).encode())
    line = ["calibrate", "--camera", camera(boards[0]), "--rig", str(path), *CORNERS]
    assert main([*line, "--distance", "4"]) == 0
    found = rigs.read(path).registration
    assert found is not None
    assert (found.distance_m, found.use_distance_m) == (4, 9)
    assert path.read_bytes().startswith("# Größe\r\n[cameras.a]\r\n".encode())
    assert main(line) == 0
    assert "use_distance_m is left out" in capsys.readouterr().err
