"""The Locust options of wpsload: one table, its argparse group, and the settings read from it."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from wpsload.arrivals import Plan, every, parse_plan
from wpsload.engine import ENGINE_NAMES, EngineName
from wpsload.errors import ConfigError
from wpsload.ladder import Step, default_ladder, parse_ladder
from wpsload.link import Limits
from wpsload.payload import MOST_RUN, check_size
from wpsload.subprotocol import MAX_MESSAGE_BYTES, DataType
from wpsload.thresholds import Threshold, parse_all
from wpsload.units import nanoseconds, parse_duration_s

__all__ = ["OPTIONS", "Option", "Settings", "VerdictMode", "add_options"]


VerdictMode = Literal["fail", "warn", "off"]
VERDICT_MODES: tuple[VerdictMode, ...] = get_args(VerdictMode)

_ENVELOPE_BYTES = 2048  # the JSON around the data, with the longest group name

_GUIDE_OBJECTIVE = ("delivery.p99<1s", "loss==0")
"""Source: protocol reference, 11.1; that nothing is lost is our own demand."""


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ConfigError(f"{text!r} is not a whole number of 1 or more")
    return value


def _interval(text: str) -> str:
    if interval_ns := nanoseconds(parse_duration_s(text)):
        every(interval_ns)
    return text


def _duration(text: str) -> str:
    parse_duration_s(text)
    return text


def _positive_duration(text: str) -> str:
    if parse_duration_s(text) <= 0:
        raise ConfigError(f"{text!r} is no time at all", hint="write it like 250ms, 5s or 20m")
    return text


def _whole_seconds(text: str) -> str:
    duration_s = parse_duration_s(text)
    if duration_s < 1 or duration_s % 1:
        raise ConfigError(f"{text!r} is not a whole number of seconds, 1 or more")
    return text


def _lifetime(text: str) -> str:
    if parse_duration_s(text) < 1:
        raise ConfigError(f"{text!r} is too short: a token lives for whole seconds")
    return text


def _thresholds(text: str) -> str:
    parse_all(text)
    return text


def _ladder(text: str) -> str:
    if text.strip():
        parse_ladder(text)
    return text


def _run_id(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) > MOST_RUN:
        raise ConfigError(f"{text!r} is not a whole number from 0 to {MOST_RUN}")
    return int(text)


def _payload_bytes(text: str) -> int:
    return check_size(_count(text))


def _check_room(payload_bytes: int, *, is_numbered: bool) -> None:
    try:
        check_size(payload_bytes, is_numbered=is_numbered)
    except ConfigError as error:
        raise ConfigError(f"--wps-payload-bytes: {error.message}", hint=error.hint) from None


def _check_message_size(payload_bytes: int, data_type: str) -> None:
    """Refuse what the service would close the connection for; base64 makes 4 bytes of 3."""
    wire_bytes = payload_bytes * 4 // 3 if data_type == "binary" else payload_bytes
    if wire_bytes + _ENVELOPE_BYTES > MAX_MESSAGE_BYTES:
        raise ConfigError(
            f"--wps-payload-bytes: {payload_bytes} bytes of {data_type} are more than the service "
            f"takes: {MAX_MESSAGE_BYTES} bytes with the envelope",
            hint="send less, or send text",
        )


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `--wps-NAME`, environment variable `WPS_NAME`, a field of Locust's page.

    `check` reads what the user typed and raises `ConfigError`; durations stay as typed, so that
    Locust's page shows `1s` and not `1.0`.
    """

    name: str
    default: Any
    help: str
    check: Callable[[str], Any] | None = None
    choices: tuple[str, ...] | None = None
    is_repeatable: bool = False

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return f"--wps-{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"WPS_{self.name.upper().replace('-', '_')}"

    @property
    def destination(self) -> str:
        """The attribute of Locust's `parsed_options`."""
        return f"wps_{self.name.replace('-', '_')}"

    def read(self, value: Any) -> Any:
        """The checked value of whatever a command line, variable or form holds.

        Raises:
            ConfigError: if it is not a value of this option; it names the option.
        """
        if isinstance(self.default, bool) and isinstance(value, str):
            if value not in ("true", "false"):
                raise ConfigError(f"{self.flag}: {value!r} is neither true nor false")
            return value == "true"
        if self.choices is not None and value not in self.choices:
            raise ConfigError(f"{self.flag}: {value!r} is none of {', '.join(self.choices)}")
        if self.check is None:
            return value
        try:
            return self.check("" if value is None else str(value))
        except ConfigError as error:
            raise ConfigError(f"{self.flag}: {error.message}", hint=error.hint) from None


