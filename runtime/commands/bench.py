"""Measure on this machine: latency, throughput, the way from a camera, and energy where the machine tells it.

  tdfusion-edge bench
  tdfusion-edge bench edge --backend onnxruntime,tensorrt --size 1280x720
  tdfusion-edge bench --backend cuda --seconds 20 --json > bench_orin_nano.json

The cameras are simulated. Several back ends take turns, pair by pair, and are compared with the first one by
the median of the quotients. On a Jetson the power mode, clocks, rails, temperatures and throttling are told.
--json prints a file that the project collects; it names no person, no host and no folder.
Measure on an idle machine.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from tdfusion_edge import bundle
from tdfusion_edge.arguments import bundle_path, size_of
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.console import note, say, say_json
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.cameras import require_positive
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choices_of, progress_shower
from tdfusion_edge.runtime.driver import driver_here
from tdfusion_edge.runtime.engines import BACKENDS
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.measuring import jetson, machine
from tdfusion_edge.runtime.measuring.bench import Amount, measure
from tdfusion_edge.runtime.measuring.power import PowerMeter
from tdfusion_edge.runtime.measuring.record import Argument, Figure, Metadata, Record
from tdfusion_edge.runtime.measuring.table import lines, rows_of

SECONDS = 5.0
LONGEST_S = 3600.0
MOST = 100_000
BUSY = 0.25
"""Load average a core above which the run begins with a warning."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "bundle", type=bundle_path, nargs="?", default=bundle.default_path(), metavar="BUNDLE",
        help="bundle (default: the one shipped)",
    )  # fmt: skip
    parser.add_argument("--size", default="640x480", metavar="WxH", help="of both cameras (default: 640x480)")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--seconds", type=float, metavar="S",
        help=f"duration of each of the three parts for each back end (default: {SECONDS:g})",
    )  # fmt: skip
    amount.add_argument(
        "--pictures", type=int, metavar="N", help="pictures of each part instead; of the loop at least 60"
    )
    parser.add_argument(
        "--no-detect", action="store_true", help="the fusion alone, without the bundle's heads"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_engine_arguments(parser, several=True)


def main(args: argparse.Namespace) -> int:
    """Measure and print."""
    record = recorded(args)
    if args.json:
        say_json(msgspec.to_builtins(record), indent=2)
    else:
        say(as_text(record))
    return 0


def recorded(args: argparse.Namespace, root: Path = Path("/")) -> Record:
    """What was measured, and on what.

    Args:
        args: The command line.
        root: Of the device's files.

    Raises:
        RequestError: an option that is none.
        BundleError: the bundle is damaged.
        EngineError: a back end cannot load a network, or one failed.
    """
    choices, amount, size = choices_of(args), _amount(args), size_of(args.size)
    started, start_s, load = _now(), time.monotonic(), machine.load_average()
    if load is not None and load[0] > BUSY * machine.usable_cores():
        note(f"the load is {load[0]:.2f}: the numbers will be noisy")
    opened = bundle.read(args.bundle)
    meter, before = PowerMeter(root), jetson.throttle_events(root)
    with ExitStack() as stack:
        fusers: dict[str, Fuser] = {}
        for name, choice in choices.items():
            fuser = Fuser(
                opened, **choice._asdict(), detect=not args.no_detect, stretch="temporal",
                on_progress=progress_shower,
            )  # fmt: skip
            fusers[_named(name, fuser)] = stack.enter_context(fuser)
        if len(fusers) < len(choices):
            raise RequestError("--backend", expected="every back end once", got=args.backend)
        numbers = measure(fusers, size, amount, meter=meter, tell=note)
        facts = {name: str(fuser) for name, fuser in fusers.items()}
    facts |= _facts(opened, fusers, meter, root) | _throttling(before, root)
    readings = (*jetson.clocks(root), *jetson.temperatures(root))
    figures = (*numbers.figures, *(Figure(**reading._asdict()) for reading in readings))
    metadata = Metadata(
        format=1, benchmark="bench", arguments=_arguments(args), facts=facts, started=started,
        seconds=round(time.monotonic() - start_s, 1), commit=None, dirty=None, package=machine.package(),
        machine=machine.describe(load), versions=machine.versions(),
    )  # fmt: skip
    return Record(metadata=metadata, results=msgspec.structs.replace(numbers, figures=figures))


def as_text(record: Record) -> str:
    """For people; the samples are in the JSON alone."""
    told, it = record.metadata, record.metadata.machine
    head = {
        "machine": f"{it.cpu}, {it.cores} cores, {it.memory_gb:g} GB, {it.system}",
        **told.facts,
        "load": f"{it.load_before[0]:g} before, {it.load_after[0]:g} after"
        if it.load_before and it.load_after
        else "not told",
    }
    shown = {name: value for name, value in head.items() if not name.endswith("sha256")}
    width = max(map(len, shown)) + 2
    first = [f"{name:{width}}{value}" for name, value in shown.items()]
    return "\n".join([*first, "", lines(rows_of(record.results, timings=False))])


def _amount(args: argparse.Namespace) -> Amount:
    require_positive("--seconds", args.seconds, most=LONGEST_S)
    if args.pictures is not None and not 1 <= args.pictures <= MOST:
        raise RequestError("--pictures", expected=f"1 to {MOST}", got=str(args.pictures))
    if args.pictures is not None:
        return Amount(pictures=args.pictures)
    return Amount(seconds=SECONDS if args.seconds is None else args.seconds)


def _named(name: str, fuser: Fuser) -> str:
    """A back end in the rows: as it was asked for, with the precision where that was left open."""
    backend = name.replace("auto", fuser.backend)
    return backend if ":" in backend else f"{backend}:{fuser.precision}"


def _facts(opened: Bundle, fusers: Mapping[str, Fuser], meter: PowerMeter, root: Path) -> dict[str, str]:
    digests = "".join(f"{name} {digest}\n" for name, digest in sorted(opened.manifest.sha256.items()))
    found = {
        "bundle": opened.manifest.name,
        "bundle sha256": hashlib.sha256(digests.encode()).hexdigest(),
        **jetson.facts(root),
        "energy": meter.why_not or ", ".join(meter.names),
    }
    if any(BACKENDS[fuser.backend].device == "cuda" for fuser in fusers.values()):
        found["driver"] = str(driver_here()) or "unknown"
    return found


def _throttling(before: Mapping[str, int], root: Path) -> dict[str, str]:
    """What slowed the machine down meanwhile, in words; nothing where the machine does not tell."""
    after = jetson.throttle_events(root)
    more = [f"{name}: {count - before[name]} more" for name, count in after.items() if count > before[name]]
    slowed = [f"{name} slows it down now" for name in jetson.slowed_now(root)]
    if not (after or slowed):
        return {}
    return {"throttling": ", ".join((*more, *slowed)) or "none"}


def _arguments(args: argparse.Namespace) -> dict[str, Argument]:
    """The options, of paths their last part alone."""
    return {name: _plain(value) for name, value in vars(args).items() if name not in ("json", "engine_cache")}


def _plain(value: Any) -> Argument:
    return value.name if isinstance(value, Path) else value


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
