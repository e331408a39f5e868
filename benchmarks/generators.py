"""The generators of the table: how each is started, ended, and asked what it says it did.

Each does the work that a `Work` describes. `prepare` may install it, and raises
`programs.Missing` if it cannot be had.
"""

import json
import os
import socket
import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from benchmarks import programs
from benchmarks.servers import Server

__all__ = ["Artillery", "AzureSdk", "CClient", "Connects", "Generator", "Invocation", "Node"]
__all__ += ["OurUser", "PlainUser", "Tsung", "Work"]

_OURS = ("WPS_", "LOCUST_", "BENCH_")


@dataclass(frozen=True, slots=True)
class Work:
    """What a generator has to do: connect, join a group, and send to it or receive.

    `interval_s` is the time between two messages of a connection; 0 sends the next one as soon as
    the ack of the last one is in. `is_numbered` says whether messages that are pushed to it have
    a number beside their time.
    """

    connections: int = 200
    payload_bytes: int = 200
    interval_s: float = 0.0
    group_size: int = 1
    is_tls: bool = False
    is_numbered: bool = True


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command, its environment, and what ends it so that it still tells its counts.

    `ending` is a signal (SIGTERM), a refusal by the server, or the end of the time that it has.
    """

    command: list[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    ending: Literal["signal", "refusal", "time"] = "signal"


class Generator(Protocol):
    """A program that makes load."""

    def prepare(self) -> str:
        """Install what is needed; the version of it."""

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """How to start it; it may write into `folder`."""

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """How many messages it says were acknowledged, received or, for `Connects`, opened.

        `said` is what it wrote to stdout.
        """


def _environ(work: Work, extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without targets, with `extra`, and trusting the sink's CA."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    trust = {"SSL_CERT_FILE": str(programs.certificate()[0])} if work.is_tls else {}
    paths = [str(programs.HERE.parent), os.environ.get("PYTHONPATH", "")]
    return kept | trust | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(extra)


def _locust(
    file: str, user: str, work: Work, environ: Mapping[str, str], *options: str
) -> Invocation:
    command = [
        *(sys.executable, "-m", "locust", "-f", str(programs.HERE / file), user),
        *("--headless", "--only-summary", "--json", "--loglevel", "WARNING"),
        *("--users", str(work.connections), "--spawn-rate", str(max(100, work.connections // 5))),
        *options,
    ]
    return Invocation(command, _environ(work, environ))


def _locust_count(said: str, name: str) -> int:
    """Requests that succeeded, from Locust's own table, which it prints as JSON at its end."""
    table = json.loads(said[said.index("[") : said.rindex("]") + 1])
    return sum(row["num_requests"] - row["num_failures"] for row in table if row["name"] == name)


@dataclass(frozen=True, slots=True)
class PlainUser:
    """A user class of `plain_user.py`, and the name that it counts messages under."""

    user: str
    counts: str = "sendToGroup"

    def prepare(self) -> str:
        """Locust and websocket-client; both are dependencies of wpsload."""
        return ", ".join(
            f"{name} {programs.python_package(name)}"
            for name in ("locust", "gevent", "websocket-client")
        )

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """A Locust run of `plain_user.py`."""
        target = {"BENCH_URL": server.url, "BENCH_PAYLOAD_BYTES": str(work.payload_bytes)}
        return _locust("plain_user.py", self.user, work, target)

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """From Locust's table."""
        return _locust_count(said, self.counts)


@dataclass(frozen=True, slots=True)
class OurUser:
    """A user class of `our_user.py`, and the name that it counts messages under."""

    user: str
    counts: str = "sendToGroup"
    options: tuple[str, ...] = ()

    def prepare(self) -> str:
        """Ours, and what it stands on."""
        return ", ".join(
            f"{name} {programs.python_package(name)}"
            for name in ("wpsload", "locust", "gevent", "orjson")
        )

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """A Locust run of `our_user.py`."""
        return _locust(
            *("our_user.py", self.user, work),
            {"WPS_CONNECTION_STRING": server.connection_string},
            *("--wps-payload-bytes", str(work.payload_bytes), "--wps-no-echo"),
            *("--wps-verdict", "warn"),  # it is to be at its limit
            *("--wps-reports", str(folder)),
            *self.options,
            *("--wps-interval", f"{work.interval_s:g}s", "--wps-group-size", str(work.group_size)),
        )

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """From Locust's table."""
        return _locust_count(said, self.counts)


@dataclass(frozen=True, slots=True)
class CClient:
    """The minimal C client, `client.c`."""

    counts: str = "acks"

    def prepare(self) -> str:
        """Compile it."""
        programs.build("client.c")
        return programs.version_of("cc", "--version")

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """Its numbers go on the command line."""
        interval_ns = round(work.interval_s * 1e9)
        numbers = map(str, (work.connections, work.payload_bytes, work.group_size, interval_ns))
        program = str(programs.build("client.c"))
        environ = _environ(work, {"BENCH_PATH": server.path})
        return Invocation([program, str(server.port), *numbers], environ)

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """From the line it prints at its end."""
        return _printed(said, self.counts)


