"""The books: whatever a network does to messages, they say what is true, and they balance."""

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.ledger import Ledger, Outcomes, Stream
from wpsload.metrics import TIMEOUT, UNANSWERED

GROUP = "g"
ACKNOWLEDGED, REJECTED, TIMED_OUT = "ack", "Forbidden", TIMEOUT


def new_ledger(first: int = 1) -> Ledger:
    """The books of one process."""
    return Ledger(itertools.count(first).__next__)


def settled(stream: Stream) -> int:
    """Every message has its outcome at once in these tests."""
    return stream.sequence


@dataclass
class Sent:
    """What happens to one message: its outcome, and what each receiver gets of it.

    `copies` says how often it comes; `is_late` that it comes after the next one.
    """

    outcome: str
    copies: list[int]
    is_late: list[bool]


@dataclass
class Truth:
    """What a network knows that did it all."""

    delivered: int = 0
    missing: int = 0
    duplicated: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


RECEIVERS = 3

messages = st.builds(
    Sent,
    outcome=st.sampled_from([ACKNOWLEDGED] * 6 + [REJECTED, TIMED_OUT]),
    copies=st.lists(st.sampled_from([1] * 6 + [0, 2]), min_size=RECEIVERS, max_size=RECEIVERS),
    is_late=st.lists(st.sampled_from([False] * 4 + [True]), min_size=RECEIVERS, max_size=RECEIVERS),
)


class Network:
    """Carries messages to the members of a group, as each message says."""

    def __init__(self, receiver: Ledger) -> None:
        self.truth = Truth()
        self.members = [receiver.receipts() for _ in range(RECEIVERS)]
        self._receiver = receiver
        self._held: list[list[tuple[int, int]]] = [[] for _ in self.members]
        for member in self.members:
            receiver.joined(member, GROUP)

    def carry(self, stream: int, number: int, message: Sent) -> None:
        """Take one message to all members, and then what was held back before."""
        self.truth.outcomes[message.outcome] += 1
        for at, copies in enumerate(message.copies):
            waiting, self._held[at] = self._held[at], []
            if message.outcome != REJECTED:  # which is not carried out
                self.truth.delivered += copies > 0
                self.truth.duplicated += max(0, copies - 1)
                self.truth.missing += copies == 0 and message.outcome == ACKNOWLEDGED
                if message.is_late[at]:
                    self._held[at] = [(stream, number)] * copies
                else:
                    self._deliver(at, [(stream, number)] * copies)
            self._deliver(at, waiting)

    def end(self) -> None:
        """Deliver what is held back, and let the members go."""
        for at, waiting in enumerate(self._held):
            self._deliver(at, waiting)
        for member in self.members:
            self._receiver.ended(member, self._receiver.settled(member))

    def _deliver(self, at: int, numbers: list[tuple[int, int]]) -> None:
        for stream, number in numbers:
            self._receiver.received(self.members[at], stream, number)


def play(sender: Ledger, receiver: Ledger, streams: list[list[Sent]]) -> Truth:
    """Clients of `sender` send to a group in which are clients of `receiver`, and all end."""
    opened = [sender.open_stream(GROUP, settled, receiver=None) for _ in streams]
    network = Network(receiver)
    for stream, sent in zip(opened, streams, strict=True):
        for message in sent:
            if message.outcome != ACKNOWLEDGED:
                sender.failed(stream, stream.sequence)
            stream.sequence += 1
            network.carry(stream.number, stream.sequence - 1, message)
    network.end()
    for stream in opened:
        sender.close_stream(stream)
    return network.truth


def outcomes_of(truth: Truth) -> Outcomes:
    """As the statistics of the run tell them."""
    return Outcomes(
        acknowledged=truth.outcomes[ACKNOWLEDGED],
        rejected={REJECTED: truth.outcomes[REJECTED]},
        timed_out=truth.outcomes[TIMED_OUT],
    )


