"""The secret that opens the page to other machines: kept in a file, never in an address or a process list."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from tdfusion_edge.console import note
from tdfusion_edge.errors import RequestError

SHORTEST, LONGEST = 16, 512
"""Characters of a token. Sixteen of a random one are beyond guessing over a network."""


def read_token(path: Path) -> str:
    """The token in a file; where there is no file, a new one is made that its owner alone can read.

    Raises:
        RequestError: others can read the file, it holds no token, or it can be neither read nor made.
    """
    try:
        text = _made(path)
    except FileExistsError:
        text = _read(path)
    except OSError as error:
        raise RequestError(f"token file {path} cannot be made: {error.strerror}") from error
    if not (SHORTEST <= len(text) <= LONGEST and text.isascii() and text.isprintable() and " " not in text):
        raise RequestError(
            f"token file {path} holds no token",
            expected=f"a line of {SHORTEST} to {LONGEST} letters, digits and signs without blanks",
            got=f"{len(text)} characters",
            hint="Name a file that does not exist: a token is made there.",
        )
    return text


def _made(path: Path) -> str:
    text = secrets.token_urlsafe(24)
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w") as stream:
        stream.write(text + "\n")
    note(f"a new token for the live page is in {path}")
    return text


def _read(path: Path) -> str:
    try:
        # Without waiting for whoever writes, should it be a pipe.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as stream:
            about = os.fstat(number)
            if not stat.S_ISREG(about.st_mode):
                raise RequestError(f"token file {path} is no file")
            if about.st_mode & 0o077 or about.st_uid not in (os.geteuid(), 0):
                raise RequestError(
                    f"token file {path} can be read by others",
                    expected="a file of yours with mode 600",
                    got=f"mode {stat.S_IMODE(about.st_mode):o}",
                    hint=f"chmod 600 {path}   and, if others may have read it, delete it: a new one is made.",
                )
            raw = stream.read(LONGEST + 64)
    except OSError as error:
        raise RequestError(f"token file {path} cannot be read: {error.strerror}") from error
    return raw.decode("latin-1").strip()


class Doorkeeper:
    """Knows the token, and lets in who has it.

    Args:
        token: None lets everybody in.
        port: Of the page: browsers keep the cookies of one machine together, whatever the port.
    """

    def __init__(self, token: str | None, port: int) -> None:
        self._token = None if token is None else token.encode()
        self.cookie = f"tdfusion_page_{port}"
        """Name of the cookie."""

    @property
    def closed(self) -> bool:
        """Whether a token is needed at all."""
        return self._token is not None

    @property
    def ticket(self) -> str:
        """What the cookie of one who is let in holds; the token cannot be told from it.

        Raises:
            RuntimeError: no token is needed.
        """
        if self._token is None:
            raise RuntimeError("there is no token")
        return hmac.new(self._token, b"tdfusion-edge live page", hashlib.sha256).hexdigest()

    def knows(self, token: str) -> bool:
        """Whether that is the token; takes as long for a wrong one."""
        return self._token is None or hmac.compare_digest(token.encode(), self._token)

    def admits(self, authorization: str, cookies: dict[str, str]) -> bool:
        """Whether a request is let in.

        Args:
            authorization: The header of this name; ``Bearer TOKEN`` counts.
            cookies: By name.
        """
        if self._token is None:
            return True
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer" and self.knows(token.strip()):
            return True
        return hmac.compare_digest(cookies.get(self.cookie, "").encode(), self.ticket.encode())
