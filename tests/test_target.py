"""The target, decided from real environments and files."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from wpsload.client_url import format_line
from wpsload.errors import ConfigError, ConnectError
from wpsload.target import (
    DEFAULT_ROLES,
    ConnectionStringTarget,
    EmbeddedTarget,
    NegotiateTarget,
    SharedUrlTarget,
    TargetExhausted,
    TokensFileTarget,
    from_environment,
    unknown_variables,
)
from wpsload.tokens import ConnectionString, Secret, mint

KEY = "cAnArY0123456789abcdefghijklmnopqrstuvwxyz=="
TEXT = f"Endpoint=https://x.webpubsub.azure.com;AccessKey={KEY};Version=1.0;"
NOW_S = 1_760_000_000
HOUR_S = 3600


def url(hub: str = "load", **options: Any) -> str:
    """A client URL, valid for an hour."""
    options = {"now_s": NOW_S, "ttl_s": HOUR_S, "roles": DEFAULT_ROLES, **options}
    return mint(ConnectionString.parse(TEXT), hub, **options).url.reveal()


def tokens_file(folder: Path, count: int, **options: Any) -> str:
    connection = ConnectionString.parse(TEXT)
    options = {"now_s": NOW_S, "ttl_s": HOUR_S, "roles": DEFAULT_ROLES, **options}
    clients = [mint(connection, "load", user_id=f"load-{n}", **options) for n in range(count)]
    path = folder / "t.jsonl"
    path.write_text("".join(f"{format_line(client)}\n" for client in clients))
    return str(path)


# Which one


def test_without_variables_it_is_the_embedded_stand_in() -> None:
    """Nothing set means the stand-in, which becomes a target once it runs."""
    target = from_environment({"WPS_CLIENT_URL": "", "WPS_HUB": " ", "PATH": "/bin"})

    assert isinstance(target, EmbeddedTarget)
    assert target.describe() == "embedded stand-in hub load (no WPS_ variable names a target)"
    started = target.started(Secret(f"Endpoint=http://127.0.0.1:8080;AccessKey={KEY}"))
    assert started.describe() == "http://127.0.0.1:8080 hub load (embedded stand-in)"
    assert started.client_url(0, now_s=NOW_S).url.reveal().startswith("ws://127.0.0.1:8080/")


def test_stand_in_takes_the_wanted_hub() -> None:
    """`WPS_HUB` alone chooses the hub on the stand-in."""
    target = from_environment({"WPS_HUB": "chat"})

    assert isinstance(target, EmbeddedTarget)
    assert target.started(Secret(TEXT)).hub == "chat"


@pytest.mark.parametrize(
    ("set_last", "kind"),
    [
        (4, ConnectionStringTarget),
        (3, SharedUrlTarget),
        (2, NegotiateTarget),
        (1, TokensFileTarget),
    ],
)
def test_first_variable_wins_and_the_rest_is_told(
    tmp_path: Path, set_last: int, kind: type[object]
) -> None:
    """The first in the documented order decides, and the notes name what is ignored."""
    in_order = {
        "WPS_CONNECTION_STRING": TEXT,
        "WPS_CLIENT_URL": url(),
        "WPS_NEGOTIATE_URL": "http://localhost/negotiate",
        "WPS_TOKENS_FILE": tokens_file(tmp_path, 1),
    }
    names = list(in_order)[-set_last:]

    target = from_environment({name: in_order[name] for name in reversed(names)})

    assert isinstance(target, kind)
    assert [note.split()[0] for note in target.notes] == names[1:]


def test_note_says_why() -> None:
    """A note names the ignored variable and the one that beat it."""
    target = from_environment({"WPS_TOKENS_FILE": "t.jsonl", "WPS_CONNECTION_STRING": TEXT})

    assert target.notes == ("WPS_TOKENS_FILE is ignored, because WPS_CONNECTION_STRING is set",)


def test_user_ids_without_negotiate_are_told() -> None:
    """A file of user ids that nothing reads is pointed out."""
    target = from_environment({"WPS_NEGOTIATE_USERS": "users.txt"})

    assert target.notes == (
        "WPS_NEGOTIATE_USERS is ignored, because it only serves WPS_NEGOTIATE_URL",
    )


def test_a_token_without_a_role_is_told(tmp_path: Path) -> None:
    """A ready token that grants nothing is valid, but its clients would meet only `Forbidden`."""
    shared = from_environment({"WPS_CLIENT_URL": url(roles=())})
    path = tokens_file(tmp_path, 2, roles=())
    file = from_environment({"WPS_TOKENS_FILE": path})

    assert shared.notes == (
        "the token of WPS_CLIENT_URL holds no role: its clients can neither join groups nor send",
    )
    assert file.notes == (
        f"the token in {path}:1 holds no role: its clients can neither join groups nor send",
    )
    assert from_environment({"WPS_CLIENT_URL": url(roles=["webpubsub.sendToGroup.g"])}).notes == ()


def test_a_broken_tokens_file_is_left_to_the_check(tmp_path: Path) -> None:
    """No note is made of lines that cannot be read; `check` names them."""
    for text in ("", "{oops"):
        path = tmp_path / "t.jsonl"
        path.write_text(text)
        assert from_environment({"WPS_TOKENS_FILE": str(path)}).notes == ()


def test_unknown_variables() -> None:
    """A misspelt variable is found, with the name that was meant if one is near."""
    environ = {
        "WPS_GROUPSIZE": "1",
        "WPS_CONECTION_STRING": "secret",
        "WPS_XYZ": "",
        "WPS_HUB": "h",
        "WPS_GROUP_SIZE": "1",
        "WPS_SERVE_ACCESS_KEY": "k",
        "WPS_TEST_TIMEOUT_FACTOR": "2",
        "PATH": "/bin",
    }

    assert unknown_variables(environ, ["WPS_GROUP_SIZE", "WPS_INTERVAL"]) == [
        "WPS_CONECTION_STRING (did you mean WPS_CONNECTION_STRING?)",
        "WPS_GROUPSIZE (did you mean WPS_GROUP_SIZE?)",
        "WPS_XYZ",
    ]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WPS_HUB": "1"}, "WPS_HUB"),
        ({"WPS_CONNECTION_STRING": KEY}, "WPS_CONNECTION_STRING"),
        ({"WPS_CLIENT_URL": KEY}, "WPS_CLIENT_URL"),
        ({"WPS_NEGOTIATE_URL": KEY}, "WPS_NEGOTIATE_URL"),
        ({"WPS_NEGOTIATE_URL": f"ftp://{KEY}"}, "WPS_NEGOTIATE_URL"),
        ({"WPS_NEGOTIATE_URL": f"http://[{KEY}"}, "WPS_NEGOTIATE_URL"),
        ({"WPS_TOKENS_FILE": "/nowhere/t.jsonl"}, "/nowhere/t.jsonl (from WPS_TOKENS_FILE)"),
        ({"WPS_TOKENS_FILE": "/"}, "cannot read / (from WPS_TOKENS_FILE)"),
        (
            {"WPS_NEGOTIATE_URL": "http://a", "WPS_NEGOTIATE_USERS": "/nowhere/u"},
            "/nowhere/u (from WPS_NEGOTIATE_USERS)",
        ),
    ],
)
def test_bad_variable_is_named(environ: dict[str, str], said: str) -> None:
    """The error names the variable that is wrong, without its value."""
    with pytest.raises(ConfigError) as caught:
        from_environment(environ)

    assert said in caught.value.message
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_representations_keep_secrets(tmp_path: Path) -> None:
    """No target shows a key, token or negotiate URL when it is printed."""
    for environ in (
        {"WPS_CONNECTION_STRING": TEXT},
        {"WPS_CLIENT_URL": url()},
        {"WPS_NEGOTIATE_URL": f"https://u:{KEY}@app.example.com/n?code={KEY}"},
        {"WPS_TOKENS_FILE": tokens_file(tmp_path, 2)},
    ):
        target = from_environment(environ)
        for shown in (repr(target), target.describe(), str(target.notes)):
            assert KEY not in shown
            assert "eyJ" not in shown


# WPS_CONNECTION_STRING


def test_connection_string_mints_per_user() -> None:
    """Each user has its own id, the default roles, and a token of the lifetime asked for."""
    target = from_environment({"WPS_CONNECTION_STRING": f" {TEXT}\n", "WPS_HUB": "chat"})

    assert isinstance(target, ConnectionStringTarget)
    assert target.describe() == (
        "https://x.webpubsub.azure.com hub chat (from WPS_CONNECTION_STRING)"
    )
    target.check(10**6, now_s=NOW_S, needed_until_s=NOW_S + 10**9)
    client = target.client_url(7, now_s=NOW_S)
    assert (client.hub, client.user_id, client.expires_s) == ("chat", "load-7", NOW_S + HOUR_S)
    assert client.roles == ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")
    other = target.client_url(8, now_s=NOW_S, ttl_s=60)
    assert (other.user_id, other.expires_s) == ("load-8", NOW_S + 60)


# WPS_CLIENT_URL


def test_client_url_is_shared() -> None:
    """All users get the one URL, shown without its token."""
    target = from_environment({"WPS_CLIENT_URL": url()})

    assert isinstance(target, SharedUrlTarget)
    assert target.client_url(0, now_s=NOW_S) is target.client_url(99, now_s=NOW_S)
    assert target.client_url(0, now_s=NOW_S).url == Secret(url())
    assert target.describe() == (
        "wss://x.webpubsub.azure.com/client/hubs/load?access_token=*** (from WPS_CLIENT_URL)"
    )
    target.check(50, now_s=NOW_S, needed_until_s=NOW_S + HOUR_S)


@pytest.mark.parametrize(
    ("environ", "now_s", "said"),
    [
        ({}, NOW_S + HOUR_S + 720, "the token in WPS_CLIENT_URL expired 12 min ago"),
        ({}, NOW_S + 1, "the token in WPS_CLIENT_URL expires in 59 min 59 s"),
        ({"WPS_HUB": "chat"}, NOW_S, "WPS_CLIENT_URL is for hub load, the run is for hub chat"),
    ],
)
def test_client_url_that_cannot_work_is_refused(
    environ: dict[str, str], now_s: int, said: str
) -> None:
    """Expired, too short and for another hub: all found before the first connection."""
    target = from_environment({"WPS_CLIENT_URL": url(), **environ})

    assert not isinstance(target, EmbeddedTarget)
    with pytest.raises(ConfigError) as caught:
        target.check(1, now_s=now_s, needed_until_s=now_s + HOUR_S)
    assert said in caught.value.message


# WPS_TOKENS_FILE


def from_file(path: str | Path, **environ: str) -> TokensFileTarget:
    target = from_environment({"WPS_TOKENS_FILE": str(path), **environ})
    assert isinstance(target, TokensFileTarget)
    return target


def test_tokens_file_has_one_token_per_user(tmp_path: Path) -> None:
    """User n gets the n-th token; the run may use all of them."""
    path = tokens_file(tmp_path, 10)
    target = from_file(path, WPS_HUB="LOAD")

    target.check(10, now_s=NOW_S, needed_until_s=NOW_S + HOUR_S)

    users = [target.client_url(n, now_s=NOW_S).user_id for n in range(10)]
    assert users == [f"load-{n}" for n in range(10)]
    assert target.describe() == f"10 tokens of {path} (from WPS_TOKENS_FILE)"


def test_too_few_tokens_are_refused(tmp_path: Path) -> None:
    """The error counts tokens and users, and the hint is the command that mints enough."""
    path = tokens_file(tmp_path, 10)

    with pytest.raises(ConfigError) as caught:
        from_file(path).check(50, now_s=NOW_S)

    assert caught.value.message == f"tokens file {path} holds 10 tokens, the run has 50 users"
    assert caught.value.hint == f"mint enough: wpsload tokens --count 50 --out {path}"


def test_empty_tokens_file_is_refused(tmp_path: Path) -> None:
    """A file without tokens is no target."""
    path = tmp_path / "empty.jsonl"
    path.write_text("\n \n")

    with pytest.raises(ConfigError, match="holds 0 tokens, the run has 1 user "):
        from_file(path).check(1, now_s=NOW_S)


def test_user_beyond_the_file_is_a_countable_failure(tmp_path: Path) -> None:
    """More users than planned fail one by one under a stable text."""
    target = from_file(tokens_file(tmp_path, 1))

    with pytest.raises(TargetExhausted) as caught:
        target.client_url(1, now_s=NOW_S)

    assert caught.value.outcome == "no token left for this user"
    assert isinstance(caught.value, ConnectError)


def test_broken_line_is_named(tmp_path: Path) -> None:
    """Blank lines count for the number, but not as tokens; a broken line is named."""
    path = tmp_path / "t.jsonl"
    line = json.dumps({"url": url()})
    path.write_text(f"\ufeff\r\n{line}\r\n\n{{broken\r\n{line}", encoding="utf-8")
    target = from_file(path)

    target.check(1, now_s=NOW_S)
    with pytest.raises(ConfigError, match=r"t\.jsonl:4 is not"):
        target.check(2, now_s=NOW_S)
    with pytest.raises(ConnectError, match="unusable line"):
        target.client_url(1, now_s=NOW_S)
    assert target.client_url(2, now_s=NOW_S).url == Secret(url())


@pytest.mark.parametrize(
    ("options", "environ", "said"),
    [
        ({"ttl_s": 60}, {}, r"the token in .*t\.jsonl:1 expires in 1 min"),
        ({"now_s": NOW_S - HOUR_S}, {}, r"the token in .*t\.jsonl:1 expired 0 s ago"),
        ({}, {"WPS_HUB": "chat"}, r"t\.jsonl:1 is for hub load, the run is for hub chat"),
    ],
)
def test_token_in_a_file_that_cannot_work_is_refused(
    tmp_path: Path, options: dict[str, Any], environ: dict[str, str], said: str
) -> None:
    """Each used token is checked like a single one, and named by file and line."""
    target = from_file(tokens_file(tmp_path, 2, **options), **environ)

    with pytest.raises(ConfigError, match=said):
        target.check(1, now_s=NOW_S, needed_until_s=NOW_S + HOUR_S)


def test_file_in_another_encoding_is_explained(tmp_path: Path) -> None:
    """What Windows PowerShell writes with `>` is refused with advice."""
    path = tmp_path / "t.jsonl"
    path.write_text("x", encoding="utf-16")

    with pytest.raises(ConfigError, match="not UTF-8 text"):
        from_file(path)


def test_large_file_is_decoded_only_where_used(tmp_path: Path) -> None:
    """Of 100,000 lines only those of the users are looked into, wherever they are."""
    path = tmp_path / "t.jsonl"
    path.write_text(f"{json.dumps({'url': url()})}\n" + "broken\n" * 99_998 + "[]\n")
    target = from_file(path)

    target.check(1, now_s=NOW_S)

    assert target.describe().startswith("100000 tokens of")
    with pytest.raises(ConfigError, match=r"t\.jsonl:2"):
        target.check(100_000, now_s=NOW_S)
