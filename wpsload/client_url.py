"""Client URLs, what their tokens say, and the lines of a tokens file.

Pure: no sockets, no clock. Instants are unix seconds and come in as arguments, because `exp` of a
token is unix seconds. No error message repeats the text it complains about.
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from wpsload import signing
from wpsload.errors import ConfigError
from wpsload.names import (
    GROUP_CLAIMS,
    ROLE_CLAIMS,
    USER_CLAIMS,
    claim_texts,
    is_hub,
    shorten,
)
from wpsload.secret import Secret

__all__ = [
    "LATEST_S",
    "ClientUrl",
    "check",
    "format_line",
    "parse_client_url",
    "parse_line",
    "split_url",
]

LATEST_S = 2**53
"""Integers up to here survive JSON readers that use doubles; no real expiry is anywhere near."""

# The rest of a query may be anything, a recovery token included, so only these are shown.
_SHOWN_PARAMETERS = frozenset({"hub", "webpubsub_mode", "group", "noecho"})

_URL_HINT = "it looks like wss://{host}/client/hubs/{hub}?access_token={token}"


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
    parts = split_url(url, schemes=("ws", "wss"))
    if parts is None:
        raise ConfigError(f"{source} is not a WebSocket URL", hint=_URL_HINT)
    hub = _hub_of(parts)
    if hub is None or not is_hub(hub):
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
    users = _texts(claims, USER_CLAIMS, source)
    return ClientUrl(
        url=Secret(url),
        hub=hub,
        user_id=(users[0] or None) if users else None,
        roles=_texts(claims, ROLE_CLAIMS, source),
        groups=_texts(claims, GROUP_CLAIMS, source),
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


def split_url(url: str, *, schemes: tuple[str, ...]) -> SplitResult | None:
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
    try:
        return claim_texts(claims, names)
    except ValueError as error:
        raise ConfigError(f"the token in {source} is malformed: {error}") from error


def _expiry(claims: dict[str, Any], source: str) -> int:
    expires_s = claims.get("exp")
    if (
        not isinstance(expires_s, int | float)
        or isinstance(expires_s, bool)
        or not 0 <= expires_s <= LATEST_S
    ):
        raise ConfigError(f"the token in {source} has no valid expiry (exp), the service needs one")
    return int(expires_s)


def _audience(claims: dict[str, Any], source: str) -> str:
    audiences = _texts(claims, ("aud",), source)
    if not audiences:
        raise ConfigError(f"the token in {source} has no audience (aud), the service needs one")
    return audiences[0]


def _check_audience(audience: str, hub: str, source: str) -> None:
    parts = split_url(audience, schemes=("http", "https", "ws", "wss"))
    meant = _hub_of(parts) if parts else None
    if meant is None:
        raise ConfigError(
            f"the token in {source} is not for clients of a hub",
            hint="its aud should be https://{host}/client/hubs/{hub}",
        )
    if meant.lower() != hub.lower():
        raise ConfigError(
            f"the token in {source} is for hub {shorten(meant)}, its URL is for hub {hub}",
            hint="copy URL and token from the same place",
        )


def _span(duration_s: float, *, up: bool = False) -> str:
    """A duration in at most two units, such as `1 h 5 min`; rounded down, or `up`."""
    step_s = 1 if duration_s < 3600 else 60 if duration_s < 86400 else 3600
    whole_s = (math.ceil if up else math.floor)(duration_s / step_s) * step_s
    minutes, rest_s = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    counts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest_s, "s"))
    return " ".join([f"{count} {unit}" for count, unit in counts if count][:2]) or "0 s"
