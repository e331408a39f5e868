"""One side of a contest, played once: start server and generator, measure a window, check the work.

The server counts the messages, and the generator's own count has to agree: a generator that counts
what it did not do, or does less than the others, is a problem and not a figure.
"""

import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import processes, servers
from benchmarks.generators import Invocation
from benchmarks.results import Played
from benchmarks.rows import Contest, Side
from benchmarks.servers import Counts, Server
from wpsload.clock import CLOCK

__all__ = ["GENERATOR_CORE", "SERVER_CORE", "play"]

SERVER_CORE, GENERATOR_CORE = 0, 1

_IDLE_USERS = (200, 2200)
_POLL_S = 0.1
_SETTLE_S = 2.0  # memory is read this long after the last connection has joined


class Failed(Exception):
    """A generator did not do what it was started for."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """All clocks at one moment."""

    counts: Counts
    generator_ns: int
    busy_ns: int  # of the generator's core
    server_busy_ns: int


def play(contest: Contest, side: Side, *, warm_up_s: float, window_s: float) -> Played:
    """The figures of one side, or its problem."""
    try:
        if contest.is_idle:
            return _measure_memory(side)
        return _measure_window(contest, side, warm_up_s=warm_up_s, window_s=window_s)
    except (Failed, RuntimeError, OSError, LookupError, ValueError) as error:
        return Played(problem=f"{type(error).__name__}: {error}")
    except subprocess.TimeoutExpired:
        return Played(problem="it did not end when asked to")


def _measure_window(contest: Contest, side: Side, *, warm_up_s: float, window_s: float) -> Played:
    with _server(contest, side) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        invocation = side.generator.invocation(side.work, server, folder)
        with _generator(invocation, folder) as process:
            _wait_until_ready(contest, side, server, process)
            if contest.burst:
                stamp = (
                    f"wps2:{CLOCK}:0000000babe: 24"
                    if side.work.is_numbered
                    else f"wps1:{CLOCK}: 16"
                )
                server.tell(f"push {side.work.payload_bytes} {contest.burst} {stamp}")
            _stay(process, warm_up_s)
            before = _read(server, process)
            _stay(process, window_s)
            after = _read(server, process)
            if contest.burst:
                _stop_pushing(server, process)
            said = _end(server, process, invocation.ending)
            claimed = side.generator.claimed(side.work, said, folder)
            slip_ms, is_invalid = _judged(folder)
        problem = _problem(contest, side, server.counts(), claimed)
    figures = _figures(contest, before, after)
    return replace(figures, problem=problem, slip_ms=slip_ms, is_invalid=is_invalid)


def _judged(folder: Path) -> tuple[float | None, bool]:
    """What the generator says of itself in its summary, which it writes to stderr."""
    said = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"send slip p99 ([\d ]+\.\d+) ms", " ".join(said.split()))
    is_invalid = "\nINVALID: " in said
    return (float(found[1].replace(" ", "")) if found else None), is_invalid


def _measure_memory(side: Side) -> Played:
    resident = [_resident_bytes(side, users) for users in _IDLE_USERS]
    added = (resident[1] - resident[0]) / (_IDLE_USERS[1] - _IDLE_USERS[0])
    return Played(kib=added / 1024)


def _resident_bytes(side: Side, users: int) -> int:
    work = replace(side.work, connections=users)
    contest, side = Contest("", {}), replace(side, work=work)
    with (
        _server(contest, side) as server,
        tempfile.TemporaryDirectory() as name,
        _generator(side.generator.invocation(work, server, Path(name)), Path(name)) as process,
    ):
        _wait_until_ready(contest, side, server, process)
        _stay(process, _SETTLE_S)
        return processes.resident_bytes(process.pid)


@contextmanager
def _server(contest: Contest, side: Side) -> Iterator[Server]:
    if contest.is_stand_in:
        with servers.stand_in(core=SERVER_CORE) as stand_in:
            yield stand_in
    else:
        with servers.sink(core=SERVER_CORE, is_tls=side.work.is_tls) as sink:
            yield sink


@contextmanager
def _generator(invocation: Invocation, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """The running generator; if it fails, the error has its last words."""
    said = folder / "stderr"
    with processes.started(
        invocation.command, core=GENERATOR_CORE, said=said, environ=invocation.environ or None
    ) as process:
        try:
            yield process
        except Failed as error:
            lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise Failed(" · ".join([str(error), *lines[-2:]])) from error


def _wait_until_ready(
    contest: Contest, side: Side, server: Server, process: "subprocess.Popen[str]"
) -> None:
    for _ in range(int(side.ready_s / _POLL_S)):
        counts = server.counts()
        if contest.counted == "opened":
            is_ready = counts.opened > 0
        else:
            is_ready = counts.joins >= side.work.connections
        if is_ready:
            return
        _stay(process, _POLL_S)
    raise Failed(f"{counts.joins} of {side.work.connections} had joined after {side.ready_s:g} s")


def _stay(process: "subprocess.Popen[str]", seconds: float) -> None:
    """Let time pass, in which the generator must not end."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise Failed(f"it ended by itself, with exit code {code}")


