"""TensorRT engines through Torch-TensorRT: the second route of a workstation.

It translates the PyTorch program itself, not the ONNX graph that was exported from it, so an operation that
TensorRT's parser stumbles over may still pass here. What comes out is a plain engine: it lies in the same
store, under the digest of the ONNX graph whose place it takes and with the route in its request, and
``--backend torch-tensorrt`` runs it without PyTorch. That route is never taken silently, for the two engines
of a graph are different programs: ``verify --backend torch-tensorrt`` measures this one.

Facts about Torch-TensorRT 2.13 and 2.14, of their documentation and sources: networks are strongly typed,
inputs keep the names of the program's, outputs are called ``output0`` and so on, options that it does not
know are ignored, and its timing cache is a file of a fixed name in the folder for temporary files.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from tdfusion_edge.bundle import ONE_PASS, Bundle, Graph, Manifest, Precision
from tdfusion_edge.errors import EngineError
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.fusion import example
from tdfusion_edge.export.heads.graph import example_folded, looking
from tdfusion_edge.export.networks import Chosen
from tdfusion_edge.install import install_command
from tdfusion_edge.runtime.engines import Choice
from tdfusion_edge.runtime.engines.agreement import require_agreement
from tdfusion_edge.runtime.engines.providers import DOCTOR
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.device import Device, Gpu, open_device
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.prebuild import Made, Size, wanted_of
from tdfusion_edge.runtime.engines.tensorrt.runner import names_in_engine, outside_of
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request, request_for
from tdfusion_edge.runtime.engines.tensorrt.workspace import workspace_of

EXTRA = "torch-tensorrt"
WEAK = "enabled_precisions"
"""An option of the versions that choose types themselves."""


def why_left_out(manifest: Manifest, name: str) -> str | None:
    """Why no engine of a graph is built through PyTorch, in words; None where one is."""
    if name == ONE_PASS:
        return "it is more than one network"
    kinds = {tensor.dtype for tensor in manifest.graphs[name].outputs}
    return None if kinds == {"float32"} else f"it gives {', '.join(sorted(kinds - {'float32'}))}"


class TorchTensorRt(NamedTuple):
    """The library, and what it builds with."""

    title: str
    convert: Callable[..., bytes]
    trt: Any
    gpu: Gpu
    device: torch.device
    workspace: int
    """Most bytes of GPU memory for scratch."""


def open_torch_tensorrt(
    *,
    device: str = "cuda:0",
    workspace: int | None = None,
    trt: Any = None,
    gpu: Callable[[], Device] = open_device,
) -> TorchTensorRt:
    """Look what there is to build with, before any work is begun.

    Args:
        device: Where PyTorch holds the networks meanwhile.
        workspace: Most bytes of GPU memory for scratch; None takes a share of what is free.
        trt: TensorRT; None imports it.
        gpu: Opens the GPU; it is only asked what it is, and what is free.

    Raises:
        EngineError: Torch-TensorRT, TensorRT or the GPU is missing, or the version does not keep types.
    """
    where = torch.device(device)
    if importlib.util.find_spec("torch_tensorrt") is None:
        raise EngineError("Torch-TensorRT is not installed", hint=install_command(EXTRA))
    if where.type == "cuda" and not torch.cuda.is_available():  # without one its import fails obscurely
        raise EngineError(
            "Torch-TensorRT builds on the GPU that runs the engine, and PyTorch finds none",
            hint=DOCTOR,
        )
    try:
        module = importlib.import_module("torch_tensorrt")
        convert = module.dynamo.convert_exported_program_to_serialized_trt_engine
        title = f"Torch-TensorRT {module.__version__}"
    except Exception as error:  # a library that does not fit PyTorch or TensorRT raises what it likes
        raise EngineError(
            f"Torch-TensorRT cannot be loaded: {_short(error)}", hint=install_command(EXTRA)
        ) from error
    known = inspect.signature(convert).parameters
    lacking = sorted(set(_options(Path(), 0, where)) - set(known))
    if lacking or WEAK in known:
        raise EngineError(
            f"{title} builds engines in another way than this package knows",
            expected="a version of the extra, with strongly typed networks",
            got=f"one without {', '.join(lacking)}" if lacking else f"one with {WEAK}",
            hint=install_command(EXTRA),
        )
    trt = bindings.load("tensorrt") if trt is None else trt
    with closing(gpu()) as opened:  # in this process, which PyTorch holds a context in anyway
        scratch = workspace_of(opened.gpu, opened.free_memory()) if workspace is None else workspace
        return TorchTensorRt(title, convert, trt, opened.gpu, where, scratch)


def build_through_torch(
    library: TorchTensorRt,
    chosen: Chosen,
    opened: Bundle,
    sizes: Sequence[Size],
    engine_cache: Path | None = None,
) -> Iterator[Made]:
    """Have an engine of every network in the store, in the precision that ``run`` takes.

    The build runs in this process, where nothing can end it.

    Args:
        library: What builds.
        chosen: The networks.
        opened: The bundle that was exported from them.
        sizes: Of the pictures; a graph of fixed size is built once.
        engine_cache: Folder of the engines; None takes the user's own cache folder.

    Raises:
        RequestError: a size that a graph does not take; nothing is built then.
        BundleError: the engine is not what the manifest says of its graph.
        EngineError: a network cannot be translated; what was built before stays.
    """
    store = EngineStore(engine_cache)
    every = list(wanted_of(opened, Choice("torch-tensorrt"), sizes))
    for one in every:
        if why_left_out(opened.manifest, one.graph) is not None:
            continue
        graph, onnx = opened.graph(one.graph, one.precision)
        request = request_for(
            library.trt,
            "tensorrt",
            onnx,
            one.shapes,
            library.gpu,
            precision=one.precision,
            route="torch-tensorrt",
        )
        # The network is made only where an engine is missing.
        network = functools.partial(network_of, chosen, one.graph, one.precision)
        make = functools.partial(_build, library, network, request, graph)
        begin = time.monotonic()
        plan, fresh = store.find_or_build(request, make)
        yield Made(one, library.gpu.name, fresh, time.monotonic() - begin, len(plan))


def network_of(chosen: Chosen, name: str, precision: Precision) -> nn.Module:
    """The network that a graph was exported from, in evaluation mode; it gives a plain tuple.

    Args:
        chosen: The networks.
        name: ``fusion``, or that of a head.
        precision: ``fp32`` or ``fp16``.
    """
    if name == "fusion":
        fusion = folded(chosen.fusion.network, example())
        return _Fusing(half(fusion) if precision == "fp16" else fusion).eval()
    head = example_folded(chosen.heads[name])
    return looking(half(head) if precision == "fp16" else head).eval()


class _Fusing(nn.Module):
    """The names of ``forward``'s parameters become those of the engine's inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, infrared: Tensor, visible: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(infrared, visible))


