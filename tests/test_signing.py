"""Tokens as such. That strangers accept and sign the same ones: `test_tokens.py`."""

from typing import Any

import pytest

from wpsload.signing import InvalidKey, InvalidToken, read, sign, verify

FAR_FUTURE = 4_000_000_000


@pytest.mark.parametrize("key", [b"k", b"k" * 64])
def test_round_trip(key: bytes) -> None:
    """What a key signs it verifies, however long it is, and anybody can read it."""
    claims: dict[str, Any] = {"exp": FAR_FUTURE, "aud": "a", "role": ["r"]}
    token = sign(claims, key)
    assert claims == verify(token, key, clock_skew_s=0) == read(token)


def test_a_certificate_cannot_sign() -> None:
    """A key of another kind is told apart."""
    pem = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    with pytest.raises(InvalidKey):
        sign({}, pem)


@pytest.mark.parametrize("claims", [{}, {"exp": 1}, {"exp": FAR_FUTURE, "nbf": FAR_FUTURE}])
def test_a_token_needs_to_be_valid_now(claims: dict[str, Any]) -> None:
    """Without expiry, expired and not valid yet are all refused."""
    with pytest.raises(InvalidToken):
        verify(sign(claims, b"k"), b"k", clock_skew_s=0)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "canary" * 10, "[" * 5000])
def test_a_malformed_token_is_never_quoted(token: str) -> None:
    """Neither the error nor its cause repeats what was given."""
    with pytest.raises(InvalidToken) as caught:
        read(token)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
