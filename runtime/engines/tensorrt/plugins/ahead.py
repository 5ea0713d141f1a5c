"""Our node as a plugin that is compiled ahead of time, for TensorRT from 10.9 on.

TensorRT gets the kernel as PTX, with the number of its blocks as an expression of the picture's size, puts it
into the engine and launches it by itself: whoever loads the engine needs neither this package nor Python.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver, driver_here
from tdfusion_edge.runtime.engines.cuda.binaries import ptx_for
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS
from tdfusion_edge.runtime.engines.cuda.unit import PIXELS, PLAIN, TILE
from tdfusion_edge.runtime.engines.tensorrt.plugins.callback import is_known
from tdfusion_edge.runtime.engines.tensorrt.plugins.node import NAME, NAMESPACE


def register(
    trt: Any,
    capability: int,
    *,
    known: Callable[[], Driver] = driver_here,
    ptx: Callable[[tuple[int, int], int], bytes] = ptx_for,
) -> bool:
    """Enter the plugin into the library's own register, where it is not there yet.

    Args:
        trt: The library.
        capability: Of the GPU, 87 for sm_87.
        known: Tells of the driver, which compiles the PTX.
        ptx: Gives it for a driver and a GPU.

    Returns:
        Whether it is there now.

    Raises:
        EngineError: there is no driver, or the compiled kernels are missing.
    """
    if is_known(trt):
        return True
    cuda = known().cuda
    if cuda is None:
        raise EngineError("there is no NVIDIA driver that says which CUDA it takes")
    _define(importlib.import_module(f"{trt.__name__}.plugin"), f"{NAMESPACE}::{NAME}", ptx(cuda, capability))
    return is_known(trt)


def _define(trtp: Any, name: str, kernel: bytes) -> None:
    def describe(infrared: Any, visible: Any, weights: Any) -> Any:
        return infrared.like()

    # The library reads annotations as they stand, and would find words.
    describe.__annotations__ = {
        **dict.fromkeys(("infrared", "visible", "weights"), trtp.TensorDesc),
        "return": trtp.TensorDesc,
    }
    trtp.register(name)(describe)

    def compiled(infrared: Any, visible: Any, weights: Any, outputs: Any, tactic: Any) -> Any:
        height, width = infrared.shape_expr[2], infrared.shape_expr[3]
        launch = trtp.KernelLaunchParams()
        launch.grid_x = trtp.cdiv(height, PIXELS[0]) * trtp.cdiv(width, PIXELS[1])
        launch.block_x = THREADS
        launch.shared_mem = TILE.shared_bytes
        between = trtp.SymIntExprs(2)  # behind the inputs and before the output
        between[0], between[1] = trtp.SymInt32(height), trtp.SymInt32(width)
        return PLAIN, kernel, launch, between

    compiled.__annotations__ = {"return": tuple[str, bytes, trtp.KernelLaunchParams, trtp.SymIntExprs]}
    trtp.aot_impl(name)(compiled)
