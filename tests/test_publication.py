"""Publications: byte for byte what the general encoding gives, for every type and size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload import frames
from wpsload.errors import LocalProtocolError
from wpsload.ledger import Stream
from wpsload.payload import MIN_NUMBERED_BYTES, MIN_PAYLOAD_BYTES, Stamp, stamp
from wpsload.publication import Computed, Stamped
from wpsload.subprotocol import DataType, SendToGroup, encode_request

CLOCK = "0badcafe"
DATA_TYPES: list[DataType] = ["text", "json", "binary"]
GROUPS = [
    "g",
    "wps2:0badcafe:00000000001:0000",
    'quo"ted%d',
    "wps1:0badcafe:0000000000000000:",
    '"data":"',
    "дом",
]


def numbered(number: int, sequence: int) -> Stream:
    """A stream that has got to that message."""
    stream = Stream(number, "g")
    stream.sequence = sequence
    return stream


@given(
    group=st.sampled_from(GROUPS),
    data_type=st.sampled_from(DATA_TYPES),
    no_echo=st.booleans(),
    size_bytes=st.integers(MIN_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES + 40) | st.integers(60_000, 70_000),
    numbers=st.tuples(st.integers(0, 2**63), st.integers(1, 2**64 - 1), st.integers(0, 2**32 - 1)),
    stream=st.none() | st.builds(numbered, st.integers(0, 2**44 - 1), st.integers(0, 2**32 - 1)),
)
def test_a_stamped_publication_is_the_general_encoding(
    *,
    group: str,
    data_type: DataType,
    no_echo: bool,
    size_bytes: int,
    numbers: tuple[int, int, int],
    stream: Stream | None,
) -> None:
    """Nothing on the wire tells that it was serialised once for all messages."""
    sent_ns, ack_id, mask_key = numbers
    if stream is None:
        written = Stamp(CLOCK, sent_ns)
    else:
        size_bytes += MIN_NUMBERED_BYTES - MIN_PAYLOAD_BYTES
        written = Stamp(CLOCK, sent_ns, stream.number, stream.sequence)
    publication = Stamped(
        group, data_type, no_echo=no_echo, size_bytes=size_bytes, clock=CLOCK, stream=stream
    )
    data = stamp(written, size_bytes=size_bytes, data_type=data_type)
    payload = encode_request(SendToGroup(group, data, data_type, no_echo, ack_id))
    assert publication.payload(sent_ns, ack_id) == payload
    frame = frames.encode(frames.TEXT, payload, mask_key=mask_key.to_bytes(4, "little"))
    assert publication.frame(sent_ns, ack_id, mask_key) == frame


def test_computed_data_is_asked_for_each_time() -> None:
    """Each message has the data of its moment."""
    numbers = iter([1, 2])
    publication = Computed("g", lambda: {"n": next(numbers)}, "json", no_echo=True)
    for number in (1, 2):
        payload = encode_request(SendToGroup("g", {"n": number}, "json", True, number))
        key = bytes((0, 1, 2, number))
        expected = frames.encode(frames.TEXT, payload, mask_key=key)
        assert publication.frame(0, number, int.from_bytes(key, "little")) == expected


@pytest.mark.parametrize("group", ["", " " * 3])
def test_a_bad_group_is_refused_at_once(group: str) -> None:
    """The mistake is named where the schedule is made, not at its first message."""
    with pytest.raises(LocalProtocolError, match="group name"):
        Stamped(group, "text", no_echo=False, size_bytes=200, clock=CLOCK)
    with pytest.raises(LocalProtocolError, match="group name"):
        Computed(group, lambda: "", "text", no_echo=False)
