"""Ctrl-C ends a run in good order: users drain, files are completed, the summary is printed.

As it comes, SIGINT raises KeyboardInterrupt in whatever greenlet happens to run, which on a busy
generator is one that reads a connection: it dies, its connection breaks off, and what it had under
way is lost. Here the first SIGINT is passed on as SIGTERM, which Locust handles well; a second one
does what SIGINT always did.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

import click
import gevent

__all__ = ["install", "one_ending"]

_POLL_S = 0.05


def install(*, wait_for_master: Callable[[], float] | None) -> None:
    """Take over SIGINT in this process.

    `wait_for_master` is for a worker that Locust forked: Ctrl-C reaches master and workers at once,
    but only the master knows when a worker is done. It gives the seconds to wait for its word.
    """
    default = signal.getsignal(signal.SIGINT)

    def interrupted() -> None:
        signal.signal(signal.SIGINT, default)
        if wait_for_master is None:
            click.echo("interrupted: finishing what is under way, Ctrl-C again to abort", err=True)
        else:
            gevent.sleep(wait_for_master())
        os.kill(os.getpid(), signal.SIGTERM)

    gevent.signal_handler(signal.SIGINT, interrupted)


def one_ending() -> Callable[..., None]:
    """A listener of `quitting`, to be told first, that keeps a second greenlet out of the ending.

    Locust ends in the greenlet that SIGTERM starts. Its main one does the same all over if it finds
    meanwhile that the last worker has quit. It waits here, until the exit of the first reaches it.
    """
    first: list[Any] = []

    def wait(**_: Any) -> None:
        current = gevent.getcurrent()
        while first and first[0] is not current and not first[0].dead:
            gevent.sleep(_POLL_S)
        first[:] = [current]

    return wait
