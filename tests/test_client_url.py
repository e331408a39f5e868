"""Client URLs and the lines of a tokens file."""

import base64
import json
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from clienturls import (
    HOUR_S,
    KEY,
    NOW_S,
    attempt,
    claims_with,
    encode,
    minted,
    url_with,
    whole_story,
)
from hypothesis import example, given
from hypothesis import strategies as st

from wpsload.client_url import ClientUrl, check, format_line, parse_client_url, parse_line
from wpsload.errors import ConfigError
from wpsload.secret import Secret

# parse_client_url


def test_minted_url_is_read_back() -> None:
    """Reading a minted URL gives exactly what minting gave."""
    client = minted(user_id="u", roles=["webpubsub.sendToGroup"], groups=["g"])

    assert client == parse_client_url(f"  {client.url.reveal()}\n")


def test_older_url_is_read() -> None:
    """The hub may stand in the query, and the audience may be written that way too."""
    token = url_with(claims_with(aud="https://x.azure.com/client/?hub=load")).partition("=")[2]

    client = parse_client_url(f"wss://x.azure.com/client/?access_token={token}&hub=load&a=b")

    assert client.hub == "load"
    check(client, source="it", now_s=NOW_S)


def test_url_without_token_is_anonymous() -> None:
    """Without a token the URL is for a hub that allows it: no user, no expiry, nothing to check."""
    client = parse_client_url("ws://localhost:8080/client/hubs/load")

    assert (client.user_id, client.expires_s, client.audience) == (None, None, None)
    assert client.split() == ("ws://localhost:8080/client/hubs/load", None)
    check(client, source="it", now_s=NOW_S, needed_until_s=NOW_S + HOUR_S, hub="load")


@pytest.mark.parametrize(
    ("claims", "user_id", "roles"),
    [
        ({"sub": ""}, None, ()),
        ({"role": "webpubsub.sendToGroup", "sub": "u"}, "u", ("webpubsub.sendToGroup",)),
        ({"role": ["a", "b"], "exp": NOW_S + 0.5}, None, ("a", "b")),
        (
            {
                "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier": "u",
                "http://schemas.microsoft.com/ws/2008/06/identity/claims/role": ["a"],
            },
            "u",
            ("a",),
        ),
    ],
)
def test_claims_of_other_servers_are_read(
    claims: dict[str, object], user_id: str | None, roles: tuple[str, ...]
) -> None:
    """Single values and the long names of .NET mean the same."""
    client = parse_client_url(url_with(claims_with(**claims)))

    assert (user_id, roles) == (client.user_id, client.roles)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "load",
        "https://x.azure.com/client/hubs/load",
        "wss:///client/hubs/load",
        "wss://x.azure.com/",
        "wss://x.azure.com/client/hubs/",
        "wss://x.azure.com/client/hubs/1",
        "wss://x.azure.com/client/hubs/load&access_token=eyJcAnArY",
        "wss://x.azure.com/client/",
        "wss://x.azure.com/clients/mqtt/hubs/load",
        "wss://x.azure.com:99999/client/hubs/load",
        "wss://x.azure.com:0/client/hubs/load",
        "wss://u:cAnArY@x.azure.com/client/hubs/load",
        "wss://x.azure.com/client/hubs/load#cAnArY",
        "wss://x.azure.com/client/hubs/load?access_token=eyJ\ncAnArY",
        "wss://ä/client/hubs/load",
        "wss://[x/client/hubs/load",
        url_with(claims_with()) + "&Access_Token=cAnArY",
        "wss://x.azure.com/client/hubs/load?access_token=",
        "wss://x.azure.com/client/hubs/load?access_token=cAnArY",
        url_with(claims_with())[:-30],
        url_with([]),
        url_with(claims_with(exp=None)),
        url_with(claims_with(exp="1")),
        url_with(claims_with(exp=True)),
        url_with(claims_with(exp=-1)),
        url_with(claims_with(exp=10**400)),
        url_with(claims_with(exp=float("nan"))),
        url_with(claims_with(aud=None)),
        url_with(claims_with(aud=7)),
        url_with(claims_with(sub=7)),
        url_with(claims_with(role=[7])),
    ],
)
def test_malformed_client_url_is_explained(text: str) -> None:
    """The error names the source and shows nothing of the URL."""
    with pytest.raises(ConfigError, match="WPS_CLIENT_URL") as caught:
        parse_client_url(text, source="WPS_CLIENT_URL")

    assert "cAnArY" not in whole_story(caught.value)
    assert "eyJ" not in whole_story(caught.value)


