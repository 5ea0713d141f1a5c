"""Making pictures smaller: what is kept, and that training, validation and runtime see the same picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.resize import as_seen, halved, resized
from tdfusion_edge.train.data.augment import view
from tdfusion_edge.train.recipe import Augmentation, Task


def test_a_quarter_is_the_mean_of_sixteen_pixels() -> None:
    picture = np.arange(16 * 24, dtype=np.float32).reshape(16, 24) / 384
    means = picture.reshape(4, 4, 6, 4).mean(axis=(1, 3))
    assert np.allclose(resized(picture, 6, 4), means, atol=1e-6)


@given(st.integers(8, 200), st.integers(8, 200), st.integers(8, 64), st.integers(8, 64))
def test_halving_ends_at_twice_the_size_and_keeps_a_constant(
    rows: int, columns: int, width: int, height: int
) -> None:
    small = halved(np.full((rows, columns), 77, np.uint8), width, height)
    assert small.shape[0] <= max(2 * height, 1)
    assert small.shape[1] <= max(2 * width, 1)
    assert small.shape[0] >= min(rows, height)
    assert small.shape[1] >= min(columns, width)
    assert (small == 77).all()


@pytest.mark.parametrize(("width", "height"), [(256, 192), (320, 256), (160, 96), (640, 480), (64, 64)])
def test_the_training_sees_what_the_runtime_sees(width: int, height: int) -> None:
    """At any ratio: 2.5 is that of the shipped detector."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (480, 640), dtype=np.uint8)
    task = Task(network="yolo", classes=("a",), height=height, width=width)
    sample, plain = LabelledPair("noise", picture, picture), Augmentation(flip=False)
    trained = view(lambda: sample, task, plain, random).visible * 255
    assert np.abs(trained - resized(picture, width, height).astype(np.float32)).max() <= 8
    assert np.abs(trained - resized(picture, width, height).astype(np.float32)).mean() <= 0.5


@given(st.integers(8, 90), st.integers(8, 90), st.integers(8, 64), st.integers(8, 64))
def test_heads_see_the_same_of_8_bits_and_of_floats(rows: int, columns: int, width: int, height: int) -> None:
    picture = np.random.default_rng(rows).integers(0, 256, (rows, columns), dtype=np.uint8)
    shown = as_seen(picture, width, height)
    assert (shown.dtype, shown.shape) == (np.float32, (height, width))
    np.testing.assert_array_equal(shown, as_seen(picture / np.float32(255), width, height))
    assert np.abs(shown * 255 - resized(picture, width, height)).max() <= 4
