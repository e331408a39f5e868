"""The table: what is measured against what, with the gate that must hold and the goal.

A contest is a set of sides that do the same work, played in turn, round by round. A row compares
two of its sides by one figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.generators import (
    Artillery,
    AzureSdk,
    CClient,
    Connects,
    Generator,
    Node,
    OurUser,
    PlainUser,
    Tsung,
    Work,
)

__all__ = ["CONTESTS", "QUICK", "ROWS", "Contest", "Figure", "Row", "Side"]

Counted = Literal["acks", "delivered", "opened"]
Figure = Literal["rate", "cpu", "growth", "memory", "absolute", "slip"]
"""How a row compares:

- `rate`: messages/s, ours by theirs
- `cpu`: CPU of the generator per message, theirs by ours
- `growth`: CPU of the generator per message, ours by theirs: at most the gate
- `memory`: memory per connection, ours by theirs: at most the gate
- `absolute`: messages/s of ours
- `slip`: p99 from due to written, in ms, of ours: at most the gate
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A generator and its work.

    Attributes:
        ready_s: how long it may take until all connections are there.
        slack_ratio: the share of its messages that may be missing from its own count.
        share_of: the side whose rate in the same round decides its own pace.
        shares: of that rate, from the greatest on: that at which the generator is not INVALID.
    """

    generator: Generator
    work: Work
    ready_s: float = 60.0
    slack_ratio: float = 0.0
    share_of: str | None = None
    shares: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class Contest:
    """Sides that are measured in turn.

    Attributes:
        title: the work, for the report.
        counted: the server's count that tells how many messages there were.
        is_idle: measure memory instead: what a connection adds that does nothing.
        burst: push group messages, so many in one write.
        is_stand_in: against `wpsload serve` instead of the sink.
    """

    title: str
    sides: Mapping[str, Side]
    counted: Counted = "acks"
    is_idle: bool = False
    burst: int = 0
    is_stand_in: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; `theirs` is None for a figure that stands for itself, and `gate` for one that
    another is to be compared with."""

    work: str
    contest: str
    ours: str
    theirs: str | None
    figure: Figure
    gate: float | None
    goal: float | None


_CLOSED = Work()
_LARGE = Work(payload_bytes=2048)
_TLS = Work(is_tls=True)
_CONNECTS = Work(connections=50)
_CONNECTS_TLS = Work(connections=50, is_tls=True)
_BURST = 32

