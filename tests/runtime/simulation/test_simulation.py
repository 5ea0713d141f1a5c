"""The simulated street: what each spectrum shows, the true boxes, and the mark in the corner."""

from __future__ import annotations

import io

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.color import luma
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.simulation.layout import LAMPS, TREES
from tdfusion_edge.runtime.simulation.mark import draw_mark, read_mark
from tdfusion_edge.runtime.simulation.props import post, trunk
from tdfusion_edge.runtime.simulation.scene import COUNTS_BASE, COUNTS_PER_LEVEL, Scene
from tdfusion_edge.runtime.simulation.traffic import CYCLE, CYCLIST, Actor, actors
from tdfusion_edge.runtime.simulation.truth import MIN_HEIGHT, NAMES, truth
from tdfusion_edge.runtime.simulation.view import View

PERSON, BICYCLE, CAR = range(3)
WARM = 120
"""Infrared level between the street and everything alive or running."""
TIMES = np.arange(0.0, 2 * CYCLE, 1.7)


@pytest.fixture(scope="module")
def street() -> Scene:
    return Scene(seed=0)


@pytest.fixture(scope="module")
def clear_street() -> Scene:
    return Scene(seed=0, fog=False)


def test_same_seed_same_pictures_and_another_seed_another_street() -> None:
    first, again, other = (Scene(seed, (160, 120)) for seed in (3, 3, 4))
    for moment in (0.0, 5.25, 17.0):
        assert np.array_equal(first.infrared(moment), again.infrared(moment))
        assert np.array_equal(first.visible(moment), again.visible(moment))
        assert np.array_equal(first.truth(moment).boxes, again.truth(moment).boxes)
        assert np.abs(first.visible(moment).astype(int) - other.visible(moment)).mean() > 5
        assert np.abs(first.infrared(moment).astype(int) - other.infrared(moment)).mean() > 2


def test_asking_again_gives_the_same_picture(street: Scene) -> None:
    """A moment is the same whatever was drawn before it: no picture leaves a trace in the next."""
    before = street.visible(7.0), street.infrared(7.0)
    for moment in (8.0, 20.0, 31.0):
        street.visible(moment)
        street.infrared(moment)
    assert np.array_equal(before[0], street.visible(7.0))
    assert np.array_equal(before[1], street.infrared(7.0))


@pytest.mark.parametrize("size", [(80, 60), (320, 144)])
def test_pictures_have_the_size_and_dtype_asked_for(size: tuple[int, int]) -> None:
    scene, deep = Scene(1, size), Scene(1, size, depth16=True)
    assert scene.visible(1.0).shape == (size[1], size[0], 3)
    assert scene.infrared(1.0).shape == (size[1], size[0])
    assert scene.visible(1.0).dtype == scene.infrared(1.0).dtype == np.uint8
    assert deep.infrared(1.0).dtype == np.uint16
    assert deep.infrared(1.0).shape == (size[1], size[0])


def test_counts_are_levels_on_a_narrow_part_of_16_bits(street: Scene) -> None:
    levels = street.infrared(6.0).astype(float)
    counts = Scene(seed=0, depth16=True).infrared(6.0)
    expected = COUNTS_BASE + COUNTS_PER_LEVEL * levels
    # Both carry noise of their own, 1.3 levels strong.
    assert abs(float((counts - expected).mean())) < 0.2 * COUNTS_PER_LEVEL
    assert float((counts - expected).std()) < 3 * COUNTS_PER_LEVEL
    assert np.ptp(counts) < 0.1 * 65535


@pytest.mark.parametrize("size", [(79, 60), (80, 59), (4097, 480), (0, 0), (-640, 480)])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="80x60 to 4096x4096"):
        Scene(0, size)


def test_noise_is_new_in_every_frame_and_has_no_mean(clear_street: Scene) -> None:
    sky = np.s_[2:40, 250:330]
    frames = np.stack([clear_street.infrared(k / 30)[sky] for k in range(40)]).astype(float)
    assert np.abs(frames[1] - frames[0]).max() > 0
    assert 1.0 < float(frames.std(axis=0).mean()) < 1.8
    # Forty frames average the noise out: what remains is the sky, which is smooth.
    assert float(np.abs(np.diff(frames.mean(axis=0), axis=0)).mean()) < 0.5


