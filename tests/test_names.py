"""Names and the rules they follow."""

import pytest

from wpsload.errors import ConfigError
from wpsload.names import (
    claim_texts,
    compile_pattern,
    is_event,
    validate_group,
    validate_hub,
    validate_role,
)

KEY = "cAnArY+0123456789/abcdefghijklmnopqrstuvwxyz="


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


@pytest.mark.parametrize(
    ("pattern", "group", "matches"),
    [
        ("g1", "g1", True),
        ("g1", "G1", False),
        ("g?", "g1", True),
        ("g?", "g", False),
        ("g?", "g.", False),
        ("g*", "g", True),
        ("g*", "g123", True),
        ("g*", "g1.2", False),
        ("g**", "g1.2", True),
        ("*.*", "a.b", True),
        ("*.*", "a.b.c", False),
        ("a.**.z", "a.b.c.z", True),
        (r"g\*", "g*", True),
        (r"g\*", "g1", False),
        (r"g\?", "g?", True),
        (r"g\\", "g\\", True),
        ("(g)+", "(g)+", True),
        ("(g)+", "gg", False),
        ("g*", "g\n", True),
        ("**", "any\nthing.at/all", True),
        ("***", "a.b", True),
    ],
)
def test_patterns(pattern: str, group: str, matches: bool) -> None:
    """`?` and `*` stop at dots, `**` does not, a backslash escapes; case and the rest count."""
    compiled = compile_pattern(pattern)
    assert compiled is not None
    assert matches == (compiled.fullmatch(group) is not None)


@pytest.mark.parametrize("pattern", ["", "g\\", r"g\x", "*" * 6, "**a**b**", "x" * 1025])
def test_invalid_patterns(pattern: str) -> None:
    """Bad escapes, more than five stars and more than 1,024 characters are not patterns."""
    assert compile_pattern(pattern) is None


@pytest.mark.parametrize("pattern", ["*a*b*c*d*", r"******".replace("*", r"\*"), "x" * 1024])
def test_patterns_at_the_limit(pattern: str) -> None:
    """Five stars pass, escaped ones do not count, 1,024 characters pass."""
    assert compile_pattern(pattern) is not None


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("e", True),
        ("a1_.-", True),
        ("x" * 128, True),
        ("", False),
        ("1", False),
        ("a b", False),
        ("x" * 129, False),
        ("e\n", False),
    ],
)
def test_event_names(name: str, is_good: bool) -> None:
    """An event starts with a letter and has up to 128 characters."""
    assert is_good == is_event(name)


@pytest.mark.parametrize(
    ("claims", "texts"),
    [
        ({}, ()),
        ({"a": "x"}, ("x",)),
        ({"b": ["x", "y"]}, ("x", "y")),
        ({"a": None, "b": "y"}, ("y",)),
        ({"a": "x", "b": "y"}, ("x",)),
        ({"a": []}, ()),
    ],
)
def test_claims(claims: dict[str, object], texts: tuple[str, ...]) -> None:
    """The first claim that is there counts, with or without its list."""
    assert texts == claim_texts(claims, ("a", "b"))


@pytest.mark.parametrize("value", [1, {}, [1], ["x", None], True])
def test_claims_that_are_no_text(value: object) -> None:
    """The claim is named, its value is not shown."""
    with pytest.raises(ValueError, match=r"^a is not text$"):
        claim_texts({"a": value}, ("a",))
