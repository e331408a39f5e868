"""Who may come in: signatures, audiences and claims of client tokens and REST tokens.

Source: protocol reference, sections 2.1 and 2.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from wpsload.errors import WpsloadError
from wpsload.names import GROUP_CLAIMS, ROLE_CLAIMS, USER_CLAIMS, claim_texts, is_group, is_text
from wpsload.signing import InvalidToken, sign, verify

__all__ = ["AccessDenied", "ClientClaims", "Gate", "InvalidClaim", "bearer"]


class AccessDenied(WpsloadError):
    """The token is missing or not valid; answered with HTTP 401."""


class InvalidClaim(WpsloadError):
    """The token is genuine but says something impossible; answered with HTTP 400."""


@dataclass(frozen=True, slots=True)
class ClientClaims:
    """What a client token grants; `user_id` is None, never empty, for an anonymous client."""

    user_id: str | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def bearer(authorization: str) -> str | None:
    """The token of an `Authorization` header; None if it has another scheme, or is empty."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


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
        try:
            user_ids = claim_texts(claims, USER_CLAIMS)
            roles = claim_texts(claims, ROLE_CLAIMS)
            groups = claim_texts(claims, GROUP_CLAIMS)
        except ValueError as error:
            raise InvalidClaim(f"in the token, {error}") from error
        if not (all(map(is_text, user_ids)) and all(map(is_group, groups))):
            raise InvalidClaim("token has an invalid user id or group name")
        return ClientClaims(
            user_id=(user_ids[0] or None) if user_ids else None, roles=roles, groups=groups
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
