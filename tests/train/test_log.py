"""What a training writes while it runs, and what of it is left when it is resumed."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import learned, recipe, trained

from tdfusion_edge.errors import RequestError
from tdfusion_edge.install import install_command
from tdfusion_edge.train.log import EVERY, Log


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def json_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_losses_are_means_over_the_steps_that_had_them(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        for step in range(1, EVERY + 1):
            log.losses(step, {"a": float(step)} if step % 2 else {"b": 1.0})
        log.losses(EVERY + 1, {"a": 7.0})
        log.figures(EVERY + 1, {"ssim": 0.25})
    assert json_rows(tmp_path) == [
        {"step": EVERY, "losses": {"a": EVERY / 2, "b": 1.0}},
        {"step": EVERY + 1, "losses": {"a": 7.0}},
        {"step": EVERY + 1, "validation": {"ssim": 0.25}},
    ]
    assert table(tmp_path / "losses.csv") == [
        {"step": str(EVERY), "a": str(EVERY / 2), "b": "1.0"},
        {"step": str(EVERY + 1), "a": "7.0", "b": ""},
    ]
    assert table(tmp_path / "validation.csv") == [{"step": str(EVERY + 1), "ssim": "0.25"}]


def test_a_table_grows_columns_and_is_whole_after_every_row(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.figures(1, {"map": 0.1})
        assert table(tmp_path / "validation.csv") == [{"step": "1", "map": "0.1"}]
        log.figures(2, {"map": 0.2, 'map50 a, "b"': 0.3})
        log.figures(3, {'map50 a, "b"': 0.4})
        assert table(tmp_path / "validation.csv") == [
            {"step": "1", "map": "0.1", 'map50 a, "b"': ""},
            {"step": "2", "map": "0.2", 'map50 a, "b"': "0.3"},
            {"step": "3", "map": "", 'map50 a, "b"': "0.4"},
        ]


def test_going_on_drops_what_came_later_and_a_line_that_was_cut(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        for step in (2, 4, 6):
            log.losses(step, {"loss": 1.0 / step, **({"late": 1.0} if step == 6 else {})})
            log.figures(step, {"ssim": step / 10})
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 7, "loss')
    with Log(tmp_path, begun=4) as log:
        log.figures(6, {"ssim": 0.9})
    assert [row["step"] for row in json_rows(tmp_path)] == [2, 2, 4, 4, 6]
    assert table(tmp_path / "losses.csv") == [
        {"step": "2", "loss": "0.5"},
        {"step": "4", "loss": "0.25"},
    ]
    assert [row["ssim"] for row in table(tmp_path / "validation.csv")] == ["0.2", "0.4", "0.9"]
    with Log(tmp_path) as log:
        log.figures(1, {"ssim": 0.5})
    assert [row["step"] for row in json_rows(tmp_path)] == [1]


def test_a_process_that_does_not_lead_writes_nothing(tmp_path: Path) -> None:
    with Log(tmp_path, enabled=False, tensorboard=True) as log:
        log.losses(EVERY, {"loss": 1.0})
        log.figures(EVERY, {"ssim": 0.5})
        log.note({"step": 1})
    assert not list(tmp_path.iterdir())


def test_meta_and_fusion_steps_have_columns_of_their_own(made: Path, tmp_path: Path) -> None:
    trained(learned(), made, tmp_path / "run")
    rows = table(tmp_path / "run" / "losses.csv")
    assert [row["step"] for row in rows] == ["4", "8"]
    assert set(rows[0]) >= {"step", "meta inner", "meta outer", "meta norm", "loss", "task loss"}
    assert all(float(value) >= 0 for value in rows[0].values())
    begun = json_rows(tmp_path / "run")[0]["begun"]
    assert begun["device"] == "cpu"
    assert begun["processes"] == 1
    assert "torch" in begun


def test_tensorboard_has_the_same_numbers_once(made: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    settings = recipe(validate_every=1)
    trained(settings, made, run, steps=2, tensorboard=True)
    with Log(run, begun=1, tensorboard=True) as log:  # as a training that went on from step 1
        log.figures(3, {"ssim": 0.75})
    events = accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    values = {event.step: event.value for event in events.Scalars("validation/ssim")}
    expected = {row["step"]: row["validation"]["ssim"] for row in json_rows(run) if "validation" in row}
    assert values == pytest.approx(expected)
    assert sorted(values) == [1, 3]


def test_tensorboard_that_is_not_there_is_named_before_anything_is_done(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RequestError, match=re.escape(install_command("tensorboard"))):
        trained(recipe(), made, tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
