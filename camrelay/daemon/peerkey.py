"""The key by which relays know each other: Ed25519, pinned, TLS 1.3 only. ``peer.pem`` in the state directory.

Rules kept here: there is no CA, a pin is a certificate byte for byte (the listening side) or its public key (the
dialling side, see ``peer_key_of``); the relay's id is the hash of its first key and survives every later one.
"""

from __future__ import annotations

import os
import re
import ssl
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from camrelay.daemon.durably import reason, shut, write
from camrelay.daemon.words import words_of
from camrelay.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE: Final = "peer.pem"
LARGEST: Final = 65_536  # bytes: two pairs are under 2,000
SERIAL: Final = 1  # fixed, as all else in a certificate: both ends of an invitation derive the same one
_ID = re.compile(rb"^relay id: ([0-9a-f]{64})$", re.MULTILINE)
_PAIR = re.compile(
    rb"(-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----\n)\s*"
    rb"(-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n)",
    re.DOTALL,
)


class Pair(NamedTuple):
    """A private key (PEM, PKCS 8) and its certificate (DER)."""

    secret: bytes
    cert: bytes


class PeerKey:
    """What proves who we are. While the key is rotated there are two pairs: the old one, in use, and the next."""

    def __init__(self, pairs: tuple[Pair, ...], relay_id: str = "") -> None:
        self.note = ""  # what is not as it should be with the file, and the remedy
        self._pairs = pairs
        self.id = relay_id or key_hash(pairs[0].cert)

    @classmethod
    def load_or_create(cls, directory: str | os.PathLike[str]) -> PeerKey:
        """The key of the relay whose state this is, made if there is none. FleetError if it cannot be used.

        Loading takes 1 ms; making one the first time 0.2 s, because it loads a library.
        """
        path = Path(directory) / FILE
        try:
            if path.stat().st_size > LARGEST:
                raise FleetError(f"{path}: too large for a key file: put the right one back")
            found = cls._parse(path.read_bytes(), path)
            found.note = shut(path)
            return found
        except FileNotFoundError:
            made = cls.create()
            made.save(directory)
            return made
        except OSError as error:
            raise FleetError(f"{path}: {reason(error)}") from None

    @classmethod
    def create(cls) -> PeerKey:
        """A new key, and with it a new relay."""
        return cls((_pair(os.urandom(32)),))

    @classmethod
    def from_seed(cls, seed: bytes) -> PeerKey:
        """The one-time key of an invitation: the same key and certificate from the same 32 bytes everywhere."""
        return cls((_pair(seed),))

    @classmethod
    def _parse(cls, pem: bytes, path: Path) -> PeerKey:
        """The inverse of ``save``."""
        relay_id, found = _ID.search(pem), _PAIR.findall(pem)
        try:
            if relay_id is None or not 0 < len(found) <= 2:
                raise ValueError
            pairs = tuple(Pair(key, ssl.PEM_cert_to_DER_cert(cert.decode("ascii"))) for key, cert in found)
            made = cls(pairs, relay_id[1].decode())
            for pair in pairs:
                _context(ssl.PROTOCOL_TLS_CLIENT, pair)
        except (ValueError, ssl.SSLError):
            raise FleetError(
                f"{path}: damaged: put a copy of it back, or remove it and fleet.toml to be a new relay"
            ) from None
        return made

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write it so that it is on disk, whole, or not at all. FleetError if the disk does not take it."""
        text = [f"camrelay: who this relay is to its peers. Keep it secret.\nrelay id: {self.id}\n".encode()]
        for pair in self._pairs:
            text += pair.secret, ssl.DER_cert_to_PEM_cert(pair.cert).encode()
        write(Path(directory) / FILE, b"".join(text))

    # -- what it says of itself ---------------------------------------------------------------------------

    @property
    def cert(self) -> bytes:
        """The certificate that we present (DER)."""
        return self._pairs[0].cert

    @property
    def certs(self) -> tuple[bytes, ...]:
        """That one, and the next one while the key is rotated."""
        return tuple(pair.cert for pair in self._pairs)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key in use, 64 hex digits."""
        return key_hash(self.cert)

    @property
    def words(self) -> str:
        """The fingerprint in eight words, for people."""
        return words_of(self.fingerprint)

    # -- rotation -----------------------------------------------------------------------------------------

    def rotated(self) -> PeerKey:
        """The same relay with a next key beside the one in use."""
        return PeerKey((self._pairs[0], _pair(os.urandom(32))), self.id)

    def settled(self) -> PeerKey:
        """The same relay with the next key alone."""
        return PeerKey(self._pairs[-1:], self.id)

    # -- TLS ----------------------------------------------------------------------------------------------

    def client_context(self) -> ssl.SSLContext:
        """For dialling. Before anything is sent the caller compares ``peer_key_of`` with its one pin."""
        made = _context(ssl.PROTOCOL_TLS_CLIENT, self._pairs[0])
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE  # the caller's comparison decides; the handshake proves the key
        return made

    def server_context(self, pins: Iterable[bytes]) -> ssl.SSLContext:
        """For listening: nobody but the owners of these certificates (DER) gets through the handshake.

        After a change of pins a fresh one is needed: a store only grows.
        """
        made = _context(ssl.PROTOCOL_TLS_SERVER, self._pairs[0])
        made.verify_mode = ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a pin is trusted itself, not through an issuer
        made.num_tickets = 0  # no resumption: who is removed is out with the next connection
        if store := b"".join(dict.fromkeys(pins)):
            made.load_verify_locations(cadata=store)
        return made


