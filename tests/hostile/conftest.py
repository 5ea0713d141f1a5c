"""The loaded program, which the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hostile.program import Program


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """The loaded program."""
    loaded = Program()
    yield loaded
    loaded.close()
