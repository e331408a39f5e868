"""Connection strings, client access tokens, client URLs and the lines of a tokens file.

Pure: no sockets, no clock. Instants are unix seconds and come in as arguments, because `exp` and
`iat` of a token are unix seconds. A value that opens a door is a `Secret`, and no error message
repeats the text it complains about.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from wpsload import signing
from wpsload.errors import ConfigError

__all__ = [
    "DEFAULT_HUB",
    "ClientUrl",
    "ConnectionString",
    "Secret",
    "check",
    "format_line",
    "mint",
    "parse_client_url",
    "parse_line",
    "validate_group",
    "validate_hub",
    "validate_role",
]

DEFAULT_HUB = "load"

# Source: protocol reference, 1.3.
_HUB = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
_GROUP_MAX_CHARACTERS = 1024
# Source: protocol reference, 2.3 and 8.1.
_ROLE = re.compile(
    r"webpubsub\.(?:joinLeaveGroup|sendToGroup)(?P<plural>s?)(?:\.(?P<rest>.+))?", re.S
)
_PATTERN_MAX_STARS = 5
_ROLE_HINT = (
    "a role is webpubsub.joinLeaveGroup or webpubsub.sendToGroup, "
    "either with .{group} for one group, or as webpubsub.joinLeaveGroups.{pattern} or "
    "webpubsub.sendToGroups.{pattern} for many"
)

# .NET servers write the long names. Source: protocol reference, 2.1.
_USER_CLAIMS = ("sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier")
_ROLE_CLAIMS = ("role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")

# Integers up to here survive JSON readers that use doubles; no real expiry is anywhere near.
_LATEST_S = 2**53

# The rest of a query may be anything, a recovery token included, so only these are shown.
_SHOWN_PARAMETERS = frozenset({"hub", "webpubsub_mode", "group", "noecho"})

_URL_HINT = "it looks like wss://{host}/client/hubs/{hub}?access_token={token}"
_CONNECTION_STRING_HINT = (
    "copy it from the portal under Keys: Endpoint=https://{name}.webpubsub.azure.com;"
    "AccessKey={key};Version=1.0;"
)


class Secret:
    """A text that prints as `***`; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, to be sent and never to be shown."""
        return self._value

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """Endpoint and access key of a Web PubSub instance.

    `endpoint` is `http(s)://host[:port][/prefix]` in lower case without a trailing slash, as the
    official SDKs sign it.
    """

    endpoint: str
    key: Secret

    @classmethod
    def parse(cls, text: str, *, source: str = "WPS_CONNECTION_STRING") -> "ConnectionString":
        """The connection string in `text`, which came from `source`.

        `Port` replaces the port of the endpoint; `Version` and unknown keys are ignored.

        Raises:
            ConfigError: if a part is missing, repeated or malformed.

        Source: protocol reference, 1.3.
        """
        values: dict[str, str] = {}
        for number, part in enumerate(text.strip().split(";"), start=1):
            if not part.strip():
                continue
            name, equals, value = part.partition("=")
            name = name.strip().lower()
            if not equals:
                raise _bad_connection_string(source, f"part {number} is not of the form key=value")
            if name in values:
                raise _bad_connection_string(source, f"part {number} repeats an earlier key")
            values[name] = value.strip()
        for name, printed in (("endpoint", "Endpoint"), ("accesskey", "AccessKey")):
            if not values.get(name):
                raise _bad_connection_string(source, f"{printed} is missing")
        if not _is_text(values["accesskey"]):
            raise _bad_connection_string(source, "AccessKey is not valid text")
        endpoint = _endpoint(values["endpoint"], values.get("port"), source)
        return cls(endpoint=endpoint, key=Secret(values["accesskey"]))

    def audience(self, hub: str) -> str:
        """The `aud` of client tokens for `hub`: http or https, never ws.

        Source: protocol reference, 2.1.
        """
        return f"{self.endpoint}/client/hubs/{hub}"


@dataclass(frozen=True, slots=True)
class ClientUrl:
    """A WebSocket URL of a client, with what its token says.

    `url` is the whole URL, token included. `user_id` is None for an anonymous user. `expires_s`
    is the `exp` of the token in unix seconds and `audience` its `aud`; both are None if the URL
    has no token, which only a hub that allows anonymous clients accepts.
    """

    url: Secret
    hub: str
    user_id: str | None
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    expires_s: int | None
    audience: str | None

    def split(self) -> tuple[str, Secret | None]:
        """The URL without `access_token`, and the token for an `Authorization: Bearer` header.

        The other query parameters stay, in order and as they were written. The token is None if
        the URL has none. Source: protocol reference, 1.1.
        """
        base, _, query = self.url.reveal().partition("?")
        kept = [piece for piece in query.split("&") if piece and not _is_token(piece)]
        tokens = [piece for piece in query.split("&") if _is_token(piece)]
        url = f"{base}?{'&'.join(kept)}" if kept else base
        return url, Secret(_value(tokens[0])) if tokens else None

    @property
    def redacted(self) -> str:
        """The URL as people may see it: `wss://host/client/hubs/h?access_token=***`."""
        base, question_mark, query = self.url.reveal().partition("?")
        return base + question_mark + "&".join(_redact(piece) for piece in query.split("&"))


def validate_hub(name: str, *, source: str) -> str:
    """`name`, which is a hub name.

    Raises:
        ConfigError: if it is not, naming `source`.

    Source: protocol reference, 1.3.
    """
    if not _HUB.fullmatch(name):
        raise ConfigError(
            f"{source} is not a hub name: {_shorten(name)}",
            hint="a hub name starts with a letter, then up to 127 letters, digits or _`,.[]",
        )
    return name


def validate_group(name: str, *, source: str) -> str:
    """`name`, which is a group name: 1 to 1024 characters, not all of them white space.

    Raises:
        ConfigError: if it is not, naming `source`.

    Source: protocol reference, 1.3.
    """
    if not name.strip() or len(name) > _GROUP_MAX_CHARACTERS or not _is_text(name):
        raise ConfigError(
            f"{source} is not a group name: {_shorten(name)}",
            hint="a group name has 1 to 1024 characters, not all of them white space",
        )
    return name


def validate_role(role: str, *, source: str) -> str:
    """`role`, which has one of the forms the service knows.

    The service silently skips a role it does not know, and the load would then meet nothing but
    `Forbidden`.

    Raises:
        ConfigError: if the form is unknown, naming `source`.

    Source: protocol reference, 2.3.
    """
    match = _ROLE.fullmatch(role)
    if match is None or not _is_text(role):
        raise ConfigError(f"{source} is not a role: {_shorten(role)}", hint=_ROLE_HINT)
    rest = match["rest"]
    if match["plural"]:
        _validate_pattern(rest, role=role, source=source)
    elif rest is not None:
        validate_group(rest, source=f"the group in {source}")
    return role


def mint(
    connection: ConnectionString,
    hub: str,
    *,
    now_s: float,
    ttl_s: float,
    user_id: str | None = None,
    roles: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ClientUrl:
    """A client URL for `hub`, signed with the access key, valid for `ttl_s` from `now_s` on.

    The token holds what was asked for and nothing else: without `roles` the client can neither
    join nor send, without `groups` it starts in none, without `user_id` it is anonymous.

    Raises:
        ConfigError: for a bad hub, role, group, an empty user id, a lifetime below one second or
            a key that cannot sign.

    Source: protocol reference, 2.1.
    """
    validate_hub(hub, source="the hub")
    for role in roles:
        validate_role(role, source="the role")
    for group in groups:
        validate_group(group, source="the group")
    if user_id is not None and not (user_id and _is_text(user_id)):
        raise ConfigError("the user id is empty or not valid text", hint="leave it out instead")
    longest_s = _LATEST_S - now_s
    if not 1 <= ttl_s <= longest_s:
        raise ConfigError(
            f"a token cannot be valid for {ttl_s:g} s",
            hint=f"a lifetime is from 1s to {longest_s // 86400:.0f}d",
        )
    expires_s = int(now_s + ttl_s)
    audience = connection.audience(hub)
    claims: dict[str, Any] = {"aud": audience, "iat": int(now_s), "exp": expires_s}
    if user_id is not None:
        claims["sub"] = user_id
    if roles:
        claims["role"] = list(roles)
    if groups:
        claims["webpubsub.group"] = list(groups)
    try:
        token = signing.sign(claims, connection.key.reveal().encode())
    except signing.InvalidKey as error:
        raise ConfigError(
            "the AccessKey cannot sign tokens: it looks like a certificate or an asymmetric key",
            hint=_CONNECTION_STRING_HINT,
        ) from error
    # http → ws, https → wss; the hub stays unescaped, as the official SDKs write it.
    url = f"ws{connection.endpoint.removeprefix('http')}/client/hubs/{hub}?access_token={token}"
    return ClientUrl(
        url=Secret(url),
        hub=hub,
        user_id=user_id,
        roles=tuple(roles),
        groups=tuple(groups),
        expires_s=expires_s,
        audience=audience,
    )


def parse_client_url(text: str, *, source: str = "the client URL") -> ClientUrl:
    """The client URL in `text`, which came from `source`, with what its token says.

    Reads `ws(s)://host/client/hubs/{hub}?access_token=…` and the older `/client/?hub={hub}`.
    The signature is not verified: only the service has to. Without a token the URL is for a hub
    that allows anonymous clients. Other query parameters are kept.

    Raises:
        ConfigError: if the URL or its token is malformed; says nothing about expiry, see `check`.

    Source: protocol reference, 1.1 and 2.1.
    """
    url = text.strip()
    parts = _split_url(url, schemes=("ws", "wss"))
    if parts is None:
        raise ConfigError(f"{source} is not a WebSocket URL", hint=_URL_HINT)
    hub = _hub_of(parts)
    if hub is None or not _HUB.fullmatch(hub):
        raise ConfigError(f"{source} is not for a client of a hub", hint=_URL_HINT)
    tokens = [_value(piece) for piece in parts.query.split("&") if _is_token(piece)]
    if len(tokens) > 1:
        raise ConfigError(f"{source} has {len(tokens)} access tokens, expected one")
    if not tokens:
        return ClientUrl(
            url=Secret(url),
            hub=hub,
            user_id=None,
            roles=(),
            groups=(),
            expires_s=None,
            audience=None,
        )
    claims = _claims(tokens[0], source)
    users = _texts(claims, _USER_CLAIMS, source)
    return ClientUrl(
        url=Secret(url),
        hub=hub,
        user_id=(users[0] or None) if users else None,
        roles=_texts(claims, _ROLE_CLAIMS, source),
        groups=_texts(claims, ("webpubsub.group",), source),
        expires_s=_expiry(claims, source),
        audience=_audience(claims, source),
    )


def check(
    client: ClientUrl,
    *,
    source: str,
    now_s: float,
    needed_until_s: float | None = None,
    hub: str | None = None,
) -> None:
    """Refuse a client URL that cannot serve the planned run.

    `needed_until_s` is the planned end of the run in unix seconds, None if it is not known. The
    service looks at the expiry at connect only, but a client that has to connect again near the
    end needs the token then. `hub` is the hub that the user asked for, None for any. Hub names
    compare without case.

    Raises:
        ConfigError: if the token is for another hub, expired, or expires before the end.

    Source: protocol reference, 1.3 and 2.1.
    """
    if hub is not None and hub.lower() != client.hub.lower():
        raise ConfigError(
            f"{source} is for hub {client.hub}, the run is for hub {hub}",
            hint="get a client URL for that hub, or change WPS_HUB",
        )
    if client.audience is not None:
        _check_audience(client.audience, client.hub, source)
    if client.expires_s is None:
        return
    hint = "get a new one: from the portal under Keys, or with wpsload url or wpsload tokens"
    if client.expires_s <= now_s:
        raise ConfigError(
            f"the token in {source} expired {_span(now_s - client.expires_s)} ago", hint=hint
        )
    if needed_until_s is not None and client.expires_s < needed_until_s:
        raise ConfigError(
            f"the token in {source} expires in {_span(client.expires_s - now_s)}, "
            f"the run needs it for {_span(needed_until_s - now_s, up=True)}",
            hint=f"{hint}, with a longer lifetime; or plan a shorter run",
        )


def format_line(client: ClientUrl) -> str:
    """One line of a tokens file, without the line break.

    A JSON object: `url` with its token, `userId` or null, `roles` as a list, `expires` in unix
    seconds or null. Only `url` is read back; the rest is for people and other programs.
    """
    return json.dumps(
        {
            "url": client.url.reveal(),
            "userId": client.user_id,
            "roles": client.roles,
            "expires": client.expires_s,
        }
    )


def parse_line(line: str, *, source: str) -> ClientUrl:
    """The client URL in one line of a tokens file; `source` is its `file:line`.

    What the token says counts, so the fields beside `url` may be absent or wrong.

    Raises:
        ConfigError: if the line is not a JSON object with a usable `url`.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str):
        raise ConfigError(
            f'{source} is not a JSON object with a "url"',
            hint="write the file with wpsload tokens, one object a line",
        )
    return parse_client_url(url, source=source)


