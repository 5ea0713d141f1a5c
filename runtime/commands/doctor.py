"""Check this installation and say what is missing.

Each row is ok, missing or broken; below it stands the command that installs or mends it. Every live
camera of the rig is opened, and its first pictures are judged: black, green, frozen, silent. The exit
code is 0 when the base pipeline (cameras in, fused video out, on the CPU) can run, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

from tdfusion_edge.arguments import bundle_path
from tdfusion_edge.console import say, say_json
from tdfusion_edge.runtime.commands.checkup import Check, everything


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help="rig file (default: $TDFUSION_RIG, ./rig.toml)"
    )
    parser.add_argument("--bundle", type=bundle_path, metavar="BUNDLE", help="bundle (default: edge)")
    parser.add_argument(
        "--no-look", action="store_true", help="open no camera: another program may be using it"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def main(args: argparse.Namespace) -> int:
    """Check and print; 0 when the base pipeline can run."""
    with redirect_stdout(sys.stderr):  # some libraries print when they cannot be loaded
        checks = list(everything(args.rig, args.bundle, look=not args.no_look))
    runs = can_run(checks)
    if args.json:
        say_json({"can_run": runs, "checks": [asdict(check) for check in checks]}, indent=2)
    else:
        say(table(checks))
        say(
            "The base pipeline can run."
            if runs
            else "The base pipeline cannot run: mend what is marked above."
        )
    return 0 if runs else 1


def can_run(checks: Sequence[Check]) -> bool:
    """Whether everything that the base pipeline needs is there."""
    return all(check.status == "ok" for check in checks if check.needed)


def table(checks: Sequence[Check]) -> str:
    """One line a check, and its command below."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        mark = "" if check.status == "ok" or not check.needed else "  <- needed"
        lines.append(f"{check.status:8} {check.name:{width}}  {check.found}{mark}")
        if check.fix is not None:
            lines.append(f"{'':9}{check.fix}")
    return "\n".join(lines)
