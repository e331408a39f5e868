"""One client of the service over websocket-client: kept open, read, and drained at the end.

A connection owns a session and moves bytes for it. Its users see only what is here: wait until it
is open, make a request and wait for the answer, close. How many greenlets or sockets that takes
is nobody's business, so that another engine can take its place.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
import websocket
from gevent.event import AsyncResult, Event

from wpsload.dialing import Dialed, dial
from wpsload.errors import ConnectError, LocalProtocolError, RemoteProtocolError
from wpsload.metrics import CONNECT, CONNECT_PHASES, CONNECTION_LOST, Sample
from wpsload.session import Answered, Arrived, Message, PubSubSession, Ready, SimpleSession, State
from wpsload.subprotocol import Ack
from wpsload.tokens import ClientUrl
from wpsload.units import seconds

__all__ = ["Address", "Connection", "Limits", "Observer", "back_off_s"]

_BACK_OFF_START_S = 0.5
_BACK_OFF_LIMIT_S = 15.0
_UNFINISHED_S = 1.0  # who is still connecting after this long when the run stops is a finding
_INTERRUPTED = "write interrupted"
_NORMAL_CLOSURE = 1000
_PROTOCOL_ERROR = 1002
_NO_STATUS = 1005
_ABNORMAL_CLOSURE = 1006


class Observer(Protocol):
    """Where a connection tells what happened."""

    def record(self, sample: Sample) -> None:
        """One measured operation is over."""

    def count(self, name: str, amount: int) -> None:
        """`amount` more of `name`: `opened`, `closed`, `sent`, `sent_bytes`, `received_bytes`."""

    def message(self, message: Message) -> None:
        """A message for the scenario; must not wait for anything."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and the headers to send. Holds a token: never print it."""

    url: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, client: ClientUrl, *, is_token_in_header: bool) -> "Address":
        """The address of a client URL; its token travels in the query, or in a header."""
        if not is_token_in_header:
            return cls(client.url.reveal(), {})
        url, token = client.split()
        return cls(url, {"Authorization": f"Bearer {token.reveal()}"} if token else {})

    def __repr__(self) -> str:
        return "Address(***)"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait, in seconds: to connect, for an ack, and for answers due at the end."""

    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 30.0
    drain_s: float = 5.0


def back_off_s(attempt: int, random_ratio: float) -> float:
    """Seconds to wait before connection attempt number `attempt` (1 is the first repeated one).

    Doubles up to 15 s. `random_ratio`, from 0 to 1, spreads clients that failed together over the
    second half of that time, so that they do not come back together.
    """
    doublings = min(attempt - 1, 10)
    longest_s = min(_BACK_OFF_LIMIT_S, _BACK_OFF_START_S * float(2**doublings))
    return longest_s * (0.5 + random_ratio / 2)


class Connection:
    """A client that connects, reconnects after a drop, and closes with code 1000.

    Args:
        session: the protocol; simple or PubSub.
        address: gives the address for each attempt to connect; may raise `ConnectError`.
        observer: told of every sample, count and message.
        clock_ns: the clock of all times.
    """

    def __init__(
        self,
        session: PubSubSession | SimpleSession,
        *,
        address: Callable[[], Address],
        observer: Observer,
        limits: Limits,
        clock_ns: Callable[[], int],
    ) -> None:
        self._session = session
        self._address = address
        self._observer = observer
        self._limits = limits
        self._clock_ns = clock_ns
        self._websocket: Any = None
        self._answers: dict[int, AsyncResult[Ack]] = {}
        self._is_open = Event()
        self._is_idle = Event()
        self._is_stopping = False
        self._has_opened = False  # the present connection, or the last one
        self._broken_by: str | None = None
        self._greenlet = gevent.Greenlet(self._run)

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        self._greenlet.start()

    def wait_open(self) -> None:
        """Return when the connection is open, however many attempts it takes.

        Raises:
            LocalProtocolError: if it was never started.
            Exception: what ended the connection for good, which is a mistake in this program.
        """
        if not (self._greenlet.started or self._greenlet.ready()):
            raise LocalProtocolError(
                "the user is not connected", hint="call super().on_start() first in on_start"
            )
        while not self._is_open.is_set():  # it may be gone again when we wake up
            gevent.wait((self._is_open, self._greenlet), count=1)
            if self._greenlet.ready():
                self._greenlet.get()

    def request(self, make: Callable[[int], tuple[int, bytes]], *, is_text: bool = True) -> Ack:
        """Write a request and wait for its answer.

        `make` is a request method of the session: it takes the time of writing in ns and gives
        the key of the answer and the frame. An answer that does not come is an `Ack` whose error
        is `Timeout` or says how the connection closed.

        Raises:
            LocalProtocolError: if called from `on_message`, which the answer would wait behind.
        """
        if gevent.getcurrent() is self._greenlet:
            raise LocalProtocolError(
                "on_message waits for an answer that can only arrive after it",
                hint="keep the message and answer it from a task, or use a verb that does not wait",
            )
        self.wait_open()
        key, frame = make(self._clock_ns())
        answer: AsyncResult[Ack] = AsyncResult()
        self._answers[key] = answer
        self._write(frame, is_text=is_text)
        if (ack := answer.wait(self._limits.ack_timeout_s)) is None:
            expired = self._session.expire(key)
            self._answered(expired)
            ack = expired.ack
        return ack

    def send(self, frame: bytes, *, is_text: bool) -> None:
        """Write a frame that has no answer; waits until the connection is open.

        While the connection closes there is no one to send to, and nothing is sent.
        """
        if self._session.state is not State.CLOSING:
            self.wait_open()
            self._write(frame, is_text=is_text)

    def close(self) -> None:
        """Wait for the answers that are due, then close with code 1000.

        `drain_s` bounds the wait for the answers and once more the closing handshake. What the
        service sends until it answers the close is still received and counted.
        """
        self._is_stopping = True
        if self._session.state is State.OPEN:
            if self._session.pending_count:
                self._is_idle.clear()
                self._is_idle.wait(self._limits.drain_s)
            self._close_handshake()
        self._greenlet.kill()

    def _close_handshake(self) -> None:
        if self._session.state is not State.OPEN:
            return  # the connection went away while we waited
        self._session.closing()
        self._is_open.clear()
        gevent.with_timeout(self._limits.drain_s, self._say_goodbye, timeout_value=None)

    def _say_goodbye(self) -> None:
        self._send_close(_NORMAL_CLOSURE)
        self._greenlet.join()

    def _run(self) -> None:
        attempt = 0
        while not self._is_stopping:
            if self._connect_and_read() > _BACK_OFF_LIMIT_S:
                attempt = 0  # a service that closes at once is not to be asked at once again
            if self._is_stopping:
                return
            attempt += 1
            gevent.sleep(back_off_s(attempt, random.random()))  # noqa: S311  # spread, not secrecy

    def _connect_and_read(self) -> float:
        """One connection from dialing to its end; the seconds it lasted."""
        failure: str | None = None  # stays None if we are killed
        started_ns = self._clock_ns()
        dialed: Dialed | None = None
        self._session.opening()
        try:
            dialed = self._dial()
            failure = self._read(dialed)
        except ConnectError as error:
            failure = error.outcome
        finally:
            self._is_open.clear()
            self._disconnect(dialed)
            lasted_s = seconds(self._clock_ns() - started_ns)
            self._ended(self._broken_by or failure, lasted_s)
        return lasted_s

    def _dial(self) -> Dialed:
        self._has_opened, self._broken_by = False, None
        address = self._address()
        return dial(
            address.url,
            subprotocol=self._session.subprotocol,
            headers=address.headers,
            timeout_s=self._limits.connect_timeout_s,
            clock_ns=self._clock_ns,
        )

    def _read(self, dialed: Dialed) -> str:
        """Read until the connection ends; how it ended."""
        self._websocket = dialed.websocket
        spent_s = seconds(dialed.upgraded_ns - dialed.started_ns)
        limit = gevent.Timeout.start_new(max(0.0, self._limits.connect_timeout_s - spent_s))
        try:
            return f"closed {self._read_messages(dialed, limit)}"
        except gevent.Timeout as fired:
            if fired is not limit:
                raise
            return "timeout (connected)"
        except (websocket.WebSocketConnectionClosedException, OSError):
            return f"closed {_ABNORMAL_CLOSURE}"
        except RemoteProtocolError as error:
            self._send_close(error.close_code)
            return "protocol error"
        except websocket.WebSocketException:
            self._send_close(_PROTOCOL_ERROR)
            return "protocol error"
        finally:
            limit.close()

    def _read_messages(self, dialed: Dialed, limit: gevent.Timeout) -> int:
        """Hand on what arrives until the service closes, and give its close code.

        `limit` bounds the time until the connection is open.
        """
        if isinstance(self._session, SimpleSession):
            self._session.upgraded()
            self._opened(dialed)
        while True:
            if self._has_opened:
                limit.close()
            opcode, frame = self._websocket.recv_data_frame(control_frame=True)
            now_ns = self._clock_ns()
            if opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
                self._observer.count("received_bytes", len(frame.data))
                is_text = opcode == websocket.ABNF.OPCODE_TEXT
                for event in self._session.receive(frame.data, is_text=is_text, now_ns=now_ns):
                    self._happened(event, dialed)
            elif opcode == websocket.ABNF.OPCODE_CLOSE:
                return _close_code(frame.data)

    def _happened(self, event: Ready | Answered | Arrived, dialed: Dialed) -> None:
        match event:
            case Answered():
                self._answered(event)
            case Arrived(message, sample):
                if sample is not None:
                    self._observer.record(sample)
                self._observer.message(message)
            case Ready():
                self._opened(dialed)

    def _opened(self, dialed: Dialed) -> None:
        now_ns = dialed.upgraded_ns
        if isinstance(self._session, PubSubSession):
            now_ns = self._clock_ns()
        phases_ns = {**dialed.phases_ns, "connected": now_ns - dialed.upgraded_ns}
        self._observer.record(Sample(CONNECT, now_ns - dialed.started_ns))
        for phase, duration_ns in phases_ns.items():
            self._observer.record(Sample(CONNECT_PHASES[phase], duration_ns))
        self._observer.count("opened", 1)
        if isinstance(self._session, PubSubSession):
            for group in sorted(self._session.groups):
                _, frame = self._session.join(group, sent_ns=self._clock_ns())
                self._write(frame, is_text=True)
        self._has_opened = True
        self._is_open.set()

    def _answered(self, answered: Answered) -> None:
        self._observer.record(answered.sample)
        if (answer := self._answers.pop(answered.key, None)) is not None:
            answer.set(answered.ack)
        if not self._session.pending_count:
            self._is_idle.set()

    def _ended(self, failure: str | None, lasted_s: float) -> None:
        """The connection is gone: tell everyone who waited, and count what was not asked for.

        It was asked for if we had said goodbye, or ended it to stop: `failure` None, or a write
        that was interrupted.
        """
        is_ours = self._session.state is State.CLOSING or (
            self._is_stopping and failure in (None, _INTERRUPTED)
        )
        for answered in self._session.lost("unanswered at stop" if is_ours else str(failure)):
            self._answered(answered)
        self._is_idle.set()
        if self._has_opened:
            self._observer.count("closed", 1)
        if is_ours and not self._has_opened and lasted_s >= _UNFINISHED_S:
            self._observer.record(Sample(CONNECT, None, "unfinished at stop", is_answered=False))
        elif not is_ours:
            metric = CONNECTION_LOST if self._has_opened else CONNECT
            self._observer.record(Sample(metric, None, failure, is_answered=False))

    def _write(self, frame: bytes, *, is_text: bool) -> None:
        """Write one frame; a peer that takes none of it for too long is given up.

        A frame that was written in part cannot be followed by anything sensible, so whatever
        stops the writing ends the connection.
        """
        opcode = websocket.ABNF.OPCODE_TEXT if is_text else websocket.ABNF.OPCODE_BINARY
        limit = gevent.Timeout.start_new(self._limits.ack_timeout_s)
        try:
            self._websocket.send(frame, opcode)
        except gevent.Timeout as fired:
            self._abort("write timeout" if fired is limit else _INTERRUPTED)
            if fired is not limit:
                raise
        except (OSError, websocket.WebSocketException):
            self._abort(None)
        except BaseException:
            self._abort(_INTERRUPTED)
            raise
        else:
            self._observer.count("sent", 1)
            self._observer.count("sent_bytes", len(frame))
        finally:
            limit.close()

    def _abort(self, why: str | None) -> None:
        """Break off, so that the reader sees the end and fails what is unanswered."""
        self._broken_by = why
        self._is_open.clear()
        self._websocket.abort()

    def _send_close(self, code: int) -> None:
        try:
            self._websocket.send_close(code)
        except (OSError, websocket.WebSocketException):
            self._abort(None)

    def _disconnect(self, dialed: Dialed | None) -> None:
        if dialed is not None:
            sock = dialed.websocket.sock
            dialed.websocket.shutdown()
            if sock is not None:
                sock.close()


def _close_code(data: bytes) -> int:
    """The code of a close frame's payload. Source: RFC 6455, 7.1.5."""
    return int.from_bytes(data[:2], "big") if len(data) >= 2 else _NO_STATUS