def _bad_connection_string(source: str, what: str) -> ConfigError:
    return ConfigError(f"{source} is not a connection string: {what}", hint=_CONNECTION_STRING_HINT)


def _endpoint(text: str, port: str | None, source: str) -> str:
    """The endpoint as it is signed. A missing `;` puts the key in here, so it is never shown."""
    parts = _split_url(text, schemes=("http", "https"))
    if parts is None or "?" in text:
        raise _bad_connection_string(
            source, "Endpoint is not a URL that starts with http:// or https://"
        )
    host = parts.netloc
    if port is not None:
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
            raise _bad_connection_string(source, "Port is not a number from 1 to 65535")
        bare = host.rpartition(":")[0] if parts.port is not None else host.removesuffix(":")
        host = f"{bare}:{int(port)}"
    return f"{parts.scheme}://{host}{parts.path}".lower().rstrip("/")


def _split_url(url: str, *, schemes: tuple[str, ...]) -> SplitResult | None:
    """The parts of `url`, None unless it can be used as it stands.

    It must be visible ASCII, because `urlsplit` drops line breaks silently, with a host and a
    valid port, without a user name or a fragment.
    """
    if not re.fullmatch(r"[!-~]+", url):
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable and "@" not in parts.netloc and "#" not in url else None


def _hub_of(parts: SplitResult) -> str | None:
    """The hub that a client URL or an audience is for, None if it is for something else."""
    found = re.fullmatch(r".*/client/hubs/([^/]+)/?", parts.path)
    if found:
        return unquote(found[1])
    if re.fullmatch(r".*/client/?", parts.path):
        pieces = [piece for piece in parts.query.split("&") if _name(piece) == "hub"]
        return _value(pieces[-1]) if pieces else None
    return None


