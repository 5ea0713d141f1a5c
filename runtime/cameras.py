"""Two cameras of a rig, opened: what ``run`` and ``stream`` read from."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from tdfusion_edge.clashes import is_same_place
from tdfusion_edge.errors import InputMissing, RequestError, SourceError, TdfusionError
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.content import Place
from tdfusion_edge.runtime.pairing.streams import Mode
from tdfusion_edge.runtime.picture import parallax
from tdfusion_edge.runtime.picture.watch import Watch, watch_of
from tdfusion_edge.runtime.sources import open_source, tell_of_recordings
from tdfusion_edge.runtime.sources import uri as addresses
from tdfusion_edge.runtime.sources.base import Source


class Cameras(NamedTuple):
    """An infrared and a visible camera, described and not open yet."""

    infrared: tuple[str, rig.Camera]
    """Name and description."""
    visible: tuple[str, rig.Camera]
    sync: rig.Sync
    """How their frames become pairs."""
    registration: rig.Registration | None
    described: bool
    """There is a rig file."""
    tables: rig.Rig
    """All of it, or the simulated one: zones, lines and what else is not about two cameras."""

    @property
    def simulated(self) -> bool:
        """The simulated cameras stand in for a rig that nobody described."""
        return (
            not self.described and self.infrared[1].uri.startswith("sim:") and "://" not in self.infrared[0]
        )

    @property
    def drawn(self) -> bool:
        """A camera is simulated: opening it draws a street, which takes seconds."""
        return any(camera.uri.startswith("sim:") for _, camera in (self.infrared, self.visible))

    @property
    def visible_size(self) -> rig.Size | None:
        """Width and height of the visible pictures, as far as the rig tells before one is there.

        Where a recording has no visible picture, infrared's: it is shown alone, as it is.
        """
        if self.registration is not None:
            return self.registration.visible_size
        if (size := _size_told(self.visible[1])) is not None:
            return size
        place = addresses.parse(self.visible[1].uri)
        if place.scheme != "file":
            return None
        from tdfusion_edge.runtime.sources.recording import size_beside

        beside = size_beside(place.local_path())
        return None if beside is None else _size_told(self.infrared[1]) or beside

    @property
    def place(self) -> Place:
        """What the check of their times by the pictures' content needs to know."""
        both: dict[rig.Role, tuple[str, rig.Camera]] = {"infrared": self.infrared, "visible": self.visible}
        return Place(
            self.registration,
            {role: camera.offset_ms for role, (_, camera) in both.items()},
            {role: name for role, (name, camera) in both.items() if name != camera.uri},
        )

    @property
    def watch(self) -> Watch:
        """When one of them is left out because of what it shows."""
        return watch_of(self.sync, recorded=bool(self.files()))

    def thermal(self, asked: rig.RangeName | rig.ThermalRange | None = None) -> rig.ThermalRange:
        """How infrared becomes 8 bits: the camera's own table, or that with another mode.

        Raises:
            RequestError: ``linear`` where the rig gives no counts.
        """
        return rig.thermal(asked, self.infrared[1].range)

    def files(self) -> list[Path]:
        """Files and folders that are read."""
        places = (addresses.parse(camera.uri) for _, camera in (self.infrared, self.visible))
        return [place.local_path() for place in places if place.scheme == "file"]

    def secret_files(self) -> list[Path]:
        """Files with passwords, of cameras and of a broker, and with certificates."""
        named = (camera.password_file for _, camera in (self.infrared, self.visible))
        return [*(Path(name) for name in named if name is not None), *self.tables.mqtt.files]

    def open(self, stack: ExitStack) -> dict[rig.Role, Source]:
        """Both cameras on one epoch, closed by ``stack``.

        With policies ``single`` and ``nearest`` one live camera that is not there, and may be missing, stops
        no run: it is asked for while the run lasts, as one that is lost later.

        Raises:
            RequestError: one is live and the other recorded.
            InputMissing, SourceError: one cannot be opened.
        """
        epoch_ns = time.monotonic_ns()
        sources: dict[rig.Role, Source] = {}
        cameras: dict[rig.Role, tuple[str, rig.Camera]] = {
            "infrared": self.infrared,
            "visible": self.visible,
        }
        kinds = [addresses.parse(camera.uri).liveness() for _, camera in cameras.values()]
        _require_one_clock([kind for kind in kinds if kind is not None])
        absent: list[TdfusionError] = []
        for role, (name, camera) in cameras.items():
            opened = partial(open_source, name, camera, role, epoch_ns=epoch_ns)
            try:
                sources[role] = opened()
            except (InputMissing, SourceError) as error:
                if not self._may_be_missing(role) or "recorded" in kinds:
                    raise
                absent.append(error)
                sources[role] = opened(first=self._alone(role, error))
            stack.callback(sources[role].close)
        if len(absent) == len(cameras):
            infrared, visible = absent
            raise type(infrared)(
                f"neither camera can be opened: {infrared.what}; {visible.what}", hint=infrared.hint
            )
        offsets = {role: camera.offset_ms for role, (_, camera) in cameras.items()}
        tell_of_recordings(sources, self.sync.tolerance_ms, offsets)
        _require_one_clock(["live" if source.live else "recorded" for source in sources.values()])
        return sources

    def _may_be_missing(self, role: rig.Role) -> bool:
        alone = self.sync.policy in (None, "single", "nearest")
        return alone and self.sync.on_missing in (None, role)

    def _alone(self, role: rig.Role, error: TdfusionError) -> SourceError:
        """What is said of a camera that is not there when a run begins."""
        other = "visible" if role == "infrared" else "infrared"
        hint = f"{other} goes on alone, and {role} is asked for again; --policy drop or hold-last needs both."
        if role == "visible" and self.visible_size is None:
            hint = (
                "Pictures begin when it is there, for they have its size. With size = [width, height] of the "
                "visible camera in rig.toml infrared is shown alone until then."
            )
        kind = error.kind if isinstance(error, SourceError) else "not-found"
        return SourceError(error.what, expected=error.expected, got=error.got, hint=hint, kind=kind)


