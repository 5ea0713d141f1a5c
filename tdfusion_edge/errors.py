"""Every error that this package raises on purpose.

::

    TdfusionError
    ├── RequestError      the request was wrong: exit code 2
    │   ├── ConfigError       a rig, recipe or manifest that cannot be read as written
    │   └── InputMissing      a named file, folder or camera does not exist
    └── WorkError         the request was fine, the work failed: exit code 1
        ├── SourceError       a camera, video or picture that fails while it is read
        │   └── FrameLost         one frame of a recording; the next one can be read
        ├── BundleError       a bundle that is damaged or was tampered with
        ├── EngineError       a network that cannot be loaded or run
        ├── SinkError         an output that cannot be written (disk full, no permission)
        ├── TrainingError     a training that cannot go on
        └── ExportError       an export that does not reproduce its network

A message says what went wrong, what was expected against what was found, and what to do next. It holds no
credentials and no control characters, whatever it quotes: it may be shown by another program than ours.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from tdfusion_edge.escape import escape, one_line
from tdfusion_edge.redact import redact


class TdfusionError(Exception):
    """Root of the tree.

    Args:
        what: What went wrong, with the name of the thing it happened to.
        expected: What would have been right.
        got: What was found instead.
        hint: The next step, preferably a command.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = one_line(redact(what))
        self.expected, self.got = (
            None if fact is None else one_line(redact(fact)) for fact in (expected, got)
        )
        self.hint = None if hint is None else escape(redact(hint))
        facts = []
        if self.expected is not None:
            facts.append(f"expected {self.expected}")
        if self.got is not None:
            facts.append(f"got {self.got}")
        message = f"{self.what}: {', '.join(facts)}" if facts else self.what
        super().__init__(f"{message}\n  {self.hint}" if self.hint else message)


class RequestError(TdfusionError):
    """The request was wrong; asking again unchanged will fail again."""

    exit_code = 2


class ConfigError(RequestError):
    """A typed file (rig, recipe, manifest) does not say what its schema asks for."""


class InputMissing(RequestError):
    """A file, folder or camera that was named does not exist."""


class WorkError(TdfusionError):
    """The request was fine, the work failed."""


FailureKind: TypeAlias = Literal[
    "unauthorised", "not-found", "unreachable", "timeout", "format", "ended", "gone", "other"
]
"""Why a camera fails.

``unauthorised``: it refuses user and password; ``not-found``: there is no such device or stream;
``unreachable``: nobody listens at its address; ``timeout``: it is silent; ``format``: it gives what cannot
be read, or not what was asked for; ``ended``: it ended its stream; ``gone``: the device was taken away;
``other``: none of these.
"""


class SourceError(WorkError):
    """A camera, video or picture failed while it was opened or read.

    Args:
        what: As of :class:`TdfusionError`, and so are the others.
        kind: Why, for those who decide what to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
        kind: FailureKind = "other",
    ) -> None:
        self.kind: FailureKind = kind
        super().__init__(what, expected=expected, got=got, hint=hint)


class FrameLost(SourceError):
    """One frame of a recording cannot be read; those behind it can be asked for."""


class BundleError(WorkError):
    """A bundle is incomplete, damaged or does not match its manifest."""


class EngineError(WorkError):
    """A network cannot be loaded or run by the chosen back end."""


class SinkError(WorkError):
    """An output cannot be written."""


class TrainingError(WorkError):
    """A training cannot go on; the last checkpoint is intact."""


class ExportError(WorkError):
    """An exported graph does not reproduce its network."""
