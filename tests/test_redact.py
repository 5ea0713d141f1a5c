from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.redact import redact, redact_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin:p@ss@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:p/ss@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:p%40s%rd@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:1234/5@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:p?s#s@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://:secret@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("RTSPS://admin:secret@cam.local/", "RTSPS://***@cam.local/"),
        ("rtsp://admin:secret@[fe80::1]:554/live", "rtsp://***@[fe80::1]:554/live"),
        ("http://cam/v?token=abc&fps=30", "http://cam/v?token=***&fps=30"),
        ("http://cam/v?fps=30&access_token=a/b%3D", "http://cam/v?fps=30&access_token=***"),
        ("http://cam/v?user=admin&password=a/b%40c@d&fps=3", "http://cam/v?user=***&password=***&fps=3"),
        ("http://cam/v?usr=admin&pwd=x", "http://cam/v?usr=***&pwd=***"),
        ("http://relay/?url=rtsp%3A%2F%2Fadmin%3Apw%40cam", "http://relay/?url=rtsp%3A%2F%2F***%40cam"),
        ("rtsp:/user@x/y", "***@x/y"),
        ("/out/rtsp:/user@x/y", "/out/rtsp:/***@x/y"),
        ("http://h/?url=rtsp%253A%252F%252Fu%253Apw%2540cam", "http://h/?url=rtsp%253A%252F%252F***%2540cam"),
        ("http://h/cgi?loginuse=a&loginpas=b&next=1", "http://h/cgi?loginuse=***&loginpas=***&next=1"),
        ("http://h/?access_key=a&authbasic=b", "http://h/?access_key=***&authbasic=***"),
        ("http://h/?u=admin&p=pw&fps=3", "http://h/?u=***&p=***&fps=3"),
        ("rtsp://h/user=admin_password=x_channel=1.sdp", "rtsp://h/user=***"),
        ("http://h/?password=a;b&fps=3", "http://h/?password=***&fps=3"),
        ("rtsp://user:pw", "rtsp://***"),
        ("rtsp://user:pw,w", "rtsp://***"),
        ("rtsp://a:b@one/x,rtsp://c:d@two/y", "rtsp://***@one/x,rtsp://***@two/y"),
    ],
)
def test_an_address_loses_its_credentials_and_nothing_else(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "cannot open 'rtsp://admin:p@ss@cam/1': 401 Unauthorized",
            "cannot open 'rtsp://***@cam/1': 401 Unauthorized",
        ),
        ("tried rtsp://one/1 and rtsp://u:p@two/2", "tried rtsp://one/1 and rtsp://***@two/2"),
        ("no route to admin:p@ss@10.0.0.5: refused", "no route to ***@10.0.0.5: refused"),
        ("rtspsrc user-id=admin user-pw=sec ! fakesink", "rtspsrc user-id=*** user-pw=*** ! fakesink"),
        ('login with password="two words" failed', "login with password=*** failed"),
        ("the password: hunter2", "the password: ***"),
        ("Authorization: Basic YWRtaW46cHc=\nCSeq: 2", "Authorization: ***\nCSeq: 2"),
        ("sent Bearer abc.def-ghi", "sent Bearer ***"),
        ("sent Bearer abc*def, twice", "sent Bearer ***, twice"),
        ("sent Basic YWRtaW46cHc= to it", "sent Basic *** to it"),
        ("'--serve-token=Basic YWRtaW46cHc=' -v", "'--serve-token=*** ***' -v"),
        ("Authorization Basic YWRtaW46cHc= was sent", "Authorization *** was sent"),
        ("{'Authorization': 'Basic YWRtaW46cHc='}", "{'Authorization': ***"),
        ("cannot open rtsp://u:p w@host/x", "cannot open rtsp://***@host/x"),
        ("{'password': 'two words', 'fps': 3}", "{'password': *** 'fps': 3}"),
        ("unrecognized arguments: --cam-token abc -x", "unrecognized arguments: --cam-token *** -x"),
        ("X-Auth-Token: abc", "X-Auth-Token: ***"),
        ("Cookie: sid=1; more=2", "Cookie: ***"),
    ],
)
def test_free_text_loses_its_credentials(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "v4l2:///dev/video0?format=Y16&fps=30",
        "v4l2:///dev/v4l/by-id/usb-046d:0825@1-video-index0",
        "file:///data/cam@2/x.mp4?fps=3",
        "sim://ir?seed=3",
        "rtsp://cam.local:554/live",
        "rtsp://[fe80::1]:554/live",
        "recordings/cam:2/ir@night.mkv",
        "[h264 @ 0x55d0c0ffee] error while decoding MB 3 4",
        "12:30:05 unknown key 'fps': did you mean 'format'?",
        "keyframe=1 monkey=2",
        "author=me bypass=1 highpass=2 onepass=3 one-pass graphs",
        "http://h/?page=2&p=3",
        "runs/key=3/x.mp4",
        "/data/tokens/passwords.txt",
        "rig.toml: unknown key 'password'",
        "the password is missing",
        "Basic recordings of pictures",
        "--set KEY=VALUE",
        "sim://ir?realtime=0,sim://vis?realtime=0",
        "rtsp://cam:554,rtsp://cam:80/x: refused",
        "file:/data/cam@2/x.mp4",
    ],
)
def test_text_without_credentials_is_left_alone(text: str) -> None:
    assert redact(text) == text


# Letters that occur in no other part of the address, and every mark that makes parsing hard but the
# comma and the semicolon: "a,rtsp://" is where the next address of a list begins.
SECRETS = st.text(alphabet="QXZ@/%:?#&=+!$'()*[]~", min_size=1, max_size=12).map("QZX".__add__)


@settings(deadline=None)
@given(user=SECRETS, password=SECRETS)
def test_no_part_of_any_password_survives(user: str, password: str) -> None:
    shown = redact(f"cannot open rtsp://{user}:{password}XQ@cam.local:554/live: refused")
    assert not set("QXZ") & set(shown)
    assert shown.startswith("cannot open rtsp://")
    assert shown.endswith("@cam.local:554/live: refused")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(f"rtsp://{text}@cam?token={text} password: {text}")
    assert redact(once) == once


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rtmp://live.example/app/secret-key: refused", "rtmp://live.example/*** refused"),
        (
            "-o rtmps://joe:secret@live.example:443/app/secret?x=1 -v",
            "-o rtmps://***@live.example:443/*** -v",
        ),
        ("srt://h:9000?streamid=publish:fused:joe:secret&latency=20", "srt://h:9000?streamid=***&latency=20"),
    ],
)
def test_the_key_of_a_stream_is_hidden(text: str, told: str) -> None:
    assert redact(text) == told


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://10.0.0.5/a b.mjpg?pwd=top SECRET", "http://10.0.0.5/a b.mjpg?pwd=***"),
        ("v4l2:///dev/video0?token=top SECRET&fps=30", "v4l2:///dev/video0?token=***&fps=30"),
        ("mqtt://joe:top SECRET@h/t", "mqtt://***@h/t"),
        ("gst:rtspsrc user-pw=SECRET location=x ! fakesrc", "gst:rtspsrc user-pw=*** location=x ! fakesrc"),
        ("/my films/ir 1.mp4", "/my films/ir 1.mp4"),
    ],
)
def test_a_blank_in_an_address_ends_no_password(address: str, told: str) -> None:
    assert redact_address(address) == told
