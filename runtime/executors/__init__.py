"""The two ways through a bundle's networks, and which of them is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from tdfusion_edge.bundle import ONE_PASS, Bundle, Manifest, Precision
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Pair
from tdfusion_edge.runtime import engines, rig
from tdfusion_edge.runtime.engines import Opened
from tdfusion_edge.runtime.executors.base import FromCameras
from tdfusion_edge.runtime.picture.registration import leaves_border
from tdfusion_edge.runtime.picture.stretch import StretchName

GRAPHS = ("auto", "staged", "onepass")
"""What may be asked for: the one-pass graph where the back end gains by it, never, or else an error."""


def takes_one_pass(
    opened: Bundle,
    ran: Opened,
    graphs: str,
    *,
    stretch: StretchName,
    detect: bool,
    foreign: bool = False,
    registration: rig.Registration | None = None,
) -> bool:
    """Whether a bundle's one-pass graph is the way to go: the one place where that is decided.

    Args:
        opened: The bundle.
        ran: Back end and precision of its fusion network.
        graphs: One of :data:`GRAPHS`.
        stretch: Output stretch; ``image`` depends on the very picture, so that no graph can have it inside.
        detect: Whether the heads are wanted: without them the graph would work for nothing.
        foreign: Whether another detector stands in for the bundle's, which is what the graph has inside.
        registration: Of the rig. Where infrared sees a part of the picture only, the fused luma is blended
            into the visible one before the heads see it: between two networks that the graph has as one.

    Raises:
        RequestError: another word, or ``onepass`` where it cannot be.
        ConfigError: one pass would be taken, and the homography is of no use.
    """
    if graphs not in GRAPHS:
        raise RequestError("--graphs", expected=", ".join(GRAPHS), got=graphs)
    manifest = opened.manifest
    reason = why_not_one_pass(manifest, ran.backend, ran.precision)
    if foreign:
        reason = "the graph holds the bundle's own detector, and --detector names another"
    if graphs == "onepass":
        if stretch == "image":
            raise RequestError(
                "--graphs onepass", expected="--stretch temporal or none", got=f"--stretch {stretch}"
            )
        if reason is not None:
            raise _refused(manifest, ran.precision, reason)
        if registration is not None and leaves_border(registration):
            raise RequestError(
                "--graphs onepass: the graph cannot blend the border of infrared's view",
                expected="a registration that brings infrared to all of the visible picture",
                got="one that leaves a part without infrared",
                hint="Leave --graphs out: the networks then run one by one.",
            )
        return True
    gains = engines.BACKENDS[ran.backend].one_pass
    taken = graphs == "auto" and bool(gains) and detect and stretch != "image" and reason is None
    return taken and not (registration is not None and leaves_border(registration))


def takes_frames(ran: Opened, graphs: str, *, stretch: StretchName) -> bool:
    """Whether the cameras' pictures themselves go to the back end, for the pairs that it takes.

    Args:
        ran: Back end and precision of the fusion network.
        graphs: One of :data:`GRAPHS`; only ``auto`` leaves the choice.
        stretch: Output stretch; ``image`` depends on the very picture, as for the one-pass graph.
    """
    way = engines.BACKENDS[ran.backend].from_cameras
    if graphs != "auto" or stretch == "image" or way is None:
        return False
    serves: bool = engines.named(way).serves(ran.engine)
    return serves


def camera_way(ran: Opened) -> Callable[..., FromCameras]:
    """What is made over the fusion network's engine, where :func:`takes_frames` says so."""
    place = engines.BACKENDS[ran.backend].from_cameras
    assert place is not None
    return cast(Callable[..., FromCameras], engines.named(place))


def expect_next(way: FromCameras, following: Callable[[], Pair | None]) -> None:
    """Have a way expect what comes next, where that is a pair of both sensors and there already."""
    pair = following()
    if pair is not None and pair.infrared is not None and pair.visible is not None:
        way.expect(pair.infrared, pair.visible)


def why_not_one_pass(manifest: Manifest, backend: str, precision: Precision) -> str | None:
    """Why a bundle cannot go in one pass, in words; None where it can."""
    graph = manifest.graphs.get(ONE_PASS)
    if graph is None:
        return "the bundle has no such graph"
    if precision not in graph.files:
        return f"there is none in {precision}"
    if other := [name for name, head in manifest.heads.items() if head.kind != "boxes"]:
        return f"the graph leaves out the bundle's {', '.join(other)}"
    return f"{backend} builds none" if engines.BACKENDS[backend].one_pass is None else None


def _refused(manifest: Manifest, precision: Precision, reason: str) -> RequestError:
    there = ", ".join(f"{name} in {' and '.join(graph.files)}" for name, graph in manifest.graphs.items())
    hint = "Leave --graphs out, or export the bundle again."
    if manifest.head("mask") is not None:
        hint = "A bundle with masks has none: leave --graphs out."
    elif precision == "int8":
        hint = "There is none in INT8: leave --graphs out, or give --precision fp16."
    return RequestError(
        f"--graphs onepass: {reason}",
        expected=f"a bundle with a one-pass graph in {precision}",
        got=f"bundle '{manifest.name}' with {there}",
        hint=hint,
    )
