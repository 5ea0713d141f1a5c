from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import InputMissing, SourceError
from tdfusion_edge.images import natural_order, read_image
from tdfusion_edge.integrity import image_is_cut
from tdfusion_edge.runtime.sources.folder import FolderSource

EPOCH = 1_000_000_007


def textured(height: int = 48, width: int = 64) -> Any:
    """A picture that does not compress to nothing, so that cutting it anywhere loses something."""
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 0)


def encoded(suffix: str, image: Any = None) -> bytes:
    done, data = cv2.imencode(suffix, textured() if image is None else image)
    assert done
    return bytes(data)


def test_a_folder_plays_in_natural_order_at_its_rate(tmp_path: Path) -> None:
    # The grey level of a picture is the number in its name.
    for number, suffix in [(10, ".png"), (2, ".BMP"), (1, ".tif"), (100, ".png"), (9, ".png")]:
        cv2.imwrite(str(tmp_path / f"frame{number}{suffix.lower()}"), np.full((8, 8), number, np.uint8))
    (tmp_path / "frame2.bmp").rename(tmp_path / "frame2.BMP")
    (tmp_path / "labels.txt").write_text("not a picture")
    (tmp_path / ".frame3.png").write_text("hidden")
    (tmp_path / "frame4.png").mkdir()

    source = FolderSource("ir", tmp_path, epoch_ns=EPOCH, fps=25)
    frames = list(iter(source.read, None))

    assert [int(frame.image[0, 0]) for frame in frames] == [1, 2, 9, 10, 100]
    assert [frame.time_ns for frame in frames] == [EPOCH + index * 40_000_000 for index in range(5)]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert {frame.source for frame in frames} == {"ir"}
    assert source.live is False
    assert source.read() is None


def test_times_do_not_drift_at_a_rate_without_exact_period(tmp_path: Path) -> None:
    for number in range(31):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((2, 2), np.uint8))
    frames = list(iter(FolderSource("ir", tmp_path, epoch_ns=0, fps=30).read, None))
    assert frames[30].time_ns == 1_000_000_000


def test_kinds_and_sizes_may_change_within_a_folder(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((4, 6), 40_000, np.uint16))
    cv2.imwrite(str(tmp_path / "1.png"), np.full((5, 7, 3), (255, 0, 7), np.uint8))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((6, 8, 4), (1, 2, 3, 128), np.uint8))
    first, second, third = iter(FolderSource("ir", tmp_path, epoch_ns=0).read, None)
    assert (first.image == 40_000).all()
    assert first.image.dtype == np.uint16
    assert first.image.shape == (4, 6)
    assert (second.image == (255, 0, 7)).all()
    assert third.image.shape == (6, 8, 3)
    assert (third.image == (1, 2, 3)).all()


def test_a_damaged_picture_is_named_and_leaves_a_gap(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((9, 9), number, np.uint8))
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:-5])
    source = FolderSource("ir", tmp_path, epoch_ns=0, fps=10)
    assert source.read() is not None
    with pytest.raises(SourceError, match=r"1\.png is cut short"):
        source.read()
    after = source.read()
    assert after is not None
    assert (after.sequence, after.time_ns, int(after.image[0, 0])) == (2, 200_000_000, 2)


