"""Whether a loaded graph is what its bundle's manifest says."""

from __future__ import annotations

from collections.abc import Sequence

from tdfusion_edge.bundle import Graph, GraphName, TensorInfo
from tdfusion_edge.errors import BundleError
from tdfusion_edge.runtime.engines.base import Engine, Tensor


def require_agreement(name: GraphName, graph: Graph, engine: Engine) -> None:
    """Refuse an engine that takes or gives something else than the manifest says.

    Args:
        name: Of the graph.
        graph: What the manifest says of it.
        engine: The graph, loaded.

    Raises:
        BundleError: names, dtypes or an axis that both know differ.
    """
    for said, there in ((graph.inputs, engine.inputs), (graph.outputs, engine.outputs)):
        if not _agree(said, there):
            raise BundleError(
                f"the {name} graph is not what the manifest says",
                expected=told(said),
                got=told(there),
                hint="Export the bundle again.",
            )


def told(tensors: Sequence[TensorInfo] | Sequence[Tensor]) -> str:
    """Tensors in words, a free axis as a question mark."""
    return ", ".join(f"{t.name} {t.dtype} {tuple('?' if a is None else a for a in t.shape)}" for t in tensors)


def _agree(told: Sequence[TensorInfo], there: Sequence[Tensor]) -> bool:
    """Whether names, dtypes and all axes that both know are the same."""
    facts = {tensor.name: (str(tensor.dtype), tensor.shape) for tensor in there}
    return facts.keys() == {tensor.name for tensor in told} and all(
        facts[tensor.name][0] == tensor.dtype
        and len(facts[tensor.name][1]) == len(tensor.shape)
        and all(
            have is None or isinstance(want, str) or want == have
            for want, have in zip(tensor.shape, facts[tensor.name][1], strict=True)
        )
        for tensor in told
    )
