"""``--serve`` and what belongs to it."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tdfusion_edge.arguments import file_path
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.cameras import Cameras
from tdfusion_edge.runtime.live.address import DEFAULT, parse_address
from tdfusion_edge.runtime.pipeline.monitor import Monitor

if TYPE_CHECKING:
    from tdfusion_edge.runtime.live.server import Page


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the live page."""
    parser.add_argument(
        "--serve", nargs="?", type=parse_address, const=DEFAULT, metavar="HOST:PORT",
        help=f"show the stream on a page for browsers, with health and metrics (default: {DEFAULT}); it "
        "needs the extra 'serve'",
    )  # fmt: skip
    parser.add_argument(
        "--serve-token", type=file_path, metavar="FILE",
        help="visitors must know the token in this file, which is made if it is not there; needed for an "
        "address that other machines reach",
    )  # fmt: skip
    parser.add_argument(
        "--serve-name", action="append", default=[], metavar="NAME",
        help="a host name that leads to the page, as of a proxy before it; may be given several times",
    )  # fmt: skip


def secret_files(args: argparse.Namespace) -> list[Path]:
    """Files that no output may overwrite."""
    return [] if args.serve_token is None else [args.serve_token]


def open_page(args: argparse.Namespace, cameras: Cameras, monitor: Monitor, stack: ExitStack) -> Page | None:
    """The page that the command line asks for, serving until ``stack`` ends; None where it asks for none.

    Args:
        args: With ``camera`` and ``rig`` beside the page's own.
        cameras: What these stand for.
        monitor: Will know how the run stands.
        stack: Closes the page.

    Raises:
        RequestError: options without ``--serve``, or what :class:`.server.Page` refuses.
    """
    if args.serve is None:
        if args.serve_token is not None or args.serve_name:
            option = "--serve-name" if args.serve_token is None else "--serve-token"
            raise RequestError(option, expected="--serve beside it", got="none")
        return None
    from tdfusion_edge.runtime.calibration.rig_file import source_of
    from tdfusion_edge.runtime.live.alignment import Rigged
    from tdfusion_edge.runtime.live.server import Page
    from tdfusion_edge.runtime.live.token import read_token

    token = None if args.serve_token is None else read_token(args.serve_token)
    names = tuple(name.lower() for name in args.serve_name)
    rigged = Rigged(cameras, args.camera, source_of(args.rig, cameras))
    page = Page(
        args.serve,
        token=token,
        names=names,
        registration=cameras.registration,
        rigged=rigged,
        monitor=monitor,
    )
    return stack.enter_context(page)
