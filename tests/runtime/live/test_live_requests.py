"""The live page's requests: who gets in, what is refused, and that nothing asked breaks it."""

from __future__ import annotations

import json
import string
from functools import cache
from pathlib import Path

import pytest
from asgi import Answer, ask, talk
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_results import result

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.live.address import Address
from tdfusion_edge.runtime.live.app import About, make_app
from tdfusion_edge.runtime.live.guard import HEADERS, App, is_same
from tdfusion_edge.runtime.live.hub import MOST_VIEWERS
from tdfusion_edge.runtime.live.server import Page
from tdfusion_edge.runtime.live.token import Doorkeeper
from tdfusion_edge.runtime.live.views import View

TOKEN = "QZXQZXQZXQZXQZXQZXQZX"
PATHS = (
    "/",
    "/login",
    "/pattern",
    "/healthz",
    "/readyz",
    "/metrics",
    "/status.json",
    "/live",
    "/stream.mjpg",
)
SECRET_PATHS = ("/", "/metrics", "/status.json", "/stream.mjpg", "/live", "/nothing")
WORDS = st.text(st.characters(max_codepoint=255), max_size=40)


@cache
def page(token: str | None = None) -> App:
    return make_app(About(), Doorkeeper(token, 8080), frozenset({"localhost", "rig.local"}))


def heard(answer: Answer) -> str:
    return repr((answer.headers, answer.body, answer.messages))


def test_what_is_there_is_given_with_headers_that_keep_others_out() -> None:
    for path, kind in (("/", "text/html"), ("/static/page.js", "text/javascript"), ("/pattern", "text/html")):
        answer = ask(page(), path, query=b"kind=chessboard&columns=7")
        assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, kind)
        assert {key: answer.headers[key] for key in HEADERS} == HEADERS
        assert b"http:" not in answer.body.replace(b"http://www.w3.org", b"")  # nothing from outside


def test_scripts_and_styles_stand_in_files() -> None:
    """The policy forbids them in the page: one that stood there would silently do nothing."""
    for path in ("/", "/login", "/pattern"):
        text = ask(page(), path).body.decode()
        assert "<style" not in text
        assert "style=" not in text
        assert " onclick" not in text
        for part in text.split("<script")[1:]:
            assert part.split(">", 1)[1].startswith("</script>")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200), ("[::1]:8080", 200), ("192.168.1.7:9000", 200), ("localhost", 200),
        ("rig.local:8080", 200), ("evil.example", 421), ("evil.example:8080", 421), ("", 421), ("[::1", 421),
        ("127.0.0.1.evil.example", 421), ("a@127.0.0.1", 421), ("evil.example/127.0.0.1", 421),
    ],
)  # fmt: skip
def test_a_name_that_is_none_of_ours_is_turned_away(host: str, status: int) -> None:
    assert ask(page(), "/status.json", headers={"host": host}).status == status


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1"}, True),
        ({"origin": "http://127.0.0.1:81"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "websocket"}, False),
        ({"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}, True),
    ],
)
def test_a_socket_is_for_this_page_alone(headers: dict[str, str], good: bool) -> None:
    first = talk(page(), [], headers=headers).messages[0]
    assert first["type"] == ("websocket.accept" if good else "websocket.close")


def test_other_pages_may_link_here_and_nothing_else() -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    image = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert ask(page(), "/", headers=link).status == 200
    assert ask(page(), "/", headers=link | {"sec-fetch-dest": "iframe"}).status == 403
    assert ask(page(), "/stream.mjpg", headers=image).status == 403
    assert ask(page(TOKEN), "/login", method="POST", headers={"origin": "http://evil.example"}).status == 403


