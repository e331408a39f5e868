"""Where the load goes: one place decides it, from the environment.

The first of these variables that is set, and not empty, wins:

==========================  ====================================================================
`WPS_CONNECTION_STRING`     mint a token per user with the access key, for hub `WPS_HUB`
`WPS_CLIENT_URL`            one ready client URL, shared by all users
`WPS_NEGOTIATE_URL`         ask an application server for a URL per user, at connect time
`WPS_TOKENS_FILE`           one ready client URL per user, from a file of `wpsload tokens`
none of them                the embedded stand-in
==========================  ====================================================================

`WPS_HUB` is `load` unless set; with ready URLs it is what they are checked against. User number
n, counted from 0 over all worker processes, has the user id `load-{n}`, unless the file
`WPS_NEGOTIATE_USERS` names the users, one a line.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from wpsload import client_url, tokens
from wpsload.errors import ConfigError, ConnectError
from wpsload.names import validate_hub
from wpsload.negotiate import NegotiateEndpoint
from wpsload.tokens import DEFAULT_HUB, ClientUrl, ConnectionString, Secret

__all__ = [
    "DEFAULT_ROLES",
    "DEFAULT_TTL_S",
    "VARIABLES",
    "ConnectionStringTarget",
    "EmbeddedTarget",
    "NegotiateTarget",
    "SharedUrlTarget",
    "Target",
    "TargetExhausted",
    "TokensFileTarget",
    "from_environment",
    "unknown_variables",
]

_DECIDING = ("WPS_CONNECTION_STRING", "WPS_CLIENT_URL", "WPS_NEGOTIATE_URL", "WPS_TOKENS_FILE")

VARIABLES = (*_DECIDING, "WPS_HUB", "WPS_NEGOTIATE_USERS")
"""Every environment variable that this module reads."""

_READ_ELSEWHERE = ("WPS_SERVE_ACCESS_KEY", "WPS_TEST_TIMEOUT_FACTOR")  # wpsload serve · our tests

DEFAULT_ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")
"""Roles of minted tokens: join and send to any group."""

DEFAULT_TTL_S = 3600.0
"""Lifetime of minted tokens in seconds, as in the official SDKs."""


class TargetExhausted(ConnectError):
    """There is no client URL for a user, because the file of tokens or user ids is too short."""


class Target(Protocol):
    """A decided target: gives each user its client URL; `may_wait` for somebody to get it."""

    may_wait: ClassVar[bool]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the choice, one line each: ignored variables, and a ready
        token that grants nothing."""

    def describe(self) -> str:
        """The target and where it came from, in one line without secrets."""

    def client_url(self, n: int, *, now_s: float, ttl_s: float = DEFAULT_TTL_S) -> ClientUrl:
        """The client URL of user number `n`, which is unique over the whole distributed run.

        `now_s` is in unix seconds. `ttl_s`, in seconds, applies where tokens are minted; a ready
        URL has its own lifetime.

        Raises:
            ConnectError: if there is none for this user; `outcome` is the text to count it under.
        """

    def check(self, users: int, *, now_s: float, needed_until_s: float | None = None) -> None:
        """Refuse, before the first connection, a target that cannot serve `users` users.

        `needed_until_s` is the planned end of the run in unix seconds, None if it is not known.

        Raises:
            ConfigError: saying which variable, file or line is to blame.
        """


@dataclass(frozen=True, slots=True)
class ConnectionStringTarget:
    """Mints a token per user."""

    may_wait: ClassVar[bool] = False
    connection: ConnectionString
    hub: str
    origin: str = "from WPS_CONNECTION_STRING"
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Endpoint and hub."""
        return f"{self.connection.endpoint} hub {self.hub} ({self.origin})"

    def client_url(self, n: int, *, now_s: float, ttl_s: float = DEFAULT_TTL_S) -> ClientUrl:
        """A fresh client URL for user id `load-{n}`."""
        return tokens.mint(
            self.connection,
            self.hub,
            now_s=now_s,
            ttl_s=ttl_s,
            user_id=_user_id(n),
            roles=DEFAULT_ROLES,
        )

    def check(self, users: int, *, now_s: float, needed_until_s: float | None = None) -> None:
        """Nothing can be missing: each user gets a token when it connects."""


@dataclass(frozen=True, slots=True)
class SharedUrlTarget:
    """One client URL for all users, as pasted from the portal."""

    may_wait: ClassVar[bool] = False
    url: ClientUrl
    wanted_hub: str | None
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The URL without its token."""
        return f"{self.url.redacted} (from WPS_CLIENT_URL)"

    def client_url(self, n: int, *, now_s: float, ttl_s: float = DEFAULT_TTL_S) -> ClientUrl:
        """The one URL, whoever asks."""
        return self.url

    def check(self, users: int, *, now_s: float, needed_until_s: float | None = None) -> None:
        """Refuse a URL that is expired, expires during the run or is for another hub."""
        client_url.check(
            self.url,
            source="WPS_CLIENT_URL",
            now_s=now_s,
            needed_until_s=needed_until_s,
            hub=self.wanted_hub,
        )


