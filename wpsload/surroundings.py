"""The machine and the versions that a run had: without them two figures cannot be compared."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from wpsload import __version__
from wpsload.engine import compiled
from wpsload.record import Machine

__all__ = ["machine", "versions"]

_PACKAGES = ("locust", "gevent", "orjson", "msgspec", "websocket-client", "pyjwt")


def versions() -> dict[str, str]:
    """Of wpsload (`compiled` or not), of Python, and of the packages on the message path."""
    found = {
        "wpsload": __version__,
        "compiled": "no" if compiled() is None else "yes",
        "python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> Machine:
    """This one, as far as it tells."""
    return Machine(
        cpu=_cpu() or platform.processor() or platform.machine() or None,
        cores=os.cpu_count(),
        memory_bytes=_memory_bytes(),
        kernel=f"{platform.system()} {platform.release()}",
    )


def _cpu() -> str | None:
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return None


def _memory_bytes() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(path: str) -> Iterable[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
