"""``docs/jsonl.md`` is the schema of the lines: its tables are read and held against lines of all kinds."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.cli import main
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.masks import Mask
from tdfusion_edge.observations import Event, Temperature
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.jsonl import EventRow, JsonlSink, NamedRecord, Record, iso8601, schema

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "jsonl.md"
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TYPES: dict[str, Callable[[Any], bool]] = {
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": is_number,
    "string": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, dict),
    "array of objects": lambda value: isinstance(value, list) and all(isinstance(v, dict) for v in value),
    "array of 2 integers": lambda value: len(value) == 2 and all(isinstance(v, int) for v in value),
    "array of 4 numbers": lambda value: len(value) == 4 and all(map(is_number, value)),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def tables() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Field to type: of a line, of one of its detections and of one of its events."""
    line, _, rest = DOCUMENT.read_text(encoding="utf-8").partition("Each of `detections` is")
    found, _, event = rest.partition("Each of `events` is")
    return dict(ROW.findall(line)), dict(ROW.findall(found)), dict(ROW.findall(event))


LINE, FOUND, EVENT = tables()


def fits(value: Any, words: str) -> bool:
    return any(TYPES[word](value) for word in words.split(" or "))


def hold(row: dict[str, Any], *, named: bool = False) -> None:
    """Every documented field is there, of its type, in this order, and no other."""
    expected = [name for name in LINE if named or name != "name"]
    assert [name for name in row if name != "name"] == [name for name in expected if name != "name"]
    assert ("name" in row) == named
    for name, value in row.items():
        assert fits(value, LINE[name]), f"{name}: {value!r} is no {LINE[name]}"
    for kind, table in (("detections", FOUND), ("events", EVENT)):
        for found in row[kind]:
            assert list(found) == list(table)
            for name, value in found.items():
                assert fits(value, table[name]), f"{name}: {value!r} is no {table[name]}"


def test_the_tables_have_the_fields_of_the_records() -> None:
    assert list(LINE) == [field.name for field in msgspec.structs.fields(NamedRecord)]
    assert [name for name in LINE if name != "name"] == [f.name for f in msgspec.structs.fields(Record)]
    for name, hint in get_type_hints(NamedRecord).items():
        if name in LINE:
            assert (" or null" in LINE[name]) == ("None" in str(hint)), name
    assert list(FOUND) == ["box", "score", "class", "track"]
    fields = {
        field.encode_name: hint
        for field, hint in zip(
            msgspec.structs.fields(EventRow), get_type_hints(EventRow).values(), strict=True
        )
    }
    assert list(EVENT) == list(fields)
    for name, hint in fields.items():
        assert (" or null" in EVENT[name]) == (type(None) in get_args(hint)), name


def test_the_example_is_a_line() -> None:
    (example,) = re.findall(r"```json\n(.+)\n```", DOCUMENT.read_text(encoding="utf-8"))
    hold(json.loads(example))
    assert msgspec.json.encode(msgspec.json.decode(example, type=Record)).decode() == example


@pytest.fixture
def bright(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of two pictures with one bright block each."""
    picture = np.full((48, 64, 3), 20, np.uint8)
    picture[10:30, 16:40] = 240
    for name in ("ir", "vis"):
        (tmp_path / name).mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    return tmp_path / "ir", tmp_path / "vis"


def test_lines_of_recordings_and_pictures_are_as_documented(
    bright: tuple[Path, Path], tmp_path: Path, finder_bundle_path: Path
) -> None:
    options = ["--bundle", str(finder_bundle_path), "--range", "camera", "--stretch", "none"]
    infrared, visible = map(str, bright)
    runs = {
        "recorded": ["run", "--camera", f"{infrared},{visible}", "-o"],
        "fuse": ["fuse", infrared, visible, "-o", str(tmp_path / "out"), "--detections"],
    }
    for name, command in runs.items():
        lines = tmp_path / f"{name}.jsonl"
        assert main([*command, str(lines), *options]) == 0
        rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
        assert [len(row["detections"]) for row in rows] == [1, 1]
        for row in rows:
            hold(row, named=name == "fuse")
            assert row["utc"] is None


def test_lines_of_cameras_are_as_documented(tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    sink = JsonlSink(lines)
    frame = Frame(np.zeros((2, 2), np.uint8), 40_000_000, 3, "camera")
    pairs = [Pair(frame, frame), Pair(None, frame), Pair(frame, None), Pair(frame, frame, held=True)]
    whys = [None, "infrared missing", "visible missing", "held"]
    mask = Mask(np.zeros((2, 2), np.uint8), ("road", "grass"))
    events = (
        Event("leave", "gate", 5, 6, track=3, name="person", seconds=1.23456, lost=True),
        Event("cross", "kerb", 5, track=3, name="person", to="left"),
        Event("above", "bearing", 5, celsius=80.126),
    )
    degrees = {"bearing": Temperature(20.004, 80.126, 50)}
    for index, (pair, degraded) in enumerate(zip(pairs, whys, strict=True)):
        picture = np.zeros((2, 2), np.uint8)
        result = Result(index, pair, picture, {"mask": mask}, None, degraded, utc_ns=index * 10**18)
        sink.write(replace(result, events=events[:index], temperatures=degrees if index else None))
    sink.close()
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        hold(row)
    assert [row["degraded"] for row in rows] == whys
    assert [row["utc"] for row in rows][:2] == ["1970-01-01T00:00:00.000000Z", "2001-09-09T01:46:40.000000Z"]
    assert [len(row["events"]) for row in rows] == [0, 1, 2, 3]
    assert rows[3]["events"][0]["seconds"] == 1.235
    assert rows[3]["events"][2]["celsius"] == 80.13
    assert [row["temperatures"] for row in rows[:2]] == [
        None,
        {"bearing": {"min": 20, "max": 80.13, "mean": 50}},
    ]
    assert rows[0]["class_shares"] == {"road": 1, "grass": 0}


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_the_wall_clock_in_words_is_exact_to_the_microsecond(utc_ns: int) -> None:
    told = datetime.datetime.fromisoformat(iso8601(utc_ns).replace("Z", "+00:00"))
    since = told - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    assert since // datetime.timedelta(microseconds=1) == utc_ns // 1000


def test_the_schema_is_that_of_the_lines() -> None:
    path = DOCUMENT.with_name("jsonl.schema.json")
    command = "python -c 'from tdfusion_edge.runtime.sinks.jsonl import schema; print(schema(), end=\"\")'"
    assert path.read_text(encoding="utf-8") == schema(), f"{command} > docs/jsonl.schema.json"
    properties = json.loads(schema())["$defs"]["NamedRecord"]["properties"]
    assert list(properties) == list(LINE)
