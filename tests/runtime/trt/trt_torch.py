"""A stand-in for Torch-TensorRT: it takes a real ExportedProgram and gives an engine of the other stand-in.

Its names are those of the real library, against which ``test_trt_through_torch.py`` holds it.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

OUTPUT = "output{}"


class Library:
    """The module ``torch_tensorrt``."""

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.programs: list[torch.export.ExportedProgram] = []
        self.asked: list[dict[str, Any]] = []
        self.times: list[bytes | None] = []
        self.instead: bytes | None = None
        """A graph that becomes the engine in place of the program."""
        self.fails: Exception | None = None

        def convert(
            exported_program: Any,
            inputs: Any = None,
            *,
            arg_inputs: Any = None,
            device: Any = None,
            disable_tf32: bool = False,
            workspace_size: int = 0,
            truncate_double: bool = False,
            require_full_compilation: bool = False,
            timing_cache_path: str = "",
            use_fp32_acc: bool = False,
            immutable_weights: bool = True,
            **kwargs: Any,
        ) -> bytes:
            assert kwargs == {}, "the real one would ignore them"
            assert inputs is None
            self.asked.append(
                {"device": device, "disable_tf32": disable_tf32, "workspace_size": workspace_size}
            )
            path = Path(timing_cache_path)
            self.times.append(path.read_bytes() if path.is_file() else None)
            path.write_bytes(b"times")
            if self.fails is not None:
                raise self.fails
            self.programs.append(exported_program)
            onnx = as_onnx(exported_program) if self.instead is None else self.instead
            facts = {"version": self.trt.__version__, "profiles": [], "targets": []}
            return json.dumps(facts).encode() + b"\n" + onnx

        self.module = SimpleNamespace(
            __version__="2.13.0",
            dynamo=SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert),
        )


def as_onnx(program: torch.export.ExportedProgram) -> bytes:
    """The program as a graph, with the outputs' names of the real library."""
    outputs = [OUTPUT.format(index) for index in range(len(program.graph_signature.user_outputs))]
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns that torchvision is missing, which nothing here needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                program, dynamo=True, opset_version=18, output_names=outputs, verbose=False
            )
    finally:
        log.setLevel(level)
    assert made is not None
    raw: bytes = made.model_proto.SerializeToString()
    return raw
