"""The stand-in's own counts: the truth that a load test's report is compared with."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

__all__ = ["Kind", "Ledger", "bump"]


class Kind(StrEnum):
    """What a frame to a client is; each counted kind is the name of a field of `Ledger`."""

    DELIVERY = "deliveries"
    SERVER_MESSAGE = "server_messages"
    ECHO = "echoes"
    SYSTEM = "system"  # `connected` and `pong`: written, but not counted one by one


def bump(counts: dict[str, int], key: str, by: int = 1) -> None:
    """Add `by` to the count of `key`, which starts at 0."""
    counts[key] = counts.get(key, 0) + by


@dataclass(slots=True)
class Ledger:
    """Counts since the start of the process.

    What comes in is counted when it is read. What goes out is counted when it is written to a
    connection whose closing handshake has not been answered: a client that reads until the close
    frame has received exactly what is counted here.

    Attributes:
        connections_open: WebSocket connections that are open now.
        connections_total: WebSocket connections accepted (HTTP 101).
        refused: requests to a client URL that were answered with another HTTP status than 101, by
            status: refused handshakes, injected refusals, and requests that are no handshake.
        closed: ended connections by close code: the client's own code if it closed first (1005 if
            its close frame held none), else the code the stand-in sent; 1006 without a close frame.
        requests: valid requests of PubSub clients, by their `type`.
        acks: acks written, `success` or the error name.
        deliveries: group messages written to members, one for each member, PubSub or simple,
            whether a client or the REST API published them.
        server_messages: messages from the server written: echoed events, and REST sends to all, a
            user or a connection (one for each connection reached).
        echoes: frames of simple clients written back by the echo upstream.
        simple_messages_in: text and binary frames read from simple clients.
        bytes_in: payload bytes of the text and binary frames read.
        bytes_out: payload bytes of the text and binary frames written.
        faults: injections by name of the fault, counted when they come about: a message that was
            written twice, late, or after the next one; a connection that was cut.
        fault_delays: how long what a fault delayed did wait, any other delay included, by name of
            the fault: the shortest, the longest, and the sum of all, in ns.
        fault_times: each fault that struck once: its name, when it did (ns of the system's
            monotonic clock, which is Python's `perf_counter_ns` too on Linux) and what it did.
        configured: the ack delay, the capacity, and each fault with its settings.
    """

    connections_open: int = 0
    connections_total: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    acks: dict[str, int] = field(default_factory=dict)
    deliveries: int = 0
    server_messages: int = 0
    echoes: int = 0
    simple_messages_in: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    fault_delays: dict[str, dict[str, int]] = field(default_factory=dict)
    fault_times: list[dict[str, int | str]] = field(default_factory=list)
    configured: dict[str, Any] = field(default_factory=dict)

    @property
    def acks_total(self) -> int:
        """Acks written, whatever they say."""
        return sum(self.acks.values())

    def wrote(self, kind: Kind, payload_bytes: int, *, times: int = 1) -> None:
        """Count a frame of `payload_bytes` that was written to `times` connections."""
        self.bytes_out += payload_bytes * times
        match kind:
            case Kind.DELIVERY:
                self.deliveries += times
            case Kind.SERVER_MESSAGE:
                self.server_messages += times
            case Kind.ECHO:
                self.echoes += times
            case _:
                pass  # only the bytes count

    def wrote_ack(self, name: str, payload_bytes: int) -> None:
        """Count an ack that was written; `name` is `success` or the error name."""
        self.bytes_out += payload_bytes
        acks = self.acks
        acks[name] = acks.get(name, 0) + 1  # `bump`, without a call for each ack

    def wrote_late(self, fault: str, waited_ns: int) -> None:
        """Count an injection of `fault`: a frame that was written, `waited_ns` after it could."""
        bump(self.faults, fault)
        before = self.fault_delays.get(fault)
        least_ns, most_ns, sum_ns = waited_ns, waited_ns, waited_ns
        if before is not None:
            least_ns = min(least_ns, before["least_ns"])
            most_ns = max(most_ns, before["most_ns"])
            sum_ns += before["sum_ns"]
        self.fault_delays[fault] = {"least_ns": least_ns, "most_ns": most_ns, "sum_ns": sum_ns}

    def snapshot(self) -> dict[str, Any]:
        """All counts, and `acks_total`, as JSON values."""
        counts = {each.name: getattr(self, each.name) for each in fields(self)}
        return counts | {"acks_total": self.acks_total}