def _name(piece: str) -> str:
    """The name of a query parameter; the service compares names without case."""
    return unquote(piece.partition("=")[0]).lower()


def _value(piece: str) -> str:
    return unquote(piece.partition("=")[2])


def _is_token(piece: str) -> bool:
    return _name(piece) == "access_token"


def _redact(piece: str) -> str:
    if not piece or _name(piece) in _SHOWN_PARAMETERS:
        return piece
    return "access_token=***" if _is_token(piece) else "***"


def _claims(token: str, source: str) -> dict[str, Any]:
    try:
        return signing.read(token)
    except signing.InvalidToken as error:
        raise ConfigError(
            f"the token in {source} is malformed", hint="copy the whole URL, to its last character"
        ) from error


def _texts(claims: dict[str, Any], names: Iterable[str], source: str) -> tuple[str, ...]:
    """A claim that is a string or an array of strings; the first of `names` that is there."""
    for name in names:
        value = claims.get(name)
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in values):
            raise ConfigError(f"the token in {source} is malformed: {name} is not text")
        return tuple(values)
    return ()


def _expiry(claims: dict[str, Any], source: str) -> int:
    expires_s = claims.get("exp")
    if (
        not isinstance(expires_s, int | float)
        or isinstance(expires_s, bool)
        or not 0 <= expires_s <= _LATEST_S
    ):
        raise ConfigError(f"the token in {source} has no valid expiry (exp), the service needs one")
    return int(expires_s)


