from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.config import Table, decode, load, parse, to_json
from tdfusion_edge.errors import ConfigError, InputMissing


class Wheel(Table, frozen=True):
    size_mm: Annotated[float, msgspec.Meta(gt=0)]
    kind: Literal["front", "rear"] = "front"


class Engine(Table, frozen=True):
    power_kw: float


class Car(Table, frozen=True):
    name: str
    engine: Engine | None = None
    wheels: tuple[Wheel, ...] = ()
    spare: dict[str, Wheel] = msgspec.field(default_factory=dict)
    notes: dict[str, Any] = msgspec.field(default_factory=dict)


WHOLE = Car(
    name="beetle",
    engine=Engine(power_kw=22.1),
    wheels=(Wheel(size_mm=381.0), Wheel(size_mm=382.5, kind="rear")),
    spare={"boot": Wheel(size_mm=300)},
    notes={"any": {"key": [1, "two"]}},
)

TOML = """
name = "beetle"
engine = { power_kw = 22.1 }
wheels = [{ size_mm = 381 }, { size_mm = 382.5, kind = "rear" }]
notes.any.key = [1, "two"]
[spare.boot]
size_mm = 300
"""


def complaint(text: str, *, toml: bool = True) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(text.encode(), Car, name="car.toml", toml=toml)
    assert str(refused.value).startswith("car.toml")
    return str(refused.value)


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "car.toml").write_text(TOML)
    (tmp_path / "car.json").write_bytes(to_json(WHOLE))
    assert load(tmp_path / "car.toml", Car) == WHOLE
    assert load(tmp_path / "car.json", Car) == WHOLE


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@given(
    st.builds(
        Car,
        name=TEXTS,
        engine=st.none() | st.builds(Engine, power_kw=st.floats(allow_nan=False, allow_infinity=False)),
        spare=st.dictionaries(TEXTS, st.builds(Wheel, size_mm=st.floats(min_value=1e-3, max_value=1e9))),
    )
)
def test_what_is_written_is_read_back(car: Car) -> None:
    assert parse(to_json(car), Car, name="car.json") == car


def test_json_is_for_people_too() -> None:
    assert to_json(Engine(power_kw=1.5)) == b'{\n  "power_kw": 1.5\n}\n'


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ('nam = "x"', "unknown key 'nam'", "Did you mean 'name'?"),
        ("engine = { power = 3 }", "unknown key 'power' in [engine]", "Did you mean 'power_kw'?"),
        ("wheels = [{}, { hue = 3 }]", "unknown key 'hue' in [wheels[1]]", "Known keys: kind, size_mm."),
        ("spare.boot.sise_mm = 3", "unknown key 'sise_mm' in [spare.boot]", "Did you mean 'size_mm'?"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_and_the_nearest_named(text: str, where: str, hint: str) -> None:
    assert complaint(text) == f"car.toml: {where}\n  {hint}"


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("", "missing required field `name`"),
        ("name = 3", "Expected `str`, got `int`"),
        ('name = "x"\nwheels = [{ size_mm = -1 }]', "Expected `float` > 0.0 - at `$.wheels[0].size_mm`"),
        ('name = "x"\nwheels = [{ size_mm = 1, kind = "left" }]', "Invalid enum value 'left'"),
        ('name = "x"\nwheels = [{ size_mm = inf }]', "wheels[0].size_mm: expected a finite number, got inf"),
        ('name = "x"\nengine.power_kw = nan', "engine.power_kw: expected a finite number, got nan"),
        ('name = "x"\nspare.boot = 3', "Expected `object`, got `int`"),
        ("name", "is no valid TOML"),
        ("name = " + "[" * 5000, "is no valid TOML"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(text: str, tells: str) -> None:
    assert tells in complaint(text)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 200_000, '{"name": "x", "engine": {"power_kw": 1e999}}', "3"]
)
def test_bad_json_is_refused(text: str) -> None:
    assert complaint(text, toml=False)


@pytest.mark.parametrize("toml", [True, False])
def test_bytes_that_are_no_text_are_refused(toml: bool) -> None:
    with pytest.raises(ConfigError, match="is no valid"):
        parse(b'name = "\xff"', Car, name="car", toml=toml)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (".".join(["a"] * 50_000) + " = 1", "a key of too many parts: expected at most 32"),
        ("[" + ".".join(["'a b'"] * 50_000) + "]", "a key of too many parts"),
        ("x = {y = 1, " + " . ".join(["a"] * 50_000) + " = 1}", "a key of too many parts"),
        (".".join(["a"] * 33) + " = 1", "a key of too many parts"),
        ("x = " + "[" * 100_000, "no valid TOML"),
        ("x = " + "[" * 40 + "]" * 40, "nested too deeply: expected at most 32 levels"),
        (
            "".join(f"[{'.'.join(['a'] * depth)}]\n" for depth in (30, 32)) + ".".join(["b"] * 3) + " = 1",
            "deeply",
        ),
    ],
    ids=["parts", "quoted", "inside", "a few", "unclosed", "lists", "tables"],
)
def test_what_is_nested_without_end_is_refused_at_once(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text.encode(), Car, name="x.toml", toml=True)


def test_values_with_many_dots_are_no_keys() -> None:
    dots = ".".join(["a"] * 100)
    assert decode(f'x = "{dots}"\ny = ["{dots}", 1.5]'.encode(), name="x", toml=True)["x"] == dots


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a file with a hole, which takes no room
    with pytest.raises(ConfigError, match=r"x\.toml is too large: expected at most 1048576 bytes"):
        load(path, Car)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(InputMissing, match=r"x\.toml cannot be read: expected a file"):
        load(tmp_path / "x.toml", Car)


def test_nul_is_no_part_of_a_text() -> None:
    assert "expected a text without NUL" in complaint('name = "a\\u0000b"')


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"car\.toml cannot be read: No such file"):
        load(tmp_path / "car.toml", Car)
    with pytest.raises(InputMissing, match="cannot be read"):
        load(tmp_path, Car)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert decode("\ufeffa = 1".encode(), name="rig.toml", toml=True) == {"a": 1}
