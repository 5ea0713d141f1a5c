"""Whether a graph is what its manifest says: names, dtypes and shapes of what it takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tdfusion_edge.bundle import Graph, TensorInfo
from tdfusion_edge.errors import BundleError
from tdfusion_edge.runtime.engines.base import Engine, Tensor


class Outside(NamedTuple):
    """What is no engine yet takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def require_agreement(what: str, graph: Graph, engine: Engine | Outside) -> None:
    """Refuse an engine that takes or gives something else than the manifest says.

    Args:
        what: The graph's name, for the message.
        graph: What the manifest says.
        engine: The graph, loaded.

    Raises:
        BundleError: names, dtypes or axes that both know differ.
    """
    for wanted, there in ((graph.inputs, engine.inputs), (graph.outputs, engine.outputs)):
        if not _agree(wanted, there):
            raise BundleError(
                f"the {what} graph is not what the manifest says",
                expected=listed(wanted),
                got=listed(there),
                hint="Export the bundle again.",
            )


def _agree(wanted: Sequence[TensorInfo], there: Sequence[Tensor]) -> bool:
    """Whether names, dtypes and all axes that both know are the same."""
    known = {tensor.name: (str(tensor.dtype), tensor.shape) for tensor in there}
    return known.keys() == {tensor.name for tensor in wanted} and all(
        known[tensor.name][0] == tensor.dtype
        and len(known[tensor.name][1]) == len(tensor.shape)
        and all(
            have is None or isinstance(want, str) or want == have
            for want, have in zip(tensor.shape, known[tensor.name][1], strict=True)
        )
        for tensor in wanted
    )


def listed(tensors: Sequence[TensorInfo] | Sequence[Tensor]) -> str:
    """Name, dtype and shape of each, for messages."""
    return ", ".join(f"{t.name} {t.dtype} {tuple('?' if a is None else a for a in t.shape)}" for t in tensors)
