"""The ``tdfusion-edge`` command: a table of subcommands, each imported when it is called.

Each command's module has two functions: ``add_arguments(parser)`` declares, ``main(args)`` does the
work and returns the exit code: 0 done, 1 the work failed, 2 the request was wrong.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import platform
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tdfusion_edge import __version__
from tdfusion_edge.arguments import file_path, whole_number
from tdfusion_edge.console import guarded, listening, say
from tdfusion_edge.errors import RequestError, TdfusionError
from tdfusion_edge.install import install_command
from tdfusion_edge.interrupts import second_signal_ends
from tdfusion_edge.leaving import ended_by
from tdfusion_edge.redact import redact_arguments


class Command(NamedTuple):
    """One row of the table."""

    name: str
    module: str
    summary: str
    extra: str | None = None
    """Extra that brings what the module imports; named when an import fails."""


COMMANDS = (
    Command("run", "tdfusion_edge.runtime.commands.run", "stream two cameras into one fused picture"),
    Command(
        "fuse", "tdfusion_edge.runtime.commands.fuse", "fuse a pair of pictures, two folders or two videos"
    ),
    Command("train", "tdfusion_edge.train.command", "train networks from a recipe", "train"),
    Command("dataset", "tdfusion_edge.train.command_dataset", "check a folder of pairs and labels", "train"),
    Command("export", "tdfusion_edge.export.command", "turn checkpoints into a bundle", "export"),
    Command("engines", "tdfusion_edge.runtime.commands.engines", "build TensorRT engines ahead of time"),
    Command("eval", "tdfusion_edge.runtime.commands.eval", "score fused pictures and detections"),
    Command("verify", "tdfusion_edge.runtime.commands.verify", "check what a back end makes of a bundle"),
    Command("bench", "tdfusion_edge.runtime.commands.bench", "measure latency, throughput and energy here"),
    Command("bundles", "tdfusion_edge.runtime.commands.bundles", "list bundles and what they hold"),
    Command("cameras", "tdfusion_edge.runtime.commands.cameras", "list cameras and what they offer"),
    Command(
        "calibrate",
        "tdfusion_edge.runtime.commands.calibrate",
        "measure how infrared lies on visible",
        "calibrate",
    ),
    Command(
        "doctor", "tdfusion_edge.runtime.commands.doctor", "check this installation and say what is missing"
    ),
    Command("completion", "tdfusion_edge.completion", "print a script that completes commands in a shell"),
)

LOUD = ("-q", "--quiet", "-v", "--verbose")
LOUDNESS = "loudness"
"""Where ``-q`` and ``-v`` stand among the arguments; a command never sees it."""

REFUSED = MappingProxyType(
    {
        errno.ENAMETOOLONG: "a name of 255 bytes or fewer",
        errno.EACCES: "a place that you may use",
        errno.EPERM: "a place that you may use",
        errno.EROFS: "a place that can be written to",
        errno.ELOOP: "a link that leads somewhere",
    }
)
"""What the system says of a place, and what is expected of one."""

log = logging.getLogger(__name__)


def program() -> int:
    """The ``tdfusion-edge`` process: :func:`main`, whatever threads its drivers leave behind."""
    return ended_by(main)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Raises:
        SystemExit: ``--help``, ``--version`` or a command line that argparse refuses.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with guarded(), second_signal_ends():
        try:
            return _chosen(arguments)
        except TdfusionError as error:
            say(f"error: {error}", error=True)
            return error.exit_code
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return 1
        except Exception:
            # Only a fault of this program comes here.
            say(traceback.format_exc(), error=True)
            say("error: this is a fault in tdfusion-edge; please report the lines above", error=True)
            return 1


def _chosen(arguments: list[str]) -> int:
    """Run the command that stands first."""
    root = _root_parser()
    if not arguments:
        root.print_help()
        return 2
    if arguments[0] in LOUD and len(arguments) > 1:  # before the command is as good as behind it
        arguments[:2] = arguments[1::-1]
    command = next((row for row in COMMANDS if row.name == arguments[0]), None)
    if command is None:
        root.parse_args(arguments)
        root.error(f"expected a command first, got '{arguments[0]}'")
    return _run(command, arguments[1:])


class Parser(argparse.ArgumentParser):
    """argparse's, whose words pass the same border as all others, and which knows what no argument may be."""

    color = False  # its escape codes would be taken for somebody else's

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", Path, file_path)
        self.register("type", int, whole_number)

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            say(message.rstrip("\n"), error=file is not sys.stdout)


def command_parser(command: Command) -> tuple[argparse.ArgumentParser, Callable[[argparse.Namespace], int]]:
    """Parser and ``main`` of one command, whose module is imported here."""
    module = importlib.import_module(command.module)
    parser = Parser(
        prog=f"tdfusion-edge {command.name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", dest=LOUDNESS, action="store_const", const=logging.ERROR, default=logging.INFO,
        help="say nothing but errors and the result that was asked for",
    )  # fmt: skip
    loudness.add_argument(
        "-v", "--verbose", dest=LOUDNESS, action="store_const", const=logging.DEBUG, default=logging.INFO,
        help="say more: what is done, and where an error comes from",
    )  # fmt: skip
    return parser, module.main


def _root_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tdfusion-edge",
        description="Infrared and visible cameras in, one fused picture out.",
    )
    parser.add_argument("--version", action="version", version=f"tdfusion-edge {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        commands.add_parser(command.name, help=command.summary, add_help=False)
    return parser


def _run(command: Command, arguments: Sequence[str]) -> int:
    try:
        parser, work = command_parser(command)
        args = parser.parse_args(arguments)
        with listening(vars(args).pop(LOUDNESS)):
            return _logged(work, args, shlex.join([command.name, *redact_arguments(arguments)]))
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] == "tdfusion_edge":
            raise
        say(_missing(command, error), error=True)
        return 2
    except OSError as error:
        # Wherever such a place is first asked after, it was somebody's request.
        if error.errno is None or error.errno not in REFUSED or error.filename is None:
            raise
        raise RequestError(f"{error.filename}: {error.strerror}", expected=REFUSED[error.errno]) from error


def _logged(work: Callable[[argparse.Namespace], int], args: argparse.Namespace, line: str) -> int:
    log.debug("%s on Python %s: %s", __version__, platform.python_version(), line)
    try:
        return work(args)
    except TdfusionError:
        log.debug("where the error comes from", exc_info=True)
        raise


def _missing(command: Command, error: ImportError) -> str:
    what = f"error: 'tdfusion-edge {command.name}' needs {error.name}"
    if command.extra is not None and isinstance(error, ModuleNotFoundError):
        return f"{what}, which is not installed\n  {install_command(command.extra)}"
    return f"{what}, which cannot be imported: {error}\n  Find out what is missing: tdfusion-edge doctor"
