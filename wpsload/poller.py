"""Which sockets are ready: one epoll for all of them, or a watcher for each where there is none.

gevent's loop watches the one epoll, and everything that is ready is read in one go, and then
handled in one go. A watcher for each socket costs more, but works on every system.
"""

import contextlib
import sys
from typing import Any, Protocol

from gevent import monkey

from wpsload.clock import clock_ns
from wpsload.turn import MOST_HELD, Turn

__all__ = ["EpollPoller", "Poller", "Source", "WatcherPoller", "has_epoll"]

_READ, _WRITE = 1, 2  # of an io watcher
_EPOLLIN, _EPOLLOUT = 1, 4  # not in `select` on other systems


class Source(Protocol):
    """What is watched. Called from the event loop, where nothing may wait."""

    def read(self, is_writable: bool) -> bytes | None:
        """What there is to read, after writing what was kept if that is possible now.

        None if there is nothing after all; empty, at the end of a stream, is for `handle` too.
        """

    def handle(self, data: bytes, read_ns: int) -> None:
        """What was read at `read_ns`, once all that are ready have been read."""


class Poller(Protocol):
    """Calls back when sockets are ready, in a turn. Its length is how many it watches."""

    def __len__(self) -> int: ...

    def add(self, fd: int, source: Source, *, is_writing: bool = False) -> None:
        """Watch `fd` for reading, and for writing too if `is_writing`."""

    def want_write(self, fd: int, is_wanted: bool) -> None:
        """Watch it for writing too, or no longer."""

    def remove(self, fd: int) -> None:
        """Forget `fd`, and what was read from it, before it is closed or right afterwards."""


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

    def __init__(self, hub: Any, turn: Turn) -> None:
        self._hub = hub
        self._turn = turn
        self._epoll = _epoll_class()()
        self._poll = self._epoll.poll
        self._sources: dict[int, Source] = {}
        self._watcher = hub.loop.io(self._epoll.fileno(), _READ)
        self._watcher.start(self._handle)

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, fd: int, source: Source, *, is_writing: bool = False) -> None:
        """Watch `fd` for reading, and for writing too if `is_writing`."""
        self._epoll.register(fd, _EPOLLIN | _EPOLLOUT if is_writing else _EPOLLIN)
        self._sources[fd] = source

    def want_write(self, fd: int, is_wanted: bool) -> None:
        """Watch it for writing too, or no longer."""
        self._epoll.modify(fd, _EPOLLIN | _EPOLLOUT if is_wanted else _EPOLLIN)

    def remove(self, fd: int) -> None:
        """Forget `fd`, and what was read from it, before it is closed or right afterwards."""
        del self._sources[fd]
        with contextlib.suppress(OSError):  # the system forgets what is closed by itself
            self._epoll.unregister(fd)

    def _handle(self) -> None:
        find = self._sources.get
        arrived: list[tuple[int, Source, bytes, int]] = []
        self._turn.begin()
        for fd, events in self._poll(0, MOST_HELD):
            source = find(fd)
            if source is not None:  # one before it may have closed this one
                try:
                    data = source.read(events > _EPOLLIN and events & _EPOLLOUT != 0)
                except BaseException:  # gevent would watch no socket any more
                    self._hub.handle_error(source, *sys.exc_info())
                else:
                    if data is not None:
                        arrived.append((fd, source, data, clock_ns()))
        for fd, source, data, read_ns in arrived:
            if find(fd) is source:
                try:
                    source.handle(data, read_ns)
                except BaseException:
                    self._hub.handle_error(source, *sys.exc_info())
        self._turn.end()


class WatcherPoller:
    """One watcher for each socket, in the loop of gevent's `hub`; each call is a turn."""

    def __init__(self, hub: Any, turn: Turn) -> None:
        self._loop = hub.loop
        self._turn = turn
        self._watchers: dict[int, tuple[Any, Source]] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, fd: int, source: Source, *, is_writing: bool = False) -> None:
        """Watch `fd` for reading, and for writing too if `is_writing`."""
        self._watch(fd, source, _READ | _WRITE if is_writing else _READ)

    def want_write(self, fd: int, is_wanted: bool) -> None:
        """Watch it for writing too, or no longer."""
        source = self._watchers[fd][1]
        self.remove(fd)
        self._watch(fd, source, _READ | _WRITE if is_wanted else _READ)

    def remove(self, fd: int) -> None:
        """Forget `fd`, before it is closed or right afterwards."""
        watcher, _ = self._watchers.pop(fd)
        watcher.stop()
        watcher.close()

    def _watch(self, fd: int, source: Source, events: int) -> None:
        def handle(happened: int) -> None:
            self._turn.begin()
            try:
                data = source.read(happened & _WRITE != 0)
                if data is not None and fd in self._watchers:
                    source.handle(data, clock_ns())
            finally:
                self._turn.end()

        watcher = self._loop.io(fd, events)
        self._watchers[fd] = watcher, source
        watcher.start(handle, pass_events=True)
