"""The page in a real browser: its pictures move, its controls act, and its console stays empty."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from served_run import Served, served

from benchmarks.live.chromium import INSTALL, Tab, browser, program
from tdfusion_edge import bundle
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.simulation.mark import read_mark

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason=f"no Chromium: {INSTALL}"),
]
TOKEN = "QZXQZXQZXQZXQZXQZXQZX"
LISTEN = (
    "window.seen = []; document.addEventListener('picture', "
    "(event) => window.seen.push({...event.detail, now: Date.now()}))"
)


@pytest.fixture(scope="module")
def tabs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Tab]]:
    with browser(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.fixture(scope="module")
def running(finder_bundle_path: Path) -> Iterator[Served]:
    with served(bundle.read(finder_bundle_path)) as run:
        yield run


def canvas(tab: Tab, name: str = "canvas") -> Image:
    """What stands in a canvas, uint8 (H, W, 3) BGR."""
    address = tab.value(f"document.getElementById('{name}').toDataURL('image/png')")
    raw = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_COLOR))


def show(tab: Tab, view: str, kind: str) -> Image:
    """Turn to a view, and wait for two pictures of it: the first may be an older choice's."""
    tab.value(f"window.seen = []; document.querySelector('[data-view={view}]').click()")
    tab.until(f"window.seen.filter((one) => one.kind === '{kind}').length >= 2")
    return canvas(tab)


def put(tab: Tab, name: str, value: str) -> None:
    """Give a control a value, as a person would."""
    tab.value(
        f"{{ const one = document.getElementById('{name}'); one.value = '{value}';"
        "for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind, {bubbles: true})); }"
    )


def after(tab: Tab, pictures: int = 4) -> Image:
    tab.value("window.seen = []")
    tab.until(f"window.seen.length >= {pictures}")
    return canvas(tab)


def colourful(picture: Image) -> float:
    """Mean difference of a pixel's largest and smallest channel."""
    return float(np.ptp(picture.astype(int), axis=2).mean())


def green(picture: Image) -> int:
    """Pixels that are more green than red: those of the edges, and none of ironbow."""
    return int((picture[..., 1].astype(int) - picture[..., 2] > 20).sum())


def test_the_page_shows_the_run_and_acts_on_it(running: Served, tabs: Callable[[], Tab]) -> None:
    tab = tabs()
    tab.size(1280, 800)
    tab.open(f"http://{running.address}/")
    tab.value(LISTEN)
    assert tab.until("document.getElementById('state').textContent") in ("connecting", "waiting")
    assert "waiting" in tab.value("document.getElementById('veil').textContent")

    running.begin()
    tab.until("window.seen.length >= 1", 60)
    late_ms = tab.value("window.seen[0].now") - running.first_ms
    assert late_ms < 500

    tab.value("document.getElementById('boxes').click()")  # one might stand in the mark
    numbers = [read_mark(after(tab))]
    while len(numbers) < 5:
        numbers.append(read_mark(after(tab, 1)))
    assert numbers == sorted(set(numbers))
    tab.until("document.getElementById('state').textContent === 'live'")
    tab.until("document.querySelectorAll('#cameras .live').length === 2")
    tab.until("Number(document.getElementById('rate').textContent) > 0")  # how many is the machine's
    assert "capture to sink" in tab.value("document.getElementById('latency').textContent")
    assert "paired" in tab.value("document.getElementById('frames').textContent")

    assert colourful(show(tab, "infrared", "infrared")) < 8  # but for the boxes
    assert colourful(show(tab, "visible", "visible")) > 10
    tab.value("document.querySelector('[data-palette=ironbow]').click()")
    hot = show(tab, "infrared", "infrared")
    assert colourful(after(tab)) > 40
    put(tab, "isotherm", "hottest")
    put(tab, "hottest", "20")
    marked = after(tab)
    assert ((marked[..., 2] > 240) & (marked[..., 0] < 60)).mean() > (
        (hot[..., 2] > 240) & (hot[..., 0] < 60)
    ).mean()
    put(tab, "isotherm", "off")

    side = show(tab, "side", "pair")
    assert side.shape == (480, 1280, 3)
    assert read_mark(side[:, 640:]) in range(numbers[-1], 1 << 16)
    means = []
    show(tab, "blend", "pair")
    for share in ("0", "50", "100"):
        put(tab, "mix", share)
        means.append(colourful(after(tab, 1)))
    assert canvas(tab).shape == (480, 640, 3)
    assert means[0] < means[1] < means[2]  # from visible to ironbow
    assert green(show(tab, "edges", "edges")) > green(hot) + 500
    show(tab, "inset", "inset")
    assert canvas(tab).shape == (480, 640, 3)

    controls = running.controls
    assert controls is not None
    assert controls.settings.stretch == "none"
    put(tab, "stretch", "temporal")
    put(tab, "score", "1")
    tab.until("document.getElementById('found').textContent === '0'")
    tab.value("document.getElementById('boxes').click()")
    assert running.fuser.stretch == "temporal"
    assert running.fuser.score_threshold == 1.0
    put(tab, "score", "0")
    tab.until("Number(document.getElementById('found').textContent) > 0")
    assert tab.console == []


