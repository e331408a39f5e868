"""The ledger: each count under its own name."""

from hypothesis import given
from hypothesis import strategies as st

from wpsload.standin.ledger import Kind, Ledger


def test_each_kind_is_counted_in_its_own_field() -> None:
    """A written frame counts once for each connection, with its payload bytes each time."""
    ledger = Ledger()
    ledger.wrote(Kind.DELIVERY, 10, times=3)
    ledger.wrote(Kind.SERVER_MESSAGE, 1)
    ledger.wrote(Kind.ECHO, 2, times=2)
    ledger.wrote(Kind.SYSTEM, 100)
    assert (ledger.deliveries, ledger.server_messages, ledger.echoes) == (3, 1, 2)
    assert ledger.bytes_out == 135


def test_acks_are_counted_by_name() -> None:
    """Successes and error names are apart, and together they are the total."""
    ledger = Ledger()
    for name in ("success", "success", "Forbidden"):
        ledger.wrote_ack(name, 5)
    assert ledger.acks == {"success": 2, "Forbidden": 1}
    assert (ledger.acks_total, ledger.bytes_out) == (3, 15)


def test_snapshot_has_every_count() -> None:
    """What is served has all documented fields, and the total of acks."""
    ledger = Ledger(connections_open=1, acks={"success": 2}, faults={"cut": 3})
    assert ledger.snapshot() == {
        "connections_open": 1,
        "connections_total": 0,
        "refused": {},
        "closed": {},
        "requests": {},
        "acks": {"success": 2},
        "acks_total": 2,
        "deliveries": 0,
        "server_messages": 0,
        "echoes": 0,
        "simple_messages_in": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "faults": {"cut": 3},
        "fault_delays": {},
        "fault_times": [],
        "configured": {},
    }


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_delays_are_summed_up(waits_ns: list[int]) -> None:
    """Of the waits of each fault the count, the shortest, the longest and the sum are kept."""
    ledger = Ledger()
    ledger.wrote_late("other", 7)
    for waited_ns in waits_ns:
        ledger.wrote_late("delay-ack", waited_ns)
    assert ledger.faults == {"other": 1, "delay-ack": len(waits_ns)}
    assert ledger.fault_delays == {
        "other": {"least_ns": 7, "most_ns": 7, "sum_ns": 7},
        "delay-ack": {
            "least_ns": min(waits_ns),
            "most_ns": max(waits_ns),
            "sum_ns": sum(waits_ns),
        },
    }
