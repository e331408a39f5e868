"""Named faults as data: what to inject, how often, and the counters that decide when.

A fault is written `NAME:key=value,key=value`. Each strikes upon every `every`-th opportunity of its
own kind, counted over all connections since the start, so that a run can be predicted exactly.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from wpsload.errors import ConfigError
from wpsload.standin.ledger import bump

__all__ = ["FAULTS", "Fault", "FaultKind", "Faults", "parse_fault"]

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
    """

    name: str
    every: int
    status: int = 503
    code: int = 1011
    error: str = "InternalServerError"


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


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a fault: the field of `Fault` it fills, its parser, the values it allows."""

    attribute: str
    parse: Callable[[str], int | str | None]
    allowed: str


_EVERY = Setting("every", _every, f"a whole number of at least 1, with up to {MAX_DIGITS} digits")


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A fault that can be asked for: what it does, what counts as an opportunity, its settings."""

    meaning: str
    opportunity: str
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def keys(self) -> Mapping[str, Setting]:
        """All settings; `every` is common to all faults and always required."""
        return {"every": _EVERY, **self.settings}


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
    "cut": FaultKind(
        "abort the TCP connection without a close frame; the message is lost",
        "a text or binary frame from a client",
    ),
    "close": FaultKind(
        "close the WebSocket; the message is lost",
        "a text or binary frame from a client",
        {"code": Setting("code", _code, "a close code that may be sent, 1000 to 1014 or 3000 up")},
    ),
}
"""Each fault by its name on the command line."""


def parse_fault(text: str) -> Fault:
    """The fault written `NAME:key=value,key=value`, for example `drop-ack:every=100`.

    Raises:
        ConfigError: if the name, a key or a value is unknown, or `every` is missing.
    """
    name, _, rest = text.partition(":")
    kind = FAULTS.get(name)
    if kind is None:
        raise ConfigError(f"unknown fault {name!r}", hint=f"use one of {', '.join(FAULTS)}")
    values: dict[str, int | str] = {}
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
    if "every" not in values:
        raise ConfigError(
            f"fault {name} does not say how often", hint=f"write {name}:every=10, for example"
        )
    return Fault(name, **values)  # type: ignore[arg-type]  # each parser gives its field's type


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

    def strike(self, name: str) -> Fault | None:
        """Count one opportunity for `name`; the fault if it is to be injected now, else None."""
        fault = self._faults.get(name)
        if fault is None:
            return None
        self._opportunities[name] += 1
        if self._opportunities[name] % fault.every:
            return None
        bump(self.injected, name)
        return fault
