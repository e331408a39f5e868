"""Stamped payloads: exact size, honest time, never a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload import payload
from wpsload.errors import ConfigError
from wpsload.payload import MIN_PAYLOAD_BYTES, Stamp

CLOCK = payload.clock_id("a boot")


@given(sent_ns=st.integers(0, 2**64 - 1), size=st.integers(MIN_PAYLOAD_BYTES, 5000))
@pytest.mark.parametrize("data_type", ["text", "json", "binary"])
def test_round_trip(data_type: str, sent_ns: int, size: int) -> None:
    """What is stamped is read back, and the payload has exactly the size asked for."""
    stamp = Stamp(CLOCK, sent_ns)
    data = payload.stamp(stamp, size_bytes=size, data_type=data_type)  # type: ignore[arg-type]  # parametrized
    assert len(data) == size
    assert payload.read(data) == stamp


@given(st.one_of(st.text(), st.binary(), st.integers(), st.none(), st.just({"wps": 1})))
def test_foreign_data_has_no_stamp(data: object) -> None:
    """Anything that others send is read without an error and without a stamp."""
    assert payload.read(data) is None


@given(st.text(max_size=60))
def test_a_mark_alone_is_no_stamp(rest: str) -> None:
    """A payload that only begins like ours is either a whole stamp or none."""
    stamp = payload.read("wps1:" + rest)
    assert stamp is None or len(rest) >= MIN_PAYLOAD_BYTES - len("wps1:")


def test_what_only_looks_like_a_stamp_is_none() -> None:
    """Each part of the stamp has to be in its place."""
    whole = payload.stamp(Stamp(CLOCK, 5), size_bytes=MIN_PAYLOAD_BYTES)
    assert isinstance(whole, str)
    assert payload.read(whole) == Stamp(CLOCK, 5)
    for broken in (whole[:-1], whole[:-1] + "x", whole.replace("wps1", "wps2"), whole[:-2] + "g:"):
        assert payload.read(broken) is None


def test_a_clock_that_was_read_out_of_order_gives_no_negative_time() -> None:
    """Two cores may read the clock some nanoseconds apart."""
    assert payload.latency_ns(Stamp(CLOCK, 10), lead_ns={CLOCK: 0}, now_ns=7) == 0


def test_latency_is_the_time_between() -> None:
    """On one clock the latency is now minus sent."""
    assert payload.latency_ns(Stamp(CLOCK, 1_000), lead_ns={CLOCK: 0}, now_ns=3_500) == 2_500


def test_no_latency_between_two_clocks() -> None:
    """The time of another machine's clock gives no figure rather than a wrong one."""
    other = payload.clock_id("another boot")
    assert payload.latency_ns(Stamp(other, 1_000), lead_ns={CLOCK: 0}, now_ns=3_500) is None
    assert payload.latency_ns(Stamp(other, 1_000), lead_ns={other: -900}, now_ns=150) == 50
    assert payload.latency_ns(None, lead_ns={CLOCK: 0}, now_ns=3_500) is None


def test_too_small_a_payload_is_refused() -> None:
    """A size that has no room for the stamp is an error that names the smallest one."""
    assert payload.check_size(MIN_PAYLOAD_BYTES) == MIN_PAYLOAD_BYTES
    with pytest.raises(ConfigError, match=str(MIN_PAYLOAD_BYTES)):
        payload.check_size(MIN_PAYLOAD_BYTES - 1)