def _size_told(camera: rig.Camera) -> rig.Size | None:
    return camera.size if camera.crop is None else (camera.crop.width, camera.crop.height)


def choose_cameras(
    camera: str,
    rig_file: Path | None = None,
    *,
    policy: rig.Policy | None = None,
    tolerance_ms: float | None = None,
    on_missing: rig.Role | None = None,
    distance_m: float | None = None,
) -> Cameras:
    """What two names or addresses stand for.

    Args:
        camera: ``IR,VIS``: two names of the rig, or two addresses, infrared first.
        rig_file: The rig; None looks where ``run`` looks.
        policy: What a frame without partner becomes; None takes the rig's.
        tolerance_ms: Largest time difference in a pair; None takes the rig's.
        on_missing: The one camera that may be missing, see :class:`rig.Sync`; None takes the rig's.
        distance_m: Distance in metres at which the two are to lie on each other; None takes the rig's.

    Raises:
        RequestError: no two names, names that the rig lacks, two cameras of one role, one file or device for
            both, a tolerance that is none, a camera that may be missing with a policy that needs both, or a
            distance where the rig tells no baseline.
        ConfigError: the rig file is malformed.
    """
    require_positive("--tolerance-ms", tolerance_ms, most=rig.DAY_MS)
    require_one_of("--policy", policy, get_args(rig.Policy))
    require_one_of("--on-missing", on_missing, get_args(rig.Role))
    names = camera.split(",")
    _refuse_commas_of_pipelines(camera, names)
    if redact(camera).count(",") < camera.count(","):
        raise RequestError(
            f"--camera {redact(camera)}: a comma in a user or a password would part two cameras",
            expected="%2C in its place",
        )
    if len(names) != 2 or not all(names):
        raise RequestError(
            f"--camera {redact(camera)}",
            expected="two names or addresses, infrared first: ir0,vis0",
            got=str(len(names)) if all(names) else "an empty one",
        )
    path = rig.find(rig_file)
    chosen = rig.read(path)
    infrared, visible = rig.choose(chosen, (names[0], names[1]))
    _refuse_one_place(infrared, visible)
    _refuse_two_clocks(infrared, visible)
    asked = {
        "policy": policy or chosen.sync.policy or "single",
        "tolerance_ms": tolerance_ms,
        "on_missing": on_missing,
    }
    sync = msgspec.structs.replace(
        chosen.sync, **{key: value for key, value in asked.items() if value is not None}
    )
    if on_missing is not None and sync.policy not in ("single", "nearest"):
        raise RequestError(
            f"--on-missing {on_missing} with policy {sync.policy}",
            expected="policy single or nearest, which show one camera while the other is missing",
        )
    registration = parallax.chosen(chosen.registration, distance_m)
    return Cameras(infrared, visible, sync, registration, path is not None, chosen)