@dataclass(frozen=True, slots=True)
class NegotiateTarget:
    """Asks an application server for the client URL of each user, when the user connects."""

    may_wait: ClassVar[bool] = True
    endpoint: NegotiateEndpoint
    user_ids: tuple[str, ...] | None
    users_file: str | None
    wanted_hub: str | None
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The host that is asked; path and query may hold a function key."""
        return f"client URLs from {self.endpoint.host} (from WPS_NEGOTIATE_URL)"

    def client_url(self, n: int, *, now_s: float, ttl_s: float = DEFAULT_TTL_S) -> ClientUrl:
        """What the server answers for user `n`. Blocks, but not for long."""
        if self.user_ids is None:
            return self.endpoint.ask(_user_id(n))
        if n >= len(self.user_ids):
            raise TargetExhausted("no user id left for this user", phase="token")
        return self.endpoint.ask(self.user_ids[n])

    def check(self, users: int, *, now_s: float, needed_until_s: float | None = None) -> None:
        """Ask once, for the first user.

        The end of the run does not matter: a user that connects again asks again.
        """
        if self.user_ids is not None and len(self.user_ids) < users:
            raise ConfigError(
                f"{self.users_file} names {len(self.user_ids)} user ids, the run has {users} users",
                hint="add user ids, one a line, or unset WPS_NEGOTIATE_USERS",
            )
        try:
            url = self.client_url(0, now_s=now_s)
        except ConnectError as error:
            raise ConfigError(
                f"{error.outcome}: {self.endpoint.host} (from WPS_NEGOTIATE_URL)",
                hint=error.hint or 'it has to answer GET ?id={user} with {"url": "wss://…"}',
            ) from error
        source = f"the answer of {self.endpoint.host}"
        client_url.check(url, source=source, now_s=now_s, hub=self.wanted_hub)


@dataclass(frozen=True, slots=True)
class TokensFileTarget:
    """A ready client URL per user: user n has the n-th line that is not blank.

    `lines` are pairs of line number, from 1, and text. They are decoded when needed, so that each
    of many workers pays only for its own.
    """

    may_wait: ClassVar[bool] = False
    path: str
    lines: Sequence[tuple[int, str]] = field(repr=False)
    wanted_hub: str | None
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The file, and how many tokens it holds."""
        return f"{_counted(len(self.lines), 'token')} of {self.path} (from WPS_TOKENS_FILE)"

    def client_url(self, n: int, *, now_s: float, ttl_s: float = DEFAULT_TTL_S) -> ClientUrl:
        """The URL of line `n`."""
        if n >= len(self.lines):
            raise TargetExhausted("no token left for this user", phase="token")
        number, line = self.lines[n]
        try:
            return client_url.parse_line(line, source=f"{self.path}:{number}")
        except ConfigError as error:
            raise ConnectError("unusable line in the tokens file", phase="token") from error

    def check(self, users: int, *, now_s: float, needed_until_s: float | None = None) -> None:
        """Refuse too few tokens, and read the lines of all `users` users."""
        if len(self.lines) < users:
            raise ConfigError(
                f"tokens file {self.path} holds {_counted(len(self.lines), 'token')}, "
                f"the run has {_counted(users, 'user')}",
                hint=f"mint enough: wpsload tokens --count {users} --out {self.path}",
            )
        for number, line in self.lines[:users]:
            source = f"{self.path}:{number}"
            client_url.check(
                client_url.parse_line(line, source=source),
                source=source,
                now_s=now_s,
                needed_until_s=needed_until_s,
                hub=self.wanted_hub,
            )


