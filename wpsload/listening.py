"""Listening on an address until told to stop: the options for it, what to say, and the signals."""

import asyncio
import contextlib
import errno
import ipaddress
import signal
from collections.abc import Callable, Iterator
from typing import Any

import click

from wpsload.arguments import WholeNumber
from wpsload.errors import ConfigError

__all__ = [
    "cannot_listen",
    "check_host",
    "host_option",
    "is_loopback",
    "port_option",
    "reachable_at",
    "stop_signals",
]

_Option = Callable[[Callable[..., Any]], Callable[..., Any]]

host_option: _Option = click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
)
port_option: _Option = click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=0,
    show_default=True,
    help="Port to listen on; 0 takes any free one.",
)

_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to print, not to bind


def check_host(host: str) -> None:
    """Refuse a `--host` of nothing, which would mean all addresses.

    Raises:
        ConfigError: if it is empty.
    """
    if not host.strip():
        raise ConfigError("--host is empty", hint="use 127.0.0.1, or 0.0.0.0 for all addresses")


def reachable_at(host: str, port: int) -> str:
    """The address of what listens there, as `http://127.0.0.1:8080`; warns if others reach it."""
    if not is_loopback(host):
        click.echo(
            f"warning: listening on {host}: other machines can connect, without encryption",
            err=True,
        )
    reachable = _ALL_ADDRESSES.get(host, host)
    printed_host = f"[{reachable}]" if ":" in reachable else reachable
    return f"http://{printed_host}:{port}"


def is_loopback(host: str) -> bool:
    """True if nobody on another machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def cannot_listen(error: Exception, *, host: str, port: int) -> ConfigError:
    """What to raise for `error`, by which listening has failed."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ConfigError(f"port {port} is taken", hint="choose another --port, or 0 for any")
    return ConfigError(f"cannot listen on {host}, port {port}", hint="check --host and --port")


@contextlib.contextmanager
def stop_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a clean stop while inside."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        for each in signals:
            loop.add_signal_handler(each, stopping.set)
    except NotImplementedError:  # Windows: its event loop does not know signals
        for each in signals:
            signal.signal(each, lambda *_: loop.call_soon_threadsafe(stopping.set))
        yield
    else:
        yield
        for each in signals:
            loop.remove_signal_handler(each)
