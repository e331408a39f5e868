"""Durations as users type them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload import units
from wpsload.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [("250ms", 0.25), ("5s", 5), ("20m", 1200), ("1h30m", 5400), ("90", 90), ("1.5s", 1.5)],
)
def test_durations(text: str, expected_s: float) -> None:
    """The forms that the documents name are understood."""
    assert units.parse_duration_s(text) == pytest.approx(expected_s)


@given(st.text())
def test_any_text_is_a_duration_or_a_clear_error(text: str) -> None:
    """Nothing else than `ConfigError` comes out of a bad duration."""
    with contextlib.suppress(ConfigError):
        assert units.parse_duration_s(text) >= 0


def test_conversions() -> None:
    """Nanoseconds become milliseconds and seconds."""
    assert units.ms(1_500_000) == 1.5
    assert units.seconds(1_500_000_000) == 1.5
