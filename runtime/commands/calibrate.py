"""Measure how infrared lies on visible, and write it into the rig file.

  tdfusion-edge calibrate --camera ir0,vis0 --pattern chessboard:9x6 --distance 3
  tdfusion-edge calibrate --camera ir/,vis/ --picture check.png
  tdfusion-edge calibrate --camera ir0,vis0 --time

With --pattern a board is held at many places, at one distance, still for a second at each; warm it, or show
it on a phone, so that infrared sees it. Without it the edges of any scene serve: ten pairs or more, most of
the scene at the distance that matters. --matches takes what another program found, --point what you found by
eye.
--time finds the offset of the two clocks from something warm that moves through both views.
The rig file keeps its comments; nothing is written where the cameras cannot be aligned.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from tdfusion_edge import config
from tdfusion_edge.clashes import is_same_place, refuse_clashes
from tdfusion_edge.console import Progress, note, say, say_json
from tdfusion_edge.errors import RequestError, TdfusionError, WorkError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration import gather, points, rig_file, ways
from tdfusion_edge.runtime.calibration import pattern as patterns
from tdfusion_edge.runtime.calibration.report import Report, as_text
from tdfusion_edge.runtime.calibration.timing import time_offset
from tdfusion_edge.runtime.calibration.views import Views
from tdfusion_edge.runtime.cameras import Cameras, choose_cameras, require_positive
from tdfusion_edge.runtime.picture.parallax import require_distance
from tdfusion_edge.runtime.picture.registration import Warp
from tdfusion_edge.runtime.pipeline.signals import stopped_by_signals

LIVE_SECONDS = {"pattern": 60.0, "edges": 20.0, "points": 5.0, "time": 60.0}
"""How long live cameras are looked at unless --seconds says otherwise."""
INTERVAL_S = {"pattern": 0.15, "edges": 0.5, "points": 0.0}
"""Least time between two pairs of a stream that are looked at."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--camera", required=True, metavar="IR,VIS",
        help="two cameras, videos, folders or pictures, infrared first; folders are matched by name",
    )  # fmt: skip
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help="rig file to read (default: $TDFUSION_RIG, ./rig.toml)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="RIG.toml",
        help="rig file to write (default: the one that is read)",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--pattern", metavar="KIND:CxR",
        help=f"{patterns.EXAMPLES}: inner corners, or circles, along a row and a column",
    )  # fmt: skip
    way.add_argument(
        "--matches", type=Path, metavar="FILE", help=f"points of another program: lines of {points.COLUMNS}"
    )
    way.add_argument(
        "--point", action="append", default=[], metavar="X,Y,X,Y",
        help="a point in infrared and the same one in visible, pixels; four times or more",
    )  # fmt: skip
    way.add_argument(
        "--time", action="store_true",
        help="the time offset instead, from something warm that moves through both views",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="look so long (default: 5 to 60, by what is asked)"
    )
    parser.add_argument(
        "--distance", type=float, metavar="M", help="distance of pattern or scene, metres; kept in the rig"
    )
    parser.add_argument(
        "--baseline", metavar="RIGHT,DOWN",
        help="where infrared stands from visible, metres to the right and down, seen from behind the cameras",
    )  # fmt: skip
    parser.add_argument(
        "--focal", type=float, metavar="PX", help="focal length of the visible camera, pixels of its picture"
    )
    parser.add_argument("--picture", type=Path, metavar="OUT.png", help="write a picture of before and after")
    parser.add_argument(
        "--report", type=Path, metavar="OUT.json", help="write all figures and the residual map"
    )
    parser.add_argument("--json", action="store_true", help="print that instead of text")
    parser.add_argument("--dry-run", action="store_true", help="leave the rig file as it is")


