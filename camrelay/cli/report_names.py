"""Takes names and addresses out of a bug report, so that the same one always reads the same. Pure.

A name becomes "name-1a2b3c4d". Of an address the network becomes "net-1a2b3c" and the last number stays, so that one
still sees who is in one segment. Rule kept here: the salt is random and kept nowhere, so nobody can look names up.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Keys of JSON and of log lines whose values are names that people gave.
NAMES: Final = frozenset(
    (
        "logon", "host", "nick", "group", "name", "names", "peer", "used_by", "holder", "asked", "hostname",
        "via", "server", "witness", "relay",
    )
)  # fmt: skip
_ADDRESS: Final = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}|\*)(?![\w]|\.\d)")
_MAC: Final = re.compile(r"\b[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}\b")
_LOGFMT: Final = re.compile(r'\b(logon|host|nick|group|name|peer)=("(?:[^"\\]|\\.)*"|[^\s"]+)')
_JSON: Final = re.compile(r'"(logon|host|nick|group|name|peer)": ?"((?:[^"\\]|\\.)+)"')
SHORTEST: Final = 3  # characters of a name that is looked for in running text: shorter ones are in every word
EVERYBODYS: Final = ("127.", "0.", "255.", "192.0.2.")  # addresses that say nothing about a site


class Anonymous:
    """One report's substitutions."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._names: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, names: Iterable[Any]) -> None:
        """These are names, wherever they stand."""
        self._names |= {name for name in names if isinstance(name, str) and len(name) >= SHORTEST}
        longest_first = sorted(self._names, key=lambda name: (-len(name), name))
        alternatives = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)") if longest_first else None

    def name(self, text: str) -> str:
        """What stands for a name; nothing for nothing."""
        return f"name-{self._hash(text.casefold(), 8)}" if text else ""

    def text(self, text: str) -> str:
        """Running text: what is known to be a name, or looks like an address, is replaced."""
        text = _LOGFMT.sub(lambda found: f"{found[1]}={self._value(found[2].strip(chr(34)))}", text)
        text = _JSON.sub(lambda found: f'"{found[1]}": "{self._value(found[2])}"', text)
        text = _MAC.sub(lambda found: f"mac-{self._hash(found[0].casefold(), 6)}", text)
        text = _ADDRESS.sub(self._address, text)
        return self._pattern.sub(lambda found: self.name(found[0]), text) if self._pattern else text

    def values(self, value: Any, key: str = "") -> Any:
        """The same of JSON values."""
        if isinstance(value, dict):
            return {self.text(str(name)): self.values(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.values(inner, key) for inner in value]
        if isinstance(value, str):
            return self._value(value) if key in NAMES else self.text(value)
        return value

    def _value(self, text: str) -> str:
        """That of a key that names somebody: a segment may be named by its address."""
        return _ADDRESS.sub(self._address, text) if _ADDRESS.search(text) else self.name(text)

    def _address(self, found: re.Match[str]) -> str:
        text = found[0]
        if text.startswith(EVERYBODYS) or any(part != "*" and int(part) > 255 for part in found.groups()):
            return text
        return f"net-{self._hash('.'.join(found.groups()[:3]), 6)}.{found[4]}"

    def _hash(self, text: str, digits: int) -> str:
        return hmac.new(self._salt, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[
            :digits
        ]


# Wherever it stands: in a comment, in an inline table, over several lines. The bounds are for who writes a log of them.
_SECRET: Final = re.compile(
    r"""(?ix)((?:password|passwd|secret|token|private)[\w.-]{0,80}["']?\s{0,80}=\s{0,80})
    (\"{3}[\s\S]{0,4000}?\"{3} | '{3}[\s\S]{0,4000}?'{3} | \[[^\]]{0,4000}\]
    | "(?:[^"\\\n]|\\.){0,4000}" | '[^'\n]{0,4000}' | [^\n,}]{1,4000})"""
)
_CREDENTIALS: Final = re.compile(r"(\w{1,20}://)[^\s\"']{1,500}@")
_INVITATION: Final = re.compile(r"(?i)camrelay1-[0-9a-z_-]+")
_KEY: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]{0,8000}?(?:-----END|\Z)")


def without_secrets(text: str) -> tuple[str, int]:
    """A text without passwords, credentials in URLs and invitations; how many were taken out."""
    total = 0
    for pattern, instead in (
        (_SECRET, r'\1"(removed)"'),
        (_CREDENTIALS, r"\1(removed)@"),
        (_INVITATION, "(removed)"),
        (_KEY, "(removed)"),
    ):
        text, count = pattern.subn(instead, text)
        total += count
    return text, total
