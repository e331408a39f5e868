"""Processes that are pinned to a core, end with the benchmark, and can be measured.

A process started here leads a session of its own, so that what it starts can be found by the
session's number, for measuring and for ending. It dies with the benchmark even if that is killed.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["busy_ns", "cpu_ns", "end", "resident_bytes", "started"]

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_END_S = 30.0  # who was asked to end and has not after this long is killed


@contextmanager
def started(
    command: Sequence[str], *, core: int, said: Path, environ: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A process on `core`, which says what it says on stderr into the file `said`.

    On leaving, it and everything it started is killed.
    """
    pinned = ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core), *command]
    with (
        said.open("w") as stderr,
        subprocess.Popen(
            pinned,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environ,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            _signal(process.pid, signal.SIGKILL)


def end(process: "subprocess.Popen[str]", number: int | None = signal.SIGTERM) -> str:
    """Send a signal, if any, to all of the process's session; what it said on stdout at last.

    Raises:
        subprocess.TimeoutExpired: if it does not end.
    """
    if number is not None:
        _signal(process.pid, number)
    said, _ = process.communicate(timeout=_END_S)
    return said


def cpu_ns(session: int) -> int:
    """User and system time that the processes of a session have used so far."""
    ticks = 0
    for stat in _stats(session):
        ticks += int(stat[11]) + int(stat[12])
    return ticks * _NS_PER_TICK


def resident_bytes(session: int) -> int:
    """Memory that the processes of a session have resident."""
    return sum(int(stat[21]) for stat in _stats(session)) * _PAGE_BYTES


def busy_ns(core: int) -> int:
    """How long a core has not been idle, since the start of the machine."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, *interrupts_and_steal = map(int, ticks[:8])
            return (user + nice + system + sum(interrupts_and_steal)) * _NS_PER_TICK
    raise ValueError(f"this machine has no core {core}")


def _pids(session: int) -> list[int]:
    return [int(stat[-1]) for stat in _stats(session)]


def _stats(session: int) -> list[list[str]]:
    """The fields of /proc/PID/stat from the third on, and the process id, of a session.

    Whoever is a child of one of its processes belongs to it too, even in another session.
    """
    members: list[list[str]] = []
    others: list[list[str]] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stat = [*path.read_text().rpartition(")")[2].split(), path.parent.name]
            (members if int(stat[3]) == session else others).append(stat)
    parents = [stat[-1] for stat in members]
    while children := [stat for stat in others if stat[1] in parents]:
        members += children
        parents = [stat[-1] for stat in children]
    return members


def _signal(session: int, number: int) -> None:
    for pid in _pids(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
