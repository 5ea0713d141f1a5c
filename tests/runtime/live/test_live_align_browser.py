"""Places picked in a real browser, by mouse and by touch, reach the stream and the rig file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from served_run import Served, served

from benchmarks.live.chromium import INSTALL, Tab, browser, program
from tdfusion_edge import bundle
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration.fit import applied
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.live.alignment import Rigged

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason=f"no Chromium: {INSTALL}"),
]
RIG = """[cameras.ir0] # the simulated cameras lie on each other; this says something else
uri = "sim://ir?size=320x240"
role = "infrared"

[cameras.vis0]
uri = "sim://vis"

[registration]
homography = [[2.0, 0.0, 30.5], [0.0, 2.0, -19.5], [0.0, 0.0, 1.0]]
infrared_size = [320, 240]
visible_size = [640, 480]
distance_m = 8.0
baseline_m = [0.1, 0.0]
focal_px = 520.0
"""
TRUE = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1.0]])
PLACES = ((30.0, 40.0), (280.0, 30.0), (290.0, 210.0), (40.0, 200.0), (160.0, 120.0))
WIDTH = {"infrared": 320, "visible": 640}


@pytest.fixture(scope="module")
def tabs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Tab]]:
    with browser(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.fixture
def running(finder_bundle_path: Path, tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    rigged = Rigged(choose_cameras("ir0,vis0", path), "ir0,vis0", path)
    with served(bundle.read(finder_bundle_path), infrared="320x240", rigged=rigged) as run:
        run.begin()
        yield run, path


def opened(tab: Tab, running: Served) -> None:
    """The page, with two stills that wait for points."""
    tab.open(f"http://{running.address}/")
    tab.until("document.getElementById('state').textContent === 'live'", 90)
    tab.until("!document.getElementById('alignment').hidden")
    tab.value("document.querySelector('[data-view=edges]').click()")
    tab.value("document.getElementById('align-offer').click()")
    tab.until("document.querySelector('#still-visible .plate canvas').width > 300")


def point(tab: Tab, role: str, x: float, y: float) -> tuple[float, float]:
    """Where a place of a still is on the screen, in CSS pixels."""
    left, top, width = tab.value(
        f"{{ const one = document.querySelector('#still-{role} .plate canvas');"
        "one.scrollIntoView({block: 'center'});"
        "const box = one.getBoundingClientRect(); [box.left, box.top, box.width] }"
    )
    scale = width / WIDTH[role]
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


def click(tab: Tab, role: str, x: float, y: float) -> None:
    at_x, at_y = point(tab, role, x, y)
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        tab.ask("Input.dispatchMouseEvent", type=kind, x=at_x, y=at_y, **button)


def rows(tab: Tab) -> list[str]:
    return list(tab.value("[...document.querySelectorAll('#pairs li')].map((one) => one.innerText)"))


def error_of(found: rig.Registration | None) -> float:
    """How far the middle and the corners are off, visible pixels."""
    assert found is not None
    grid = np.array([(0, 0), (319, 0), (319, 239), (0, 239), (160, 120)], float)
    homography = np.array(found.homography)
    return float(np.linalg.norm(applied(homography, grid) - applied(TRUE, grid), axis=1).max())


def test_places_picked_by_mouse_reach_the_stream_and_the_file(
    running: tuple[Served, Path], tabs: Callable[[], Tab]
) -> None:
    run, path = running
    tab = tabs()
    tab.size(1280, 860)
    opened(tab, run)
    before = run.fuser.registration
    assert error_of(before) > 20
    for number, (x, y) in enumerate(PLACES):
        click(tab, "infrared", x, y)
        tab.until(f"document.querySelectorAll('#pairs li').length === {number + 1}")
        tab.until("document.getElementById('align-word').textContent.includes('visible')")
        assert run.fuser.registration is before or number == 4
        click(tab, "visible", 2 * x + 0.5, 2 * y + 0.5)
    tab.until("document.getElementById('align-figures').textContent.includes('RMS')")
    tab.until("document.querySelectorAll('#pairs [data-tone=good]').length === 5")
    assert len(rows(tab)) == 5
    tab.until("!document.getElementById('align-back').disabled")
    controls = run.controls
    assert controls is not None
    assert error_of(controls.registration) < 3
    pictures = run.page.monitor.snapshot().pictures
    tab.until(f"fetch('/status.json').then((a) => a.json()).then((s) => s.pictures > {pictures + 1})", 90)
    assert error_of(run.fuser.registration) < 3  # the loop has it
    assert path.read_text() == RIG

    click(tab, "infrared", 250, 150)  # a wrong one is refused, and undone
    click(tab, "visible", 60, 430)
    tab.until("document.getElementById('align-word').textContent.includes('lie on no homography')")
    assert tab.value("document.getElementById('align-save').disabled")
    tab.value("document.querySelector('#pairs li:last-child button').click()")
    tab.until("document.getElementById('align-figures').textContent.includes('RMS')")

    tab.value("document.getElementById('align-back').click()")
    tab.until("document.getElementById('align-back').disabled")
    assert controls.registration == before
    tab.value("document.getElementById('align-undo').click()")  # the wrong one is there again
    tab.until("document.getElementById('align-word').textContent.includes('lie on no homography')")
    for _ in range(2):
        tab.value("document.getElementById('align-undo').click()")
    tab.until("document.getElementById('align-figures').textContent.includes('RMS')")
    tab.value("document.getElementById('align-save').click()")
    tab.until("document.getElementById('align-saved').textContent.includes('Saved to rig.toml')")
    made = rig.read(path).registration
    assert error_of(made) < 3
    assert path.read_text().startswith(RIG.splitlines()[0])
    assert made is not None
    assert made.baseline_m == (0.1, 0.0)
    assert controls.registration == made
    # The refusals that were provoked stand in the browser's own log, and nothing else.
    assert all("422" in line and "/align/try" in line for line in tab.console), tab.console


def test_a_finger_picks_and_a_slider_of_distance_moves(
    running: tuple[Served, Path], tabs: Callable[[], Tab]
) -> None:
    run, _ = running
    tab = tabs()
    tab.size(390, 844, scale=2, phone=True)
    tab.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    tab.open(f"http://{run.address}/")
    tab.until("!document.getElementById('distance-row').hidden", 90)
    assert tab.value("document.getElementById('distance-value').textContent") == "8.0 m"
    controls = run.controls
    assert controls is not None
    tab.value(
        "{ const one = document.getElementById('distance'); one.value = '1';"
        " one.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    tab.until("document.getElementById('distance-value').textContent === 'far'")
    tab.until("fetch('/status.json').then((a) => a.json()).then((s) => s.settings.distance_m > 50000)")

    opened(tab, run)
    for role in ("infrared", "visible"):
        x, y = point(tab, role, 100, 80)
        tab.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        tab.ask("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x + 25, "y": y}])
        assert not tab.value(f"document.querySelector('#still-{role} .loupe').hidden")
        tab.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        tab.until(f"document.querySelector('#still-{role} .loupe').hidden")
    [row] = rows(tab)
    assert "…" not in row
    # A finger is followed at less than its own pace: it hides what it is on.
    scale = tab.value("document.querySelector('#still-infrared .plate canvas').clientWidth / 320")
    first = float(row.split("\n")[1].split(",")[0])
    assert 100 < first < 100 + 25 / scale - 1
    assert tab.value("document.documentElement.scrollWidth") <= 390
    small = tab.value(
        "[...document.querySelectorAll('#align button')]"
        ".filter((one) => one.offsetParent && Math.min(one.clientWidth, one.clientHeight) < 30).length"
    )
    assert small == 0
    assert tab.console == []


def test_what_is_saved_at_once_is_told_and_other_pages_keep_their_trials(
    running: tuple[Served, Path], tabs: Callable[[], Tab]
) -> None:
    run, path = running
    tab = tabs()
    tab.size(1280, 860)
    opened(tab, run)
    controls = run.controls
    assert controls is not None
    before = controls.registration
    for x, y in PLACES:
        click(tab, "infrared", x, y)
        click(tab, "visible", 2 * x + 0.5, 2 * y + 0.5)
    tab.until("document.getElementById('align-figures').textContent.includes('RMS')")
    tried = controls.registration
    assert tried != before

    other = tabs()  # which has too few points to try anything, and takes nothing back
    other.size(1280, 860)
    opened(other, run)
    other.until("!document.getElementById('align-back').disabled")
    click(other, "infrared", 30, 40)
    other.until("document.querySelectorAll('#pairs li').length === 1")
    other.value("new Promise((done) => { setTimeout(() => fetch('/align/still').then(done), 250); })")
    assert controls.registration == tried

    tab.value(
        "{ const one = document.getElementById('align-distance'); one.value = '0.01';"
        " one.dispatchEvent(new Event('change', {bubbles: true})); }"
    )
    tab.until("document.getElementById('align-word').textContent.includes('a number of metres')", 5)
    assert tab.value("document.getElementById('align-save').disabled")
    tab.value(  # a distance that is typed is taken as the button is pressed
        "{ const one = document.getElementById('align-distance'); one.value = '5';"
        " one.dispatchEvent(new Event('change', {bubbles: true}));"
        " document.getElementById('align-save').click(); }"
    )
    tab.until("document.getElementById('align-saved').textContent.includes('Saved to rig.toml')", 5)
    tab.value("new Promise((done) => { setTimeout(() => fetch('/align/still').then(done), 250); })")
    assert tab.value("fetch('/status.json').then((a) => a.json()).then((s) => !s.alignment.trying)")
    made = rig.read(path).registration
    assert made is not None
    assert made.distance_m == 5

    tab.value(  # the page outlives the run; the next one has cameras of another size
        "{ const real = window.fetch; window.fetch = async (...asked) => {"
        " const raw = await (await real(...asked)).arrayBuffer();"
        " if (asked[0] !== '/align/still') return new Response(raw);"
        " const length = new DataView(raw).getUint32(0);"
        " const told = new TextDecoder().decode(new Uint8Array(raw, 4, length));"
        " const head = told.replace('[640,480]', '[480,640]');"
        " const made = new Uint8Array(raw); made.set(new TextEncoder().encode(head), 4);"
        " return new Response(made); }; document.getElementById('align-fresh').click(); }"
    )
    tab.until("document.querySelectorAll('#pairs li').length === 0")
    click(tab, "infrared", 30, 40)
    click(tab, "visible", 60, 80)
    tab.until("document.querySelectorAll('#pairs li').length === 1", 5)
    assert "…" not in rows(tab)[0]
    assert tab.console == []
