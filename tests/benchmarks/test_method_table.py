"""The table of methods holds each method's metrics and scores in one row."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.rows import trained
from benchmarks.schema import ResultFile, Results, read
from benchmarks.script import RESULTS
from benchmarks.training.method_table import as_markdown, main


def test_a_method_has_one_row_whatever_was_measured_of_it() -> None:
    template = read(RESULTS / "quality.json")
    rows = (
        trained("fusion, bdl", (0, 1), 300, {"scd": (1.8, 1.6), "qabf": (0.6, 0.7)}),
        trained("boxes, mean", (0, 1), 500, {"map50": (0.5, 0.7), "map50 car": (0.5, 0.7)}),
        trained("boxes, bdl", (0, 1), 500, {"map50": (0.6, 0.6)}),
        trained("msrs_segformer, bdl", (0,), 400, {"miou": (0.4,), "iou car": (0.4,)}),
    )
    table = as_markdown(ResultFile(metadata=template.metadata, results=Results(trainings=rows)))
    assert table.splitlines() == [
        "| pictures | SCD | VIF | Qabf | SSIM | mAP50, `boxes` | mIoU, `msrs_segformer` |",
        "|---|---|---|---|---|---|---|",
        "| `bdl` | 1.700 ± 0.141 |  | 0.650 ± 0.071 |  | 0.600 ± 0.000 | 0.400 |",
        "| `mean` |  |  |  |  | 0.600 ± 0.141 |  |",
    ]


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "methods.json")]) == 2
    assert "methods.json" in capsys.readouterr().err