def test_sky_is_cold_road_is_mild_people_are_warm(clear_street: Scene) -> None:
    image = clear_street.infrared(6.0)
    boxes = clear_street.truth(6.0)
    people = [
        box.astype(int) for box, kind in zip(boxes.boxes, boxes.class_ids, strict=True) if kind == PERSON
    ]
    warmest = [np.percentile(image[y1:y2, x1:x2], 90) for x1, y1, x2, y2 in people]
    assert image[5:60, 240:360].mean() < 40 < image[400:470, 200:440].mean() < 110
    assert len(warmest) >= 4
    assert min(warmest) > 140


def test_boxes_of_people_fit_their_warm_pixels(clear_street: Scene) -> None:
    """The box and the outline of what is warm agree on all four sides."""
    checked = 0
    for moment in TIMES:
        image = cv2.GaussianBlur(clear_street.infrared(moment), (3, 3), 0)
        for box in _alone(clear_street, moment, PERSON, 45, 12):
            x1, y1, x2, y2 = (round(float(value)) for value in box)
            rows, columns = np.nonzero(image[y1 - 10 : y2 + 10, x1 - 10 : x2 + 10] > 100)
            found = (
                columns.min() - 10,
                rows.min() - 10,
                columns.max() - 9 - (x2 - x1),
                rows.max() - 9 - (y2 - y1),
            )
            assert np.abs(found).max() <= 4, (moment, box, found)
            checked += 1
    assert checked >= 12


def test_boxes_of_running_cars_enclose_their_warm_pixels(clear_street: Scene) -> None:
    checked = 0
    for moment in TIMES:
        warm = clear_street.infrared(moment) > WARM
        for box in _alone(clear_street, moment, CAR, 30, 8):
            x1, y1, x2, y2 = (round(float(value)) for value in box)
            inside = int(warm[y1 - 2 : y2 + 3, x1 - 2 : x2 + 3].sum())
            around = int(warm[y1 - 8 : y2 + 8, x1 - 8 : x2 + 8].sum()) - inside
            if inside < 50:
                continue  # parked and cold
            assert around <= 0.02 * inside, (moment, box)
            checked += 1
    assert checked > 8


def test_smoke_hides_people_from_the_visible_camera_only(street: Scene, clear_street: Scene) -> None:
    hidden = shown = 0
    for moment in np.arange(0.0, 2 * CYCLE, 1.3):
        assert np.array_equal(street.infrared(moment), clear_street.infrared(moment))
        smoky, clear = (_smoothed(scene.visible(moment)) for scene in (street, clear_street))
        for box in _alone(street, moment, PERSON, 45, 2):
            x1, y1, x2, y2 = (int(value) for value in box)
            # The smoke's own shading is smooth: the edges of the person are what it takes away.
            left = _edges(smoky[y1:y2, x1:x2]) / _edges(clear[y1:y2, x1:x2])
            hidden += left < 0.3
            shown += left > 0.9
    assert hidden >= 3
    assert shown >= 3


def test_people_are_dark_in_the_visible_picture_and_lamps_are_bright(clear_street: Scene) -> None:
    image = luma(clear_street.visible(6.0))
    boxes = clear_street.truth(6.0)
    people = [
        box.astype(int) for box, kind in zip(boxes.boxes, boxes.class_ids, strict=True) if kind == PERSON
    ]
    assert max(float(image[y1:y2, x1:x2].mean()) for x1, y1, x2, y2 in people) < 110
    assert image.max() > 240
    assert 15 < image.mean() < 70


@settings(deadline=None)  # the first example draws the scene
@given(st.integers(0, 50), st.floats(0, 1e6))
def test_true_boxes_keep_their_rule_at_any_time(seed: int, moment: float) -> None:
    found = Scene(seed, (640, 480)).truth(moment)
    assert found.names == NAMES
    assert (found.scores == 1).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (640, 480, 640, 480)).all()
    assert (found.boxes[:, 3] - found.boxes[:, 1] >= MIN_HEIGHT - 0.01).all()
    # Two parked cars always stand there; traffic may hide one for a moment, rarely both.
    assert len(found) >= 1


