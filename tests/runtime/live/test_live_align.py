"""Points picked on the page: what they do to the stream and the rig file, who may do it, and that nothing
asked breaks it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from asgi import Answer, ask, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge import bundle
from tdfusion_edge.cli import main
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration.fit import applied
from tdfusion_edge.runtime.calibration.rig_file import source_of
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.live.alignment import MOST_POINTS, Alignment, Rigged
from tdfusion_edge.runtime.live.app import About, make_app
from tdfusion_edge.runtime.live.token import Doorkeeper
from tdfusion_edge.runtime.pipeline.controls import Controls

TOKEN = "QZXQZXQZXQZXQZXQZXQZX"
OWN = {"origin": "http://127.0.0.1", "content-type": "application/json"}
KNOWN = np.array([[1.9, 0.06, 11.0], [-0.03, 2.02, -6.0], [1e-5, 2e-5, 1.0]])
IR, VIS = (160, 120), (320, 240)
RIG = """# on the mast
[cameras.ir0]
uri = "ir.png"
role = "infrared"

[cameras.vis0]
uri = "vis.png"

[registration] # old
homography = [[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]]
infrared_size = [160, 120]
visible_size = [320, 240]
distance_m = 9.0
baseline_m = [0.06, 0.0]
focal_px = 300.0

