"""`wpsload app`: client URLs for whoever asks, with what its options say and nothing else."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from locusting import environment, free_port, run_locust
from serving import DEADLINE_S, ROOT, StandIn
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from wpsload.client_url import parse_client_url

SEND, JOIN = "webpubsub.sendToGroup", "webpubsub.joinLeaveGroup"
BOTH = ("--role", SEND, "--role", JOIN)
JSON_V1 = Subprotocol("json.webpubsub.azure.v1")


@contextmanager
def app_server(stand_in: StandIn, *arguments: str) -> Iterator[str]:
    """The negotiate address of a running `wpsload app`, which must end cleanly and say no token."""
    command = [sys.executable, "-W", "error", "-m", "wpsload", "app", "--json", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment({"WPS_CONNECTION_STRING": stand_in.connection_string}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate(timeout=DEADLINE_S)
            described: dict[str, Any] = json.loads(line)
            assert described["pid"] == process.pid
            yield described["url"]
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, ("", ""))


@pytest.fixture
def start_app(shared_stand_in: StandIn) -> Iterator[Callable[..., str]]:
    """A function that starts an app server for the stand-in, with the given arguments."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(app_server(shared_stand_in, *arguments))


def ask(url: str, **query: str) -> requests.Response:
    """The answer to `GET url?query`."""
    return requests.get(url, params=query, timeout=DEADLINE_S)


def test_the_url_works_for_that_user(start_app: Callable[..., str]) -> None:
    """It connects as the user that was named, and may do what the options grant."""
    answer = ask(start_app(*BOTH), id="anna b&c")

    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json().keys() == {"url"}
    with connect(answer.json()["url"], subprotocols=[JSON_V1]) as client:
        assert json.loads(client.recv(DEADLINE_S))["userId"] == "anna b&c"
        client.send(json.dumps({"type": "joinGroup", "group": "g", "ackId": 1}))
        assert json.loads(client.recv(DEADLINE_S)) == {"type": "ack", "ackId": 1, "success": True}


def test_the_token_has_what_was_configured(start_app: Callable[..., str]) -> None:
    """Roles, groups, hub and lifetime are those of the options; the query adds nothing."""
    url = start_app("--role", SEND, "--group", "lobby", "--hub", "chat", "--ttl", "90s")
    client = parse_client_url(ask(url, id="u", role=JOIN, hub="load").json()["url"])
    assert (client.hub, client.user_id) == ("chat", "u")
    assert (client.roles, client.groups) == ((SEND,), ("lobby",))

    plain = parse_client_url(ask(start_app(), id="u").json()["url"])
    assert (plain.hub, plain.roles, plain.groups) == ("load", (), ())
    assert plain.expires_s is not None
    assert client.expires_s is not None
    assert abs(plain.expires_s - client.expires_s - 3510) < DEADLINE_S


def test_mistakes_are_explained_in_json(start_app: Callable[..., str]) -> None:
    """Without an id, elsewhere and with another method: a status and a sentence."""
    url = start_app()
    how = "ask GET /negotiate?id=USER"
    for answer, status, said in (
        (ask(url), 400, f"id is missing: {how}"),
        (ask(url, id=""), 400, f"id is missing: {how}"),
        (ask(url.replace("negotiate", "elsewhere"), id="u"), 404, f"not found: {how}"),
        (requests.post(url, timeout=DEADLINE_S), 405, f"method not allowed: {how}"),
    ):
        assert (answer.status_code, answer.json()) == (status, {"error": said})


def test_other_web_pages_get_nothing(start_app: Callable[..., str]) -> None:
    """A page whose name was made to lead to this machine could read the token otherwise."""
    url = start_app()
    for host, status in (("evil.example", 403), ("localhost:1", 200), ("[::1]:80", 200)):
        answer = requests.get(url, params={"id": "u"}, headers={"Host": host}, timeout=DEADLINE_S)
        assert answer.status_code == status, host


