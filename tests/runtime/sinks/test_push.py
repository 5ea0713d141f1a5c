"""The fused stream as a camera: pushed to GStreamer's RTSP server, which is killed, frozen and guarded."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sink_results import number_of, numbered, result
from streamed import Server, free_port, require_gstreamer, until

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.runtime.sinks import push
from tdfusion_edge.runtime.sinks.kinds import shown
from tdfusion_edge.runtime.sinks.push import PushSink
from tdfusion_edge.runtime.sinks.slate import slate

SIZE = (320, 240)


class Pushed:
    """Results, of which each one written has the next number."""

    def __init__(self, sink: PushSink) -> None:
        self.sink, self.count = sink, 0

    def write(self) -> None:
        self.sink.write(result(self.count, image=numbered(self.count % 1024, SIZE)))
        self.count += 1

    def until_sent(self, count: int) -> None:
        """Write until so many more were sent."""
        wanted = self.sink.state.sent + count

        def sent() -> bool:
            self.write()
            return self.sink.state.sent >= wanted

        until(sent)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    require_gstreamer()
    one = Server(tmp_path)
    yield one
    one.kill()


def numbers(server: Server) -> list[int]:
    return [number_of(picture) for picture in server.pictures() if picture.shape == SIZE[::-1]]


@pytest.mark.slow
def test_a_server_gets_the_pictures_in_order_and_a_slate_before_and_after_them(server: Server) -> None:
    sink = PushSink(server.url(), size=SIZE, reason=lambda: "infrared: unplugged")
    until(lambda: sink.state.slates >= 2)
    pushed = Pushed(sink)
    pushed.until_sent(20)
    until(lambda: len(numbers(server)) > 10)
    until(lambda: sink.state.offline and sink.state.slates >= 5)
    pushed.until_sent(10)
    sink.close()
    got = server.pictures()
    assert {picture.shape for picture in got} == {SIZE[::-1]}
    expected = slate(SIZE, "infrared: unplugged", 0)
    # The time in a slate is the moment's; the word and the reason are not.
    same = np.abs(got[0].astype(int) - expected) <= 24
    assert same.mean() > 0.97
    assert (np.abs(got[0].astype(int) - slate(SIZE, "", 0)) <= 24).mean() < same.mean()
    fresh = [number_of(one) for one in got if one.std(axis=0).max() < 20]  # bars, and no words
    assert fresh == sorted(fresh)
    assert len(set(fresh)) > 15
    assert sink.state.connections == 1


@pytest.mark.slow
def test_a_server_that_is_killed_gets_the_newest_pictures_when_it_is_back(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    sink = PushSink(server.url(), size=SIZE)
    pushed = Pushed(sink)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            pushed.until_sent(10)
            server.kill()
            until(lambda: pushed.write() or not sink.state.connected)
            failures, before = sink.state.failures, pushed.count
            until(lambda: pushed.write() or sink.state.failures > failures)  # noqa: B023
            assert sink.state.failure == "nobody listens there"
            server.start()
        pushed.until_sent(10)
    assert sink.state.connections == 3
    assert sink.state.failure is None
    until(lambda: any(number >= before % 1024 for number in numbers(server)))
    sink.close()
    assert [record.getMessage() for record in caplog.records if "again" in record.getMessage()]


@pytest.mark.slow
def test_a_frozen_server_is_given_up_and_holds_up_nobody(server: Server) -> None:
    sink = PushSink(server.url(), size=(160, 120), timeout_s=0.5)
    noise = [np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8) for seed in range(4)]
    count = iter(range(10**6))

    def write() -> None:
        number = next(count)
        sink.write(result(number, image=noise[number % 4]))

    until(lambda: write() or sink.state.sent >= 3)
    server.freeze()
    until(lambda: write() or sink.state.failures, 60, pause_s=0.004)
    assert sink.state.failure == "no answer in time"
    assert sink.state.skipped > 100
    sink.abort()


@pytest.mark.slow
def test_a_wrong_password_is_told_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    require_gstreamer()
    server = Server(tmp_path, "joe", "hunter2")
    try:
        for user, told in (("", "no user and password"), ("joe:hunter3@", "a wrong user or password")):
            with caplog.at_level(logging.DEBUG):
                sink = PushSink(server.url(user), size=SIZE)
                until(lambda: sink.state.failures)  # noqa: B023
            assert told in (sink.state.failure or "")
            with pytest.raises(SinkError, match="never reached") as failed:
                sink.close()
            assert "hunter" not in str(failed.value) + caplog.text + str(sink.counts())
        sink = PushSink(server.url("joe:hunter2@"), size=SIZE)
        Pushed(sink).until_sent(5)
        sink.close()
        assert "hunter" not in caplog.text + str(sink.counts())
    finally:
        server.kill()


def test_a_server_that_is_not_there_holds_up_nobody_and_is_told_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        sink = PushSink(f"rtsp://joe:hunter2@127.0.0.1:{free_port()}/live", size=(64, 64))
        pushed = Pushed(sink)
        until(lambda: pushed.write() or sink.state.failures)
        assert sink.state.failure == "nobody listens there"
        with pytest.raises(SinkError, match="was never reached: nobody listens there"):
            sink.close()
    assert "hunter2" not in caplog.text
    assert len(caplog.records) == 1
    sink.abort()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rtsp://u:secret@h:554/a?token=secret", "rtsp://***@h:554/a?***"),
        ("rtmp://live.example/app/secret-key", "rtmp://live.example/***"),
        ("srt://h:9000?streamid=publish:x:u:secret&passphrase=secret", "srt://h:9000?***"),
    ],
)
def test_an_address_is_told_without_its_secrets(url: str, told: str) -> None:
    assert shown(url) == told


@pytest.mark.parametrize("url", ["rtsp:///live", "rtsp://[::1/live", "rtsp://"])
def test_an_address_without_a_server_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="names no server"):
        PushSink(url)


def test_pauses_grow_and_a_refusal_waits_longest() -> None:
    pauses = [push._pause_s(OSError(), failures) for failures in range(1, 8)]
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize("size", [(160, 120), (640, 480), (1920, 1080)])
def test_a_slate_says_why_at_any_size(size: tuple[int, int]) -> None:
    one, other = slate(size, "infrared: silent", 0), slate(size, "visible: gone \u00e4\n" * 40, 0)
    assert one.shape == other.shape == size[::-1]
    assert (one != other).any()
    assert (slate(size, "", 0) != slate(size, "", 86_400_000_000_000)).any()


def test_datagrams_go_out_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, caplog.at_level(logging.WARNING):
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(20)
        sink = PushSink(f"udp://127.0.0.1:{listener.getsockname()[1]}", size=(64, 64))
        assert listener.recv(65536)[0] == 0x47  # a packet of MPEG-TS, of the slate
        sink.close()
    assert caplog.records == []