def _audience(claims: dict[str, Any], source: str) -> str:
    audiences = _texts(claims, ("aud",), source)
    if not audiences:
        raise ConfigError(f"the token in {source} has no audience (aud), the service needs one")
    return audiences[0]


def _check_audience(audience: str, hub: str, source: str) -> None:
    parts = _split_url(audience, schemes=("http", "https", "ws", "wss"))
    meant = _hub_of(parts) if parts else None
    if meant is None:
        raise ConfigError(
            f"the token in {source} is not for clients of a hub",
            hint="its aud should be https://{host}/client/hubs/{hub}",
        )
    if meant.lower() != hub.lower():
        raise ConfigError(
            f"the token in {source} is for hub {_shorten(meant)}, its URL is for hub {hub}",
            hint="copy URL and token from the same place",
        )


def _validate_pattern(pattern: str | None, *, role: str, source: str) -> None:
    """Source: protocol reference, 2.3 and 8.1."""
    plain = re.sub(r"\\[\\*?]", "", pattern or "")
    if (
        not pattern
        or len(pattern) > _GROUP_MAX_CHARACTERS
        or "\\" in plain
        or plain.count("*") > _PATTERN_MAX_STARS
    ):
        raise ConfigError(
            f"{source} has a bad pattern: {_shorten(role)}",
            hint="up to 1024 characters, up to five *; a backslash stands before \\, * or ?",
        )


def _is_text(text: str) -> bool:
    """Whether `text` can be written as UTF-8; what a shell passes on may not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shorten(text: str) -> str:
    """`text` in quotes, cut so short that a secret pasted in the wrong place stays hidden."""
    return ascii(text if len(text) <= 32 else text[:20] + "...")


def _span(duration_s: float, *, up: bool = False) -> str:
    """A duration in at most two units, such as `1 h 5 min`; rounded down, or `up`."""
    step_s = 1 if duration_s < 3600 else 60 if duration_s < 86400 else 3600
    whole_s = (math.ceil if up else math.floor)(duration_s / step_s) * step_s
    minutes, rest_s = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    counts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest_s, "s"))
    return " ".join([f"{count} {unit}" for count, unit in counts if count][:2]) or "0 s"
