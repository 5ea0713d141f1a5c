"""A head's network as one ONNX graph of the size it was trained at, whatever its kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import onnx
import torch
from torch import Tensor, nn

from tdfusion_edge.bundle import CHROMA, INFRARED, PLANES, Graph, HeadInfo, Parity, Precision, TensorInfo
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.graph import OPSET, described, opset_of, to_onnx
from tdfusion_edge.export.heads.kind import PICTURES
from tdfusion_edge.export.model_card import task_metrics
from tdfusion_edge.export.networks import Task
from tdfusion_edge.export.operations import counted
from tdfusion_edge.export.part import Part, files_of
from tdfusion_edge.export.precisions import Fused, in_precisions
from tdfusion_edge.train.models.task import Output, TaskNetwork

CONTENT = {
    "luma": "fused luma in [0, 1] as the fusion graph gives it, the whole picture resized",
    CHROMA: "Cr then Cb of the visible picture in [0, 1], 128 / 255 where it is grey, resized likewise",
    INFRARED: "infrared in [0, 1], hot is bright, aligned, resized likewise; without one, the luma once more",
}


class Looking(nn.Module):
    """A task network as its graph has it: what it sees in, the outputs out.

    The names of the parameters become those of the inputs.
    """

    def __init__(self, network: TaskNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The network's ``planes``, float32 in [0, 1], to what its ``outputs`` names."""
        seen = (chroma, infrared)
        beside = {name: one for name, one in zip(tuple(PLANES)[1:], seen, strict=True) if one is not None}
        return self.network.graph_output(luma, **beside)


class LookingInGrey(Looking):
    """One that sees infrared beside the fused luma, and no colours."""

    def forward(self, luma: Tensor, infrared: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """As :meth:`Looking.forward`."""
        return self.network.graph_output(luma, infrared=infrared)


def looking(network: TaskNetwork) -> Looking:
    """A task network as its graph has it."""
    return LookingInGrey(network) if network.infrared and not network.colour else Looking(network)


def head_part(
    task: Task, precisions: Collection[Precision], fused: Fused, threshold: float, opset: int = OPSET
) -> Part:
    """A head in every precision, compared with its network.

    Args:
        task: The network.
        precisions: To be written; float32 is always among them.
        fused: What it sees of real pairs, before resizing; needed for what is below float32.
        threshold: Above which its scores count, where its kind has such.
        opset: Of the graphs.

    Raises:
        ExportError: a graph cannot be made, or is not the network.
    """
    header, network, view, _ = task
    kind, name = task.kind, task.kind.head
    plain = example_folded(task)
    graphs = in_precisions(
        plain,
        lambda one: head_onnx(one, view, opset),
        fused.at(view.width, view.height, network.planes),
        precisions,
        kind.stay_float,
    )
    names, files = files_of(name, graphs)
    info = HeadInfo(
        kind=network.labels,
        network=header.networks["task"].name,
        classes=view.classes,
        score_threshold=threshold if kind.scored else None,
    )
    return Part(
        graphs={name: counted(describe_head(network, graphs["fp32"], names), network, graphs["fp32"])},
        files=files,
        parity=(head_parity(task, graphs["fp32"]),),
        heads={name: info},
        metrics=task_metrics(header),
        training_data=header.training_data,
    )


def example_folded(task: Task) -> TaskNetwork:
    """The network with its batch norm folded, of the size that it is exported at."""
    network = task.network
    given = dict(zip(network.planes, example(network, task.view), strict=True))
    return folded(network, network.arguments(**given))


def example(network: TaskNetwork, view: TaskView) -> tuple[Tensor, ...]:
    """What the network is exported with, a tensor of each of its planes."""
    return tuple(torch.zeros(1, PLANES[name], view.height, view.width) for name in network.planes)


def head_onnx(network: TaskNetwork, view: TaskView, opset: int = OPSET) -> bytes:
    """The network with its decoding as a checked and simplified ONNX graph of the view's size.

    The size is fixed: anchors become constants, and every size would need its own weights to be as good.

    Raises:
        ExportError: what comes out is no graph, does not read what the network says it sees, or gives
            something else than it says it does.
    """
    given = example(network, view)
    names = network.planes
    model = to_onnx(looking(network), given, names, tuple(network.outputs), opset=opset)
    _require_read(names, model)
    gives = {tensor.name: tensor for tensor in described(model.graph.output)}
    if not _fits(network.outputs, gives, view):
        raise ExportError(
            "the graph of a task network gives something else than the network says",
            expected=_listed((name, one.dtype, _shape(one, view)) for name, one in network.outputs.items()),
            got=_listed((name, one.dtype, one.shape) for name, one in gives.items()),
        )
    raw: bytes = model.SerializeToString()
    return raw


def _require_read(names: tuple[str, ...], model: onnx.ModelProto) -> None:
    """Refuse a graph that has no use for an input: some exporters leave such a one out.

    Raises:
        ExportError: it has none.
    """
    read = {name for node in model.graph.node for name in node.input}
    if unread := [name for name in names if name not in read]:
        raise ExportError(
            "the graph of a task network does not read all that the network says it sees",
            expected=" and ".join(names),
            got=f"no use of {' and '.join(unread)}",
            hint="A network that looks at the fused luma alone has colour = False and infrared = False.",
        )


def head_parity(task: Task, graph: bytes) -> Parity:
    """A row about the float32 graph beside its network, measured as its kind compares.

    Raises:
        ExportError: the two differ by more than rounding explains.
    """
    gap = task.kind.compare(task.network.eval(), graph, task.view)
    return Parity(
        graph=task.kind.head,
        precision="fp32",
        against="pytorch",
        pictures=f"{PICTURES} random pictures",
        max_error=gap.max_error,
        figures=gap.figures,
    )


def describe_head(network: TaskNetwork, graph: bytes, files: dict[Precision, str]) -> Graph:
    """What the manifest says about a head's graph, whose files are given by precision."""
    model = onnx.load_from_string(graph)
    inputs = described(model.graph.input, CONTENT)
    content = {name: output.content for name, output in network.outputs.items()}
    return Graph(
        files=files,
        inputs=inputs,
        outputs=described(model.graph.output, content),
        minimum_size=min(int(side) for side in inputs[0].shape[-2:]),
        opset=opset_of(graph),
    )


def _fits(outputs: Mapping[str, Output], given: Mapping[str, TensorInfo], view: TaskView) -> bool:
    """Whether names, types and shapes are those that the network says; an axis of one name has one length."""
    if list(given) != list(outputs):
        return False
    lengths: dict[str, int | str] = dict(_lengths(view))
    for name, output in outputs.items():
        shape = given[name].shape
        if given[name].dtype != output.dtype or len(shape) != len(output.axes):
            return False
        for axis, length in zip(output.axes, shape, strict=True):
            if length != (int(axis) if axis.isdigit() else lengths.setdefault(axis, length)):
                return False
    return True


def _lengths(view: TaskView) -> dict[str, int]:
    return {"batch": 1, "classes": len(view.classes), "height": view.height, "width": view.width}


def _shape(output: Output, view: TaskView) -> tuple[int | str, ...]:
    return tuple(int(axis) if axis.isdigit() else _lengths(view).get(axis, axis) for axis in output.axes)


def _listed(tensors: Iterable[tuple[str, str, tuple[int | str, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} ({', '.join(map(str, shape))})" for name, dtype, shape in tensors)