def peer_key_of(connection: Any) -> str:
    """After the handshake: the SHA-256 of the other side's public key, 64 hex digits; "" if it showed none.

    ``connection`` has ``getpeercert`` as an ssl.SSLObject (trio's SSLStream passes it on).

    The certificate may say what it likes: that its owner has the key is what the handshake proved.
    """
    cert = connection.getpeercert(binary_form=True)
    try:
        return key_hash(cert) if cert else ""
    except ValueError:
        return ""


def key_hash(cert: bytes) -> str:
    """SHA-256 of the public key in a certificate (DER), 64 hex digits. ValueError if it is none."""
    return sha256(public_key(cert)).hexdigest()


def loadable(cert: bytes) -> bool:
    """Would ``server_context`` take it as a pin? One that it does not take would cost all the others."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=cert)
        return bool(key_hash(cert))
    except (ssl.SSLError, ValueError):
        return False


def public_key(cert: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, as it stands there. ValueError if it is none."""
    start, end, whole = _element(cert, 0, 0x30)  # Certificate
    if whole != len(cert):
        raise ValueError("bytes behind the certificate")
    at, _, _ = _element(cert, start, 0x30)  # tbsCertificate
    if cert[at : at + 1] == b"\xa0":  # version
        at = _element(cert, at, 0xA0)[2]
    for tag in (0x02, 0x30, 0x30, 0x30, 0x30):  # serial, algorithm, issuer, validity, subject
        at = _element(cert, at, tag)[2]
    after = _element(cert, at, 0x30)[2]
    if after > end:
        raise ValueError("longer than its certificate")
    return cert[at:after]


def _element(der: bytes, at: int, tag: int) -> tuple[int, int, int]:
    """Where the content of the element at ``at`` begins and ends, and where the next element is (the same)."""
    head = der[at : at + 6]
    if len(head) < 2 or head[0] != tag:
        raise ValueError(f"expected element {tag:#x}")
    size, begins = head[1], at + 2
    if size >= 0x80:
        count = size & 0x7F
        if not 0 < count <= 3 or len(head) < 2 + count:
            raise ValueError("length")
        size, begins = int.from_bytes(head[2 : 2 + count], "big"), begins + count
    if begins + size > len(der):
        raise ValueError("cut off")
    return begins, begins + size, begins + size


def _context(protocol: int, pair: Pair) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_3
    fd = os.memfd_create("peer key")  # OpenSSL takes keys from a file only, and this one has no name
    try:
        os.write(fd, pair.secret + ssl.DER_cert_to_PEM_cert(pair.cert).encode())
        made.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return made


def _pair(seed: bytes) -> Pair:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.from_private_bytes(seed)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(secret, _certificate(key))


def _certificate(key: Ed25519PrivateKey) -> bytes:
    """Self-signed and the same each time. Valid from 2000 to 9999: a box may have no clock."""
    from datetime import UTC, datetime

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import CertificateBuilder, Name, NameAttribute
    from cryptography.x509.oid import NameOID

    public = key.public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # a name of its own: with one for all, OpenSSL would try each pin of the store as the issuer
    name = Name([NameAttribute(NameOID.COMMON_NAME, f"camrelay {sha256(spki).hexdigest()[:32]}")])
    builder = CertificateBuilder(
        issuer_name=name, subject_name=name, public_key=public, serial_number=SERIAL,
        not_valid_before=datetime(2000, 1, 1, tzinfo=UTC), not_valid_after=datetime(9999, 12, 31, tzinfo=UTC),
    )  # fmt: skip
    return builder.sign(key, None).public_bytes(Encoding.DER)
