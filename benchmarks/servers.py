"""The servers that generators are measured against: the C sink, and the stand-in itself.

Both run on a core of their own and tell their counts in the words of `Counts`.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from benchmarks import processes, programs
from wpsload.clock import clock_ns, unix_s
from wpsload.target import DEFAULT_ROLES
from wpsload.tokens import ConnectionString, mint

__all__ = ["Counts", "Server", "Sink", "StandIn", "sink", "stand_in"]

_PATH = "/client/hubs/load"


@dataclass(frozen=True, slots=True)
class Counts:
    """What a server has counted since its start.

    Attributes:
        opened, open: connections accepted so far, and open now.
        joins: connections that have joined a group.
        acks: answered requests, those for joining apart.
        pipelined: those that came together with an earlier one of their connection: a closed loop
            has none.
        request_bytes: bytes of JSON in the requests of `acks`.
        pushed: group messages written.
        delivered: those that are known to have been read.
        errors: requests that were not understood.
        cpu_ns: CPU time of the server.
        now_ns: when this was read, on a monotonic clock.
    """

    opened: int
    open: int
    joins: int
    acks: int
    pipelined: int
    request_bytes: int
    pushed: int
    delivered: int
    errors: int
    cpu_ns: int
    now_ns: int


class Server(Protocol):
    """A running server."""

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""

    @property
    def path(self) -> str:
        """Path and query of `url`."""

    @property
    def connection_string(self) -> str:
        """For clients that sign their tokens themselves."""

    @property
    def url(self) -> str:
        """A client URL that any number of clients may use."""

    def tell(self, command: str) -> None:
        """Give the sink a command that has no answer."""

    def counts(self) -> Counts:
        """The counts of now."""


@dataclass(frozen=True, slots=True)
class Sink:
    """The C sink; its commands are described in `sink.c`."""

    port: int
    is_tls: bool
    stdin: IO[str]
    stdout: IO[str]
    path: str = _PATH

    @property
    def url(self) -> str:
        """A client URL that any number of clients may use."""
        return f"{'wss' if self.is_tls else 'ws'}://127.0.0.1:{self.port}{self.path}"

    @property
    def connection_string(self) -> str:
        """For clients that sign their tokens themselves; the sink accepts all of them."""
        scheme = "https" if self.is_tls else "http"
        return f"Endpoint={scheme}://127.0.0.1:{self.port};AccessKey={'k' * 44};Version=1.0;"

    def counts(self) -> Counts:
        """The counts of now."""
        self.tell("stats")
        return Counts(**json.loads(self.stdout.readline()))

    def tell(self, command: str) -> None:
        """Give a command that has no answer."""
        self.stdin.write(f"{command}\n")
        self.stdin.flush()


@dataclass(frozen=True, slots=True)
class StandIn:
    """`wpsload serve`, without a delay before its acks."""

    port: int
    path: str
    connection_string: str
    pid: int

    @property
    def url(self) -> str:
        """A client URL that any number of clients may use."""
        return f"ws://127.0.0.1:{self.port}{self.path}"

    def tell(self, command: str) -> None:
        """There is nothing that it could be told."""
        raise ValueError(f"the stand-in takes no commands: {command}")

    def counts(self) -> Counts:
        """The counts of now; a delivery counts when it is written."""
        address = f"http://127.0.0.1:{self.port}/_standin/stats"
        with urllib.request.urlopen(address, timeout=30) as answer:
            ledger: dict[str, Any] = json.load(answer)
        joins = ledger["requests"].get("joinGroup", 0)
        return Counts(
            opened=ledger["connections_total"],
            open=ledger["connections_open"],
            joins=joins,
            acks=ledger["acks"].get("success", 0) - joins,
            pipelined=0,
            request_bytes=ledger["bytes_in"],
            pushed=ledger["deliveries"],
            delivered=ledger["deliveries"],
            errors=ledger["acks_total"] - ledger["acks"].get("success", 0),
            cpu_ns=processes.cpu_ns(self.pid),
            now_ns=clock_ns(),
        )


@contextmanager
def sink(*, core: int, is_tls: bool = False) -> Iterator[Sink]:
    """A running sink."""
    program = programs.build("sink.c", "ssl", "crypto")
    _, chain, key = programs.certificate() if is_tls else (None, None, None)
    command = [str(program), *((str(chain), str(key)) if is_tls else ())]
    with _started(command, core) as (process, description):
        assert process.stdin is not None
        assert process.stdout is not None
        yield Sink(description["port"], is_tls, process.stdin, process.stdout)


@contextmanager
def stand_in(*, core: int) -> Iterator[Server]:
    """A running stand-in."""
    command = [sys.executable, "-m", "wpsload", "serve", "--json", "--ack-delay", "0s"]
    with _started(command, core) as (process, description):
        key = description["connection_string"]
        client = mint(
            ConnectionString.parse(key, source="the stand-in"),
            description["hub"],
            now_s=unix_s(),
            ttl_s=3600,
            roles=DEFAULT_ROLES,
        )
        path = "/" + client.url.reveal().split("/", 3)[3]
        yield StandIn(description["port"], path, key, process.pid)


@contextmanager
def _started(
    command: list[str], core: int
) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """A server that describes itself in the first line that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "stderr"
        with processes.started(command, core=core, said=said) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{command[0]} did not start: {said.read_text()}")
            yield process, json.loads(line)