def test_the_commands_of_the_readme(shared_stand_in: StandIn, tmp_path: Path) -> None:
    """Its two commands, the server and a run that uses it, work together."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```shell\n(.*?)^```$", readme, re.M | re.S)
    server, run = block.replace("8080", str(free_port())).splitlines()
    connection_string = shared_stand_in.connection_string
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = environment({"WPS_CONNECTION_STRING": connection_string, "PATH": path})
    (tmp_path / "locustfiles").symlink_to(ROOT / "locustfiles")
    with subprocess.Popen(
        server.split(), env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("http://")
            done = subprocess.run(
                ["bash", "-c", run],
                cwd=tmp_path,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=6 * DEADLINE_S,
                check=False,
            )
        finally:
            process.kill()
    assert done.returncode == 0, done.stdout
    assert "CONNECT  negotiate" in done.stdout


def test_a_run_negotiates_and_connects(
    start_app: Callable[..., str], shared_stand_in: StandIn, tmp_path: Path
) -> None:
    """Each user asks once and is served; asking and connecting are two rows, and add up."""
    finished = run_locust(
        "pubsub.py",
        *("--users", "6", "--spawn-rate", "6", "--run-time", "3s", "--loglevel", "DEBUG"),
        folder=tmp_path,
        environ={"WPS_NEGOTIATE_URL": start_app(*BOTH)},
    )

    assert finished.code == 0, finished.said
    assert finished.counts("CONNECT", "negotiate") == (6, 0)
    assert finished.counts("CONNECT", "connect") == (6, 0)
    assert finished.counts("ACK", "joinGroup") == (6, 0)
    (row,) = finished.rows("pubsub")
    assert float(row["negotiate_max_ms"]) > 0
    assert "CONNECT  negotiate" in finished.said
    assert "eyJ" not in finished.said


class Choosy(BaseHTTPRequestHandler):
    """An app server that never serves user `load-1`."""

    client_url: ClassVar[str]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        (user_id,) = parse_qs(urlsplit(self.path).query)["id"]
        self.asked.append(user_id)
        body = self.client_url.encode()
        self.send_response(503 if user_id == "load-1" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("engine", ["fast", "websocket-client"])
def test_a_refusal_to_negotiate_is_no_failure_to_connect(
    shared_stand_in: StandIn, tmp_path: Path, engine: str
) -> None:
    """The reason stands with `negotiate`, once for each request, and nothing with `connect`."""

    class Handler(Choosy):
        client_url = shared_stand_in.client_url()
        asked: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        finished = run_locust(
            "pubsub.py",
            *("--users", "2", "--spawn-rate", "2", "--run-time", "4s", "--wps-engine", engine),
            folder=tmp_path,
            environ={"WPS_NEGOTIATE_URL": f"http://127.0.0.1:{server.server_port}/"},
        )
        server.shutdown()

    refused = Handler.asked.count("load-1")
    assert refused >= 2, finished.said
    assert finished.counts("CONNECT", "negotiate") == (refused + 1, refused)
    assert finished.counts("CONNECT", "connect") == (1, 0)
    reason = "negotiate endpoint answered HTTP 503"
    assert finished.failures() == {("negotiate", reason): refused}


@pytest.mark.parametrize(
    ("arguments", "connection_string", "said"),
    [
        ((), "", "WPS_CONNECTION_STRING is not set"),
        (("--role", "webpubsub.send"), None, "--role is not a role"),
        (("--group", " "), None, "--group is not a group name"),
        (("--hub", "1"), None, "--hub is not a hub name"),
        (("--ttl", "0s"), None, "a token cannot be valid for 0 s"),
        (("--host", ""), None, "--host is empty"),
        (("--host", "no.such.host.invalid"), None, "cannot listen on no.such.host.invalid"),
    ],
)
def test_mistakes_at_the_start(
    shared_stand_in: StandIn,
    arguments: tuple[str, ...],
    connection_string: str | None,
    said: str,
) -> None:
    """Whatever no answer could be made of is refused before anybody asks."""
    text = shared_stand_in.connection_string if connection_string is None else connection_string
    done = subprocess.run(
        [sys.executable, "-m", "wpsload", "app", *arguments],
        env=os.environ | {"WPS_CONNECTION_STRING": text, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_what_it_prints_for_people(shared_stand_in: StandIn) -> None:
    """The address to ask, and how a run uses it."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "wpsload", "app", "--port", str(port)],
        env=environment({"WPS_CONNECTION_STRING": shared_stand_in.connection_string}),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
    url = f"http://127.0.0.1:{port}/negotiate"
    assert lines[0] == f"{url}?id=USER\n"
    assert f"WPS_NEGOTIATE_URL={url} " in lines[1]
