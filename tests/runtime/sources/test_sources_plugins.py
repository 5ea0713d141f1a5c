from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.runtime.rig import Camera
from tdfusion_edge.runtime.sources import open_source, plugins
from tdfusion_edge.runtime.sources.uri import parse

MODULE = """
import numpy as np
import time
from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Frame

class Lab:
    live = True
    def __init__(self, name, uri, epoch_ns):
        self.name, self.uri, self.epoch_ns = name, uri, epoch_ns
    def read(self):
        time.sleep(0.02)  # a camera sets the pace: one that never waits would take the processor
        what = self.uri.query.get("give", "frame")
        if what == "crash":
            raise ValueError("no buffer at rtsp://me:hunter2@cam/1\\nsecond line")
        if what == "failure":
            raise SourceError("the lens is off")
        if what == "array":
            return np.zeros((2, 2), np.uint8)
        return Frame(np.full((4, 6), 7, np.uint16), self.epoch_ns, 0, self.name)
    def close(self):
        if "bad_close" in self.uri.query:
            raise OSError("busy")

def from_uri(name, uri, *, epoch_ns, clock):
    if uri.path == "nowhere":
        raise LookupError("no camera nowhere")
    if uri.path == "nothing":
        return object()
    uri.refuse_unknown(("give", "bad_close", "fps"))
    return Lab(name, uri, epoch_ns)

number = 5
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lay a package with entry points beside those that are installed."""
    (tmp_path / "lab_cameras.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", {**sys.modules})

    def install(package: str = "lab-cameras", **schemes: str) -> None:
        folder = tmp_path / f"{package.replace('-', '_')}-2.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.1\n")
        lines = "".join(f"{scheme} = {target}\n" for scheme, target in schemes.items())
        (folder / "entry_points.txt").write_text(f"[tdfusion_edge.sources]\n{lines}")

    return install


def test_a_package_opens_a_scheme_of_its_own(install: Callable[..., None]) -> None:
    install(lab="lab_cameras:from_uri")
    source = open_source("ir0", Camera(uri="LAB://serial%201/7?give=frame", fps=9), "infrared", epoch_ns=5)
    frame = source.read()
    assert frame is not None
    assert (frame.time_ns, frame.source, int(frame.image[0, 0])) == (5, "ir0", 7)
    assert source.live is True
    source.close()


def test_what_the_rig_says_holds_for_it_too(install: Callable[..., None]) -> None:
    install(lab="lab_cameras:from_uri")
    camera = Camera(uri="lab://1?crop=3x2+1+1", offset_ms=2)
    with closing(open_source("ir0", camera, "infrared", epoch_ns=0)) as source:
        frame = source.read()
    assert frame is not None
    assert (frame.size, frame.time_ns) == ((3, 2), 2_000_000)
    visible = open_source("vis0", Camera(uri="lab://1"), "visible", epoch_ns=0)
    with closing(visible), pytest.raises(RequestError, match="gives 16-bit frames"):
        visible.read()


def test_an_unknown_scheme_names_those_that_are_installed(install: Callable[..., None]) -> None:
    install(lab="lab_cameras:from_uri")
    with pytest.raises(RequestError, match=re.escape("https://, lab:// or a path")) as caught:
        parse("lub://1")
    assert caught.value.hint == "Did you mean 'lab://'?"
    with pytest.raises(RequestError, match="unknown option 'giv'"):
        open_source("ir0", Camera(uri="lab://1?giv=x"), "infrared", epoch_ns=0)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("lab://1?give=crash", "plug-in lab of lab-cameras 2.1 failed: ValueError: no buffer at rtsp://***@"),
        ("lab://1?give=array", "plug-in lab of lab-cameras 2.1 gives no frames: expected Frame or None"),
        ("lab://1?give=failure", "the lens is off"),
        (
            "lab://nowhere",
            "plug-in lab of lab-cameras 2.1 failed to open ir0: LookupError: no camera nowhere",
        ),
        ("lab://nothing", "gives no source: expected name, live, read, close, got none of live, read, close"),
    ],
)
def test_a_plug_in_that_fails_is_told_by_name_and_package(
    install: Callable[..., None], address: str, says: str
) -> None:
    install(lab="lab_cameras:from_uri")
    with pytest.raises(SourceError, match=re.escape(says)) as caught:
        open_source("ir0", Camera(uri=address), "infrared", epoch_ns=0).read()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("lab_cameras:missing", "cannot be imported: AttributeError"),
        ("no_such_module_here:x", "cannot be imported: ModuleNotFoundError"),
        ("lab_cameras:number", "is no factory: expected a function, got int"),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_is_a_wrong_request(
    install: Callable[..., None], target: str, says: str
) -> None:
    install(lab=target)
    with pytest.raises(RequestError, match=f"plug-in lab of lab-cameras 2.1 {says}"):
        open_source("ir0", Camera(uri="lab://1"), "infrared", epoch_ns=0)


def test_two_packages_for_one_scheme_are_refused(install: Callable[..., None]) -> None:
    install(lab="lab_cameras:from_uri")
    install("other-lab", lab="lab_cameras:from_uri")
    with pytest.raises(RequestError, match=re.escape("got lab-cameras 2.1, other-lab 2.1")):
        open_source("ir0", Camera(uri="lab://1"), "infrared", epoch_ns=0)


def test_a_plug_in_that_fails_to_close_ends_nothing_else(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install(lab="lab_cameras:from_uri")
    open_source("ir0", Camera(uri="lab://1?bad_close=1"), "infrared", epoch_ns=0).close()
    assert "plug-in lab of lab-cameras 2.1 failed to close: OSError: busy" in caplog.text


def test_a_read_that_closing_breaks_off_is_the_end(install: Callable[..., None]) -> None:
    install(lab="lab_cameras:from_uri")
    source = open_source("ir0", Camera(uri="lab://1?give=crash"), "infrared", epoch_ns=0)
    source.close()
    assert source.read() is None


def test_cameras_lists_what_packages_open(
    install: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(lab="lab_cameras:from_uri", broken="lab_cameras:missing", sim="lab_cameras:from_uri")
    path = tmp_path / "rig.toml"
    path.write_text('[cameras.ir0]\nuri = "lab://1"\n[cameras.vis0]\nuri = "broken://1"\n')
    assert main(["cameras", "--rig", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "ir0      by order  lab://1  ok" in printed
    assert "vis0     by order  broken://1  plug-in broken of lab-cameras 2.1 cannot be imported" in printed
    assert "kinds of source that other packages open" in printed
    assert "  lab://  lab-cameras 2.1  ok" in printed
    assert "  sim://  lab-cameras 2.1  not used: this kind belongs to tdfusion-edge" in printed
    assert main(["cameras", "--rig", str(path), "--json"]) == 0
    rows = {row["scheme"]: row["problem"] for row in json.loads(capsys.readouterr().out)["plugins"]}
    assert rows["lab"] is None
    assert "cannot be imported" in rows["broken"]


def test_a_name_that_no_address_can_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, "m:f", plugins.GROUP) for name in ("a b", "9cam", "", "x", "cam:", "lab2")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    assert list(plugins.installed()) == ["lab2"]
    assert plugins.package_of(points[-1]) == "an unknown package"
