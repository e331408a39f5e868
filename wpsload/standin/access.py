"""Who may come in: signatures, audiences and claims of client tokens and REST tokens.

Source: protocol reference, sections 2.1 and 2.2.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from wpsload.errors import LocalProtocolError, WpsloadError
from wpsload.signing import InvalidToken, sign, verify
from wpsload.subprotocol import check_group

__all__ = ["AccessDenied", "ClientClaims", "Gate", "InvalidClaim", "is_hub"]

_HUB = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
_USER_CLAIMS = ("sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier")
_ROLE_CLAIMS = ("role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")
_GROUP_CLAIM = "webpubsub.group"


class AccessDenied(WpsloadError):
    """The token is missing or not valid; answered with HTTP 401."""


class InvalidClaim(WpsloadError):
    """The token is genuine but says something impossible; answered with HTTP 400."""


def is_hub(name: str) -> bool:
    """True if `name` is a hub name. Source: protocol reference, 1.3."""
    return _HUB.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class ClientClaims:
    """What a client token grants; `user_id` is None, never empty, for an anonymous client."""

    user_id: str | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def _strings(claims: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The values of the first claim of `names` that is there; one may come without its array."""
    for name in names:
        value = claims.get(name)
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        if value is not None:
            raise InvalidClaim(f"claim {name} is neither a string nor a list of strings")
    return ()


@dataclass(frozen=True, slots=True)
class Gate:
    """Checks tokens against the access key, and signs client tokens for the REST API.

    Attributes:
        key: UTF-8 bytes of the access key as printed, never base64-decoded.
        clock_skew_s: how far `exp` and `nbf` may be off.
    """

    key: bytes = field(repr=False)
    clock_skew_s: float = 300.0

    def client(self, token: str | None, *, audiences: Sequence[str]) -> ClientClaims:
        """What the token of a client grants, if it is for one of `audiences`, ignoring case.

        Raises:
            AccessDenied: if the token is missing or not valid here and now.
            InvalidClaim: if its user, role or group claims cannot be used.
        """
        claims = self._decode(token)
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience.lower() not in map(str.lower, audiences):
            raise AccessDenied(f"token has another audience than {audiences[0]}")
        user_ids = _strings(claims, _USER_CLAIMS)
        groups = _strings(claims, (_GROUP_CLAIM,))
        try:
            for text in (*user_ids, *groups):
                text.encode()  # half a surrogate pair is JSON, but no text that can be sent on
            for group in groups:
                check_group(group)
        except (LocalProtocolError, UnicodeEncodeError) as error:
            raise InvalidClaim("token has an invalid user id or group name") from error
        return ClientClaims(
            user_id=(user_ids[0] or None) if user_ids else None,
            roles=_strings(claims, _ROLE_CLAIMS),
            groups=groups,
        )

    def rest(self, token: str | None, *, url: str) -> None:
        """Let a REST request to `url` pass, given without its query.

        The official SDKs sign the whole URL, the documentation says without query: the query never
        narrows what a token is for. Percent-encoding may differ once.

        Raises:
            AccessDenied: if the token is missing or not valid here and now.
        """
        audience = self._decode(token).get("aud")
        if isinstance(audience, str):
            path = audience.partition("?")[0].rstrip("/").lower()
            if path == url.lower() or unquote(path) == unquote(url.lower()):
                return
        raise AccessDenied(f"token has another audience than {url}")

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with these claims."""
        return sign(claims, self.key)

    def _decode(self, token: str | None) -> dict[str, Any]:
        if not token:
            raise AccessDenied("there is no token")
        try:
            return verify(token, self.key, clock_skew_s=self.clock_skew_s)
        except InvalidToken as error:
            raise AccessDenied(f"token is not valid: {error}") from error
