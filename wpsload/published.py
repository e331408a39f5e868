"""What the service's performance guide publishes for the group scenarios, by units.

Guidance for messages of 2,048 bytes, each sender sending once a second, with echo. Source: protocol
reference, 11.1 and 11.2 (the service's page on performance).
"""

from wpsload.record import Published

__all__ = ["published"]

_BYTES = 2048
_CONNECTIONS_PER_UNIT = 1000
_SMALL_GROUP = 10  # members
_BIG_GROUPS = 10  # of a tenth of all connections each
_SMALL_IN_PER_S = {1: 200, 2: 400, 10: 2000, 50: 10_000, 100: 10_000, 200: 20_000, 500: 50_000}
_SMALL_IN_PER_S[1000] = 100_000
_LINEAR_UNITS = 50  # up to here each unit adds the same
_BIG_IN_PER_S = 30
_BIG_OUT_PER_S_PER_UNIT = 3000


def published(
    units: int, *, connections: int, group_size: int, payload_bytes: int, is_no_echo: bool
) -> Published | None:
    """What `units` units are said to hold; None if the guide has no scenario like that.

    `connections` are all of them; whether a group is a big one depends on how many there are.
    """
    if payload_bytes != _BYTES or is_no_echo:
        return None
    if group_size == _SMALL_GROUP:
        in_per_s = _SMALL_IN_PER_S.get(units)
        if in_per_s is None and units <= _LINEAR_UNITS:
            in_per_s = units * _SMALL_IN_PER_S[1]
        if in_per_s is None:
            return None
        out_per_s, name = in_per_s * _SMALL_GROUP, "small groups"
    elif group_size * _BIG_GROUPS == connections:
        in_per_s, out_per_s, name = _BIG_IN_PER_S, units * _BIG_OUT_PER_S_PER_UNIT, "big groups"
    else:
        return None
    return Published(
        units=units,
        connections=units * _CONNECTIONS_PER_UNIT,
        in_per_s=float(in_per_s),
        out_per_s=float(out_per_s),
        source=f"the service's performance guide, {name}",
    )
