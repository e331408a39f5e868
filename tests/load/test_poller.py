"""All pollers: who is ready is told, nobody else, and the mistake of one is not that of others."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import monkey
from gevent.event import Event
from serving import DEADLINE_S

from wpsload.clock import clock_ns
from wpsload.engine import compiled
from wpsload.poller import EpollPoller, Poller, Source, WatcherPoller, has_epoll
from wpsload.turn import Turn

_system = monkey.get_original("socket", "socketpair")

KINDS = [
    pytest.param(
        EpollPoller, marks=pytest.mark.skipif(not has_epoll(), reason="this system has no epoll")
    ),
    WatcherPoller,
    *filter(None, [compiled()]),
]


@pytest.fixture(params=KINDS)
def poller(request: pytest.FixtureRequest) -> Poller:
    """One of each kind, on the loop of this process."""
    hub = gevent.get_hub()
    made: Poller = request.param(hub, Turn(hub, clock_ns))
    return made


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    """Two ends of a stream, as the system has them."""
    one, other = _system()
    one.setblocking(False)
    other.setblocking(False)
    with one, other:
        yield one, other


class Told:
    """A source of which one function is told that it is ready."""

    def __init__(self, ready: Callable[[bool], object]) -> None:
        self._ready = ready

    def read(self, is_writable: bool) -> bytes | None:
        """The poller's first call."""
        self._ready(is_writable)
        return None

    def handle(self, data: bytes, read_ns: int) -> None:
        """The poller's second call."""
        raise AssertionError("nothing was read")


class Reader:
    """Reads its socket whenever it is told to; waits for what comes."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.got = b""
        self.writable = 0
        self._told = Event()

    def read(self, is_writable: bool) -> bytes | None:
        """The poller's first call."""
        self.writable += is_writable
        self._told.set()
        try:
            data: bytes = self.sock.recv(65536)
        except BlockingIOError:
            return None
        return data

    def handle(self, data: bytes, read_ns: int) -> None:
        """The poller's second call."""
        self.got += data
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
    poller.add(one.fileno(), reader)
    for data in (b"a", b"b"):
        other.send(data)
        reader.wait_for(lambda data=data: reader.got.endswith(data))  # type: ignore[misc]  # bound now
    poller.remove(one.fileno())
    assert reader.got == b"ab"
    assert reader.writable == 0


def test_a_number_that_was_closed_serves_again(poller: Poller) -> None:
    """A socket is forgotten after it was closed, and another one with its number is watched."""
    first, first_other = _system()
    one, other = _system()
    with first_other, other:
        number = first.fileno()
        poller.add(number, Reader(first), is_writing=True)
        first.detach()
        os.dup2(one.detach(), number)  # closes the one, and gives its number to another
        poller.remove(number)
        again = monkey.get_original("socket", "socket")(fileno=number)
        again.setblocking(False)
        with again:
            reader = Reader(again)
            poller.add(number, reader)
            other.send(b"here")
            reader.wait_for(lambda: reader.got == b"here")
            poller.remove(number)


def test_writing_is_wanted_from_the_start(poller: Poller, pair: tuple[Any, Any]) -> None:
    """As while connecting: a socket with nothing to read is told to be writable at once."""
    reader = Reader(pair[0])
    poller.add(pair[0].fileno(), reader, is_writing=True)
    reader.wait_for(lambda: reader.writable > 0)
    poller.remove(pair[0].fileno())


def test_what_was_not_read_is_told_again(poller: Poller, pair: tuple[Any, Any]) -> None:
    """Nothing is lost by a reader that leaves something for the next time."""
    one, other = pair
    done = Event()
    read = []

    def ready(_: bool) -> None:
        read.append(one.recv(1))
        if len(read) == 3:
            done.set()

    poller.add(one.fileno(), Told(ready))
    other.send(b"abc")
    assert done.wait(DEADLINE_S)
    poller.remove(one.fileno())
    assert read == [b"a", b"b", b"c"]


