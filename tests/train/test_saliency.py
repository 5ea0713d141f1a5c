"""Saliency: what stands out, against a second computation; files; and that a crop has its part of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.train.data.augment import crop
from tdfusion_edge.train.recipe import Augmentation
from tdfusion_edge.train.saliency import contrast, from_folder, saliency


def noise(seed: int, shape: tuple[int, int] = (24, 31)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_contrast_is_the_mean_distance_to_all_pixels() -> None:
    image = noise(0, (9, 11))
    flat = image.astype(float).ravel()
    expected = np.abs(flat[:, None] - flat).mean(axis=1).reshape(image.shape)
    np.testing.assert_allclose(contrast(image), expected, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_swapped_sensors_give_the_complement(one: int, other: int) -> None:
    infrared, visible = noise(one), noise(other)
    found, swapped = saliency(infrared, visible), saliency(visible, infrared)
    assert found.dtype == np.uint8
    assert found.shape == infrared.shape
    assert np.abs(found.astype(int) + swapped - 255).max() <= 1


def test_a_warm_thing_in_an_even_scene_stands_out() -> None:
    infrared, visible = np.full((60, 80), 40, np.uint8), np.full((60, 80), 90, np.uint8)
    visible[::2] = 110
    infrared[20:40, 30:50] = 220
    found = saliency(infrared, visible)
    assert found[30, 40] > 200
    assert found[5, 5] < 170
    flat = saliency(np.full((60, 80), 40, np.uint8), visible)
    assert flat.max() < 40  # a dead sensor has nothing to say


def test_a_crop_has_its_part_of_the_whole_pictures_map() -> None:
    places = np.arange(48 * 64, dtype=np.int64).reshape(48, 64) % 251
    place = places.astype(np.uint8)
    pair = LabelledPair("p", place, place, saliency=place)
    random = np.random.default_rng(0)
    mirrored = 0
    for _ in range(20):
        infrared, visible, found = crop(pair, Augmentation(crop=16, gain=0.0), random)
        assert np.array_equal(infrared, found)
        assert np.array_equal(visible, found)
        mirrored += bool(found[0, 0] > found[0, 1])
    assert 0 < mirrored < 20
    gained = crop(pair, Augmentation(crop=16, gain=0.5), random)
    assert set((gained[2] * 255).round().astype(int).ravel().tolist()) <= set(range(251))
    assert len(crop(pair._replace(saliency=None), Augmentation(crop=16), random)) == 2


def test_files_are_taken_by_stem_and_size(tmp_path: Path) -> None:
    picture = noise(3)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    read = from_folder(tmp_path)
    assert np.array_equal(read(LabelledPair("a", picture, picture)), picture)
    with pytest.raises(InputMissing, match="has no saliency 'b'"):
        read(LabelledPair("b", picture, picture))
    small = picture[:20, :20]
    with pytest.raises(RequestError, match=r"another size(?s:.*)20x20(?s:.*)31x24"):
        read(LabelledPair("a", small, small))
    with pytest.raises(InputMissing):
        from_folder(tmp_path / "none")
