"""A secret in every way that Python shows a value."""

import json
from typing import Any

import pytest
from clienturls import KEY, connection, minted

from wpsload.secret import Secret


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
