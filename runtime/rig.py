"""``rig.toml``: which cameras there are, how they are paired and how infrared maps onto visible.

Found by ``--rig``, ``$TDFUSION_RIG``, ``./rig.toml`` or the user's configuration folder; with none
of them ``ir0`` and ``vis0`` are the simulated cameras.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias, TypeVar, get_args

from msgspec import Meta, field
from msgspec.structs import replace

from tdfusion_edge.config import Table, load
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.redact import redact_address
from tdfusion_edge.runtime.mqtt.tables import Mqtt
from tdfusion_edge.runtime.temperatures.tables import Measure, Radiometry
from tdfusion_edge.runtime.tracking.tables import Tracks
from tdfusion_edge.runtime.zones.tables import Line, Zone
from tdfusion_edge.text import few
from tdfusion_edge.video.times import other_half

T = TypeVar("T", bound=Table)
Role: TypeAlias = Literal["infrared", "visible"]
RangeName: TypeAlias = Literal["auto", "percentile", "linear", "clahe", "steady", "camera"]
Policy: TypeAlias = Literal["drop", "hold-last", "nearest", "single"]

OTHER: Mapping[Role, Role] = MappingProxyType({"infrared": "visible", "visible": "infrared"})

DAY_MS = 86_400_000.0
"""Longest time that a rig can speak of, in milliseconds."""
SLOWEST_FPS, FASTEST_FPS = 0.00001, 100_000.0
"""A picture a day, and more than any camera takes."""

Milliseconds: TypeAlias = Annotated[float, Meta(gt=0, le=DAY_MS)]
Rate: TypeAlias = Annotated[float, Meta(ge=SLOWEST_FPS, le=FASTEST_FPS)]
Size: TypeAlias = tuple[Annotated[int, Meta(ge=32)], Annotated[int, Meta(ge=32)]]
Row: TypeAlias = tuple[float, float, float]
NEAREST_M, FARTHEST_M = 0.05, 100_000.0
"""What stands for a distance, in metres; the farthest is as good as the horizon."""
Metres: TypeAlias = Annotated[float, Meta(ge=NEAREST_M, le=FARTHEST_M)]
Offset: TypeAlias = Annotated[float, Meta(ge=-10, le=10)]


class ThermalRange(Table, frozen=True, kw_only=True):
    """How infrared counts become 8 bits (``[cameras.NAME.range]``)."""

    mode: RangeName = "auto"
    """``percentile``: smoothed limits; ``linear``: fixed counts; ``clahe``: local contrast on top of
    ``percentile``; ``steady``: the camera's own 8 bits without the jumps of its gain control;
    ``camera``: 8 bits as they come. ``auto`` is ``percentile`` for 16-bit frames and ``steady`` for
    8-bit ones, whose camera has already ranged them."""
    low: float | None = None
    """Lower limit: a percentile in [0, 100] (1 if not given), or counts for ``linear``, which needs it."""
    high: float | None = None
    """Upper limit, likewise (99 if not given)."""
    smoothing_s: Annotated[float, Meta(ge=0)] = 0.5
    """Time constant of the limits in seconds; 0 follows every frame."""

    def __post_init__(self) -> None:
        # A ValueError here reaches the reader of a rig file as a ConfigError that names the table.
        if self.mode in ("camera", "steady"):
            return
        low, high = self.limits
        if not 0 < high - low < float("inf"):
            raise ValueError(f"range: low must be below high, both finite, got {low:g} and {high:g}")
        if self.mode != "linear" and (low < 0 or high > 100):
            raise ValueError(f"range: percentiles lie in 0..100, got {low:g} and {high:g}")

    @property
    def limits(self) -> tuple[float, float]:
        """Percentiles, or counts for ``linear``: as given, else 1 and 99.

        Raises:
            ValueError: ``linear`` without both counts.
        """
        if self.mode == "linear" and (self.low is None or self.high is None):
            raise ValueError("range: mode 'linear' needs low and high in counts, say 7000 and 9000")
        return 1.0 if self.low is None else self.low, 99.0 if self.high is None else self.high


class Crop(Table, frozen=True, kw_only=True):
    """The part of a camera's picture that is taken (``crop`` of ``[cameras.NAME]``), in its pixels."""

    left: Annotated[int, Meta(ge=0, le=99_999)] = 0
    top: Annotated[int, Meta(ge=0, le=99_999)] = 0
    width: Annotated[int, Meta(ge=1, le=99_999)]
    height: Annotated[int, Meta(ge=1, le=99_999)]