def _require_one_clock(kinds: list[str]) -> None:
    """Refuse a camera beside a recording, as far as it is known what they are."""
    if len(set(kinds)) > 1:
        raise RequestError(
            "the two cameras do not share a clock",
            expected="two live or two recorded",
            got=" and ".join(kinds),
        )


def _refuse_one_place(infrared: tuple[str, rig.Camera], visible: tuple[str, rig.Camera]) -> None:
    """Refuse two names of one file or device, links among them: a device cannot be opened twice."""
    uris = [addresses.parse(camera.uri) for _, camera in (infrared, visible)]
    places = [uri.local_path() for uri in uris if uri.scheme in ("file", "v4l2")]
    if len(places) == 2 and is_same_place(*places) and not _two_topics(*uris):
        raise RequestError(
            f"{redact(infrared[0])} and {redact(visible[0])} are one {_kind_of(places[0])}",
            expected="an infrared and a visible camera",
            got=str(places[0]),
        )


def _two_topics(infrared: addresses.SourceUri, visible: addresses.SourceUri) -> bool:
    """Whether two addresses of one bag name two of its streams."""
    topics = infrared.query.get("topic"), visible.query.get("topic")
    return infrared.is_bag() and topics[0] != topics[1]


def _refuse_two_clocks(infrared: tuple[str, rig.Camera], visible: tuple[str, rig.Camera]) -> None:
    """Refuse a bag beside another recording: a bag has its clock's time, a file counts from its beginning."""
    uris = [addresses.parse(camera.uri) for _, camera in (infrared, visible)]
    bags = [uri.scheme == "file" and uri.is_bag() for uri in uris]
    if any(bags) and not all(bags):
        other = visible if bags[0] else infrared
        raise RequestError(
            "the two cameras do not share a clock",
            expected="two topics of bags, or none",
            got=f"a bag and {redact(other[0])}",
        )


def _refuse_commas_of_pipelines(camera: str, names: list[str]) -> None:
    """Refuse a pipeline with a comma in it: the parts would pass for cameras."""
    piped = [name for name in names if name[:4].lower() == "gst:"]
    if piped and (len(names) != 2 or any("=" in name and ":" not in name for name in names)):
        raise RequestError(
            f"--camera {redact(camera)}: a comma in a pipeline would part two cameras",
            expected="two names or addresses, infrared first: ir0,vis0",
            got=f"{len(names)} parts",
            hint="Write the pipeline into a rig file, as uri = 'gst:...' of [cameras.ir0], and name that: "
            "--camera ir0,vis0",
        )


def _kind_of(place: Path) -> str:
    return "folder" if place.is_dir() else "file" if place.is_file() else "device"


def delivery_mode(asked: Mode | None, sources: dict[rig.Role, Source]) -> Mode:
    """The mode that is asked for, or the one that the sources need.

    Raises:
        RequestError: ``latest`` for recordings: which frames it would drop depends on the machine.
    """
    require_one_of("--mode", asked, get_args(Mode))
    live = any(source.live for source in sources.values())
    if asked == "latest" and not live:
        raise RequestError("--mode latest is for live cameras", expected="every for files", got="latest")
    return asked or ("latest" if live else "every")


LONGEST_S = 1e9
"""Thirty years: longer than anything runs, and in nanoseconds still a number."""


def require_positive(option: str, value: float | None, *, most: float = LONGEST_S) -> None:
    """Refuse a number that is not above 0 and up to ``most`` with a RequestError that names its option."""
    if value is not None and not 0 < value <= most:
        raise RequestError(option, expected=f"more than 0 and finite, at most {most:.12g}", got=f"{value:g}")


def require_one_of(option: str, value: str | None, known: tuple[str, ...]) -> None:
    """Refuse a word that is none of ``known`` with a RequestError that names its option."""
    if value is not None and value not in known:
        raise RequestError(option, expected=", ".join(known), got=repr(value))
