"""Addresses of streams from the network: what is the camera's, what is ours, and nothing told of secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.runtime.sources.network.options import Options, options, read_password
from tdfusion_edge.runtime.sources.uri import NETWORK, SourceUri, parse


@pytest.mark.parametrize(
    ("text", "remote", "asked"),
    [
        ("rtsp://10.0.0.5/live", "rtsp://10.0.0.5/live", Options()),
        ("RTSP://cam:8554", "rtsp://cam:8554", Options()),
        (
            "rtsp://admin:p%40w@cam/Streaming/Channels/101?transportmode=unicast#transport=udp&times=stream",
            "rtsp://admin:p%40w@cam/Streaming/Channels/101?transportmode=unicast",
            Options(transport="udp", times="stream"),
        ),
        ("rtsp://a:p@w@[fe80::1]:554/x?fps=5", "rtsp://a:p@w@[fe80::1]:554/x?fps=5", Options()),
        ("rtsps://cam/1#timeout_s=2.5", "rtsps://cam/1", Options(timeout_s=2.5)),
        ("http://cam/mjpg?resolution=640x480#times=arrival", "http://cam/mjpg?resolution=640x480",
         Options(times="arrival")),
    ],
)  # fmt: skip
def test_what_is_before_the_number_sign_is_the_cameras(text: str, remote: str, asked: Options) -> None:
    uri = parse(text)
    assert uri.remote() == remote
    assert options(uri) == asked
    assert parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rtsp://", "names no stream"),
        ("rtsp:///live", "host cannot be read"),
        ("rtsp://cam/li ve", "names no stream"),
        ("rtsp://cam\n/live", "names no stream"),
        ("rtsp://admin:pa/ss@cam/1", "%2F"),
        ("rtsp://admin:pa?ss@cam/1", "%3F"),
        ("rtsp://admin:pa#ss@cam/1", "options cannot be read"),
        ("rtsp://cam:port/1", "host cannot be read"),
        ("rtsp://cam/1#transport=tcp&transport=udp", "given twice"),
    ],
)
def test_addresses_that_cannot_be_read_say_why_without_the_password(text: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert "ss@" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rtsp://cam/1#transprt=udp", "Did you mean 'transport'"),
        ("rtsp://cam/1#transport=sctp", "expected tcp or udp, got 'sctp'"),
        ("http://cam/1#transport=udp", "unknown option 'transport'"),
        ("rtsp://cam/1#times=ntp", "expected auto or stream or arrival"),
        ("rtsp://cam/1#timeout_s=0", "expected 0.5 to 6"),
        ("rtsp://cam/1#timeout_s=soon", "expected 0.5 to 6"),
    ],
)
def test_options_that_are_none_are_refused(text: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        options(parse(text))
    assert says in str(caught.value)


@given(st.sampled_from(NETWORK), st.text(max_size=40))
def test_whatever_is_read_is_put_together_again(scheme: str, rest: str) -> None:
    try:
        uri = parse(f"{scheme}://{rest}")
    except RequestError:
        return
    assert parse(str(uri)) == uri
    assert uri.remote() == f"{scheme}://{rest.partition('#')[0]}"


@given(st.text(min_size=1, max_size=30))
def test_a_password_from_a_file_is_escaped_whatever_it_holds(password: str) -> None:
    whole = parse("rtsp://admin@cam:554/1?a=b#times=stream").with_password(password)
    user, _, rest = whole.path.partition("@")
    assert rest == "cam:554/1?a=b"
    assert not set(user.partition(":")[2]) & set("/@:?#[] ")
    assert parse(str(whole)) == whole


@pytest.mark.parametrize("text", ["rtsp://cam/1", "rtsp://admin:x@cam/1", "v4l2:///dev/video0", "sim://ir"])
def test_a_password_needs_a_user_and_no_other_password(text: str) -> None:
    with pytest.raises(RequestError, match="an address with a user and no password"):
        parse(text).with_password("x")


def test_the_rate_of_a_rig_is_refused_and_its_size_taken_as_known() -> None:
    uri = parse("rtsp://cam/1")
    assert uri.asking(size="640x480", fps=None) == SourceUri("rtsp", "cam/1")
    with pytest.raises(RequestError, match="the rate that its camera gives"):
        uri.asking(fps="30")


def test_a_password_file_holds_a_password_in_its_first_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" a b\r\nrest\n")
    assert read_password(file) == " a b"
    for content in (b"", b"\nlate", b"\xff\xfe", b"a\0b"):
        file.write_bytes(content)
        with pytest.raises(RequestError, match="a password in its first line"):
            read_password(file)
    with pytest.raises(InputMissing, match="cannot be read: No such file"):
        read_password(tmp_path / "none")
