"""Where the pictures of ``run`` go: files whole or in segments, a pipe, a server; and the recording."""

from __future__ import annotations

import argparse
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tdfusion_edge.arguments import PIPE, file_path, is_address, output_name
from tdfusion_edge.clashes import refuse_clashes
from tdfusion_edge.errors import RequestError
from tdfusion_edge.locks import claimed
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import Cameras, require_positive
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.mqtt.address import PORTS as BROKERS
from tdfusion_edge.runtime.mqtt.address import is_address as is_broker
from tdfusion_edge.runtime.pairing.streams import Mode
from tdfusion_edge.runtime.pipeline.monitor import Monitor
from tdfusion_edge.runtime.pipeline.worker import Detached
from tdfusion_edge.runtime.sinks import Sink, open_sink
from tdfusion_edge.runtime.sinks.kinds import PUSHED, PipeFormat, VisibleCodec, shown
from tdfusion_edge.runtime.sinks.segments import STAMP, Budget, Limits, SegmentedSink
from tdfusion_edge.runtime.sources.base import Source

if TYPE_CHECKING:
    from tdfusion_edge.runtime.recording.recorder import Recorder
    from tdfusion_edge.runtime.sinks.mqtt import MqttSink
    from tdfusion_edge.runtime.sinks.pipe import PipeSink
    from tdfusion_edge.runtime.sinks.push import PushSink

SEGMENTED = (".mp4", ".mkv", ".jsonl")
MOST_BYTES = 1e9
"""Of --segment-mb and --keep-gb, each in its unit: more than there is."""


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "-o", "--output", type=output_name, action="append", default=[], metavar="OUT",
        help="out.mp4, out.mkv, out.jsonl, a folder for PNGs, rtsp://server/path to push there (also rtmp, "
        "srt, udp), mqtt://HOST/TOPIC, or - for standard output; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--pipe-format", choices=get_args(PipeFormat), default=None,
        help="what -o - writes (default: mkv)",
    )  # fmt: skip
    parser.add_argument(
        "--record", type=file_path, metavar="DIR",
        help="store what both cameras give in DIR: infrared without loss, with the capture times; "
        "--rig DIR/rig.toml --camera ir0,vis0 plays it",
    )  # fmt: skip
    parser.add_argument(
        "--record-visible", choices=get_args(VisibleCodec), default=None,
        help="how --record stores visible pictures: h264 of high quality (default), or ffv1 without loss",
    )  # fmt: skip
    parser.add_argument(
        "--segment-seconds", type=float, metavar="S",
        help="begin a new file of videos, JSON lines and recordings after so much time",
    )  # fmt: skip
    parser.add_argument(
        "--segment-mb", type=float, metavar="MB", help="begin a new one after so many megabytes"
    )
    parser.add_argument(
        "--keep-gb", type=float, metavar="GB",
        help="keep at most so many gigabytes of these files, and remove the oldest ones",
    )  # fmt: skip


