"""What can be said of a pipeline without GStreamer."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.rig import Camera
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.gstreamer.csi import pipeline
from tdfusion_edge.runtime.sources.gstreamer.pipeline import _head
from tdfusion_edge.runtime.sources.gstreamer.secrets import hidden_in, secrets
from tdfusion_edge.runtime.sources.uri import parse


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (
            "csi://0",
            "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),format=NV12 ! nvvidconv "
            "! video/x-raw,format=BGRx",
        ),
        (
            "csi://1?mode=2&size=1920x1080&fps=29.97&flip=180&exposure=8.5&gain=4",
            'nvarguscamerasrc sensor-id=1 sensor-mode=2 exposuretimerange="8500000 8500000" gainrange="4 4" '
            "! video/x-raw(memory:NVMM),format=NV12,width=1920,height=1080,framerate=2997/100 "
            "! nvvidconv flip-method=2 ! video/x-raw,format=BGRx",
        ),
        (
            "csi://0?fps=30&flip=vertical",
            "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),format=NV12,framerate=30/1 "
            "! nvvidconv flip-method=6 ! video/x-raw,format=BGRx",
        ),
    ],
)
def test_a_csi_camera_is_a_pipeline(address: str, text: str) -> None:
    assert pipeline(parse(address)) == text


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("csi://front", "bad sensor: expected a number such as 0, got 'front'"),
        ("csi://0?mode=x", "bad mode"),
        ("csi://0?flip=45", "bad flip: expected 90, 180, 270, horizontal, vertical, got '45'"),
        ("csi://0?size=big", "bad size"),
        ("csi://0?gain=0", "bad gain"),
        ("csi://0?format=Y16", "unknown option 'format'"),
        ("csi://0 ! filesink location=x", "bad sensor"),
    ],
)
def test_a_csi_camera_takes_no_other_words(address: str, says: str) -> None:
    with pytest.raises(RequestError, match=re.escape(says)):
        pipeline(parse(address))


def test_a_sink_at_the_end_is_ours() -> None:
    assert _head("videotestsrc ! appsink", "x") == "videotestsrc"
    assert _head(" v4l2src device=/dev/video0 ", "x") == "v4l2src device=/dev/video0"
    for text, says in [
        ("videotestsrc ! appsink drop=1", "an appsink of its own"),
        ("videotestsrc ! xvimagesink", "ends in xvimagesink"),
        ("! appsink", "an empty pipeline"),
    ]:
        with pytest.raises(RequestError, match=says):
            _head(text, "x")


def test_secrets_of_a_pipeline_are_hidden_in_what_others_say_of_it() -> None:
    text = 'rtspsrc location="rtsp://me:hun@ter2@cam/1" user-id=you user-pw="xy zzy" ! decodebin'
    known = secrets(text.replace("xy zzy", "xyzzy"))
    told = hidden_in('could not set "user-pw" to "xyzzy"; me:hun@ter2 is refused by cam', known)
    assert "xyzzy" not in told
    assert "hun@ter2" not in told
    assert told.endswith("is refused by cam")
    assert secrets("videotestsrc pattern=ball ! video/x-raw,format=GRAY8") == ()


def test_size_and_rate_of_a_pipeline_stand_in_its_caps() -> None:
    with pytest.raises(RequestError, match="stand in its caps") as caught:
        open_source("ir0", Camera(uri="gst:videotestsrc", fps=30), "infrared", epoch_ns=0)
    assert caught.value.got == "fps"


@pytest.mark.parametrize(
    "camera",
    [
        "gst:videotestsrc ! video/x-raw,format=GRAY8,vis0",
        "gst:a ! video/x-raw,format=GRAY8",
        "ir0,gst:a ! b,c=d",
    ],
)
def test_a_comma_in_a_pipeline_asks_for_a_rig_file(camera: str) -> None:
    with pytest.raises(RequestError, match="a comma in a pipeline would part two cameras") as caught:
        choose_cameras(camera)
    assert "--camera ir0,vis0" in str(caught.value)


def test_pipelines_without_commas_are_two_cameras() -> None:
    cameras = choose_cameras("gst:videotestsrc is-live=true,gst:v4l2src device=/dev/video0")
    assert cameras.visible[1].uri == "gst:v4l2src device=/dev/video0"


@pytest.mark.parametrize("uri", ["gst:videotestsrc", "csi://0"])
def test_without_pygobject_the_packages_are_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(RequestError, match="needs PyGObject") as caught:
        open_source("ir0", Camera(uri=uri), "infrared", epoch_ns=0)
    assert "python3-gi gir1.2-gstreamer-1.0" in str(caught.value)
    assert "--system-site-packages" in str(caught.value)


def test_without_gstreamer_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gi = ModuleType("gi")

    def require_version(module: str, version: str) -> None:
        raise ValueError(f"Namespace {module} not available")

    gi.require_version = require_version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gi", gi)
    with pytest.raises(RequestError, match="Namespace Gst not available") as caught:
        open_source("ir0", Camera(uri="gst:videotestsrc"), "infrared", epoch_ns=0)
    assert "gir1.2-gst-plugins-base-1.0" in str(caught.value)
