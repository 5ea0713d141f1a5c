"""Pairs from folders: what is read, in which order, and what is refused before a training starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.train.data import LumaPair, load_pairs, random_batches
from tdfusion_edge.train.recipe import Augmentation, DataSource


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder with an empty ``ir`` and ``vi``."""
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
    return tmp_path


def source(every: int = 1, names: str | None = None) -> DataSource:
    return DataSource(folder=".", every=every, names=names, terms="made up")


def write_picture(path: Path, level: int) -> None:
    cv2.imwrite(str(path), np.full((48, 64), level, np.uint8))


def write_video(path: Path, levels: Sequence[int], pix_fmt: str = "gray") -> None:
    """One frame of 64x48 for each level."""
    dtype = np.uint8 if pix_fmt == "gray" else np.uint16
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), level, dtype), format=pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def levels(pairs: list[LumaPair]) -> list[tuple[str, int, int]]:
    return [(pair.name, int(pair.infrared[0, 0]), int(pair.visible[0, 0])) for pair in pairs]


def test_every_nth_pair_of_pictures_in_natural_order(root: Path) -> None:
    for number in range(12):
        write_picture(root / "ir" / f"{number}.png", number)
        write_picture(root / "vi" / f"{number}.bmp", 100 + number)
    assert levels(load_pairs(root, source(5))) == [("0", 0, 100), ("5", 5, 105), ("10", 10, 110)]
    assert [pair.name for pair in load_pairs(root, source())] == [str(number) for number in range(12)]


def test_every_nth_pair_of_a_list_in_its_order(root: Path) -> None:
    for name in "abcd":
        for part in ("ir", "vi"):
            write_picture(root / part / f"{name}.png", ord(name))
    (root / "some.txt").write_text("d\nb\na\n")
    assert [pair.name for pair in load_pairs(root, source(2, "some.txt"))] == ["d", "a"]


def test_pictures_are_counted_without_the_videos_between_them(root: Path) -> None:
    for part in ("ir", "vi"):
        for name in "acd":
            write_picture(root / part / f"{name}.png", ord(name))
        write_video(root / part / "b.mkv", [0, 1, 2])
    assert [pair.name for pair in load_pairs(root, source(2))] == ["a", "d", "b#0", "b#2"]


@pytest.mark.parametrize("every", [1, 4])
def test_videos_of_unequal_length_are_refused(root: Path, every: int) -> None:
    write_video(root / "ir" / "a.mkv", range(10))
    write_video(root / "vi" / "a.mkv", range(9))
    with pytest.raises(RequestError, match=r"differ in length(?s:.*)got 10 in .*a\.mkv and 9 in .*a\.mkv"):
        load_pairs(root, source(every))


@pytest.mark.parametrize("pix_fmt", ["gray10le", "gray16le"])
def test_thermal_counts_are_not_cut_to_8_bits(root: Path, pix_fmt: str) -> None:
    write_video(root / "ir" / "a.mkv", [300, 301], pix_fmt)
    write_video(root / "vi" / "a.mkv", [30, 31])
    with pytest.raises(RequestError, match=rf"a\.mkv is a {pix_fmt} video: expected 8 bits"):
        load_pairs(root, source())


def test_a_cut_video_is_refused(root: Path) -> None:
    for part in ("ir", "vi"):
        write_video(root / part / "a.avi", range(20))
    whole = (root / "vi" / "a.avi").read_bytes()
    assert len(load_pairs(root, source())) == 20
    (root / "vi" / "a.avi").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(
        SourceError, match=r"a\.avi is cut short: expected a whole video, got \d+ bytes too few"
    ):
        load_pairs(root, source())


def test_what_is_no_video_is_refused(root: Path) -> None:
    for part in ("ir", "vi"):
        (root / part / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(SourceError, match=r"a\.mp4 cannot be decoded"):
        load_pairs(root, source())


def test_a_picture_is_no_partner_of_a_video(root: Path) -> None:
    write_video(root / "ir" / "a.mkv", [1])
    write_picture(root / "vi" / "a.png", 1)
    with pytest.raises(RequestError, match=r"picture and a video(?s:.*)ir/a\.mkv and vi/a\.png"):
        load_pairs(root, source())


def test_two_files_of_one_stem_are_refused(root: Path) -> None:
    for part in ("ir", "vi"):
        write_picture(root / part / "a.png", 1)
    write_video(root / "ir" / "a.mkv", [1])
    with pytest.raises(RequestError, match=r"two files of one stem: expected one, got a\.mkv and a\.png"):
        load_pairs(root, source())


def test_hidden_files_are_no_pairs(root: Path) -> None:
    for part in ("ir", "vi"):
        write_picture(root / part / "a.png", 1)
        (root / part / "._a.png").write_bytes(b"not a picture")
    assert [pair.name for pair in load_pairs(root, source())] == ["a"]


def test_folders_and_lists_that_hold_nothing_are_named(root: Path) -> None:
    with pytest.raises(InputMissing, match="ir holds no images or videos"):
        load_pairs(root, source())
    write_picture(root / "ir" / "a.png", 1)
    write_picture(root / "vi" / "b.png", 1)
    with pytest.raises(RequestError, match="has no pair"):
        load_pairs(root, source())
    (root / "empty.txt").write_text("\n")
    with pytest.raises(InputMissing, match=r"empty\.txt names no pair"):
        load_pairs(root, source(names="empty.txt"))
    (root / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(RequestError, match=r"latin\.txt cannot be read"):
        load_pairs(root, source(names="latin.txt"))


def test_a_pair_smaller_than_the_crop_is_refused_before_the_first_batch() -> None:
    small = LumaPair("small", np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8))
    with pytest.raises(
        RequestError, match="'small' is smaller than the crop: expected 64x64 or more, got 64x48"
    ):
        random_batches([small], Augmentation(crop=64), batch=1, seed=0)


def test_the_draws_of_a_batch_stay_as_they_are() -> None:
    """The draws in their order, written out again: shipped weights can be trained again bit by bit."""
    made = np.random.default_rng(1).integers(0, 256, (2, 3, 50, 70), dtype=np.uint8)
    pairs = [LumaPair(str(i), made[0, i], made[1, i]) for i in range(3)]
    random = np.random.default_rng(7)
    batches = random_batches(pairs, Augmentation(crop=32, flip=True), batch=2, seed=7)
    for _ in range(4):
        order = random.permutation(3)[:2]
        batch = next(batches)
        for row, chosen in enumerate(order):
            top, left = random.integers(19), random.integers(39)
            step = -1 if random.random() < 0.5 else 1
            for got, side in ((batch.infrared, made[0]), (batch.visible, made[1])):
                crop = side[chosen, top : top + 32, left : left + 32][:, ::step]
                assert np.array_equal(got[row, 0].numpy(), crop.astype(np.float32) / np.float32(255))
