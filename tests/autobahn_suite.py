"""Run Autobahn|Testsuite itself, in either role: `python tests/autobahn_suite.py server client`.

The suite needs Python 2.7. It is installed on demand into a cache outside of the tree, and its
reports, with the octets of each case, are written beside it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import gevent
from gevent.event import Event
from serving import DEADLINE_S, running
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from wpsload import frames
from wpsload.dialing import Address, Dialed
from wpsload.engine import Engine, EngineName
from wpsload.link import Limits
from wpsload.wire import Wire

__all__ = ["ECHO_CLIENTS"]

RELEASE = "autobahntestsuite==25.10.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "wpsload" / "autobahn"
EXCLUDED = ["12.*", "13.*"]  # permessage-deflate, which is never negotiated
LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024  # of 9.1.6; the service's own limit is 1 MiB
FAILURES = frozenset(("FAILED", "UNCLEAN", "WRONG CODE"))
AGENT = "wpsload"

# Its packages share a namespace, which only a site directory can give them.
WSTEST = (
    "import site, sys; site.addsitedir(sys.argv.pop(1));"
    "from autobahntestsuite.wstest import run; run()"
)


def _echo_with_websockets(url: str) -> None:
    """Echo what comes until the connection ends: a stranger, to check the cases themselves."""
    try:
        with connect(url, compression=None, max_size=None, ping_interval=None) as client:
            for message in client:
                client.send(message)
    except ConnectionClosed:
        pass


class _Echo:
    """The owner of a link that sends each message back."""

    def __init__(self) -> None:
        self.over = Event()
        self.wire: Wire | None = None

    def upgraded(self, dialed: Dialed) -> None:
        """Nothing to do."""

    def received(self, messages: list[frames.Message], now_ns: int) -> None:
        """Send messages back, and have control frames answered."""
        assert self.wire is not None
        for opcode, payload in messages:
            if opcode in (frames.TEXT, frames.BINARY):
                self.wire.write(payload, is_text=opcode == frames.TEXT)
            else:
                self.wire.control(opcode, payload)

    def writable(self) -> None:
        """Nothing waits for it."""

    def ended(self, failure: str) -> None:
        """Tell who waits."""
        self.over.set()

    def broken(self, error: BaseException) -> None:
        """Tell who waits."""
        self.over.set()


def _echo_with_engine(name: EngineName, url: str) -> None:
    """The engine, in a thread and event loop of its own."""
    hub = gevent.get_hub()
    echo = _Echo()
    echo.wire = Wire(
        Engine(hub, name),
        echo,
        address=lambda: Address(url, {}),
        subprotocol=None,
        limits=Limits(),
        max_message_bytes=LARGEST_MESSAGE_BYTES,
    )
    echo.over.wait()
    hub.destroy(destroy_loop=True)


ECHO_CLIENTS: Mapping[str, Callable[[str], None]] = {
    "fast": partial(_echo_with_engine, "fast"),
    "portable": partial(_echo_with_engine, "portable"),
    "websockets": _echo_with_websockets,
}
"""Clients that echo each message of the server at a URL until it closes, by name."""


def _python_2() -> str:
    versions = Path("~/.pyenv/versions").expanduser().glob("2.7*/bin/python2.7")
    # pyenv puts a command of this name onto the path, which fails unless 2.7 is its chosen version.
    for candidate in (os.environ.get("PYTHON2"), *map(str, versions), shutil.which("python2.7")):
        if candidate:
            return candidate
    raise click.ClickException("no Python 2.7, which the suite needs; PYTHON2 may say where it is")


def _wstest() -> list[str]:
    """The command that starts the suite; installs it the first time."""
    python = _python_2()
    packages = CACHE / RELEASE
    if not packages.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            target = Path(place) / "packages"
            pip = [python, "-m", "pip", "install", "-qq", "--target", str(target), RELEASE]
            subprocess.run(pip, check=True, env=_environment())
            target.rename(packages)
    return [python, "-c", WSTEST, str(packages)]


def _environment() -> dict[str, str]:
    """Without what is meant for our own Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@contextmanager
def _suite(mode: str, spec: dict[str, Any]) -> Iterator["subprocess.Popen[bytes]"]:
    """The suite at work; its log goes beside the reports."""
    reports = CACHE / mode
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    spec |= {"outdir": str(reports), "cases": ["*"], "exclude-cases": EXCLUDED}
    (reports / "spec.json").write_text(json.dumps({**spec, "exclude-agent-cases": {}}))
    command = [*_wstest(), "-m", mode, "-s", str(reports / "spec.json"), "-u", "0"]
    with (
        (reports / "log.txt").open("wb") as log,
        subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=reports, env=_environment()
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _results(mode: str) -> dict[str, dict[str, Any]]:
    index: dict[str, dict[str, dict[str, Any]]] = json.loads(
        (CACHE / mode / "index.json").read_text()
    )
    (results,) = index.values()
    return results


def _run_server_role() -> dict[str, dict[str, Any]]:
    """The stand-in is the server: a client that is the only member of its group gets all back."""
    with running("--max-message-bytes", str(LARGEST_MESSAGE_BYTES)) as stand_in:
        url = stand_in.client_url(groups=["echo"], webpubsub_mode="sendToGroup", group="echo")
        with _suite("fuzzingclient", {"servers": [{"agent": AGENT, "url": url}]}) as process:
            process.wait()
    return _results("fuzzingclient")


def _run_client_role(echo_client: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """The suite is the server; `echo_client` connects once for each case."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root = f"ws://127.0.0.1:{port}"
    with _suite("fuzzingserver", {"url": root}) as process:
        _wait_for(port, process)
        with connect(f"{root}/getCaseCount", compression=None) as client:
            count = int(client.recv())
        for case in range(1, count + 1):
            echo_client(f"{root}/runCase?case={case}&agent={AGENT}")
        echo_client(f"{root}/updateReports?agent={AGENT}")
    return _results("fuzzingserver")


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Until the suite listens; it says nothing when it does."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
        except ConnectionRefusedError:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    raise click.ClickException(f"the suite did not start; see {CACHE}/fuzzingserver/log.txt")


def _tell(role: str, results: dict[str, dict[str, Any]]) -> bool:
    """Print the outcome; True if no case failed."""
    outcomes = Counter(each["behavior"] for each in results.values())
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    click.echo(f"{role} role: {len(results)} cases: {counts}")
    failed = 0
    for number in sorted(results, key=lambda number: [int(part) for part in number.split(".")]):
        found = {results[number]["behavior"], results[number]["behaviorClose"]}
        if found != {"OK"}:
            click.echo(f"  {number:7} {' / '.join(sorted(found))}")
        failed += bool(found & FAILURES)
    return failed == 0


@click.command()
@click.argument("roles", nargs=-1, type=click.Choice(["server", "client"]))
@click.option("--client", default="fast", type=click.Choice(list(ECHO_CLIENTS)))
def main(roles: tuple[str, ...], client: str) -> None:
    """Run the suite in the given ROLES, and end with 1 if a case failed."""
    is_passed = True
    for role in roles or ("server", "client"):
        is_server = role == "server"
        results = _run_server_role() if is_server else _run_client_role(ECHO_CLIENTS[client])
        is_passed &= _tell(role if is_server else f"client ({client})", results)
    click.echo(f"reports: {CACHE}")
    sys.exit(not is_passed)


if __name__ == "__main__":
    main()