def main(args: argparse.Namespace) -> int:
    """Measure, write and say what was found."""
    require_positive("--seconds", args.seconds)
    pattern = None if args.pattern is None else patterns.parse(args.pattern)
    given = (
        points.read_matches(args.matches)
        if args.matches
        else [points.parse_point(text) for text in args.point]
    )
    geometry = _geometry(args)
    cameras = choose_cameras(args.camera, args.rig)
    source = _source(args, cameras)
    target = args.output or source or Path("rig.toml")
    _refuse_outputs(args, cameras, source, target)
    if not args.dry_run:
        rig_file.require_library()
    if cameras.simulated:
        note("no rig file: ir0 and vis0 are simulated cameras")
    if args.time:
        return _time(args, cameras, source, target)
    way = "pattern" if pattern else "points" if args.matches or args.point else "edges"
    with ExitStack() as stack:
        stop = threading.Event()
        unreadable: list[str] = []
        seconds = args.seconds or (None if cameras.files() else LIVE_SECONDS[way])
        shots = gather.told_if_swapped(
            gather.shots(
                cameras, stack, seconds=seconds, interval_s=INTERVAL_S[way], stop=stop, unreadable=unreadable
            ),
            cameras,
        )
        with Progress("looking") as progress, stopped_by_signals(stop) as interrupted:
            if pattern is not None:
                moving = gather.picture_files(cameras) is None
                seen, shot = ways.look_for_pattern(shots, pattern, moving=moving, tell=_teller(progress))
            elif way == "edges":
                kept = ways.thinned(shots)
            else:
                first = ways.first_of(shots)
        # Whoever stops live cameras has seen enough; whoever stops a recording wants to go.
        if interrupted.is_set() and cameras.files():
            raise KeyboardInterrupt
    before = None if source is None else cameras.tables.registration  # of these cameras, as measured
    if pattern is not None:
        if shot is None:
            raise WorkError("the cameras gave no pair of pictures")
        found = ways.by_pattern(seen, pattern, ways.Blank(shot, before, geometry))
    elif way == "edges":
        with Progress("aligning edges") as progress:
            found = ways.by_edges(kept, before, geometry, lambda done: progress.update(done))
    else:
        found = ways.by_points(given, ways.Blank(first, before, geometry))
    found = found._replace(report=replace(found.report, unreadable=len(unreadable)))
    _write(args, found, before, cameras, source, target)
    return 0


def _write(
    args: argparse.Namespace,
    found: ways.Found,
    before: rig.Registration | None,
    cameras: Cameras,
    source: Path | None,
    target: Path,
) -> None:
    """Write the rig and what else is asked for, and say what was found."""
    made = found.registration
    Warp(made, made.infrared_size, made.visible_size)  # which refuses what is of no use
    if args.picture is not None:
        from tdfusion_edge.runtime.calibration.overlay import before_after
        from tdfusion_edge.runtime.sinks.folder import write_picture

        write_picture(args.picture, before_after(*found.shot[:2], cameras.registration, made))
    if not args.dry_run:
        try:
            rig_file.put(target, source, cameras, registration=made)
        except TdfusionError:  # what was measured is not to be lost
            say(rig_file.edited("", {}, made, None).rstrip(), error=args.json)
            raise
    _tell(args, found.report)
    if (word := ways.left_out(before, made)) is not None:
        note(f"{word}, --distance M")
    if not args.dry_run:
        say(f"[registration] is written to {target}", error=args.json)


def _time(args: argparse.Namespace, cameras: Cameras, source: Path | None, target: Path) -> int:
    """Measure the time offset and write it to the infrared camera of the rig."""
    if args.picture is not None or any(_geometry(args)):
        raise RequestError(
            "--time measures no registration", expected="no --distance, --baseline, --focal and --picture"
        )
    if gather.picture_files(cameras) is not None:
        raise RequestError("--time needs cameras or videos", expected="pictures with times", got="folders")
    name = _infrared_name(cameras, source)
    stop = threading.Event()
    with ExitStack() as stack:
        sources = cameras.open(stack)
        with Progress("watching what moves") as progress, stopped_by_signals(stop):
            found = time_offset(
                sources, cameras.place, seconds=args.seconds or LIVE_SECONDS["time"], stop=stop,
                tell=lambda done: progress.update(done),
            )  # fmt: skip
    offset_ms = round(cameras.infrared[1].offset_ms + found.offset_ms, 1)
    if not args.dry_run:
        try:
            rig_file.put(target, source, cameras, offsets_ms={name: offset_ms})
        except TdfusionError:
            say(f"[cameras.{name}]\noffset_ms = {offset_ms}", error=args.json)
            raise
    _tell(args, Report(method="time", pairs=1, offset_ms=offset_ms, offset_error_ms=round(found.error_ms, 2)))
    if not args.dry_run:
        say(f"offset_ms of '{name}' is written to {target}", error=args.json)
    return 0


