"""Peer keys: on disk once and for all, in TLS nobody but the pinned, and a rotation that survives restarts."""

from __future__ import annotations

import os
import ssl
import stat
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.peerkey import FILE, PeerKey, key_hash, loadable, peer_key_of, public_key
from camrelay.daemon.words import WORDS, words_of
from camrelay.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEYS = [PeerKey.from_seed(bytes([n]) * 32) for n in range(4)]


class Ends:
    """A handshake between two contexts in memory."""

    def __init__(self, server: PeerKey, pins: Iterable[bytes], client: PeerKey) -> None:
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.client_context().wrap_bio(back, there)
        self.server = server.server_context(pins).wrap_bio(there, back, server_side=True)

    def shake(self) -> None:
        """Until both are done. ssl.SSLError where one refuses."""
        waiting = [self.client, self.server]
        while waiting:
            for end in list(waiting):
                try:
                    end.do_handshake()
                    waiting.remove(end)
                except ssl.SSLWantReadError:
                    pass


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    made = PeerKey.load_or_create(tmp_path)
    again = PeerKey.load_or_create(tmp_path)
    assert (again.id, again.cert, again.certs) == (made.id, made.cert, (made.cert,))
    assert made.id == made.fingerprint == key_hash(made.cert)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


def test_a_file_that_others_may_read_is_shut_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / FILE
    assert PeerKey.load_or_create(tmp_path).note == ""
    path.chmod(0o644)
    assert PeerKey.load_or_create(tmp_path).note == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    assert "peer.pem: others may read it: chmod 600" in PeerKey.load_or_create(tmp_path).note


def test_both_ends_of_an_invitation_derive_the_same_certificate() -> None:
    assert PeerKey.from_seed(b"x" * 32).cert == PeerKey.from_seed(b"x" * 32).cert != KEYS[0].cert


def test_the_certificate_is_valid_on_a_box_without_a_clock_and_names_nobody() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    cert = x509.load_der_x509_certificate(KEYS[0].cert)
    assert cert.not_valid_before_utc.year == 2000
    assert cert.not_valid_after_utc.year == 9999
    spki = cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public_key(KEYS[0].cert) == spki
    assert KEYS[0].fingerprint == sha256(spki).hexdigest()


def test_who_is_pinned_gets_through_and_both_know_whom_they_talk_to() -> None:
    ends = Ends(KEYS[0], [key.cert for key in KEYS[1:]], KEYS[2])
    ends.shake()
    assert ends.client.version() == "TLSv1.3"
    assert peer_key_of(ends.server) == KEYS[2].fingerprint
    assert peer_key_of(ends.client) == KEYS[0].fingerprint


@pytest.mark.parametrize("pins", [[], [KEYS[1].cert, KEYS[0].cert]], ids=["no pins", "others pinned"])
def test_who_is_not_pinned_does_not_get_through(pins: list[bytes]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Ends(KEYS[0], pins, KEYS[2]).shake()


def test_a_member_cannot_vouch_for_others() -> None:
    """A pin is no CA: what a member's key has signed is nobody's key."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )
    from cryptography.x509.oid import NameOID

    from camrelay.daemon.peerkey import Pair

    member, stranger = Ed25519PrivateKey.from_private_bytes(b"\1" * 32), Ed25519PrivateKey.generate()
    signed = x509.CertificateBuilder(
        issuer_name=x509.load_der_x509_certificate(KEYS[1].cert).subject,
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "friend")]),
        public_key=stranger.public_key(), serial_number=7,
        not_valid_before=datetime(2000, 1, 1, tzinfo=UTC), not_valid_after=datetime(9999, 1, 1, tzinfo=UTC),
    ).sign(member, None)  # fmt: skip
    secret = stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    friend = PeerKey((Pair(secret, signed.public_bytes(Encoding.DER)),))
    with pytest.raises(ssl.SSLCertVerificationError):
        Ends(KEYS[0], [KEYS[1].cert], friend).shake()


def test_a_rotation_is_on_disk_at_each_step_and_the_relay_stays_the_same(tmp_path: Path) -> None:
    first = PeerKey.load_or_create(tmp_path)
    both = first.rotated()
    both.save(tmp_path)
    found = PeerKey.load_or_create(tmp_path)
    assert (found.id, found.cert) == (first.id, first.cert), "the old one is shown until all know the next"
    assert found.certs == both.certs
    last = found.settled()
    last.save(tmp_path)
    found = PeerKey.load_or_create(tmp_path)
    assert (found.id, found.certs) == (first.id, both.certs[1:])
    assert found.fingerprint != first.id


@pytest.mark.parametrize(
    "damage",
    [
        lambda pem: b"",
        lambda pem: pem[: len(pem) // 2],
        lambda pem: pem.replace(b"relay id", b"relay"),
        lambda pem: pem.replace(b"MC4CAQ", b"MC4CAB"),
        lambda pem: pem * 3,
        lambda pem: b"\xff" * 100,
        lambda pem: b"x" * 70_000,
    ],
)
def test_a_damaged_file_is_said_and_left_alone(tmp_path: Path, damage: object) -> None:
    PeerKey.load_or_create(tmp_path)
    path = tmp_path / FILE
    content = damage(path.read_bytes())  # type: ignore[operator]
    path.write_bytes(content)
    with pytest.raises(FleetError, match=r"peer\.pem: (damaged|too large)"):
        PeerKey.load_or_create(tmp_path)
    assert path.read_bytes() == content


def test_a_key_of_another_certificate_is_damage(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    for directory, key in ((one, KEYS[0]), (other, KEYS[1])):
        directory.mkdir()
        key.save(directory)
    cut = b"-----BEGIN CERTIFICATE"
    mixed = (one / FILE).read_bytes().partition(cut)[0] + cut + (other / FILE).read_bytes().partition(cut)[2]
    (one / FILE).write_bytes(mixed)
    with pytest.raises(FleetError, match="damaged"):
        PeerKey.load_or_create(one)


def test_a_disk_that_cannot_be_written_is_said_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"peer\.pem: no such file or directory: nothing was changed"):
        KEYS[0].save(tmp_path / "gone")
    (tmp_path / FILE).mkdir()
    with pytest.raises(FleetError, match="is a directory"):
        KEYS[0].save(tmp_path)
    assert os.listdir(tmp_path) == [FILE]


@given(st.binary(max_size=400))
def test_no_bytes_make_reading_a_certificate_fail_otherwise_than_by_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        key_hash(raw)
    assert not loadable(raw)


@given(st.integers(0, len(KEYS[0].cert) - 1), st.integers(0, 255))
def test_a_changed_certificate_is_read_or_refused_and_nothing_else(at: int, byte: int) -> None:
    raw = bytearray(KEYS[0].cert)
    raw[at] = byte
    assert loadable(bytes(raw)) in (True, False)


def test_certificates_cut_off_or_with_more_behind_them_are_none() -> None:
    cert = KEYS[0].cert
    assert loadable(cert)
    for wrong in (cert[:-1], cert + b"\0", cert + cert, b""):
        assert not loadable(wrong)


def test_fingerprints_are_eight_words_out_of_256() -> None:
    assert len(set(WORDS)) == len(WORDS) == 256
    assert all(3 <= len(word) <= 8 and word.isalpha() and word.islower() for word in WORDS)
    assert words_of("00ff" * 16) == " ".join(["acid", "window"] * 4)
    assert KEYS[0].words == words_of(KEYS[0].fingerprint)
