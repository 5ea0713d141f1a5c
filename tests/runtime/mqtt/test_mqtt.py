"""MQTT: addresses and queues here, everything else against a real mosquitto that dies, stalls and refuses."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from broker import PASSWORD, USER, Broker, Listener, needs_mosquitto, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_results import result

from tdfusion_edge.cli import main
from tdfusion_edge.errors import InputMissing, RequestError, SinkError
from tdfusion_edge.install import install_command
from tdfusion_edge.observations import Event
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.mqtt import outbox
from tdfusion_edge.runtime.mqtt.address import parse
from tdfusion_edge.runtime.mqtt.connection import Connection
from tdfusion_edge.runtime.mqtt.outbox import Message, Outbox
from tdfusion_edge.runtime.mqtt.tables import Mqtt
from tdfusion_edge.runtime.pipeline.monitor import Monitor
from tdfusion_edge.runtime.sinks.mqtt import MqttSink

# --- addresses -------------------------------------------------------------------------------------


def test_an_address_says_everything() -> None:
    found = parse("mqtt://rig:p%40ss@broker.local:1884/site/rig%201")
    assert (found.host, found.port, found.tls, found.topic) == ("broker.local", 1884, False, "site/rig 1")
    assert (found.user, found.password, found.nearby) == ("rig", "p@ss", False)
    assert found.said == "mqtt://broker.local:1884/site/rig 1"
    assert "p@ss" not in repr(found)
    assert parse("mqtt://rig:a/b?c#d@e%@h/t").password == "a/b?c#d@e%"


def test_what_is_not_said_has_a_default() -> None:
    found = parse("MQTTS://[::1]")
    assert (found.host, found.port, found.tls, found.topic) == ("::1", 8883, True, "tdfusion-edge")
    assert (found.user, found.password, found.nearby) == (None, None, True)


def test_a_password_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("s p@ss\r\nmore\n")
    (tmp_path / "none").touch()
    table = Mqtt(user="rig", password_file=str(tmp_path / "word"))
    assert (parse("mqtt://h", table).user, parse("mqtt://h", table).password) == ("rig", "s p@ss")
    assert parse("mqtt://other:mine@h", table).password == "mine"
    assert parse(f"mqtt://u@h?password_file={tmp_path / 'word'}").password == "s p@ss"
    for name in ("none", "nowhere", "."):
        with pytest.raises(InputMissing, match="the password's file"):
            parse("mqtt://u@h", Mqtt(password_file=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("address", "tells"),
    [
        ("mqtt://", "no host"),
        ("mqtt://h:0x/t", "a host or port that is none"),
        ("mqtt://h:70000", "a host or port that is none"),
        ("mqtt://h/a/#", "more behind the topic"),
        ("mqtt://h/a/%23", "a topic with '#' in it"),
        ("mqtt://h/a/+/b", "a topic with '+' in it"),
        ("mqtt://h/$SYS", "a topic with '$' in it"),
        ("mqtt://h/" + "x" * 1001, "a topic that is too long"),
        ("mqtt://:word@h/t", "a password without a user"),
        ("mqtt://h?qos=2", "The only option is password_file"),
        ("mqtt://[::1", "a host or port that is none"),
    ],
)
def test_an_address_that_is_none_is_refused(address: str, tells: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(address)
    assert tells in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30).filter(lambda rest: "QZX" not in rest), st.text("QXZ~!$*+.-_", max_size=8))
def test_whatever_stands_there_no_secret_comes_out(rest: str, secret: str) -> None:
    try:
        found = parse(f"mqtt://user:QZX{secret}@host{rest}")
        said = found.said + repr(found).replace(f"user={found.user!r}", "")
    except RequestError as error:
        said = str(error)
    assert "QZX" not in said


def test_without_paho_the_command_that_helps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(RequestError) as caught:
        MqttSink("mqtt://127.0.0.1:1/t")
    assert install_command("mqtt") in str(caught.value)


def test_an_unknown_address_is_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--camera", "ir0,vis0", "-o", "amqp://h/t"]) == 2
    said = capsys.readouterr().err
    assert "amqp://h/t: nothing can be pushed there" in said
    assert "mqtt://" in said


# --- queues ----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["event", "record", "take"]), max_size=60))
def test_events_come_in_order_and_all_that_is_missing_is_counted(steps: list[str]) -> None:
    box, put, taken = Outbox(), {0: 0, 1: 0}, {0: list[int](), 1: list[int]()}
    limits = {0: outbox.MOST_RECORDS, 1: 5}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "MOST_EVENTS", limits[1])
        for step in steps:
            if step == "take":
                message = box.take()
                if message is not None:
                    taken[message.qos].append(int(message.payload))
                    assert message.qos or not box.waiting[1], "events go first"
                continue
            qos = int(step == "event")
            (box.put_event if qos else box.put_record)(Message("t", str(put[qos]).encode(), qos))
            put[qos] += 1
            assert box.waiting[qos] <= limits[qos]
    for qos, dropped in ((0, box.dropped_records), (1, box.dropped_events)):
        assert taken[qos] == sorted(set(taken[qos]))
        assert len(taken[qos]) + dropped + box.waiting[qos] == put[qos]


# --- a real broker ---------------------------------------------------------------------------------


def eventful(index: int) -> Result:
    """A result with one event, whose track tells its number."""
    event = Event("enter", "gate", index, track=index + 1, name="person")
    return replace(result(index), events=(event,))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path)
    yield started
    started.kill()


@pytest.fixture
def table(tmp_path: Path) -> Mqtt:
    (tmp_path / "word").write_text(PASSWORD)
    return Mqtt(user=USER, password_file=str(tmp_path / "word"), status_s=0.5)


def address(broker: Broker) -> str:
    return f"mqtt://127.0.0.1:{broker.port}/site/rig"


def wait_for_the_end_of(sink: MqttSink) -> None:
    wait_for(lambda: sink._connection._client._thread is None, "paho's thread ends")


def seen_by(listener: Listener) -> list[int]:
    return tracks(listener.of("site/rig/events"))


def tracks(payloads: list[bytes]) -> list[int]:
    return [json.loads(one)["track"] for one in payloads]


def test_that_the_rig_is_online_is_no_event_that_waits() -> None:
    box = Outbox()
    connection = Connection(parse("mqtt://h/t"), Mqtt(), box, lambda: Message("t/status", b"{}", 0))
    connection._news.append(True)
    connection._read_notes()
    assert connection.unfinished == 0
    connection._send(Message("t/events", b"{}", 1))
    assert connection.unfinished == 1


@needs_mosquitto
@pytest.mark.slow
def test_records_events_state_and_status_arrive(broker: Broker, table: Mqtt) -> None:
    with closing(Listener(broker.port)) as listener:
        sink = MqttSink(address(broker), table=table, monitor=Monitor())
        for index in range(20):
            sink.write(eventful(index))
            wait_for(lambda: sink.figures()["waiting_records"] == 0, "a record is taken")
        wait_for(lambda: len(listener.of("site/rig/status")) > 1, "the state is told again and again")
        sink.close()
        sink.close()
        wait_for(lambda: b"offline" in listener.of("site/rig/state"), "the end is told")
        assert listener.of("site/rig/state") == [b"online", b"offline"]
        assert tracks(listener.of("site/rig/events")) == [*range(1, 21)]
        records = [json.loads(one) for one in listener.of("site/rig/detections")]
        assert [one["index"] for one in records] == [*range(20)]
        assert records[3]["events"][0]["track"] == 4
        status = json.loads(listener.of("site/rig/status")[-1])
        assert (status["running"], status["cameras"], status["messages"]["dropped_records"]) == (False, {}, 0)
    with closing(Listener(broker.port)) as late:
        wait_for(lambda: late.got, "what is retained comes")
        late.settle()
        assert late.got == [("site/rig/state", b"offline", True)], "nothing that says that it goes on"


@needs_mosquitto
@pytest.mark.slow
def test_a_broker_that_dies_and_returns_misses_no_event(
    broker: Broker, table: Mqtt, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MqttSink(address(broker), table=table)
    with closing(Listener(broker.port)) as listener:
        numbers = iter(range(10_000))
        for _ in range(2):
            for _ in range(30):
                sink.write(eventful(next(numbers)))
            sent = len(listener.of("site/rig/events"))
            wait_for(lambda least=sent: len(listener.of("site/rig/events")) > least, "events arrive")  # type: ignore[misc]
            wait_for(lambda: sink.figures()["waiting_events"] == 0, "the broker has all of them")
            last = next(numbers)
            sink.write(eventful(last))
            wait_for(
                lambda last=last: last + 1 in tracks(listener.of("site/rig/events")), "so has the listener"
            )  # type: ignore[misc]
            listener.again()
            broker.kill()
            for _ in range(200):  # as many as come, without waiting for anybody
                sink.write(eventful(next(numbers)))
            broker.start()
            listener.back()
        count = next(numbers)
        wait_for(lambda: sink.figures()["waiting_events"] == 0, "all events go out")
        sink.close()
        wait_for(lambda: count in tracks(listener.of("site/rig/events")), "the last one arrives")
        got = tracks(listener.of("site/rig/events"))
        # At least once, and in order: what was on its way may come twice.
        assert [one for number, one in enumerate(got) if one not in got[:number]] == [*range(1, count + 1)]
        assert sink.figures()["dropped_events"] == 0
        assert sink.figures()["dropped_records"] > 0
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "the connection broke" in said
    assert "connected" in said
    assert PASSWORD not in said


@needs_mosquitto
@pytest.mark.slow
def test_a_broker_that_stands_still_delays_nothing(broker: Broker, table: Mqtt) -> None:
    sink = MqttSink(address(broker), table=table)
    wait_for(lambda: sink.figures()["sent"] > 0, "it is connected")
    broker.pause(True)
    try:
        for index in range(3000):
            sink.write(eventful(index))
        figures = sink.figures()
        assert figures["dropped_records"] > 2900
        assert figures["waiting_events"] <= outbox.MOST_EVENTS + 16
        assert figures["dropped_events"] >= 3000 - outbox.MOST_EVENTS - 16
    finally:
        broker.pause(False)
    wait_for(lambda: sink.figures()["waiting_events"] == 0, "the rest goes out")
    sink.close()


@needs_mosquitto
@pytest.mark.slow
def test_a_wrong_password_is_told_once_and_ends_in_an_error(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MqttSink(f"mqtt://{USER}:wrong-QZX@127.0.0.1:{broker.port}/t")
    sink.write(eventful(0))
    wait_for(lambda: caplog.records, "it is told")
    wait_for(
        lambda: (Path(broker._folder) / "log").read_text().count("not authorised") > 1, "it is tried again"
    )
    with pytest.raises(SinkError) as caught:
        sink.close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "it refuses user or password" in said[0]
    assert "nothing was sent, it refuses user or password" in str(caught.value)
    assert "QZX" not in said[0] + str(caught.value)


@needs_mosquitto
@pytest.mark.slow
def test_the_state_is_offline_where_the_process_dies(broker: Broker, tmp_path: Path) -> None:
    script = (
        "import sys, threading\n"
        "from tdfusion_edge.runtime.sinks.mqtt import MqttSink\n"
        "sink = MqttSink(sys.argv[1])\n"
        "threading.Event().wait()\n"
    )
    (tmp_path / "word").write_text(PASSWORD)
    to = f"mqtt://{USER}@127.0.0.1:{broker.port}/t?password_file={tmp_path / 'word'}"
    with closing(Listener(broker.port)) as listener:
        child = subprocess.Popen([sys.executable, "-c", script, to], env=os.environ)
        try:
            wait_for(lambda: listener.of("t/state") == [b"online"], "it is there")
            wait_for(lambda: listener.of("t/status"), "it tells how it stands")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        wait_for(lambda: listener.of("t/state") == [b"online", b"offline"], "its will is done")
    with closing(Listener(broker.port)) as late:
        wait_for(lambda: late.got, "what is retained comes")
        late.settle()
        assert late.got == [("t/state", b"offline", True)], "nothing that says that it goes on"


@needs_mosquitto
@pytest.mark.slow
# paho leaves the socket of a handshake that failed to the collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")
def test_tls_trusts_only_what_it_is_told_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
        check=True, capture_output=True,
    )  # fmt: skip
    broker = Broker(tmp_path, (certificate, key))
    (tmp_path / "word").write_text(PASSWORD)
    known = Mqtt(user=USER, password_file=str(tmp_path / "word"), ca_file=str(certificate))
    try:
        sink = MqttSink(f"mqtts://127.0.0.1:{broker.port}/t", table=known)
        sink.write(eventful(0))
        wait_for(lambda: sink.figures()["sent"] >= 3, "state, status and event arrive")
        sink.close()
        assert not caplog.records
        for to, stranger, tells in (
            ("mqtts", Mqtt(), "its certificate is not trusted"),
            ("mqtt", Mqtt(), "it ends the connection at once"),
        ):
            caplog.clear()
            sink = MqttSink(f"{to}://127.0.0.1:{broker.port}/t", table=stranger)
            wait_for(lambda: caplog.records, "it is told")
            with pytest.raises(SinkError):
                sink.close()
            assert tells in caplog.records[0].getMessage()
            wait_for_the_end_of(sink)
            gc.collect()
    finally:
        broker.kill()


@needs_mosquitto
@pytest.mark.slow
def test_a_run_tells_a_broker(broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "word").write_text(PASSWORD)
    (tmp_path / "rig.toml").write_text(
        '[cameras.ir0]\nuri = "sim://ir?depth=16"\nradiometry = { scale = 0.04 }\n'
        '[cameras.vis0]\nuri = "sim://vis"\n'
        '[zones.all]\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\nunits = "fraction"\n'
        "[measure.road]\nspot = [320, 400]\nabove = -50\n"
        f'[mqtt]\nuser = "{USER}"\npassword_file = "{tmp_path / "word"}"\nstatus_s = 0.5\n'
    )
    with closing(Listener(broker.port)) as listener:
        rig, to = str(tmp_path / "rig.toml"), f"mqtt://127.0.0.1:{broker.port}/t"
        assert main(["run", "--camera", "ir0,vis0", "--rig", rig, "--seconds", "3", "-o", to, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        wait_for(lambda: b"offline" in listener.of("t/state"), "the end is told")
        kinds = {json.loads(one)["event"] for one in listener.of("t/events")}
        assert {"enter", "above"} <= kinds
        assert json.loads(listener.of("t/detections")[-1])["temperatures"]["road"]["mean"] > -50
        states = [json.loads(one) for one in listener.of("t/status")]
        assert any(set(one["cameras"]) == {"infrared", "visible"} for one in states)
        running = [one["running"] for one in states]
        assert True in running
        assert not running[-1], "the end is told"
        told = report["outputs"][to]
        detections = len(listener.of("t/detections"))
        assert detections + told["dropped"]["records"] == report["pictures"]
        assert told["sent"] > detections + len(listener.of("t/events"))
        assert (told["dropped"]["events"], told["unacknowledged"]) == (0, {"events": 0})


@needs_mosquitto
@pytest.mark.slow
def test_a_sink_that_is_aborted_ends(broker: Broker, table: Mqtt, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sink = MqttSink(address(broker), table=table)
    sink.write(eventful(0))
    sink.abort()
    wait_for(lambda: not sink._connection._thread.is_alive(), "its thread ends")
