"""Unmasking with a library's compiled routine says what our own says."""

from hypothesis import given
from hypothesis import strategies as st

from wpsload import frames
from wpsload.standin.masking import is_compiled, unmasked


def test_the_compiled_routine_is_there() -> None:
    """Its name is private: if a release of aiohttp renames it, the stand-in gets slower."""
    assert is_compiled


@given(payload=st.binary(max_size=3000), key=st.binary(min_size=4, max_size=4))
def test_it_says_the_same(payload: bytes, key: bytes) -> None:
    """Any payload, any key."""
    assert unmasked(payload, key) == frames.masked(payload, key)