def test_boxes_scale_with_the_picture() -> None:
    small, large = Scene(5, (640, 480)).truth(40.0), Scene(5, (1280, 960)).truth(40.0)
    assert np.allclose(2 * small.boxes, large.boxes, atol=0.01)


def test_hidden_small_and_outside_things_have_no_box() -> None:
    view = View(640, 480)
    car = Actor("car", 0, "towards", -1.85, 12.0)

    def seen(*things: Actor) -> list[int]:
        return truth(sorted(things, key=lambda thing: -thing.z), view).class_ids.tolist()

    assert seen(car, Actor("person", 0, "towards", -1.85, 20.0)) == [PERSON, CAR]
    first, second = Actor("person", 2, "away", 0.0, 10.0), Actor("person", 2, "away", 0.0, 10.8)
    assert seen(first, second) == [PERSON]
    assert seen(first, second._replace(x=0.5)) == [PERSON, PERSON]
    assert seen(car, Actor("person", 0, "towards", -1.85, 9.0)) == [CAR, PERSON]
    assert seen(Actor("person", 0, "towards", 0.0, 90.0)) == []
    assert seen(Actor("person", 0, "towards", 9.0, 8.0)) == []
    assert seen(Actor("person", CYCLIST, "away", 3.0, 9.0)) == [BICYCLE, PERSON]


def test_what_stands_in_the_street_hides_things_too() -> None:
    view = View(640, 480)
    walker = Actor("person", 0, "away", 2.0, 20.0)
    (box,) = truth([walker], view).boxes
    wall = (float(box[0]) - 1, 0.0, float(box[2]) + 1, 480.0)
    assert len(truth([walker], view, [(15.0, wall)])) == 0
    assert len(truth([walker], view, [(25.0, wall)])) == 1
    half = (wall[0], 0.0, float(box[0] + box[2]) / 2, 480.0)
    assert len(truth([walker], view, [(15.0, half)])) == 1


def test_a_box_at_the_border_is_clipped() -> None:
    view = View(640, 480)
    (box,) = truth([Actor("person", 0, "left", -6.2, 10.0)], view).boxes
    assert box[0] == 0.0
    assert 0 < box[2] < 40


def test_the_street_never_ends_and_no_two_cycles_are_alike() -> None:
    later = 10 * 3600.0
    crowds = [actors(0, later + k * CYCLE) for k in range(6)]
    assert all(any(actor.kind == "car" for actor in crowd) for crowd in crowds)
    assert all(sum(actor.kind == "person" for actor in crowd) >= 3 for crowd in crowds)
    assert len({tuple(round(actor.x, 3) for actor in crowd) for crowd in crowds}) == 6


def test_nobody_jumps() -> None:
    """Between two frames of a 30 Hz camera nothing moves farther than its speed allows."""
    step = 1 / 30
    for moment in np.arange(0, 3 * CYCLE, 1.1):
        before, after = actors(2, moment), actors(2, moment + step)
        for actor in before:
            # Far and out at the sides things may end; what is seen has a successor close by.
            if not 4.0 < actor.z < 60.0 or abs(actor.x) > 10:
                continue
            near = [
                other
                for other in after
                if (other.kind, other.model, other.facing) == (actor.kind, actor.model, actor.facing)
                and abs(other.z - actor.z) < 0.6
                and abs(other.x - actor.x) < 0.1
            ]
            assert near, (moment, actor)


SIZES = st.sampled_from([(640, 480), (320, 256), (160, 120), (1280, 720), (80, 60)])


