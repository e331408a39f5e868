"""Both pollers: who is ready is told, nobody else, and the mistake of one is not that of others."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import monkey
from gevent.event import Event
from serving import DEADLINE_S

from wpsload.poller import EpollPoller, Poller, WatcherPoller, has_epoll

_system = monkey.get_original("socket", "socketpair")

KINDS = [
    pytest.param(
        EpollPoller, marks=pytest.mark.skipif(not has_epoll(), reason="this system has no epoll")
    ),
    WatcherPoller,
]


@pytest.fixture(params=KINDS)
def poller(request: pytest.FixtureRequest) -> Poller:
    """One of each kind, on the loop of this process."""
    made: Poller = request.param(gevent.get_hub())
    return made


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    """Two ends of a stream, as the system has them."""
    one, other = _system()
    one.setblocking(False)
    other.setblocking(False)
    with one, other:
        yield one, other


class Reader:
    """Reads its socket whenever it is told to; waits for what comes."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.read = b""
        self.writable = 0
        self._told = Event()

    def ready(self, is_writable: bool) -> None:
        """The poller's call."""
        self.writable += is_writable
        with contextlib.suppress(BlockingIOError):
            self.read += self.sock.recv(65536)
        self._told.set()

    def wait_for(self, is_there: Callable[[], bool]) -> None:
        """Return once `is_there`."""
        with gevent.Timeout(DEADLINE_S):
            while not is_there():
                self._told.clear()
                self._told.wait()


def turn() -> None:
    """Let the event loop turn a few times; whatever is ready has been told then."""
    for _ in range(5):
        gevent.idle()


def test_who_can_read_is_told(poller: Poller, pair: tuple[Any, Any]) -> None:
    """Bytes that arrive call back, and nothing is said of writing, which nobody asked for."""
    one, other = pair
    reader = Reader(one)
    poller.add(one.fileno(), reader.ready)
    for data in (b"a", b"b"):
        other.send(data)
        reader.wait_for(lambda data=data: reader.read.endswith(data))  # type: ignore[misc]  # bound now
    poller.remove(one.fileno())
    assert reader.read == b"ab"
    assert reader.writable == 0


def test_what_was_not_read_is_told_again(poller: Poller, pair: tuple[Any, Any]) -> None:
    """Nothing is lost by a reader that leaves something for the next time."""
    one, other = pair
    done = Event()
    read = []

    def ready(_: bool) -> None:
        read.append(one.recv(1))
        if len(read) == 3:
            done.set()

    poller.add(one.fileno(), ready)
    other.send(b"abc")
    assert done.wait(DEADLINE_S)
    poller.remove(one.fileno())
    assert read == [b"a", b"b", b"c"]


def test_who_can_write_is_told_while_it_wants_to(poller: Poller, pair: tuple[Any, Any]) -> None:
    """Writing is told from when it is wanted until it is not, and reading all the time."""
    one, other = pair
    reader = Reader(one)
    poller.add(one.fileno(), reader.ready)
    turn()
    assert reader.writable == 0
    poller.want_write(one.fileno(), True)
    reader.wait_for(lambda: reader.writable > 0)
    poller.want_write(one.fileno(), False)
    told = reader.writable
    other.send(b"a")
    reader.wait_for(lambda: reader.read == b"a")
    turn()
    poller.remove(one.fileno())
    assert reader.writable == told


def test_the_end_of_a_stream_is_told(poller: Poller, pair: tuple[Any, Any]) -> None:
    """A peer that hangs up makes its end readable."""
    one, other = pair
    reader = Reader(one)
    ended = Event()

    def ready(is_writable: bool) -> None:
        if one.recv(10) == b"":
            poller.remove(one.fileno())
            ended.set()

    poller.add(one.fileno(), ready)
    other.close()
    assert ended.wait(DEADLINE_S)
    assert reader.read == b""


def test_who_is_removed_is_told_nothing(poller: Poller) -> None:
    """Not even if it was ready in the same turn as the one that removed it."""
    pairs = [_system() for _ in range(2)]
    told = []
    done = Event()

    def ready(number: int) -> Callable[[bool], None]:
        def act(_: bool) -> None:
            told.append(number)
            for one, other in pairs:
                poller.remove(one.fileno())
                one.close()
                other.close()
            done.set()

        return act

    for number, (one, other) in enumerate(pairs):
        one.setblocking(False)
        poller.add(one.fileno(), ready(number))
        other.send(b"x")
    assert done.wait(DEADLINE_S)
    turn()
    assert len(told) == 1


def test_a_number_that_is_used_again_is_another_socket(poller: Poller) -> None:
    """The system gives the number of a closed socket to the next one: nothing gets mixed up."""
    numbers = set()
    for round_ in range(3):
        one, other = _system()
        one.setblocking(False)
        numbers.add(one.fileno())
        reader = Reader(one)
        poller.add(one.fileno(), reader.ready)
        poller.want_write(one.fileno(), True)
        other.send(b"%d" % round_)
        reader.wait_for(lambda reader=reader: reader.read != b"")  # type: ignore[misc]  # bound now
        assert reader.read == b"%d" % round_
        poller.remove(one.fileno())
        one.close()
        other.close()
    assert len(numbers) < 3


def test_more_than_one_batch_is_handled(poller: Poller) -> None:
    """A thousand that are ready at once are all told."""
    pairs = [_system() for _ in range(400)]
    told = set()
    done = Event()

    def ready(number: int) -> Callable[[bool], None]:
        def act(_: bool) -> None:
            pairs[number][0].recv(10)
            told.add(number)
            if len(told) == len(pairs):
                done.set()

        return act

    for number, (one, other) in enumerate(pairs):
        one.setblocking(False)
        poller.add(one.fileno(), ready(number))
        other.send(b"x")
    assert done.wait(DEADLINE_S)
    for one, other in pairs:
        poller.remove(one.fileno())
        one.close()
        other.close()


def test_a_mistake_of_one_leaves_the_others(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gevent stops a watcher whose callback raises: the one that watches for all must not."""
    reported = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *told: reported.append(told[1]))
    bad, good = _system(), _system()
    reader = Reader(good[0])

    def fail(_: bool) -> None:
        os.read(bad[0].fileno(), 10)
        raise ZeroDivisionError

    for one, ready in ((bad[0], fail), (good[0], reader.ready)):
        one.setblocking(False)
        poller.add(one.fileno(), ready)
    bad[1].send(b"x")
    with gevent.Timeout(DEADLINE_S):
        while not reported:
            gevent.idle()
    good[1].send(b"a")
    reader.wait_for(lambda: reader.read == b"a")
    for one, other in (bad, good):
        poller.remove(one.fileno())
        one.close()
        other.close()
    assert reported == [ZeroDivisionError]
