"""Health says what is so now, metrics say the same in Prometheus' words, tokens stay where they are."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from asgi import ask
from prometheus_client.parser import text_string_to_metric_families

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.live.address import Address, parse_address
from tdfusion_edge.runtime.live.app import About, make_app
from tdfusion_edge.runtime.live.health import alive, ready
from tdfusion_edge.runtime.live.metrics import exposition
from tdfusion_edge.runtime.live.token import Doorkeeper, read_token
from tdfusion_edge.runtime.pairing.health import CameraState
from tdfusion_edge.runtime.pipeline.monitor import Snapshot

LIVE = CameraState("live", 30.0, 0.02, 0, None)
SILENT = CameraState("silent", 0.0, 5.25, 0, None)
FAILING = CameraState("failing", 0.0, None, 3, "cam.local: refused")
FIGURES: dict[str, Any] = {
    "cameras": {
        "infrared": {"paired": 90, "late": 2, "failures": 0},
        "visible": {"paired": 90, "failures": 3},
    },
    "skew": {"median_ms": -2.5},
    "latency_ms": {"network": {"p50": 6.0, "p95": 7.0, "p99": 8.0, "max": 9.0}, "detect": {}},
    "degraded": {"held": 4},
    "detections": {'per"son\n': 7},
    "written": 88,
}


def run(infrared: CameraState = LIVE, visible: CameraState = LIVE, **fields: Any) -> Snapshot:
    given = {
        "running": True,
        "pictures": 90,
        "rate_hz": 30.0,
        "age_s": 0.03,
        "loop_age_s": 0.004,
        "figures": FIGURES,
    } | fields
    return Snapshot(cameras={"infrared": infrared, "visible": visible}, **given)


@pytest.mark.parametrize(
    ("snapshot", "since_s", "is_alive", "is_ready", "word"),
    [
        (run(), 60, True, True, None),
        (Snapshot(running=False), 1, True, False, "not begun"),
        (Snapshot(running=False), 1000, False, False, "not begun"),
        (run(running=False), 60, False, False, "ended"),
        (run(age_s=11.0, loop_age_s=11.0), 60, False, False, "the loop has not turned for 11 s"),
        (run(age_s=11.0), 60, True, False, "newest picture 11.0 s old"),
        (run(age_s=None), 60, True, False, "no picture yet"),
        (run(infrared=SILENT), 60, True, False, "infrared camera: silent, newest frame 5.2 s old"),
        (run(SILENT, SILENT, age_s=600.0), 900, True, False, "silent"),  # a restart finds them silent too
        (run(visible=FAILING), 60, True, False, "visible camera: failing, no frame yet"),
        (run(age_s=2.5), 60, True, False, "newest picture 2.5 s old"),
    ],
)
def test_a_run_is_as_well_as_its_newest_picture(
    snapshot: Snapshot, since_s: float, is_alive: bool, is_ready: bool, word: str | None
) -> None:
    life, readiness = alive(snapshot, since_s), ready(snapshot)
    assert (life.good, readiness.good) == (is_alive, is_ready)
    reasons = " ".join(life.reasons + readiness.reasons)
    assert word is None or word in reasons
    assert "cam.local" not in reasons


def test_answers_have_a_body_and_the_code_that_fits() -> None:
    about = About()
    app = make_app(about, Doorkeeper("x" * 20, 1), frozenset())
    for snapshot, codes in (
        (run(), (200, 200)),
        (run(SILENT), (200, 503)),
        (run(age_s=99.0, loop_age_s=99.0), (503, 503)),
    ):
        about.monitor.snapshot = lambda snapshot=snapshot: snapshot  # type: ignore[method-assign,misc]
        answers = [ask(app, path) for path in ("/healthz", "/readyz")]
        assert tuple(one.status for one in answers) == codes
        for one in answers:
            body = json.loads(one.body)
            assert body["age_s"] == snapshot.age_s
            assert (body["status"] == "failing") == bool(body["reasons"]) == (one.status == 503)
            assert "refused" not in one.body.decode()


def test_metrics_read_back_as_they_are() -> None:
    text = exposition(lambda: run(visible=FAILING), lambda: 3).decode()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["tdfusion_pictures_total",] == 90
    assert samples["tdfusion_page_viewers",] == 3
    assert samples["tdfusion_picture_age_seconds",] == 0.03
    assert samples["tdfusion_camera_state", ("camera", "visible"), ("state", "failing")] == 1
    assert samples["tdfusion_camera_state", ("camera", "visible"), ("state", "live")] == 0
    assert samples["tdfusion_camera_failures_total", ("camera", "visible")] == 3
    assert samples["tdfusion_camera_frames_total", ("camera", "infrared"), ("fate", "late")] == 2
    assert samples["tdfusion_latency_seconds", ("quantile", "0.99"), ("stage", "network")] == 0.008
    assert samples["tdfusion_skew_seconds",] == -0.0025
    assert samples["tdfusion_degraded_pictures_total", ("reason", "held")] == 4
    assert samples["tdfusion_detections_total", ("name", 'per"son\n')] == 7
    assert samples["tdfusion_outputs_written_total",] == 88
    assert not any("camera_age" in name[0] and ("camera", "visible") in name for name in samples)
    assert b"tdfusion_running 0.0" in exposition(lambda: Snapshot(running=False), lambda: 0)


def test_a_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.token"
    token = read_token(path)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path) == token
    assert read_token(tmp_path / "other") != token
    path.chmod(0o640)
    with pytest.raises(RequestError, match="chmod 600") as refused:
        read_token(path)
    assert token not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 600, "with a blank in the middle", "ü" * 20, "a\nb" * 20]
)
def test_what_is_no_token_is_refused_unread(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(RequestError, match="no token") as refused:
        read_token(path)
    assert not text or text not in str(refused.value)
    for place in (tmp_path, tmp_path / "none" / "token"):
        with pytest.raises(RequestError, match="token file"):
            read_token(place)


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True), ("9000", "127.0.0.1", 9000, True),
        (":9000", "127.0.0.1", 9000, True), ("localhost", "localhost", 8080, True),
        ("[::1]:81", "::1", 81, True), ("::1", "::1", 8080, True), ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:80", "::", 80, False), ("127.0.0.2", "127.0.0.2", 8080, True),
        ("rig.local:1", "rig.local", 1, False), ("192.168.1.5", "192.168.1.5", 8080, False),
    ],
)  # fmt: skip
def test_addresses_are_read(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse_address(text)
    assert address == Address(host, port)
    assert address.is_loopback == loopback
    assert parse_address(str(address)) == address
