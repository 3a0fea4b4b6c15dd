"""Fingerprints in names, and the bodies of GETPUBKEY and ANSPUBKEY."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import is_ipdict, parse
from camrelay.ipmsg.presence import read
from camrelay.ipmsg.pubkey import (
    CAPABLE,
    CAPABLE_1024,
    SET_1024,
    SET_2048,
    Capability,
    PublicKey,
    claimed,
    common,
    fingerprint,
    fits,
    read_answer,
    read_capability,
    signed_name,
    write_answer,
    write_capability,
)
from tests.keys import OLD, PEER, RELAY, VECTORS
from tests.pcap import CAPTURES, capture

BODIES = VECTORS["pubkey"]
BODY_2048, BODY_1024 = (BODIES[f"anspubkey_body_{bits}"].encode() for bits in (2048, 1024))


def test_fingerprint_vectors() -> None:
    relay, peer, counting = VECTORS["fingerprint"]
    for vector, key in ((relay, RELAY.public), (peer, PEER.public)):
        assert key.modulus == bytes.fromhex(vector["n_hex"])
        assert key.fingerprint == vector["fingerprint"]
        assert signed_name(vector["user"].partition("-")[0], key) == vector["user"]
        assert claimed(vector["user"]) == vector["fingerprint"]
        assert fits(vector["user"], key)
    assert fingerprint(bytes(range(256))) == counting["fingerprint"]


def test_a_name_goes_with_the_key_that_it_carries_and_no_other() -> None:
    name = signed_name("bob", PEER.public)
    assert not fits(name, RELAY.public)
    assert not fits(name, OLD.public)  # 1024 bits fit no name
    assert fits("bob", RELAY.public)
    assert OLD.public.fingerprint == ""


@pytest.mark.parametrize(
    "name",
    ["bob", "bob-<3e9baf9cab544e94", "bob-<3e9baf9cab544e9>", "bob<3e9baf9cab544e94>",
     "bob--<3e9baf9cab544e94>", "bob-<3e9baf9cab544e94>x", "bob-<3e9baf9cab544e9;>",
     "bob-<3e9baf9cab544e94>\n", ""],
)  # fmt: skip
def test_what_only_looks_like_a_fingerprint_is_none(name: str) -> None:
    assert claimed(name) == ""


def test_long_names_make_room_for_the_fingerprint() -> None:
    for base in ("x" * 100, "山" * 100, ""):
        name = signed_name(base, RELAY.public)
        assert len(name.encode()) <= 79
        assert fits(name, RELAY.public)
        assert claimed(name)


def test_question_vector_both_ways() -> None:
    body = BODIES["getpubkey_body"].encode()
    assert write_capability() == body
    assert read_capability(body) == CAPABLE == int(BODIES["capa_4.99"], 16)
    assert read_capability(b"65920006".upper()) == CAPABLE


@pytest.mark.parametrize("body", [b"", b"g", b"0x12", b"1_2", b"123456789", b" 1", b"-1", b"1\n"])
def test_what_is_no_question_is_an_error(body: bytes) -> None:
    with pytest.raises(MalformedPacket):
        read_capability(body)


def test_answer_vectors_both_ways() -> None:
    assert write_answer(RELAY.public) == BODY_2048
    assert write_answer(OLD.public, CAPABLE_1024) == BODY_1024
    assert read_answer(BODY_2048) == (CAPABLE, RELAY.public)
    assert read_answer(BODY_1024) == (CAPABLE_1024, OLD.public)


def test_answers_of_other_clients_are_read() -> None:
    assert read_answer(BODY_2048.lower()) == read_answer(BODY_2048.upper()) == (CAPABLE, RELAY.public)
    assert read_answer(BODY_1024.replace(b":10001-", b":010001-00")) == (CAPABLE_1024, OLD.public)
    assert read_answer(BODY_2048 + b":what else") == (CAPABLE, RELAY.public)


@pytest.mark.parametrize(
    "body",
    [b"", b"::-", b"2:3-", b":3-" + b"1" * 256, b"2:-" + b"1" * 256, b"2:3-" + b"1" * 513,
     b"2:3-" + b"1" * 300, b"2:3-" + b"0" * 256, b"2:3-" + b"1" * 128, b"2:3-" + b"1" * 255 + b"g",
     b"2:" + b"1" * 17 + b"-" + b"1" * 256, b"123456789:3-" + b"1" * 256, BODY_2048[:-3],
     b"2:3" + b"-" * 60_000, b"2:3-" + b"0" * 60_000 + b"g"],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(MalformedPacket) as caught:
        read_answer(body)
    assert len(str(caught.value)) < 200


def test_keys_of_the_real_client_fit_its_names() -> None:
    """Every ANSPUBKEY of the captures, and every GETPUBKEY."""
    answers = questions = 0
    for path in CAPTURES:
        for one in capture(path).datagrams:
            if is_ipdict(one.data):
                continue
            packet = parse(one.data)
            if packet.mode == Command.GETPUBKEY:
                assert (read_capability(packet.body), write_capability()) == (CAPABLE, packet.body)
                questions += 1
            elif packet.mode == Command.ANSPUBKEY:
                capability, key = read_answer(packet.body)
                assert write_answer(key, capability) == packet.body
                logon = read(packet).logon_text
                assert claimed(logon) == key.fingerprint
                assert fits(logon, key)
                answers += 1
    assert (questions, answers) == (13, 13)


def test_what_two_clients_have_in_common() -> None:
    sha256 = CAPABLE & ~int(Capability.SIGN_SHA1) & ~int(Capability.NOENC_FILEBODY | SET_1024)
    assert common(CAPABLE, CAPABLE) == sha256 == 0x41900004
    assert common(CAPABLE, CAPABLE_1024) == CAPABLE_1024
    assert common(CAPABLE, int(SET_2048 | Capability.SIGN_SHA1)) == 0x20100004
    assert common(CAPABLE, SET_2048) == SET_2048
    assert common(CAPABLE, SET_1024) == 0x20002
    assert common(CAPABLE, 0) == common(CAPABLE, int(Capability.AES_256 | Capability.RSA_1024)) == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.sampled_from([128, 256]), st.data())
def test_answers_that_were_written_are_read_again(
    capability: int, exponent: int, size: int, data: st.DataObject
) -> None:
    modulus = data.draw(st.binary(min_size=size, max_size=size).filter(lambda raw: raw[0] != 0))
    key = PublicKey(exponent, modulus)
    assert read_answer(write_answer(key, capability)) == (capability, key)
    assert key.bits == size * 8


@given(
    st.binary(max_size=600) | st.from_regex(rb"[0-9a-f]{0,9}:[0-9A-F]{0,18}-[0-9a-f]{0,600}", fullmatch=True)
)
@example(b"2:3-" + b"1" * 254)
def test_reading_raises_nothing_but_its_one_error(body: bytes) -> None:
    try:
        _, key = read_answer(body)
    except MalformedPacket:
        return
    assert key.bits in (1024, 2048)
    assert fits("anybody", key)


@given(st.text(max_size=120))
def test_claims_are_sixteen_digits_or_nothing(name: str) -> None:
    assert len(claimed(name)) in (0, 16)
    assert claimed(f"{name.rstrip('-')}-<0123456789abcdef>") == "0123456789abcdef"
