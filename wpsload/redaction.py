"""Texts without the secrets that somebody may have put into them, such as a command line."""

import re
from collections.abc import Sequence

__all__ = ["redacted", "redacted_command"]

_SECRETS = (
    (
        re.compile(r"((?:token|key|secret|password|sig|code)=)[^&;\s]*", re.I),
        r"\1***",
    ),
    (re.compile(r"eyJ[\w-]+(?:\.[\w-]+)*"), "***"),  # a JWT, wherever it stands
    (re.compile(r"(://[^/@\s:]*:)[^/@\s]*@"), r"\1***@"),
    (re.compile(r"(bearer\s+)\S+", re.I), r"\1***"),
)


def redacted(text: str) -> str:
    """`text` with `***` for each token, access key and password in it."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


_SECRET_FLAG = re.compile(r"--?[\w-]*(?:token|key|secret|password|auth)[\w-]*", re.I)


def redacted_command(arguments: Sequence[str]) -> list[str]:
    """A command line without secrets, also those that stand behind their flag."""
    shown: list[str] = []
    is_secret = False
    for one in arguments:
        shown.append("***" if is_secret else redacted(one))
        is_secret = _SECRET_FLAG.fullmatch(one) is not None and not one.startswith("--wps-")
    return shown
