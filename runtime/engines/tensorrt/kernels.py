"""The kernels that TensorRT-RTX compiles when an engine runs, kept from one start to the next.

Its engines hold no machine code for one GPU; that is made when they are loaded and first run, which takes
seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import OnProgress, Progress
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request


@dataclass(slots=True)
class Kernels:
    """What one engine has compiled.

    Attributes:
        cache: The library's; None where engines hold their kernels.
        kept: What the store has of it.
    """

    cache: Any
    kept: bytes | None

    def keep(self, store: EngineStore, request: Request, gpu: Gpu, on_progress: OnProgress | None) -> None:
        """Put what is new into the store; where that cannot be, say so: the next start takes longer."""
        if self.cache is None:
            return
        raw = bytes(memoryview(self.cache.serialize()))
        if not raw or raw == self.kept:
            return
        try:
            store.keep_kernels(request, gpu, raw)
        except EngineError as error:
            if on_progress is not None:
                on_progress(Progress(f"what was compiled is not kept: {error.what}", 0.0))
        self.kept = raw
