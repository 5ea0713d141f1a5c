"""Pairs from folders: what is read, in which order, and what is refused before a training starts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.pairs import LabelledPair, Labels, PairSource, load_pairs
from tdfusion_edge.pairs.lazy import LazyPairs, joined


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder with an empty ``ir`` and ``vi``."""
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
    return tmp_path


def source(every: int = 1, names: str | None = None) -> PairSource:
    return PairSource(folder=".", every=every, names=names)


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


def levels(pairs: Sequence[LabelledPair]) -> list[tuple[str, int, int]]:
    return [(pair.name, int(pair.infrared[0, 0]), int(pair.visible[0, 0])) for pair in pairs]


def test_every_nth_pair_of_pictures_in_natural_order(root: Path) -> None:
    for number in range(12):
        write_picture(root / "ir" / f"{number}.png", number)
        write_picture(root / "vi" / f"{number}.bmp", 100 + number)
    assert levels(load_pairs(root, source(5))) == [("0", 0, 100), ("5", 5, 105), ("10", 10, 110)]
    assert [pair.name for pair in load_pairs(root, source())] == [str(number) for number in range(12)]


def test_two_sources_take_every_nth_pair_and_all_others(root: Path) -> None:
    for part in ("ir", "vi"):
        for number in range(7):
            write_picture(root / part / f"{number}.png", number)
        write_video(root / part / "film.mkv", range(4))
    held = [pair.name for pair in load_pairs(root, source(3))]
    rest = [pair.name for pair in load_pairs(root, msgspec.structs.replace(source(), without_every=3))]
    assert held == ["0", "3", "6", "film#0", "film#3"]
    assert rest == ["1", "2", "4", "5", "film#1", "film#2"]


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
        SourceError, match=r"vi/a\.avi is cut short, \d+ bytes are missing: expected a whole video"
    ):
        load_pairs(root, source())


def test_what_is_no_video_is_refused(root: Path) -> None:
    for part in ("ir", "vi"):
        (root / part / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(SourceError, match=r"a\.mp4 cannot be opened as a video"):
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


def test_sensors_of_unequal_size_are_refused(root: Path) -> None:
    write_picture(root / "ir" / "a.png", 1)
    cv2.imwrite(str(root / "vi" / "a.png"), np.zeros((48, 60), np.uint8))
    with pytest.raises(
        RequestError,
        match=r"pair 'a': the infrared picture has another size .*expected 60x48, got 64x48",
    ):
        load_pairs(root, source())


def test_customary_folder_names_are_found(tmp_path: Path) -> None:
    for part, level in (("infrared", 1), ("visible", 2)):
        (tmp_path / part).mkdir()
        write_picture(tmp_path / part / "a.png", level)
    assert levels(load_pairs(tmp_path, source())) == [("a", 1, 2)]


def write_pairs(root: Path, count: int) -> None:
    for number in range(count):
        write_picture(root / "ir" / f"{number}.png", number)
        write_picture(root / "vi" / f"{number}.png", 100 + number)


def test_what_does_not_fit_into_memory_is_read_at_use(root: Path) -> None:
    write_pairs(root, 6)
    needed = 6 * 2 * 48 * 64
    assert isinstance(load_pairs(root, source(), memory=needed), list)
    lazy = load_pairs(root, source(), memory=needed - 1)
    assert levels(lazy) == levels(load_pairs(root, source()))
    assert levels(lazy[1:5:2]) == [("1", 1, 101), ("3", 3, 103)]
    assert lazy[-1].name == "5"
    with pytest.raises(IndexError):
        lazy[6]


def test_a_lazy_pair_that_cannot_be_used_is_a_source_error_at_use(root: Path) -> None:
    write_pairs(root, 4)
    (root / "ir" / "1.png").write_bytes(b"no picture")
    cv2.imwrite(str(root / "vi" / "2.png"), np.zeros((48, 60), np.uint8))
    lazy = load_pairs(root, source(), memory=0)
    with pytest.raises(SourceError, match=r"1\.png is no image"):
        lazy[1]
    with pytest.raises(SourceError, match=r"'2': the infrared picture has another size .*expected 60x48"):
        lazy[2]
    assert [lazy[index].name for index in (0, 3)] == ["0", "3"]
    with pytest.raises(SourceError, match=r"1\.png is no image"):
        load_pairs(root, source())


def test_a_lazy_set_keeps_the_pairs_asked_for_last() -> None:
    read: list[int] = []

    def one(index: int) -> LabelledPair:
        read.append(index)
        return LabelledPair(str(index), np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))

    lazy = LazyPairs(5, one, cached=2)
    for index in (0, 1, 0, 2, 0, 1):
        assert lazy[index].name == str(index)
    assert read == [0, 1, 2, 1]  # 2 pushed out 1, not 0


def test_several_threads_read_a_lazy_set_at_once(root: Path) -> None:
    write_pairs(root, 8)
    lazy = load_pairs(root, source(), memory=0)
    wanted = np.random.default_rng(0).integers(0, 8, 200).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert [int(pair.infrared[0, 0]) for pair in pool.map(lazy.__getitem__, wanted)] == wanted


def test_sources_are_joined_without_reading_the_lazy_ones(root: Path) -> None:
    write_pairs(root, 3)
    memory = load_pairs(root, source())
    (root / "vi" / "1.png").write_bytes(b"no picture any more")
    both = joined([memory, load_pairs(root, source(), memory=0), []])
    assert len(both) == 6
    assert [both[index].name for index in (0, 2, 3, 5, -1)] == ["0", "2", "0", "2", "2"]
    assert isinstance(joined([memory, memory]), list)


def test_frames_of_videos_cannot_be_labelled(root: Path) -> None:
    for part in ("ir", "vi"):
        write_video(root / part / "a.mkv", [1, 2])
    labelled = PairSource(folder=".", labels=Labels(format="voc", path="boxes"))
    assert len(load_pairs(root, labelled)) == 2
    task = ("car",)
    with pytest.raises(RequestError, match="'a' is a video, whose frames cannot be labelled"):
        load_pairs(root, labelled, task)
