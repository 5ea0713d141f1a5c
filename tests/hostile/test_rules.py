"""The rules of the harness see what they are there for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostile.case import SECRET, Case, Run, Wrong
from hostile.program import Program
from hostile.rules import problems, snapshot
from hostile.trial import try_out

ERROR = "error: vis.png is empty: expected an image, got 0 bytes\n"


def said(code: int | None = 1, out: str = "", err: str = ERROR, **more: Any) -> Run:
    return Run(code, out, err, 0.1, 1 << 20, **more)


def wrong(folder: Path, run: Run) -> None:
    raise Wrong("the wrong picture")


def judged(place: Path, case: Case, run: Run, before: dict[str, str] | None = None) -> list[str]:
    (place / "work").mkdir(exist_ok=True)
    (place / "home").mkdir(exist_ok=True)
    after = snapshot(place / "work")
    return problems(case, [run], place, after if before is None else before, after)


def case(*wanted: Any, **more: Any) -> Case:
    return Case("made up", lambda folder: [], wanted or ("error",), **more)


def test_a_clear_error_is_as_wanted(tmp_path: Path) -> None:
    assert judged(tmp_path, case(says=r"vis\.png"), said()) == []


@pytest.mark.parametrize(
    ("run", "seen"),
    [
        (said(0), "no error, exit code 0"),
        (said(err="fault: something\n"), "no clear error line"),
        (said(err="error: no\n"), "no clear error line"),
        (said(err=ERROR * 2), "more than one error line"),
        (said(err="error: ir.png is empty\n"), "does not say"),
        (said(-11), "exit code -11"),
        (said(None, killed="hangs beyond 20 s"), "hangs"),
        (said(left=True), "outlived"),
        (said(err=f"Traceback (most recent call last):\n{ERROR}"), "a crash"),
        (said(err=f"{ERROR}/lib/a.py:3: RuntimeWarning: overflow\n"), "a warning of Python"),
        (said(out="\x1b[31m"), "comes out"),
        (said(out="\u202e"), "comes out"),
        (said(out="\x9b"), "comes out"),
        (said(out="n" * 9000), "characters in a line"),
        (said(out=f"rtsp://***:{SECRET}@host"), "the secret is printed"),
        (said(out=SECRET.replace("Z", "%5A")), "the secret is printed"),
    ],
)
def test_what_may_not_be_is_seen(tmp_path: Path, run: Run, seen: str) -> None:
    assert any(seen in line for line in judged(tmp_path, case(says=r"vis\.png"), run))


def test_a_traceback_that_was_asked_for_is_none(tmp_path: Path) -> None:
    told = "debug: where the error comes from\nTraceback (most recent call last):\n"
    assert judged(tmp_path, case(), said(err=told + ERROR)) == []


def test_an_error_leaves_nothing_and_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "ir.png").write_bytes(b"one")
    before = snapshot(tmp_path / "work") | {"gone.png": "0"}
    (tmp_path / "work" / "ir.png").write_bytes(b"other")
    (tmp_path / "work" / "out.png").write_bytes(SECRET.encode())
    found = " ".join(judged(tmp_path, case(), said(), before))
    for words in (
        "ir.png was changed",
        "gone.png was removed",
        "leaves out.png",
        "secret is written: work/out.png",
    ):
        assert words in found


def test_a_right_outcome_is_looked_at(tmp_path: Path) -> None:
    right = said(0, "1 fused", "")
    assert judged(tmp_path, case("right"), right) == []
    assert "the wrong picture" in judged(tmp_path, case("right", check=wrong), right)[0]
    assert judged(tmp_path, case("right", check=wrong, told="fused"), right) == []
    assert "exit code 1" in judged(tmp_path, case("right"), said())[0]
    assert judged(tmp_path, case("right", "error", check=wrong), said()) == []


def test_a_loss_is_counted(tmp_path: Path) -> None:
    assert judged(tmp_path, case("degraded"), said(0, "3 frames have no partner", "")) == []
    assert "without a count" in judged(tmp_path, case("degraded"), said(0, "all is well", ""))[0]


def test_a_process_that_does_not_end_is_ended(program: Program, tmp_path: Path) -> None:
    # A live camera runs until someone ends it.
    live = Case(
        "live", lambda folder: ["run", "--camera", "sim://ir?size=80x60,sim://vis?size=80x60"], limit=2
    )
    found, (run,) = try_out(program, live, tmp_path)
    assert run.code is None
    assert any("hangs beyond 2 s" in line for line in found)
