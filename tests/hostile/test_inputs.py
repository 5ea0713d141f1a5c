"""Every bad picture, video, label, bundle and checkpoint comes out right, as a clear error, or as a counted loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostile.case import Case
from hostile.families import bundles, checkpoints, labels, pictures, pixels, videos
from hostile.program import Program
from hostile.trial import as_parameters, try_out


@pytest.mark.parametrize("case", as_parameters(pictures, pixels, videos, labels, bundles, checkpoints))
def test_input(case: Case, program: Program, tmp_path: Path) -> None:
    found, runs = try_out(program, case, tmp_path)
    assert not found, (found, runs)
