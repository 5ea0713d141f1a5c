"""What the tests of the export share."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from torch.onnx._internal.exporter import _registration


@pytest.fixture(scope="session", autouse=True)
def one_registry() -> Iterator[None]:
    """PyTorch's table of ONNX operators is made once an opset, not anew for every graph.

    Making it takes about half of the time that a small graph's export takes, and it has no public switch. An
    export reads it; it adds to it only where it is given operators of the caller's, which ours never is.
    """
    with pytest.MonkeyPatch.context() as patch:
        made = functools.cache(_registration.ONNXRegistry.from_torchlib)
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", made)
        yield
