"""``MODEL_CARD.md`` of a bundle: what the weights are, what they were trained on and on which terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tdfusion_edge.checkpoint import Header
from tdfusion_edge.export.networks import Task

METRIC_NAMES = {name.lower(): name for name in ("EN", "SF", "SD", "AG", "SCD", "VIF", "Qabf", "SSIM")}
"""Fusion metrics by their keys in a header; its other metrics are the task network's."""

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


def model_card(
    name: str,
    fusion: Header,
    detector: Task | None = None,
    segmentation: Task | None = None,
    *,
    threshold: float = 0.25,
) -> str:
    """Markdown from the headers of the checkpoints.

    Args:
        name: Of the bundle.
        fusion: Header of the fusion network's checkpoint.
        detector: The detector; its checkpoint may be the fusion network's.
        segmentation: The network that gives every pixel a class, likewise.
        threshold: Score above which a detection counts.
    """
    tasks = {"detector": detector, "segmentation network": segmentation}
    others = {kind: task.header for kind, task in tasks.items() if task is not None}
    limits = dict.fromkeys(limit for header in (fusion, *others.values()) for limit in header.limits)
    parts = [
        f"# {name}",
        f"Fusion network {_trained(fusion, 'fusion')}. Takes an infrared and a visible luma picture that "
        "are\naligned, gives one fused luma picture.",
        "" if detector is None else _finds(detector, threshold),
        "" if segmentation is None else _segments(segmentation),
        "## Training data",
        _data(fusion, others),
        "Where a data set is for research use, so are these weights, as far as its terms reach. A fused "
        "picture is\na view of two sensors, not a measurement: no person or event may be judged by it alone.",
        "## Training",
        _settings(fusion),
        *(f"Of the {kind}:\n\n{_settings(header)}" for kind, header in others.items() if header != fusion),
        "## Fusion metrics on the recipe's validation pairs",
        _metrics(fusion_metrics(fusion)),
        "VIF and SSIM are means over the two sources; the picture is not stretched.",
        "" if detector is None else "## Detection metrics on the detector's validation pairs",
        "" if detector is None else _metrics(task_metrics(detector.header)),
        "" if segmentation is None else "## Segmentation metrics on that network's validation pairs",
        "" if segmentation is None else _metrics(task_metrics(segmentation.header)),
        "## Limits",
        "\n".join(f"- {_cell(limit)}" for limit in limits),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _trained(header: Header, role: str) -> str:
    return (
        f"`{header.networks[role].name}`, strategy `{header.strategy}`, recipe `{header.recipe}` "
        f"(seed {header.seed},\ncheckpoint of step {header.step} of {header.steps})"
    )


def _finds(detector: Task, threshold: float) -> str:
    header = detector.header
    assert header.task is not None  # it was exported with its size and classes
    classes = ", ".join(map(_cell, header.task.classes))
    return (
        f"Detector {_trained(header, 'task')}. Sees the fused luma, not stretched, at "
        f"{header.task.width}x{header.task.height} pixels,\nand finds: {classes}. A score above "
        f"{threshold:g} counts where nothing else is asked for.{PICTURES[detector.matched]}"
    )


def _segments(segmentation: Task) -> str:
    view = segmentation.view
    return (
        f"Segmentation network {_trained(segmentation.header, 'task')}. Sees the fused luma, not stretched, "
        f"at\n{view.width}x{view.height} pixels, and gives each of them a class: "
        f"{', '.join(map(_cell, view.classes))}.{PICTURES[segmentation.matched]}"
    )


def _data(fusion: Header, others: Mapping[str, Header]) -> str:
    if not others:
        rows = _rows((row.name, str(row.pairs), row.terms) for row in fusion.training_data)
        return f"| data | pairs | terms |\n|---|---|---|\n{rows}"
    uses = dict.fromkeys(fusion.training_data, "fusion")
    for kind, header in others.items():
        name = kind.split()[0]
        for row in header.training_data:
            uses[row] = f"{uses[row]}, {name}" if row in uses else name
    rows = _rows((row.name, str(row.pairs), use, row.terms) for row, use in uses.items())
    return f"| data | pairs | for | terms |\n|---|---|---|---|\n{rows}"


def _settings(header: Header) -> str:
    rows = _rows(
        (table, ", ".join(f"{key} {value}" for key, value in header.settings[table].items()))
        for table in ("task", "loss", "augmentation", "optimiser")
        if isinstance(header.settings.get(table), dict)
    )
    return f"| table | options |\n|---|---|\n{rows}"


def _metrics(metrics: Mapping[str, float]) -> str:
    if not metrics:
        return "None were measured."
    named = {METRIC_NAMES.get(key, key): f"{value:.3f}" for key, value in metrics.items()}
    return f"{_rows([tuple(named)])}\n|{'---|' * len(named)}\n{_rows([tuple(named.values())])}"


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|")
