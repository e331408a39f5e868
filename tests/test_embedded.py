"""The embedded stand-in: a real child process, started, asked, stopped, and made to fail."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from serving import DEADLINE_S, ROOT
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from wpsload import embedded
from wpsload.embedded import EmbeddedStandin, StandinError
from wpsload.errors import ConfigError
from wpsload.secret import Secret
from wpsload.target import VARIABLES, EmbeddedTarget

posix_only = pytest.mark.skipif(os.name != "posix", reason="process groups and signals")
linux_only = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="waits for the end of a process that is not a child"
)


@pytest.fixture
def running() -> Iterator[EmbeddedStandin]:
    """A running embedded stand-in."""
    with embedded.start(deadline_s=DEADLINE_S) as standin:
        yield standin


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def test_it_is_a_target(running: EmbeddedStandin) -> None:
    """It listens on loopback, and its connection string makes the target of a run."""
    target = EmbeddedTarget("load").started(running.connection_string)

    client = target.client_url(0, now_s=1_760_000_000)

    assert is_listening(running.port)
    assert running.endpoint == target.connection.endpoint
    assert client.url.reveal().startswith(f"ws://127.0.0.1:{running.port}/client/hubs/load?")
    assert running.connection_string.reveal() not in repr(running)


@pytest.mark.parametrize("token_in", ["query", "header"])
def test_it_accepts_minted_tokens(running: EmbeddedStandin, token_in: str) -> None:
    """An independent WebSocket client gets in with a minted token, in the URL or in a header."""
    target = EmbeddedTarget("load").started(running.connection_string)
    client = target.client_url(3, now_s=datetime.now(UTC).timestamp())
    bare, token = client.split()
    assert token is not None
    in_header = token_in == "header"

    with connect(
        bare if in_header else client.url.reveal(),
        additional_headers={"Authorization": f"Bearer {token.reveal()}"} if in_header else None,
        subprotocols=[Subprotocol("json.webpubsub.azure.v1")],
        open_timeout=DEADLINE_S,
    ) as connection:
        connected = json.loads(connection.recv(DEADLINE_S))

    assert (connected["event"], connected["userId"]) == ("connected", "load-3")
    assert running.stats()["connections_total"] == 1


def test_it_counts(running: EmbeddedStandin) -> None:
    """Its own counts can be read."""
    assert running.stats()["connections_total"] == 0


def test_two_run_side_by_side(running: EmbeddedStandin) -> None:
    """Each takes a free port."""
    with embedded.start(deadline_s=DEADLINE_S) as other:
        assert other.port != running.port
        assert other.stats() == running.stats()


def test_stop_ends_it(running: EmbeddedStandin) -> None:
    """After stopping nobody listens; stopping again does nothing; asking is a clear error."""
    running.stop()
    running.stop()

    assert not is_listening(running.port)
    with pytest.raises(StandinError, match="does not answer"):
        running.stats()


@posix_only
@pytest.mark.parametrize("stubborn", ["SIGSTOP", "SIGKILL"])
def test_stop_always_works(running: EmbeddedStandin, stubborn: str) -> None:
    """A child that does not react is killed, and one that is dead already is no error."""
    os.kill(running.pid, signal.Signals[stubborn])

    running.stop(deadline_s=0.1)

    assert not is_listening(running.port)


@posix_only
def test_ctrl_c_does_not_reach_it(running: EmbeddedStandin) -> None:
    """It has a process group of its own, so users can still close when the run is interrupted."""
    assert os.getpgid(running.pid) != os.getpgid(0)


@linux_only
def test_it_does_not_outlive_its_parent() -> None:
    """A parent that is gone without a word takes the stand-in with it."""
    script = (
        "import os, select\n"
        "from wpsload import embedded\n"
        "standin = embedded.start()\n"
        "print(standin.pid, flush=True)\n"
        "input()\n"
        "os._exit(1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        ended = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.stdin.write("\n")
            parent.stdin.flush()
            assert select.select([ended], [], [], DEADLINE_S)[0]
        finally:
            os.close(ended)


def test_child_that_dies_is_explained() -> None:
    """A bad argument ends in an error with the child's own words."""
    with pytest.raises(StandinError, match="ended at its start with exit code 2") as caught:
        embedded.start(extra=["--no-such-option"], deadline_s=DEADLINE_S)

    assert "--no-such-option" in str(caught.value.hint)


def test_child_that_is_too_slow_is_explained() -> None:
    """A deadline that passes is an error, not a hang."""
    with pytest.raises(StandinError, match=r"was not ready in 0\.001 s"):
        embedded.start(deadline_s=0.001)


def test_child_that_speaks_nonsense_is_explained() -> None:
    """A first line that is not the expected JSON is an error."""
    with pytest.raises(StandinError, match="did not say where it listens"):
        embedded.start(extra=["--help"], deadline_s=DEADLINE_S)


def test_child_does_not_see_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that name a target, with their secrets, are kept from the child."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "cAnArY")
    with embedded.start(deadline_s=DEADLINE_S) as standin:
        if sys.platform == "linux":
            with open(f"/proc/{standin.pid}/environ", "rb") as file:
                assert b"cAnArY" not in file.read()
        assert standin.hub == "load"


@posix_only
def test_wrong_interpreter_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the child cannot be started at all, the system's reason is given."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(StandinError, match="cannot start the embedded stand-in: No such file"):
        embedded.start()


def test_nonsense_connection_string_is_explained() -> None:
    """What the stand-in says is checked like any connection string."""
    with pytest.raises(ConfigError, match="the answer of the stand-in"):
        EmbeddedTarget("load").started(Secret("x"))