def _read(server: Server, process: "subprocess.Popen[str]") -> _Reading:
    return _Reading(
        counts=server.counts(),
        generator_ns=processes.cpu_ns(process.pid),
        busy_ns=processes.busy_ns(GENERATOR_CORE),
        server_busy_ns=processes.busy_ns(SERVER_CORE),
    )


def _stop_pushing(server: Server, process: "subprocess.Popen[str]") -> None:
    """End the push, and wait until everything was read."""
    server.tell("stop")
    while (counts := server.counts()).delivered < counts.pushed:
        _stay(process, _POLL_S)


def _end(server: Server, process: "subprocess.Popen[str]", ending: str) -> str:
    if ending == "refusal":
        server.tell("refuse")
    return processes.end(process, signal.SIGTERM if ending == "signal" else None)


def _figures(contest: Contest, before: _Reading, after: _Reading) -> Played:
    messages = getattr(after.counts, contest.counted) - getattr(before.counts, contest.counted)
    lasted_ns = after.counts.now_ns - before.counts.now_ns
    generator_ns = after.generator_ns - before.generator_ns
    server_ns = after.counts.cpu_ns - before.counts.cpu_ns
    alien_ns = after.busy_ns - before.busy_ns - generator_ns
    server_alien_ns = after.server_busy_ns - before.server_busy_ns - server_ns
    return Played(
        per_s=messages * 1e9 / lasted_ns,
        cpu_us=generator_ns / 1000 / max(1, messages),
        generator_core=generator_ns / lasted_ns,
        server_core=server_ns / lasted_ns,
        alien=max(0, alien_ns, server_alien_ns) / lasted_ns,
    )


def _problem(contest: Contest, side: Side, counts: Counts, claimed: int) -> str | None:
    """What the server saw of work that is not what was asked for, if anything.

    When a generator is stopped, each connection may have one answer on the way to it.
    """
    seen: int = getattr(counts, contest.counted)
    on_the_way = 0 if contest.burst else side.work.connections * side.work.group_size
    if not 0 <= seen - claimed <= on_the_way + int(side.slack_ratio * seen):
        return f"the server counted {seen} {contest.counted}, the generator {claimed}"
    if counts.errors:
        return f"{counts.errors} requests that the server did not understand"
    if contest.counted == "acks" and counts.request_bytes < counts.acks * side.work.payload_bytes:
        return f"messages of less than {side.work.payload_bytes} bytes"
    if side.work.interval_s == 0 and counts.pipelined > counts.acks / 1000:
        return f"{counts.pipelined} requests did not wait for the ack before them"
    if seen == 0:
        return "nothing happened"
    return None
