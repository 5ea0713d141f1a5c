"""From a pair to a fused picture, with a real engine whose graph averages its inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.alignment import Aligned, Aligner
from tdfusion_edge.runtime.picture.stretch import StretchName

HALF_SHIFT = rig.Registration(
    homography=((1, 0, 32), (0, 1, 0), (0, 0, 1)), infrared_size=(64, 48), visible_size=(64, 48)
)

Make = Callable[..., Fuser]


@pytest.fixture
def make(mean_bundle: bundle.Bundle) -> Make:
    def build(
        stretch: StretchName = "none",
        registration: rig.Registration | None = None,
        thermal: rig.ThermalRange | None = None,
    ) -> Fuser:
        return Fuser(mean_bundle, threads=1, stretch=stretch, registration=registration, range=thermal)

    return build


def pair(infrared: Image | None, visible: Image | None, *, number: int = 0, held: bool = False) -> Pair:
    frames = [
        None if image is None else Frame(image, number * 100_000_000, number, name)
        for image, name in ((infrared, "ir"), (visible, "vis"))
    ]
    return Pair(frames[0], frames[1], held=held)


def align(aligner: Aligner, taken: Pair) -> Aligned:
    aligned = aligner.align(taken)
    assert aligned is not None
    return aligned


def result(fuser: Fuser, taken: Pair) -> Result:
    result = fuser.fuse(taken)
    assert result is not None
    return result


def fused(fuser: Fuser, taken: Pair) -> Image:
    return result(fuser, taken).picture


class WarpCalls:
    """Counts how often the stage prepares an infrared frame."""

    def __init__(self, aligner: Aligner) -> None:
        self.count, self._apply = 0, aligner._range.apply
        aligner._range.apply = self  # type: ignore[method-assign]

    def __call__(self, image: Image, time_ns: int) -> Image:
        self.count += 1
        return self._apply(image, time_ns)


def flat(level: int, shape: tuple[int, ...] = (48, 64)) -> Image:
    return np.full(shape, level, np.uint8)


def test_grey_stays_grey_and_is_what_the_network_says(make: Make) -> None:
    picture = fused(make(), pair(flat(40), flat(100)))
    assert picture.shape == (48, 64)
    assert (picture == 70).all()


def test_colour_keeps_the_chroma_of_visible(make: Make) -> None:
    import cv2

    visible = np.empty((48, 64, 3), np.uint8)
    visible[:] = (60, 90, 140)
    picture = fused(make(), pair(flat(200), visible))
    before, after = (
        cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[0, 0].astype(int) for image in (visible, picture)
    )
    assert after[0] == pytest.approx((200 + before[0]) / 2, abs=1)
    assert after[1:] == pytest.approx(before[1:], abs=1)


def test_infrared_of_another_size_comes_to_the_size_of_visible(make: Make) -> None:
    picture = fused(make(), pair(flat(80, (24, 32)), flat(80, (95, 127, 3))))
    assert picture.shape == (95, 127), "three equal channels are grey"
    assert (picture == 80).all()


def test_outside_of_the_infrared_field_the_picture_is_visible_alone(make: Make) -> None:
    visible = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    picture = fused(make(registration=HALF_SHIFT), pair(flat(201), visible))
    np.testing.assert_array_equal(picture[:, :31], visible[:, :31])
    np.testing.assert_allclose(picture[:, 33:], (201.0 + visible[:, 33:]) / 2, atol=0.51)


def test_sixteen_bit_infrared_is_ranged(make: Make) -> None:
    counts = np.linspace(20_000, 21_000, 48 * 64).reshape(48, 64).astype(np.uint16)
    picture = fused(make(), pair(counts, flat(0)))
    assert picture.min() == 0
    assert picture.max() in (127, 128)
    assert np.all(np.diff(picture.ravel().astype(int)) >= 0)


def test_a_single_frame_passes_alone(make: Make) -> None:
    fusion = make(stretch="temporal")
    visible = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    alone = result(fusion, pair(None, visible))
    assert (alone.degraded, alone.fused) == ("infrared missing", None)
    np.testing.assert_allclose(alone.picture, visible, atol=2)
    alone = result(fusion, pair(flat(90), None))
    assert (alone.degraded, alone.fused) == ("visible missing", None)
    assert (alone.picture == 90).all()


def test_infrared_alone_comes_at_the_size_of_the_visible_it_was_shown_with(make: Make) -> None:
    fusion = make()
    fused(fusion, pair(flat(10, (24, 32)), flat(10)))
    assert fused(fusion, pair(flat(30, (24, 32)), None)).shape == (48, 64)


def test_held_and_frozen_pictures_say_so(make: Make) -> None:
    fusion = make()
    noise = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    told = [result(fusion, pair(noise, noise, number=number)).degraded for number in range(5)]
    assert told == [None, None, None, "frozen", "frozen"]
    assert result(fusion, pair(noise, noise, number=5, held=True)).degraded == "held"
    assert result(fusion, pair(noise ^ 1, noise, number=6)).degraded is None


@pytest.mark.parametrize(
    ("infrared", "visible", "message"),
    [
        (flat(1), np.zeros((48, 64), np.uint16), "the visible picture has 16 bits: expected 8 bits"),
        (flat(1), flat(1, (31, 64)), "too small for the network: expected 32x32 pixels or more, got 64x31"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(
    make: Make, infrared: Image, visible: Image, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        make().fuse(pair(infrared, visible))


def test_sixteen_bits_where_the_rig_says_camera_are_refused(make: Make) -> None:
    with pytest.raises(RequestError, match=r"mode 'camera'(?s:.*)got uint16"):
        make(thermal=rig.ThermalRange(mode="camera")).fuse(pair(np.zeros((48, 64), np.uint16), flat(1)))


def test_the_size_may_change_between_pairs(make: Make) -> None:
    fusion = make()
    for shape in ((48, 64), (33, 47), (64, 48)):
        assert fused(fusion, pair(flat(8, shape), flat(8, shape))).shape == shape


def test_infrared_alone_waits_until_the_visible_size_is_known(make: Make) -> None:
    """A picture of the infrared size would end a video at the first visible frame."""
    fusion = make()
    assert fusion.fuse(pair(flat(10, (24, 32)), None)) is None
    fused(fusion, pair(None, flat(10)))
    assert fused(fusion, pair(flat(10, (24, 32)), None)).shape == (48, 64)
    measured = make(registration=HALF_SHIFT)
    assert fused(measured, pair(flat(10, (96, 128)), None)).shape == (48, 64)


@pytest.mark.parametrize("first_alone", [True, False])
def test_a_held_frame_is_warped_once_and_what_was_shown_stays(first_alone: bool) -> None:
    fusion = Aligner(rig.ThermalRange(), HALF_SHIFT)
    warps = WarpCalls(fusion)
    infrared = Frame(np.full((48, 64), 201, np.uint8), 0, 0, "ir")
    frames = [Frame(flat(level), level * 1_000_000, level, "vis") for level in (10, 50, 90)]
    shown = [
        align(fusion, Pair(infrared, None if first_alone else frames[0])),
        align(fusion, Pair(infrared, frames[1], held=True)),
        align(fusion, Pair(infrared, frames[2], held=True)),
    ]
    left = [aligned.infrared[0, 0] for aligned in shown if aligned.infrared is not None]
    right = [aligned.infrared[0, 60] for aligned in shown if aligned.infrared is not None]
    assert left == [201 if first_alone else 10, 50, 90]
    assert right == [201, 201, 201]
    assert (infrared.image == 201).all()
    assert warps.count == 1


def test_forgetting_begins_a_new_stream_but_keeps_the_warps(make: Make) -> None:
    fusion = make(stretch="temporal", registration=HALF_SHIFT)
    ramp = np.linspace(0, 255, 48 * 64).reshape(48, 64).astype(np.uint8)
    first = fused(fusion, pair(ramp, ramp))
    dim = fused(fusion, pair(ramp // 4, ramp // 4, number=1))
    warp = fusion._aligner.placed((64, 48), (64, 48))[0]
    fusion.forget()
    np.testing.assert_array_equal(fused(fusion, pair(ramp, ramp)), first)
    fusion.forget()
    assert (fused(fusion, pair(ramp // 4, ramp // 4)) != dim).any()
    assert fusion._aligner.placed((64, 48), (64, 48))[0] is warp
