"""Client URLs from a small HTTP server that plays the application's part."""

import json
import logging
import socket
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from clienturls import HOUR_S, NOW_S, minted
from serving import DEADLINE_S

from wpsload.errors import ConfigError, ConnectError
from wpsload.secret import Secret
from wpsload.target import NegotiateTarget, TargetExhausted, from_environment

KEY = "cAnArY0123456789abcdefghijklmnopqrstuvwxyz=="


def url(hub: str = "load") -> str:
    """A client URL, valid for an hour."""
    return minted(hub).url.reveal()


class App(ThreadingHTTPServer):
    """An application server that answers `answer`, and remembers what it was asked."""

    daemon_threads = True
    answer: tuple[int, str] = (200, "{}")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Negotiate)
        self.asked: list[dict[str, list[str]]] = []
        self.cookies: list[str | None] = []
        self.peers: set[object] = set()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Negotiate(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: App

    def do_GET(self) -> None:
        self.server.asked.append(parse_qs(urlsplit(self.path).query))
        self.server.cookies.append(self.headers["Cookie"])
        self.server.peers.add(self.client_address)
        status, text = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.send_header("Set-Cookie", "user=first")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def app() -> Iterator[App]:
    """A running application server."""
    with App() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(DEADLINE_S)


def negotiated(app: App, **environ: str) -> NegotiateTarget:
    address = f"http://{app.host}/negotiate?code={KEY}"
    target = from_environment({"WPS_NEGOTIATE_URL": address, **environ})
    assert isinstance(target, NegotiateTarget)
    return target


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps({"url": url(), "baseUrl": "x", "token": "y"}),
        json.dumps(url()),
        f"{url()}\n",
    ],
)
def test_negotiate_asks_for_each_user(app: App, answer: str) -> None:
    """An object, a JSON string and plain text all give the URL; the query keeps its key."""
    app.answer = (200, answer)
    target = negotiated(app)

    target.check(2, now_s=NOW_S)
    client = target.client_url(17, now_s=NOW_S)

    assert client.url == Secret(url())
    assert app.asked == [
        {"code": [KEY], "id": ["load-0"]},
        {"code": [KEY], "id": ["load-17"]},
    ]
    assert target.describe() == f"client URLs from {app.host} (from WPS_NEGOTIATE_URL)"


def test_negotiate_keeps_connections_but_no_cookies(app: App) -> None:
    """The users share connections, as a gateway would, but are not taken for one browser."""
    app.answer = (200, url())
    target = negotiated(app)

    for n in range(5):
        target.client_url(n, now_s=NOW_S)

    assert len(app.peers) == 1
    assert app.cookies == [None] * 5


def test_negotiate_for_named_users(app: App, tmp_path: Path) -> None:
    """A file of user ids replaces `load-{n}`; too few of them are refused."""
    app.answer = (200, url())
    path = tmp_path / "users.txt"
    path.write_text("anna\n\n b&b \n")
    target = negotiated(app, WPS_NEGOTIATE_USERS=str(path))

    target.check(2, now_s=NOW_S)
    target.client_url(1, now_s=NOW_S)

    assert [asked["id"] for asked in app.asked] == [["anna"], ["b&b"]]
    with pytest.raises(TargetExhausted, match="no user id left"):
        target.client_url(2, now_s=NOW_S)
    with pytest.raises(ConfigError, match=r"users\.txt names 2 user ids, the run has 3 users"):
        target.check(3, now_s=NOW_S)


def test_file_without_user_ids_is_refused(app: App, tmp_path: Path) -> None:
    """An empty file of user ids is a mistake."""
    path = tmp_path / "users.txt"
    path.touch()

    with pytest.raises(ConfigError, match="names no user"):
        negotiated(app, WPS_NEGOTIATE_USERS=str(path))


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, "cAnArY", "negotiate endpoint answered HTTP 401"),
        (503, "", "negotiate endpoint answered HTTP 503"),
        (200, "", "negotiate endpoint answered without a url"),
        (200, "{}", "negotiate endpoint answered without a url"),
        (200, '{"url": 7}', "negotiate endpoint answered without a url"),
        (200, "<html>cAnArY</html>", "negotiate endpoint answered with an unusable url"),
        (200, '"https://cAnArY"', "negotiate endpoint answered with an unusable url"),
        (200, "[" * 100_000, "negotiate endpoint answered with an unusable url"),
    ],
)
def test_negotiate_that_fails_is_explained(app: App, status: int, body: str, outcome: str) -> None:
    """Before the run it is a `ConfigError` naming the host; within, a countable `ConnectError`."""
    app.answer = (status, body)
    target = negotiated(app)

    with pytest.raises(ConfigError) as before:
        target.check(1, now_s=NOW_S)
    with pytest.raises(ConnectError) as within:
        target.client_url(0, now_s=NOW_S)

    assert before.value.message == f"{outcome}: {app.host} (from WPS_NEGOTIATE_URL)"
    assert (within.value.outcome, within.value.status) == (outcome, status)
    for error in (before.value, within.value):
        assert error.hint or error is within.value
        assert "cAnArY" not in "".join(traceback.format_exception(error))


def test_negotiated_token_is_checked(app: App) -> None:
    """A token for another hub, or an expired one, is found by asking once before the run."""
    app.answer = (200, url("chat"))

    with pytest.raises(ConfigError, match=r"the answer of .* is for hub chat"):
        negotiated(app, WPS_HUB="load").check(1, now_s=NOW_S)
    with pytest.raises(ConfigError, match=r"the token in the answer of .* expired"):
        negotiated(app).check(1, now_s=NOW_S + HOUR_S)


def test_negotiated_token_may_be_short(app: App) -> None:
    """A user that connects again asks again, so the token need not last until the end."""
    app.answer = (200, url())

    negotiated(app).check(1, now_s=NOW_S, needed_until_s=NOW_S + 10 * HOUR_S)


def test_unreachable_negotiate_endpoint_is_explained() -> None:
    """Nobody listening is said with the host and nothing else of the URL."""
    target = from_environment({"WPS_NEGOTIATE_URL": f"http://127.0.0.1:1/cAnArY?code={KEY}"})

    assert isinstance(target, NegotiateTarget)
    with pytest.raises(ConfigError) as caught:
        target.check(1, now_s=NOW_S)
    assert caught.value.message == (
        "negotiate endpoint cannot be reached: 127.0.0.1:1 (from WPS_NEGOTIATE_URL)"
    )
    assert "cAnArY" not in "".join(traceback.format_exception(caught.value))


def test_silent_negotiate_endpoint_is_given_up() -> None:
    """A server that accepts and says nothing costs one timeout and is a countable failure."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        target = from_environment({"WPS_NEGOTIATE_URL": address})
        assert isinstance(target, NegotiateTarget)

        with pytest.raises(ConnectError, match="did not answer in time"):
            replace(target, endpoint=replace(target.endpoint, timeout_s=0.05)).client_url(
                0, now_s=NOW_S
            )


def test_negotiate_logs_no_secret(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """Not even at DEBUG do key or token show up in a log."""
    app.answer = (200, url())
    with caplog.at_level(logging.DEBUG):
        negotiated(app).client_url(0, now_s=NOW_S)

    assert KEY not in caplog.text
    assert "eyJ" not in caplog.text


def test_many_users_negotiate_at_once(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """A crowd that connects together is served without complaints about the pool."""
    app.answer = (200, url())
    target = negotiated(app)

    with ThreadPoolExecutor(32) as users:
        clients = list(users.map(lambda n: target.client_url(n, now_s=NOW_S), range(200)))

    assert len(clients) == len(app.asked) == 200
    assert not caplog.records
