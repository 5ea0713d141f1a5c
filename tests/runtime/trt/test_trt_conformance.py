"""Our code runs against ``trt_fake``; here the fake is held against the bindings that NVIDIA ships.

What the fake has, the real module has, with as many parameters and the same numbers: so whatever our
code uses without an error there exists in that version.
"""

from __future__ import annotations

import enum
import inspect
import re
from functools import cache
from typing import Any

import pytest
from trt_fake import VERSIONS, make
from trt_wheels import BINDINGS, CHOICES, ask, fetched

from tdfusion_edge.runtime.engines.tensorrt import bindings

Members = dict[str, Any]


@cache
def surface(version: str) -> dict[str, Members]:
    """Class to member to number of parameters, or value of an enumeration's member, or None."""
    found: dict[str, Members] = {}
    for name, cls in vars(make(version)).items():
        if not isinstance(cls, type):
            continue
        if issubclass(cls, enum.Enum):
            found[name] = {member.name: member for member in cls}
            continue
        found[name] = {
            member: len(inspect.signature(value).parameters) - 1 if inspect.isfunction(value) else None
            for base in reversed(cls.__mro__[:-1])
            for member, value in vars(base).items()
            if not member.startswith("_") and not isinstance(value, type)
        }
    return found


@pytest.fixture(scope="module", params=VERSIONS)
def real(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    version: str = request.param
    wanted = {cls: list(members) for cls, members in surface(version).items()}
    if version == "rtx":
        request.getfixturevalue("rtx")
        return version, ask("tensorrt_rtx", wanted, paths=[], libraries=None)
    wheel, libraries = fetched(version)
    return version, ask("tensorrt_bindings", wanted, paths=[wheel], libraries=libraries)


def test_the_real_library_has_whatever_our_code_uses(real: tuple[str, dict[str, Any]]) -> None:
    version, answer = real
    used = [(cls, name) for cls, members in surface(version).items() for name in members]
    assert len(used) > 40
    assert [f"{cls}.{name}" for cls, name in used if answer["members"][cls][name] is None] == []


def test_it_takes_as_many_arguments(real: tuple[str, dict[str, Any]]) -> None:
    version, answer = real
    wrong = []
    for cls, members in surface(version).items():
        for name, count in members.items():
            if isinstance(count, int) and not isinstance(count, enum.Enum):
                allowed = parameters(answer["members"][cls][name])
                if not any(low <= count <= high for low, high in allowed):
                    wrong.append((cls, name, count, allowed))
    assert wrong == []


def test_flags_have_the_same_numbers(real: tuple[str, dict[str, Any]]) -> None:
    """They become bits, and the bits moved between versions."""
    version, answer = real
    flags = surface(version)["NetworkDefinitionCreationFlag"]
    assert answer["members"]["NetworkDefinitionCreationFlag"] == {
        name: int(flag) for name, flag in flags.items()
    }


def test_each_choice_is_the_same_as_for_the_fake(real: tuple[str, dict[str, Any]]) -> None:
    version, answer = real
    assert answer["choices"] == {name: getattr(bindings, name)(make(version)) for name in CHOICES}


def test_a_library_that_gives_no_builder_is_an_error(real: tuple[str, dict[str, Any]]) -> None:
    """So the full TensorRT answers without a driver; TensorRT-RTX starts."""
    version, answer = real
    assert ("cannot start: it gave no reason" in answer["starts"]) == (version in BINDINGS)


def parameters(doc: str) -> list[tuple[int, int]]:
    """Fewest and most arguments of each overload, from the signatures in a docstring of pybind11."""
    found = []
    for signature in re.findall(r"^(?:\d+\. )?\w+\((self: .*)\)(?: -> .*)?$", doc, re.MULTILINE):
        flat = signature
        while flat != (flat := re.sub(r"\[[^\[\]]*\]|<[^<>]*>|\([^()]*\)", "", flat)):
            pass
        arguments = flat.split(",")[1:]
        found.append((sum("=" not in argument for argument in arguments), len(arguments)))
    return found


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("f(self: a.B) -> None\n\n   text (of it)", [(0, 0)]),
        ("f(self: a.B, c: dict[str, int], d: a.E = <E.F: 0>) -> list[str]", [(1, 2)]),
        (
            "f(*args, **kw)\nOverloaded function.\n\n1. f(self: B) -> C\n\n2. f(self: B, c: D) -> E",
            [(0, 0), (1, 1)],
        ),
    ],
)
def test_the_reader_of_signatures(doc: str, expected: list[tuple[int, int]]) -> None:
    assert parameters(doc) == expected
