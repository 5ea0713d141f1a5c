"""The kernels around a detector: what it sees, and the boxes that it proposes, against the runtime's own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import built_kernels
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.kernels import emulator
from benchmarks.kernels.emulator import Launch
from tdfusion_edge import detections
from tdfusion_edge.color import split
from tdfusion_edge.detections import Detections, best_of, found_in
from tdfusion_edge.errors import EngineError
from tdfusion_edge.resize import as_seen, resized_planes, taps_of
from tdfusion_edge.runtime.engines.cuda import detector
from tdfusion_edge.runtime.engines.cuda.detector import Looking
from tdfusion_edge.runtime.heads.boxes.run import require_range, require_scores
from tdfusion_edge.runtime.heads.inputs import Inputs

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")

SEEN, PICTURE, NAMES = (16, 12), (40, 30), ("person", "bicycle", "car")
ANCHORS = 230
POISON = 0xA5


class Addressed:
    """An engine as far as the kernels' parameters need one."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.addresses = {name: array.ctypes.data for name, array in arrays.items()}

    def enqueue(self, stream: int) -> None:
        raise AssertionError


def launch(
    how: Any, kernel: str, blocks: int, p: Any, buffers: Mapping[str, Any], *, backwards: bool = False
) -> None:
    """One launch in this process, or under the sanitizers where ``how`` is (program, folder)."""
    threads, shared = {
        detector.SHRINK: (detector.SHRINK_THREADS, 0),
        detector.BOXES: (detector.BOXES_THREADS, detector.BOXES_SHARED),
    }[kernel]
    if isinstance(how, tuple):
        emulator.run(how[0], [Launch(kernel, blocks, threads, shared, p, buffers, backwards)], how[1])
        return
    for name, array in buffers.items():
        setattr(p, name, array.ctypes.data)
    how.launch(kernel, blocks, threads, shared, bytes(p), backwards=backwards)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> emulator.Library:
    return built_kernels.library(tmp_path_factory)


def proposals(seed: int, *, ties: bool = False, damage: float | None = None) -> tuple[Any, Any]:
    """Boxes around, over and beside the picture, and scores of which some are equal."""
    random = np.random.default_rng(seed)
    corners = random.uniform(-6, 20, (ANCHORS, 2))
    boxes = np.concatenate((corners, corners + random.uniform(-2, 9, (ANCHORS, 2))), axis=1).astype(
        np.float32
    )
    scores = random.random((ANCHORS, len(NAMES)), dtype=np.float32) ** 2
    if ties:
        scores = np.round(scores * 5) / np.float32(5)
    if damage is not None:
        boxes[random.integers(0, ANCHORS, 9), random.integers(0, 4, 9)] = damage
    return boxes, scores


def taken(how: Any, boxes: Any, scores: Any, threshold: float, *, backwards: bool = False) -> detector.Found:
    """What the kernel gives."""
    looking = Looking(Addressed({"boxes": boxes, "scores": scores}), SEEN, False, False, *scores.shape)
    p = detector.boxes_parameters(PICTURE, looking)
    found = np.full(detector.FOUND_BYTES, POISON, np.uint8)
    buffers = {
        "boxes": boxes,
        "scores": scores,
        "threshold": np.array([threshold], np.float32),
        "found": found,
    }
    launch(how, detector.BOXES, 1, p, buffers, backwards=backwards)
    return detector.found_of(found, len(NAMES))


def same(got: Detections, wanted: Detections) -> None:
    """To the last bit, NaN included."""
    for name in ("boxes", "scores", "class_ids"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


def judged(found: detector.Found, threshold: float) -> Detections:
    require_range("detector", found.low, found.high, finite=found.finite)
    return best_of(found.proposals, NAMES, threshold=threshold)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    ties=st.booleans(),
    threshold=st.sampled_from([0.0, 0.25, 0.6, 0.6000001, 1.0]),
)
def test_boxes_are_those_of_the_cpu(
    library: emulator.Library, seed: int, ties: bool, threshold: float
) -> None:
    boxes, scores = proposals(seed, ties=ties)
    wanted = found_in(boxes, scores, NAMES, seen=SEEN, picture=PICTURE, threshold=threshold)
    with patch.object(detections, "best_of", wraps=best_of) as handed:
        found_in(boxes, scores, NAMES, seen=SEEN, picture=PICTURE, threshold=threshold)
    found = taken(library, boxes, scores, threshold, backwards=seed % 2 == 1)
    for got, given_there in zip(found.proposals, handed.call_args.args[0], strict=True):
        np.testing.assert_array_equal(got, given_there)
    same(judged(found, threshold), wanted)
    assert (found.low, found.high, found.finite) == (scores.min(), scores.max(), True)


