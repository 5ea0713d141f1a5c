"""ONNX Runtime on the CPU: the default back end and the reference for the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tdfusion_edge.bundle import Graph, Precision
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Array, OnProgress, Tensor, check_inputs
from tdfusion_edge.runtime.engines.ort import onnxruntime

DTYPES: Mapping[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}
"""ONNX Runtime's names of the dtypes that pass in and out."""


class OnnxRuntimeEngine:
    """An Engine over one ONNX graph.

    Args:
        onnx: The graph, self-contained: weights in other files are not looked for.
        graph: Of no effect: it reads inputs and outputs out of the bytes.
        precision: Of no effect: it runs a graph in the types that stand in it. Much of what is FP16 there it
            computes in float32, so that no overflow shows.
        on_progress: Of no effect: nothing is built.
        threads: Threads within an operation; 0 takes one a core.

    Raises:
        EngineError: the bytes are no graph that ONNX Runtime can load.
    """

    def __init__(
        self,
        onnx: bytes,
        *,
        graph: Graph | None = None,
        precision: Precision = "fp32",
        on_progress: OnProgress | None = None,
        threads: int = 0,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it would print is in the exception too
        # Spinning workers take the core that encoding and capture need: with two cores it shows.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A graph that names a weight file would get it from the working directory; nothing lies below
        # the null device.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", f"{os.devnull}/"
        )
        try:
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise EngineError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load the graph: {error}"
            ) from error
        self._inputs = tuple(_tensor(arg) for arg in self._session.get_inputs())
        self._outputs = tuple(_tensor(arg) for arg in self._session.get_outputs())

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` gives."""
        return self._outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One pass; raises EngineError for inputs that do not fit, and after :meth:`close`."""
        session = self._session  # close() may come from another thread
        if session is None:
            raise EngineError("the engine is closed")
        check_inputs(self._inputs, {name: (array.dtype, array.shape) for name, array in inputs.items()})
        names = [output.name for output in self._outputs]
        try:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            raise EngineError(f"ONNX Runtime {onnxruntime.__version__} failed: {error}") from error

    def close(self) -> None:
        """Release the session; safe to call twice."""
        self._session = None


def _tensor(arg: onnxruntime.NodeArg) -> Tensor:
    shape = tuple(axis if isinstance(axis, int) else None for axis in arg.shape)
    if arg.type not in DTYPES:
        raise EngineError(f"graph tensor '{arg.name}'", expected=", ".join(DTYPES), got=arg.type)
    return Tensor(arg.name, DTYPES[arg.type], shape)
