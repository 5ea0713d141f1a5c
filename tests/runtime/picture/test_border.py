"""The border of infrared's view: visible outside, fused inside, no edge between, and everybody sees that."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge import bundle
from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.runtime import engines, rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.alignment import Aligner
from tdfusion_edge.runtime.picture.border import F32, Border
from tdfusion_edge.runtime.picture.registration import Warp, leaves_border
from tdfusion_edge.runtime.picture.stretch import Stretch

SIZE = (160, 120)
CAMERA = rig.ThermalRange(mode="camera")
TILTED = ((0.7, 0.02, 20.0), (-0.01, 0.72, 14.0), (2e-4, -1e-4, 1.0))
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
LARGER = ((1.5, 0.0, -40.0), (0.0, 1.5, -30.0), (0.0, 0.0, 1.0))
"""Infrared reaches over all four sides of the visible picture."""


def registration(homography: object, size: tuple[int, int] = SIZE) -> rig.Registration:
    return rig.Registration(homography=homography, infrared_size=size, visible_size=size)  # type: ignore[arg-type]


def middle(size: tuple[int, int], share: float = 0.7) -> rig.Registration:
    """Infrared sees the middle of the picture."""
    left, top = ((1 - share) / 2 * side for side in size)
    return registration(((share, 0, left), (0, share, top), (0, 0, 1)), size)


def scene(seed: int = 0, size: tuple[int, int] = SIZE) -> tuple[U8, Image]:
    """Infrared, and visible in colours, with something in every place and at every scale."""
    random, (width, height) = np.random.default_rng(seed), size
    infrared = cv2.GaussianBlur(random.integers(0, 256, (height, width), np.uint8), (0, 0), 1.5)
    visible = cv2.resize(random.integers(30, 256, (height // 8, width // 8, 3), np.uint8), size)
    return np.asarray(infrared, np.uint8), np.asarray(visible, np.uint8)


def unblended(fuse: Fuser, placed: rig.Registration, infrared: U8, visible: Image) -> F32:
    """What the network alone makes of the aligned pair."""
    taken = Pair(Frame(infrared, 0, 0, "ir"), Frame(visible, 0, 0, "vis"))
    aligned = Aligner(CAMERA, placed).align(taken)
    assert aligned is not None
    assert aligned.infrared is not None
    return fuse.luma(aligned.infrared, np.asarray(luma(visible), np.uint8))


def depth_of(placed: rig.Registration, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Pixels from every pixel to the nearest one that infrared does not see; 0 where it does not see."""
    valid = Warp(placed, size, size).valid
    assert valid is not None
    y, x = np.nonzero(valid == 0)
    rows, columns = np.mgrid[: size[1], : size[0]]
    nearest = [
        np.hypot(rows[row][:, None] - y, columns[row][:, None] - x).min(axis=1) for row in range(size[1])
    ]
    return np.array(nearest)


@pytest.mark.parametrize("placed", [middle(SIZE), registration(TILTED)], ids=["middle", "tilted"])
def test_outside_is_visible_and_inside_what_the_network_gives(placed: rig.Registration) -> None:
    """With the shipped network, which of two equal pictures does not make that same one."""
    infrared, visible = scene()
    with Fuser("edge", threads=1, detect=False, stretch="none", range=CAMERA, registration=placed) as fuse:
        result = fuse(infrared, visible)
        alone = unblended(fuse, placed, infrared, visible)
    depth, grey = depth_of(placed), luma(visible)
    outside, inside = depth == 0, depth >= 120 / 30
    assert min(outside.sum(), inside.sum()) > 1000
    assert result.fused is not None
    assert np.abs(alone * 255 - grey)[outside].max() > 1, "nothing would be shown by this test"
    np.testing.assert_array_equal(np.rint(result.fused * 255)[outside], grey[outside])
    np.testing.assert_array_equal(result.fused[inside], alone[inside])
    low, high = np.minimum(alone, grey / 255), np.maximum(alone, grey / 255)
    assert ((result.fused >= low - 1e-6) & (result.fused <= high + 1e-6)).all(), "only a mean of the two"


