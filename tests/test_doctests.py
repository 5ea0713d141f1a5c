"""Examples in docstrings are executed."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def modules_with_examples() -> list[str]:
    files = [*ROOT.glob("tdfusion_edge/*.py")]
    for stage in ("train", "export", "runtime"):
        files += (ROOT / stage).rglob("*.py")
    with_examples = [file for file in files if ">>> " in file.read_text(encoding="utf-8")]
    relative = [file.relative_to(ROOT).with_suffix("").parts for file in with_examples]
    return sorted(
        ".".join(parts if parts[0] == "tdfusion_edge" else ("tdfusion_edge", *parts)) for parts in relative
    )


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert not results.failed
