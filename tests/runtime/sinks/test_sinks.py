"""The window, and the name that chooses among the outputs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from sink_results import number_of, numbered, result

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.runtime.sinks import Sink, open_sink
from tdfusion_edge.runtime.sinks.folder import FolderSink
from tdfusion_edge.runtime.sinks.jsonl import JsonlSink
from tdfusion_edge.runtime.sinks.video import VideoSink
from tdfusion_edge.runtime.sinks.window import WindowSink, require_windows

# -- window ------------------------------------------------------------------------------------------

DESKTOP = "General configuration\n\n  GUI:                           QT5\n    QT: YES\n"
HEADLESS = "General configuration\n\n  GUI:                           NONE\n\n  Media I/O:\n"


class Screen:
    """A HighGUI whose user presses the given keys and may close the window."""

    def __init__(self, keys: list[int], *, visible: list[float] | None = None) -> None:
        self.keys, self.visible = keys, visible or []
        self.shown: list[int] = []
        self.open: set[str] = set()
        self.highgui = SimpleNamespace(
            getBuildInformation=lambda: DESKTOP,
            imshow=self.show,
            waitKey=self.wait_key,
            getWindowProperty=self.window_property,
            destroyWindow=self.destroy,
        )

    def show(self, title: str, image: Any) -> None:
        self.open.add(title)
        self.shown.append(number_of(image))

    def wait_key(self, delay_ms: int) -> int:
        assert delay_ms > 0, "0 would wait for ever"
        return self.keys.pop(0) if self.keys else -1

    def window_property(self, title: str, _: int) -> float:
        return self.visible.pop(0) if self.visible else float(title in self.open)

    def destroy(self, title: str) -> None:
        if title not in self.open:
            raise cv2.error("no window")
        self.open.remove(title)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27, 0x100000 | ord("q")])
def test_q_and_escape_ask_to_stop(key: int) -> None:
    screen = Screen([-1, ord("x"), key])
    sink = WindowSink(highgui=screen.highgui)
    states = []
    for index in range(4):
        sink.write(result(index))
        states.append(sink.closed)
    assert states == [False, False, True, True]
    assert screen.shown == [0, 1, 2]
    sink.close()
    sink.abort()
    assert not screen.open


@pytest.mark.usefixtures("display")
def test_closing_the_window_asks_to_stop_and_does_not_open_it_again() -> None:
    screen = Screen([], visible=[1.0, 0.0])
    sink = WindowSink(highgui=screen.highgui)
    for index in range(4):
        sink.write(result(index))
    assert sink.closed
    assert screen.shown == [0, 1]
    screen.open.clear()
    sink.close()


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize(("keys", "visible"), [([ord("q")], []), ([], [0.0])])
def test_closing_is_told_once(keys: list[int], visible: list[float]) -> None:
    told: list[bool] = []
    sink = WindowSink(on_close=lambda: told.append(True), highgui=Screen(keys, visible=visible).highgui)
    for index in range(4):
        sink.write(result(index))
    sink.close()
    assert told == [True]


@pytest.mark.usefixtures("display")
def test_a_window_that_fails_is_a_sink_error() -> None:
    screen = Screen([])
    sink = WindowSink(highgui=screen.highgui, picture=lambda r: numbered(r.index + 100))
    sink.write(result(0))
    assert screen.shown == [100]

    def broken(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    screen.highgui.imshow = broken
    with pytest.raises(SinkError, match="not implemented"):
        sink.write(result(1))
    assert sink.closed


def test_a_build_without_windows_is_refused_with_the_pip_line() -> None:
    with pytest.raises(
        RequestError, match="pip uninstall -y opencv-python-headless && pip install"
    ) as caught:
        require_windows(HEADLESS, "linux", {"DISPLAY": ":0"})
    assert caught.value.exit_code == 2


def test_linux_needs_a_display_and_others_do_not() -> None:
    with pytest.raises(RequestError, match="needs a display"):
        require_windows(DESKTOP, "linux", {})
    require_windows(DESKTOP, "linux", {"DISPLAY": ":0"})
    require_windows(DESKTOP, "linux", {"WAYLAND_DISPLAY": "wayland-0"})
    require_windows(DESKTOP, "darwin", {})
    require_windows(DESKTOP, "win32", {})


@pytest.mark.usefixtures("display")
def test_the_opencv_that_is_installed_is_judged_by_its_own_words() -> None:
    headless = re.search(r"GUI:\s*NONE", cv2.getBuildInformation()) is not None
    if headless:
        with pytest.raises(RequestError, match="opencv-python"):
            WindowSink()
    else:
        assert not WindowSink().closed


def test_a_window_needs_the_display_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(RequestError, match="needs a display"):
        WindowSink(highgui=SimpleNamespace(getBuildInformation=lambda: DESKTOP))


# -- by name -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("out.mp4", VideoSink),
        ("OUT.MKV", VideoSink),
        ("out.jsonl", JsonlSink),
        ("out", FolderSink),
        ("out/", FolderSink),
        ("out.mp4/", FolderSink),
        ("existing.v2", FolderSink),
    ],
)
def test_the_name_chooses_the_sink(tmp_path: Path, target: str, kind: type[Sink]) -> None:
    (tmp_path / "existing.v2").mkdir()
    sink = open_sink(f"{tmp_path}/{target}")
    assert type(sink) is kind
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["existing.v2"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out.png", r"A folder of pictures: .*/out/ .* a video: .*/out\.mp4"),
        ("out.JPG", "is one picture"),
        ("out.avi", r"expected \.mp4, \.mkv, \.jsonl or a folder, got \.avi"),
        ("folder.mp4", "is a folder"),
        ("absent/out.mp4", "mkdir -p"),
    ],
)
def test_names_that_mean_nothing_are_refused(tmp_path: Path, target: str, message: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(RequestError, match=message):
        open_sink(tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


def test_the_choices_reach_the_sink(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "out", stem=lambda r: f"n{r.index}", picture=lambda r: numbered(r.index + 1))
    sink.write(result(4))
    assert number_of(cv2.imread(str(tmp_path / "out" / "n4.png"), cv2.IMREAD_UNCHANGED)) == 5


def test_the_seam_costs_no_video_library() -> None:
    script = (
        "import sys, tdfusion_edge.runtime.sinks.base as _; print('av' in sys.modules, 'cv2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
