"""JSON web tokens, signed with HS256: the only place that calls the token library.

Keys are bytes: the UTF-8 text of an access key as printed, never base64-decoded. How long they are
is the business of the service that gave them out, so the library's warning about short ones is
kept from the user. Source: protocol reference, section 2.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jwt

__all__ = ["InvalidKey", "InvalidToken", "read", "sign", "verify"]


class InvalidKey(ValueError):
    """The key is for another kind of signature, such as a certificate."""


class InvalidToken(ValueError):
    """The token is malformed, forged, expired or not valid yet; the text names the reason and never
    quotes the token."""


@contextmanager
def _any_key_length() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The HMAC key is .* bytes long")
        yield


def sign(claims: Mapping[str, Any], key: bytes) -> str:
    """A token with these claims.

    Raises:
        InvalidKey: if the key cannot sign.
    """
    try:
        with _any_key_length():
            return jwt.encode(dict(claims), key, algorithm="HS256")
    except jwt.InvalidKeyError as error:
        raise InvalidKey(str(error)) from error


def verify(token: str, key: bytes, *, clock_skew_s: float) -> dict[str, Any]:
    """The claims of a token that this key signed and that is valid now.

    `exp` is required; `exp` and `nbf` may be off by `clock_skew_s`. The audience is left to the
    caller, because it depends on the request.

    Raises:
        InvalidToken: if it is not.
    """
    try:
        with _any_key_length():
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                leeway=clock_skew_s,
                options={"require": ["exp"], "verify_aud": False, "verify_iat": False},
            )
    except jwt.InvalidTokenError as error:
        raise InvalidToken(type(error).__name__) from error
    return claims


def read(token: str) -> dict[str, Any]:
    """The claims of a token, whoever signed it.

    Raises:
        InvalidToken: if it is malformed.
    """
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        # Not chained: the cause may quote pieces of the token.
        raise InvalidToken(type(error).__name__) from None
