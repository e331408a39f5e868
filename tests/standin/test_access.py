"""Tokens at the gate. Expiry, signature and audience over a real handshake: `test_server.py`."""

from typing import Any

import jwt
import pytest

from wpsload.standin.access import AccessDenied, ClientClaims, Gate, InvalidClaim, bearer

KEY = b"k" * 40
FAR_FUTURE = 4_000_000_000
AUDIENCE = "http://localhost:8080/client/hubs/load"
NAME_IDENTIFIER = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
LONG_ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"


def token(key: bytes = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"exp": FAR_FUTURE, "aud": AUDIENCE} | claims, key, algorithm=algorithm)


def enter(**claims: Any) -> ClientClaims:
    return Gate(KEY).client(token(**claims), audiences=[AUDIENCE])


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        ({}, ClientClaims()),
        ({"sub": "u"}, ClientClaims(user_id="u")),
        ({"sub": ""}, ClientClaims(user_id=None)),
        ({NAME_IDENTIFIER: "u"}, ClientClaims(user_id="u")),
        ({"role": "r"}, ClientClaims(roles=("r",))),
        ({"role": ["r", "s"]}, ClientClaims(roles=("r", "s"))),
        ({LONG_ROLE: ["r"]}, ClientClaims(roles=("r",))),
        ({"webpubsub.group": "g"}, ClientClaims(groups=("g",))),
        ({"webpubsub.group": ["g", "h"]}, ClientClaims(groups=("g", "h"))),
        ({"iat": FAR_FUTURE, "iss": "anyone", "other": {}}, ClientClaims()),
    ],
)
def test_claims(claims: dict[str, Any], granted: ClientClaims) -> None:
    """Users, roles and groups are read in each spelling that servers use; the rest is ignored."""
    assert granted == enter(**claims)


@pytest.mark.parametrize(
    "claims",
    [
        {"role": 1},
        {"role": ["r", 1]},
        {"webpubsub.group": [""]},
        {"webpubsub.group": ["x" * 1025]},
        {NAME_IDENTIFIER: "\ud800"},
    ],
)
def test_impossible_claims(claims: dict[str, Any]) -> None:
    """A genuine token with claims that cannot be used is another matter than a bad token."""
    with pytest.raises(InvalidClaim):
        enter(**claims)


@pytest.mark.parametrize(
    "presented",
    [
        None,
        "",
        "nonsense",
        token(key=b"x" * 40),
        token(key=b"k" * 64, algorithm="HS512"),
        jwt.encode({"exp": FAR_FUTURE, "aud": AUDIENCE}, "", algorithm="none"),
        token(aud=[AUDIENCE]),
    ],
    ids=["none", "empty", "nonsense", "other key", "other algorithm", "unsigned", "list"],
)
def test_no_entry(presented: str | None) -> None:
    """Only an HS256 token of this key with one audience opens the gate."""
    with pytest.raises(AccessDenied):
        Gate(KEY).client(presented, audiences=[AUDIENCE])


URL = "http://LocalHost:8080/api/hubs/Hub1/groups/a%20b%2Fc/:send"


@pytest.mark.parametrize(
    "audience",
    [
        URL,
        URL.lower(),
        f"{URL}?excluded=x&api-version=2024-12-01",
        f"{URL}/",
        "http://localhost:8080/api/hubs/Hub1/groups/a b/c/:send",
    ],
)
def test_rest_audiences(audience: str) -> None:
    """A REST token is for a URL, with or without query, in any case, decoded once or not."""
    Gate(KEY).rest(token(aud=audience), url=URL)


@pytest.mark.parametrize("audience", [AUDIENCE, URL + "x", URL.replace("Hub1", "Hub2"), None])
def test_other_rest_audiences(audience: str | None) -> None:
    """A REST token for another URL is refused."""
    claims = {"exp": FAR_FUTURE} | ({"aud": audience} if audience else {})
    with pytest.raises(AccessDenied):
        Gate(KEY).rest(jwt.encode(claims, KEY), url=URL)


def test_signed_tokens_are_accepted() -> None:
    """What the gate signs, it lets in."""
    gate = Gate(KEY)
    presented = gate.sign({"aud": AUDIENCE, "exp": FAR_FUTURE, "sub": "u"})
    assert gate.client(presented, audiences=[AUDIENCE]) == ClientClaims(user_id="u")


def test_the_key_is_not_in_the_representation() -> None:
    """A gate that ends up in a log line says nothing."""
    assert "kkk" not in repr(Gate(KEY))


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        ("Bearer t", "t"),
        ("bearer  t ", "t"),
        ("Bearer ", None),
        ("Bearer", None),
        ("Basic t", None),
        ("", None),
    ],
)
def test_bearer(authorization: str, token: str | None) -> None:
    """The scheme ignores case; another one holds no token."""
    assert token == bearer(authorization)
