"""A table for docs/measurements.md from a result file of ``benchmarks.training.methods``.

python -m benchmarks.training.method_table
"""

from __future__ import annotations

from benchmarks.printed import print_tables
from benchmarks.rows import Trained
from benchmarks.schema import ResultFile
from benchmarks.script import RESULTS
from benchmarks.training.methods import FUSION

METRICS = {"scd": "SCD", "vif": "VIF", "qabf": "Qabf", "ssim": "SSIM"}
SCORES = {"map50": "mAP50", "miou": "mIoU"}
"""Of a task, what is shown."""


def as_markdown(result: ResultFile) -> str:
    """A row for each method: fusion metrics, then the score of each task, as mean ± standard deviation.

    What a row has none of stays empty, and so does the deviation of a single seed.
    """
    trained = {tuple(row.row.split(", ", 1)): row for row in result.results.trainings}
    tasks = list(dict.fromkeys(what for what, _ in trained if what != FUSION))
    rows = list(dict.fromkeys(row for _, row in trained))
    columns = [(FUSION, metric, title) for metric, title in METRICS.items()]
    columns += [
        (task, metric, f"{title}, `{task}`")
        for task in tasks
        for metric, title in SCORES.items()
        if any(metric in row.mean for (what, _), row in trained.items() if what == task)
    ]
    lines = [_line(["pictures", *(title for *_, title in columns)]), "|" + "---|" * (len(columns) + 1)]
    for name in rows:
        cells = (_cell(trained.get((what, name)), metric) for what, metric, _ in columns)
        lines.append(_line([f"`{name}`", *cells]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: Trained | None, metric: str) -> str:
    if row is None or metric not in row.mean:
        return ""
    spread = f" ± {row.deviation[metric]:.3f}" if metric in row.deviation else ""
    return f"{row.mean[metric]:.3f}{spread}"


def main(argv: list[str] | None = None) -> int:
    """Print the table of one file."""
    return print_tables(
        "benchmarks.training.method_table", __doc__, RESULTS / "training" / "methods.json", as_markdown, argv
    )


if __name__ == "__main__":
    raise SystemExit(main())