@given(streams=st.lists(st.lists(messages, max_size=20), min_size=1, max_size=3))
def test_the_books_say_what_the_network_did(streams: list[list[Sent]]) -> None:
    """Any losses, duplicates and disorder, within one process: exactly."""
    ledger = new_ledger()
    truth = play(ledger, ledger, streams)
    balance = ledger.balance(outcomes_of(truth))
    assert balance.in_flight == 0
    assert balance.delivered == truth.delivered
    assert balance.missing == truth.missing
    assert balance.duplicated == truth.duplicated
    assert balance.expected == truth.delivered + truth.missing


@given(streams=st.lists(st.lists(messages, max_size=20), min_size=1, max_size=3))
def test_two_processes_balance_on_a_third(streams: list[list[Sent]]) -> None:
    """Senders in one worker, receivers in another: what lies between receipts is still exact."""
    sender, receiver, master = new_ledger(1), new_ledger(1000), new_ledger(2000)
    for (
        sent
    ) in streams:  # who has not heard of a sender knows of its first and last by getting them
        for message in (sent[:1] + sent[-1:]) if sent else []:
            message.copies = [1] * RECEIVERS
            message.is_late = [False] * RECEIVERS
            message.outcome = ACKNOWLEDGED
    truth = play(sender, receiver, streams)
    for worker in (receiver, sender):  # in any order, and as it travels
        master.merge(json.loads(json.dumps(worker.drain())))
    balance = master.balance(outcomes_of(truth))
    assert balance.in_flight == 0
    assert (balance.delivered, balance.duplicated) == (truth.delivered, truth.duplicated)
    assert balance.missing == truth.missing
    assert sender.drain()["sent"] == 0  # nothing is handed over twice


def test_a_drain_in_the_middle_counts_once() -> None:
    """Reports every few seconds add up to the whole, with gaps that close after they were told."""
    worker, master = new_ledger(), new_ledger(1000)
    stream = worker.open_stream(GROUP, settled, receiver=None)
    member = worker.receipts()
    worker.joined(member, GROUP)
    for numbers in ((0, 2), (1, 3), (5,)):
        for number in numbers:
            stream.sequence = max(stream.sequence, number + 1)
            worker.received(member, stream.number, number)
        master.merge(worker.drain())
    assert master.balance(Outcomes()).missing == 1
    worker.ended(member, worker.settled(member))
    worker.close_stream(stream)
    master.merge(worker.drain())
    balance = master.balance(Outcomes(acknowledged=6))
    assert (balance.sent, balance.delivered, balance.missing) == (6, 5, 1)
    assert balance.out_of_order == 1


def test_a_sender_that_comes_later_is_expected_from_the_start() -> None:
    """Who is a member by then misses nothing of it unnoticed, not even all of it."""
    ledger = new_ledger()
    member, gone, sender = (ledger.receipts() for _ in range(3))
    for one in (member, gone, sender):
        ledger.joined(one, GROUP)
    ledger.left(gone, GROUP)
    stream = ledger.open_stream(GROUP, settled, receiver=sender)
    stream.sequence = 10
    ledger.received(member, stream.number, 7)
    for one in (member, gone, sender):
        ledger.ended(one, ledger.settled(one))
    balance = ledger.balance(Outcomes(acknowledged=10))
    assert (balance.delivered, balance.missing) == (1, 9)
    stream = ledger.open_stream(GROUP, settled, receiver=None)
    assert member.next == {}  # its connection is over


def test_leaving_and_coming_back_is_no_loss() -> None:
    """A sender in another process goes on meanwhile, and nobody owes what it sent then."""
    ledger = new_ledger()
    member = ledger.receipts()
    ledger.joined(member, GROUP)
    for number in (0, 1):
        ledger.received(member, 99, number)
    ledger.left(member, GROUP)
    ledger.joined(member, GROUP)
    ledger.received(member, 99, 50)
    ledger.ended(member, ledger.settled(member))
    assert ledger.balance(Outcomes()).missing == 0


