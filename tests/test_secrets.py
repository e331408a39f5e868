"""No access key and no token leaves the place it was put: a canary and a search for it."""

import base64
import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest
from locusting import free_port, run_locust, running_locust
from serving import StandIn

CANARY = "canary-0123456789-access-key-abcdefgh"
TOKEN = "eyJ"  # how every JWT begins: base64 of `{"`


@pytest.fixture
def stand_in(start_stand_in: object) -> StandIn:
    """A stand-in whose access key is the canary."""
    assert callable(start_stand_in)
    started = start_stand_in("--fault", "cut:every=40", environ={"WPS_SERVE_ACCESS_KEY": CANARY})
    assert isinstance(started, StandIn)
    return started


def leaks(text: str) -> list[str]:
    """Forms of the canary, and tokens, that `text` holds."""
    encoded = base64.b64encode(CANARY.encode()).decode().rstrip("=")
    return [form for form in (CANARY, encoded, TOKEN) if form in text]


@pytest.mark.parametrize("place", ["query", "header"])
def test_a_run_at_debug_shows_no_secret(stand_in: StandIn, tmp_path: Path, place: str) -> None:
    """Not in the log at DEBUG of any process, and not in any file."""
    finished = run_locust(
        "pubsub.py",
        *("--users", "4", "--spawn-rate", "4", "--run-time", "3s", "--wps-interval", "100ms"),
        *("--processes", "2", "--loglevel", "DEBUG", "--wps-token-in", place),
        *("--html", "report.html", "--csv-full-history"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )
    assert "sendToGroup" in finished.said
    assert leaks(finished.said) == []
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 8
    assert any(path.name == "run.json" for path in written)
    for path in written:
        assert leaks(path.read_text(encoding="utf-8", errors="replace")) == [], path.name


def test_processes_show_no_secret(stand_in: StandIn, tmp_path: Path) -> None:
    """The command line of the embedded stand-in, which everybody on the machine sees, is clean."""
    scenario = tmp_path / "look.py"
    scenario.write_text(
        "from pathlib import Path\n"
        "from locust import task\n"
        "from wpsload.users import PubSubUser\n"
        "class Look(PubSubUser):\n"
        "    @task\n"
        "    def look(self):\n"
        "        for path in Path('/proc').glob('[0-9]*/cmdline'):\n"
        "            try: print('ARGV', path.read_bytes().replace(b'\\0', b' ').decode())\n"
        "            except OSError: pass\n",
        encoding="utf-8",
    )
    if not os.path.isdir("/proc/self"):
        pytest.skip("this system does not show command lines under /proc")
    finished = run_locust(scenario, "--run-time", "2s", folder=tmp_path)
    # Not those of other tests that run at the same time.
    lines = [line for line in finished.said.splitlines() if line.startswith("ARGV")]
    said = "\n".join(line for line in lines if "wpsload serve" in line or str(tmp_path) in line)
    assert "wpsload serve" in said
    assert "AccessKey" not in said
    assert leaks(said) == []


class Tap:
    """A TCP relay that keeps what passes through it, both ways."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.heard = bytearray()
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._server.shutdown(socket.SHUT_RDWR)  # wakes the accept
        self._acceptor.join()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()  # the master is not there yet; the worker will try again
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.heard += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def test_master_and_worker_exchange_no_secret(stand_in: StandIn, tmp_path: Path) -> None:
    """The traffic between them, which is not encrypted, holds results and options, no key."""
    port = free_port()
    tap = Tap(port)
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    worker = ("--worker", "--master-port", str(tap.port))
    with running_locust("pubsub.py", *worker, folder=tmp_path, environ=environ) as process:
        finished = run_locust(
            "pubsub.py",
            *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)),
            *("--expect-workers", "1", "--users", "4", "--spawn-rate", "4", "--run-time", "3s"),
            folder=tmp_path,
            environ=environ,
        )
        assert process.stdout is not None
        said = process.stdout.read()
    tap.close()
    heard = tap.heard.decode("latin-1")
    assert "sendToGroup" in heard
    assert "wps_interval" in heard
    assert leaks(heard) == []
    assert leaks(finished.said + said) == []
