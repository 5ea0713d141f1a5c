"""What a training says while it runs: JSON lines, the same as two CSV files, TensorBoard where asked for.

``log.jsonl`` is the one that counts: the CSV files are made again from it when a training is resumed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeAlias

from tdfusion_edge.errors import RequestError
from tdfusion_edge.files import write_aside
from tdfusion_edge.install import install_command

JSONL = "log.jsonl"
CSV_FILES = {"losses": "losses.csv", "validation": "validation.csv"}
"""Kind of row to file."""
TENSORBOARD = "tensorboard"
"""Folder of the event files."""
EVERY = 50
"""Steps over which losses are averaged to one line."""

Row: TypeAlias = dict[str, Any]


class Log:
    """Mean losses every :data:`EVERY` steps, and the figures of every validation.

    Args:
        folder: Where the files are.
        begun: Steps that were taken before; what was logged of later ones is dropped.
        enabled: Whether this process logs.
        tensorboard: Write TensorBoard's event files as well.

    Raises:
        RequestError: TensorBoard is asked for and not installed.
        OSError: a file cannot be written.
    """

    def __init__(
        self, folder: Path, begun: int = 0, *, enabled: bool = True, tensorboard: bool = False
    ) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._stream: IO[str] | None = None
        self._tables: dict[str, Table] = {}
        self._board: Any = None
        if not enabled:
            return
        # Asked for first: without it, nothing of an older log is touched.
        board = board_class() if tensorboard else None
        rows = read_rows(folder / JSONL, begun)
        write_aside(folder / JSONL, "".join(json.dumps(row) + "\n" for row in rows).encode())
        self._stream = (folder / JSONL).open("a", encoding="utf-8")
        for kind, name in CSV_FILES.items():
            self._tables[kind] = Table(folder / name, [flat(row, kind) for row in rows if kind in row])
        if board is not None:
            # What was written of later steps stays in the files; TensorBoard leaves it out.
            self._board = board(str(folder / TENSORBOARD), purge_step=begun + 1)

    def note(self, row: Mapping[str, Any]) -> None:
        """Write something that is neither loss nor metric; ``row`` has a ``step``."""
        self._write(dict(row))

    def losses(self, step: int, losses: Mapping[str, float]) -> None:
        """Count one step's losses in; their means are written when it is time."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        if step % EVERY == 0:
            self._flush(step)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Write what a validation measured."""
        self._flush(step)
        self._record(step, "validation", figures)

    def _flush(self, step: int) -> None:
        if self._sums:
            # A mean over the steps that had this loss: meta-steps and fusion steps have different ones.
            self._record(
                step, "losses", {name: total / self._counts[name] for name, total in self._sums.items()}
            )
        self._sums, self._counts = {}, {}

    def _record(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        row = {"step": step, kind: {name: round(value, 6) for name, value in values.items()}}
        self._write(row)
        if kind in self._tables:
            self._tables[kind].append(flat(row, kind))
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)
            self._board.flush()

    def _write(self, row: Row) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps(row) + "\n")
            self._stream.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._board is not None:
            self._board.close()


class Table:
    """A CSV file that is whole after every row, and whose columns may still grow."""

    def __init__(self, path: Path, rows: Sequence[Row]) -> None:
        self._path, self._rows = path, list(rows)
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        self._rewrite()

    def append(self, row: Row) -> None:
        """Add a row; one with a new column writes the file anew."""
        self._rows.append(row)
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite()
            return
        with self._path.open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, self._columns).writerow(row)

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        if self._columns:
            writer.writeheader()
            writer.writerows(self._rows)
        write_aside(self._path, text.getvalue().encode())


def read_rows(path: Path, last: int) -> list[Row]:
    """What was logged up to step ``last``; nothing for 0.

    A line that was cut off by a crash ends it.
    """
    rows: list[Row] = []
    if not last or not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row["step"] <= last:
            rows.append(row)
    return rows


def flat(row: Row, kind: str) -> Row:
    """A row of the JSON lines as one of a CSV file."""
    return {"step": row["step"], **row[kind]}


def board_class() -> Any:
    """TensorBoard's writer.

    Raises:
        RequestError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RequestError("TensorBoard is not installed", hint=install_command("tensorboard")) from error
    return SummaryWriter
