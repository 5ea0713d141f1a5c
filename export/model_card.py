"""``MODEL_CARD.md`` of a bundle: what the weights are, what they were trained on and on which terms."""

from __future__ import annotations

from collections.abc import Iterable

from tdfusion_edge.checkpoint import Header

METRIC_NAMES = {name.lower(): name for name in ("EN", "SF", "SD", "AG", "SCD", "VIF", "Qabf", "SSIM")}


def model_card(header: Header, name: str) -> str:
    """Markdown from a checkpoint's header."""
    data = _rows((row.name, str(row.pairs), row.terms) for row in header.training_data)
    metrics = {METRIC_NAMES.get(key, key): f"{value:.3f}" for key, value in header.metrics.items()}
    settings = _rows(
        (table, ", ".join(f"{key} {value}" for key, value in header.settings[table].items()))
        for table in ("loss", "augmentation", "optimiser")
        if table in header.settings
    )
    limits = "\n".join(f"- {_cell(limit)}" for limit in header.limits)
    return f"""# {name}

Fusion network `{header.network}`, strategy `{header.strategy}`, recipe `{header.recipe}` (seed {header.seed},
checkpoint of step {header.step} of {header.steps}). Takes an infrared and a visible luma picture that are
aligned, gives one fused luma picture.

## Training data

| data | pairs | terms |
|---|---|---|
{data}

Where a data set is for research use, so are these weights, as far as its terms reach. A fused picture is
a view of two sensors, not a measurement: no person or event may be judged by it alone.

## Training

| table | options |
|---|---|
{settings}

## Fusion metrics on the recipe's validation pairs

{_rows([tuple(metrics)])}
|{"---|" * len(metrics)}
{_rows([tuple(metrics.values())])}

VIF and SSIM are means over the two sources; the picture is not stretched.

## Limits

{limits}
"""


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|")
