"""``tdfusion-edge eval``: rows that can be foretold, and requests that cannot be met."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_edge.cli import main
from tdfusion_edge.metrics import evaluate


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Three pairs of 64x80 and the stems of two of them in a list."""
    random = np.random.default_rng(0)
    for part in ("ir", "vi", "other"):
        (tmp_path / part).mkdir()
        for number in range(3):
            smooth = cv2.GaussianBlur(random.integers(0, 256, (64, 80)).astype(np.float32), (0, 0), 2)
            picture = cv2.normalize(smooth, None, 0, 254, cv2.NORM_MINMAX).astype(np.uint8) & 0xFE
            cv2.imwrite(str(tmp_path / part / f"{number}.png"), picture)
    (tmp_path / "some.txt").write_text("0\n2\n")
    return tmp_path


def test_rows_are_means_over_the_listed_pairs(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data_folder), "--names", "some.txt", "--baselines", "--json"]
    compare = ["--compare", f"other={data_folder / 'other'}"]
    assert main(["eval", str(mean_bundle_path), *arguments, *compare]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["pairs"] == 2
    rows = printed["rows"]
    assert list(rows) == ["mean", "other", "infrared", "visible", "average", "additive", "maximum"]
    # The bundle's network averages, so its row is that of the baseline, computed another way.
    assert rows["mean"] == pytest.approx(rows["average"], abs=1e-9)
    pictures = [
        [cv2.imread(str(data_folder / part / f"{number}.png"), 0) for part in ("other", "ir", "vi")]
        for number in (0, 2)
    ]
    scores = [evaluate(*pair) for pair in pictures]
    for field in scores[0]._fields:
        assert rows["other"][field] == pytest.approx(np.mean([getattr(row, field) for row in scores]))
    assert rows["infrared"]["ssim"] > rows["other"]["ssim"]


def test_the_table_names_its_columns(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(mean_bundle_path), "--data", str(data_folder)]) == 0
    header, columns, row = capsys.readouterr().out.splitlines()
    assert header == "3 pairs"
    assert columns.split() == ["en", "sf", "sd", "ag", "scd", "vif", "qabf", "ssim"]
    assert row.startswith("mean")


def test_wrong_requests(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data_folder / "bad.txt").write_text("0\n99\n")
    (data_folder / "none_named.txt").touch()
    bundle, data = str(mean_bundle_path), str(data_folder)
    cases = [
        ([bundle, "--data", str(data_folder / "ir")], "there is no folder"),
        ([bundle, "--data", data, "--names", "none.txt"], "there is no list"),
        ([bundle, "--data", data, "--names", "bad.txt"], "lacks the pair '99': expected ir/99.* and vi/99.*"),
        ([bundle, "--data", data, "--compare", "nofolder"], "NAME=FOLDER"),
        ([bundle, "--data", data, "--compare", f"mean={data}/other"], "two rows are called 'mean'"),
        (
            [bundle, "--data", data, "--baselines", "--compare", f"average={data}/other"],
            "two rows are called 'average'",
        ),
        ([bundle, "--data", data, "--names", "none_named.txt"], "names no pair"),
        ([bundle, "--data", data, "--compare", f"other={data}/nowhere"], "there is no folder"),
        (["nowhere", "--data", data], "there is no bundle"),
        ([bundle, "--data", data, "--classes", "car"], "--classes car: expected --labels as well"),
        ([bundle, "--data", data, "--network", "own:Net"], "--network own:Net is for a checkpoint"),
    ]
    for arguments, message in cases:
        assert main(["eval", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_a_row_may_be_called_like_a_baseline_that_is_not_asked_for(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data_folder), "--compare", f"average={data_folder / 'other'}", "--json"]
    assert main(["eval", str(mean_bundle_path), *arguments]) == 0
    assert list(json.loads(capsys.readouterr().out)["rows"]) == ["mean", "average"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("ir", "pair '1': the infrared picture has another size than the visible one"),
        ("other", "pair '1': the fused picture has another size than the visible one"),
    ],
)
def test_pictures_of_unequal_sizes_are_named(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str], part: str, message: str
) -> None:
    cv2.imwrite(str(data_folder / part / "1.png"), np.zeros((64, 90), np.uint8))
    arguments = ["--data", str(data_folder), "--compare", f"other={data_folder / 'other'}"]
    assert main(["eval", str(mean_bundle_path), *arguments]) == 2
    assert f"{message}: expected 80x64, got 90x64" in capsys.readouterr().err


def test_two_pictures_of_one_stem_are_refused(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(data_folder / "vi" / "1.jpg"), np.zeros((64, 80), np.uint8))
    assert main(["eval", str(mean_bundle_path), "--data", str(data_folder)]) == 2
    assert "two files of one stem: expected one, got 1.jpg and 1.png" in capsys.readouterr().err


def test_hidden_files_are_no_pairs(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("ir", "vi"):
        (data_folder / part / "._1.png").write_bytes(b"not a picture")
    assert main(["eval", str(mean_bundle_path), "--data", str(data_folder)]) == 0
    assert capsys.readouterr().out.startswith("3 pairs")


@pytest.mark.parametrize("command", ["eval", "verify"])
def test_videos_beside_the_pictures_are_passed_over(
    data_folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """All of their frames would be held in memory and measured; and nobody asked for them."""
    for side in ("ir", "vi"):
        for name in ("clip.mp4", "0.mp4"):
            (data_folder / side / name).write_bytes(b"no video at all")
    assert main([command, str(mean_bundle_path), "--data", str(data_folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["pairs"] if command == "eval" else printed["gap"]["pairs"]) == 3
