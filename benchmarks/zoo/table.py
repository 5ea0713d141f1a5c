"""Tables for docs/models.md from a result file of ``benchmarks.zoo``.

python -m benchmarks.zoo.table
python -m benchmarks.zoo.table benchmarks/results/zoo_orin_nano.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.printed import print_tables
from benchmarks.schema import ResultFile
from benchmarks.script import RESULTS
from benchmarks.zoo.costs import DEFAULT, PAPER, case
from benchmarks.zoo.picture import found_by

METRICS = {"scd": "SCD", "vif": "VIF", "qabf": "Qabf", "ssim": "SSIM"}
PRECISIONS = ("fp32", "fp16", "int8")
NONE = ""


def as_markdown(result: ResultFile) -> str:
    """Three tables: what each costs, how good its pictures are, and what it was trained on by which commands.

    What was not measured stays empty.
    """
    parts = ("\n".join(_cost(result)), "\n".join(_quality(result)), "\n".join(_origin(result.metadata.facts)))
    return "\n\n".join(part for part in parts if part)


def _cost(result: ResultFile) -> Iterator[str]:
    figures = {one.name: one.value for one in result.results.figures}
    times = {one.name: one.median for one in result.results.timings}
    ratios = {(one.numerator, one.denominator): one.median for one in result.results.ratios}
    yield from _head(
        (
            "fusion network of", "parameters", "million multiply-adds", "ms, 2 threads", "ms, 1 thread",
            f"against `{DEFAULT}`", f"`{PAPER}` takes", *(f"{one}, kB" for one in PRECISIONS),
        )
    )  # fmt: skip
    names = [name.removesuffix(": parameters") for name in figures if name.endswith(": parameters")]
    for name in names:
        two, one = case(name, 2), case(name, 1)
        sizes = (figures.get(f"{name}: fusion graph, {precision}") for precision in PRECISIONS)
        yield _row(
            (
                f"`{name}`",
                f"{figures[f'{name}: parameters']:,.0f}",
                f"{figures[f'{name}: multiply-adds']:,.1f}",
                _number(times.get(two), 3),
                _number(times.get(one), 3),
                "1" if name == DEFAULT else _number(ratios.get((two, case(DEFAULT, 2))), 2),
                "1" if name == PAPER else _times(ratios.get((case(PAPER, 2), two))),
                *(NONE if size is None else f"{size:.1f}" for size in sizes),
            )
        )


def _quality(result: ResultFile) -> Iterator[str]:
    figures = {one.name: one.value for one in result.results.figures}
    detectors = found_by(result.results)
    masks = any(name.endswith(": mIoU") for name in figures)
    yield from _head(
        ("pictures of", *METRICS.values(), *(f"mAP50, {name}" for name in detectors), *(["mIoU"] * masks))
    )
    for one in result.results.scores:
        yield _row(
            (
                f"`{one.method}`",
                *(f"{one.metrics[metric]:.3f}" for metric in METRICS),
                *(_share(scores.get(one.method)) for scores in detectors.values()),
                *([_share(figures.get(f"{one.method}: mIoU"))] * masks),
            )
        )


def _origin(facts: Mapping[str, str]) -> Iterator[str]:
    """What each was trained on, and by what."""
    names = [name.removesuffix(": trained by") for name in facts if name.endswith(": trained by")]
    if names:
        yield from _head(("bundle", "trained by", "on", "commands"))
    for name in names:
        data = [f"{what}: {text}" for what, text in _told(facts, f"{name}: trained on ")]
        commands = [f"`{text}`" for _, text in _told(facts, f"{name}: command of ")]
        yield _row((f"`{name}`", facts[f"{name}: trained by"], "; ".join(data), "<br>".join(commands)))


def _told(facts: Mapping[str, str], prefix: str) -> Iterator[tuple[str, str]]:
    return ((key.removeprefix(prefix), text) for key, text in facts.items() if key.startswith(prefix))


def _head(headings: Sequence[str]) -> Iterator[str]:
    yield _row(headings)
    yield "|" + "---|" * len(headings)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:,.{digits}g}" if value < 100 else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return NONE if value is None else f"{_number(value, 3)} times as long"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def main(argv: list[str] | None = None) -> int:
    """Print the tables of one file."""
    return print_tables("benchmarks.zoo.table", __doc__, RESULTS / "zoo.json", as_markdown, argv)


if __name__ == "__main__":
    raise SystemExit(main())
