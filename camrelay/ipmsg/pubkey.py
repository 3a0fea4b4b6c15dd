"""Public keys as IPMSG names and carries them: capabilities, fingerprints in names, GETPUBKEY and ANSPUBKEY.

Nothing here needs a cryptography library. Source: ``pubkey.cpp``, ``miscfunc.cpp`` and ``mainwinmsg.cpp`` of
4.99r3, and g2ipmsg's ``pubcrypt.c`` for what else must be read.
"""

from __future__ import annotations

import re
from enum import IntFlag
from hashlib import sha1
from typing import NamedTuple

from camrelay.errors import MalformedPacket


class Capability(IntFlag):
    """What a client can encrypt and sign with, and on a message: what it used."""

    RSA_1024 = 0x00000002
    RSA_2048 = 0x00000004
    BLOWFISH_128 = 0x00020000
    AES_256 = 0x00100000
    IPDICT_CTR = 0x00400000
    PACKETNO_IV = 0x00800000
    ENCODE_BASE64 = 0x01000000
    NOENC_FILEBODY = 0x04000000
    SIGN_SHA1 = 0x20000000
    SIGN_SHA256 = 0x40000000


# The two sets of algorithms in use. The old one is that of 2.x and 3.x clients and knows no signature.
SET_2048 = int(Capability.RSA_2048 | Capability.AES_256)
SET_1024 = int(Capability.RSA_1024 | Capability.BLOWFISH_128)

# What 4.99r3 declares, all that it has: the one value that real clients are known to take. (NOENC_FILEBODY is
# about files, which are never asked of a relay.)
CAPABLE = 0x65920006
# The same for one that has a key of 1024 bits only.
CAPABLE_1024 = int(SET_1024 | Capability.PACKETNO_IV | Capability.ENCODE_BASE64)

# Windows cuts names at 79 bytes (MAX_NAMEBUF).
_NAME_BYTES = 79
_SIZES = (128, 256)
# Windows' matcher starts anew at a second "-", so that a name ending in "--<...>" carries nothing.
_CLAIM = re.compile(r"(?<!-)-<([0-9A-Za-z]{16})>\Z")
_HEX8 = re.compile(rb"[0-9A-Fa-f]{1,8}")
# CAPABILITY:EXPONENT-MODULUS, and what may follow a colon, which Windows does not look at.
_ANSWER = re.compile(rb"([0-9A-Fa-f]{1,8}):([0-9A-Fa-f]{1,16})-([0-9A-Fa-f]{1,520})(?::.*)?", re.DOTALL)


class PublicKey(NamedTuple):
    """An RSA key of 1024 or 2048 bits."""

    exponent: int
    modulus: bytes  # big-endian, 128 or 256 bytes

    @property
    def bits(self) -> int:
        """1024 or 2048."""
        return len(self.modulus) * 8

    @property
    def fingerprint(self) -> str:
        """The 16 hex digits that a name can carry; "" for 1024 bits, which fit no name."""
        return fingerprint(self.modulus) if len(self.modulus) == 256 else ""


def fingerprint(modulus: bytes) -> str:
    """Of a big-endian modulus of 256 bytes: its SHA-1 folded to 8 bytes, all of it in little-endian order."""
    digest = sha1(modulus[::-1], usedforsecurity=False).digest()[::-1] + bytes(4)
    return bytes(a ^ b ^ c for a, b, c in zip(digest[:8], digest[8:16], digest[16:], strict=True)).hex()


def signed_name(base: str, key: PublicKey) -> str:
    """``base-<fingerprint>``, the base cut so that Windows cuts nothing."""
    suffix = f"-<{key.fingerprint}>"
    room = _NAME_BYTES - len(suffix)
    return base.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + suffix


def claimed(logon: str) -> str:
    """The fingerprint that a name carries, "" if it carries none."""
    found = _CLAIM.search(logon)
    return found[1] if found else ""


def fits(logon: str, key: PublicKey) -> bool:
    """May a user of this name have this key? A name without a fingerprint goes with any."""
    claim = claimed(logon)
    return not claim or claim == key.fingerprint


def write_capability(capability: int = CAPABLE) -> bytes:
    """The body of GETPUBKEY: what the asker is capable of."""
    return b"%x" % capability


def read_capability(text: bytes) -> int:
    """The same read, in either case. Raises MalformedPacket."""
    if not _HEX8.fullmatch(text):
        raise MalformedPacket(f"not an encryption capability: {text[:20]!r}")
    return int(text, 16)


def write_answer(key: PublicKey, capability: int = CAPABLE) -> bytes:
    """The body of ANSPUBKEY, upper and lower case as Windows writes them."""
    return b"%X:%X-%b" % (capability, key.exponent, key.modulus.hex().encode("ascii"))


def read_answer(body: bytes) -> tuple[int, PublicKey]:
    """What the answerer is capable of, and its key of 1024 or 2048 bits.

    Raises MalformedPacket, and nothing else, for what is no such answer. Zeros in front and either case are
    accepted (g2ipmsg). Whether the key ``fits`` the answerer's name is for the caller to ask.
    """
    found = _ANSWER.fullmatch(body)
    if found is None:
        raise MalformedPacket(f"not a public key: {len(body)} bytes, beginning {body[:16]!r}")
    capability, exponent, digits = found.groups()
    size = (len(digits.lstrip(b"0")) + 1) // 2
    if size not in _SIZES:
        raise MalformedPacket(f"a public key of {size * 8} bits")
    return int(capability, 16), PublicKey(int(exponent, 16), int(digits, 16).to_bytes(size, "big"))


def common(own: int, theirs: int) -> int:
    """What a message between two such clients is encrypted and signed with; 0 if they have nothing in common.

    Windows' choice: the AND of both, of it the 2048-bit set before the 1024-bit one, SHA-256 before SHA-1.
    """
    both = own & theirs
    manner = both & (Capability.PACKETNO_IV | Capability.ENCODE_BASE64)
    if both & SET_2048 == SET_2048:
        sign = both & Capability.SIGN_SHA256 or both & Capability.SIGN_SHA1
        return int(SET_2048 | manner | sign)
    return int(SET_1024 | manner) if both & SET_1024 == SET_1024 else 0
