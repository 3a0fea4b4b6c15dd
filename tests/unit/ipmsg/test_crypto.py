"""Keys and signatures: the vectors, tampering, damaged keys, and that nobody pays for a library not used."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket, StartError
from camrelay.ipmsg.crypto import (
    SIGNATURE_KEYS,
    PrivateKey,
    carried_key,
    decrypt_cbc,
    encrypt,
    encrypt_cbc,
    sign_dict,
    verify,
    verify_dict,
)
from camrelay.ipmsg.ipdict import IPDict, decode, encode, frame, write
from camrelay.ipmsg.pubkey import PublicKey
from tests.keys import AGENTPACKET, LIST, OLD, PACKET, PEER, POLL, RELAY, RELAY_PEM, REQUEST, VECTORS

AUTHORS = {
    "list": (LIST, RELAY),
    "poll": (POLL, PEER),
    "packet": (PACKET, RELAY),
    "request": (REQUEST, RELAY),
}


def tampered(data: bytes) -> IPDict:
    """The same dictionary with one bit of its first name changed."""
    fields = decode(data)
    fields[b"UID"] = bytes((fields[b"UID"][0] ^ 1,)) + fields[b"UID"][1:]
    return fields


@pytest.mark.parametrize("name", AUTHORS)
def test_signed_vector_verifies_and_is_signed_the_same(name: str) -> None:
    data, author = AUTHORS[name]
    fields = decode(data)
    assert verify_dict(fields)
    assert verify_dict(fields, author.public)
    assert not verify_dict(fields, (PEER if author is RELAY else RELAY).public)
    assert carried_key(fields) == author.public
    assert sign_dict(fields, author) == data  # with the old signature in it, which is replaced
    unsigned = {key: value for key, value in fields.items() if key not in SIGNATURE_KEYS}
    assert sign_dict(unsigned, author) == author.sign_content(write(unsigned)) == data


@pytest.mark.parametrize("name", AUTHORS)
def test_whatever_is_changed_breaks_the_signature(name: str) -> None:
    data, _ = AUTHORS[name]
    fields = decode(data)
    for key, value in fields.items():
        for other in (value + b"0", value[:-1], bytes((value[0] ^ 1,)) + value[1:] if value else b"1"):
            if other != value:
                changed = IPDict(fields | {key: other})
                assert not verify_dict(changed), key
    for key in fields:
        assert not verify_dict(IPDict({k: v for k, v in fields.items() if k != key})), key
    assert not verify_dict(IPDict({b"MORE": b"1"} | fields))
    assert not verify_dict(IPDict(dict(reversed(fields.items()))))


def test_nested_signatures_hold_one_by_one() -> None:
    request = decode(REQUEST)
    packet = request.nested(b"WAPD")
    users = packet.nested(b"WAPD")
    assert encode(packet) == PACKET
    assert encode(users) == LIST
    assert all(map(verify_dict, (request, packet, users)))
    outside = decode(AGENTPACKET)
    assert not verify_dict(outside)
    assert verify_dict(outside.nested(b"WAPD"))


def test_a_new_wrapping_does_not_heal_what_is_inside() -> None:
    inner = tampered(LIST)
    middle = decode(sign_dict({b"CMD": b"b4", b"WAPD": write(inner)}, RELAY))
    outer = decode(sign_dict({b"CMD": b"b5", b"WAPD": write(middle)}, RELAY))
    assert verify_dict(outer)
    assert verify_dict(outer.nested(b"WAPD"))
    assert not verify_dict(outer.nested(b"WAPD").nested(b"WAPD"))


def test_a_signature_must_be_the_last_entry() -> None:
    fields = decode(LIST)
    signature = fields.pop(b"SIGN")
    assert not verify_dict(IPDict({b"SIGN": signature} | fields))
    assert not verify_dict(IPDict(fields | {b"SIGN": signature, b"ACT": b"1"}))
    assert verify_dict(IPDict(fields | {b"SIGN": signature}))
    # Repeated on the wire it keeps its first place.
    assert not verify_dict(decode(frame(b"SIGN:0::" + write(fields | {b"SIGN": signature}))))


def test_a_stranger_cannot_sign_for_a_pinned_key() -> None:
    forged = decode(sign_dict(decode(LIST), PEER))
    assert verify_dict(forged)
    assert not verify_dict(forged, RELAY.public)


@pytest.mark.parametrize(
    "changes",
    [{b"PUBE": value} for value in (b"", b"2", b"1", b"0", b"-3", b"f" * 16, b"f" * 17)]
    + [{b"PUBN": value} for value in (b"", bytes(256), b"\xff" * 256, b"\1" * 128, bytes(255) + b"\3")]
    + [{b"SIGN": value} for value in (b"", bytes(256), b"\xff" * 256)],
    ids=range(15),
)  # fmt: skip
def test_nonsense_instead_of_a_key_or_signature_is_just_not_good(changes: dict[bytes, bytes]) -> None:
    assert not verify_dict(IPDict(decode(LIST) | changes))


def test_nothing_is_not_signed() -> None:
    assert not verify_dict(IPDict())
    assert not verify_dict(IPDict(), RELAY.public)
    assert carried_key(IPDict()) is None


def test_the_signature_adds_what_was_promised() -> None:
    content = b"A:1000:" + bytes(0x1000)
    assert len(RELAY.sign_content(content)) == len(content) + RELAY.overhead
    assert len(RELAY.sign_content(b"A:0:")) == len(b"A:0:") + RELAY.overhead - 1
    assert verify_dict(decode(RELAY.sign_content(b"")))


def test_a_key_survives_its_file() -> None:
    again = PrivateKey.load(RELAY.pem())
    assert again.public == RELAY.public
    assert again.sign(b"x") == RELAY.sign(b"x")
    new = PrivateKey.create(1024)
    assert PrivateKey.load(new.pem()).public == new.public
    assert (new.public.bits, new.public.exponent) == (1024, 65537)
    assert new.public != PrivateKey.create(1024).public


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes = b"") -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def damaged(*parts: str) -> bytes:
    """The relay's key with some of its numbers wrong."""
    key = load_pem_private_key(RELAY_PEM, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    secret, public = key.private_numbers(), key.public_key().public_numbers()
    numbers = {name: getattr(secret, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
    for part in parts:
        numbers[part] += 2
    wrong = rsa.RSAPrivateNumbers(public_numbers=public, **numbers)
    return pem_of(wrong.private_key(unsafe_skip_rsa_key_validation=True))


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (b"", "not an RSA private key"),
        (RELAY_PEM[:800], "not an RSA private key"),
        (RELAY_PEM.replace(b"MIIEpAIBAAK", b"MIIEpAIBAAA"), "not an RSA private key"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n!\n-----END RSA PRIVATE KEY-----\n", "not an RSA private key"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "of 1024 or 2048 bits"),
        (pem_of(rsa.generate_private_key(65537, 1032)), "of 1024 or 2048 bits"),
        (pem_of(rsa.generate_private_key(65537, 1024), b"secret"), "without a password"),
        (damaged("d", "dmp1"), "damaged"),
    ],
    ids=["empty", "cut", "byte", "garbage", "ec", "1032", "password", "damaged"],
)
def test_a_file_that_is_no_good_key_is_said_in_one_line(pem: bytes, why: str) -> None:
    with pytest.raises(StartError, match=why) as caught:
        PrivateKey.load(pem)
    assert "\n" not in str(caught.value)


def test_a_key_only_decrypts_what_is_meant_for_it() -> None:
    secret = encrypt(PEER.public, b"k" * 32)
    assert PEER.decrypt(secret, 32) == b"k" * 32
    for key, data in ((RELAY, secret), (OLD, secret), (PEER, b""), (PEER, secret[1:]), (PEER, b"\xff" * 256)):
        with pytest.raises(MalformedPacket, match="not encrypted to this key"):
            key.decrypt(data, 32)
    with pytest.raises(MalformedPacket, match="not encrypted to this key"):
        PEER.decrypt(secret, 16)


@pytest.mark.parametrize(
    ("exponent", "modulus"),
    [(2, PEER.public.modulus), (-1, PEER.public.modulus), (3, bytes(256)), (3, b"\1")],
)
def test_a_public_key_that_is_none_cannot_be_encrypted_to(exponent: int, modulus: bytes) -> None:
    key = PublicKey(exponent, modulus)
    with pytest.raises(MalformedPacket):
        encrypt(key, b"k" * 32)
    assert not verify(key, bytes(256), b"")


@given(st.sampled_from([16, 32]), st.binary(max_size=70))
def test_what_was_encrypted_is_decrypted(size: int, plain: bytes) -> None:
    key, iv = bytes(range(size)), bytes(16)
    secret = encrypt_cbc(key, iv, plain)
    assert decrypt_cbc(key, iv, secret) == plain
    for cut in (secret[:-1], secret + b"x", b""):
        with pytest.raises(MalformedPacket):
            decrypt_cbc(key, iv, cut)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from([b"CMD", b"WAPD", b"PUBE", b"SIGN"]), st.binary(max_size=300)))
@example({})
def test_what_was_signed_verifies(fields: dict[bytes, bytes]) -> None:
    signed = decode(sign_dict(fields, PEER))
    assert verify_dict(signed)
    assert verify_dict(signed, PEER.public)
    assert tuple(signed)[-5:] == SIGNATURE_KEYS


@given(st.integers(0, len(LIST) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(position: int, change: int) -> None:
    data = bytearray(LIST)
    data[position] ^= change
    try:
        fields = decode(bytes(data))
    except MalformedPacket:
        return
    assert not verify_dict(fields) or encode(fields) == LIST  # a length may be written in upper case


def test_the_library_is_imported_by_who_uses_it_only() -> None:
    """30 to 110 ms that neither a start nor a command line has to pay."""
    modules = ("crypto", "pubkey", "sealed", "signed", "master")
    program = (
        f"import sys; from camrelay.ipmsg import {', '.join(modules)}; print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_keys_are_those_of_the_vectors() -> None:
    assert RELAY.public.modulus.hex() == VECTORS["fingerprint"][0]["n_hex"]
    assert PEER.public.modulus.hex() == VECTORS["fingerprint"][1]["n_hex"]