[sync]
tolerance_ms = 33.0 # two pictures
"""


def pictures() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return (
        rng.integers(7000, 9000, IR[::-1]).astype(np.uint16),
        cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), VIS, interpolation=cv2.INTER_CUBIC),
    )


def picked(count: int, off: dict[int, float] | None = None) -> list[list[float]]:
    """So many places of the known homography, to a tenth of a pixel; some of them wrong by so much."""
    ours = np.array(
        [(20, 15), (140, 18), (138, 100), (22, 96), (80, 60), (60, 25), (100, 90), (40, 60)], float
    )
    rows = np.concatenate([ours, applied(KNOWN, ours)], axis=1)[:count]
    for number, much in (off or {}).items():
        rows[number, 2] += much
    return np.round(rows, 1).tolist()  # type: ignore[no-any-return]


class Desk:
    """A page without a server, over two cameras that are pictures in a folder."""

    def __init__(self, folder: Path, fuser: Fuser, *, rigged: bool = True) -> None:
        self.folder, self.fuser = folder, fuser
        infrared, visible = pictures()
        cv2.imwrite(str(folder / "ir.png"), infrared)
        cv2.imwrite(str(folder / "vis.png"), visible)
        self.rig = folder / "rig.toml"
        if rigged:
            self.rig.write_text(RIG)
        said = "ir0,vis0" if rigged else f"{folder / 'ir.png'},{folder / 'vis.png'}"
        cameras = choose_cameras(said, self.rig if rigged else None)
        fuser.register(cameras.registration)
        self.about = About()
        self.controls = self.about.controls = Controls(fuser)
        source = source_of(self.rig if rigged else None, cameras)
        self.about.alignment = Alignment(Rigged(cameras, said, source), lambda: self.about.hub.newest)
        pair = Pair(Frame(infrared, 0, 0, "ir0"), Frame(visible, 0, 0, "vis0"))
        self.about.hub.offer(Result(0, pair, visible[..., 0]))
        self.open(None)

    def open(self, token: str | None) -> None:
        self.app = make_app(self.about, Doorkeeper(token, 8080), frozenset({"localhost", "rig.local"}))

    def post(self, path: str, body: Any, **more: Any) -> tuple[int, dict[str, Any]]:
        answer = self.raw(path, json.dumps(body).encode(), **more)
        return answer.status, json.loads(answer.body)

    def raw(self, path: str, body: bytes, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        given_headers = OWN if headers is None else headers
        return ask(self.app, f"/align/{path}", method="POST", headers=given_headers, body=body, **more)

    def still(self) -> tuple[dict[str, Any], Any, Any]:
        raw = ask(self.app, "/align/still").body
        end = 4 + int.from_bytes(raw[:4], "big")
        head = json.loads(raw[4:end])
        middle = end + head["infrared"]["bytes"]
        assert len(raw) == middle + head["visible"]["bytes"]
        shown = [cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_UNCHANGED)
                 for part in (raw[end:middle], raw[middle:])]  # fmt: skip
        return head, shown[0], shown[1]

    @property
    def told(self) -> dict[str, Any]:
        self.about._told = None
        return dict(json.loads(self.about.status())["alignment"])


@pytest.fixture
def fuser(mean_bundle: bundle.Bundle) -> Iterator[Fuser]:
    with Fuser(mean_bundle, threads=1, stretch="none") as made:
        yield made


@pytest.fixture
def desk(fuser: Fuser, tmp_path: Path) -> Desk:
    return Desk(tmp_path, fuser)


@pytest.fixture(scope="module")
def lasting(mean_bundle: bundle.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Fuser(mean_bundle, threads=1, stretch="none") as made:
        yield Desk(tmp_path_factory.mktemp("desk"), made)


def test_a_still_is_the_pair_as_its_cameras_gave_it(desk: Desk) -> None:
    head, infrared, visible = desk.still()
    assert (head["infrared"]["size"], head["visible"]["size"]) == ([*IR], [*VIS])
    assert infrared.shape == IR[::-1]
    counts, colours = pictures()
    order = np.argsort(counts.ravel(), kind="stable")
    assert (np.diff(infrared.ravel()[order].astype(int)) >= 0).all()  # brighter where it is warmer
    assert np.abs(visible.astype(int) - colours).mean() < 3
    assert head["homography"][0] == [2.0, 0.0, 0.5]


def test_points_are_tried_on_the_stream_and_taken_back(desk: Desk, fuser: Fuser) -> None:
    before = fuser.registration
    desk.still()
    status, fitted = desk.post("try", {"points": picked(8)})
    assert status == 200
    assert len(fitted["residuals_px"]) == 8
    assert max(fitted["residuals_px"]) < 0.2
    assert fuser.registration is before  # not before the loop does it
    desk.controls.apply(fuser)
    assert fuser.registration is not None
    found = np.array(fuser.registration.homography)
    grid = np.random.default_rng(0).uniform((0, 0), IR, (40, 2))
    assert np.linalg.norm(applied(found, grid) - applied(KNOWN, grid), axis=1).max() < 0.5
    assert desk.told["trying"]
    assert desk.rig.read_text() == RIG
    desk.post("try", {"points": picked(7)})
    assert desk.post("back", {}) == (200, {})
    desk.controls.apply(fuser)
    assert fuser.registration is before
    assert not desk.told["trying"]


def test_what_misfits_is_refused_with_its_residuals_and_changes_nothing(desk: Desk) -> None:
    desk.still()
    before = desk.controls.registration
    status, refusal = desk.post("try", {"points": picked(8, {5: 60.0})})
    assert status == 422
    assert "1 of 8 are not, point 6 is off by" in refusal["error"]
    assert int(np.argmax(refusal["residuals_px"])) == 5
    for points in (picked(3), [[9, 9, 9, 9]] * 4, [[x, 9, 2 * x, 9] for x in range(5)], [[9, 9, 9, 999]] * 5):
        assert desk.post("try", {"points": points})[0] == 422
    status, refusal = desk.post("save", {"points": picked(8, {5: 60.0})})
    assert status == 422
    assert refusal["command"].count("--point") == 8  # what was picked is not lost
    assert desk.controls.registration is before
    assert desk.rig.read_text() == RIG


def test_the_rig_file_is_the_one_that_the_command_writes(
    desk: Desk, fuser: Fuser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.still()
    points = picked(8, {2: 2.0})
    status, saved = desk.post("save", {"points": points, "distance_m": 6.5})
    assert (status, saved["file"]) == (200, "rig.toml")
    by_page = desk.rig.read_text()
    assert by_page.startswith("# on the mast\n")
    assert "tolerance_ms = 33.0 # two pictures" in by_page
    monkeypatch.chdir(desk.folder)
    desk.rig.write_text(RIG)
    words = [f"--point={','.join(map(str, point))}" for point in points]
    assert main(["calibrate", "--camera", "ir0,vis0", "--distance", "6.5", *words]) == 0
    assert desk.rig.read_text() == by_page
    capsys.readouterr()
    assert not desk.told["trying"]
    desk.post("back", {})  # what is saved is what was
    desk.controls.apply(fuser)
    assert fuser.registration == rig.read(desk.rig).registration


def test_what_somebody_else_wrote_meanwhile_stays(desk: Desk) -> None:
    desk.still()
    desk.rig.write_text(RIG.replace("33.0", "44.0").replace("0.06", "0.07"))
    assert desk.post("save", {"points": picked(8), "distance_m": 5})[0] == 200
    kept = rig.read(desk.rig)
    assert kept.sync.tolerance_ms == 44.0
    assert kept.registration is not None
    assert kept.registration.baseline_m == (0.07, 0.0)
    broken = RIG.replace("[sync]", "[sync")
    desk.rig.write_text(broken)
    status, refusal = desk.post("save", {"points": picked(8)})
    assert (status, desk.rig.read_text()) == (422, broken)
    assert "rig.toml" in refusal["error"]


def test_without_a_rig_file_the_command_is_told_that_makes_one(
    fuser: Fuser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TDFUSION_RIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    desk = Desk(tmp_path, fuser, rigged=False)
    desk.still()
    status, told = desk.post("save", {"points": picked(8), "distance_m": 4})
    assert (status, told["file"], desk.rig.exists()) == (200, None, False)
    words = shlex.split(told["command"])
    assert words[0] == "tdfusion-edge"
    assert main(words[1:]) == 0
    capsys.readouterr()
    made = rig.read(desk.rig).registration
    assert made is not None
    assert np.allclose(made.homography, told["homography"])
    assert "--output rig-2.toml" in desk.post("save", {"points": picked(8)})[1]["command"]  # it replaces none


def test_no_password_is_told(fuser: Fuser, tmp_path: Path) -> None:
    desk = Desk(tmp_path, fuser, rigged=False)
    assert desk.about.alignment is not None
    secret = "rtsp://joe:hunter2@10.0.0.5/ir"
    desk.about.alignment = Alignment(
        Rigged(choose_cameras(f"{secret},vis0"), f"{secret},vis0", None), lambda: desk.about.hub.newest
    )
    desk.still()
    status, told = desk.post("save", {"points": picked(8)})
    assert status == 200
    assert "10.0.0.5" in told["command"]
    assert "hunter2" not in json.dumps(told) + json.dumps(desk.told)


@pytest.mark.parametrize(
    ("headers", "client", "token", "status"),
    [
        (OWN, "127.0.0.1", False, 200),
        ({**OWN, "host": "localhost:8080", "origin": "http://localhost:8080"}, "::1", False, 200),
        ({**OWN, "host": "[::1]:8080", "origin": "http://[::1]:8080"}, "::ffff:127.0.0.1", False, 200),
        ({"content-type": "application/json"}, "127.0.0.1", False, 403),  # no page
        ({**OWN, "origin": "http://127.0.0.1:81"}, "127.0.0.1", False, 403),  # another page
        ({**OWN, "origin": "https://evil.example"}, "127.0.0.1", False, 403),
        ({**OWN, "origin": "null"}, "127.0.0.1", False, 403),
        ({**OWN, "sec-fetch-site": "cross-site"}, "127.0.0.1", False, 403),
        ({**OWN, "host": "evil.example", "origin": "http://evil.example"}, "127.0.0.1", False, 421),
        ({**OWN, "host": "rig.local", "origin": "http://rig.local"}, "127.0.0.1", False, 403),  # by a proxy
        ({**OWN, "x-forwarded-for": "10.0.0.9"}, "127.0.0.1", False, 403),
        ({**OWN, "forwarded": "for=10.0.0.9"}, "127.0.0.1", False, 403),
        ({**OWN, "host": "192.168.1.5", "origin": "http://192.168.1.5"}, "127.0.0.1", False, 403),
        (OWN, "192.168.1.9", False, 403),
        (OWN, "192.168.1.9", True, 200),
        ({**OWN, "host": "rig.local", "origin": "https://rig.local"}, "127.0.0.1", True, 200),  # by TLS
        ({**OWN, "host": "rig.local", "origin": "http://rig.local"}, "10.0.0.9", True, 200),
        ({"content-type": "application/json"}, "127.0.0.1", True, 403),
        ({"origin": "http://127.0.0.1", "content-type": "text/plain"}, "127.0.0.1", False, 415),
        ({"origin": "http://127.0.0.1"}, "127.0.0.1", False, 415),
    ],
)
def test_who_may_change_a_file(
    lasting: Desk, headers: dict[str, str], client: str, token: bool, status: int
) -> None:
    desk = lasting
    desk.rig.write_text(RIG)
    desk.open(TOKEN if token else None)
    assert desk.about.alignment is not None
    desk.about.alignment.still(desk.controls)
    if token:
        body = json.dumps({"points": picked(8)}).encode()
        for path in ("save", "try", "back"):
            assert desk.raw(path, body, headers=headers, client=client).status in (401, 403)
        headers = {**headers, "authorization": f"Bearer {TOKEN}"}
    for path in ("try", "save"):
        assert desk.post(path, {"points": picked(8)}, headers=headers, client=client)[0] == status
    assert desk.post("back", {}, headers=headers, client=client)[0] == (200 if status == 415 else status)
    assert (desk.rig.read_text() == RIG) == (status != 200)


def test_what_comes_too_early_or_is_not_there_is_refused_in_words(fuser: Fuser, tmp_path: Path) -> None:
    desk = Desk(tmp_path, fuser)
    assert "none was taken" in desk.post("try", {"points": picked(8)})[1]["error"]
    assert desk.raw("try", b" " * 20_000).status == 413
    newest, desk.about.hub._newest = desk.about.hub._newest, None
    assert ask(desk.app, "/align/still").status == 422
    assert newest is not None
    alone = Pair(None, newest.pair.visible)
    desk.about.hub.offer(Result(1, alone, newest.picture, degraded="infrared missing"))
    assert "infrared missing" in json.loads(ask(desk.app, "/align/still").body)["error"]
    desk.about.controls = None
    assert ask(desk.app, "/align/still").status == 409
    assert desk.post("try", {"points": picked(8)})[0] == 409
    assert ask(desk.app, "/align/try").status == 405


COORDINATES = st.integers(-2, 325) | st.floats(-1e9, 1e9, allow_nan=False)
BODIES = (
    st.binary(max_size=60)
    | st.builds(
        lambda rows, extra: json.dumps({"points": rows, **extra}).encode(),
        st.lists(st.tuples(*[COORDINATES] * 4), max_size=9)
        | st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=4, max_size=9)
        | st.just([[1, 1, 1, 1]] * (MOST_POINTS + 1)),
        st.sampled_from([{}, {"distance_m": 5}, {"distance_m": -1}, {"distance_m": 1e300}, {"more": 1}]),
    )
    | st.recursive(
        st.none() | st.floats() | st.text(max_size=8) | st.integers(),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["points", "x"]), inner),
        max_leaves=9,
    ).map(lambda data: json.dumps(data).encode())
)  # fmt: skip


@given(BODIES, st.sampled_from(["try", "save", "back"]))
@settings(max_examples=40, deadline=None)
def test_no_points_break_the_page_the_run_or_the_file(lasting: Desk, body: bytes, path: str) -> None:
    lasting.rig.write_text(RIG)
    lasting.open(None)
    lasting.still()
    before = lasting.controls.registration
    answer = lasting.raw(path, body)
    assert answer.status in (200, 400, 413, 422)
    assert b"Traceback" not in answer.body
    if answer.status != 200:
        assert json.loads(answer.body)["error"]
        assert lasting.controls.registration is before
    if answer.status != 200 or path != "save":
        assert lasting.rig.read_text() == RIG
    rig.read(lasting.rig)
    lasting.controls.apply(lasting.fuser)
    counts, colours = pictures()
    lasting.fuser(counts, colours)  # the run goes on with whatever was taken


def test_a_distance_moves_the_stream_where_the_rig_tells_how(desk: Desk, fuser: Fuser) -> None:
    def told(wish: dict[str, Any]) -> list[str]:
        answer = talk(desk.app, [json.dumps({"type": "change", **wish})])
        texts = [json.loads(message["text"]) for message in answer.messages if "text" in message]
        return [one["why"] for one in texts if one["type"] == "refused"]

    assert told({"distance_m": 3.0}) == []
    assert desk.controls.settings.distance_m == 3.0
    for wrong in (0.2, 0, -1, 1e9, "near"):
        assert told({"distance_m": wrong}), wrong
    assert desk.controls.settings.distance_m == 3.0
    desk.still()
    desk.post("try", {"points": picked(8)})  # at a distance that nobody told
    assert desk.controls.settings.distance_m is None
    assert "does not tell how infrared shifts" in told({"distance_m": 3.0})[0]
    desk.post("back", {})
    assert desk.controls.settings.distance_m == 3.0  # as it was
    desk.post("try", {"points": picked(8), "distance_m": 12.0})
    assert desk.controls.settings.distance_m == 12.0
    desk.controls.apply(fuser)


def test_points_without_a_distance_tell_that_other_distances_are_lost(desk: Desk) -> None:
    desk.still()
    assert desk.controls.settings.nearest_m is not None
    _, fitted = desk.post("try", {"points": picked(8)})
    assert desk.controls.settings.nearest_m is None
    assert any("other distances" in remark for remark in fitted["remarks"])
    _, fitted = desk.post("try", {"points": picked(8), "distance_m": 4.0})
    assert desk.controls.settings.nearest_m is not None
    assert not any("other distances" in remark for remark in fitted["remarks"])
