"""Receipts: whatever order numbers come in, what is counted is what a plain account says."""

from hypothesis import given
from hypothesis import strategies as st

from wpsload.receipts import Deliveries, Receipts


def receive(receipts: Receipts, stream: int, number: int) -> None:
    """Take a message in, as a connection does."""
    if receipts.next.get(stream) == number:
        receipts.next[stream] = number + 1
    else:
        receipts.irregular(stream, number)


def missing(gaps: list[tuple[int, int, int]]) -> set[int]:
    """The numbers in gaps of one stream."""
    return {number for _, first, end in gaps for number in range(first, end)}


@given(
    start=st.integers(0, 3),
    numbers=st.lists(st.integers(0, 30), max_size=60),
    until=st.integers(0, 40),
)
def test_any_order_is_accounted_for(start: int, numbers: list[int], until: int) -> None:
    """Against sets: what came twice, what came late, and what did not come."""
    counts = Deliveries()
    receipts = Receipts(counts)
    receipts.expect(7, start)
    seen: set[int] = set()
    duplicated = out_of_order = 0
    for number in numbers:
        receive(receipts, 7, number)
        if number < start:
            continue  # sent before it was expected: neither demanded nor told from its like
        duplicated += number in seen
        out_of_order += number not in seen and any(number < other for other in seen)
        seen.add(number)
    assert (counts.duplicated, counts.out_of_order) == (duplicated, out_of_order)
    passed = set(range(start, max(seen, default=start)))
    assert counts.open_gaps == len(passed - seen)
    gaps = receipts.finish(7, until)
    assert missing(gaps) == set(range(start, max([until, *(n + 1 for n in seen)]))) - seen
    assert counts.open_gaps == 0
    assert receipts.next == {}


def test_in_order_costs_nothing() -> None:
    """What comes in order leaves no trace but the next number."""
    counts = Deliveries()
    receipts = Receipts(counts)
    receipts.expect(1, 0)
    for number in range(1000):
        receive(receipts, 1, number)
    assert receipts.finish(1, 1000) == []
    assert counts == Deliveries()


def test_an_unknown_sender_begins_with_what_comes_first() -> None:
    """Nobody told of it: what it sent before is not known to be for this client."""
    counts = Deliveries()
    receipts = Receipts(counts)
    for number in (5, 6, 4, 8):
        receive(receipts, 1, number)
    assert receipts.finish(1) == [(1, 7, 8)]
    assert counts == Deliveries()


def test_streams_are_apart() -> None:
    """A gap of one sender is not that of another."""
    receipts = Receipts(Deliveries())
    receipts.expect(1, 0)
    receipts.expect(2, 0)
    for stream, number in ((1, 0), (2, 1), (1, 1)):
        receive(receipts, stream, number)
    assert receipts.finish(1, 2) == []
    assert receipts.finish(2, 2) == [(2, 0, 1)]


def test_what_came_before_it_was_expected_is_the_beginning() -> None:
    """A message may overtake the ack of joining; then all after it are expected."""
    receipts = Receipts(Deliveries())
    receive(receipts, 1, 3)
    receipts.expect(1, 6)
    receive(receipts, 1, 6)
    assert receipts.finish(1, 7) == [(1, 4, 6)]
