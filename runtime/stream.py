"""``stream``: the loop of ``tdfusion-edge run`` as an iterator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tdfusion_edge.bundle import Bundle
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig as rigs
from tdfusion_edge.runtime.cameras import choose_cameras, delivery_mode, require_positive
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.pairing.streams import Mode
from tdfusion_edge.runtime.picture.stretch import StretchName
from tdfusion_edge.runtime.pipeline.analysis import analysis_of
from tdfusion_edge.runtime.pipeline.loop import Plan, results


def stream(
    camera: str,
    *,
    bundle: str | Path | Bundle = "edge",
    rig: str | Path | None = None,
    seconds: float | None = None,
    mode: Mode | None = None,
    policy: rigs.Policy | None = None,
    tolerance_ms: float | None = None,
    on_missing: rigs.Role | None = None,
    track: bool = False,
    range: rigs.RangeName | rigs.ThermalRange | None = None,
    stretch: StretchName = "temporal",
    registration: rigs.Registration | None = None,
    distance_m: float | None = None,
    **options: Any,
) -> Iterator[Result]:
    """Fuse two cameras, picture by picture, until the end of a recording or until nobody asks any more.

    >>> for result in stream("ir0,vis0", seconds=0.5):
    ...     picture, boxes = result.picture, result.detections

    Everything is opened at the first picture and closed at the end, or when the iterator is.

    Args:
        camera: ``IR,VIS``: two names of the rig or two addresses, infrared first. Without a rig file ``ir0``
            and ``vis0`` are simulated cameras.
        bundle: Name of a bundle that ships with the package, a path of one, or an opened one.
        rig: The rig file; None looks where ``run`` looks.
        seconds: End after so much time: of the clock for cameras, of the recording for files.
        mode: ``latest`` drops what is too old (default for cameras), ``every`` gives all (for files).
        policy: What a frame without partner becomes: ``drop``, ``hold-last``, ``nearest`` or ``single``;
            None: the rig's.
        tolerance_ms: Largest time difference in a pair; the rig's if None.
        on_missing: The one camera that may be missing, ``infrared`` or ``visible``; the rig's if None.
        track: Number the things that are found; zones and lines of the rig do so too.
        range: How infrared becomes 8 bits; the infrared camera's of the rig if None.
        stretch: Output stretch.
        registration: Where infrared pixels lie in the visible picture; the rig's if None.
        distance_m: Distance in metres at which infrared is to lie on visible, where the rig tells its
            baseline; the rig's if None.
        options: Further ones of :class:`~tdfusion_edge.Fuser`: ``backend``, ``detect``, ``threads`` ...

    Yields:
        Results in the order of their time.

    Raises:
        RequestError: an option that is none, or a camera that the rig lacks.
        SourceError: a recording is damaged; the results before that came.
        EngineError: a network failed.
    """
    require_positive("seconds", seconds)
    chosen = choose_cameras(
        camera,
        None if rig is None else Path(rig),
        policy=policy,
        tolerance_ms=tolerance_ms,
        on_missing=on_missing,
        distance_m=distance_m,
    )
    with ExitStack() as stack:
        fuser = Fuser(
            bundle,
            range=chosen.thermal(range),
            stretch=stretch,
            registration=registration or chosen.registration,
            visible_size=chosen.visible_size,
            watch=chosen.watch,
            **options,
        )
        stack.enter_context(fuser)
        analysis = analysis_of(chosen, fuser, track=track)
        sources = chosen.open(stack)
        mode = delivery_mode(mode, sources)
        plan = Plan(
            sources, chosen.sync, fuser, mode, place=chosen.place, seconds=seconds, analyse=analysis
        )  # fmt: skip
        yield from results(plan)