@dataclass(frozen=True, slots=True)
class EmbeddedTarget:
    """No target was named: the caller starts the embedded stand-in, then calls `started`."""

    hub: str
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The stand-in, before it has an address."""
        return f"embedded stand-in hub {self.hub} (no WPS_ variable names a target)"

    def started(self, connection_string: Secret) -> ConnectionStringTarget:
        """The target, now that the stand-in runs and has told its connection string.

        Raises:
            ConfigError: if that is malformed.
        """
        connection = ConnectionString.parse(
            connection_string.reveal(), source="the answer of the stand-in"
        )
        return ConnectionStringTarget(
            connection, self.hub, origin="embedded stand-in", notes=self.notes
        )


def from_environment(environ: Mapping[str, str]) -> Target | EmbeddedTarget:
    """The target that `environ` names. Reads files, but connects to nothing.

    Raises:
        ConfigError: if the deciding variable, or the file it names, is malformed.
    """
    given = {name: environ[name].strip() for name in VARIABLES if environ.get(name, "").strip()}
    wanted_hub = given.get("WPS_HUB")
    if wanted_hub is not None:
        validate_hub(wanted_hub, source="WPS_HUB")
    chosen = next((name for name in _DECIDING if name in given), None)
    notes = _notes(given, chosen)
    if chosen is None:
        return EmbeddedTarget(wanted_hub or DEFAULT_HUB, notes=notes)
    value = given[chosen]
    if chosen == "WPS_CONNECTION_STRING":
        connection = ConnectionString.parse(value, source=chosen)
        return ConnectionStringTarget(connection, wanted_hub or DEFAULT_HUB, notes=notes)
    if chosen == "WPS_CLIENT_URL":
        url = client_url.parse_client_url(value, source=chosen)
        return SharedUrlTarget(url, wanted_hub, notes=notes + _role_notes(url, f"of {chosen}"))
    if chosen == "WPS_TOKENS_FILE":
        lines = _lines(value, chosen)
        notes += _first_role_notes(value, lines)
        return TokensFileTarget(value, lines, wanted_hub, notes=notes)
    users_file = given.get("WPS_NEGOTIATE_USERS")
    return NegotiateTarget(
        endpoint=NegotiateEndpoint.parse(value, source=chosen),
        user_ids=_user_ids(users_file) if users_file else None,
        users_file=users_file,
        wanted_hub=wanted_hub,
        notes=notes,
    )


def _notes(given: Mapping[str, str], chosen: str | None) -> tuple[str, ...]:
    notes = [
        f"{name} is ignored, because {chosen} is set"
        for name in _DECIDING
        if name in given and name != chosen
    ]
    if "WPS_NEGOTIATE_USERS" in given and chosen != "WPS_NEGOTIATE_URL":
        notes.append("WPS_NEGOTIATE_USERS is ignored, because it only serves WPS_NEGOTIATE_URL")
    return tuple(notes)


def _role_notes(url: ClientUrl, of_what: str) -> tuple[str, ...]:
    """Without any role all requests but events are `Forbidden`; simple clients need none."""
    if url.roles:
        return ()
    return (f"the token {of_what} holds no role: its clients can neither join groups nor send",)


def _first_role_notes(path: str, lines: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    """As the first line goes, so do the others; a line that cannot be used is for `check`."""
    if not lines:
        return ()
    number, line = lines[0]
    try:
        url = client_url.parse_line(line, source=path)
    except ConfigError:
        return ()
    return _role_notes(url, f"in {path}:{number}")


def unknown_variables(environ: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Variables of `environ` that look like ours and that nothing reads, sorted.

    `known` are the names of the options; those of this module are known anyway. A name that is
    close to a known one has it behind it: `WPS_HBU (did you mean WPS_HUB?)`.
    """
    names = {*known, *VARIABLES, *_READ_ELSEWHERE}
    unknown = []
    for name in sorted(environ):
        if name.startswith("WPS_") and name not in names:
            nearest = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.8)
            unknown.append(f"{name} (did you mean {nearest[0]}?)" if nearest else name)
    return unknown


def _user_id(n: int) -> str:
    return f"load-{n}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _lines(path: str, variable: str) -> list[tuple[int, str]]:
    """Numbered lines of a text file that are not blank."""
    try:
        # Windows editors and shells may put a byte order mark in front.
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or "not readable"
        raise ConfigError(f"cannot read {path} (from {variable}): {reason}") from error
    except ValueError as error:
        raise ConfigError(
            f"cannot read {path} (from {variable}): not UTF-8 text", hint="save it as UTF-8"
        ) from error
    numbered = enumerate(text.split("\n"), start=1)
    return [(number, line) for number, line in numbered if line and not line.isspace()]


def _user_ids(path: str) -> tuple[str, ...]:
    ids = tuple(line.strip() for _, line in _lines(path, "WPS_NEGOTIATE_USERS"))
    if not ids:
        raise ConfigError(f"{path} (from WPS_NEGOTIATE_USERS) names no user", hint="one id a line")
    return ids
