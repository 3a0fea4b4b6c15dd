"""The token of an invitation: one line of text that a person carries to the new box.

``camrelay1-`` and, in base32: where to call, the inviting relay's fingerprint, the seed of a one-time key, a checksum.
Case, blanks and line ends do not matter; a wrong letter is found before anything is sent.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from typing import Final, NamedTuple

from camrelay.errors import TokenError

PREFIX: Final = "camrelay1-"
LONGEST: Final = 4096  # characters: 16 addresses of 100 are under 3,000
MOST_ADDRESSES: Final = 16
LONGEST_ADDRESS: Final = 255
_HASH, _SEED, _CHECK = 32, 32, 4  # bytes; a wrong letter passes the checksum once in 4,000,000,000 times

AGAIN: Final = "copy it again as a whole"


class Token(NamedTuple):
    """What an invitation says to the one who got it. Keep ``seed`` out of logs and errors."""

    addresses: tuple[str, ...]  # "host:port" of the inviting relay
    fingerprint: str  # of its key, 64 hex digits
    seed: bytes

    def __repr__(self) -> str:
        return f"Token({self.addresses}, {self.fingerprint[:8]})"


def write(token: Token) -> str:
    """As one line."""
    parts = [bytes([len(token.addresses)])]
    for address in token.addresses:
        text = address.encode("ascii")
        parts += bytes([len(text)]), text
    body = b"".join([*parts, bytes.fromhex(token.fingerprint), token.seed])
    return PREFIX + base64.b32encode(body + _checksum(body)).decode("ascii").rstrip("=").lower()


def read(text: str) -> Token:
    """The inverse. TokenError for whatever is not a token, with what to do; the text itself is not repeated."""
    line = re.sub(r"\s+", "", text).lower()
    if not line:
        raise TokenError("no token was given: paste the line that `camrelay peer invite` printed")
    if not line.startswith(PREFIX):
        if re.match(r"camrelay\d+-", line):
            raise TokenError("this token was made by another version of camrelay: upgrade this box")
        raise TokenError(f"this is no token: it begins with {PREFIX} ({AGAIN})")
    if len(line) > LONGEST:
        raise TokenError(f"this token is too long: {AGAIN}")
    code = line.removeprefix(PREFIX).rstrip("=").upper()
    try:
        raw = base64.b32decode(code + "=" * (-len(code) % 8))
    except (binascii.Error, ValueError):
        raise TokenError(f"this token is mistyped or incomplete: {AGAIN}") from None
    body, checksum = raw[:-_CHECK], raw[-_CHECK:]
    if len(body) < 1 + _HASH + _SEED or _checksum(body) != checksum:
        raise TokenError(f"this token is mistyped or incomplete: {AGAIN}")
    return _parse(body)


def _parse(body: bytes) -> Token:
    """Only a relay that makes wrong tokens, or somebody who forges them, gets an error here."""
    addresses, at = [], 1
    try:
        for _ in range(body[0]):
            end = at + 1 + body[at]
            addresses.append(body[at + 1 : end].decode("ascii"))
            at = end
    except (IndexError, UnicodeDecodeError):
        raise TokenError(f"this token makes no sense: {AGAIN}") from None
    keys = body[at:]
    good = all(re.fullmatch(r"[!-~]+:\d{1,5}", address) for address in addresses)
    if len(keys) != _HASH + _SEED or not 0 < len(addresses) <= MOST_ADDRESSES or not good:
        raise TokenError(f"this token makes no sense: {AGAIN}")
    return Token(tuple(addresses), keys[:_HASH].hex(), keys[_HASH:])


def _checksum(body: bytes) -> bytes:
    return sha256(b"camrelay token" + body).digest()[:_CHECK]
