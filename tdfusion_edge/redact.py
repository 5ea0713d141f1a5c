"""Takes credentials out of camera addresses and of the text that other libraries write about them.

Where an address can be read in two ways, the reading that hides more is taken: a host that is
missing in a message costs a look at the rig file, a password in a log costs the camera.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

HIDDEN = "***"
"""What stands where a credential was."""
_BLANK = "\ue000"
"""Stands for a blank where that parts no words."""

# Where the user part of a URI begins. A scheme is bounded in length so that a long run of letters
# costs linear, not quadratic time. "file:///cam@2/x.mp4" has no authority, so no user either: (?!/).
# JSON may write "\/". In a URI that another one carries, "://" is %3A%2F%2F and "@" is %40, and in one that
# this one carries, "%" is %25.
_SCHEME = r"[a-z][a-z0-9+.\-]{1,20}"
_SLASH = r"\\?/"
_USER_OPENS = re.compile(rf"{_SCHEME}:(?:{_SLASH}){{2}}(?!{_SLASH})", re.IGNORECASE)
_ENCODED_USER_OPENS = re.compile(rf"{_SCHEME}%(?:25)*3A(?:%(?:25)*2F){{1,2}}(?!%(?:25)*2F)", re.IGNORECASE)
# A path drops the second slash. Of files and devices, one slash is no sign of a host.
_LOST_SLASH_OPENS = re.compile(rf"(?<![a-z0-9+.\-])(?!(?:file|v4l2|sim):){_SCHEME}:/(?!/)", re.IGNORECASE)
_OPENS = ((_USER_OPENS, r"@"), (_LOST_SLASH_OPENS, r"@"), (_ENCODED_USER_OPENS, r"@|%(?:25)*40"))
# A second address after a comma starts anew.
_NEXT_ADDRESS = re.compile(rf"(?<=[,;|])(?={_SCHEME}://)", re.IGNORECASE)
_WORD = re.compile(r"\S+")

# A password with a blank in it: up to the last "@" before the next address, where a ":" opened it.
_BLANK_IN_USER = re.compile(
    rf"({_SCHEME}:/{{1,2}})(?![/*])[^\s/@:\[\]'\"]*:(?!//)(?:(?!{_SCHEME}:/)[^\n])*@(?=[\w\[])", re.IGNORECASE
)
# "rtsp://user:pass" whose rest was cut off, as at a comma or a slash: a ":" that opens no port.
_CUT_OFF = re.compile(
    rf"({_SCHEME}:/{{1,2}})(?![/*])[^\s/@:?#\[\]'\"]*:(?!//|\d{{1,5}}(?![\w%!$&*+~.\-]))[^\s'\"]+",
    re.IGNORECASE,
)

# "user:password@host" that lost its scheme, as libraries print after splitting an address.
#   (?<![^\s,;(\[<"'=])   it begins a word, or follows an opening mark: a colon and an "@" deep
#                         inside a file path are no credentials.
#   [^\s:/@]+:(?!//)      a user name without slash, a colon that does not belong to "://".
#   \S*@(?=[\w\[])        up to the last "@" that a host name or a bracketed IPv6 address follows.
_USER_ALONE = re.compile(
    r"(?<![^\s,;(\[<\"'=])(?!(?:file|v4l2|sim):/)[^\s:/@,;(\[<\"'=]+:(?!//)\S*@(?=[\w\[])"
)

# A word that tells of a secret wherever it stands in a key ("user-pw", "loginpas", "x_access_token"); the
# short ones among them ("pass", "pw") only where the key's word ends with them, so that "bypass" is none.
_TELLING = (
    r"(?:token|passw|passphrase|passcode|pwd|secret|credential|signature|login"
    r"|(?:api|access|auth|private|stream|shared|account)[_.\-]?key"
    r"|auth(?!or(?!i[sz]))"
    r"|(?:(?<![a-z])|user|usr|admin|cam|rtsp|root|http|web)(?:pass?|pw|psw|psk|creds?)(?![a-z])"
    r"|user(?:_|-)?(?:id|name)(?![a-z]))"
)
_REST = r"[\w.\-]{0,40}"
# Keys that tell of a secret only where they are whole: as parts of words they are too common. "KEY=VALUE" is
# what help texts say.
_SHORT = (
    r"(?:(?<![\w.\-/%])(?:key(?!=(?-i:VALUE)\b)|sig|sid|jwt|session(?:[_-]?id)?|usr|user|uname)"
    r"|(?<=/)(?:usr|user))"
)
_SHORT_ENCODED = r"(?:(?<=%3F)|(?<=%26))(?:key|sig|sid|jwt|session(?:[_-]?id)?|usr|user|uname)"
_QUOTED = r"(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
# "key=value" in a query or a list of options. The value is what stands in quotes, if any, and all up to the
# next white space or the next option, so that a comma, a stray quote, "@", "/" and "%" belong to it.
_VALUE = rf"{_QUOTED}?(?:(?![&;][\w.\-]+=)\S)*"
_OPTION = re.compile(rf"((?:{_TELLING}{_REST}|{_SHORT})[\"']?\s?=\s?){_VALUE}", re.IGNORECASE)
_NEXT_ENCODED = r"(?:&|%(?:25)*26)[\w.\-]+(?:=|%(?:25)*3D)"
_ENCODED_OPTION = re.compile(
    rf"((?:{_TELLING}{_REST}|{_SHORT_ENCODED})%(?:25)*3D)(?:(?!{_NEXT_ENCODED})\S)*", re.IGNORECASE
)

# "u=..&p=..": each is harmless without the other.
_BRIEF_USER = re.compile(
    r"(?<![\w.\-])(?:u|usr|user|uname|username|name|id|login|account|loginuse)=", re.IGNORECASE
)
_BRIEF = re.compile(r"((?<![\w.\-])[up]=)(?:(?![&;][\w.\-]+=)\S)*", re.IGNORECASE)

# "password: value" in prose. Only words that name a secret and nothing else: "key: value" and
# "user: name" are ordinary English. In quotes, as in JSON or a dictionary, all keys that tell.
_PROSE = re.compile(
    rf"\b((?:password|passwd|passphrase|passcode|secret|(?:api|access)[_-]?key)\s?:\s?){_VALUE}",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"([\"'][\w.\-]{{0,40}}{_TELLING}{_REST}[\"']\s?:\s?){_VALUE}", re.IGNORECASE)
# "--serve-token FILE" is what help texts say.
_DASHES = re.compile(
    rf"((?<![\w\-])--?[\w\-]{{0,40}}{_TELLING}{_REST}\s+)(?!-|(?-i:FILE)\b){_VALUE}", re.IGNORECASE
)

# An argument by itself: what such an option is given is hidden to its end, whatever blanks are in it.
_ARGUMENT = re.compile(rf"(--?[\w\-]{{0,40}}{_TELLING}{_REST})(=.*)?", re.IGNORECASE | re.DOTALL)

# HTTP headers: "Authorization: Basic YWRtaW46cHc=" to the end of the line; without colon its scheme tells.
_HEADER = re.compile(r"((?:(?:proxy-)?authorization|(?:set-)?cookie)[\"']?\s*[:=]\s*)[^\r\n]*", re.IGNORECASE)
_HEADER_WORDS = re.compile(
    r"(authorization\s+)(?:basic|bearer|digest|negotiate|ntlm|token|apikey)\s+\S+", re.IGNORECASE
)
_OTHER_HEADER = re.compile(r"(\bx-[\w\-]{0,40}(?:token|key|secret|auth)[\"']?\s*:\s*)\S+", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer(?:\s+|%20))[\w.~+/=\-][^\s'\",;]*", re.IGNORECASE)
_BASIC = re.compile(r"\b(basic(?:\s+|%20))([\w+/\-]{3,}={0,2})", re.IGNORECASE)

# The path of an RTMP address is the key of the stream, and SRT's streamid may hold user and password.
_KEY_IN_PATH = re.compile(r"(\brtmps?://[^\s/'\"]+/)[^\s'\"]+", re.IGNORECASE)
_STREAM_ID = re.compile(r"(\bstreamid=)[^\s&'\"]+", re.IGNORECASE)

_OPTION_RULES = (
    _HEADER, _HEADER_WORDS, _OTHER_HEADER, _BEARER, _OPTION, _ENCODED_OPTION, _PROSE, _PAIR, _DASHES,
    _STREAM_ID,
)  # fmt: skip


def redact(text: str) -> str:
    """``text`` with every credential in it replaced by ``***``.

    Takes an address or free text with addresses in it. Text without credentials comes back
    unchanged. What is no part of an address, an option or a header is not known to be one: a password that
    stands alone in a text stays.

    >>> redact("cannot open rtsp://admin:p@ss/w%rd@10.0.0.5:554/live?token=abc&fps=30: refused")
    'cannot open rtsp://***@10.0.0.5:554/live?token=***&fps=30: refused'
    """
    # Options go before the user part: an "@" in the password of a query would otherwise pass for
    # the end of a user part, and what follows it would stay.
    # A header's value goes before them: of "token=Basic ..." an option's rule would leave the second word.
    text = _BASIC.sub(_without_pair, text)
    for pattern in _OPTION_RULES:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    text = _WORD.sub(lambda word: _without_users(word[0]), text)
    text = _USER_ALONE.sub(f"{HIDDEN}@", text)
    text = _BLANK_IN_USER.sub(rf"\g<1>{HIDDEN}@", text)
    text = _CUT_OFF.sub(rf"\g<1>{HIDDEN}", text)
    return _KEY_IN_PATH.sub(rf"\g<1>{HIDDEN}", text)


def redact_address(address: str) -> str:
    """One whole address without credentials: a blank in it ends no value, as it would in a text.

    >>> redact_address("http://10.0.0.5/video.mjpg?password=a b&fps=30")
    'http://10.0.0.5/video.mjpg?password=***&fps=30'
    """
    if address[:4].lower() != "gst:":  # whose words are many
        address = redact(address.replace(" ", _BLANK)).replace(_BLANK, " ")
    return redact(address)


def redact_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line without credentials.

    Joined to a line they could not be told apart any more: what an option with a telling name is given may
    hold blanks.

    >>> redact_arguments(["--serve-token=a b", "--password", "c d", "rtsp://u:p@10.0.0.5"])
    ['--serve-token=***', '--password', '***', 'rtsp://***@10.0.0.5']
    """
    hidden: list[str] = []
    follows = False
    for argument in arguments:
        option = _ARGUMENT.fullmatch(argument)
        if option is not None:
            hidden.append(argument if option[2] is None else f"{option[1]}={HIDDEN}")
        else:
            hidden.append(HIDDEN if follows else redact_address(argument))
        follows = option is not None and option[2] is None
    return hidden