PLAIN, PACED, LOOP, TASK = "plain Locust", "paced", "scripted loop", "scripted @task"
IN_PYTHON = "paced, not compiled"
ARTILLERY, TSUNG, NODE, AZURE, C = "Artillery", "Tsung", "Node ws", "Azure SDK", "C client"
MEMBER, WEBSOCKET = "wpsload", "websocket-client"
AT_200, AT_10000 = "itself at 200", "at 10,000"
BARE, _BARE = "bare", ("--wps-no-ledger", "--wps-verdict", "off", "--wps-no-record")
AT_LIMIT, AT_40, AT_60, AT_80 = "at its limit", "at 40 % of it", "at 60 % of it", "at 80 % of it"
OPEN_LIMIT, OPEN_80 = "as fast as it is not INVALID", "at 80 % of that"
_CUT_OFF = 0.01  # it has several acks under way on a connection when it is stopped
_DOWN = (0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
C_80, C_AS_FAST = "C client at 80 % of its limit", "C client as fast as 80 % of ours"
_PUSHED = ("--wps-run-id", "0")  # what the sink pushes is of that run

CONTESTS: Mapping[str, Contest] = {
    "closed": Contest(
        "closed loop sendToGroup → ack, 200 connections, 200 B, ws",
        {
            PLAIN: Side(PlainUser("Sender"), _CLOSED),
            PACED: Side(OurUser("Paced"), _CLOSED),
            IN_PYTHON: Side(OurUser("Paced", options=("--wps-engine", "python")), _CLOSED),
            LOOP: Side(OurUser("Loop"), _CLOSED),
            TASK: Side(OurUser("Task"), _CLOSED),
            NODE: Side(Node(), _CLOSED),
            ARTILLERY: Side(Artillery(), _CLOSED),
            # Stopped, it loses what its users have counted and not yet handed in.
            TSUNG: Side(Tsung(), _CLOSED, slack_ratio=0.05),
            C: Side(CClient(), _CLOSED),
            # 200 of its clients take minutes to connect.
            AZURE: Side(AzureSdk(), Work(connections=50), ready_s=240),
        },
    ),
    "large": Contest(
        "closed loop, 200 connections, 2 KB, ws",
        {PLAIN: Side(PlainUser("Sender"), _LARGE), PACED: Side(OurUser("Paced"), _LARGE)},
    ),
    "tls": Contest(
        "closed loop, 200 connections, 200 B, wss",
        {PLAIN: Side(PlainUser("Sender"), _TLS), PACED: Side(OurUser("Paced"), _TLS)},
    ),
    "receive": Contest(
        f"receive, 200 connections, 200 B, pushed in bursts of {_BURST} as fast as they are read",
        {
            PLAIN: Side(PlainUser("Receiver", "group"), _CLOSED),
            MEMBER: Side(OurUser("Member", "group", options=_PUSHED), _CLOSED),
        },
        counted="delivered",
        burst=_BURST,
    ),
    "connects": Contest(
        "connect and close, 50 at a time, ws",
        {
            WEBSOCKET: Side(Connects("plain_connects.py"), _CONNECTS),
            MEMBER: Side(Connects("our_connects.py"), _CONNECTS),
        },
        counted="opened",
    ),
    "connects-tls": Contest(
        "connect and close, 50 at a time, wss",
        {
            WEBSOCKET: Side(Connects("plain_connects.py"), _CONNECTS_TLS),
            MEMBER: Side(Connects("our_connects.py"), _CONNECTS_TLS),
        },
        counted="opened",
    ),
    "idle": Contest(
        "memory that an idle connection adds, its user included: 2,200 against 200",
        {
            PLAIN: Side(PlainUser("Receiver"), _CLOSED),
            MEMBER: Side(OurUser("Member"), _CLOSED),
        },
        is_idle=True,
    ),
    "many": Contest(
        "closed loop, 200 B, ws, by number of connections",
        {
            AT_200: Side(OurUser("Paced"), _CLOSED),
            AT_10000: Side(OurUser("Paced"), Work(connections=10_000), ready_s=240),
        },
    ),
    "many-paced": Contest(
        "10,000 messages/s in all, 200 B, ws, by number of connections",
        {
            AT_200: Side(OurUser("Paced"), Work(interval_s=0.02)),
            AT_10000: Side(OurUser("Paced"), Work(connections=10_000, interval_s=1.0), ready_s=240),
        },
    ),
    "pacing": Contest(
        "open loop at a share of what the closed loop does, 200 connections, 200 B, ws",
        {
            AT_LIMIT: Side(OurUser("Paced"), _CLOSED),
            AT_40: Side(OurUser("Paced"), _CLOSED, share_of=AT_LIMIT, shares=(0.4,)),
            AT_60: Side(OurUser("Paced"), _CLOSED, share_of=AT_LIMIT, shares=(0.6,)),
            AT_80: Side(OurUser("Paced"), _CLOSED, share_of=AT_LIMIT, shares=(0.8,)),
            OPEN_LIMIT: Side(OurUser("Paced"), _CLOSED, share_of=AT_LIMIT, shares=_DOWN),
            OPEN_80: Side(OurUser("Paced"), _CLOSED, share_of=OPEN_LIMIT, shares=(0.8,)),
            C: Side(CClient(), _CLOSED),
            C_80: Side(CClient(), _CLOSED, share_of=C, shares=(0.8,), slack_ratio=_CUT_OFF),
            C_AS_FAST: Side(
                CClient(), _CLOSED, share_of=AT_LIMIT, shares=(0.8,), slack_ratio=_CUT_OFF
            ),
        },
    ),
    "measuring": Contest(
        "closed loop, 200 connections, 200 B, ws, measuring everything and as little as can be",
        {
            PACED: Side(OurUser("Paced"), _CLOSED),
            BARE: Side(OurUser("Paced", options=_BARE), _CLOSED),
        },
    ),
    "measuring-received": Contest(
        f"receive in bursts of {_BURST}, measuring everything and as little as can be",
        {
            MEMBER: Side(OurUser("Member", "group", options=_PUSHED), _CLOSED),
            BARE: Side(OurUser("Member", "group", options=_BARE), Work(is_numbered=False)),
        },
        counted="delivered",
        burst=_BURST,
    ),
    "stand-in": Contest(
        "the stand-in, driven by the C client: closed loop, 200 connections, 200 B",
        {C: Side(CClient(), _CLOSED)},
        is_stand_in=True,
    ),
    "stand-in-fan-out": Contest(
        "the stand-in, driven by the C client: closed loop in groups of 100, 200 B",
        {C: Side(CClient("deliveries"), Work(group_size=100))},
        counted="delivered",
        is_stand_in=True,
    ),
}

ROWS = (
    Row("closed loop, paced", "closed", PACED, PLAIN, "rate", 4.5, 6),
    Row("closed loop, paced, not compiled", "closed", IN_PYTHON, PLAIN, "rate", 4.5, 6),
    Row("closed loop, a loop inside one task", "closed", LOOP, PLAIN, "rate", 3.5, 4.5),
    Row("closed loop, one @task call a message", "closed", TASK, PLAIN, "rate", 2.5, 3.5),
    Row("closed loop, paced", "closed", PACED, ARTILLERY, "rate", 4, 5),
    Row("closed loop, paced", "closed", PACED, TSUNG, "rate", 4, 5),
    Row("closed loop, paced", "closed", PACED, NODE, "rate", 1.3, 1.8),
    Row("closed loop, paced (SDK: 50 connections)", "closed", PACED, AZURE, "rate", 15, 25),
    Row("closed loop, paced", "closed", PACED, C, "rate", 0.5, 0.7),
    Row("2 KB payload, paced", "large", PACED, PLAIN, "rate", 5, 6),
    Row("wss steady state, paced", "tls", PACED, PLAIN, "cpu", 3, 4.5),
    Row("fan-out receive in bursts", "receive", MEMBER, PLAIN, "cpu", 8, 15),
    Row("connects/s, ws", "connects", MEMBER, WEBSOCKET, "rate", 3, 5),
    Row("connects/s, wss", "connects-tls", MEMBER, WEBSOCKET, "rate", 1.5, 2.5),
    Row("memory per idle connection", "idle", MEMBER, PLAIN, "memory", 0.5, 0.25),
    Row("CPU at 10,000 connections, closed loop", "many", AT_10000, AT_200, "growth", 1.5, 1.2),
    Row("CPU at 10,000, same rate", "many-paced", AT_10000, AT_200, "growth", 1.5, 1.2),
    Row("send slip p99 at 40 % of its limit", "pacing", AT_40, AT_LIMIT, "slip", 1.0, 0.5),
    Row("send slip p99 at 60 % of its limit", "pacing", AT_60, AT_LIMIT, "slip", 1.0, 0.5),
    Row("send slip p99 at 80 % of its limit", "pacing", AT_80, AT_LIMIT, "slip", 1.0, 0.5),
    Row(
        "send slip p99 at 80 % of an open loop's limit",
        "pacing",
        OPEN_80,
        OPEN_LIMIT,
        "slip",
        1.0,
        0.5,
    ),
    Row("send slip p99, C client at 80 % of its limit", "pacing", C_80, C, "slip", None, None),
    Row("send slip p99, C client as fast", "pacing", C_AS_FAST, AT_LIMIT, "slip", None, None),
    Row("measuring everything: messages/s", "measuring", PACED, BARE, "rate", 0.9, 0.95),
    Row(
        "measuring everything: deliveries/s",
        *("measuring-received", MEMBER, BARE, "rate", 0.9, 0.95),
    ),
    Row("stand-in: acks/s", "stand-in", C, None, "absolute", 80_000, None),
    Row("stand-in: deliveries/s", "stand-in-fan-out", C, None, "absolute", 500_000, None),
)

QUICK = ROWS[:2]
"""The rows that say most, for a few minutes' time."""
