"""Figures as text, alike in every report."""

from datetime import UTC, datetime

from wpsload.units import ms, seconds

__all__ = ["ABOUT", "NO_FIGURE", "cut", "duration", "grouped", "short", "utc"]

NO_FIGURE = "-"
"""Stands where there is no figure, or none that the samples support."""
ABOUT = "≈"
"""Stands before a latency that is less than what is known of the clocks."""

_LONGEST_EXACT_COUNT = 999_999  # longer ones would take a table beyond its width
_LONGEST_IN_MS = 99_999
_MILLION = 1_000_000


def duration(duration_ns: int | None) -> str:
    """Milliseconds with about three digits; seconds, and saying so, from 100 s on."""
    if duration_ns is None:
        return NO_FIGURE
    if duration_ns == 0:
        return "0"
    duration_ms = ms(duration_ns)
    for digits, limit in ((3, 0.1), (2, 10), (1, 100)):
        # Compared as printed: 9.996 is 10.0, not 10.00.
        if round(duration_ms, digits) < limit:
            return f"{duration_ms:.{digits}f}"
    if round(duration_ms) <= _LONGEST_IN_MS:
        return grouped(duration_ms)
    return f"{seconds(duration_ns):.0f} s"


def short(count: int) -> str:
    """A count in 7 characters."""
    if count <= _LONGEST_EXACT_COUNT:
        return grouped(count)
    return f"{count / _MILLION:.1f}M"


def grouped(number: float, *, digits: int = 0) -> str:
    """A number with a space between thousands."""
    return f"{number:,.{digits}f}".replace(",", " ")


def cut(text: str, width: int) -> str:
    """As much of a text as `width` characters hold."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def utc(moment_s: float) -> str:
    """A moment in Unix time as date and time, to the second; the number if no calendar has it."""
    try:
        return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{moment_s:.0f} s"