class Camera(Table, frozen=True, kw_only=True):
    """One ``[cameras.NAME]`` table."""

    uri: str
    """``sim://ir``, ``v4l2:///dev/video0?format=Y16``, ``rtsp://10.0.0.5/live``, a video file or a folder of
    images."""
    role: Role | None = None
    """``infrared`` or ``visible``; None leaves it to the order in ``--camera`` (infrared first)."""
    size: Size | None = None
    """Width and height to ask the camera for, in pixels; of a stream from the network, what it has."""
    crop: Crop | None = None
    """What is taken of every frame before anything else looks at it; None takes all. Everything that is
    measured on pictures, such as ``[registration]``, is measured on the part."""
    fps: Rate | None = None
    """Frame rate to ask the camera for, or the rate at which a folder of images plays."""
    offset_ms: Annotated[float, Meta(ge=-DAY_MS, le=DAY_MS)] = 0.0
    """Added to the capture times of this camera, in milliseconds."""
    password_file: str | None = None
    """File with the password in its first line, for the user in an address of the network."""
    range: ThermalRange = field(default_factory=ThermalRange)
    """Thermal range; used for infrared only."""
    radiometry: Radiometry | None = None
    """What the counts of a radiometric infrared camera mean; None: nothing in degrees."""


class Sync(Table, frozen=True, kw_only=True):
    """``[sync]``: which frames belong together."""

    tolerance_ms: Milliseconds = 20.0
    """Largest difference of capture times within a pair, in milliseconds."""
    policy: Policy | None = None
    """What a frame without partner becomes: nothing, a pair with the last infrared frame, a pair with the
    infrared frame nearest in time, a single. None: ``single`` for streams, ``drop`` for two videos that are
    fused into one."""
    on_missing: Role | None = None
    """Which of the two cameras may be missing (``single``, ``nearest``): without the other one nothing is
    shown. None: either."""
    age_ms: Milliseconds | None = None
    """Largest difference of capture times where infrared is shown again (``hold-last``, ``nearest``), in
    milliseconds; None: ``silent_ms``."""
    follow_clocks: bool = True
    """Correct the capture times of live cameras for the jitter of their stamps, and for the drift and the
    jumps of their clocks, as far as these can be told; False takes them as they come."""
    silent_ms: Milliseconds = 500.0
    """After this long without a frame a camera counts as silent (``single``, ``hold-last``), and with nothing
    in its pictures as dead: the other one is shown alone."""
    frozen_ms: Milliseconds | None = None
    """After this long with one picture, repeated to the last bit, a camera beside one that lives is left out.
    None: 2000 for live cameras, and never for recordings: a codec repeats the picture of a still scene."""


class Registration(Table, frozen=True, kw_only=True):
    """``[registration]``: the homography that maps infrared pixels onto visible pixels.

    Exact at one depth only: beyond it a stereo rig keeps parallax, which ``baseline_m`` and ``focal_px``
    undo at a distance that is told (:mod:`tdfusion_edge.runtime.picture.parallax`).
    """

    homography: tuple[Row, Row, Row]
    """3 x 3, row by row: (x, y, 1) in the infrared picture to homogeneous visible pixels."""
    infrared_size: Size
    """Width and height of the infrared picture that the homography was measured on."""
    visible_size: Size
    """Width and height of the visible picture that it was measured on."""
    reprojection_error: Annotated[float, Meta(ge=0)] | None = None
    """Root mean square over the measured points, in visible pixels."""
    distance_m: Metres | None = None
    """Distance that the homography holds for, in metres from the cameras."""
    baseline_m: tuple[Offset, Offset] | None = None
    """Where the infrared camera stands, seen from behind the visible one: metres to the right and down."""
    focal_px: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    """Focal length of the visible camera in pixels of ``visible_size``."""
    use_distance_m: Metres | None = None
    """Distance at which the two are to lie on each other; None: ``distance_m``, as measured. Needs the
    three above."""


class Rig(Table, frozen=True, kw_only=True):
    """A whole ``rig.toml``."""

    cameras: dict[str, Camera]
    sync: Sync = field(default_factory=Sync)
    registration: Registration | None = None
    tracks: Tracks = field(default_factory=Tracks)
    zones: dict[str, Zone] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    measure: dict[str, Measure] = field(default_factory=dict)
    """Places whose temperature is told."""
    mqtt: Mqtt = field(default_factory=Mqtt)
    """Of outputs ``mqtt://``."""


SIMULATED = Rig(
    cameras={
        "ir0": Camera(uri="sim://ir", role="infrared"),
        "vis0": Camera(uri="sim://vis", role="visible"),
    }
)
"""The rig that stands in where none is described."""


def find(explicit: Path | None) -> Path | None:
    """The rig file to use, or None where there is none.

    Raises:
        InputMissing: a file named by ``--rig`` or ``$TDFUSION_RIG`` does not exist.
    """
    named = explicit or (Path(os.environ["TDFUSION_RIG"]) if os.environ.get("TDFUSION_RIG") else None)
    if named is not None:
        if not named.is_file():
            raise InputMissing(f"there is no rig file {named}", hint="Name one with --rig FILE.")
        return named
    candidates = [Path("rig.toml")]
    with suppress(RuntimeError):  # a user without a home: a container's
        config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        candidates.append(config_home / "tdfusion-edge" / "rig.toml")
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path | None) -> Rig:
    """The rig in ``path``, or the simulated one for None.

    A relative path in it, of a camera, a password or certificates, is looked for beside it first, then in the
    current folder; ``~`` is the home.
    """
    if path is None:
        return SIMULATED
    rig = load(path, Rig)
    cameras = {
        name: _with_files(path, camera, "uri", "password_file") for name, camera in rig.cameras.items()
    }
    return replace(rig, cameras=cameras, mqtt=_with_files(path, rig.mqtt, "password_file", "ca_file"))


