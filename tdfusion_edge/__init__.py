"""Infrared and visible cameras in, one fused picture out.

The stages live beside this package in the repository and install as
``tdfusion_edge.train``, ``tdfusion_edge.export`` and ``tdfusion_edge.runtime``.
"""

from typing import TYPE_CHECKING, Any

from tdfusion_edge.errors import TdfusionError

if TYPE_CHECKING:
    from tdfusion_edge.detections import Detections
    from tdfusion_edge.frames import Frame, Pair

__version__ = "0.1.0"

__all__ = ["Detections", "Frame", "Pair", "TdfusionError", "__version__"]


def __getattr__(name: str) -> Any:
    # The command line imports this package to answer --help, which need not wait for NumPy.
    if name == "Detections":
        from tdfusion_edge.detections import Detections

        return Detections
    if name in ("Frame", "Pair"):
        from tdfusion_edge import frames

        return getattr(frames, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
