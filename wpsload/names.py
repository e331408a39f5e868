"""What hubs, groups, events, roles and claims may look like, said once for both ends.

`is_*` answers, `validate_*` refuses what a user typed. No error repeats the whole text it complains
about, because a secret may have been pasted in the wrong place.

Source: protocol reference, 1.3, 2.1 and 2.3; the service's documentation of wildcard group roles.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from wpsload.errors import ConfigError

__all__ = [
    "GROUP_CLAIMS",
    "ROLE_CLAIMS",
    "USER_CLAIMS",
    "claim_texts",
    "compile_pattern",
    "is_event",
    "is_group",
    "is_hub",
    "is_text",
    "shorten",
    "validate_group",
    "validate_hub",
    "validate_role",
]

# .NET servers write the long names. Source: protocol reference, 2.1.
USER_CLAIMS = ("sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier")
ROLE_CLAIMS = ("role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")
GROUP_CLAIMS = ("webpubsub.group",)

MAX_GROUP_CHARACTERS = 1024
MAX_PATTERN_CHARACTERS = 1024
MAX_STARS = 5

_HUB = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
_EVENT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
_ROLE = re.compile(
    r"webpubsub\.(?:joinLeaveGroup|sendToGroup)(?P<plural>s?)(?:\.(?P<rest>.+))?", re.S
)
_ROLE_HINT = (
    "a role is webpubsub.joinLeaveGroup or webpubsub.sendToGroup, "
    "either with .{group} for one group, or as webpubsub.joinLeaveGroups.{pattern} or "
    "webpubsub.sendToGroups.{pattern} for many"
)
_TOKEN = re.compile(r"\\[\\*?]|\*\*|\*|\?|[^\\]", re.DOTALL)
_WILDCARDS = {"**": ".*", "*": r"[^.]*", "?": r"[^.]"}


def is_text(text: str) -> bool:
    """Whether `text` can be written as UTF-8; what a shell or a JSON escape gives may not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_hub(name: str) -> bool:
    """True if `name` is a hub name."""
    return _HUB.fullmatch(name) is not None


def is_group(name: str) -> bool:
    """True if `name` is a group name: 1 to 1,024 characters, not all of them white space."""
    return bool(name.strip()) and len(name) <= MAX_GROUP_CHARACTERS and is_text(name)


def is_event(name: str) -> bool:
    """True if `name` is the name of a user event."""
    return _EVENT.fullmatch(name) is not None


def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    r"""The groups that `pattern` means; None if the service would not accept it.

    `?` is one character and `*` any number of them, both without `.`; `**` is any number of any
    characters; a backslash makes the next `\`, `*` or `?` literal. At most five `*` count as valid.
    """
    if not 0 < len(pattern) <= MAX_PATTERN_CHARACTERS:
        return None
    tokens = _TOKEN.findall(pattern)
    if sum(map(len, tokens)) != len(pattern):
        return None  # a backslash before something that it cannot escape, or at the end
    if sum(token.count("*") for token in tokens if token[0] == "*") > MAX_STARS:
        return None
    parts = (_WILDCARDS.get(token) or re.escape(token[-1]) for token in tokens)
    return re.compile("".join(parts), re.DOTALL)


def claim_texts(claims: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """A claim that is a string or a list of strings; the first of `names` that is there.

    Raises:
        ValueError: if it is something else, naming the claim.
    """
    for name in names:
        value = claims.get(name)
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in values):
            raise ValueError(f"{name} is not text")
        return tuple(values)
    return ()


def validate_hub(name: str, *, source: str) -> str:
    """`name`, which is a hub name.

    Raises:
        ConfigError: if it is not, naming `source`.

    Source: protocol reference, 1.3.
    """
    if not is_hub(name):
        raise ConfigError(
            f"{source} is not a hub name: {shorten(name)}",
            hint="a hub name starts with a letter, then up to 127 letters, digits or _`,.[]",
        )
    return name


def validate_group(name: str, *, source: str) -> str:
    """`name`, which is a group name.

    Raises:
        ConfigError: if it is not, naming `source`.

    Source: protocol reference, 1.3.
    """
    if not is_group(name):
        raise ConfigError(
            f"{source} is not a group name: {shorten(name)}",
            hint="a group name has 1 to 1024 characters, not all of them white space",
        )
    return name


def validate_role(role: str, *, source: str) -> str:
    """`role`, which has one of the forms the service knows.

    The service silently skips a role it does not know, and the load would then meet nothing but
    `Forbidden`.

    Raises:
        ConfigError: if the form is unknown, naming `source`.

    Source: protocol reference, 2.3.
    """
    match = _ROLE.fullmatch(role)
    if match is None or not is_text(role):
        raise ConfigError(f"{source} is not a role: {shorten(role)}", hint=_ROLE_HINT)
    rest = match["rest"]
    if match["plural"]:
        if compile_pattern(rest or "") is None:
            raise ConfigError(
                f"{source} has a bad pattern: {shorten(role)}",
                hint="up to 1024 characters, up to five *; a backslash stands before \\, * or ?",
            )
    elif rest is not None:
        validate_group(rest, source=f"the group in {source}")
    return role


def shorten(text: str) -> str:
    """`text` in quotes, cut so short that a secret pasted in the wrong place stays hidden."""
    return ascii(text if len(text) <= 32 else text[:20] + "...")
