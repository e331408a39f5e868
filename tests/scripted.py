"""Connections to a service that does what a test says, and an observer that keeps everything."""

import itertools
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from serving import DEADLINE_S
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from wpsload.clock import CLOCK
from wpsload.connection import Connection
from wpsload.dialing import Address
from wpsload.engine import Engine
from wpsload.ledger import Ledger
from wpsload.link import Limits
from wpsload.meter import Meter
from wpsload.metrics import Metric, Sample
from wpsload.session import Message, PubSubSession
from wpsload.subprotocol import JSON_V1, Ack, encode_success

__all__ = ["CONNECTED", "LIMITS", "Peer", "Watcher", "connected", "join", "service"]

LIMITS = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=DEADLINE_S, drain_s=DEADLINE_S)
CONNECTED = b'{"type":"system","event":"connected","userId":"u","connectionId":"c"}'


class Watcher:
    """An observer that keeps everything, and can be waited for."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.counts: Counter[str] = Counter()
        self.messages: list[Message] = []
        self.mistakes: list[Exception] = []
        self.is_listening = True
        self.meter = Meter()
        self._changed = Event()

    def mistake(self, error: Exception) -> None:
        """Keep what the scenario raised."""
        self.mistakes.append(error)
        self._changed.set()

    def record(self, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.append(sample)
        self._changed.set()

    def count(self, name: str, amount: int) -> None:
        """Keep a count."""
        self.counts[name] += amount
        self._changed.set()

    def message(self, message: Message) -> None:
        """Keep a message."""
        self.messages.append(message)
        self._changed.set()

    def acked(self, metric: Metric) -> int:
        """How many plain acks the meter was told of."""
        return len(self.meter.series(metric).latencies_ns)

    def failures(self) -> list[tuple[str, str | None]]:
        """Name and text of the samples that failed."""
        return [(one.metric.name, one.failure) for one in self.samples if one.failure is not None]

    def wait_for(self, is_there: Callable[[], bool]) -> None:
        """Return once `is_there`, and fail if it does not come."""
        with gevent.Timeout(DEADLINE_S):
            while not is_there():
                self._changed.clear()
                self._changed.wait(0.01)  # what the meter counts, nobody is told of


@contextmanager
def connected(
    url: str, watcher: Watcher, limits: Limits = LIMITS, *, engine: Engine
) -> Iterator[tuple[Connection, PubSubSession]]:
    """A started connection to `url`, closed on leaving."""
    session = PubSubSession(clock=CLOCK)
    connection = Connection(
        session,
        address=lambda: Address(url, {}),
        observer=watcher,
        ledger=Ledger(itertools.count().__next__),
        meter=watcher.meter,
        limits=limits,
        engine=engine,
    )
    connection.start()
    try:
        yield connection, session
    finally:
        connection.close()


def join(connection: Connection, session: PubSubSession, group: str = "g") -> Ack:
    """Join a group and wait for the ack."""
    return connection.request(lambda sent_ns: session.join(group, sent_ns=sent_ns))


@contextmanager
def service(
    script: Callable[["Peer"], None], kind: "Callable[[Any], Peer] | None" = None
) -> Iterator[str]:
    """The URL of a service that does what `script` says, for each connection anew.

    `kind` makes the peer of a socket, if not `Peer`.
    """
    server = StreamServer(("127.0.0.1", 0), lambda sock, _: script((kind or Peer)(sock)))
    server.start()
    try:
        yield f"ws://127.0.0.1:{server.server_port}/client/hubs/load"
    finally:
        server.stop(0)


class Peer:
    """The service's side of one connection; frames are made and read by `websockets`."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self._requests: deque[bytes] = deque()
        self.protocol = ServerProtocol(subprotocols=[JSON_V1])  # type: ignore[list-item]  # a NewType
        self._fill()
        (request,) = self.protocol.events_received()
        self.protocol.send_response(self.protocol.accept(request))  # type: ignore[arg-type]  # the first event
        self.flush()

    def _fill(self) -> bool:
        """Read once; False at the end of the stream."""
        data = self.sock.recv(65536)
        self.protocol.receive_data(data) if data else self.protocol.receive_eof()
        return bool(data)

    def flush(self) -> None:
        """Write what is due."""
        for data in self.protocol.data_to_send():
            self.sock.sendall(data)

    def say(self, frame: bytes) -> None:
        """Send a text frame."""
        self.protocol.send_text(frame)
        self.flush()

    def hear(self) -> bytes:
        """The next text frame; empty at the end."""
        while not self._requests:
            self.flush()
            if not self._fill():
                return b""
            for event in self.protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    self._requests.append(bytes(event.data))
        return self._requests.popleft()

    def ack_everything(self) -> None:
        """Acknowledge each request until the client goes away."""
        while request := self.hear():
            self.say(encode_success(json.loads(request)["ackId"]))

    def close(self, code: int) -> None:
        """Send a close frame and hang up when it is answered."""
        self.protocol.send_close(code)
        self.flush()
        self.hear()
        self.sock.close()
