"""Which sockets are ready: one epoll for all of them, or a watcher for each where there is none.

gevent's loop watches the one epoll, and everything that is ready is handled in one go. A watcher
for each socket costs more, but works on every system.
"""

import sys
from collections.abc import Callable
from typing import Any, Protocol

from gevent import monkey

__all__ = ["EpollPoller", "Poller", "Ready", "WatcherPoller", "has_epoll"]

Ready = Callable[[bool], None]
"""Told that its socket may be read, and whether it is writable. Called from the event loop, where
nothing may wait. It has to find out by itself that there is nothing to read after all."""

_READ, _WRITE = 1, 2  # of an io watcher
_EPOLLIN, _EPOLLOUT = 1, 4  # not in `select` on other systems
_BATCH = 256


class Poller(Protocol):
    """Calls back when sockets are ready."""

    def add(self, fd: int, ready: Ready) -> None:
        """Watch `fd` for reading."""

    def want_write(self, fd: int, is_wanted: bool) -> None:
        """Watch it for writing too, or no longer."""

    def remove(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed."""


def _epoll_class() -> Any:
    # gevent takes it out of `select`, because it blocks. Asked not to wait, it does not.
    try:
        return monkey.get_original("select", "epoll")
    except AttributeError:
        return None


def has_epoll() -> bool:
    """True on Linux."""
    return _epoll_class() is not None


class EpollPoller:
    """All sockets behind one file descriptor, which the loop of gevent's `hub` watches."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._epoll = _epoll_class()()
        self._poll = self._epoll.poll
        self._ready: dict[int, Ready] = {}
        self._watcher = hub.loop.io(self._epoll.fileno(), _READ)
        self._watcher.start(self._handle)

    def add(self, fd: int, ready: Ready) -> None:
        """Watch `fd` for reading."""
        self._epoll.register(fd, _EPOLLIN)
        self._ready[fd] = ready

    def want_write(self, fd: int, is_wanted: bool) -> None:
        """Watch it for writing too, or no longer."""
        self._epoll.modify(fd, _EPOLLIN | _EPOLLOUT if is_wanted else _EPOLLIN)

    def remove(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed."""
        del self._ready[fd]
        self._epoll.unregister(fd)

    def _handle(self) -> None:
        find = self._ready.get
        for fd, events in self._poll(0, _BATCH):
            ready = find(fd)
            if ready is not None:  # one before it may have closed this one
                try:
                    ready(events > _EPOLLIN and events & _EPOLLOUT != 0)
                except BaseException:  # gevent would watch no socket any more
                    self._hub.handle_error(ready, *sys.exc_info())


class WatcherPoller:
    """One watcher for each socket, in the loop of gevent's `hub`."""

    def __init__(self, hub: Any) -> None:
        self._loop = hub.loop
        self._watchers: dict[int, tuple[Any, Ready]] = {}

    def add(self, fd: int, ready: Ready) -> None:
        """Watch `fd` for reading."""
        self._watch(fd, ready, _READ)

    def want_write(self, fd: int, is_wanted: bool) -> None:
        """Watch it for writing too, or no longer."""
        ready = self._watchers[fd][1]
        self.remove(fd)
        self._watch(fd, ready, _READ | _WRITE if is_wanted else _READ)

    def remove(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed."""
        watcher, _ = self._watchers.pop(fd)
        watcher.stop()
        watcher.close()

    def _watch(self, fd: int, ready: Ready, events: int) -> None:
        watcher = self._loop.io(fd, events)
        self._watchers[fd] = watcher, ready
        watcher.start(lambda happened: ready(happened & _WRITE != 0), pass_events=True)
