"""An engine, out of the cache or built into it: what the runner and a build ahead of time call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.builder import LIMIT_S, Built, OnProgress, Progress, build_in
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.facts import facts_of
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions


def obtain_engine(
    cache: EngineCache,
    onnx: bytes,
    options: BuildOptions,
    flavour: Flavour,
    version: str,
    gpu: Gpu | None,
    *,
    limit_s: float = LIMIT_S,
    on_progress: OnProgress | None = None,
    log_to: Path | None = None,
    build: Callable[..., Built] = build_in,
) -> tuple[bytes, bool]:
    """The engine, and whether it was built now.

    Args:
        cache: Where engines are kept.
        onnx: The graph.
        options: What is asked; for TensorRT-RTX with one target, since a device asks for its own alone.
        flavour: Which library builds.
        version: Of that library.
        gpu: The GPU of this machine; None for TensorRT-RTX.
        limit_s: Seconds for the build, and for waiting for another process that builds the same.
        on_progress: Called in this thread; what it raises ends the build.
        log_to: Gets the log of a build.
        build: Builds; takes what :func:`build_in` takes.

    Raises:
        EngineError: the build failed, or the cache cannot be used.
        RequestError: the options do not fit the graph.
    """
    report = on_progress or (lambda progress: None)

    def make(folder: Path, timing: bytes | None) -> Built:
        return build(
            folder,
            onnx,
            options,
            flavour,
            timing=timing,
            limit_s=limit_s,
            on_progress=on_progress,
            log_to=log_to,
        )

    return cache.obtain(
        facts_of(onnx, options, flavour, version, gpu),
        make,
        limit_s=limit_s,
        driver="" if gpu is None else gpu.driver,
        on_wait=lambda seconds: report(Progress("waiting for another process", 0, 0, seconds)),
        on_reject=lambda why: report(
            Progress(f"building anew, since the kept engine is no good: {why}", 0, 0, 0.0)
        ),
    )
