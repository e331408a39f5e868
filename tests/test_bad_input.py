"""A user's mistake is one clear line with its advice, exit code 2, no traceback and no load."""

import json
from pathlib import Path

import pytest
from locusting import Finished, free_port, run_locust
from serving import StandIn

CANARY = "canary-key-that-must-never-be-shown-anywhere-at-all"


def attempt(folder: Path, *arguments: str, **environ: str) -> Finished:
    """Try to run the PubSub scenario."""
    arguments = ("--users", "3", "--run-time", "60s", *arguments)
    return run_locust("pubsub.py", *arguments, folder=folder, environ=environ)


def complains(finished: Finished, about: str) -> None:
    """The run ended before it began, with one line about `about`."""
    assert finished.code == 2, finished.said
    errors = [line for line in finished.said.splitlines() if "error: " in line]
    assert len(errors) == 1, finished.said
    assert about in errors[0], finished.said
    assert "Traceback" not in finished.said
    assert CANARY not in finished.said
    assert "eyJ" not in finished.said, "part of a token was shown"
    assert "Ramping" not in finished.said


def connection_string(port: int) -> str:
    """A well-formed connection string with a key of no service."""
    return f"Endpoint=http://127.0.0.1:{port};AccessKey={CANARY};Version=1.0;"


def test_malformed_connection_string(tmp_path: Path) -> None:
    """The part that is missing is named, the key is not."""
    broken = f"AccessKey={CANARY};Version=1.0"
    complains(attempt(tmp_path, WPS_CONNECTION_STRING=broken), "Endpoint is missing")


def test_unreachable_host(tmp_path: Path) -> None:
    """Nobody listens: said before the load, with the endpoint."""
    port = free_port()
    finished = attempt(tmp_path, WPS_CONNECTION_STRING=connection_string(port))
    complains(finished, f"http://127.0.0.1:{port}")
    assert "connection refused" in finished.said


def test_unknown_host(tmp_path: Path) -> None:
    """A name that does not resolve is said to be unknown."""
    value = f"Endpoint=https://nothing.invalid;AccessKey={CANARY};Version=1.0;"
    complains(attempt(tmp_path, WPS_CONNECTION_STRING=value), "host not found")


def test_wrong_key(stand_in: StandIn, tmp_path: Path) -> None:
    """The service's 401 is named, and what it may come from."""
    finished = attempt(tmp_path, WPS_CONNECTION_STRING=connection_string(stand_in.port))
    complains(finished, "HTTP 401")
    assert "access key" in finished.said


def test_wrong_hub(stand_in: StandIn, tmp_path: Path) -> None:
    """A client URL for another hub than the one asked for is refused, naming both."""
    finished = attempt(tmp_path, WPS_CLIENT_URL=stand_in.client_url(), WPS_HUB="other")
    complains(finished, "hub load")
    assert "hub other" in finished.said


def test_expired_token(stand_in: StandIn, tmp_path: Path) -> None:
    """An expired token is found before the service is asked."""
    url = stand_in.client_url().partition("=")[0] + "=" + stand_in.token(exp=1_700_000_000)
    complains(attempt(tmp_path, WPS_CLIENT_URL=url), "expired")
    assert stand_in.stats()["refused"] == {}


def test_a_token_that_ends_before_the_run(stand_in: StandIn, tmp_path: Path) -> None:
    """A run that is planned longer than its token lasts is refused."""
    finished = attempt(tmp_path, "--run-time", "2h", WPS_CLIENT_URL=stand_in.client_url())
    complains(finished, "the run needs it")


def test_broken_line_in_the_tokens_file(stand_in: StandIn, tmp_path: Path) -> None:
    """File and line are named."""
    file = tmp_path / "tokens.jsonl"
    good = json.dumps({"url": stand_in.client_url()})
    file.write_text(f"{good}\n{{oops\n{good}\n", encoding="utf-8")
    complains(attempt(tmp_path, WPS_TOKENS_FILE=str(file)), f"{file}:2")


