from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import RequestError
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime.sources import plugins
from tdfusion_edge.runtime.sources.uri import SourceUri, parse


@pytest.mark.parametrize(
    ("text", "scheme", "path", "query"),
    [
        ("v4l2:///dev/video0", "v4l2", "/dev/video0", {}),
        ("V4L2:///dev/video0?format=Y16&fps=8.6", "v4l2", "/dev/video0", {"format": "Y16", "fps": "8.6"}),
        ("/dev/video2", "v4l2", "/dev/video2", {}),
        ("/dev/video2?size=640x512", "v4l2", "/dev/video2", {"size": "640x512"}),
        ("sim://ir?seed=3", "sim", "ir", {"seed": "3"}),
        ("file:///data/my%20clip.mp4", "file", "/data/my clip.mp4", {}),
        ("file://localhost/data/ir?fps=10", "file", "/data/ir", {"fps": "10"}),
        ("file://clips/ir.mkv", "file", "clips/ir.mkv", {}),
        ("clips/ir.mkv", "file", "clips/ir.mkv", {}),
        ("odd 100%20?.mkv", "file", "odd 100%20?.mkv", {}),
        ("csi://0?mode=2&flip=180", "csi", "0", {"mode": "2", "flip": "180"}),
        ("gst:v4l2src ! x-raw,format=GRAY8", "gst", "v4l2src ! x-raw,format=GRAY8", {}),
        ("GST: rtspsrc location=rtsp://cam/1?a=b", "gst", "rtspsrc location=rtsp://cam/1?a=b", {}),
        ("a 50%/walk.mcap?topic=/ir/image_raw", "file", "a 50%/walk.mcap", {"topic": "/ir/image_raw"}),
        ("file://walk?topic=/ir", "file", "walk", {"topic": "/ir"}),
    ],
)
def test_addresses_come_apart(text: str, scheme: str, path: str, query: dict[str, str]) -> None:
    assert parse(text) == SourceUri(scheme, path, query)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty address"),
        ("file://", "names no source"),
        ("sim://?seed=1", "names no source"),
        ("v4l2://video0", "three slashes"),
        ("v4l2:///dev/video0?format", "options cannot be read"),
        ("v4l2:///dev/video0?fps=30&fps=60", "given twice"),
        ("v4l:///dev/video0", "Did you mean 'v4l2://'?"),
        ("ftp://host/x", "unknown kind of source"),
        ("ftp://host/x", "v4l2://, csi://, gst:, sim://, file://, rtsp://"),
        ("gst://videotestsrc", "a pipeline's address has no slashes"),
        ("gst: ", "names no pipeline"),
        ("csi://", "an address such as csi://0"),
        ("cis://0", "Did you mean 'csi://'?"),
        ("walk.mcap?topic", "options cannot be read"),
    ],
)
def test_unreadable_addresses_say_why(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=re.escape(says)):
        parse(text)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(RequestError, match="unknown option 'formt'") as caught:
        parse("v4l2:///dev/video0?formt=Y16").refuse_unknown(("format", "size", "fps"))
    assert caught.value.hint == "Did you mean 'format'?"


@pytest.mark.parametrize("value", ["0", "-5", "nan", "inf", "fast", "", "1e-300", "1e300"])
def test_a_rate_must_be_a_positive_number(value: str) -> None:
    with pytest.raises(RequestError, match="bad fps"):
        SourceUri("file", "ir", {"fps": value}).fps()


@pytest.mark.parametrize("value", ["640", "640x", "x480", "0x480", "640x480x3", "640X480", "-1x5"])
def test_a_size_must_be_width_and_height(value: str) -> None:
    with pytest.raises(RequestError, match="bad size"):
        SourceUri("v4l2", "/dev/video0", {"size": value}).size()


def test_options_of_the_rig_are_added_and_may_not_contradict_the_address() -> None:
    uri = parse("v4l2:///dev/video0?fps=30").asking(size="640x480", fps="30")
    assert uri.size() == (640, 480)
    assert uri.fps() == 30
    with pytest.raises(RequestError, match="fps is given twice"):
        uri.asking(fps="25")


@settings(deadline=None)
@given(
    path=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).map("/".__add__),
    query=st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3),
)
def test_putting_together_undoes_taking_apart(path: str, query: dict[str, str]) -> None:
    uri = SourceUri("file", path, query)
    assert parse(str(uri)) == uri


def test_a_password_stays_one_that_can_be_hidden() -> None:
    """A plug-in quotes the address that it was given."""
    assert "hunter2" not in redact(f"no camera at {SourceUri('genicam', 'me:hunter2@10.0.0.5/x')}")


def test_every_kind_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "installed", lambda: {"lab": (), "sim": ()})
    with pytest.raises(RequestError, match="lab://") as caught:
        parse("labb://1")
    assert str(caught.value).count("sim://") == 1
