"""Options: what users type is checked wherever it comes from, and named when it is wrong."""

import dataclasses

import pytest

from wpsload.errors import ConfigError
from wpsload.options import OPTIONS, Settings


def test_defaults_are_valid() -> None:
    """A run without any option has usable settings, those of the service's performance guide."""
    settings = Settings.read({})
    assert settings.payload_bytes == 2048
    assert settings.interval_s == 1.0
    assert settings.group_size == 10


@pytest.mark.parametrize(
    ("destination", "value"),
    [
        ("wps_interval", "soon"),
        ("wps_interval", "0.0001ms"),
        ("wps_plan", "faster"),
        ("wps_most_late", "0s"),
        ("wps_group_size", "0"),
        ("wps_group_size", "ten"),
        ("wps_payload_bytes", "12"),
        ("wps_data_type", "xml"),
        ("wps_token_in", "cookie"),
        ("wps_drain", "0s"),
        ("wps_token_ttl", "900ms"),
        ("wps_payload_bytes", "1048576"),
        ("wps_no_echo", "maybe"),
        ("wps_threshold", "delivery.p99"),
        ("wps_warm_up", "a while"),
    ],
)
def test_a_bad_value_names_its_option(destination: str, value: str) -> None:
    """The error says which option is wrong, and shows the value."""
    flag = "--" + destination.replace("_", "-")
    with pytest.raises(ConfigError, match=flag):
        Settings.read({destination: value})


def test_base64_counts_towards_the_size() -> None:
    """Binary data is a third longer on the wire, so less of it fits."""
    assert Settings.read({"wps_payload_bytes": 900_000}).payload_bytes == 900_000
    with pytest.raises(ConfigError, match="binary"):
        Settings.read({"wps_payload_bytes": 900_000, "wps_data_type": "binary"})


def test_a_form_says_true_or_false() -> None:
    """A switch that comes from Locust's page is a word."""
    assert Settings.read({"wps_no_echo": "true"}).is_no_echo
    assert not Settings.read({"wps_no_echo": "false"}).is_no_echo


def test_a_plan_goes_before_an_interval() -> None:
    """Without either there is one message a second; an interval of 0 is the closed loop."""
    assert Settings.read({}).load == "open loop: every 1s"
    assert Settings.read({"wps_interval": "250ms"}).load == "open loop: every 0.25s"
    assert Settings.read({"wps_interval": "0"}).plan is None
    assert Settings.read({"wps_interval": "0"}).load.startswith("closed loop")
    both = {"wps_interval": "0", "wps_plan": "ramp 0/s to 5/s  for 1m"}
    assert Settings.read(both).load == "open loop: ramp 0/s to 5/s for 1m"


def test_every_option_has_help_and_a_variable() -> None:
    """The table that documents and parsers are made from is complete."""
    for option in OPTIONS:
        assert option.help.endswith(".")
        assert option.variable.startswith("WPS_")
        assert option.flag.startswith("--wps-")


def test_settings_hold_no_secret() -> None:
    """Options travel to workers and to Locust's page, so none may hold a key or a token."""
    for field in dataclasses.fields(Settings):
        assert field.name not in ("token", "key", "access_key", "connection_string")
