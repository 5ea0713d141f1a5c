"""What is written is not what is read, by whichever name, and no two outputs are one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.clashes import is_same_place, refuse_clashes
from tdfusion_edge.errors import RequestError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with ``in.mp4``, three more names of it, and a folder ``ir`` with a picture."""
    (tmp_path / "in.mp4").write_bytes(b"video")
    os.link(tmp_path / "in.mp4", tmp_path / "hard.mp4")
    (tmp_path / "soft.mp4").symlink_to("in.mp4")
    (tmp_path / "ir").mkdir()
    (tmp_path / "ir" / "0.png").write_bytes(b"picture")
    (tmp_path / "link").symlink_to("ir")
    return tmp_path


@pytest.mark.parametrize(
    ("output", "read", "message"),
    [
        ("in.mp4", "in.mp4", "is an input already"),
        ("hard.mp4", "in.mp4", "is an input already"),
        ("soft.mp4", "in.mp4", "is an input already"),
        ("in.mp4", "soft.mp4", "is an input already"),
        ("ir/../in.mp4", "hard.mp4", "is an input already"),
        ("IN.mp4", "in.mp4", "is an input already"),
        ("ir", "link", "is an input already"),
        ("IR", "ir", "is an input already"),
        ("ir/out.mp4", "ir", "lies in a folder that is read"),
        ("link/deep/out", "ir", "lies in a folder that is read"),
        (".", "ir", "holds an input"),
        ("ir", "ir/0.png", "holds an input"),
        ("link", "ir/0.png", "holds an input"),
    ],
)
def test_an_output_that_would_touch_an_input_is_refused(
    place: Path, output: str, read: str, message: str
) -> None:
    before = sorted(place.rglob("*"))
    with pytest.raises(RequestError, match=rf"--output .* {message}"):
        refuse_clashes([("--output", place / output)], [place / read])
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("output", "read"),
    [
        ("out.mp4", "in.mp4"),
        ("ir2", "ir"),
        (".", "in.mp4"),  # pictures are written there, and that is none
        ("ir/out.mp4", "ir/0.png"),
        ("out.mp4", "absent.mp4"),
    ],
)
def test_what_touches_nothing_is_allowed(place: Path, output: str, read: str) -> None:
    refuse_clashes([("--output", place / output)], [place / read])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.mp4", "a.mp4"),
        ("a.mp4", "ir/../a.mp4"),
        ("hard.mp4", "in.mp4"),
        ("a.mp4", "A.MP4"),
        ("ir/x", "link/x"),
        ("caf\u00e9.mp4", "cafe\u0301.mp4"),
    ],
)
def test_two_outputs_that_are_one_are_refused(place: Path, first: str, second: str) -> None:
    with pytest.raises(RequestError, match=r"--detections .* is an output already"):
        refuse_clashes([("--output", place / first), ("--detections", place / second)], [])


def test_links_in_a_circle_and_names_that_are_too_long_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("b.mp4")
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "ir").mkdir()
    long = tmp_path / ("x" * 300)
    refuse_clashes([("--output", tmp_path / "a.mp4"), ("--output", long)], [tmp_path / "ir", long / "y"])
    assert not is_same_place(tmp_path / "a.mp4", tmp_path / "a.mp4")


@given(
    st.lists(st.sampled_from(("in.mp4", "hard.mp4", "soft.mp4", "ir", "link", "x", ".", "..")), min_size=1),
)
def test_the_same_place_is_an_equivalence(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """Whatever way a path is spelt, what is one by its file is refused, and nothing else."""
    root = tmp_path_factory.getbasetemp() / "same"
    if not root.exists():
        (root / "ir").mkdir(parents=True)
        (root / "in.mp4").write_bytes(b"")
        os.link(root / "in.mp4", root / "hard.mp4")
        (root / "soft.mp4").symlink_to("in.mp4")
        (root / "link").symlink_to("ir")
    for name in names:
        for other in ("in.mp4", "ir"):
            one = is_same_place(root / "ir" / ".." / name, root / other)
            assert one == ((root / name).exists() and (root / name).samefile(root / other))
            if one:
                with pytest.raises(RequestError):
                    refuse_clashes([("-o", root / name)], [root / other])


def test_two_names_of_one_device_are_one(tmp_path: Path) -> None:
    (tmp_path / "camera").symlink_to("/dev/null")
    assert is_same_place(tmp_path / "camera", Path("/dev/null"))
    assert not is_same_place(Path("/dev/zero"), Path("/dev/null"))
