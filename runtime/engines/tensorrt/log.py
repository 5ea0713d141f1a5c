"""The library's messages: errors for the exceptions, all of them for a file."""

from __future__ import annotations

from typing import Any, TextIO

KEPT = 5
"""Error messages that an exception quotes: the first names the cause, the rest how it travelled."""


class Log:
    """Where messages of TensorRT go.

    Args:
        stream: Gets every message as lines; None keeps errors alone.
        verbose: The library's VERBOSE messages too, which name every fused kernel.
    """

    def __init__(self, stream: TextIO | None = None, *, verbose: bool = False) -> None:
        self._stream = stream
        self._verbose = verbose
        self._errors: list[str] = []

    def attach(self, trt: Any) -> Any:
        """A logger for this module; the caller keeps it alive, since the library does not."""
        log = self
        quiet = None if self._verbose else "VERBOSE"

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)  # the bindings do not take super().__init__()

            def log(self, severity: Any, message: str) -> None:
                log.take(severity.name, message, write=severity.name != quiet)

        return Logger()

    def take(self, severity: str, message: str, *, write: bool = True) -> None:
        """One message; called from any thread of the library."""
        if severity in ("ERROR", "INTERNAL_ERROR") and len(self._errors) < KEPT:
            self._errors.append(" ".join(message.split()))
        if write and self._stream is not None:
            self._stream.write(f"[{severity}] {message}\n")
            self._stream.flush()  # the process may end at the next instruction

    def summary(self) -> str:
        """The first errors since :meth:`clear`, in one line."""
        return "; ".join(self._errors) or "it gave no reason"

    def clear(self) -> None:
        """Forget earlier errors."""
        self._errors.clear()
