"""What a network costs on paper: multiply-adds at a size of picture, and numbers that were learned.

  python -m benchmarks.operations GRAPH.onnx --size 640x480

How it counts: export/operations.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.script import parse_size
from tdfusion_edge.console import say
from tdfusion_edge.export.operations import SIZE, Operations, count

__all__ = ["Operations", "count", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what graphs cost."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("graphs", nargs="+", type=Path, metavar="GRAPH.onnx")
    parser.add_argument("--size", type=parse_size, default=SIZE, metavar="WxH")
    args = parser.parse_args(arguments)
    for path in args.graphs:
        found = count(path.read_bytes(), args.size)
        say(f"{path}: {found.multiply_adds / 1e6:.1f} million multiply-adds, {found.parameters:,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
