"""Breathing lets the event loop at its sockets and timers, as a greenlet that yields does not."""

import gc
import socket

import gevent

from wpsload.clock import clock_ns
from wpsload.housekeeping import breathe, keep_what_lives, release
from wpsload.poller import EpollPoller, Source, WatcherPoller, has_epoll
from wpsload.turn import Turn


class Reader(Source):
    """Notes what it reads."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[bytes] = []
        self._sock = sock

    def read(self, is_writable: bool) -> bytes | None:
        """What there is."""
        return self._sock.recv(100)

    def handle(self, data: bytes, read_ns: int) -> None:
        """Keep it."""
        self.heard.append(data)


def test_what_has_come_is_handled_within_a_breath() -> None:
    """However much is still to do."""
    hub = gevent.get_hub()
    kind = EpollPoller if has_epoll() else WatcherPoller
    poller = kind(hub, Turn(hub, clock_ns))
    near, far = socket.socketpair()
    with near, far:
        reader = Reader(near)
        poller.add(near.fileno(), reader)
        for word in (b"one", b"two"):
            far.send(word)
            breathe()
            assert reader.heard.pop() == word
        poller.remove(near.fileno())


def test_the_collector_leaves_alone_what_lives() -> None:
    """Until it is released."""
    gc.unfreeze()
    keep_what_lives()
    assert gc.get_freeze_count() > 1000
    release()
    assert gc.get_freeze_count() == 0