def is_relative(uri: str) -> bool:
    """Whether an address is a path that begins in some folder."""
    return bool(uri) and "://" not in uri and not uri.startswith(("gst:", "/", "~"))


def _with_files(path: Path, table: T, *keys: str) -> T:
    """A table of the rig file ``path``, with the files that these of its keys name found."""
    named = {key: getattr(table, key) for key in keys}
    return replace(table, **{key: _beside(path, name) for key, name in named.items() if name is not None})


def _beside(path: Path, name: str) -> str:
    """A relative path that leads from the rig file's folder to something; others as they are."""
    if not is_relative(name):
        return os.path.expanduser(name)  # noqa: PTH111  (which leaves an address as it is)
    bag, mark, topic = name.partition("?")
    for place, rest in ((name, ""), (bag, f"{mark}{topic}")):
        there = path.parent / place
        if place and _is_there(there):
            return f"{there}{rest}"
        if _is_there(place):
            break
    return name


def _is_there(place: str | Path) -> bool:
    """Whether a path leads to something, a camera of a recording that has no frame of it among that."""
    return os.access(place, os.F_OK) or other_half(Path(place)) is not None


def thermal(asked: RangeName | ThermalRange | None, table: ThermalRange | None = None) -> ThermalRange:
    """How infrared becomes 8 bits: a table with the mode that is asked for.

    Args:
        asked: Name of a mode, or a whole table, which is taken as it is; None asks for nothing.
        table: Of the camera in the rig; None takes the defaults.

    Raises:
        RequestError: a name that is none, or ``linear`` where the table gives no counts.
    """
    name = asked.mode if isinstance(asked, ThermalRange) else asked
    if name is not None and name not in get_args(RangeName):
        raise RequestError("--range", expected=", ".join(get_args(RangeName)), got=repr(name))
    if isinstance(asked, ThermalRange):
        return asked
    table = ThermalRange() if table is None else table
    try:
        return table if asked is None else replace(table, mode=asked)
    except ValueError as error:
        raise RequestError(
            f"--range {asked}: {error}", hint="Set low and high in [cameras.NAME.range] of a rig file."
        ) from error


def choose(rig: Rig, names: tuple[str, str]) -> tuple[tuple[str, Camera], tuple[str, Camera]]:
    """The infrared and the visible camera that two names or URIs stand for, each with its name.

    Raises:
        RequestError: a name that the rig lacks, the same camera twice, or two cameras of one role.
    """
    if names[0] == names[1]:
        raise RequestError(
            f"--camera names '{redact_address(names[0])}' twice", expected="an infrared and a visible camera"
        )
    first, second = (_camera(rig, name) for name in names)
    roles = _roles(first.role, second.role)
    if roles[0] == roles[1]:
        raise RequestError(
            f"--camera {redact_address(names[0])},{redact_address(names[1])}",
            expected="one infrared and one visible camera",
            got=f"two {roles[0]}",
        )
    pair = ((names[0], first), (names[1], second))
    return pair if roles[0] == "infrared" else (pair[1], pair[0])


def by_role(rig: Rig) -> dict[Role, Camera]:
    """The rig's infrared and its visible camera; a role that none or several have is left out.

    Of two cameras of which one has a role, the other has the other one.
    """
    cameras = list(rig.cameras.values())
    roles: list[Role | None] = [camera.role for camera in cameras]
    if len(roles) == 2 and roles.count(None) == 1:
        roles = list(_roles(roles[0], roles[1]))
    sides: tuple[Role, Role] = ("infrared", "visible")
    return {role: cameras[roles.index(role)] for role in sides if roles.count(role) == 1}


def _roles(first: Role | None, second: Role | None) -> tuple[Role, Role]:
    """The roles of two cameras: one that is not told is what the other is not, the first infrared."""
    if first is None:
        first = "visible" if second == "infrared" else "infrared"
    return first, second or ("infrared" if first == "visible" else "visible")


def _camera(rig: Rig, name: str) -> Camera:
    if name in rig.cameras:
        return rig.cameras[name]
    # A shell puts the home in for "~" at the beginning of a word, which the second of two names is not.
    # Devices and bags take options.
    places = {os.path.expanduser(place) for place in (name, name.partition("?")[0])}  # noqa: PTH111
    if "://" in name or name[:4].lower() == "gst:" or any(map(_is_there, places)):
        return Camera(uri=name)
    raise ConfigError(
        f"no camera '{redact_address(name)}'",
        expected=f"one of {few(list(map(redact_address, sorted(rig.cameras))))}, a URI, a video file "
        "or a folder",
        hint="List what is there: tdfusion-edge cameras",
    )