def _build(
    library: TorchTensorRt,
    network: Callable[[], nn.Module],
    request: Request,
    graph: Graph,
    folder: Path,
    times: bytes | None,
) -> tuple[bytes, bytes | None]:
    measured = folder / "times"
    if times is not None:
        measured.write_bytes(times)
    seen = tuple(torch.zeros(request.shapes[tensor.name]) for tensor in graph.inputs)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # deprecations inside the exporter and the library
            # On the CPU, as for ONNX: a constant that a network makes need not be where the network is.
            program = move_to_device_pass(torch.export.export(network(), seen), library.device)
            inputs = [tensor.to(library.device) for tensor in seen]
            options = _options(measured, library.workspace, library.device)
            plan = bytes(library.convert(program, arg_inputs=inputs, **options))
    except Exception as error:  # it raises whatever its converters raise
        raise EngineError(
            f"{library.title} cannot build the engine: {_short(error)}",
            hint="Take the other route: --engine tensorrt",
        ) from error
    _check(library, plan, request, graph)
    return plan, measured.read_bytes() if measured.exists() else None


def _options(times: Path, workspace: int, device: torch.device) -> dict[str, Any]:
    """What is asked of the conversion. Every name is looked for in its signature first."""
    return {
        "device": device,
        "disable_tf32": True,
        "workspace_size": workspace,
        "require_full_compilation": True,
        "truncate_double": False,
        "immutable_weights": True,  # what can be refitted is slower
        "use_fp32_acc": False,  # it inserts casts of its own; the types are decided in precision.py
        "timing_cache_path": str(times),
    }


def _check(library: TorchTensorRt, plan: bytes, request: Request, graph: Graph) -> None:
    """Hold names, types and shapes of the engine against the graph, before it is kept.

    Raises:
        BundleError: the runner could not use it for this graph.
        EngineError: the engine cannot be loaded, or is of another size.
    """
    log = Log()
    logger = log.attach(library.trt)
    runtime = bindings.started(library.title, lambda: library.trt.Runtime(logger), log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"{library.title} built an engine that cannot be loaded: {log.summary()}")
    outside = outside_of(engine, graph, names_in_engine(graph, request.route), engine.get_tensor_shape)
    require_agreement(library.title, graph, outside)
    got = {tensor.name: tensor.shape for tensor in outside.inputs}
    if got != request.shapes:
        raise EngineError(
            f"{library.title} built an engine of another size", expected=str(request.shapes), got=str(got)
        )


def _short(error: Exception) -> str:
    """The first line; a converter's message goes on with the whole network."""
    return (str(error).partition("\n")[0] or type(error).__name__)[:300]