def test_it_fits_a_phone_and_its_controls_have_names(running: Served, tabs: Callable[[], Tab]) -> None:
    tab = tabs()
    for width, dark in ((320, True), (390, False)):
        tab.size(width, 800, scale=2, phone=True, dark=dark)
        tab.open(f"http://{running.address}/")
        tab.value(LISTEN)
        tab.until("window.seen.length >= 1")
        assert tab.value("document.documentElement.scrollWidth") <= width
        small = tab.value(
            "[...document.querySelectorAll('.segments button, .icon, .swatches button')]"
            ".filter((one) => Math.min(one.clientWidth, one.clientHeight) < 30).length"
        )
        assert small == 0  # wide enough for a finger
    stacked = show(tab, "side", "pair")
    assert stacked.shape == (960, 640, 3)
    nodes = tab.ask("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "radio", "combobox", "slider", "switch", "textbox", "spinbutton")
    named = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert len(named) >= 18
    assert [node for node in named if not node.get("name", {}).get("value")] == []
    assert tab.console == []


def test_without_websockets_it_takes_motion_jpeg(running: Served, tabs: Callable[[], Tab]) -> None:
    tab = tabs()
    tab.ask(
        "Page.addScriptToEvaluateOnNewDocument",
        source="window.WebSocket = class { "
        "constructor() { setTimeout(() => this.onclose({code: 1006}), 1); } };",
    )
    tab.open(f"http://{running.address}/")
    tab.value(LISTEN)
    tab.until("document.getElementById('state').textContent.includes('MJPEG')")
    tab.value("document.getElementById('boxes').click()")  # one might stand in the mark
    after(tab, 20)  # until no picture with one is on its way
    numbers = [read_mark(after(tab, 8)) for _ in range(3)]
    assert numbers == sorted(set(numbers))
    show(tab, "infrared", "infrared")
    tab.until("document.getElementById('rate').textContent > 0")
    assert tab.console == []


def test_only_the_token_opens_it(finder_bundle_path: Path, tabs: Callable[[], Tab]) -> None:
    tab = tabs()
    with served(bundle.read(finder_bundle_path), token=TOKEN) as running:
        tab.open(f"http://{running.address}/")
        assert tab.until("document.getElementById('wrong').hidden")
        tab.open(f"http://{running.address}/#token=wrong")
        tab.until("location.pathname === '/login' && document.getElementById('wrong')?.hidden === false")
        tab.open(f"http://{running.address}/")
        tab.value("document.getElementById('token').value = 'wrong'; document.querySelector('form').submit()")
        tab.until("document.getElementById('wrong')?.hidden === false")
        assert tab.value("document.getElementById('canvas')") is None
        assert tab.value("fetch('/status.json').then((answer) => answer.status)") == 401
        tab.value(
            f"document.getElementById('token').value = '{TOKEN}'; document.querySelector('form').submit()"
        )
        tab.until("document.getElementById('canvas') !== null")
        for known in (True, False):  # a link opens it without a form, and leaves no token in sight
            other = tabs()
            if not known:
                other.ask("Network.clearBrowserCookies")
            other.open(f"http://{running.address}/#token={TOKEN}")
            other.until("document.getElementById('canvas') !== null && location.hash === ''")
            assert TOKEN not in other.value("location.href")
        assert TOKEN not in tab.value("location.href + document.cookie")
        tab.until("document.getElementById('state').textContent === 'waiting'")
        assert tab.value("fetch('/status.json').then((answer) => answer.status)") == 200


@pytest.mark.parametrize("kind", ["chessboard", "dots", "asymmetric-dots"])
def test_a_pattern_is_one_that_opencv_finds(running: Served, tabs: Callable[[], Tab], kind: str) -> None:
    tab = tabs()
    tab.size(390, 760, phone=True)
    columns, rows = (4, 11) if kind == "asymmetric-dots" else (7, 5)
    tab.open(f"http://{running.address}/pattern?kind={kind}&columns={columns}&rows={rows}")
    tab.until("document.getElementById('pattern').dataset.step > 0")
    picture = cv2.cvtColor(canvas(tab, "pattern"), cv2.COLOR_BGR2GRAY)
    if kind == "chessboard":
        found, points = cv2.findChessboardCorners(picture, (columns, rows))
    else:
        grid = cv2.CALIB_CB_SYMMETRIC_GRID if kind == "dots" else cv2.CALIB_CB_ASYMMETRIC_GRID
        found, points = cv2.findCirclesGrid(picture, (columns, rows), flags=grid)
    assert found
    assert len(points) == columns * rows
    assert tab.console == []
