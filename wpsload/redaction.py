"""Texts without the secrets that somebody may have put into them, such as a command line."""

import re

__all__ = ["redacted"]

_SECRETS = (
    (re.compile(r"(access_?token=|accesskey=|password=|sig=)[^&;\s]*", re.I), r"\1***"),
    (re.compile(r"eyJ[\w-]+(?:\.[\w-]+)*"), "***"),  # a JWT, wherever it stands
    (re.compile(r"(://[^/@\s:]*:)[^/@\s]*@"), r"\1***@"),
    (re.compile(r"(bearer\s+)\S+", re.I), r"\1***"),
)


def redacted(text: str) -> str:
    """`text` with `***` for each token, access key and password in it."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
