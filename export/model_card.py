"""``MODEL_CARD.md`` of a bundle: what the weights are, what they were trained on and on which terms."""

from __future__ import annotations

from tdfusion_edge.checkpoint import Header

METRIC_NAMES = {name.lower(): name for name in ("EN", "SF", "SD", "AG", "SCD", "VIF", "Qabf", "SSIM")}


def model_card(header: Header, name: str) -> str:
    """Markdown from a checkpoint's header."""
    data = "\n".join(f"| {row.name} | {row.pairs} | {row.terms} |" for row in header.training_data)
    metrics = {METRIC_NAMES.get(key, key): value for key, value in header.metrics.items()}
    return f"""# {name}

Fusion network `{header.network}`, strategy `{header.strategy}`, recipe `{header.recipe}` (seed {header.seed},
step {header.step}). Takes an infrared and a visible luma picture that are aligned, gives one fused
luma picture.

## Training data

| data | pairs | terms |
|---|---|---|
{data}

The weights are published under these terms: where a data set is for research use, so are they, as
far as its terms reach. The code is Apache-2.0.

## Fusion metrics on the recipe's validation pairs

| {" | ".join(metrics)} |
|{"---|" * len(metrics)}
| {" | ".join(f"{value:.3f}" for value in metrics.values())} |

VIF and SSIM are means over the two sources; the picture is not stretched.

## Limits

- The pictures must be registered: what is shifted between the sensors appears twice.
- Trained on street scenes of 640x480 pixels at day and night; other scenes were not measured.
- No person or event may be judged by a fused picture alone: it is a view of two sensors, not a measurement.
"""