def _plan(text: str) -> str:
    if text.strip():
        parse_plan(text)
    return text


OPTIONS: tuple[Option, ...] = (
    Option("group-size", 10, "Members of each group.", _count),
    Option("payload-bytes", 2048, "Size of each message, its time stamp included.", _payload_bytes),
    Option(
        "interval",
        "1s",
        "Time between the messages of one user; 0 for a closed loop without a pause.",
        _interval,
    ),
    Option(
        "plan",
        "",
        "Load of each sender instead of one interval, such as "
        "'constant 1/s for 1m then spike 10/s for 10s then constant 1/s'.",
        _plan,
    ),
    Option(
        "most-late",
        "10s",
        "A message of a plan or interval that cannot be sent so long after it was due is dropped.",
        _positive_duration,
    ),
    Option("seed", "", "Any word: runs with the same one have messages due at the same times."),
    Option(
        "run-id",
        "",
        f"Number up to {MOST_RUN} that tells this run's messages from those of other runs on the "
        "same hub; by chance unless given.",
        _run_id,
    ),
    Option(
        "ladder",
        "",
        "Rungs of a capacity run, such as 100@20/s,200@40/s: connections, and messages a second of "
        "all senders. By default those of the service's performance guide.",
        _ladder,
    ),
    Option("settle", "5s", "Time on each rung before it is measured.", _duration),
    Option("measure", "20s", "Time for which each rung is measured.", _whole_seconds),
    Option(
        "slo",
        "",
        "What a rung has to hold, written like a threshold. Repeatable; by default what the "
        f"performance guide asks for: {' and '.join(_GUIDE_OBJECTIVE)}.",
        _thresholds,
        is_repeatable=True,
    ),
    Option("units", 1, "Units of the service: for the ladder, and what to compare with.", _count),
    Option("data-type", "text", "Data type of the messages.", choices=("text", "json", "binary")),
    Option("no-echo", False, "Keep a sender's messages from the sender itself."),
    Option("connect-timeout", "10s", "Longest wait while connecting.", _positive_duration),
    Option("ack-timeout", "30s", "Longest wait for an ack or an echo.", _positive_duration),
    Option("drain", "5s", "Longest wait at the end for answers that are due.", _positive_duration),
    Option("no-ledger", False, "Send messages without a number, and do not look for missing ones."),
    Option(
        "warm-up",
        "2s",
        "Time from when all are connected and in their groups until the figures begin to count.",
        _duration,
    ),
    Option(
        "threshold",
        "",
        "What the run must reach, like 'delivery.p99<1s'; repeatable, or separated by ';'.",
        _thresholds,
        is_repeatable=True,
    ),
    Option("reports", "reports", "Folder that gets a folder for each run, with its run.json."),
    Option("no-record", False, "Write no run.json."),
    Option(
        "token-in",
        "query",
        "Where the token travels: in the URL, as browsers send it, or in a header.",
        choices=("query", "header"),
    ),
    Option("token-ttl", "60m", "Lifetime of the tokens that the run mints.", _lifetime),
    Option(
        "engine",
        "fast",
        "What drives the connections: the compiled way over epoll where there is one, the same "
        "in Python, only what every system has, or websocket-client for comparison.",
        choices=ENGINE_NAMES,
    ),
    Option(
        "verdict",
        "fail",
        "What becomes of a run whose generator was too late to be believed: it fails with exit "
        "code 4, it warns, or nobody looks.",
        choices=VERDICT_MODES,
    ),
)


