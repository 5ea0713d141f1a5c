"""Sources that other installed packages open, by entry point.

A package names its factory in its ``pyproject.toml``::

    [project.entry-points."tdfusion_edge.sources"]
    genicam = "my_cameras.genicam:from_uri"

and ``genicam://...`` then opens it. The factory has the signature of those in :data:`.OPENERS`:
``(name, uri, *, epoch_ns, clock)``, and returns a :class:`~.base.Source`.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tdfusion_edge.errors import RequestError, SourceError, TdfusionError
from tdfusion_edge.frames import Frame
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime.sources.base import Source

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from tdfusion_edge.runtime.sources.uri import SourceUri

log = logging.getLogger(__name__)

GROUP = "tdfusion_edge.sources"
"""Group of the entry points."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]+")


def installed() -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of installed packages by scheme, in lower case; none of them is imported.

    A name that no address can have is left out.
    """
    from importlib.metadata import entry_points

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        scheme = point.name.lower()
        if _SCHEME.fullmatch(scheme):
            found[scheme] = (*found.get(scheme, ()), point)
    return found


def described() -> list[dict[str, str | None]]:
    """Every scheme that a package opens, with its ``package``, and its ``problem`` if it cannot be used."""
    from tdfusion_edge.runtime.sources.uri import SCHEMES  # which asks this module

    rows: list[dict[str, str | None]] = []
    for scheme, points in sorted(installed().items()):
        problem = None
        if scheme in SCHEMES:
            problem = "not used: this kind belongs to tdfusion-edge"
        else:
            try:
                load(scheme)
            except RequestError as error:
                problem = str(error).splitlines()[0]
        packages = ", ".join(sorted(map(package_of, points)))
        rows.append({"scheme": scheme, "package": packages, "problem": problem})
    return rows


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that an entry point belongs to."""
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def load(scheme: str) -> tuple[Callable[..., Any], str]:
    """The factory for a scheme, and the plug-in's name and package for messages.

    Raises:
        RequestError: two packages open it, or the one that does cannot be imported.
    """
    points = installed()[scheme]
    if len(points) > 1:
        raise RequestError(
            f"{scheme}:// is opened by several packages",
            expected="one of them",
            got=", ".join(sorted(map(package_of, points))),
            hint="Uninstall the others: pip uninstall NAME",
        )
    (point,) = points
    told = f"plug-in {point.name} of {package_of(point)}"
    try:
        factory = point.load()
    except Exception as error:  # whatever a stranger's module raises
        raise RequestError(
            f"{told} cannot be imported: {_words(error)}", hint=f"It is {point.value} in that package."
        ) from error
    if not callable(factory):
        raise RequestError(f"{told} is no factory", expected="a function", got=type(factory).__name__)
    return factory, told


def open_plugin(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> Source:
    """The source that a package opens for an address.

    Raises:
        RequestError: it cannot be imported, or refuses the address.
        SourceError: it fails; it is named with its package.
    """
    factory, told = load(uri.scheme)
    try:
        source = factory(name, uri, epoch_ns=epoch_ns, clock=clock)
    except TdfusionError:
        raise
    except Exception as error:
        raise SourceError(f"{told} failed to open {name}: {_words(error)}") from error
    lacks = [member for member in ("live", "read", "close") if not hasattr(source, member)]
    if lacks:
        raise SourceError(
            f"{told} gives no source", expected="name, live, read, close", got=f"none of {', '.join(lacks)}"
        )
    return PluginSource(name, source, told)


class PluginSource:
    """A source of another package, whose failures are told with its name.

    Args:
        name: Name for messages and frames, without credentials.
        source: What its factory gave.
        told: The plug-in and its package, for messages.
    """

    def __init__(self, name: str, source: Source, told: str) -> None:
        self.name = name
        self._source, self._told = source, told
        self._closed = False

    @property
    def live(self) -> bool:
        """Whether the world sets the pace."""
        return bool(self._source.live)

    def read(self) -> Frame | None:
        """The next frame, None at the end.

        Raises:
            SourceError: it failed, or gave what is no frame.
        """
        try:
            frame = self._source.read()
        except TdfusionError:
            raise
        except Exception as error:
            if self._closed:  # under a read that waited, which is how some libraries end it
                return None
            raise SourceError(f"{self._told} failed: {_words(error)}") from error
        if frame is not None and not isinstance(frame, Frame):
            raise SourceError(
                f"{self._told} gives no frames",
                expected="Frame or None",
                got=type(frame).__name__,
                kind="format",
            )
        return frame

    def close(self) -> None:
        """Release the device; a plug-in that fails at it is told of, and ends nothing else."""
        self._closed = True
        try:
            self._source.close()
        except Exception as error:
            log.warning("%s failed to close: %s", self._told, redact(_words(error)))


def _words(error: BaseException) -> str:
    """An error of another package, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
