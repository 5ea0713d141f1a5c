"""From a command line to a result file: what the benchmarks' modules have in common when they run."""

from __future__ import annotations

import argparse
import datetime
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import commit as commit_of
from benchmarks.schema import Argument, Metadata, ResultFile, Results, write
from benchmarks.table import as_table
from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError, TdfusionError
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime.measuring import machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
ABSOLUTE = re.compile(r"""(^|[='"])/(?:[^/'"]*/)*""")
"""The folders of an absolute path in an option such as ``--set task.start=/home/me/last.safetensors``."""
BUSY = 0.25
"""Load average per core above which the run starts with a warning."""


class Measured(NamedTuple):
    """What a benchmark gives back."""

    results: Results
    facts: Mapping[str, str]
    """See :class:`~benchmarks.schema.Metadata`."""


class Benchmark(NamedTuple):
    """A benchmark as data; its module runs it with :func:`main`."""

    name: str
    """Its module below ``benchmarks``, such as ``training.meta_step``."""
    description: str | None
    add_arguments: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace], Measured]


def main(benchmark: Benchmark, argv: list[str] | None = None) -> int:
    """Measure, write the result file, say what is in it, and return the exit code."""
    args = _parser(benchmark).parse_args(argv)
    try:
        _refuse_unwritable(args.output)
        result = _measured(benchmark, args)
        write(args.output, result)
    except TdfusionError as error:
        say(f"error: {redact(str(error))}", error=True)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted: nothing is written", error=True)
        return 130
    say(f"{as_table(result.results)}\nwritten to {args.output}")
    return 0


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Declare ``--bundle``."""
    shipped = bundle.default_path()
    parser.add_argument("--bundle", type=bundle.place, default=shipped, help="bundle (default: edge)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare ``--threads``."""
    add_count(parser, "threads", 2, "CPU threads of the network")


def add_count(parser: argparse.ArgumentParser, name: str, default: int, what: str) -> None:
    """Declare an option that is a number from 1."""
    described = f"{what} (default: {default})"
    parser.add_argument(f"--{name}", type=parse_count, default=default, metavar="N", help=described)


def parse_count(text: str) -> int:
    """A number from 1; an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got '{text}'")
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``640x480``; an argparse type."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 32):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT of 32 pixels or more, got '{text}'")
    return int(width), int(height)


def _measured(benchmark: Benchmark, args: argparse.Namespace) -> ResultFile:
    started, start_s = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    load_before = machine.load_average()
    if load_before is not None and load_before[0] > BUSY * machine.usable_cores():
        say(f"warning: the load is {load_before[0]:.2f}, the numbers will be noisy", error=True)
    # Before the run: what is committed or edited meanwhile is not what was measured.
    commit, dirty = commit_of(ROOT)
    results, facts = benchmark.measure(args)
    metadata = Metadata(
        format=1,
        benchmark=benchmark.name,
        arguments={key: _argument(value) for key, value in vars(args).items() if key != "output"},
        facts=dict(facts),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start_s, 1),
        commit=commit,
        dirty=dirty,
        machine=machine.describe(load_before),
        versions=machine.versions(),
    )
    return ResultFile(metadata=metadata, results=results)


def _parser(benchmark: Benchmark) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark.name}",
        description=benchmark.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benchmark.add_arguments(parser)
    file = f"{benchmark.name.replace('.', '/')}.json"
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        default=RESULTS / file,
        help=f"result file (default: benchmarks/results/{file})",
    )
    return parser


def _refuse_unwritable(path: Path) -> None:
    """Before the work is paid for."""
    if path.suffix != ".json" or path.is_dir():
        raise RequestError(f"{path} is no result file", expected="the name of a .json file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"there is no folder {path.parent} for the result: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise RequestError(f"{path} cannot be written: no permission for {path.parent}")


def _argument(value: object) -> Argument:
    """An option as the result file holds it; of a path outside the checkout its last part alone."""
    if isinstance(value, str):
        return ABSOLUTE.sub(r"\1", value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Path):
        path = value.resolve()
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, list):
        return tuple(str(_argument(item)) for item in value)
    raise TypeError(f"an option of type {type(value).__name__} has no place in a result file")
