"""Connection strings and the client access tokens that are signed with their keys.

Pure: no sockets, no clock. Instants are unix seconds and come in as arguments, because `exp` and
`iat` of a token are unix seconds. No error message repeats the text it complains about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wpsload import signing
from wpsload.client_url import LATEST_S, ClientUrl, split_url
from wpsload.errors import ConfigError
from wpsload.names import is_text, validate_group, validate_hub, validate_role
from wpsload.secret import Secret

__all__ = ["DEFAULT_HUB", "ClientUrl", "ConnectionString", "Secret", "mint"]

DEFAULT_HUB = "load"

_CONNECTION_STRING_HINT = (
    "copy it from the portal under Keys: Endpoint=https://{name}.webpubsub.azure.com;"
    "AccessKey={key};Version=1.0;"
)


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
        if not is_text(values["accesskey"]):
            raise _bad_connection_string(source, "AccessKey is not valid text")
        endpoint = _endpoint(values["endpoint"], values.get("port"), source)
        return cls(endpoint=endpoint, key=Secret(values["accesskey"]))

    def audience(self, hub: str) -> str:
        """The `aud` of client tokens for `hub`: http or https, never ws.

        Source: protocol reference, 2.1.
        """
        return f"{self.endpoint}/client/hubs/{hub}"


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
    if user_id is not None and not (user_id and is_text(user_id)):
        raise ConfigError("the user id is empty or not valid text", hint="leave it out instead")
    longest_s = LATEST_S - now_s
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


def _bad_connection_string(source: str, what: str) -> ConfigError:
    return ConfigError(f"{source} is not a connection string: {what}", hint=_CONNECTION_STRING_HINT)


def _endpoint(text: str, port: str | None, source: str) -> str:
    """The endpoint as it is signed. A missing `;` puts the key in here, so it is never shown."""
    parts = split_url(text, schemes=("http", "https"))
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
