"""Encrypted messages: the classic body ``FLAGS:KEY:TEXT[:SIGNATURE]``, and dictionaries within dictionaries.

Source: ``msgmng.cpp`` of 4.99r3. Nothing here knows from whom a message is: ask ``Message.is_by``.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64, hexlify, unhexlify
from typing import TYPE_CHECKING, NamedTuple

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import crypto
from camrelay.ipmsg.ipdict import IPDict, decode, encode
from camrelay.ipmsg.pubkey import SET_1024, SET_2048, Capability, PublicKey, read_capability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.ipmsg.crypto import PrivateKey

# Algorithms of a message by its flags: bits of the RSA key, bytes of the session key.
_SETS = {SET_2048: (2048, 32), SET_1024: (1024, 16)}
_ALGORITHMS = SET_2048 | SET_1024
_DICTIONARY = int(Capability.RSA_2048 | Capability.AES_256 | Capability.IPDICT_CTR)
_SIGNED = int(Capability.SIGN_SHA256 | Capability.SIGN_SHA1)
_IV_BYTES = 16


class Message(NamedTuple):
    """A message that was encrypted to us."""

    plain: bytes  # with its NULs: text NUL [attachments NUL [addressees NUL]]
    flags: int  # how it was encrypted, see ``Capability``
    signature: bytes  # b"" if it has none

    @property
    def text(self) -> bytes:
        """What its sender wrote, in the charset of the packet."""
        return self.plain.partition(b"\0")[0]

    def is_by(self, key: PublicKey) -> bool:
        """Did the owner of this key sign it? Messages of 1024-bit clients have no signature."""
        if not (self.signature and self.flags & _SIGNED):
            return False
        sha1 = not self.flags & Capability.SIGN_SHA256
        return crypto.verify(key, self.signature, self.plain, sha1=sha1)


def read(body: bytes, number: bytes, keys: Sequence[PrivateKey]) -> Message:
    """Decrypt the body of a SENDMSG with ENCRYPTOPT. ``number``: of the packet, as sent; ``keys``: our own.

    Raises MalformedPacket, and nothing else, if it is no such body, damaged, or for another key.
    """
    head, *fields = body.split(b":", 3)
    if len(fields) < 2:
        raise MalformedPacket(f"not an encrypted message: {len(body)} bytes, beginning {body[:8]!r}")
    flags = read_capability(head)
    base64 = flags & Capability.ENCODE_BASE64
    try:
        raw = [a2b_base64(field, strict_mode=True) if base64 else unhexlify(field) for field in fields]
    except ValueError:
        raise MalformedPacket("an encrypted message that is neither hex nor base64") from None
    bits, size = _algorithms(flags)
    session = _own(keys, bits).decrypt(raw[0], size)
    plain = crypto.decrypt_cbc(session, _iv(flags, number), raw[1])
    return Message(plain, flags, raw[2] if len(raw) > 2 else b"")


def write(
    plain: bytes,
    number: bytes,
    flags: int,
    to: PublicKey,
    by: PrivateKey | None = None,
    session: bytes | None = None,
) -> bytes:
    """The body of an encrypted SENDMSG.

    plain    text NUL, and what else ``Message.plain`` may hold
    number   of the packet: the text is the IV, so the body is good for no other number
    flags    as ``pubkey.common`` gives them; with a SIGN bit ``by`` is needed
    session  the session key, 32 bytes (the older set takes the first 16); None: one by chance
    """
    bits, size = _algorithms(flags)
    if to.bits != bits:
        raise MalformedPacket(f"a public key of {to.bits} bits where one of {bits} is needed")
    session = (session or crypto.session_key())[:size]
    raw = [crypto.encrypt(to, session), crypto.encrypt_cbc(session, _iv(flags, number), plain)]
    if by is not None and flags & _SIGNED:
        raw.append(by.sign(plain, sha1=not flags & Capability.SIGN_SHA256))
    base64 = flags & Capability.ENCODE_BASE64
    fields = [b2a_base64(one, newline=False) if base64 else hexlify(one) for one in raw]
    return b":".join((b"%X" % flags, *fields))


def is_sealed(fields: IPDict) -> bool:
    """Is this a dictionary that holds nothing but another, encrypted?"""
    return b"EB" in fields and b"EK" in fields


def read_dict(fields: IPDict, keys: Sequence[PrivateKey]) -> IPDict:
    """The dictionary inside. It carries a signature of its own. Raises MalformedPacket."""
    if fields.number(b"EF") & _DICTIONARY != _DICTIONARY:
        raise MalformedPacket("a dictionary encrypted in a way not known")
    iv = fields.raw(b"EI")
    if len(iv) != _IV_BYTES:
        raise MalformedPacket("an encrypted dictionary without a proper IV")
    bits, size = _SETS[SET_2048]
    session = _own(keys, bits).decrypt(fields.raw(b"EK"), size)
    return decode(crypto.aes_ctr(session, iv, fields.raw(b"EB")))


def write_dict(inner: bytes, to: PublicKey, iv: bytes, session: bytes | None = None) -> bytes:
    """The frame that hides a signed one. ``iv``: 16 bytes, never twice with one session key."""
    session = session or crypto.session_key()
    return encode(
        {
            b"EF": _DICTIONARY,
            b"EI": iv,
            b"EK": crypto.encrypt(to, session),
            b"EB": crypto.aes_ctr(session, iv, inner),
        }
    )


def _algorithms(flags: int) -> tuple[int, int]:
    """Bits of the RSA key and bytes of the session key."""
    try:
        return _SETS[flags & _ALGORITHMS]
    except KeyError:
        raise MalformedPacket(f"a message encrypted in a way not known: {flags:#x}") from None


def _own(keys: Sequence[PrivateKey], bits: int) -> PrivateKey:
    for key in keys:
        if key.public.bits == bits:
            return key
    raise MalformedPacket(f"encrypted to a key of {bits} bits, and we have none")


def _iv(flags: int, number: bytes) -> bytes:
    return (number if flags & Capability.PACKETNO_IV else b"")[:_IV_BYTES].ljust(_IV_BYTES, b"\0")