def give_room(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """For so many proposals, on the CPU as well."""
    for module in (detections, detector):
        monkeypatch.setattr(module, "PROPOSALS", most)
    monkeypatch.setattr(detector, "FOUND_BYTES", 4 * (detector.HEAD + detector.ROW * most))


@pytest.mark.parametrize("most", [1, 7, 100, 150])
@pytest.mark.parametrize("ties", [True, False])
def test_of_too_many_the_best_are_taken(
    library: emulator.Library, monkeypatch: pytest.MonkeyPatch, most: int, ties: bool
) -> None:
    """Of equal ones the earlier; the room on the GPU is that of the CPU, here less than usual."""
    boxes, scores = proposals(3, ties=ties)
    give_room(monkeypatch, most)
    wanted = found_in(boxes, scores, NAMES, seen=SEEN, picture=PICTURE, threshold=0.05)
    found = taken(library, boxes, scores, 0.05)
    assert len(found.proposals.scores) == most
    assert (np.diff(found.proposals.scores) <= 0).all()
    same(judged(found, 0.05), wanted)


@pytest.mark.parametrize(
    ("damage", "many"), [(np.nan, False), (np.nan, True), (np.inf, False), (-np.inf, True)]
)
def test_boxes_that_are_none_come_to_the_same_end(
    library: emulator.Library, damage: float, many: bool
) -> None:
    boxes, scores = proposals(5, damage=damage)
    if many:
        boxes[:, 1::2] = damage
    ends: list[Any] = []
    for way in (
        lambda: found_in(boxes, scores, NAMES, seen=SEEN, picture=PICTURE, threshold=0.01),
        lambda: judged(taken(library, boxes, scores, 0.01), 0.01),
    ):
        try:
            ends.append(way())
        except ValueError as error:
            ends.append(str(error))
    if np.isnan(damage) and many:
        assert ends == ["boxes must be finite, got NaN or infinity"] * 2
    else:
        same(ends[1], ends[0])
        assert bool(len(ends[0])) == (not many)


@pytest.mark.parametrize("damage", [np.nan, -np.nan, np.inf, -np.inf, 1.5, -0.2])
def test_scores_that_are_none_are_told_in_the_same_words(library: emulator.Library, damage: float) -> None:
    boxes, scores = proposals(6)
    scores[17, 1] = damage
    found = taken(library, boxes, scores, 0.25)
    said = []
    for way in (lambda: require_scores("detector", scores), lambda: judged(found, 0.25)):
        with pytest.raises(EngineError) as error:
            way()
        said.append(str(error.value))
    assert said[0] == said[1]
    if np.isnan(damage):
        scores[17, 1] = 0  # it is above no threshold
        same(best_of(found.proposals, NAMES), found_in(boxes, scores, NAMES, seen=SEEN, picture=PICTURE))


@pytest.mark.parametrize(
    ("picture", "seen"),
    [
        ((640, 480), (416, 320)),
        ((61, 47), (16, 12)),
        ((40, 30), (13, 9)),
        ((9, 7), (16, 12)),
        ((33, 65), (16, 12)),
    ],
)
def test_rows_and_columns_are_those_of_the_one_way_to_a_smaller_picture(
    picture: tuple[int, int], seen: tuple[int, int]
) -> None:
    luma = np.random.default_rng(0).random(picture[::-1], dtype=np.float32)
    rows, columns = taps_of(luma.shape, *seen)
    assert rows.weights.sum(axis=1) == pytest.approx(1)
    whole = [
        np.zeros((len(taps.first), side), np.float32)
        for taps, side in zip((rows, columns), luma.shape, strict=True)
    ]
    for matrix, taps in zip(whole, (rows, columns), strict=True):
        np.put_along_axis(
            matrix, taps.first[:, None] + np.arange(taps.weights.shape[1]), taps.weights, axis=1
        )
    np.testing.assert_allclose(whole[0] @ luma @ whole[1].T, as_seen(luma, *seen), atol=3e-6)


def seen_by(
    how: Any, luma: Any, visible: Any, infrared: Any = None, *, colour: bool, backwards: bool = False
) -> tuple[Any, Any, Any]:
    """What the kernel makes of a luma, a picture and infrared levels: luma, chroma and infrared."""
    seen, warm = (np.full(SEEN[::-1], np.nan, np.float32) for _ in range(2))
    chroma = np.full((2, *SEEN[::-1]), np.nan, np.float32)
    inputs = {"luma": seen}
    if colour:
        inputs["chroma"] = chroma
    if infrared is not None:
        inputs["infrared"] = warm
    looking = Looking(Addressed(inputs), SEEN, colour, infrared is not None, ANCHORS, len(NAMES))
    size = luma.shape[1], luma.shape[0]
    constants = detector.shrink_constants(size, looking)
    p = detector.shrink_parameters(size, looking, constants)
    buffers = {"luma": luma, **constants, "seen": seen}
    if visible is not None:
        buffers["visible"] = visible
    if colour:
        buffers["seen_chroma"] = chroma
    if infrared is not None:
        buffers.update(aligned=infrared, seen_infrared=warm)
    launch(how, detector.SHRINK, detector.shrink_blocks(looking), p, buffers, backwards=backwards)
    return seen, chroma, warm


@pytest.mark.parametrize("size", [(40, 30), (61, 47), (16, 12), (9, 7)])
def test_a_detector_sees_what_the_cpu_would_show_it(library: emulator.Library, size: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    luma = random.random(size[::-1], dtype=np.float32)
    visible = cv2.GaussianBlur(random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8), (0, 0), 1)
    levels = random.integers(0, 256, size[::-1], dtype=np.uint8)
    seen, chroma, warm = seen_by(library, luma, visible, levels, colour=True)
    np.testing.assert_allclose(seen, as_seen(luma, *SEEN), atol=3e-6)
    wanted = Inputs(*SEEN, ("luma", "infrared")).of(luma, infrared=levels)["infrared"][0, 0]
    np.testing.assert_allclose(warm, wanted, atol=3e-6)
    planes = split(visible)[1]
    assert planes is not None
    # On the CPU every step is rounded to 8 bits; here none is.
    assert np.abs(chroma * 255 - resized_planes(planes, *SEEN)).max() <= 1.1
    exact = np.stack([as_seen(plane / np.float32(255), *SEEN) for plane in planes])
    np.testing.assert_allclose(chroma, exact, atol=3e-6)


def test_grey_has_neutral_chroma_and_luma_can_be_alone(library: emulator.Library) -> None:
    luma = np.random.default_rng(2).random(PICTURE[::-1], dtype=np.float32)
    _, chroma, _ = seen_by(library, luma, None, colour=True)
    np.testing.assert_allclose(chroma, 128 / 255, rtol=1e-6)
    grey = np.repeat(
        np.random.default_rng(3).integers(0, 256, (*PICTURE[::-1], 1), dtype=np.uint8), 3, axis=2
    )
    _, chroma, _ = seen_by(library, luma, grey, colour=True)
    np.testing.assert_allclose(chroma, 128 / 255, rtol=1e-6)
    seen, untouched, unseen = seen_by(library, luma, grey, colour=False)
    np.testing.assert_allclose(seen, as_seen(luma, *SEEN), atol=3e-6)
    assert np.isnan(untouched).all()
    assert np.isnan(unseen).all()


def test_infrared_can_be_seen_without_colours(library: emulator.Library) -> None:
    luma = np.random.default_rng(2).random(PICTURE[::-1], dtype=np.float32)
    levels = np.random.default_rng(4).integers(0, 256, PICTURE[::-1], dtype=np.uint8)
    seen, untouched, warm = seen_by(library, luma, None, levels, colour=False)
    np.testing.assert_allclose(seen, as_seen(luma, *SEEN), atol=3e-6)
    np.testing.assert_allclose(warm, as_seen(levels, *SEEN), atol=3e-6)
    assert np.isnan(untouched).all()


@pytest.mark.slow
@pytest.mark.parametrize("backwards", [False, True])
def test_both_kernels_under_the_sanitizers(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backwards: bool,
) -> None:
    how = built_kernels.built(tmp_path_factory, emulator.SANITIZED), tmp_path
    boxes, scores = proposals(9, ties=True)
    for most in (3000, 100):
        give_room(monkeypatch, most)
        found = taken(how, boxes, scores, 0.05, backwards=backwards)
        wanted = found_in(boxes, scores, NAMES, seen=SEEN, picture=PICTURE, threshold=0.05)
        same(judged(found, 0.05), wanted)
    luma = np.random.default_rng(2).random((47, 61), dtype=np.float32)
    visible = np.random.default_rng(3).integers(0, 256, (47, 61, 3), dtype=np.uint8)
    levels = np.random.default_rng(4).integers(0, 256, luma.shape, dtype=np.uint8)
    seen, _, warm = seen_by(how, luma, visible, levels, colour=True, backwards=backwards)
    np.testing.assert_allclose(seen, as_seen(luma, *SEEN), atol=3e-6)
    np.testing.assert_allclose(warm, as_seen(levels, *SEEN), atol=3e-6)
