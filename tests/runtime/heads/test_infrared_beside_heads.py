"""Heads that see infrared beside the fused picture get the pair's own, aligned, where both sensors are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from red import HEIGHT, PLACES, WIDTH, write_bundle, write_labelled

from tdfusion_edge.bundle import INFRARED, Bundle
from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads.inputs import Inputs
from tdfusion_edge.runtime.picture.border import Border

SIZE = (2 * WIDTH, 2 * HEIGHT)
COLD, WARM, LIT = 40, 220, 90


def scene(*warm: int) -> tuple[Any, Any]:
    """Infrared that is warm at the places where the detector looks, and visible of one level."""
    infrared = np.full(SIZE[::-1], COLD, np.uint8)
    for place in warm:
        x1, y1, x2, y2 = (2 * side for side in PLACES[place])
        infrared[y1:y2, x1:x2] = WARM
    return infrared, np.full((*SIZE[::-1], 3), LIT, np.uint8)


@pytest.fixture
def warm_bundle(mean_bundle: Bundle, tmp_path: Path) -> Path:
    """A head whose scores are the mean of infrared at two places; the fused picture is the mean of both."""
    return write_bundle(tmp_path / "warm", mean_bundle, INFRARED)


def levels(found: Any) -> list[float]:
    """Scores by place, in levels of 8 bits."""
    order = np.argsort(found.boxes[:, 0])
    return [round(255 * float(score), 1) for score in found.scores[order]]


def test_it_sees_infrared_and_not_the_fused_picture(warm_bundle: Path) -> None:
    with Fuser(warm_bundle, threads=1) as fuse:
        for warm in ((0,), (1,), (), (0, 1)):
            want = [WARM if place in warm else COLD for place in (0, 1)]
            assert levels(fuse(*scene(*warm)).detections) == want


def test_one_sensor_alone_stands_in_its_place(warm_bundle: Path) -> None:
    infrared, visible = (Frame(image, 0, 0, "x") for image in scene(0))
    with Fuser(warm_bundle, threads=1) as fuse:
        for pair, want in (
            (Pair(None, visible), [LIT, LIT]),
            (Pair(infrared, visible), [WARM, COLD]),
            (Pair(infrared, None), [WARM, COLD]),
        ):
            result = fuse.fuse(pair)
            assert result is not None
            assert levels(result.detections) == want


def test_outside_of_infrared_s_view_it_sees_visible(warm_bundle: Path) -> None:
    """A shift leaves the first place without infrared."""
    shift = PLACES[1][0] - PLACES[0][0]
    registration = rig.Registration(
        homography=((1.0, 0.0, 2.0 * shift), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        infrared_size=SIZE, visible_size=SIZE,
    )  # fmt: skip
    infrared, visible = scene(0, 1)
    infrared[:] = WARM
    with Fuser(warm_bundle, threads=1, registration=registration) as fuse:
        left, right = levels(fuse(infrared, visible).detections)
    assert left == LIT
    assert WARM - 2 <= right <= WARM


def test_inputs_are_filled_by_name_and_each_time_anew() -> None:
    random = np.random.default_rng(0)
    luma, other, infrared = (random.integers(0, 256, SIZE[::-1], np.uint8) for _ in range(3))
    inputs = Inputs(WIDTH, HEIGHT, ("luma", INFRARED))
    alone = Inputs(WIDTH, HEIGHT)
    want = {name: alone.of(one)["luma"].copy() for name, one in (("luma", luma), ("infrared", infrared))}
    got = inputs.of(luma, infrared=infrared)
    assert list(got) == ["luma", "infrared"]
    assert all(np.array_equal(got[name], want[name]) for name in want)
    got = inputs.of(other)
    assert np.array_equal(got["infrared"], got["luma"])
    assert np.array_equal(got["luma"], alone.of(other)["luma"])
    assert list(alone.of(luma, infrared=infrared)) == ["luma"]


def test_a_camera_s_own_pixels_are_refused_beside_a_luma(warm_bundle: Path) -> None:
    infrared, visible = scene(0)
    luma = visible[..., 0]
    counts, smaller = infrared.astype(np.uint16) * 100, infrared[::2, ::2]
    with Fuser(warm_bundle, threads=1) as fuse:
        for wrong in (counts, smaller):
            with pytest.raises(RequestError, match="infrared beside a luma: expected uint8"):
                fuse.find(luma, infrared=wrong)
        assert levels(fuse.find(luma, infrared=infrared)["boxes"]) == [WARM, COLD]
        assert levels(fuse.find(luma)["boxes"]) == [LIT, LIT]


def test_rows_of_one_sensor_are_seen_without_the_other(
    warm_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is warm is found in every picture of both, and in visible alone, all of one level, it is not."""
    write_labelled(tmp_path, [scene(k) for k in range(len(PLACES))])
    command = ["eval", str(warm_bundle), "--data", str(tmp_path), "--labels", "yolo:labels", "--baselines"]
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["detection"]
    both = ("mean", "average", "additive", "maximum", "infrared")
    assert [scores[row]["map50"] for row in both] == [1] * len(both)
    assert scores["visible"]["map50"] < 1


def test_nothing_is_blended_at_a_border_for_heads_that_do_not_see_it(
    mean_bundle: Bundle, warm_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fused luma is, once a picture; infrared only beside it, for a head that takes it."""
    blended: list[int] = []
    blend = Border.blend

    def counted(border: Border, *pictures: Any) -> Any:
        blended.append(1)
        return blend(border, *pictures)

    monkeypatch.setattr(Border, "blend", counted)
    registration = rig.Registration(
        homography=((1.0, 0.0, 20.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), infrared_size=SIZE, visible_size=SIZE
    )
    for path, times in ((write_bundle(tmp_path / "red", mean_bundle), 1), (warm_bundle, 2)):
        blended.clear()
        with Fuser(path, threads=1, registration=registration) as fuse:
            fuse(*scene(0))
        assert len(blended) == times