class Outputs:
    """The outputs that were asked for.

    Args:
        args: The command line.
        cameras: What is read.
        stop: Set when a window or pipe is closed.
        monitor: Knows why there is no picture.
        stack: Closes what is open.

    Raises:
        RequestError: outputs that clash, cannot be written or do not go together.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        cameras: Cameras,
        stop: threading.Event,
        monitor: Monitor,
        stack: ExitStack,
    ) -> None:
        self.sinks: list[Sink] = []
        self.counts: dict[str, Callable[[], Mapping[str, Any]]] = {}
        """What each output tells of itself in the report."""
        self._pipe: PipeSink | None = None
        self._recorder: Recorder | None = None
        picture = None if args.no_boxes else annotated
        limits, budget = _limits(args), Budget(None if args.keep_gb is None else round(args.keep_gb * 1e9))
        for output in args.output:
            if output == PIPE:
                from tdfusion_edge.runtime.sinks.pipe import PipeSink, taken_stdout

                descriptor = stack.enter_context(taken_stdout())
                kind: PipeFormat = args.pipe_format or "mkv"
                self._pipe = PipeSink(descriptor, kind, picture=picture, on_close=stop.set)
                self.sinks.append(self._pipe)
            elif is_broker(output):
                from tdfusion_edge.runtime.sinks.mqtt import MqttSink

                broker = MqttSink(output, table=cameras.tables.mqtt, monitor=monitor)
                self._add_counted(output, broker, stack)
            elif is_address(output):
                from tdfusion_edge.runtime.sinks.push import PushSink

                reason = partial(reason_of, monitor)
                pushed = PushSink(output, picture=picture, size=cameras.visible_size, reason=reason)
                self._add_counted(output, pushed, stack)
            elif limits.any:
                opened = partial(open_sink, picture=picture)
                self.sinks.append(SegmentedSink(Path(output), opened, limits, budget))
            else:
                self.sinks.append(open_sink(output, picture=picture))
        if args.show:
            from tdfusion_edge.runtime.sinks.window import WindowSink

            self.sinks.append(WindowSink(picture=picture, on_close=stop.set))
        files = files_of(args)
        stack.enter_context(claimed(files))
        if args.record is not None:
            from tdfusion_edge.runtime.recording.recorder import opened as recorder_of

            described: dict[rig.Role, rig.Camera] = {
                "infrared": cameras.infrared[1],
                "visible": cameras.visible[1],
            }
            self._recorder = recorder_of(
                args.record, described, cameras.sync, cameras.registration, cameras.tables,
                visible=args.record_visible or "h264", limits=limits, budget=budget,
            )  # fmt: skip
            stack.enter_context(self._recorder)
            self.counts["recording"] = self._recorder.counts

    def follow(self, sources: dict[rig.Role, Source], mode: Mode) -> dict[rig.Role, Source]:
        """The sources, tapped where they are recorded.

        Args:
            sources: By role.
            mode: With ``latest`` the reader of a pipe keeps no other output waiting.
        """
        if self._pipe is not None and mode == "latest" and len(self.sinks) > 1:
            self.sinks[self.sinks.index(self._pipe)] = Detached(self._pipe)
        recorder = self._recorder
        if recorder is None:
            return sources
        return {role: recorder.tap(role, source) for role, source in sources.items()}

    def finish(self) -> bool:
        """End the recording; whether all of it is there."""
        if self._recorder is None:
            return True
        self._recorder.close()
        return not self._recorder.failures and not any(self._recorder.dropped.values())

    def _add_counted(self, address: str, sink: MqttSink | PushSink, stack: ExitStack) -> None:
        """Add an output of which the report tells, by its address, what it counts itself."""
        stack.callback(sink.abort)  # where the run never begins
        self.sinks.append(sink)
        name, number = shown(address), 1
        while name in self.counts:  # two keys of one server, which are not shown
            number += 1
            name = f"{shown(address)} ({number})"
        self.counts[name] = sink.counts


def files_of(args: argparse.Namespace) -> list[str | Path]:
    """Outputs that are files or folders."""
    files = [output for output in args.output if output != PIPE and not is_address(output)]
    return files if args.record is None else [*files, args.record]


def check_outputs(args: argparse.Namespace, inputs: list[Path]) -> None:
    """Refuse outputs that do not go together, before anything is opened.

    Raises:
        RequestError: the first fault.
    """
    files = files_of(args)
    named = [("--record" if output is args.record else "--output", output) for output in files]
    refuse_clashes(named, inputs)
    if args.output.count(PIPE) > 1:
        raise RequestError("-o - twice", expected="one standard output")
    addresses = [output for output in args.output if is_address(output)]
    for address in addresses:
        scheme = address.partition("://")[0].lower()
        if scheme not in PUSHED and not is_broker(address):
            known = ", ".join(f"{one}://" for one in (*PUSHED, *BROKERS))
            raise RequestError(f"-o {shown(address)}: nothing can be pushed there", expected=known)
    if len(set(addresses)) < len(addresses):
        raise RequestError("-o names an address twice", expected="an address of its own for each stream")
    for option, needs, there in (
        ("--pipe-format", "-o -", PIPE in args.output),
        ("--record-visible", "--record DIR", args.record is not None),
        ("--keep-gb", "--segment-seconds or --segment-mb as well", _limits(args).any),
    ):
        if getattr(args, option[2:].replace("-", "_")) is not None and not there:
            raise RequestError(option, expected=needs)
    require_positive("--keep-gb", args.keep_gb, most=MOST_BYTES)
    if _limits(args).any:
        _check_segments(args, files, inputs)


def _limits(args: argparse.Namespace) -> Limits:
    require_positive("--segment-seconds", args.segment_seconds)
    require_positive("--segment-mb", args.segment_mb, most=MOST_BYTES)
    return Limits(args.segment_seconds, None if args.segment_mb is None else round(args.segment_mb * 1e6))


def _check_segments(args: argparse.Namespace, files: list[str | Path], inputs: list[Path]) -> None:
    if not files:
        raise RequestError(
            "--segment-seconds and --segment-mb have no file to divide", expected="-o out.mp4 or --record DIR"
        )
    for output in files:
        if output is args.record:
            continue
        path = Path(output)
        if path.suffix.lower() not in SEGMENTED or path.is_dir() or str(output).endswith("/"):
            raise RequestError(f"-o {output} has no segments", expected=", ".join(SEGMENTED))
        ours = re.compile(rf"{re.escape(path.stem)}-{STAMP}{re.escape(path.suffix)}", re.ASCII)
        for one in inputs:
            if ours.fullmatch(one.name) and one.absolute().parent == path.absolute().parent:
                raise RequestError(
                    f"{one} is a segment of -o {output}", expected="another name for the output"
                )


def reason_of(monitor: Monitor) -> str:
    """Why there is no picture, in a line, by the states of the cameras."""
    found = monitor.snapshot()
    if not found.cameras:
        return "the cameras are being opened"
    said = [
        f"{role}: {one.failure or one.state}"
        for role, one in found.cameras.items()
        if one.state != "live"
    ]  # fmt: skip
    return "; ".join(said) or "both cameras are live, and no picture can be made of them"
