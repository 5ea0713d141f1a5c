"""Takes credentials out of camera addresses and of the text that other libraries write about them.

Where an address can be read in two ways, the reading that hides more is taken: a host that is
missing in a message costs a look at the rig file, a password in a log costs the camera.
"""

from __future__ import annotations

import re

HIDDEN = "***"
"""What stands where a credential was."""

# Where the user part of a URI begins. A scheme is bounded in length so that a long run of letters
# costs linear, not quadratic time. "file:///cam@2/x.mp4" has no authority, so no user either: (?!/).
# In a URI that another one carries, "://" is %3A%2F%2F and "@" is %40.
_SCHEME = r"[a-z][a-z0-9+.\-]{0,20}"
_USER_OPENS = re.compile(rf"{_SCHEME}://(?!/)", re.IGNORECASE)
_ENCODED_USER_OPENS = re.compile(rf"{_SCHEME}%3A%2F%2F(?!%2F)", re.IGNORECASE)
# A second address after a comma starts anew.
_NEXT_ADDRESS = re.compile(rf"(?<=[,;|])(?={_SCHEME}://)", re.IGNORECASE)
_WORD = re.compile(r"\S+")

# "user:password@host" that lost its scheme, as libraries print after splitting an address.
#   (?<![^\s,;(\[<"'=])   it begins a word, or follows an opening mark: a colon and an "@" deep
#                         inside a file path are no credentials.
#   [^\s:/@]+:(?!//)      a user name without slash, a colon that does not belong to "://".
#   \S*@(?=[\w\[])        up to the last "@" that a host name or a bracketed IPv6 address follows.
_USER_ALONE = re.compile(r"(?<![^\s,;(\[<\"'=])[^\s:/@,;(\[<\"'=]+:(?!//)\S*@(?=[\w\[])")

# "key=value" in a query or a list of options ("?token=..", "user-pw=.."), for keys that name a secret.
#   (?<![^\s?&;,({\["'<])   the key begins the word, or follows one of ? & ; , ( { [ " ' <
#   KEY                     a key that contains a telling word, or is one of the short ones that
#                           would be too common as a part of a word ("pass", "key", "sid", "user").
#   VALUE                   what stands in quotes, if any, and all up to the next white space, & or ;
#                           so that a comma, a stray quote, "@", "/" and "%" belong to it.
_TELLING = r"(?:token|passw|passphrase|pwd|secret|api[_-]?key|credential|signature)"
_SHORT = r"(?:pass|pw|psw|key|auth|sig|sid|jwt|session|usr|user(?:[_-]?(?:name|id|pw))?|login)"
_VALUE = r"(?:\"[^\"\n]*\"|'[^'\n]*')?[^\s&;]*"
_OPTION = re.compile(
    rf"(?<![^\s?&;,({{\[\"'<])((?:[\w.\-]{{0,40}}{_TELLING}[\w.\-]{{0,40}}|{_SHORT})\s?=\s?){_VALUE}",
    re.IGNORECASE,
)

# "password: value" in prose. Only words that name a secret and nothing else: "key: value" and
# "user: name" are ordinary English.
_PROSE = re.compile(rf"\b((?:password|passwd|passphrase|secret|api[_-]?key)\s?:\s?){_VALUE}", re.IGNORECASE)

# HTTP headers: "Authorization: Basic YWRtaW46cHc=" to the end of the line, and a bare "Bearer ...".
_HEADER = re.compile(r"((?:proxy-)?authorization\s*[:=]\s*)[^\r\n]*", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer\s+)[\w.~+/=\-]+", re.IGNORECASE)

_OPTION_RULES = (_HEADER, _BEARER, _OPTION, _PROSE)


def redact(text: str) -> str:
    """``text`` with every credential in it replaced by ``***``.

    Takes an address or free text with addresses in it. Text without credentials comes back
    unchanged.

    >>> redact("cannot open rtsp://admin:p@ss/w%rd@10.0.0.5:554/live?token=abc&fps=30: refused")
    'cannot open rtsp://***@10.0.0.5:554/live?token=***&fps=30: refused'
    """
    # Options go before the user part: an "@" in the password of a query would otherwise pass for
    # the end of a user part, and what follows it would stay.
    for pattern in _OPTION_RULES:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    text = _WORD.sub(lambda word: _without_users(word[0]), text)
    return _USER_ALONE.sub(f"{HIDDEN}@", text)


def _without_users(word: str) -> str:
    """A run of characters without white space, with the user part of each address in it hidden.

    The user part reaches to the last "@": an unescaped password may hold "@", "/" and "%".
    """
    addresses = _NEXT_ADDRESS.split(word)
    for opens, closes in ((_USER_OPENS, "@"), (_ENCODED_USER_OPENS, "%40")):
        for index, address in enumerate(addresses):
            begin = opens.search(address)
            end = address.rfind(closes)
            if begin and end >= begin.end():
                addresses[index] = address[: begin.end()] + HIDDEN + address[end:]
    return "".join(addresses)