def _infrared_name(cameras: Cameras, source: Path | None) -> str:
    """What the infrared camera is called in the rig file that is written.

    Raises:
        RequestError: recordings, and a rig that has no one infrared camera.
    """
    if source is None:
        return next(
            name
            for name, camera in rig_file.described(cameras, Path("rig.toml")).items()
            if camera.role == "infrared"
        )
    described = rig.read(source)
    if cameras.infrared[0] in described.cameras:
        return cameras.infrared[0]
    camera = rig.by_role(described).get("infrared")
    if camera is None:
        raise RequestError(
            f"{source} tells no infrared camera", expected='role = "infrared" in one [cameras.NAME]'
        )
    return next(name for name, one in described.cameras.items() if one is camera)


def _tell(args: argparse.Namespace, found: Report) -> None:
    raw = config.to_json(found)
    if args.report is not None:
        try:
            write_aside(args.report, raw)
        except OSError as error:
            raise WorkError(f"{args.report} cannot be written: {error.strerror}") from error
    if args.json:
        say_json(config.decode(raw, name="report"))
    else:
        say(as_text(found))


def _source(args: argparse.Namespace, cameras: Cameras) -> Path | None:
    """The rig file that is read and edited; None where a new one is made.

    Raises:
        RequestError: one lies around that does not describe these cameras, and would be changed.
    """
    source = rig_file.source_of(args.rig, cameras)
    if source is not None:
        return source
    lies_around = rig.find(args.rig)
    if lies_around is not None and args.output is None and not args.dry_run:
        raise RequestError(
            f"{lies_around} does not describe these cameras",
            expected="--output NEW.toml, or --rig to write into it all the same",
        )
    return None


def _teller(progress: Progress) -> Callable[[Views], None]:
    def tell(views: Views) -> None:
        seen = f"seen {views.found_visible} times by visible, {views.found_infrared} by infrared"
        progress.update(None, f"{len(views.kept)} views; {seen}")

    return tell


def _geometry(args: argparse.Namespace) -> ways.Geometry:
    """What the command line tells of the rig.

    Raises:
        RequestError: an option that is none.
    """
    if args.distance is not None:
        require_distance(args.distance)
    require_positive("--focal", args.focal, most=1e6)
    if args.baseline is None:
        return ways.Geometry(args.distance, None, args.focal)
    try:
        right, down = (float(part) for part in args.baseline.split(","))
    except ValueError:
        right = down = float("nan")
    if not (abs(right) <= 10 and abs(down) <= 10):
        raise RequestError(
            f"--baseline {args.baseline}", expected="RIGHT,DOWN in metres, at most 10", got=args.baseline
        )
    return ways.Geometry(args.distance, (right, down), args.focal)


def _refuse_outputs(args: argparse.Namespace, cameras: Cameras, source: Path | None, target: Path) -> None:
    """Refuse outputs that would replace what is read, or each other.

    Raises:
        RequestError: the first that would, or a name of another kind.
    """
    if target.suffix != ".toml":
        raise RequestError(f"--output {target}", expected="a name that ends in .toml")
    if args.picture is not None and args.picture.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise RequestError(f"--picture {args.picture}", expected="a name that ends in .png or .jpg")
    if args.report is not None and args.report.suffix != ".json":
        raise RequestError(f"--report {args.report}", expected="a name that ends in .json")
    outputs = [("--output", target), ("--picture", args.picture), ("--report", args.report)]
    inputs = [*cameras.files(), *([args.matches] if args.matches else [])]
    # The rig file alone may be both: that is what it is for.
    if source is not None and not is_same_place(source, target):
        inputs.append(source)
    refuse_clashes([(option, path) for option, path in outputs if path is not None], inputs)
