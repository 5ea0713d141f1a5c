"""Back end ``cuda``: the fusion network by our own kernels. It needs NVIDIA's driver, and no TensorRT.

The kernels are made for ``edge`` in its shipped shape (:mod:`~tdfusion_edge.runtime.engines.cuda.weights`)
and for the paper's F (:mod:`~tdfusion_edge.runtime.engines.cuda.restormer`), and compute in FP16 with sums in
float32. They take lumas of 8 bits, as cameras give them, in the float32 that a fusion graph takes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Graph, Precision
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Array, OnProgress, Tensor, check_inputs, tensors_of
from tdfusion_edge.runtime.engines.cuda.binaries import image_for
from tdfusion_edge.runtime.engines.cuda.device import Device, open_device
from tdfusion_edge.runtime.engines.cuda.form import Form
from tdfusion_edge.runtime.engines.cuda.graph import read
from tdfusion_edge.runtime.engines.cuda.parameters import GREY
from tdfusion_edge.runtime.engines.cuda.path import PicturePath
from tdfusion_edge.runtime.engines.cuda.restormer.path import NetworkPath, Weights, packed
from tdfusion_edge.runtime.engines.cuda.restormer.recognise import network_of
from tdfusion_edge.runtime.engines.cuda.weights import edge_of, pack

KEEP = 3
"""Sizes that stay prepared."""
NAMES = ("infrared", "visible"), ("fused",)
BETWEEN = 1 / 16
"""Levels that a float may be beside a whole one: rounding of 1 / 255, and nothing else."""


class CudaEngine:
    """An Engine over one fusion graph.

    Args:
        onnx: The graph, self-contained.
        graph: What the manifest says about it.
        precision: ``fp16``.
        on_progress: Of no effect: nothing is built.
        device: The GPU; None takes the first one.
        image: The compiled kernels; None takes those of this installation.

    Raises:
        BundleError: the manifest gives an input or output a type that no network takes.
        EngineError: the graph is none that the kernels are made for, another precision is asked for, or GPU,
            driver, library or compiled kernels are missing.
    """

    def __init__(
        self,
        onnx: bytes,
        *,
        graph: Graph,
        precision: Precision = "fp16",
        on_progress: OnProgress | None = None,
        device: Device | None = None,
        image: bytes | None = None,
    ) -> None:
        self._inputs, self._outputs = tensors_of(graph.inputs), tensors_of(graph.outputs)
        names = tuple(tuple(one.name for one in some) for some in (self._inputs, self._outputs))
        if names != NAMES:
            raise EngineError(
                "our kernel is not made for this graph",
                expected=f"{NAMES[0]} to {NAMES[1]}",
                got=f"{names[0]} to {names[1]}",
            )
        if precision != "fp16":
            raise EngineError(
                "--backend cuda computes in FP16",
                expected="--precision fp16",
                got=precision,
                hint="Leave --precision out.",
            )
        self._network: Weights | None = None
        self.weights: npt.NDArray[np.uint8] | None = None
        """Those of ``edge`` as its kernel reads them; None: it is another network, and takes lumas alone."""
        if _has_norms(onnx):
            self._network = packed(network_of(onnx))
        else:
            self.weights = pack(edge_of(onnx))
        self._device: Device | None = open_device() if device is None else device
        gpu = self._device.gpu
        try:
            self.image = image_for(gpu.driver, gpu.capability) if image is None else image
            """The compiled kernels."""
        except BaseException:
            self._device.close()
            raise
        self._paths: OrderedDict[tuple[int, int], PicturePath | NetworkPath] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def device(self) -> Device:
        """The GPU, which is closed with this.

        Raises:
            EngineError: it is.
        """
        if self._device is None:
            raise EngineError("the engine is closed")
        return self._device

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` gives."""
        return self._outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One pass.

        Args:
            inputs: ``infrared`` and ``visible``, (1, 1, H, W) float32, whole levels of 8 bits divided by 255.

        Returns:
            ``fused``, (1, 1, H, W) float32.

        Raises:
            EngineError: inputs do not fit or hold no levels, the engine is closed, or the GPU failed.
        """
        check_inputs(
            self._inputs, {name: (array.dtype, array.shape) for name, array in inputs.items()}, least=1
        )
        infrared, visible = (inputs[name] for name in NAMES[0])
        if infrared.shape != visible.shape or infrared.shape[:2] != (1, 1):
            raise EngineError(
                "engine inputs", expected="two of (1, 1, H, W)", got=f"{infrared.shape} and {visible.shape}"
            )
        with self._lock:
            path = self._path(self.device, (visible.shape[3], visible.shape[2]))
            pictures = {"infrared": _levels(infrared), "visible": _levels(visible)}
            if isinstance(path, NetworkPath):
                luma = path.fuse(**pictures)
            else:
                path.submit(pictures, (0.0, 1.0))
                made = path.take().luma
                assert made is not None
                luma = made
            fused = luma[None, None].copy()
        if not np.isfinite(fused).all():
            raise EngineError(
                "features of the fusion network passed what FP16 holds",
                hint="Take another back end with --precision fp32.",
            )
        return {"fused": fused}

    def close(self) -> None:
        """Release memory; safe to call twice, waits for a pass in another thread."""
        with self._lock:
            device, self._device = self._device, None
            if device is None:
                return
            while self._paths:
                self._paths.popitem()[1].close()
            device.close()

    def _path(self, device: Device, size: tuple[int, int]) -> PicturePath | NetworkPath:
        if size not in self._paths:
            while len(self._paths) >= KEEP:
                self._paths.popitem(last=False)[1].close()
            self._paths[size] = self._opened(device, size)
        self._paths.move_to_end(size)
        return self._paths[size]

    def _opened(self, device: Device, size: tuple[int, int]) -> PicturePath | NetworkPath:
        if self._network is not None:
            return NetworkPath(device, self.image, self._network, size)
        assert self.weights is not None
        form = Form(size, size, visible=GREY, fused=None, luma=True)
        return PicturePath(device, self.image, self.weights, form, slots=1)


def _has_norms(onnx: bytes) -> bool:
    """Which of the two networks a graph is held against: ``edge`` has no LayerNorm."""
    return any(node.kind == "LayerNormalization" for node in read(onnx).nodes)


def _levels(unit: Array) -> npt.NDArray[np.uint8]:
    """The 8 bits that a luma in [0, 1] was made of."""
    scaled = unit[0, 0] * np.float32(255)
    levels: npt.NDArray[np.float32] = np.rint(scaled)
    apart = float(np.abs(scaled - levels).max())
    if not (apart <= BETWEEN and levels.min() >= 0 and levels.max() <= 255):
        raise EngineError(
            "--backend cuda takes lumas of 8 bits",
            expected="whole multiples of 1/255 from 0 to 1",
            got="other values",
            hint="Take another back end for pictures of more than 8 bits.",
        )
    whole: npt.NDArray[np.uint8] = levels.astype(np.uint8)
    return whole