def test_token_of_endless_depth_is_malformed() -> None:
    """Nesting that exhausts the JSON parser is an error like any other."""
    deep = base64.urlsafe_b64encode(b"[" * 100_000).decode().rstrip("=")
    head = encode({"alg": "HS256", "typ": "JWT"})

    with pytest.raises(ConfigError, match="malformed"):
        parse_client_url(f"wss://x/client/hubs/load?access_token={head}.{deep}.AAAA")


URL_PIECES = [
    "wss://x",
    "/client/hubs/",
    "/client/",
    "load",
    "?",
    "&",
    "hub=",
    "access_token=",
    url_with(claims_with()).partition("=")[2],
    KEY,
    ":",
    "[",
    "%",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(URL_PIECES)).map("".join)))
@example(url_with(claims_with()))
def test_any_text_is_a_client_url_or_a_config_error(text: str) -> None:
    """No text brings anything but a value or a `ConfigError`; both keep their secrets."""
    client = attempt(parse_client_url, text)

    if isinstance(client, ConfigError):
        assert KEY not in whole_story(client)
    else:
        assert "eyJ" not in client.redacted.partition("?")[2].replace("hub=", "")
        url, token = client.split()
        assert "access_token" not in url.lower()
        assert (token is None) == (client.expires_s is None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("aud", "exp", "sub", "role", "webpubsub.group"), JSON),
    )
)
def test_any_claims_are_read_or_a_config_error(claims: dict[str, Any]) -> None:
    """Whatever a token says gives a value or a `ConfigError`, and so does checking it."""
    client = attempt(parse_client_url, url_with(claims))
    if isinstance(client, ClientUrl):
        checked = attempt(partial(check, source="it", now_s=NOW_S, hub="load"), client)
        assert checked is None or isinstance(checked, ConfigError)
    else:
        assert "eyJ" not in whole_story(client)


# split and redacted


def test_token_moves_out_of_the_url() -> None:
    """Splitting takes the token away and leaves the other parameters as they were."""
    url = url_with(claims_with()).replace("?", "?a=%20b&") + "&webpubsub_mode=sendToGroup&c"
    token = url.partition("access_token=")[2].partition("&")[0]

    assert (
        "wss://x.azure.com/client/hubs/load?a=%20b&webpubsub_mode=sendToGroup&c",
        Secret(token),
    ) == parse_client_url(url).split()


def test_escaped_token_is_unescaped_for_the_header() -> None:
    """A token that was percent-encoded in the query is sent plain in the header."""
    base, _, token = url_with(claims_with()).partition("?access_token=")

    client = parse_client_url(f"{base}?access%5Ftoken={quote(token).replace('.', '%2E')}")

    assert (base, Secret(token)) == client.split()


def test_redacted_url_shows_no_value_that_could_be_secret() -> None:
    """Of the query only well-known harmless parameters are shown."""
    url = url_with(claims_with()) + f"&code={KEY}&{KEY}&group=g1&webpubsub_mode=sendToGroup"

    assert parse_client_url(url).redacted == (
        "wss://x.azure.com/client/hubs/load"
        "?access_token=***&***&***&group=g1&webpubsub_mode=sendToGroup"
    )


# check


def refusal(url: ClientUrl, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(url, **{"source": "WPS_CLIENT_URL", "now_s": NOW_S, **options})
    return caught.value.message


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (720, "12 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3900.5, "1 h 5 min"),
        (86400 * 2 + 3 * 3600 + 61, "2 d 3 h"),
    ],
)
def test_expired_token_says_since_when(age_s: float, said: str) -> None:
    """An expired token is refused with its age."""
    client = minted(ttl_s=60)

    message = refusal(client, now_s=NOW_S + 60 + age_s)

    assert message == f"the token in WPS_CLIENT_URL expired {said} ago"


