"""Pairs of videos: what a fusing refuses, a training and its check refuse as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import MKV, MP4, QUARTERS, Kind, bars, hold, number_in, record

from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.pairs.reader import load_pairs
from tdfusion_edge.pairs.source import PairSource
from tdfusion_edge.pairs.videos import read_videos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
    return tmp_path


def test_a_damaged_key_frame_is_refused_by_training_and_check(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(4)
    pictures = [(bars(index) + rng.integers(-30, 31, bars(0).shape)).astype(np.uint8) for index in range(12)]
    paths = [record(root / part / "a", MP4, pictures=pictures) for part in ("ir", "vi")]
    assert len(load_pairs(root, PairSource(folder="."))) == 12
    assert main(["dataset", "check", str(root)]) == 0
    data = bytearray(paths[1].read_bytes())
    at = data.index(b"mdat") + 4 + len(data) // 10
    data[at : at + 40] = b"\xff" * 40
    paths[1].write_bytes(data)
    with pytest.raises(SourceError, match=r"vi/a\.mp4 (is damaged|cannot be decoded further)"):
        load_pairs(root, PairSource(folder="."))
    capsys.readouterr()
    assert main(["dataset", "check", str(root)]) == 1
    assert "1 unreadable:" in capsys.readouterr().out
    assert main(["fuse", *map(str, paths), "-o", str(root / "out.mp4")]) == 1
    assert "vi/a.mp4" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind", [Kind(".mkv", "ffv1", "gbrp16le"), Kind(".mov", "png", "ya16be"), Kind(".mov", "png", "rgb48be")]
)
def test_counts_in_any_layout_are_not_cut_to_8_bits(root: Path, kind: Kind) -> None:
    infrared, visible = record(root / "ir" / "a", kind, count=2), record(root / "vi" / "a", MKV, count=2)
    with pytest.raises(RequestError, match=rf"ir/a\.\w+ is a {kind.pix_fmt} video: expected 8 bits"):
        read_videos("a", infrared, visible, 1)


def test_the_frames_of_a_turned_video_stand_upright(root: Path) -> None:
    infrared = record(root / "ir" / "a", MP4, pictures=[np.rot90(bars(i)) for i in range(4)])
    visible = record(root / "vi" / "a", MKV, count=4)
    pairs = read_videos("a", hold(infrared, QUARTERS[90]), visible, 1)
    assert [number_in(pair.infrared) for pair in pairs] == [number_in(pair.visible) for pair in pairs]
    assert [pair.name for pair in pairs] == ["a#0", "a#1", "a#2", "a#3"]


def test_videos_that_begin_at_different_moments_are_told_of(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    infrared = record(root / "ir" / "a", MKV, count=4)
    visible = record(root / "vi" / "a", MKV, [10_800 + 3000 * index for index in range(4)])
    assert len(read_videos("a", infrared, visible, 2)) == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert "begins 120 ms after" in line
    assert line.endswith("Cut them to one beginning first.")
