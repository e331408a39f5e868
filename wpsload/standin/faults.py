"""Named faults as data: what to inject, how often, and the counters that decide when.

A fault is written `NAME:key=value,key=value`. Most strike upon every `every`-th opportunity of
their own kind, counted over all connections since the start, so that a run can be predicted
exactly. The others strike once, `after` a time that begins with the first connection.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wpsload.errors import ConfigError
from wpsload.standin.ledger import bump
from wpsload.units import nanoseconds, parse_duration_s

__all__ = ["DELIVERY_FAULTS", "FAULTS", "Fault", "FaultKind", "Faults", "parse_fault", "share"]

ACK_ERRORS = (
    "Forbidden",
    "InternalServerError",
    "BadRequest",
    "NotFound",
    "Timeout",
    "InvocationFailed",
)
"""Names a failed ack can carry. `Duplicate` is left out: clients count it as a success.
Source: protocol reference, 4.3."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault to inject.

    Attributes:
        name: a key of `FAULTS`.
        every: strike upon every that many opportunities; 1 strikes each time.
        status: HTTP status of a refused handshake.
        code: WebSocket close code.
        error: error name of a failed ack.
        delay_s: how much later something is written.
        hold_s: longest wait of a message that is to be overtaken.
        after_s: when a fault that strikes once does so, from the first connection on.
        length_s: how long it lasts.
        share_percent: how many of the connections it strikes.
    """

    name: str
    every: int = 1
    status: int = 503
    code: int = 1011
    error: str = "InternalServerError"
    delay_s: float = 0.05
    hold_s: float = 1.0
    after_s: float = 0.0
    length_s: float = 1.0
    share_percent: int = 10

    def settings(self) -> dict[str, int | str]:
        """Its name and the settings it has, as JSON values; durations in ns, as `..._ns`."""
        described: dict[str, int | str] = {"name": self.name}
        for setting in FAULTS[self.name].keys.values():
            attribute = setting.attribute
            value = getattr(self, attribute)
            if attribute.endswith("_s"):
                described[attribute.removesuffix("_s") + "_ns"] = nanoseconds(value)
            else:
                described[attribute] = value
        return described


MAX_DIGITS = 18
"""Nothing happens 10^18 times in a load test, and Python refuses to read thousands of digits."""


def _integer(text: str, allowed: Callable[[int], bool]) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    value = int(text) if is_number else None
    return value if value is not None and allowed(value) else None


def _every(text: str) -> int | None:
    return _integer(text, lambda value: value >= 1)


def _status(text: str) -> int | None:
    return _integer(text, lambda value: 400 <= value <= 599)


def _code(text: str) -> int | None:
    # 1004 is reserved; 1005, 1006 and 1015 never stand in a close frame. Source: RFC 6455, 7.4.
    return _integer(
        text,
        lambda value: (
            (1000 <= value <= 1014 and value not in (1004, 1005, 1006)) or 3000 <= value <= 4999
        ),
    )


def _error(text: str) -> str | None:
    return text if text in ACK_ERRORS else None


def _duration(shortest_s: float, longest_s: float) -> Callable[[str], float | None]:
    def parse(text: str) -> float | None:
        try:
            duration_s = parse_duration_s(text)
        except ConfigError:
            return None
        return duration_s if shortest_s <= duration_s <= longest_s else None

    return parse


def _percent(text: str) -> int | None:
    if not text.endswith("%"):
        return None
    return _integer(text.removesuffix("%"), lambda value: 1 <= value <= 100)


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a fault: the field of `Fault` it fills, its parser, the values it allows, and how
    the help writes one."""

    attribute: str
    parse: Callable[[str], int | float | str | None]
    allowed: str
    sample: str = "..."


