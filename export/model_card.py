"""``MODEL_CARD.md`` of a bundle: what the weights are, what they were trained on and on which terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tdfusion_edge.bundle import Graph, Precision
from tdfusion_edge.checkpoint import Header
from tdfusion_edge.export.networks import Task
from tdfusion_edge.redact import redact

METRIC_NAMES = {name.lower(): name for name in ("EN", "SF", "SD", "AG", "SCD", "VIF", "Qabf", "SSIM")}
"""Fusion metrics by their keys in a header; its other metrics are the task network's."""

TABLES = ("network_options", "strategy_options", "task", "loss", "augmentation", "optimiser")
"""Of a recipe, that are shown."""

PICTURES = {
    None: "",
    True: "\nIt was trained on the pictures of this fusion network.",
    False: "\nIt was trained on the pictures of another fusion network.",
}


def fusion_metrics(header: Header) -> dict[str, float]:
    """What a checkpoint says about its fusion network."""
    return {key: value for key, value in header.metrics.items() if key in METRIC_NAMES}


def task_metrics(header: Header) -> dict[str, float]:
    """What it says about its task network."""
    return {key: value for key, value in header.metrics.items() if key not in METRIC_NAMES}


class Made(NamedTuple):
    """What an export made of the networks."""

    graphs: Mapping[str, Graph]
    """By name."""
    sizes: Mapping[str, int]
    """Bytes of the graphs' files."""
    measured: Sequence[str]
    """What the gate measured, a line each."""
    commands: Mapping[str, str]
    """Command lines by the names of the graphs whose networks they trained, and ``export``."""


def model_card(
    name: str, fusion: Header, heads: Mapping[str, Task], threshold: float = 0.25, made: Made | None = None
) -> str:
    """Markdown from the headers of the checkpoints.

    Args:
        name: Of the bundle.
        fusion: Header of the fusion network's checkpoint.
        heads: Task networks by the heads' names; their checkpoint may be the fusion network's.
        threshold: Score above which a detection counts.
        made: What became of them; None: not known.
    """
    tasks = heads.values()
    headers = fusion, *(task.header for task in tasks)
    limits = dict.fromkeys(limit for header in headers for limit in header.limits)
    parts = [
        f"# {_cell(name)}",
        f"Fusion network {_trained(fusion, 'fusion')}. Takes an infrared and a visible luma picture that "
        "are\naligned, gives one fused luma picture.",
        *(_finds(task, threshold) for task in tasks),
        *(() if made is None else _costs(made)),
        "## Training data",
        _data(fusion, heads),
        "Where a data set is for research use, so are these weights, as far as its terms reach. A fused "
        "picture is\na view of two sensors, not a measurement: no person or event may be judged by it alone.",
        "## Training",
        _settings(fusion),
        *(_settings_of(task) for task in tasks if task.header != fusion),
        *(() if made is None else _commands(made.commands)),
        "## Fusion metrics on the recipe's validation pairs",
        _metrics(fusion_metrics(fusion)),
        "VIF and SSIM are means over the two sources; the picture is not stretched.",
        *(part for task in tasks for part in _measured(task)),
        *(() if made is None else ("## Measured by the export", _listed(made.measured))),
        "## Limits",
        _listed(limits),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _trained(header: Header, role: str) -> str:
    return (
        f"`{header.networks[role].name}`, strategy `{header.strategy}`, recipe `{header.recipe}` "
        f"(seed {header.seed},\ncheckpoint of step {header.step} of {header.steps})"
    )


def _finds(task: Task, threshold: float) -> str:
    kind, view = task.kind, task.view
    does = kind.finds.format(classes=", ".join(map(_cell, view.classes)), threshold=threshold)
    sees = "the fused luma in the visible picture's colours" if task.network.colour else "the fused luma"
    sees += ", and infrared beside it" if task.network.infrared else ""
    return (
        f"{kind.title.capitalize()} {_trained(task.header, 'task')}. Sees {sees}, not stretched, at\n"
        f"{view.width}x{view.height} pixels, {does}{PICTURES[task.matched]}"
    )


def _costs(made: Made) -> tuple[str, ...]:
    """Weights, operations and sizes of every graph."""
    precisions = [one for one in get_args(Precision) if any(one in g.files for g in made.graphs.values())]
    rows = _rows(
        (
            name,
            _thousands(graph.parameters),
            "" if graph.multiply_adds is None else f"{graph.multiply_adds / 1e6:.1f}",
            *(
                f"{made.sizes[graph.files[one]] / 1e3:.1f}" if one in graph.files else ""
                for one in precisions
            ),
        )
        for name, graph in made.graphs.items()
    )
    heads = ("graph", "parameters", "multiply-adds, millions", *(f"{one}, kB" for one in precisions))
    return (
        "## Size and cost",
        f"{_rows([heads])}\n|{'---|' * len(heads)}\n{rows}",
        "Multiply-adds are those of convolutions and products of matrices for one picture: of the fusion "
        "network at\n640x480, of a head at its own size. Parameters are those of the trained network.",
    )


def _thousands(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _commands(commands: Mapping[str, str]) -> tuple[str, ...]:
    lines = "\n".join(f"    {redact(command)}" for command in commands.values())
    return (
        "Made by these commands, with the data in DIR; of files elsewhere the names stay. A training that "
        "did not\nnote its own is missing:",
        lines,
    )


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_cell(line)}" for line in lines)


def _settings_of(task: Task) -> str:
    return f"Of the {task.kind.title}:\n\n{_settings(task.header)}"


def _measured(task: Task) -> tuple[str, str]:
    return (
        f"## Metrics of the {task.kind.title} on its validation pairs",
        _metrics(task_metrics(task.header)),
    )


def _data(fusion: Header, heads: Mapping[str, Task]) -> str:
    if not heads:
        rows = _rows((row.name, str(row.pairs), row.terms) for row in fusion.training_data)
        return f"| data | pairs | terms |\n|---|---|---|\n{rows}"
    uses = dict.fromkeys(fusion.training_data, "fusion")
    for name, task in heads.items():
        for row in task.header.training_data:
            uses[row] = f"{uses[row]}, {name}" if row in uses else name
    rows = _rows((row.name, str(row.pairs), use, row.terms) for row, use in uses.items())
    return f"| data | pairs | for | terms |\n|---|---|---|---|\n{rows}"


def _settings(header: Header) -> str:
    rows = _rows(
        (
            table,
            ", ".join(f"{key} {without_folders(value)}" for key, value in header.settings[table].items()),
        )
        for table in TABLES
        if isinstance(header.settings.get(table), dict) and header.settings[table]
    )
    return f"| table | options |\n|---|---|\n{rows}"


def without_folders(value: Any) -> Any:
    """Settings as anybody may read them: of a file its name, wherever it lay on the machine that trained."""
    if isinstance(value, dict):
        return {key: without_folders(inner) for key, inner in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _metrics(metrics: Mapping[str, float]) -> str:
    if not metrics:
        return "None were measured."
    named = {METRIC_NAMES.get(key, key): f"{value:.3f}" for key, value in metrics.items()}
    return f"{_rows([tuple(named)])}\n|{'---|' * len(named)}\n{_rows([tuple(named.values())])}"


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    """Text that stays in its cell, without credentials."""
    return " ".join(redact(text).split()).replace("|", "\\|")
