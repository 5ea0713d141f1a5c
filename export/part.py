"""What one step of the export adds to a bundle: a value that is returned, and summed in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tdfusion_edge.bundle import Graph, HeadInfo, Parity, Precision, TrainingData

_NONE: Mapping[str, Any] = MappingProxyType({})


class Part(NamedTuple):
    """One network's share of a bundle, or the sum of several."""

    graphs: Mapping[str, Graph]
    """Descriptions by the graphs' names."""
    files: Mapping[str, bytes]
    """ONNX files by their names."""
    parity: tuple[Parity, ...]
    """How far each float32 graph is from the network."""
    heads: Mapping[str, HeadInfo] = _NONE
    """Heads by name."""
    metrics: Mapping[str, float] = _NONE
    """Of the training's validation."""
    training_data: tuple[TrainingData, ...] = ()
    """What the weights were trained on."""

    def fields(self) -> dict[str, Any]:
        """All but the files, as the manifest has it."""
        mappings = ("graphs", "heads", "metrics")
        return {name: dict(getattr(self, name)) for name in mappings} | {
            "parity": self.parity,
            "training_data": self.training_data,
        }


def total(parts: Iterable[Part]) -> Part:
    """All of them in one, in their order; data that several were trained on stand once."""
    some = list(parts)
    return Part(
        graphs=_joined(part.graphs for part in some),
        files=_joined(part.files for part in some),
        parity=tuple(row for part in some for row in part.parity),
        heads=_joined(part.heads for part in some),
        metrics=_joined(part.metrics for part in some),
        training_data=tuple(dict.fromkeys(row for part in some for row in part.training_data)),
    )


def files_of(name: str, graphs: Mapping[Precision, bytes]) -> tuple[dict[Precision, str], dict[str, bytes]]:
    """File names by precision, and the files' content by name, of one graph.

    >>> files_of("fusion", {"fp32": b"1", "fp16": b"2"})[1]
    {'fusion.onnx': b'1', 'fusion.fp16.onnx': b'2'}
    """
    names: dict[Precision, str] = {
        precision: f"{name}.onnx" if precision == "fp32" else f"{name}.{precision}.onnx"
        for precision in graphs
    }
    return names, {names[precision]: raw for precision, raw in graphs.items()}


def _joined(mappings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for mapping in mappings for name, value in mapping.items()}