_BY = Setting("delay_s", _duration(0.001, 60), "a duration from 1ms to 60s")
_AFTER = Setting("after_s", _duration(0, 86400), "a duration up to 1d", "T")
_EVERY = Setting(
    "every", _every, f"a whole number of at least 1, with up to {MAX_DIGITS} digits", "N"
)


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A fault that can be asked for.

    Attributes:
        meaning: what it does.
        opportunity: what is counted; None if it strikes once, at a time.
        settings: its own ones, all of which have a default.
    """

    meaning: str
    opportunity: str | None
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def when(self) -> str:
        """The setting that says when it strikes, and that is always required."""
        return "after" if self.opportunity is None else "every"

    @property
    def keys(self) -> Mapping[str, Setting]:
        """All settings."""
        return {self.when: _AFTER if self.opportunity is None else _EVERY, **self.settings}


FAULTS: Mapping[str, FaultKind] = {
    "refuse-connect": FaultKind(
        "answer the handshake with an HTTP error",
        "a WebSocket handshake, before its token is looked at",
        {"status": Setting("status", _status, "an HTTP status from 400 to 599")},
    ),
    "drop-ack": FaultKind(
        "carry the request out but send no ack",
        "an ack about to be sent",
    ),
    "fail-ack": FaultKind(
        "do not carry the request out; its ack is an error",
        "a request with an ackId that is not a duplicate",
        {"name": Setting("error", _error, "one of " + ", ".join(ACK_ERRORS))},
    ),
    "drop-delivery": FaultKind(
        "leave one member out of a group message",
        "a group message about to be sent to one member",
    ),
    "duplicate-delivery": FaultKind(
        "write a group message twice to one member",
        "a group message about to be written to one member",
    ),
    "reorder-delivery": FaultKind(
        "hold a group message back from one member until the next one of the same sender is "
        "written; alone, for as long as hold says (1s) or until the close",
        "a group message for one member, if it overtakes none",
        {"hold": Setting("hold_s", _duration(0.001, 60), "a duration from 1ms to 60s")},
    ),
    "delay-delivery": FaultKind(
        "write a group message that much later (50ms) to one member; others overtake it",
        "a group message about to be written to one member",
        {"by": _BY},
    ),
    "delay-ack": FaultKind(
        "write an ack that much later (50ms) than --ack-delay says; others overtake it",
        "an ack about to be sent",
        {"by": _BY},
    ),
    "cut": FaultKind(
        "abort the TCP connection without a close frame; the message is lost",
        "a text or binary frame from a client",
    ),
    "close": FaultKind(
        "close the WebSocket; the message is lost",
        "a text or binary frame from a client",
        {"code": Setting("code", _code, "a close code that may be sent, 1000 to 1014 or 3000 up")},
    ),
    "stall": FaultKind(
        "freeze the whole process for a time (1s), with all sockets open",
        None,
        {"for": Setting("length_s", _duration(0.001, 600), "a duration from 1ms to 10m")},
    ),
    "cut-connections": FaultKind(
        "abort the TCP connections of a share (10%, rounded down) of the open clients at once",
        None,
        {"share": Setting("share_percent", _percent, "a whole number of percent, 1% to 100%")},
    ),
}
"""Each fault by its name on the command line."""

DELIVERY_FAULTS = ("delay-delivery", "reorder-delivery", "duplicate-delivery")
"""What may happen to a group message for one member that was not dropped, in the order of asking:
if one strikes, the message is no opportunity for those behind it."""


def parse_fault(text: str) -> Fault:
    """The fault written `NAME:key=value,key=value`, for example `drop-ack:every=100`.

    Raises:
        ConfigError: if the name, a key or a value is unknown, or `every` (`after`) is missing.
    """
    name, _, rest = text.partition(":")
    kind = FAULTS.get(name)
    if kind is None:
        raise ConfigError(f"unknown fault {name!r}", hint=f"use one of {', '.join(FAULTS)}")
    values: dict[str, int | float | str] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        setting = kind.keys.get(key)
        if setting is None:
            raise ConfigError(
                f"fault {name} has no setting {key!r}", hint=f"use {', '.join(kind.keys)}"
            )
        if setting.attribute in values:
            raise ConfigError(f"fault {name} sets {key} twice", hint="keep one of them")
        parsed = setting.parse(value)
        if parsed is None:
            raise ConfigError(
                f"fault {name} cannot use {key}={value[:40]}", hint=f"{key} is {setting.allowed}"
            )
        values[setting.attribute] = parsed
    if kind.keys[kind.when].attribute not in values:
        lacking, sample = (
            ("when", "after=5s") if kind.opportunity is None else ("how often", "every=10")
        )
        raise ConfigError(
            f"fault {name} does not say {lacking}", hint=f"write {name}:{sample}, for example"
        )
    return Fault(name, **values)  # type: ignore[arg-type]  # each parser gives its field's type


def share(connections: Sequence[str], percent: int) -> list[str]:
    """`percent` of `connections`, rounded down, evenly spread over their order."""
    return [
        each
        for index, each in enumerate(connections)
        if index * percent // 100 < (index + 1) * percent // 100
    ]


class Faults:
    """The faults of one process: decides when each one strikes and counts the injections."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        """Take at most one fault of each name.

        Raises:
            ConfigError: if a name comes twice.
        """
        self._faults: dict[str, Fault] = {}
        self._opportunities: dict[str, int] = {}
        self.injected: dict[str, int] = {}
        """Injections so far, by name of the fault."""
        for fault in faults:
            if fault.name in self._faults:
                raise ConfigError(f"fault {fault.name} is given twice", hint="keep one of them")
            self._faults[fault.name] = fault
            self._opportunities[fault.name] = 0

    def __contains__(self, name: str) -> bool:
        """True if the fault was asked for, so that its opportunities have to be offered."""
        return name in self._faults

    def __bool__(self) -> bool:
        """True if any fault was asked for."""
        return bool(self._faults)

    def __getitem__(self, name: str) -> Fault:
        """The fault of a name that was asked for."""
        return self._faults[name]

    def settings(self) -> list[dict[str, int | str]]:
        """Each fault that was asked for, as `Fault.settings` describes it."""
        return [fault.settings() for fault in self._faults.values()]

    def strike(self, name: str) -> Fault | None:
        """Count one opportunity for `name`; the fault if it is to be injected now, else None."""
        fault = self.due(name)
        if fault is not None:
            bump(self.injected, name)
        return fault

    def due(self, name: str) -> Fault | None:
        """As `strike`, but the caller counts the injection when it comes about."""
        fault = self._faults.get(name)
        if fault is None:
            return None
        self._opportunities[name] += 1
        return None if self._opportunities[name] % fault.every else fault
