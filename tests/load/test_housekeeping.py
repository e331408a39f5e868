"""Breathing lets the event loop at its sockets and timers, as a greenlet that yields does not."""

import gc
import socket

import gevent
import pytest

from wpsload.clock import clock_ns
from wpsload.housekeeping import Breaths, breathe, keep_what_lives, release
from wpsload.poller import EpollPoller, Source, WatcherPoller, has_epoll
from wpsload.turn import Turn
from wpsload.units import NS_PER_MS


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


def test_breaths_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is waited for goes on without them, however long each of them would be."""
    monkeypatch.setattr(Breaths, "_LONGEST_NS", 30 * NS_PER_MS)
    breathed = [0]

    def load() -> None:
        while True:
            breathed[0] += 1
            gevent.sleep(0.001)

    running = gevent.spawn(load)
    breathe_awhile = Breaths()
    begun_ns = clock_ns()
    breathe_awhile()
    assert breathed[0] > 0
    while clock_ns() < begun_ns + 30 * NS_PER_MS:
        pass
    before = breathed[0]
    for _ in range(100):
        breathe_awhile()
    assert breathed[0] == before
    running.kill()


def test_the_collector_leaves_alone_what_lives() -> None:
    """Until it is released."""
    gc.unfreeze()
    keep_what_lives()
    assert gc.get_freeze_count() > 1000
    release()
    assert gc.get_freeze_count() == 0
