"""RSA keys, signatures of dictionaries and ciphers: the one home of the library ``cryptography`` in here.

It is imported when first used: that costs 30 to 110 ms, which no start and no command line should pay for
nothing. What a stranger sent fails with MalformedPacket (or False), never with an error of the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket, StartError
from camrelay.ipmsg.ipdict import LIMIT, IPDict, Value, frame, item, write
from camrelay.ipmsg.pubkey import CAPABLE, Capability, PublicKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

# What a signature adds to a dictionary, in this order and at its end. The verifier takes SIGN for the last.
SIGNATURE_KEYS = (b"PUBE", b"PUBN", b"EF", b"EC", b"SIGN")
SIGNATURE_BYTES = 256

_EXPONENT = 65537
_SIZES = (1024, 2048)


class PrivateKey:
    """An RSA key of 1024 or 2048 bits.

    public    its public part
    overhead  bytes by which a signed frame is at most longer than its content
    """

    __slots__ = ("_key", "_signer", "overhead", "public")

    def __init__(self, key: RSAPrivateKey) -> None:
        numbers = key.public_key().public_numbers()
        self._key = key
        self.public = PublicKey(numbers.e, numbers.n.to_bytes(key.key_size // 8, "big"))
        self._signer = b":".join(
            (
                item(b"PUBE", self.public.exponent),
                item(b"PUBN", self.public.modulus),
                item(b"EF", int(Capability.SIGN_SHA256)),
                item(b"EC", CAPABLE),
            )
        )
        added = b":%b:%b" % (self._signer, item(b"SIGN", bytes(SIGNATURE_BYTES)))
        self.overhead = len(added) + len(frame(bytes(LIMIT))) - LIMIT

    @classmethod
    def create(cls, bits: int = 2048) -> PrivateKey:
        """A new key, some 40 to 300 ms of work. The randomness is the library's."""
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

        return cls(generate_private_key(_EXPONENT, bits))

    @classmethod
    def load(cls, pem: bytes) -> PrivateKey:
        """The key of an unencrypted PEM text. Raises StartError for anything else, and for a damaged key."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            # The library's own check is against keys made to attack us, and takes 60 ms. This one we made.
            key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise StartError("not an RSA private key in PEM form without a password") from None
        if not isinstance(key, RSAPrivateKey) or key.key_size not in _SIZES:
            raise StartError("not an RSA private key of 1024 or 2048 bits")
        loaded = cls(key)
        try:
            works = verify(loaded.public, loaded.sign(b"camrelay"), b"camrelay")
        except ValueError:
            works = False
        if not works:
            raise StartError("a damaged RSA private key: it does not make good signatures")
        return loaded

    def pem(self) -> bytes:
        """The key as an unencrypted PEM text, for a file that only its owner reads."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, data: bytes, *, sha1: bool = False) -> bytes:
        """RSASSA-PKCS1-v1_5 with SHA-256 (or SHA-1), big-endian."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        return self._key.sign(data, PKCS1v15(), _hash(sha1))

    def sign_content(self, content: bytes) -> bytes:
        """The signed frame of content that holds none of SIGNATURE_KEYS."""
        return self.with_signature(content, self.signature(content))

    def signature(self, content: bytes) -> bytes:
        """The signature in that frame."""
        return self.sign(frame(self._before_signature(content)))

    def with_signature(self, content: bytes, signature: bytes) -> bytes:
        """That frame, if this is what ``signature`` gave for the content."""
        return frame(b"%b:%b" % (self._before_signature(content), item(b"SIGN", signature)))

    def _before_signature(self, content: bytes) -> bytes:
        return b"%b:%b" % (content, self._signer) if content else self._signer

    def decrypt(self, secret: bytes, size: int) -> bytes:
        """The ``size`` bytes that somebody encrypted to the public key. Raises MalformedPacket."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        try:
            plain = self._key.decrypt(secret, PKCS1v15())
        except ValueError:
            plain = b""
        if len(plain) != size:  # the library gives chance bytes for what was not meant for this key
            raise MalformedPacket("not encrypted to this key")
        return plain


