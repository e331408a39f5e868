"""Durations: parsing what users type, and the only home of 1e3, 1e6 and 1e9."""

import re

from wpsload.errors import ConfigError

__all__ = ["NS_PER_MS", "NS_PER_S", "ms", "nanoseconds", "parse_duration_s", "seconds"]

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")


def ms(duration_ns: int) -> float:
    """Nanoseconds as milliseconds, the unit of Locust."""
    return duration_ns / NS_PER_MS


def seconds(duration_ns: int) -> float:
    """Nanoseconds as seconds."""
    return duration_ns / NS_PER_S


def nanoseconds(duration_s: float) -> int:
    """Seconds as nanoseconds."""
    return round(duration_s * NS_PER_S)


def parse_duration_s(text: str) -> float:
    """Seconds of a duration such as `250ms`, `5s`, `1h30m` or `90` (plain numbers are seconds).

    Raises:
        ConfigError: if the text is not a duration.
    """
    stripped = text.strip().lower()
    if _PLAIN.fullmatch(stripped):
        return float(stripped)
    parts = _PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ConfigError(
            f"{text!r} is not a duration", hint="write it like 250ms, 5s, 20m or 1h30m"
        )
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
