"""The clocks of this process: one to measure with, one for people."""

import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from wpsload.payload import clock_id
from wpsload.units import NS_PER_S

__all__ = ["CLOCK", "clock_ns", "unix_s"]

clock_ns = time.perf_counter_ns
"""Measures. Shared by all processes of a machine, monotonic, without a meaning of its own."""


def _machine() -> str:
    """What changes whenever `clock_ns` starts anew: the boot, or failing that the machine.

    A container may have a clock of its own on the same machine. Source: time_namespaces(7).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return f"{uuid.getnode():x}"
    try:
        return boot + os.readlink("/proc/self/ns/time")
    except OSError:
        return boot


CLOCK = clock_id(_machine())
"""Names `clock_ns` in stamped payloads, so that clocks of different machines are never mixed."""

_STARTED_NS = clock_ns()
_STARTED_S = datetime.now(UTC).timestamp()


def unix_s() -> float:
    """Unix time in seconds. Read once at the start and carried on by `clock_ns`: never steps."""
    return _STARTED_S + (clock_ns() - _STARTED_NS) / NS_PER_S
