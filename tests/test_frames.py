from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from tdfusion_edge import Frame, Pair
from tdfusion_edge.errors import SourceError


def frame(time_ns: int = 0, **changes: Any) -> Frame:
    good: dict[str, Any] = {"image": np.zeros((2, 3), np.uint8), "sequence": 7, "source": "ir0"}
    return Frame(time_ns=time_ns, **good | changes)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 3), np.uint8), ((2, 3), np.uint16), ((2, 3, 3), np.uint8), ((1, 1), np.uint8)]
)
def test_pictures_that_pass(shape: tuple[int, ...], dtype: type) -> None:
    assert frame(image=np.zeros(shape, dtype)).size == (shape[1], shape[0])


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((2, 3), np.float32),
        ((2, 3), np.int16),
        ((2, 3), ">u2"),
        ((2, 3, 3), np.uint16),
        ((2, 3, 1), np.uint8),
        ((2, 3, 4), np.uint8),
        ((6,), np.uint8),
        ((), np.uint8),
        ((0, 3), np.uint8),
        ((2, 0, 3), np.uint8),
    ],
)
def test_pictures_that_do_not(shape: tuple[int, ...], dtype: Any) -> None:
    with pytest.raises(SourceError, match=r"ir0: frame 7 .*: expected uint8 or uint16 \(H, W\)") as refused:
        frame(image=np.zeros(shape, dtype))
    assert refused.value.got == f"{np.dtype(dtype)} {shape}"


def test_a_frame_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        frame().time_ns = 1  # type: ignore[misc]


def test_a_pair_has_the_time_of_visible_and_the_skew_of_infrared_against_it() -> None:
    pair = Pair(infrared=frame(time_ns=130), visible=frame(time_ns=100))
    assert (pair.time_ns, pair.skew_ns) == (100, 30)


@pytest.mark.parametrize(
    "pair", [Pair(infrared=frame(time_ns=50), visible=None), Pair(infrared=None, visible=frame(time_ns=50))]
)
def test_a_single_has_its_own_time_and_no_skew(pair: Pair) -> None:
    assert (pair.time_ns, pair.skew_ns) == (50, None)


def test_a_pair_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        Pair(infrared=None, visible=None)