@settings(deadline=None)  # the first example draws the scene
@given(st.integers(0, 200_000), SIZES, st.sampled_from(["grey", "colour", "counts"]), st.integers(0, 2**31))
def test_the_mark_is_read_back(number: int, size: tuple[int, int], kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if kind == "counts":
        image: Image = rng.integers(6900, 12000, size[::-1], dtype=np.uint16)
        draw_mark(image, number, COUNTS_BASE, COUNTS_BASE + 255 * COUNTS_PER_LEVEL)
    else:
        image = rng.integers(0, 256, (*size[::-1], 3) if kind == "colour" else size[::-1], dtype=np.uint8)
        draw_mark(image, number)
    assert read_mark(image) == number % 65536


def test_the_mark_survives_h264(street: Scene) -> None:
    frames = []
    for number in (0, 1, 2, 4095, 21845, 43690, 65535):
        image = street.visible(number / 30)
        draw_mark(image, number)
        frames.append((number, image))
    decoded = _through_video([image for _, image in frames])
    assert [read_mark(image) for image in decoded] == [number for number, _ in frames]


def test_the_mark_survives_fusion_by_averaging(street: Scene) -> None:
    infrared, visible = street.infrared(9.0), luma(street.visible(9.0)).copy()
    draw_mark(infrared, 4711)
    draw_mark(visible, 4711)
    small = cv2.resize(infrared, (320, 240), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(small, (640, 480))
    for fused in (
        cv2.addWeighted(infrared, 0.5, visible, 0.5, 0),
        cv2.addWeighted(enlarged, 0.7, visible, 0.3, 0),
    ):
        assert read_mark(fused) == 4711
        assert read_mark((0.4 * fused + 60).astype(np.uint8)) == 4711


def test_marks_of_two_moments_are_not_taken_for_one(street: Scene) -> None:
    one, other = street.infrared(1.0), street.infrared(1.0)
    draw_mark(one, 12)
    draw_mark(other, 13)
    with pytest.raises(ValueError, match="not legible"):
        read_mark(cv2.addWeighted(one, 0.5, other, 0.5, 0))


def test_a_picture_without_mark_is_told(street: Scene) -> None:
    with pytest.raises(ValueError, match="no mark"):
        read_mark(street.infrared(1.0))
    with pytest.raises(ValueError, match="no mark"):
        read_mark(np.zeros((480, 640), np.uint16))


def _alone(
    scene: Scene, moment: float, kind: int, height: float, margin: float
) -> list[npt.NDArray[np.float32]]:
    """Boxes of one kind that are high enough, whole and away from every moving or parked thing."""
    found = scene.truth(moment)
    # What is too well hidden for a box of its own still shows its edges: each actor as if it were alone.
    single = [truth([actor], View(*scene.size)).boxes for actor in actors(scene.seed, moment)]
    everything = np.concatenate([found.boxes, *single])
    if kind == PERSON:  # cars keep to the road, no post stands before them
        everything = np.concatenate([everything, _standing(View(*scene.size))])
    chosen = []
    for box in found.boxes[found.class_ids == kind]:
        grown = box + np.array([-margin, -margin, margin, margin], np.float32)
        whole = (grown > 4).all() and grown[2] < scene.size[0] - 4 and grown[3] < scene.size[1] - 4
        others = everything[np.abs(everything - box).max(axis=1) > 0.01]
        apart = (others[:, 0] >= grown[2]) | (others[:, 2] <= grown[0]) | (others[:, 1] >= grown[3])
        apart |= others[:, 3] <= grown[1]
        if whole and apart.all() and box[3] - box[1] >= height:
            chosen.append(box)
    return chosen


def _standing(view: View) -> npt.NDArray[np.float32]:
    """Boxes of trunks and posts, which hide strips of whoever passes behind them."""
    outlines = [trunk(tree) for tree in TREES] + [post(lamp) for lamp in LAMPS]
    pixels = [view.points(np.array(outline)) for outline in outlines]
    return np.array([[*corners.min(axis=0), *corners.max(axis=0)] for corners in pixels], np.float32)


def _smoothed(image: Image) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(luma(image).astype(np.float32), (0, 0), 1.5))


def _edges(image: npt.NDArray[np.float32]) -> float:
    """Strength of the edges in a picture."""
    return float(np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)).mean())


def _through_video(images: list[Image]) -> list[Image]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        stream.options = {"crf": "30", "preset": "veryfast"}
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
