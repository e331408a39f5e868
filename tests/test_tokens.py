"""Connection strings, tokens and client URLs, judged by plain HMAC and by the official SDK."""

import base64
import hashlib
import hmac
import json
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from hypothesis import example, given
from hypothesis import strategies as st

from wpsload.errors import ConfigError
from wpsload.tokens import (
    ClientUrl,
    ConnectionString,
    Secret,
    check,
    format_line,
    mint,
    parse_client_url,
    parse_line,
    validate_group,
    validate_hub,
    validate_role,
)

KEY = "cAnArY+0123456789/abcdefghijklmnopqrstuvwxyz="
TEXT = f"Endpoint=https://Load.webpubsub.azure.com/;AccessKey={KEY};Version=1.0;"
Given = TypeVar("Given")
Value = TypeVar("Value")

NOW_S = 1_760_000_000
HOUR_S = 3600


def connection(text: str = TEXT) -> ConnectionString:
    return ConnectionString.parse(text)


def minted(hub: str = "load", **options: Any) -> ClientUrl:
    return mint(connection(), hub, **{"now_s": NOW_S, "ttl_s": HOUR_S, **options})


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def url_with(claims: object, hub: str = "load") -> str:
    """A client URL whose token says `claims`, put together by hand and badly signed."""
    token = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(claims)}.AAAA"
    return f"wss://x.azure.com/client/hubs/{hub}?access_token={token}"


def claims_with(**changed: object) -> dict[str, object]:
    return {"aud": "https://x.azure.com/client/hubs/load", "exp": NOW_S + HOUR_S, **changed}


def decode(url: Secret) -> tuple[dict[str, Any], dict[str, Any], str, bytes]:
    """Header, claims, signed text and signature of a URL's token, without any JWT library."""
    token = url.reveal().split("access_token=")[1]
    signed, _, signature = token.rpartition(".")
    header, claims = (json.loads(unpad(part)) for part in signed.split("."))
    return header, claims, signed, unpad(signature)


def unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def whole_story(error: BaseException) -> str:
    """All that any handler, logger or traceback could show of an error."""
    return f"{error}{error!r}{''.join(traceback.format_exception(error))}"


def attempt(read: Callable[[Given], Value], argument: Given) -> Value | ConfigError:
    """What `read` makes of `argument`, or the `ConfigError` it raises; anything else fails."""
    try:
        return read(argument)
    except ConfigError as error:
        return error


# Secret


@pytest.mark.parametrize("shown", [str, repr, "{}".format, "{:>20}".format, "%s".__mod__])
def test_secret_is_never_shown(shown: Any) -> None:
    """Every usual way of printing a secret gives three stars."""
    assert shown(Secret(KEY)).strip() == "***"


def test_secret_inside_data_is_never_shown() -> None:
    """The representation of what holds a secret does not show it either."""
    assert KEY not in repr(connection())
    assert "eyJ" not in repr(minted())


def test_secret_is_no_json() -> None:
    """A secret cannot slip into a JSON file by accident."""
    with pytest.raises(TypeError):
        json.dumps({"url": Secret(KEY)})


def test_secrets_compare_by_value() -> None:
    """Equal secrets are equal and hash alike; a text is not a secret."""
    assert {Secret("a"), Secret("a")} == {Secret("a")}
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


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


# Names


@pytest.mark.parametrize("name", ["a", "Load", "h_`,.[]9", "x" * 128])
def test_hub_names(name: str) -> None:
    """A hub name starts with a letter and has up to 128 characters."""
    assert name == validate_hub(name, source="WPS_HUB")


@pytest.mark.parametrize("name", ["", "1a", "a b", "a/b", "a-b", "ä", "a\n", "x" * 129])
def test_bad_hub_names(name: str) -> None:
    """Anything else is refused, naming the source."""
    with pytest.raises(ConfigError, match="WPS_HUB is not a hub name"):
        validate_hub(name, source="WPS_HUB")


def test_connection_string_in_the_wrong_variable_stays_hidden() -> None:
    """A bad name is cut before a key that was pasted in its place shows."""
    with pytest.raises(ConfigError) as caught:
        validate_hub(f"Endpoint=http://l;AccessKey={KEY}", source="WPS_HUB")

    assert KEY[:6] not in str(caught.value)


@pytest.mark.parametrize("name", ["g", "a/b c", "ä", " x ", "x" * 1024])
def test_group_names(name: str) -> None:
    """A group name is nearly any text."""
    assert name == validate_group(name, source="--group")


@pytest.mark.parametrize("name", ["", " \t", "x" * 1025, "\udc80"])
def test_bad_group_names(name: str) -> None:
    """Empty, blank, over-long and unencodable group names are refused."""
    with pytest.raises(ConfigError, match="--group is not a group name"):
        validate_group(name, source="--group")


@pytest.mark.parametrize(
    "role",
    [
        "webpubsub.joinLeaveGroup",
        "webpubsub.sendToGroup",
        "webpubsub.joinLeaveGroup.g",
        "webpubsub.sendToGroup.a.b*c",
        "webpubsub.joinLeaveGroups.g-*",
        "webpubsub.sendToGroups.**.?.***",
        r"webpubsub.sendToGroups.\*\\\?*****",
        "webpubsub.sendToGroup.a\nb",
    ],
)
def test_roles(role: str) -> None:
    """The forms of the protocol reference, 2.3, are roles."""
    assert role == validate_role(role, source="--role")


@pytest.mark.parametrize(
    "role",
    [
        "",
        "sendToGroup",
        "webpubsub.sendToGroup.",
        "webpubsub.sendToGroup. ",
        "webpubsub.sendtogroup",
        "webpubsub.sendToGroups",
        "webpubsub.joinLeaveGroups.",
        "webpubsub.sendToGroups.******",
        "webpubsub.sendToGroups.a\\",
        "webpubsub.sendToGroups.\\a",
        "webpubsub.sendToGroups." + "x" * 1025,
        "webpubsub.publish",
        "webpubsub.sendToGroup.\udc80",
    ],
)
def test_bad_roles(role: str) -> None:
    """What the service would silently skip is refused, with advice."""
    with pytest.raises(ConfigError, match="--role") as caught:
        validate_role(role, source="--role")

    assert caught.value.hint


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