def test_who_can_write_is_told_while_it_wants_to(poller: Poller, pair: tuple[Any, Any]) -> None:
    """Writing is told from when it is wanted until it is not, and reading all the time."""
    one, other = pair
    reader = Reader(one)
    poller.add(one.fileno(), reader)
    turn()
    assert reader.writable == 0
    poller.want_write(one.fileno(), True)
    reader.wait_for(lambda: reader.writable > 0)
    poller.want_write(one.fileno(), False)
    told = reader.writable
    other.send(b"a")
    reader.wait_for(lambda: reader.got == b"a")
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

    poller.add(one.fileno(), Told(ready))
    other.close()
    assert ended.wait(DEADLINE_S)
    assert reader.got == b""


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
        poller.add(one.fileno(), Told(ready(number)))
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
        poller.add(one.fileno(), reader)
        poller.want_write(one.fileno(), True)
        other.send(b"%d" % round_)
        reader.wait_for(lambda reader=reader: reader.got != b"")  # type: ignore[misc]  # bound now
        assert reader.got == b"%d" % round_
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
        poller.add(one.fileno(), Told(ready(number)))
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

    sources: list[tuple[Any, Source]] = [(bad[0], Told(fail)), (good[0], reader)]
    for one, source in sources:
        one.setblocking(False)
        poller.add(one.fileno(), source)
    bad[1].send(b"x")
    with gevent.Timeout(DEADLINE_S):
        while not reported:
            gevent.idle()
    good[1].send(b"a")
    reader.wait_for(lambda: reader.got == b"a")
    for one, other in (bad, good):
        poller.remove(one.fileno())
        one.close()
        other.close()
    assert reported == [ZeroDivisionError]


class Logged(Reader):
    """Writes down what is done with it, in which order; each message causes a write."""

    def __init__(self, sock: Any, log: list[str], turn: Turn) -> None:
        super().__init__(sock)
        self._log = log
        self._turn = turn

    def read(self, is_writable: bool) -> bytes | None:
        self._log.append("read")
        return super().read(is_writable)

    def handle(self, data: bytes, read_ns: int) -> None:
        self._log.append("handle")
        assert 0 <= clock_ns() - read_ns < DEADLINE_S * 1e9
        assert self._turn.is_under_way
        self._turn.hold(lambda: self._log.append("write"))
        super().handle(data, read_ns)


@pytest.mark.skipif(not has_epoll(), reason="this system has no epoll")
def test_one_kind_of_work_at_a_time() -> None:
    """All that are ready are read, then handled, then written; a stream's end is handled too."""
    hub = gevent.get_hub()
    own_turn = Turn(hub, clock_ns)
    poller = EpollPoller(hub, own_turn)
    pairs = [_system() for _ in range(3)]
    log: list[str] = []
    readers = [Logged(one, log, own_turn) for one, _ in pairs]
    for (one, other), reader in zip(pairs, readers, strict=True):
        one.setblocking(False)
        other.send(b"x")
        poller.add(one.fileno(), reader)
    readers[-1].wait_for(lambda: all(reader.got for reader in readers))
    turn()
    for one, other in pairs:
        poller.remove(one.fileno())
        one.close()
        other.close()
    assert log == ["read"] * 3 + ["handle"] * 3 + ["write"] * 3
    assert not own_turn.is_under_way


def test_what_was_read_is_not_handled_once_its_source_is_removed(poller: Poller) -> None:
    """Two that are ready at once: the first to be handled ends both."""
    pairs = [_system() for _ in range(2)]
    handled = Event()
    count = []

    class Ends(Reader):
        def handle(self, data: bytes, read_ns: int) -> None:
            count.append(data)
            for one, _ in pairs:
                poller.remove(one.fileno())
            handled.set()

    for one, other in pairs:
        one.setblocking(False)
        other.send(b"x")
        poller.add(one.fileno(), Ends(one))
    assert handled.wait(DEADLINE_S)
    turn()
    for one, other in pairs:
        one.close()
        other.close()
    assert count == [b"x"]


def test_a_mistake_in_handling_leaves_the_others(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one in reading does."""
    reported = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *told: reported.append(told[1]))
    bad, good = _system(), _system()

    class Fails(Reader):
        def handle(self, data: bytes, read_ns: int) -> None:
            poller.remove(self.sock.fileno())
            raise ZeroDivisionError

    reader = Reader(good[0])
    for (one, other), source in ((bad, Fails(bad[0])), (good, reader)):
        one.setblocking(False)
        other.send(b"x")
        poller.add(one.fileno(), source)
    reader.wait_for(lambda: reader.got == b"x" and bool(reported))
    poller.remove(good[0].fileno())
    for sock in (*bad, *good):
        sock.close()
    assert reported == [ZeroDivisionError]
