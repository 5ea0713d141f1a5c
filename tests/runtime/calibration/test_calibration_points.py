"""Matches of another program, and points by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from benchmarks.live.boards import rig
from tdfusion_edge.errors import InputMissing, RequestError, TdfusionError, WorkError
from tdfusion_edge.runtime.calibration.fit import applied
from tdfusion_edge.runtime.calibration.points import (
    Misfit,
    parse_point,
    read_matches,
    solve_by_hand,
    solve_matches,
)

SIZES = (320, 256), (640, 480)


def matches(count: int, wrong: int, seed: int = 0) -> tuple[Any, Any]:
    """The known homography, and matches of which the first ``wrong`` are chance."""
    rng = np.random.default_rng(seed)
    known = rig(rng, SIZES[0])
    ours = rng.uniform((60, 50), (260, 200), (count, 2))
    theirs = applied(known, ours) + rng.normal(0, 0.5, ours.shape)
    theirs[:wrong] = rng.uniform((0, 0), (639, 479), (wrong, 2))
    return known, np.concatenate([ours, np.clip(theirs, 0, (639, 479))], axis=1)


@pytest.mark.parametrize("separator", [" ", ",", "; ", "\t"])
@pytest.mark.parametrize("head", ["", "x_ir,y_ir,x_vis,y_vis\n", "# by a matcher\n\n"])
def test_a_file_of_matches_is_read(tmp_path: Path, separator: str, head: str) -> None:
    path = tmp_path / "matches.txt"
    rows = [[1.5, 2, 3, 4], [5, 6, 7, -8e-1]]
    path.write_text(
        head + "\n".join(separator.join(map(str, row)) for row in rows) + f"\n{separator.join('12345')}\n"
    )
    assert read_matches(path).tolist() == [*rows, [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3 4\n1 2 3\n", r"line 2: expected four numbers: x_ir y_ir x_vis y_vis, got 1 2 3"),
        ("1 2 3 4\nnan 2 3 4\n", "line 2"),
        ("1 2 3 4\nx y u v\n", "line 2"),
        ("x y u v\n", "holds no match"),
        ("", "holds no match"),
        ("1 2 3 4\n\xff".encode("latin-1"), "cannot be read"),
    ],
)
def test_what_is_no_match_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "matches.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TdfusionError, match=message):
        read_matches(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        read_matches(tmp_path / "none.txt")


@settings(max_examples=30)
@given(st.text(max_size=120))
def test_no_text_is_a_crash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        found = read_matches(path)
        assert found.shape[1] == 4
        assert np.isfinite(found).all()
    except TdfusionError:
        pass


def test_half_of_the_matches_may_be_wrong() -> None:
    known, given_matches = matches(80, 40)
    found = solve_matches(given_matches, *SIZES)
    x, y = np.meshgrid(np.linspace(60, 260, 9), np.linspace(50, 200, 7))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    assert np.median(np.linalg.norm(applied(found.homography, grid) - applied(known, grid), axis=1)) < 0.5
    assert 36 <= found.errors.points <= 46
    assert found.given == 80


def test_matches_of_chance_are_refused_with_their_residual() -> None:
    with pytest.raises(WorkError, match=r"got \d+ of 60, median residual \d+\.\d px"):
        solve_matches(matches(60, 60)[1], *SIZES)


@pytest.mark.parametrize(("column", "role", "size"), [(0, "infrared", "320x256"), (3, "visible", "640x480")])
def test_matches_of_other_sizes_are_refused(column: int, role: str, size: str) -> None:
    given_matches = matches(20, 0)[1]
    given_matches[3, column] = 5000
    with pytest.raises(
        RequestError, match=f"1 points lie outside of the {role} picture: expected pixels of {size}"
    ):
        solve_matches(given_matches, *SIZES)


def test_points_by_hand() -> None:
    known, given_matches = matches(8, 0, seed=2)
    rows = [tuple(row) for row in np.round(given_matches).tolist()]
    found = solve_by_hand(rows, *SIZES)  # type: ignore[arg-type]
    ours = given_matches[:, :2]
    assert np.linalg.norm(applied(found.homography, ours) - applied(known, ours), axis=1).max() < 4
    rows[5] = (*rows[5][:2], rows[5][2] - 90, rows[5][3])
    with pytest.raises(WorkError, match="1 of 8 are not, point 6 is off by"):
        solve_by_hand(rows, *SIZES)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="expected 4 or more, and 8 to tell an error, got 3"):
        solve_by_hand(rows[:3], *SIZES)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "1,2,3,nan", "1,2,3,4,5"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--point"):
        parse_point(text)
    assert parse_point("1,2.5,3,-4") == (1, 2.5, 3, -4)


@pytest.mark.parametrize("seed", range(4))
def test_all_points_by_hand_count_alike(seed: int) -> None:
    """The squares of all errors are least, as another solver finds them."""
    known, rows = matches(8, 0, seed=seed)
    solved = solve_by_hand([tuple(row) for row in rows.tolist()], *SIZES)
    ours, theirs = rows[:, :2], rows[:, 2:]
    assert np.allclose(solved.lengths, np.linalg.norm(theirs - applied(solved.homography, ours), axis=1))

    def off(numbers: Any) -> Any:
        return (theirs - applied(np.append(numbers, 1.0).reshape(3, 3), ours)).ravel()

    best = optimize.least_squares(off, (known / known[2, 2]).ravel()[:8], x_scale="jac")
    assert (solved.lengths**2).sum() == pytest.approx(2 * best.cost, rel=1e-3)


def test_a_misfit_tells_every_point() -> None:
    rows = matches(8, 0, seed=2)[1].tolist()
    rows[5][2] -= 90
    with pytest.raises(Misfit) as refused:
        solve_by_hand([tuple(row) for row in rows], *SIZES)
    assert refused.value.lengths is not None
    assert int(np.argmax(refused.value.lengths)) == 5
    assert (np.delete(refused.value.lengths, 5) < 12).all()


def test_of_five_points_none_is_blamed() -> None:
    """Any four of them fit exactly, so that a fifth may be called wrong for the mistake of another."""
    rows = matches(5, 0, seed=2)[1].tolist()
    rows[1][2] -= 90
    with pytest.raises(Misfit, match="of 5 it cannot be told which") as refused:
        solve_by_hand([tuple(row) for row in rows], *SIZES)
    assert refused.value.lengths is None
