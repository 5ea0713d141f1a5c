"""What runs the networks: options of the commands, and what they show while an engine is built."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import get_args

from tdfusion_edge.arguments import Suggesting
from tdfusion_edge.bundle import Precision
from tdfusion_edge.console import note
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime import engines
from tdfusion_edge.runtime.engines import Choice, OnProgress, Progress

OWN = ("threads", "engine_cache", "workspace")
"""Options that only some back ends have."""


def add_engine_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Declare what runs the networks: the back ends, and what any of them has as an option of its own.

    Args:
        parser: Of the command.
        several: Whether ``--backend`` may name several, for :func:`choices_of`.
    """
    if several:
        parser.add_argument(
            "--backend", default="auto", metavar="NAME,NAME",
            action=Suggesting, suggestions=("auto", *engines.BACKENDS),
            help="what runs the networks, one or several to be compared with the first: "
            f"{', '.join(engines.BACKENDS)}, each with a precision of its own where it is written as "
            "onnxruntime:fp32 (default: ONNX Runtime on the CPU)",
        )  # fmt: skip
    else:
        parser.add_argument(
            "--backend", default="auto", choices=("auto", *engines.BACKENDS),
            help="what runs the networks (default: ONNX Runtime on the CPU)",
        )  # fmt: skip
    parser.add_argument(
        "--precision", choices=get_args(Precision),
        help="which of the bundle's graphs (default: fp32 on a CPU; fp16 on a GPU, where the bundle has it)",
    )  # fmt: skip
    if engines.offered("threads"):
        parser.add_argument(
            "--threads", type=int, default=0, metavar="N", help="CPU threads (default: one a core)"
        )
    if engines.offered("engine_cache"):
        add_cache_argument(parser)
    if engines.offered("workspace"):
        add_workspace_argument(parser)


def add_workspace_argument(parser: argparse.ArgumentParser) -> None:
    """Declare how much memory the build of an engine may take."""
    parser.add_argument(
        "--workspace", type=mebibytes, metavar="MIB",
        help="most GPU memory that the build of an engine may take for scratch, in MiB "
        "(default: half of what is free where the GPU shares the CPU's, else three quarters)",
    )  # fmt: skip


def mebibytes(text: str) -> int:
    """Bytes, from MiB on the command line.

    Raises:
        ArgumentTypeError: no whole number of 1 or more.
    """
    if not re.fullmatch(r"[1-9]\d{0,7}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number of MiB, got '{text}'")
    return int(text) << 20


def add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Declare where engines are kept."""
    parser.add_argument(
        "--engine-cache", type=Path, metavar="DIR",
        help="folder of the engines that GPU back ends build, yours alone (default: in your cache folder)",
    )  # fmt: skip


def choice_of(args: argparse.Namespace) -> Choice:
    """What the command line chose.

    Raises:
        RequestError: a negative number of threads.
    """
    choice = Choice(args.backend, args.precision)
    choice = choice._replace(**{name: value for name, value in vars(args).items() if name in OWN})
    if choice.threads < 0:
        raise RequestError("--threads", expected="0 or more", got=str(choice.threads))
    return choice


def choices_of(args: argparse.Namespace) -> dict[str, Choice]:
    """What the command line chose where it may name several back ends, each by its name there.

    Raises:
        RequestError: a back end or a precision that is none, one that is there twice, or a negative number
            of threads.
    """
    common, found = choice_of(args), dict[str, Choice]()
    for name in args.backend.split(","):
        backend, _, precision = name.partition(":")
        if backend not in ("auto", *engines.BACKENDS):
            raise RequestError("--backend", expected=", ".join(engines.BACKENDS), got=backend or "nothing")
        if name in found:
            raise RequestError("--backend", expected="every back end once", got=f"{name} twice")
        if precision and precision not in get_args(Precision):
            raise RequestError("--backend", expected=" or ".join(get_args(Precision)), got=precision)
        chosen = common._replace(backend=backend)
        found[name] = chosen._replace(precision=precision) if ":" in name else chosen
    return found


def progress_shower(what: str) -> OnProgress:
    """A callback that writes a line to standard error for every phase of an engine's build.

    Args:
        what: Whose engine it is.
    """
    shown: set[str] = set()

    def show(progress: Progress) -> None:
        if progress.phase not in shown:
            shown.add(progress.phase)
            note(f"building the {what} engine, {progress.elapsed_s:.0f} s: {progress.phase}")

    return show