def _chosen_plan(plan: str, interval: str) -> Plan | None:
    if plan.strip():
        return parse_plan(plan)
    interval_ns = nanoseconds(parse_duration_s(interval))
    return every(interval_ns) if interval_ns else None


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one test, checked; durations in seconds.

    `plan` is that of `--wps-plan`, otherwise of `--wps-interval`; None for the closed loop.
    """

    group_size: int
    payload_bytes: int
    interval_s: float
    plan: Plan | None
    seed: str
    run_id: int
    data_type: DataType
    is_no_echo: bool
    has_ledger: bool
    limits: Limits
    is_token_in_header: bool
    token_ttl_s: float
    warm_up_s: float
    thresholds: tuple[Threshold, ...]
    engine: EngineName
    verdict: VerdictMode
    ladder: tuple[Step, ...]
    settle_s: float
    measure_s: float
    objective: tuple[Threshold, ...]
    units: int

    @property
    def load(self) -> str:
        """What each sender does that follows the options, in words."""
        if self.plan is None:
            return "closed loop: the next message follows the answer to the one before"
        return f"open loop: {self.plan.text}"

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Settings":
        """The settings in `values`, keyed like Locust's `parsed_options`; others are defaults.

        Raises:
            ConfigError: if a value is not one of its option.
        """
        read = {
            option.name: option.read(values.get(option.destination, option.default))
            for option in OPTIONS
        }
        units = read["units"]
        _check_message_size(read["payload-bytes"], read["data-type"])
        _check_room(read["payload-bytes"], is_numbered=not read["no-ledger"])
        return cls(
            group_size=read["group-size"],
            payload_bytes=read["payload-bytes"],
            interval_s=parse_duration_s(read["interval"]),
            plan=_chosen_plan(read["plan"], read["interval"]),
            seed=str(read["seed"]),
            run_id=read["run-id"] or 0,
            data_type=read["data-type"],
            is_no_echo=bool(read["no-echo"]),
            has_ledger=not read["no-ledger"],
            limits=Limits(
                connect_timeout_s=parse_duration_s(read["connect-timeout"]),
                ack_timeout_s=parse_duration_s(read["ack-timeout"]),
                drain_s=parse_duration_s(read["drain"]),
                most_late_s=parse_duration_s(read["most-late"]),
            ),
            is_token_in_header=read["token-in"] == "header",
            token_ttl_s=parse_duration_s(read["token-ttl"]),
            warm_up_s=parse_duration_s(read["warm-up"]),
            thresholds=parse_all(read["threshold"]),
            engine=read["engine"],
            verdict=read["verdict"],
            ladder=parse_ladder(read["ladder"]) if read["ladder"] else default_ladder(units),
            settle_s=parse_duration_s(read["settle"]),
            measure_s=parse_duration_s(read["measure"]),
            objective=parse_all(read["slo"] or ";".join(_GUIDE_OBJECTIVE)),
            units=units,
        )


def _argument_type(check: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return check(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


class _Joined(argparse.Action):
    """Values of a repeated option in one text: so a form, a variable and a worker have it alike."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest, "")
        setattr(namespace, self.dest, f"{before}; {values}" if before else values)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to Locust's parser, as a group that its page shows too."""
    group = parser.add_argument_group("wpsload", "Load on Azure Web PubSub")
    for option in OPTIONS:
        extra: dict[str, Any] = {"env_var": option.variable, "help": option.help}
        if isinstance(option.default, bool):
            extra["action"] = "store_true"
        else:
            extra["default"] = option.default
            extra["metavar"] = option.name.rpartition("-")[2].upper()
        if option.check is not None:
            extra["type"] = _argument_type(option.check)
        if option.is_repeatable:
            extra["action"] = _Joined
        if option.choices is not None:
            extra |= {"choices": option.choices, "metavar": None}
        action: Any = group.add_argument(option.flag, **extra)
        # Locust marks its own arguments like this, but only those outside of a group.
        action.include_in_web_ui = True
        action.is_secret = action.is_required = action.is_multiple = False
