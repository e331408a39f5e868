"""The `wpsload` command line, run as users run it: in a process of its own."""

import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from serving import DEADLINE_S, ROOT

from wpsload.cli import cli, main
from wpsload.client_url import parse_client_url, parse_line
from wpsload.target import VARIABLES, EmbeddedTarget, from_environment

KEY = "cAnArY0123456789abcdefghijklmnopqrstuvwxyz=="
TEXT = f"Endpoint=https://x.webpubsub.azure.com;AccessKey={KEY};Version=1.0;"
SEND = "webpubsub.sendToGroup"
JOIN = "webpubsub.joinLeaveGroup"

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes and devices")


def wpsload(
    *arguments: str, cwd: Path = ROOT, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """The finished command; the access key is set unless `environ` says otherwise."""
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    chosen = {"WPS_CONNECTION_STRING": TEXT, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environ}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "wpsload", *arguments],
        env=clean | chosen,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def now_s() -> float:
    return datetime.now(UTC).timestamp()


# Help


@pytest.mark.parametrize("command", [[], ["app"], ["url"], ["tokens"], ["report"]])
def test_help_fits_a_terminal(command: list[str]) -> None:
    """Help has at most 80 columns, however wide the terminal is."""
    done = wpsload(*command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_everything_has_help() -> None:
    """Each command, and each option that people may see, has a text."""
    for command in (cli, *cli.commands.values()):
        assert command.help
        options = [each for each in command.params if isinstance(each, click.Option)]
        assert [option.name for option in options if not option.hidden and not option.help] == []


def test_help_loads_nothing_heavy() -> None:
    """Help and version are quick: no Locust, no gevent, no token library."""
    script = (
        "import sys; from wpsload.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "print(sorted({'locust', 'gevent', 'jwt', 'requests', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


# url


def test_url_is_one_line_on_stdout() -> None:
    """The URL and nothing else is printed: anonymous, no roles, 60 minutes, hub load."""
    done = wpsload("url")

    client = parse_client_url(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert (client.hub, client.user_id, client.roles, client.groups) == ("load", None, (), ())
    assert client.expires_s is not None
    assert abs(client.expires_s - 3600 - now_s()) < DEADLINE_S


@posix_only
def test_url_says_what_to_do_with_it_on_a_terminal() -> None:
    """A person is told of the sample clients; what they capture is the URL alone."""
    master, terminal = os.openpty()
    with open(master, "rb", buffering=0) as screen:
        done = subprocess.run(
            [sys.executable, "-m", "wpsload", "url"],
            env=os.environ | {"WPS_CONNECTION_STRING": TEXT, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
        os.close(terminal)
        shown = screen.read(65536).decode()
    parse_client_url(shown)
    assert "docs/clients/README.md" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    (named,) = re.findall(r"docs/clients/\S+\.py", done.stderr)
    assert (ROOT / named).is_file()


def test_url_has_what_was_asked_for() -> None:
    """User, lifetime, roles, groups and hub are in the token; the flag beats the variable."""
    arguments = ["--user-id", "u1", "--ttl", "90s", "--role", SEND, "--role", JOIN]
    arguments += ["--group", "g1", "--group", "g 2", "--hub", "chat"]

    client = parse_client_url(wpsload("url", *arguments, WPS_HUB="other").stdout)

    assert (client.hub, client.user_id) == ("chat", "u1")
    assert (client.roles, client.groups) == ((SEND, JOIN), ("g1", "g 2"))
    assert client.expires_s is not None
    assert abs(client.expires_s - 90 - now_s()) < DEADLINE_S


@pytest.mark.parametrize(("variable", "hub"), [("chat", "chat"), ("", "load")])
def test_hub_comes_from_the_variable(variable: str, hub: str) -> None:
    """`WPS_HUB` is the default; empty counts as unset."""
    assert parse_client_url(wpsload("url", WPS_HUB=variable).stdout).hub == hub


def test_url_as_json() -> None:
    """`--json` prints the URL and its parts as one object."""
    done = wpsload("url", "--json", "--user-id", "u1", "--role", SEND)

    parts = json.loads(done.stdout)
    client = parse_client_url(parts["url"])
    assert parts == {
        "url": client.url.reveal(),
        "hub": "load",
        "userId": "u1",
        "roles": [SEND],
        "expires": client.expires_s,
    }


# tokens


def test_tokens_file_is_a_target(tmp_path: Path) -> None:
    """What `tokens` writes, `WPS_TOKENS_FILE` reads: a user per line, numbered from --start."""
    out = tmp_path / "t.jsonl"

    done = wpsload("tokens", "--count", "3", "--start", "5", "--role", SEND, "--out", str(out))

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"wrote 3 tokens for hub load to {out}\n"
    target = from_environment({"WPS_TOKENS_FILE": str(out)})
    assert not isinstance(target, EmbeddedTarget)
    target.check(3, now_s=now_s(), needed_until_s=now_s() + 3500)
    clients = [target.client_url(n, now_s=now_s()) for n in range(3)]
    assert [client.user_id for client in clients] == ["load-5", "load-6", "load-7"]
    assert {client.roles for client in clients} == {(SEND,)}


def test_tokens_on_stdout() -> None:
    """`-` is stdout, and gets nothing but tokens."""
    done = wpsload("tokens", "--count", "2", "--out", "-", "--user-id", "{n}-of-{n}")

    lines = done.stdout.splitlines()
    users = [parse_line(line, source="stdout").user_id for line in lines]
    assert done.returncode == 0
    assert users == ["0-of-0", "1-of-1"]


def test_tokens_without_role_are_pointed_out() -> None:
    """Tokens that allow neither joining nor sending are minted, with a word on stderr."""
    done = wpsload("tokens", "--count", "1", "--out", "-")

    assert done.returncode == 0
    assert "unable to join groups or send" in done.stderr


@posix_only
def test_tokens_file_is_private(tmp_path: Path) -> None:
    """The file is for its owner alone, also where an open one stood; nothing is left over."""
    out = tmp_path / "t.jsonl"
    out.write_text("old")
    out.chmod(0o644)

    wpsload("tokens", "--count", "1", "--out", "t.jsonl", cwd=tmp_path)

    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [out]
    assert parse_line(out.read_text(), source="it").user_id == "load-0"


@posix_only
def test_tokens_file_behind_a_link(tmp_path: Path) -> None:
    """A symbolic link stays one; the file it points to is replaced."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "t.jsonl")

    wpsload("tokens", "--count", "1", "--out", str(link))

    assert link.is_symlink()
    assert (tmp_path / "t.jsonl").is_file()


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """A command that fails neither touches the file nor leaves a piece behind."""
    out = tmp_path / "t.jsonl"
    out.write_text("old")

    done = wpsload("tokens", "--count", "1", "--ttl", "0", "--out", str(out))

    assert done.returncode == 2
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["url", "--ttl", "soon"], "'soon' is not a duration"),
        (["url", "--ttl", "0s"], "a token cannot be valid for 0 s"),
        (["url", "--hub", "1"], "--hub is not a hub name: '1'"),
        (["url", "--role", "send"], "--role is not a role: 'send'"),
        (["url", "--role", f"{SEND}s.a\\"], "--role has a bad pattern"),
        (["url", "--group", " "], "--group is not a group name"),
        (["url", "--user-id", ""], "the user id is empty"),
        (["tokens", "--count", "1", "--out", "-", "--user-id", "u{i}"], "placeholder"),
        (["tokens", "--count", "1", "--out", "/nowhere/t"], "cannot write /nowhere/t: "),
        (["tokens", "--count", "1", "--out", os.curdir], "cannot write .: not a regular file"),
        pytest.param(
            ["tokens", "--count", "1", "--out", os.devnull],
            "cannot write /dev/null: not a regular file",
            marks=posix_only,
        ),
    ],
)
def test_mistake_is_one_clear_error(arguments: list[str], said: str) -> None:
    """A bad value ends with exit code 2, one line that says what, and nothing on stdout."""
    done = wpsload(*arguments)

    first, *rest = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert first.startswith("error: ")
    assert said in first
    assert all(line.startswith("hint: ") for line in rest)


@pytest.mark.parametrize(
    ("arguments", "said", "command"),
    [
        (["tokens", "--out", "-"], "missing option '--count'", "wpsload tokens"),
        (["tokens", "--count", "1"], "missing option '--out'", "wpsload tokens"),
        (["tokens", "--count", "0", "--out", "-"], "at least 1", "wpsload tokens"),
        (
            ["tokens", "--count", "x", "--out", "-"],
            "'--count': 'x' is not a whole",
            "wpsload tokens",
        ),
        (["tokens", "--count", "1", "--start", "-1", "--out", "-"], "--start", "wpsload tokens"),
        (["url", "--connection-string", "x"], "--connection-string", "wpsload url"),
        (["serve", "--port", "abc"], "not a whole number from 0 to 65535", "wpsload serve"),
        (["serve", "--port", "65536"], "not a whole number from 0 to 65535", "wpsload serve"),
        (["serve", "--ack-delay", "soon"], "'soon' is not a duration", "wpsload serve"),
        (["serve", "--upstream", "x"], "'echo', 'none'", "wpsload serve"),
        (["nonsense"], "no such command 'nonsense'", "wpsload"),
        ([], "missing command", "wpsload"),
    ],
)
def test_usage_error_is_one_line_and_a_hint(arguments: list[str], said: str, command: str) -> None:
    """What click refuses looks like every other mistake, and the hint is a command to try."""
    done = wpsload(*arguments)

    first, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert first.startswith("error: ")
    assert said in first
    assert hint == f"hint: {command} --help"


def test_the_longest_lifetime_is_told() -> None:
    """A lifetime that no clock reaches is refused with the longest one."""
    done = wpsload("url", "--ttl", "99999999999999d")

    assert done.returncode == 2
    assert re.search(r"^hint: a lifetime is from 1s to \d+d$", done.stderr, re.M)


# Output that cannot be written


def shell(script: str) -> "subprocess.CompletedProcess[str]":
    """The finished bash script, in which `wpsload` is ours."""
    command = f'wpsload() {{ "{sys.executable}" -W error -m wpsload "$@"; }}; set -o pipefail; '
    return subprocess.run(
        ["bash", "-c", command + script],
        env=os.environ | {"WPS_CONNECTION_STRING": TEXT, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@posix_only
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("command", ["url", "tokens --count 9999 --out -", "serve", "--help"])
def test_a_full_disk_is_one_line(command: str) -> None:
    """Output that cannot be written is an error, said once."""
    done = shell(f"wpsload {command} >/dev/full")

    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: No space left on device\n"


@posix_only
@pytest.mark.parametrize("command", ["url", "serve"])
def test_a_closed_stdout_is_one_line(command: str) -> None:
    """Without a standard output the result would be lost silently."""
    done = shell(f"wpsload {command} >&-")

    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output is closed\nhint: ")


@posix_only
def test_a_reader_that_has_seen_enough() -> None:
    """A pipe that is closed early ends the command without a word."""
    done = shell("wpsload tokens --role webpubsub.sendToGroup --count 9999 --out - | head -1")

    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("command", [["url"], ["tokens", "--count", "1", "--out", "-"]])
@pytest.mark.parametrize("value", ["", " "])
def test_missing_connection_string_is_explained(command: list[str], value: str) -> None:
    """Without a key there is an error that says where to get one and why there is no flag."""
    done = wpsload(*command, WPS_CONNECTION_STRING=value)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: WPS_CONNECTION_STRING is not set\nhint: ")


# Secrets


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        KEY,
        f"Endpoint=https://x AccessKey={KEY}",
        f"Endpoint={KEY};AccessKey={KEY}",
        f"Endpoint=https://{KEY}@x;AccessKey={KEY}",
        f"Endpoint=https://x;AccessKey={KEY};Port={KEY}",
        f"Endpoint=https://x;AccessKey=-----BEGIN PUBLIC KEY-----{KEY}-----END PUBLIC KEY-----",
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["url"],
        ["url", "--json"],
        ["url", "--hub", "1"],
        ["tokens", "--count", "2", "--out", "-"],
        ["tokens", "--count", "2", "--out", "/nowhere/t"],
        ["tokens", "--count", "2"],
    ],
)
def test_key_never_leaves(
    command: list[str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever the command and however broken the variable: the access key is never printed."""
    monkeypatch.setenv("WPS_CONNECTION_STRING", text)
    monkeypatch.setattr(sys, "argv", ["wpsload", *command])

    with pytest.raises(SystemExit) as ended:
        main()

    printed = capfd.readouterr()
    assert ended.value.code in {0, 2}
    assert printed.out or printed.err
    assert KEY[:10] not in printed.out + printed.err
    assert "eyJ" not in printed.err


def test_key_is_not_in_the_file(tmp_path: Path) -> None:
    """A tokens file can be handed on without the key."""
    out = tmp_path / "t.jsonl"

    wpsload("tokens", "--count", "2", "--out", str(out))

    assert KEY not in out.read_text()