def test_too_few_tokens(stand_in: StandIn, tmp_path: Path) -> None:
    """More users than tokens are refused, with both numbers."""
    file = tmp_path / "tokens.jsonl"
    file.write_text(json.dumps({"url": stand_in.client_url()}), encoding="utf-8")
    finished = attempt(tmp_path, WPS_TOKENS_FILE=str(file))
    complains(finished, "holds 1 token, the run has 3 users")


def test_missing_tokens_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    complains(attempt(tmp_path, WPS_TOKENS_FILE="nowhere.jsonl"), "nowhere.jsonl")


def test_unreachable_negotiate_endpoint(tmp_path: Path) -> None:
    """An app server that does not answer is named by its host."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/negotiate?code={CANARY}"
    complains(attempt(tmp_path, WPS_NEGOTIATE_URL=url), f"127.0.0.1:{port}")


def test_unwritable_report_folder(stand_in: StandIn, tmp_path: Path) -> None:
    """A folder that cannot be made is found before the load."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    finished = attempt(
        tmp_path, "--csv", "file/run", WPS_CONNECTION_STRING=stand_in.connection_string
    )
    complains(finished, "cannot write")
    assert stand_in.stats()["connections_total"] == 0


def test_unwritable_folder_of_records(stand_in: StandIn, tmp_path: Path) -> None:
    """A record that could not be written is found before the load as well."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    finished = attempt(
        tmp_path, "--wps-reports", "file/x", WPS_CONNECTION_STRING=stand_in.connection_string
    )
    complains(finished, "cannot make file/x")
    assert "--wps-reports" in finished.said
    assert stand_in.stats()["connections_total"] == 0


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--wps-interval", "soon"),
        ("--wps-group-size", "none"),
        ("--wps-payload-bytes", "3"),
        ("--wps-data-type", "xml"),
        ("--wps-token-in", "cookie"),
        ("--wps-threshold", "deliver.p99<1s"),
        ("--wps-threshold", "delivery.p99<1MB"),
        ("--wps-warm-up", "soon"),
    ],
)
def test_unknown_option_value(tmp_path: Path, flag: str, value: str) -> None:
    """The option and the value are in the line."""
    finished = attempt(tmp_path, flag, value)
    complains(finished, flag)
    assert value in finished.said


def test_unknown_option(tmp_path: Path) -> None:
    """A misspelt option is an error with a suggestion, not ignored."""
    finished = attempt(tmp_path, "--wps-intervall", "1s")
    assert finished.code == 2
    assert "--wps-interval" in finished.said


def test_a_bad_variable_is_named_like_its_option(tmp_path: Path) -> None:
    """An option that comes from the environment is checked as well."""
    complains(attempt(tmp_path, WPS_INTERVAL="soon"), "--wps-interval")


@pytest.mark.parametrize(("flag", "value"), [("--users", "-5"), ("--spawn-rate", "0")])
def test_impossible_numbers(tmp_path: Path, flag: str, value: str) -> None:
    """Locust's own options are checked where it would only trip over them later."""
    finished = run_locust("pubsub.py", flag, value, folder=tmp_path)
    complains(finished, flag)


def test_a_misspelt_variable_is_noted(stand_in: StandIn, tmp_path: Path) -> None:
    """A variable that nothing reads is named, with what may have been meant."""
    finished = run_locust(
        "pubsub.py",
        *("--users", "1", "--run-time", "1s"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string, "WPS_GROUPSIZE": "3"},
    )
    assert "note: nothing reads WPS_GROUPSIZE (did you mean WPS_GROUP_SIZE?)" in finished.said


def test_a_lone_worker_needs_a_target(tmp_path: Path) -> None:
    """A worker cannot share the stand-in of a process it knows nothing of."""
    finished = attempt(tmp_path, "--worker")
    complains(finished, "a worker has no target")