def test_without_the_token_nothing_of_the_cameras_is_seen() -> None:
    for path in SECRET_PATHS:
        assert ask(page(TOKEN), path).status == 401, path
        for header in ("Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}"):
            assert ask(page(TOKEN), path, headers={"authorization": header}).status == 401, path
    assert b"<form" in ask(page(TOKEN)).body
    assert talk(page(TOKEN), []).messages[0]["type"] == "websocket.close"
    assert ask(page(TOKEN), "/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status == 200
    assert json.loads(ask(page(TOKEN), "/healthz").body)["status"] == "ok"


def test_the_form_gives_a_cookie_that_opens_and_does_not_hold_the_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdfusion_edge.runtime.live.app.WRONG_S", 0)
    wrong = ask(page(TOKEN), "/login", method="POST", body=b"token=wrong")
    assert wrong.status == 401
    assert "set-cookie" not in wrong.headers
    right = ask(page(TOKEN), "/login", method="POST", body=f"token={TOKEN}".encode())
    cookie = right.headers["set-cookie"]
    assert (right.status, right.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    ticket = {"cookie": cookie.split(";")[0]}
    assert ask(page(TOKEN), "/status.json", headers=ticket).status == 200
    assert talk(page(TOKEN), [], headers=ticket).messages[0]["type"] == "websocket.accept"
    other = make_app(About(), Doorkeeper(TOKEN + "2", 8080), frozenset())
    assert ask(other, "/status.json", headers=ticket).status == 401
    assert ask(page(TOKEN), "/login", method="POST", body=b"token=" + b"x" * 9000).status == 413


@given(
    st.one_of(
        st.sampled_from(PATHS),
        st.text(string.printable, max_size=40).map("/".__add__),
        st.sampled_from(["/static/../app.py", "/static/..%2f..%2fapp.py", "/static//etc/passwd", "/static/.",
                         "/static/page.js/../../../rig.py", "/static/\x00", "//static/page.js", "/static/ä"]),
    ),
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"]),
    st.dictionaries(
        st.sampled_from(["host", "origin", "cookie", "authorization", "sec-fetch-site", "sec-fetch-mode",
                         "content-type", "content-length", "range", "x-forwarded-host"]), WORDS, max_size=4),
    st.binary(max_size=300), st.binary(max_size=60),
)  # fmt: skip
@settings(max_examples=150)
def test_no_request_breaks_it_or_gets_past_the_door(
    path: str, method: str, headers: dict[str, str], body: bytes, query: bytes
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tdfusion_edge.runtime.live.app.WRONG_S", 0)
        answer = ask(page(TOKEN), path, method=method, headers=headers, body=body, query=query)
    assert answer.status in (200, 400, 401, 403, 404, 405, 413, 421, 503)
    assert TOKEN not in heard(answer)
    assert Doorkeeper(TOKEN, 8080).ticket not in heard(answer)
    for word in (b"Traceback", b"root:", b"import "):
        assert word not in answer.body or path.startswith("/static/")
    open_ = path in ("/login", "/pattern", "/healthz", "/readyz") or path.startswith("/static/")
    assert open_ or answer.status in (401, 403, 421)


WISHES = (
    st.binary(max_size=80)
    | st.text(max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: st.dictionaries(
            st.sampled_from(["type", "view", "kind", "palette", "hottest", "counts", "boxes", "detail", "at",
                             "stretch", "score_threshold"]),
            inner | st.sampled_from(["view", "taken", "change", "ping", "pair"]), max_size=4),
        max_leaves=8,
    ).map(json.dumps)
)  # fmt: skip


@given(st.lists(WISHES, max_size=6))
@settings(max_examples=40)
def test_no_message_breaks_the_socket(wishes: list[str | bytes]) -> None:
    about = About()
    about.hub.offer(result(3))
    app = make_app(about, Doorkeeper(None, 8080), frozenset())
    answer = talk(app, wishes)
    kinds = [message["type"] for message in answer.messages]
    assert kinds[0] == "websocket.accept"
    assert set(kinds) <= {"websocket.accept", "websocket.send", "websocket.close"}
    assert len(about.hub) == 0
    for message in answer.messages:
        if "text" in message:
            assert json.loads(message["text"])["type"] in ("status", "refused", "pong")


def test_a_wish_that_is_none_is_refused_in_words() -> None:
    for wish in ('{"type": "view", "view": {"kind": "naked"}}', '{"type": "change", "stretch": "none"}', "{"):
        said = [json.loads(m["text"]) for m in talk(page(), [wish]).messages if "text" in m]
        assert any(one["type"] == "refused" and one["why"] for one in said), wish


def test_there_is_room_for_so_many() -> None:
    about = About()
    app = make_app(about, Doorkeeper(None, 8080), frozenset())
    for _ in range(MOST_VIEWERS):
        about.hub.attach(View(), lambda packet: None)
    close = talk(app, []).messages[-1]
    assert (close["type"], close["code"]) == ("websocket.close", 1013)
    assert ask(app, "/stream.mjpg").status == 503


def test_an_unknown_view_of_the_motion_jpeg_is_an_error_that_names_it() -> None:
    answer = ask(page(), "/stream.mjpg", query=b"kind=naked")
    assert answer.status == 400
    assert "naked" in answer.body.decode()
    assert ask(page(), "/stream.mjpg", method="HEAD").status == 200


def test_origins_are_compared_as_a_whole() -> None:
    assert is_same("http://rig.local:8080", "rig.local:8080")
    assert is_same("https://rig.local", "rig.local:443")
    assert not is_same("http://rig.local:8080", "rig.local")
    assert not is_same("http://rig.local.evil:8080", "rig.local:8080")
    assert not is_same("file://", "")


def test_every_file_of_the_page_is_in_the_wheel() -> None:
    static = Path(__file__).resolve().parents[3] / "runtime" / "live" / "static"
    for file in static.iterdir():
        assert ask(page(), f"/static/{file.name}").status == 200, file


def test_a_viewer_that_claims_to_have_seen_more_than_was_sent_gets_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about, taken = About(), list[object]()
    monkeypatch.setattr(about.hub, "taken", taken.append)
    talk(make_app(about, Doorkeeper(None, 8080), frozenset()), ['{"type": "taken"}'] * 50)
    assert not taken


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "rig.local"])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(RequestError, match="--serve-token"):
        Page(Address(host, 0))
