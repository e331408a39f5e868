"""Connection strings and tokens, judged by plain HMAC and by the official SDK."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from clienturls import (
    HOUR_S,
    KEY,
    NOW_S,
    TEXT,
    attempt,
    connection,
    minted,
    whole_story,
)
from hypothesis import given
from hypothesis import strategies as st

from wpsload.client_url import check, parse_client_url
from wpsload.errors import ConfigError
from wpsload.tokens import ConnectionString, Secret, mint


def decode(url: Secret) -> tuple[dict[str, Any], dict[str, Any], str, bytes]:
    """Header, claims, signed text and signature of a URL's token, without any JWT library."""
    token = url.reveal().split("access_token=")[1]
    signed, _, signature = token.rpartition(".")
    header, claims = (json.loads(unpad(part)) for part in signed.split("."))
    return header, claims, signed, unpad(signature)


def unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# ConnectionString


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (TEXT, "https://load.webpubsub.azure.com"),
        (f"accesskey={KEY};ENDPOINT=http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (f" Endpoint = https://a.b/// ; AccessKey = {KEY} ;; \n", "https://a.b"),
        (f"Endpoint=https://a.b/Prefix/;AccessKey={KEY};Other=1", "https://a.b/prefix"),
        (f"Endpoint=http://localhost;AccessKey={KEY};Port=8080", "http://localhost:8080"),
        (f"Endpoint=http://localhost:1/p;AccessKey={KEY};Port=08", "http://localhost:8/p"),
        (f"Endpoint=http://[::1];AccessKey={KEY};Port=8080", "http://[::1]:8080"),
        (f"Endpoint=http://[::1]:1;AccessKey={KEY};Port=8080", "http://[::1]:8080"),
    ],
)
def test_connection_string_is_read(text: str, endpoint: str) -> None:
    """Keys have any case and order, the key may hold `=`, and the port goes into the endpoint."""
    parsed = connection(text)

    assert endpoint == parsed.endpoint
    assert Secret(KEY) == parsed.key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Endpoint is missing"),
        (f"AccessKey={KEY}", "Endpoint is missing"),
        (f"Endpoint=;AccessKey={KEY}", "Endpoint is missing"),
        ("Endpoint=https://a.b", "AccessKey is missing"),
        ("Endpoint=https://a.b;AuthType=azure", "AccessKey is missing"),
        (f"Endpoint=https://a.b;{KEY.rstrip('=')}", "part 2 is not of the form key=value"),
        (f"Endpoint=https://a.b;AccessKey={KEY};accesskey={KEY}", "part 3 repeats an earlier key"),
        (f"Endpoint=a.b;AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=wss://a.b;AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://;AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://a.b?{KEY};AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://a.b#{KEY};AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://u:{KEY}@a.b;AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://a.b AccessKey={KEY};AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://a.b:x{KEY};AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://[a.b;AccessKey={KEY}", "http:// or https://"),
        (f"Endpoint=https://a.b;AccessKey={KEY};Port={KEY}", "Port is not a number"),
        (f"Endpoint=https://a.b;AccessKey={KEY};Port=0", "Port is not a number"),
        (f"Endpoint=https://a.b;AccessKey={KEY};Port=65536", "Port is not a number"),
        (f"Endpoint=https://a.b;AccessKey={KEY};Port=²", "Port is not a number"),
        (f"Endpoint=https://a.b;AccessKey={KEY}\udc80", "AccessKey is not valid text"),
    ],
)
def test_bad_connection_string_is_explained(text: str, said: str) -> None:
    """The error names the variable and what is wrong, and never shows the key."""
    with pytest.raises(ConfigError) as caught:
        connection(text)

    assert said in caught.value.message
    assert "WPS_CONNECTION_STRING" in caught.value.message
    assert caught.value.hint
    assert KEY[:10] not in whole_story(caught.value)