def sign_dict(fields: Mapping[bytes, Value], key: PrivateKey) -> bytes:
    """The signed frame of a dictionary; a signature that it had is replaced."""
    return key.sign_content(write({name: fields[name] for name in fields if name not in SIGNATURE_KEYS}))


def carried_key(fields: IPDict) -> PublicKey | None:
    """The 2048-bit key that a signed dictionary brings along, None if it brings none."""
    modulus = fields.get(b"PUBN", b"")
    if len(modulus) != SIGNATURE_BYTES:
        return None
    try:
        return PublicKey(fields.number(b"PUBE"), modulus)
    except MalformedPacket:
        return None


def verify_dict(fields: IPDict, key: PublicKey | None = None) -> bool:
    """Is it signed, as last entry, by ``key`` (None: by the key that it brings along)?

    The outermost level only; what is nested carries signatures of its own. Whose key it is, is not asked.
    """
    if key is None:
        key = carried_key(fields)
    if key is None or not fields or next(reversed(fields)) != b"SIGN":
        return False
    signature = fields[b"SIGN"]
    if len(signature) != SIGNATURE_BYTES:
        return False
    signed = write(fields)[: -len(item(b"SIGN", signature)) - 1]
    return verify(key, signature, frame(signed))


def verify(key: PublicKey, signature: bytes, data: bytes, *, sha1: bool = False) -> bool:
    """Is this the signature of the data by that key?"""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    try:
        _public(key).verify(signature, data, PKCS1v15(), _hash(sha1))
    except (InvalidSignature, ValueError):
        return False
    return True


def encrypt(key: PublicKey, secret: bytes) -> bytes:
    """RSA PKCS#1 v1.5 of a session key. Raises MalformedPacket if the key of the other side is none."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    try:
        return _public(key).encrypt(secret, PKCS1v15())
    except ValueError:
        raise MalformedPacket("a public key that cannot be encrypted to") from None


def session_key() -> bytes:
    """32 bytes by chance, the library's."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM.generate_key(256)


def encrypt_cbc(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """CBC with PKCS#7 padding: AES for a key of 32 bytes, Blowfish for one of 16. ``iv``: 16 bytes."""
    from cryptography.hazmat.primitives.padding import PKCS7

    cipher, bits = _cbc(key, iv)
    coder, padder = cipher.encryptor(), PKCS7(bits).padder()
    return coder.update(padder.update(plain) + padder.finalize()) + coder.finalize()


def decrypt_cbc(key: bytes, iv: bytes, secret: bytes) -> bytes:
    """The other way. Raises MalformedPacket."""
    from cryptography.hazmat.primitives.padding import PKCS7

    cipher, bits = _cbc(key, iv)
    coder, unpadder = cipher.decryptor(), PKCS7(bits).unpadder()
    try:
        return unpadder.update(coder.update(secret) + coder.finalize()) + unpadder.finalize()
    except ValueError:
        raise MalformedPacket("an encrypted message that is damaged") from None


def aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES in counter mode, which is the same in both directions. ``iv``: 16 bytes."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CTR

    coder = Cipher(AES(key), CTR(iv)).encryptor()
    return coder.update(data) + coder.finalize()


def _public(key: PublicKey) -> RSAPublicKey:
    """The library's form of a key. Raises ValueError for what can be none."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    if key.exponent < 0:  # which the library takes for a mistake of ours
        raise ValueError(key.exponent)
    return RSAPublicNumbers(key.exponent, int.from_bytes(key.modulus, "big")).public_key()


def _cbc(key: bytes, iv: bytes) -> tuple[Cipher[CBC], int]:
    """The cipher and the bits of its blocks."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import Blowfish
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    algorithm = AES(key) if len(key) == 32 else Blowfish(key)
    return Cipher(algorithm, CBC(iv[: algorithm.block_size // 8])), algorithm.block_size


def _hash(sha1: bool) -> HashAlgorithm:
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256

    return SHA1() if sha1 else SHA256()
