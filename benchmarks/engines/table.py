"""Tables for docs/measurements.md from a result file of ``benchmarks.engines``.

python -m benchmarks.engines.table
python -m benchmarks.engines.table benchmarks/results/engines_720p.json
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.engines.networks import NETWORKS, PRECISIONS
from benchmarks.printed import print_tables
from benchmarks.schema import ResultFile
from benchmarks.script import RESULTS

WEIGHTS = "weights of the errors"
"""Fact that says whose weights the errors of a network are of."""

BUILT = (
    ("ONNX file", "ONNX, MB", "{:.2f}"),
    ("ONNX nodes", "nodes", "{:.0f}"),
    ("kernels", "kernels", "{:.0f}"),
    ("activations", "activations, MB", "{:.1f}"),
    ("traffic", "traffic a picture, MB", "{:.1f}"),
)
COST = (
    ("PSNR", "PSNR, dB", "{:.1f}"),
    ("largest error", "largest error", "{:.1e}"),
    ("Qabf change", "Qabf", "{:+.5f}"),
    ("SSIM change", "SSIM", "{:+.5f}"),
    ("boxes kept", "boxes kept, %", "{:.1f}"),
    ("pixels kept", "pixels kept, %", "{:.2f}"),
    ("mAP50 change", "mAP50, points", "{:+.2f}"),
)
"""Figure, its heading and how it is written."""


def as_markdown(result: ResultFile) -> str:
    """Two tables: what was built of every network, and what FP16 costs it with the weights that are named.

    What was not measured stays empty.
    """
    figures = {figure.name: figure.value for figure in result.results.figures}
    facts = result.metadata.facts
    built = _lines(("network", "precision", *(heading for _, heading, _ in BUILT)))
    cost = _lines(("FP16 against FP32", "weights", "on", *(heading for _, heading, _ in COST)))
    for name in NETWORKS:
        for precision in PRECISIONS:
            case = f"{name} {precision}"
            if f"{case}, ONNX nodes" in figures:
                built.append(_row((f"`{name}`", precision, *_cells(figures, case, BUILT))))
        cells = _cells(figures, f"{name} fp16", COST)
        if any(cells):
            told = facts[f"{name}: {WEIGHTS}"], facts[f"{name}: errors on"]
            cost.append(_row((f"`{name}`", *told, *cells)))
    return "\n".join([*built, *(["", *cost] if len(cost) > 2 else [])])


def _lines(headings: tuple[str, ...]) -> list[str]:
    return [_row(headings), "|" + "---|" * len(headings)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(
    figures: Mapping[str, float], case: str, columns: tuple[tuple[str, str, str], ...]
) -> tuple[str, ...]:
    names = ((f"{case}, {what}", form) for what, _, form in columns)
    return tuple(form.format(figures[name]) if name in figures else "" for name, form in names)


def main(argv: list[str] | None = None) -> int:
    """Print the tables of one file."""
    return print_tables("benchmarks.engines.table", __doc__, RESULTS / "engines.json", as_markdown, argv)


if __name__ == "__main__":
    raise SystemExit(main())