@pytest.mark.parametrize(
    ("ttl_s", "run_s", "has", "needs"),
    [
        (600, 3900, "10 min", "1 h 5 min"),
        (7199, 7201, "1 h 59 min", "2 h 1 min"),
        (1, 1.5, "1 s", "2 s"),
    ],
)
def test_token_too_short_for_the_run_says_both_times(
    ttl_s: float, run_s: float, has: str, needs: str
) -> None:
    """A token that ends before the run does is refused, with what it has and what is needed."""
    message = refusal(minted(ttl_s=ttl_s), needed_until_s=NOW_S + run_s)

    assert message == (
        f"the token in WPS_CLIENT_URL expires in {has}, the run needs it for {needs}"
    )


def test_token_that_lasts_is_accepted() -> None:
    """A token may end exactly with the run; an unknown end asks for nothing; case is ignored."""
    check(minted(), source="it", now_s=NOW_S, needed_until_s=NOW_S + HOUR_S)
    check(minted(), source="it", now_s=NOW_S, hub="LOAD")


def test_wrong_hub_is_refused() -> None:
    """A URL for another hub than the one asked for is refused, naming both."""
    assert refusal(minted("chat"), hub="load") == (
        "WPS_CLIENT_URL is for hub chat, the run is for hub load"
    )


@pytest.mark.parametrize(
    ("audience", "said"),
    [
        ("https://x/client/hubs/chat", "is for hub 'chat', its URL is for hub load"),
        ("https://x/clients/mqtt/hubs/load", "is not for clients of a hub"),
        ("https://x/client/", "is not for clients of a hub"),
        ("https://[", "is not for clients of a hub"),
        ("nonsense", "is not for clients of a hub"),
    ],
)
def test_token_for_something_else_is_refused(audience: str, said: str) -> None:
    """A token whose audience is not the hub of its URL is refused."""
    client = parse_client_url(url_with(claims_with(aud=audience)))

    assert said in refusal(client)


@pytest.mark.parametrize(
    "audience", ["https://other/p/client/hubs/LOAD", ["https://x/client/hubs/load"]]
)
def test_token_for_another_host_is_accepted(audience: object) -> None:
    """Behind a proxy the audience names the original host; hubs compare without case."""
    check(parse_client_url(url_with(claims_with(aud=audience))), source="it", now_s=NOW_S)


# Tokens file


def test_line_is_read_back() -> None:
    """A line holds the documented fields, in one line, and reading it gives the same client."""
    client = minted(user_id="ä\n", roles=["webpubsub.sendToGroup"])

    line = format_line(client)

    assert "\n" not in line
    assert line.isascii()
    assert {
        "url": client.url.reveal(),
        "userId": "ä\n",
        "roles": ["webpubsub.sendToGroup"],
        "expires": NOW_S + HOUR_S,
    } == json.loads(line)
    assert client == parse_line(line, source="t.jsonl:1")


@pytest.mark.parametrize(
    "line", ["", "x", "[]", '"x"', "null", "{}", '{"url": 1}', '{"url": "x"}', "[" * 100_000]
)
def test_broken_line_names_its_place(line: str) -> None:
    """The error names file and line."""
    with pytest.raises(ConfigError, match=r"t\.jsonl:17"):
        parse_line(line, source="t.jsonl:17")


ROLES: Sequence[str] = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.ä")


@given(
    user_id=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    roles=st.lists(st.sampled_from(ROLES)),
    groups=st.lists(st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1)),
    ttl_s=st.integers(1, 10**9),
)
def test_whatever_is_minted_is_read_back(
    user_id: str | None, roles: list[str], groups: list[str], ttl_s: int
) -> None:
    """Minting, writing, reading and splitting lose nothing."""
    client = minted(user_id=user_id, roles=roles, groups=groups, ttl_s=ttl_s)

    again = parse_line(format_line(client), source="t.jsonl:1")

    url, token = again.split()
    assert client == again
    assert token is not None
    assert client.url.reveal() == f"{url}?access_token={token.reveal()}"
