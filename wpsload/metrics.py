"""The metric registry: what is measured, from which instant to which, and one measured sample."""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "CONNECT",
    "CONNECTION_LOST",
    "CONNECT_PHASES",
    "DELIVERY",
    "ECHO",
    "EVENT",
    "GROUP_FIRST",
    "GROUP_LAST",
    "JOIN_GROUP",
    "LEAVE_GROUP",
    "METRICS",
    "NEGOTIATE",
    "OWN_METRICS",
    "SEND_TO_GROUP",
    "SEND_TO_GROUP_SERVICE",
    "TIMEOUT",
    "UNANSWERED",
    "Metric",
    "Sample",
]


class Metric(NamedTuple):
    """One measurement, as it is named in Locust's table and in every file.

    `type` and `name` are Locust's request type and name; `meaning` says from which instant to
    which it lasts.
    """

    type: str
    name: str
    meaning: str


NEGOTIATE = Metric(
    "CONNECT",
    "negotiate",
    "app server asked for a client URL → answered; before `connect` begins",
)
CONNECT = Metric(
    "CONNECT",
    "connect",
    "start of connecting → `connected` message (PubSub) or the 101 response (simple)",
)
CONNECT_PHASES = {
    phase: Metric("CONNECT", f"connect.{phase}", meaning)
    for phase, meaning in {
        "dns": "host name → addresses",
        "tcp": "first connection attempt → TCP connection, a proxy's tunnel included",
        "tls": "TLS handshake; 0 without TLS",
        "upgrade": "HTTP upgrade request → 101 response",
        "connected": "101 response → `connected` message; 0 for simple clients",
    }.items()
}
CONNECTION_LOST = Metric(
    "CONNECT", "connection.lost", "an open connection ended without our asking; untimed, a failure"
)
JOIN_GROUP = Metric("ACK", "joinGroup", "request written → ack received")
LEAVE_GROUP = Metric("ACK", "leaveGroup", "request written → ack received")
SEND_TO_GROUP = Metric("ACK", "sendToGroup", "request written, by `publish`: due → ack received")
SEND_TO_GROUP_SERVICE = Metric(
    "SERVICE", "sendToGroup.service", "request of an open loop written → ack received"
)
EVENT = Metric("ACK", "event", "request written → ack received")
ECHO = Metric("ECHO", "message", "frame written → its echo received (simple client)")
DELIVERY = Metric(
    "DELIVERY",
    "group",
    "message written by its sender, by `publish`: due → received, once for every member",
)
GROUP_FIRST = Metric(
    "DELIVERY", "group.first", "message due or written → received by its first member"
)
GROUP_LAST = Metric(
    "DELIVERY", "group.last", "message due or written → received by its last member: fan-out"
)

METRICS: tuple[Metric, ...] = (
    NEGOTIATE,
    CONNECT,
    *CONNECT_PHASES.values(),
    CONNECTION_LOST,
    JOIN_GROUP,
    LEAVE_GROUP,
    SEND_TO_GROUP,
    SEND_TO_GROUP_SERVICE,
    EVENT,
    ECHO,
    DELIVERY,
    GROUP_FIRST,
    GROUP_LAST,
)

OWN_METRICS = frozenset({SEND_TO_GROUP_SERVICE, GROUP_FIRST, GROUP_LAST})
"""A second look at what another metric counts already: Locust would add them up, so it has them
not."""


TIMEOUT = "Timeout"
"""The failure of a request whose answer did not come within its time."""

UNANSWERED = "unanswered at stop"
"""The failure of a request whose answer was still due when the run ended."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured operation.

    `latency_ns` is None where there is no honest time: a lost connection, or a delivery whose
    sender's clock cannot be compared with ours. `failure` is None for a success, otherwise a
    short text that repeats for equal failures (`Forbidden`, `HTTP 401`, `closed 1008`, `Timeout`)
    and never holds an id. `size_bytes` is the size of the WebSocket payload received.
    `is_answered` is False where the service gave no answer at all (timeout, lost connection), so
    that acks can be counted apart from failures.
    """

    metric: Metric
    latency_ns: int | None
    failure: str | None = None
    size_bytes: int = 0
    is_answered: bool = True
