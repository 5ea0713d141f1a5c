"""Does a stream come back when its server was killed, how soon, and does anything grow meanwhile?

  python -m benchmarks.live.reconnect                         ten restarts in five minutes
  python -m benchmarks.live.reconnect --restarts 2 --every 10

An RTSP server of GStreamer serves an infrared and a visible stream on loopback. It is killed (SIGKILL) and,
some seconds later, started on the same port, again and again, while this process pairs the two streams as
`run` does. A stream is back when its first frame behind the restart comes, counted from when the server
listens again.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from benchmarks.live.rtsp_streams import Server, absent, encode
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_count, main
from tdfusion_edge.console import say
from tdfusion_edge.errors import WorkError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.sources import open_source

PICTURES = 256
OPTIONS = "#timeout_s=1"
"""GStreamer's server now and then sends nothing to the first who looks (in one of 40 starts, to FFmpeg alone
as well). That is silence like any other: it is told after the time-out, and the stream is opened anew."""
ALLOWED_S = 3.0
"""A stream that is back later counts as late."""
SETTLING_S = 8.0
"""Behind a restart, before things are counted: what was left of the stream before is gone by then."""
ROLES: tuple[rig.Role, rig.Role] = ("infrared", "visible")


class Held(NamedTuple):
    """What this process holds."""

    megabytes: float
    threads: int
    descriptors: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "restarts", 10, "how often the server is killed and started")
    add_count(parser, "every", 30, "seconds from one kill to the next")
    add_count(parser, "seed", 1, "of how long the server is away each time, 1 to 6 s")


def measure(args: argparse.Namespace) -> Measured:
    """Kill and start, and look at what comes back."""
    if (why := absent()) is not None:
        raise WorkError(why)
    logging.getLogger("tdfusion_edge").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="reconnect") as folder:
        shown: dict[str, Path] = {role: encode(Path(folder) / f"{role}.au", pictures(role)) for role in ROLES}
        gc.collect()
        with Server(shown) as server:
            sources = {role: Watched(role, server.address(role)) for role in ROLES}
            stop = threading.Event()
            with Streams(sources, rig.Sync(policy="single"), mode="latest", stop=stop) as both:
                pairs = Pairs(both)
                figures = list(restarts(args, server, sources, pairs))
                stop.set()
                pairs.join()
                counts, skew = both.figures()
    figures += [
        Figure(name=f"{role}: {reason}", value=count, unit="frames")
        for role in ROLES for reason, count in counts[role].items()
    ]  # fmt: skip
    if skew.median_ms is not None:
        figures.append(Figure(name="skew: median", value=round(skew.median_ms, 2), unit="ms"))
    late = next(figure.value for figure in figures if figure.name == "back: late")
    return Measured(
        Results(figures=tuple(figures)), {"all back within 3 s": "no" if late else "yes", "options": OPTIONS}
    )


class Watched:
    """A camera that notes when its frames come."""

    live = True

    def __init__(self, role: rig.Role, address: str) -> None:
        self.name = role
        self._source = open_source(role, rig.Camera(uri=address + OPTIONS), role, epoch_ns=0)
        self.newest_s = 0.0
        """When the newest frame came, monotonic."""
        self.first_s: float | None = None
        """When the first frame came since this was set to None."""

    def read(self) -> Frame | None:
        """The next frame."""
        frame = self._source.read()
        if frame is not None:
            self.newest_s = time.monotonic()
            self.first_s = self.first_s or self.newest_s
        return frame

    def close(self) -> None:
        """Release it."""
        self._source.close()


class Pairs:
    """Takes the pairs, in a thread."""

    def __init__(self, streams: Streams) -> None:
        self.whole = 0
        self._streams = streams
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        for pair in self._streams:
            self.whole += pair.infrared is not None and pair.visible is not None

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join(30)


def restarts(
    args: argparse.Namespace, server: Server, sources: dict[rig.Role, Watched], pairs: Pairs
) -> Iterator[Figure]:
    """Kill and start the server so often; what is found."""
    away = random.Random(args.seed)
    back: list[float] = []
    begun_s = time.monotonic()
    held = [after(SETTLING_S)]
    say(f"0: {held[0]}, {pairs.whole} pairs", error=True)
    for number in range(args.restarts):
        time.sleep(max(0.0, begun_s + number * args.every - time.monotonic()))
        server.kill()
        time.sleep(away.uniform(1, 6))
        for source in sources.values():
            source.first_s = None
        server.start()
        for role, source in sources.items():
            while source.first_s is None and time.monotonic() < server.ready + args.every:
                time.sleep(0.005)
            back.append((source.first_s or time.monotonic()) - server.ready)
            say(f"{number + 1}: {role} is back after {back[-1]:.2f} s", error=True)
        held.append(after(SETTLING_S))
        say(f"{number + 1}: {held[-1]}, {pairs.whole} pairs", error=True)
    yield Figure(name="restarts", value=args.restarts, unit="times")
    yield Figure(name="back: median", value=round(float(np.median(back)), 3), unit="s")
    yield Figure(name="back: slowest", value=round(max(back), 3), unit="s")
    yield Figure(name="back: late", value=sum(one > ALLOWED_S for one in back), unit="streams")
    yield Figure(name="pairs", value=pairs.whole, unit="pairs")
    for name, one in (("before", held[0]), ("after the first restart", held[1]), ("at the end", held[-1])):
        yield Figure(name=f"memory: {name}", value=round(one.megabytes, 2), unit="MB")
        yield Figure(name=f"threads: {name}", value=one.threads, unit="threads")
        yield Figure(name=f"descriptors: {name}", value=one.descriptors, unit="descriptors")


def after(seconds: float) -> Held:
    """What this process holds some seconds later."""
    time.sleep(seconds)
    process = psutil.Process()
    return Held(process.memory_info().rss / 1e6, process.num_threads(), process.num_fds())


def pictures(role: rig.Role) -> Iterator[Image]:
    """A bright bar that goes round over a noisy ground."""
    noise = np.random.default_rng(0).integers(60, 90, (480, 640)).astype(np.uint8)
    for number in range(PICTURES):
        picture = noise.copy()
        left = number * 640 // PICTURES
        picture[:, left : left + 40] = 220 if role == "infrared" else 160
        yield picture


BENCHMARK = Benchmark("live.reconnect", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