PIECES = [
    KEY,
    ";",
    "=",
    "Endpoint",
    "AccessKey",
    "Port",
    "https://",
    "http://",
    "a.b",
    ":",
    "/",
    "[",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_is_a_connection_string_or_a_config_error(text: str) -> None:
    """No text brings anything but a value or a `ConfigError` without the key."""
    parsed = attempt(connection, text)

    if isinstance(parsed, ConfigError):
        assert KEY not in whole_story(parsed)
    else:
        assert parsed.endpoint.startswith(("http://", "https://"))
        assert parsed.key.reveal()


# mint


def test_token_is_right_for_a_stranger() -> None:
    """Header, claims and signature hold for someone with nothing but HMAC and JSON."""
    client = minted(
        user_id="u17", roles=["webpubsub.sendToGroup.g1"], groups=["g1"], now_s=NOW_S + 0.9
    )

    header, claims, signed, signature = decode(client.url)
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert claims == {
        "aud": "https://load.webpubsub.azure.com/client/hubs/load",
        "iat": NOW_S,
        "exp": NOW_S + HOUR_S,
        "sub": "u17",
        "role": ["webpubsub.sendToGroup.g1"],
        "webpubsub.group": ["g1"],
    }
    assert hmac.digest(KEY.encode(), signed.encode(), hashlib.sha256) == signature


def test_token_holds_only_what_was_asked_for() -> None:
    """Without user, roles and groups there are no such claims."""
    _, claims, _, _ = decode(minted().url)

    assert {"aud", "iat", "exp"} == claims.keys()


@pytest.mark.parametrize(
    ("endpoint", "start"),
    [
        ("https://a.b", "wss://a.b/client/hubs/Load?access_token=eyJ"),
        ("http://localhost:8080/p/", "ws://localhost:8080/p/client/hubs/Load?access_token=eyJ"),
        ("http://https", "ws://https/client/hubs/Load?access_token=eyJ"),
    ],
)
def test_url_of_a_client(endpoint: str, start: str) -> None:
    """http becomes ws, https becomes wss, a prefix and the case of the hub are kept."""
    given_connection = connection(f"Endpoint={endpoint};AccessKey={KEY}")

    client = mint(given_connection, "Load", now_s=NOW_S, ttl_s=HOUR_S)

    assert client.url.reveal().startswith(start)


@pytest.mark.parametrize(
    "options",
    [
        {"hub": "1"},
        {"roles": ["sendToGroup"]},
        {"groups": [" "]},
        {"user_id": ""},
        {"user_id": "\udc80"},
        {"ttl_s": 0},
        {"ttl_s": -5},
        {"ttl_s": 0.9},
        {"ttl_s": float("nan")},
        {"ttl_s": float("inf")},
    ],
)
def test_minting_refuses_what_cannot_work(options: dict[str, Any]) -> None:
    """Bad hubs, roles, groups, users and lifetimes never become a token."""
    with pytest.raises(ConfigError):
        minted(**options)


def test_key_that_cannot_sign_is_explained() -> None:
    """A certificate in place of the access key is a clear error."""
    pem = "-----BEGIN PUBLIC KEY-----x-----END PUBLIC KEY-----"

    with pytest.raises(ConfigError, match="cannot sign") as caught:
        mint(connection(f"Endpoint=https://a.b;AccessKey={pem}"), "h", now_s=NOW_S, ttl_s=60)

    assert pem not in whole_story(caught.value)


# The official SDK


def sdk_url(text: str, hub: str, **options: Any) -> str:
    client = WebPubSubServiceClient.from_connection_string(text, hub=hub)
    answer: Any = client.get_client_access_token(**options)
    return str(answer["url"])


@pytest.mark.parametrize(
    "text", [TEXT, f"Endpoint=http://LocalHost:8080/Prefix/;AccessKey={KEY};Version=1.0;"]
)
@pytest.mark.parametrize("hub", ["Load", "h[`1`],x"])
@pytest.mark.parametrize(
    ("user_id", "roles", "groups"),
    [
        (None, [], []),
        ("u1", ["webpubsub.sendToGroup"], ["g1", "g2"]),
        ("ä b", ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.g"], []),
    ],
)
def test_same_token_as_the_official_sdk(
    text: str, hub: str, user_id: str | None, roles: list[str], groups: list[str]
) -> None:
    """URL, header and claims equal those of azure-messaging-webpubsubservice, but for the time."""
    theirs = Secret(sdk_url(text, hub, user_id=user_id, roles=roles, groups=groups))
    header, claims, _, _ = decode(theirs)

    ours = mint(
        connection(text),
        hub,
        now_s=claims["iat"],
        ttl_s=claims["exp"] - claims["iat"],
        user_id=user_id,
        roles=roles,
        groups=groups,
    )

    assert (header, claims) == decode(ours.url)[:2]
    assert theirs.reveal().split("?")[0] == ours.url.reveal().split("?")[0]


def test_url_of_the_official_sdk_is_read() -> None:
    """A URL that the SDK made tells hub, user, roles, groups and expiry."""
    before_s = int(datetime.now(UTC).timestamp())
    url = sdk_url(
        TEXT,
        "Load",
        user_id="u1",
        roles=["webpubsub.sendToGroup"],
        groups=["g"],
        minutes_to_expire=5,
    )

    client = parse_client_url(url)

    assert (client.hub, client.user_id) == ("Load", "u1")
    assert (client.roles, client.groups) == (("webpubsub.sendToGroup",), ("g",))
    assert client.expires_s is not None
    assert 0 <= client.expires_s - before_s - 300 <= 60
    check(client, source="it", now_s=before_s, needed_until_s=before_s + 300, hub="load")


def test_a_short_key_is_not_our_business() -> None:
    """A key of any length signs without a warning: the service's keys are not ours to judge."""
    connection = ConnectionString.parse("Endpoint=http://x;AccessKey=short")
    client = mint(connection, "load", now_s=NOW_S, ttl_s=60)
    assert client.expires_s == NOW_S + 60


@pytest.mark.parametrize("port", ["0" * 5000, "9" * 5000, "80" + "0" * 5000])
def test_a_port_of_many_digits(port: str) -> None:
    """Python refuses to read thousands of digits; the port is refused before that."""
    with pytest.raises(ConfigError, match="Port is not a number"):
        ConnectionString.parse(f"Endpoint=http://x;AccessKey=k;Port={port}")
