"""What a pipeline holds of secrets, so that GStreamer's own messages can be kept free of it."""

from __future__ import annotations

from collections.abc import Iterable

from tdfusion_edge.redact import HIDDEN, redact

_SHORTEST = 3
"""A secret of fewer letters would take half of a message with it."""


def secrets(text: str) -> tuple[str, ...]:
    """The user names and passwords in a pipeline, the longest first.

    >>> secrets("rtspsrc location=rtsp://me:hunter2@cam/1 user-pw=abc123 ! decodebin")
    ('me:hunter2', 'hunter2', 'abc123')
    """
    found: set[str] = set()
    for word in text.split():
        before, hidden, after = redact(word).partition(HIDDEN)
        if hidden and HIDDEN not in after:
            secret = word[len(before) : len(word) - len(after)].strip("\"'")
            found |= {secret, *secret.split(":", 1)}
    return tuple(sorted((one for one in found if len(one) >= _SHORTEST), key=lambda one: (-len(one), one)))


def hidden_in(message: str, known: Iterable[str]) -> str:
    """``message`` without any of the ``known`` secrets, and without what :func:`redact` knows by itself."""
    for secret in known:
        message = message.replace(secret, HIDDEN)
    return redact(message)