@pytest.mark.parametrize("size", [(640, 480), (1280, 960), (240, 320), (641, 479)])
def test_there_is_no_step_over_the_border(mean_bundle: bundle.Bundle, size: tuple[int, int]) -> None:
    """80 levels lie between visible and the network's mean: a smooth step over a thirtieth of the side."""
    flat = {level: np.full(size[::-1], level, np.uint8) for level in (20, 180)}
    with Fuser(mean_bundle, threads=1, stretch="none", range=CAMERA, registration=middle(size)) as fuse:
        fused = fuse(flat[20], flat[180]).fused
    assert fused is not None
    levels = fused * 255
    assert (levels[0, 0], levels[size[1] // 2, size[0] // 2]) == pytest.approx((180, 100))
    feather = min(size) / 30
    steps = [np.abs(np.diff(levels, axis=axis)) for axis in (0, 1)]
    assert max(step.max() for step in steps) <= 80 * 1.5 / feather
    across = levels[size[1] // 2]
    passing = np.count_nonzero((across > 100.01) & (across < 179.99))
    assert passing == pytest.approx(2 * (feather - 1), abs=2)
    bends = np.abs(np.diff(across, n=2)).max()
    assert bends <= 80 * 6 / feather**2 * 1.05, "a bend of the brightness shows as a line"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_shares_of_any_mask_grow_from_nothing_to_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    valid = np.where(cv2.GaussianBlur(random.random((60, 90)), (0, 0), 9) > 0.5, 255, 0).astype(np.uint8)
    valid[0, 0], valid[-1, -1] = 0, 255
    border = Border(valid)
    share = border.fused_share
    assert share.dtype == np.float32
    np.testing.assert_array_equal(share == 0, valid == 0)
    np.testing.assert_array_equal(border.outside, 255 - valid)
    assert share.max() <= 1
    ones = np.ones_like(share)
    np.testing.assert_allclose(border.blend(ones, ones), ones, atol=1e-6)


@pytest.mark.parametrize("homography", [None, IDENTITY, LARGER], ids=["none", "identity", "larger"])
def test_where_infrared_sees_everything_nothing_is_done(homography: object) -> None:
    infrared, visible = scene(1)
    placed = None if homography is None else registration(homography)
    frames = Pair(Frame(infrared, 0, 0, "ir"), Frame(visible, 0, 0, "vis"))
    aligned = Aligner(CAMERA, placed).align(frames)
    assert aligned is not None
    assert aligned.infrared is not None
    assert aligned.border is None
    with Fuser("edge", threads=1, detect=False, range=CAMERA, registration=placed) as fuse:
        fused = fuse(infrared, visible).fused
        alone = fuse.luma(aligned.infrared, np.asarray(luma(visible), np.uint8))
    assert fused is not None
    np.testing.assert_array_equal(fused, alone)


def test_heads_and_stretch_see_the_blended_luma(finder_bundle: bundle.Bundle) -> None:
    """Visible is too bright for one class and too dark for the other: both inputs together are "dim"."""
    placed = middle((320, 240))
    infrared, visible = np.full((240, 320), 76, np.uint8), np.full((240, 320), 178, np.uint8)
    visible[:, 150] = 255  # for limits of the stretch that are not at the border
    with Fuser(finder_bundle, threads=1, stretch="image", range=CAMERA, registration=placed) as fuse:
        result = fuse(infrared, visible)
        assert result.fused is not None
        found, hard = fuse.find(result.fused), fuse.find(unblended(fuse, placed, infrared, visible))
    assert result.detections.to_rows() == found["boxes"].to_rows()
    assert result.detections.to_rows() != hard["boxes"].to_rows()
    np.testing.assert_array_equal(result.picture, Stretch("image").apply(result.fused, 0))
    assert result.picture.max() == 255, "the line outside of infrared's view is the brightest there is"


def test_the_stretch_is_not_moved_by_what_is_replaced() -> None:
    infrared, visible = scene(2)
    placed = middle(SIZE, 0.3)
    with Fuser("edge", threads=1, detect=False, range=CAMERA, registration=placed) as fuse:
        result = fuse(infrared, np.asarray(luma(visible)))
        hard = unblended(fuse, placed, infrared, visible)
    assert result.fused is not None
    limits = float(result.fused.min()), float(result.fused.max())
    assert limits != (float(hard.min()), float(hard.max()))
    stretch = Stretch("image")
    np.testing.assert_array_equal(result.picture, stretch.apply(result.fused, 0))
    assert stretch.limits == limits


def test_a_real_pair_has_no_edge_around_the_middle(data: Path) -> None:
    """Over the border the picture changes no more than the visible picture does there by itself."""
    folder = data / "msrs"
    infrared, visible = (cv2.imread(str(folder / side / "00209D.webp"), 0) for side in ("ir", "vi"))
    if infrared is None or visible is None:
        pytest.skip(f"no pair 00209D in {folder}")
    placed = middle((640, 480))
    with Fuser("edge", threads=1, detect=False, stretch="none", range=CAMERA, registration=placed) as fuse:
        picture = fuse(infrared, visible).picture.astype(float)
        hard = unblended(fuse, placed, np.asarray(infrared, np.uint8), visible) * 255
    own, now, before = (  # the lower side, over the even road
        np.abs(image[407, 200:500] - image[408, 200:500]).mean()
        for image in (visible.astype(float), picture, hard)
    )
    assert before > 3 * own, "there was an edge"
    assert now < own + 1


# --- in one pass ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("homography", "taken"), [(IDENTITY, True), (LARGER, True), (TILTED, False)])
def test_with_a_border_the_networks_run_one_by_one(
    monkeypatch: pytest.MonkeyPatch, homography: object, taken: bool
) -> None:
    row = engines.BACKENDS["onnxruntime"]._replace(one_pass=True)
    monkeypatch.setattr(engines, "BACKENDS", {"onnxruntime": row})
    placed = registration(homography)
    assert leaves_border(placed) is not taken
    with Fuser("edge", threads=1, stretch="temporal", registration=placed) as fuse:
        assert ("in one pass" in str(fuse)) is taken


def test_one_pass_that_is_demanded_is_refused_with_the_reason() -> None:
    with pytest.raises(RequestError, match=r"cannot blend the border(?s:.*)without infrared"):
        Fuser("edge", graphs="onepass", stretch="none", registration=registration(TILTED))
    with pytest.raises(ConfigError, match="homography cannot be inverted"):
        Fuser("edge", graphs="onepass", stretch="none", registration=registration(((0, 0, 0),) * 3))


def test_a_border_that_only_another_size_has_goes_one_by_one() -> None:
    """.4 of a pixel at the measured size: the outermost pixel of a larger picture sees nothing."""
    placed = registration(((1, 0, 0.4), (0, 1, 0), (0, 0, 1)), (640, 480))
    assert not leaves_border(placed)
    with Fuser("edge", threads=1, graphs="onepass", stretch="none", registration=placed) as fuse:
        for size, one_by_one in (((640, 480), False), ((1024, 768), True)):
            result = fuse(*scene(3, size))
            assert (result.fused is not None) is one_by_one