def redact_all(value: Any) -> Any:
    """Dictionaries, lists and scalars with credentials hidden in every text, keys too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact_all(key): redact_all(one) for key, one in value.items()}
    return [redact_all(one) for one in value] if isinstance(value, (list, tuple)) else value


def _without_pair(found: re.Match[str]) -> str:
    """``Basic`` and what follows: hidden where that is a "user:password" in Base64, and no other word."""
    packed = found[2].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        pair = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except binascii.Error:
        return found[0]
    return f"{found[1]}{HIDDEN}" if b":" in pair else found[0]


def _without_users(word: str) -> str:
    """A run of characters without white space, with the user part of each address in it hidden.

    The user part reaches to the last "@": an unescaped password may hold "@", "/" and "%".
    """
    if _BRIEF_USER.search(word) and re.search(r"(?<![\w.\-])p=", word, re.IGNORECASE):
        word = _BRIEF.sub(rf"\g<1>{HIDDEN}", word)
    addresses = _NEXT_ADDRESS.split(word)
    for opens, closes in _OPENS:
        for index, address in enumerate(addresses):
            begin = opens.search(address)
            if begin is None:
                continue
            ends = [end for end in re.finditer(closes, address) if end.start() >= begin.end()]
            if ends:
                addresses[index] = address[: begin.end()] + HIDDEN + address[ends[-1].start() :]
    return "".join(addresses)