def test_who_joins_later_expects_no_earlier_message() -> None:
    """A stream that is under way begins for a new member where it is."""
    ledger = new_ledger()
    stream = ledger.open_stream(GROUP, settled, receiver=None)
    stream.sequence = 10
    member = ledger.receipts()
    ledger.joined(member, GROUP)
    ledger.received(member, stream.number, 10)
    stream.sequence = 12
    ledger.ended(member, ledger.settled(member))
    assert ledger.balance(Outcomes(acknowledged=12)).missing == 1


def test_a_lost_connection_ends_with_what_came_last() -> None:
    """Nobody knows when the service noticed: what came last was the last, gaps remain gaps."""
    ledger = new_ledger()
    stream = ledger.open_stream(GROUP, settled, receiver=None)
    member = ledger.receipts()
    ledger.joined(member, GROUP)
    for number in (0, 2):
        ledger.received(member, stream.number, number)
    stream.sequence = 50
    ledger.ended(member, {})
    assert ledger.balance(Outcomes(acknowledged=50)).missing == 1


def test_a_sender_without_echo_expects_nothing_of_itself() -> None:
    """`noEcho`: the others do, the sender does not."""
    ledger = new_ledger()
    sender, other = ledger.receipts(), ledger.receipts()
    stream = ledger.open_stream(GROUP, settled, receiver=sender)
    for member in (sender, other):
        ledger.joined(member, GROUP)
    assert sender.next == {}
    assert other.next == {stream.number: 0}


def test_leaving_ends_one_group() -> None:
    """What is sent afterwards is not for that client; other groups go on."""
    ledger = new_ledger()
    streams = [ledger.open_stream(group, settled, receiver=None) for group in ("a", "b")]
    member = ledger.receipts()
    for group in ("a", "b"):
        ledger.joined(member, group)
    ledger.left(member, "a")
    for stream in streams:
        stream.sequence = 5
    ledger.ended(member, ledger.settled(member))
    assert ledger.balance(Outcomes(acknowledged=10)).missing == 5


def test_a_message_under_way_is_not_demanded() -> None:
    """Whoever closes has to have received what was acknowledged by then, and no more."""
    ledger = new_ledger()
    stream = ledger.open_stream(GROUP, lambda _: 3, receiver=None)
    member = ledger.receipts()
    ledger.joined(member, GROUP)
    stream.sequence = 5
    ledger.ended(member, ledger.settled(member))
    assert ledger.balance(Outcomes(acknowledged=5)).missing == 3


def test_messages_without_numbers_are_counted() -> None:
    """Data of the scenario's own: sent, with an outcome, and nothing is expected."""
    ledger = new_ledger()
    stream = ledger.open_stream(None, settled, receiver=None)
    stream.sequence = 4
    ledger.failed(stream, 2)
    ledger.close_stream(stream)
    ledger.close_stream(stream)
    balance = ledger.balance(Outcomes(acknowledged=3, timed_out=1))
    assert (balance.sent, balance.in_flight, balance.expected) == (4, 0, 0)


@pytest.mark.parametrize(
    ("failures", "unanswered", "outcomes"),
    [
        ({}, {}, Outcomes(acknowledged=7)),
        ({"Forbidden": 2}, {}, Outcomes(7, {"Forbidden": 2})),
        # The service may call an answer of its own by the name that we give to none at all.
        ({TIMEOUT: 5}, {TIMEOUT: 3}, Outcomes(7, {TIMEOUT: 2}, timed_out=3)),
        (
            {"closed 1006": 4, UNANSWERED: 1},
            {"closed 1006": 4, UNANSWERED: 1},
            Outcomes(7, lost=4, unanswered=1),
        ),
    ],
)
def test_outcomes_are_told_by_their_failures(
    failures: dict[str, int], unanswered: dict[str, int], outcomes: Outcomes
) -> None:
    """Rejected by name, timed out, lost with the connection, or cut off by the end of the run."""
    assert Outcomes.of(7, failures, unanswered) == outcomes