def test_a_single_picture_is_a_stream_of_one(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ir.png"), np.full((3, 3), 9, np.uint8))
    source = FolderSource("ir", tmp_path / "ir.png", epoch_ns=EPOCH)
    frame = source.read()
    assert frame is not None
    assert frame.time_ns == EPOCH
    assert source.read() is None


def test_a_closed_folder_is_at_its_end(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ir.png"), np.zeros((3, 3), np.uint8))
    source = FolderSource("ir", tmp_path, epoch_ns=0)
    source.close()
    source.close()
    assert source.read() is None


def test_a_folder_without_pictures_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="got an empty folder"):
        FolderSource("ir", tmp_path, epoch_ns=0)
    (tmp_path / "ir").mkdir()
    cv2.imwrite(str(tmp_path / "ir" / "1.png"), np.zeros((3, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputMissing, match="got 2 other entries") as caught:
        FolderSource("ir", tmp_path, epoch_ns=0)
    assert caught.value.hint == "Images are in its subfolders ir: name one of them."


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="does not exist"):
        FolderSource("ir", tmp_path / "none", epoch_ns=0)
    with pytest.raises(InputMissing, match="does not exist"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9, "all but one byte"])
def test_a_cut_picture_is_an_error_that_names_it(tmp_path: Path, suffix: str, keep: float | str) -> None:
    data = encoded(suffix)
    path = tmp_path / f"cut{suffix}"
    pad = suffix == ".webp" and data[16] % 2  # a byte behind a chunk of odd length is no part of the picture
    path.write_bytes(data[: -1 - pad] if isinstance(keep, str) else data[: int(len(data) * keep)])
    with pytest.raises(SourceError, match=f"cut{suffix}"):
        read_image(path)
    path.write_bytes(data)
    assert read_image(path).shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
@settings(deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_no_beginning_of_a_picture_passes_for_the_whole(suffix: str, share: float) -> None:
    data = encoded(suffix)
    assert not image_is_cut(data)
    assert image_is_cut(data[: 54 + int((len(data) - 54) * share)])


def test_a_webp_without_its_last_pad_byte_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "clip.webp"
    odd: set[int] = set()
    for width in range(20, 40):
        picture = textured(20, width)
        data = encoded(".webp", picture)
        path.write_bytes(data[:-1])
        odd.add(data[16] % 2)  # of the length of its only chunk
        if data[16] % 2:
            np.testing.assert_array_equal(read_image(path), picture)
            path.write_bytes(data[:-2])
        with pytest.raises(SourceError, match=r"clip\.webp is cut short"):
            read_image(path)
    assert odd == {0, 1}


def test_the_preview_inside_a_jpeg_does_not_end_it() -> None:
    data, preview = encoded(".jpg"), encoded(".jpg", textured(8, 8))
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    with_preview = data[:2] + segment + data[2:]
    assert not image_is_cut(with_preview)
    assert image_is_cut(with_preview[:-2])
    assert image_is_cut(data[:2] + segment)


def test_bytes_after_the_end_of_a_picture_are_no_damage() -> None:
    for suffix in (".png", ".jpg", ".webp", ".bmp"):
        assert not image_is_cut(encoded(suffix) + b"appended by a camera")


def test_a_progressive_jpeg_with_restarts_is_whole(tmp_path: Path) -> None:
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    data = bytes(cv2.imencode(".jpg", textured(), flags)[1])
    assert not image_is_cut(data)
    assert image_is_cut(data[: len(data) // 2])


def test_text_named_as_a_picture_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"notes\.png is no image"):
        read_image(tmp_path / "notes.png")
    with pytest.raises(SourceError, match=r"empty\.png is empty"):
        read_image(tmp_path / "empty.png")


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "really.png").write_bytes(encoded(".jpg"))
    assert read_image(tmp_path / "really.png").shape == (48, 64, 3)


def test_sixteen_bits_are_kept_exactly_and_refused_on_request(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(0, 65536, (17, 23)).astype(np.uint16)
    for suffix in (".png", ".tif"):
        path = tmp_path / f"raw{suffix}"
        cv2.imwrite(str(path), counts)
        assert (read_image(path) == counts).all()
        with pytest.raises(SourceError, match="expected 8-bit grey or 8-bit colour, got uint16 in 1 channel"):
            read_image(path, grey16_ok=False)


def test_sixteen_bit_colour_and_floats_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 4, 3), (1, 1, 2), np.uint16))
    with pytest.raises(SourceError, match="got uint16 in 3 channels"):
        read_image(tmp_path / "deep.png")
    cv2.imwrite(str(tmp_path / "deep.tif"), np.zeros((4, 4), np.float32))
    with pytest.raises(SourceError, match="got float32 in 1 channel"):
        read_image(tmp_path / "deep.tif")


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1), st.sampled_from(["", "ir_", "a1b"]))
def test_natural_order_is_the_order_of_the_numbers(numbers: list[int], prefix: str) -> None:
    paths = [Path(f"{prefix}{number}.png") for number in numbers]
    random.Random(0).shuffle(paths)
    assert [path.stem for path in sorted(paths, key=natural_order)] == [
        f"{prefix}{n}" for n in sorted(numbers)
    ]


def test_real_pictures_are_whole(data: Path) -> None:
    pictures = [path for path in sorted(data.rglob("*")) if path.suffix.lower() in (".png", ".jpg", ".bmp")][
        :20
    ]
    assert pictures
    for path in pictures:
        assert read_image(path).size
