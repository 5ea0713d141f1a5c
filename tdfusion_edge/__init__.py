"""Infrared and visible cameras in, one fused picture with detections out.

:class:`Fuser` fuses two arrays, :func:`stream` two cameras. The stages live beside this package in the
repository and install as ``tdfusion_edge.train``, ``tdfusion_edge.export`` and ``tdfusion_edge.runtime``.
"""

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tdfusion_edge.errors import TdfusionError

if TYPE_CHECKING:
    from tdfusion_edge.detections import Detections
    from tdfusion_edge.frames import Frame, Pair
    from tdfusion_edge.masks import Mask
    from tdfusion_edge.result import Result
    from tdfusion_edge.runtime.fuser import Fuser
    from tdfusion_edge.runtime.stream import stream

__version__ = "0.1.0"

__all__ = [
    "Detections",
    "Frame",
    "Fuser",
    "Mask",
    "Pair",
    "Result",
    "TdfusionError",
    "__version__",
    "stream",
]

_HOME = MappingProxyType(
    {
        "Detections": "detections",
        "Frame": "frames",
        "Fuser": "runtime.fuser",
        "Mask": "masks",
        "Pair": "frames",
        "Result": "result",
        "stream": "runtime.stream",
    }
)
"""Public name to the module that has it."""


def __getattr__(name: str) -> Any:
    # The command line imports this package to answer --help, which need not wait for NumPy.
    if name in _HOME:
        return getattr(importlib.import_module(f"tdfusion_edge.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