@dataclass(frozen=True, slots=True)
class Node:
    """A script over Node's `ws`, `node_client.mjs`."""

    def prepare(self) -> str:
        """Node and the package."""
        programs.install_node()
        version = programs.version_of("node", "--version")
        return f"node {version}, ws {programs.NODE_PACKAGES['ws']}"

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """The script imports `ws` from the cache."""
        module = str(programs.install_node() / "ws" / "wrapper.mjs")
        script = str(programs.HERE / "node_client.mjs")
        numbers = map(str, (work.connections, work.payload_bytes))
        environ = _environ(work, {"BENCH_URL": server.url})
        return Invocation(["node", script, module, *numbers], environ)

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """From the line it prints at its end."""
        return _printed(said, "acks")


@dataclass(frozen=True, slots=True)
class Artillery:
    """Artillery's ws engine with `artillery.yml`."""

    def prepare(self) -> str:
        """The package."""
        programs.install_node()
        return f"artillery {programs.NODE_PACKAGES['artillery']}"

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """Its loop ends when an answer does not match; a signal would lose its counts."""
        artillery = str(programs.install_node() / ".bin" / "artillery")
        script = str(programs.HERE / "artillery.yml")
        target = {
            "BENCH_URL": server.url,
            "BENCH_CONNECTIONS": str(work.connections),
            "BENCH_DATA": "x" * work.payload_bytes,
            "ARTILLERY_DISABLE_TELEMETRY": "true",
        }
        return Invocation(
            [artillery, "run", "--quiet", "--output", str(folder / "artillery.json"), script],
            _environ(work, target),
            ending="refusal",
        )

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """What it received, without the three frames of a connection that are no acks of sends:
        `connected`, the ack for joining and the refusal at the end."""
        report = json.loads((folder / "artillery.json").read_text(encoding="utf-8"))
        received: int = report["aggregate"]["counters"]["websocket.messages_received"]
        return received - 3 * work.connections


@dataclass(frozen=True, slots=True)
class Tsung:
    """Tsung with `tsung.xml`, which has the time it takes; stopped early, it tells no counts."""

    def prepare(self) -> str:
        """Debian's package."""
        programs.install_tsung()
        return programs.version_of("tsung", "-v")

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """Its node registers with a daemon of its own, which otherwise would outlive it."""
        template = string.Template((programs.HERE / "tsung.xml").read_text(encoding="utf-8"))
        scenario = folder / "tsung.xml"
        scenario.write_text(
            template.substitute(
                port=server.port,
                connections=work.connections,
                data="x" * work.payload_bytes,
            ),
            encoding="utf-8",
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        tsung = f"tsung -n -f {scenario} -l {folder}/log start"
        environ = _environ(work, {"ERL_EPMD_PORT": str(port), "HOME": str(folder)})
        return Invocation(["bash", "-c", f"epmd >/dev/null 2>&1 & {tsung}"], environ, ending="time")

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """The last total of its log, which counts the requests to connect and to join too."""
        (log,) = folder.glob("log/*/tsung.log")
        totals = [
            int(line.split()[2]) + int(line.split()[-1])
            for line in log.read_text(encoding="utf-8").splitlines()
            if line.startswith("stats: request ")
        ]
        return totals[-1] - 2 * work.connections


@dataclass(frozen=True, slots=True)
class AzureSdk:
    """Azure's Python client SDK, `azure_client.py`."""

    def prepare(self) -> str:
        """The package; it is a dependency of the tests."""
        name = "azure-messaging-webpubsubclient"
        return f"{name} {programs.python_package(name)}"

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """Its numbers go on the command line."""
        script = str(programs.HERE / "azure_client.py")
        numbers = map(str, (work.connections, work.payload_bytes))
        environ = _environ(work, {"BENCH_URL": server.url})
        return Invocation([sys.executable, script, *numbers], environ)

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """From the line it prints at its end."""
        return _printed(said, "acks")


@dataclass(frozen=True, slots=True)
class Connects:
    """A script that connects and closes on and on; `connections` at a time."""

    script: str

    def prepare(self) -> str:
        """Nothing but what wpsload depends on."""
        return f"websocket-client {programs.python_package('websocket-client')}"

    def invocation(self, work: Work, server: Server, folder: Path) -> Invocation:
        """Its number goes on the command line."""
        command = [sys.executable, "-m", "gevent.monkey", str(programs.HERE / self.script)]
        environ = _environ(work, {"BENCH_URL": server.url})
        return Invocation([*command, str(work.connections)], environ)

    def claimed(self, work: Work, said: str, folder: Path) -> int:
        """From the line it prints at its end."""
        return _printed(said, "opened")


def _printed(said: str, name: str) -> int:
    count: int = json.loads(said.strip().splitlines()[-1])[name]
    return count
