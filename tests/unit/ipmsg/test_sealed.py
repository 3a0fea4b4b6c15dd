"""Encrypted messages: the vectors both ways, and one error for what is damaged or not for us."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.crypto import verify_dict
from camrelay.ipmsg.ipdict import IPDict, decode, encode
from camrelay.ipmsg.packet import is_ipdict
from camrelay.ipmsg.pubkey import CAPABLE, CAPABLE_1024, common
from camrelay.ipmsg.sealed import Message, is_sealed, read, read_dict, write, write_dict
from camrelay.ipmsg.signed import read as header
from camrelay.ipmsg.signed import signer
from tests.keys import LIST, OLD, PEER, RELAY, VECTORS
from tests.pcap import CAPTURES, capture

NUMBER = b"1700000000"
HELLO = b"hello from camrelay\0"
STRONG_BODY, SHA1_BODY, OLD_HEX, OLD_BASE64 = (one["body"].encode() for one in VECTORS["enc"])
SEALED = bytes.fromhex(VECTORS["encdict"]["hex"])
INNER = bytes.fromhex(VECTORS["encdict"]["inner_hex"])
KEYS = (PEER, OLD)

vectors = pytest.mark.parametrize("vector", VECTORS["enc"], ids=lambda vector: vector["flags"])


@vectors
def test_encrypted_vector_is_read(vector: dict[str, Any]) -> None:
    message = read(vector["body"].encode(), NUMBER, KEYS)
    assert message.plain == bytes.fromhex(vector["plaintext_hex"]) == HELLO
    assert message.text == b"hello from camrelay"
    assert message.flags == int(vector["flags"], 16)
    assert message.is_by(RELAY.public) is bool(vector["sig"])
    assert not message.is_by(PEER.public)


@vectors
def test_encrypted_vector_is_written(vector: dict[str, Any]) -> None:
    """All but the encrypted session key, which never comes out twice the same."""
    flags, old = int(vector["flags"], 16), vector["sig"] is None
    session = bytes.fromhex(vector["session_key"])
    body = write(HELLO, NUMBER, flags, (OLD if old else PEER).public, by=RELAY, session=session)
    ours, theirs = body.decode().split(":"), vector["body"].split(":")
    assert (ours[0], *ours[2:]) == (theirs[0], *theirs[2:])
    assert ours[2] == vector["deterministic_body_part"]
    assert len(ours[1]) == len(theirs[1])
    assert read(body, NUMBER, KEYS).plain == HELLO


def test_an_answer_to_the_real_client_takes_the_strong_set() -> None:
    body = write(HELLO, b"7", common(CAPABLE, CAPABLE), PEER.public, by=RELAY)
    assert body.startswith(b"41900004:")
    message = read(body, b"7", KEYS)
    assert (message.plain, message.is_by(RELAY.public)) == (HELLO, True)
    assert body != write(HELLO, b"7", common(CAPABLE, CAPABLE), PEER.public, by=RELAY)


def test_the_packet_number_is_part_of_it() -> None:
    for body in (STRONG_BODY, OLD_BASE64):
        try:
            assert read(body, b"1800000000", KEYS).plain != HELLO
        except MalformedPacket:
            continue
    for body in (SHA1_BODY, OLD_HEX):
        assert read(body, b"5", KEYS).plain == HELLO


def test_attachments_and_addressees_stay_behind_the_text() -> None:
    plain = b"text\0" + b"0:a.txt:1:2:1:\a\0" + b"TO:bob:PC-B\a\0"
    message = read(write(plain, NUMBER, 0x41900004, PEER.public, by=RELAY), NUMBER, KEYS)
    assert (message.text, message.plain) == (b"text", plain)


def test_a_changed_text_or_signature_is_not_by_anybody() -> None:
    message = read(STRONG_BODY, NUMBER, KEYS)
    assert not message._replace(plain=b"hello from camrelay!\0").is_by(RELAY.public)
    assert not message._replace(signature=bytes(256)).is_by(RELAY.public)
    assert not message._replace(signature=b"").is_by(RELAY.public)
    assert not message._replace(flags=0x100004).is_by(RELAY.public)
    assert not message._replace(flags=0x20100004).is_by(RELAY.public)
    assert not Message(HELLO, 0x20002, b"").is_by(OLD.public)


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"41900004", b"41900004:", b"41900004::", b"x:1:2", b"0x4:1:2", b":1:2", b"100004:1:2",
     b"100004:zz:zz", b"100004:00:00", b"0:00:00", b"100002:00:00", b"20004:00:00", b"120006:00:00",
     b"41900004:AA==:!!!!", b"41900004:AA:AA==", SHA1_BODY[:-1], SHA1_BODY.replace(b":", b":00", 1),
     OLD_HEX[:-2], STRONG_BODY.replace(b"41900004", b"40900004"), b"123456789:00:00"],
    ids=range(22),
)  # fmt: skip
def test_what_is_no_message_for_us_is_said_in_one_line(body: bytes) -> None:
    with pytest.raises(MalformedPacket) as caught:
        read(body, NUMBER, KEYS)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_a_key_that_we_have_not_opens_nothing() -> None:
    with pytest.raises(MalformedPacket, match="2048 bits, and we have none"):
        read(STRONG_BODY, NUMBER, (OLD,))
    with pytest.raises(MalformedPacket, match="1024 bits, and we have none"):
        read(OLD_HEX, NUMBER, ())
    with pytest.raises(MalformedPacket, match="not encrypted to this key"):
        read(STRONG_BODY, NUMBER, (RELAY,))


def test_a_message_is_not_written_to_a_key_of_the_wrong_size() -> None:
    with pytest.raises(MalformedPacket, match="1024 bits where one of 2048"):
        write(HELLO, NUMBER, 0x41900004, OLD.public, by=RELAY)
    with pytest.raises(MalformedPacket, match="2048 bits where one of 1024"):
        write(HELLO, NUMBER, CAPABLE_1024, PEER.public)
    with pytest.raises(MalformedPacket, match="not known"):
        write(HELLO, NUMBER, 0, PEER.public)


def test_encrypted_dictionary_vector_is_read() -> None:
    outer = decode(SEALED)
    assert is_sealed(outer)
    inner = read_dict(outer, (OLD, PEER))
    assert encode(inner) == INNER
    packet = header(inner)
    assert (packet.logon, packet.number, inner.text(b"BODY")) == (
        "camrelay-<8afb10eea9bae83c>",
        1700000006,
        "hello",
    )
    assert signer(packet) == RELAY.public


def test_encrypted_dictionary_vector_is_written() -> None:
    vector = VECTORS["encdict"]
    sealed = write_dict(INNER, PEER.public, bytes.fromhex(vector["iv"]), bytes.fromhex(vector["aes_key"]))
    ours, theirs = decode(sealed), decode(SEALED)
    assert list(ours) == list(theirs)
    assert all(ours[key] == theirs[key] for key in (b"EF", b"EI", b"EB"))
    assert len(sealed) == vector["len"]
    assert encode(read_dict(ours, KEYS)) == INNER
    assert encode(read_dict(decode(write_dict(INNER, PEER.public, bytes(16))), KEYS)) == INNER


@pytest.mark.parametrize(
    "changes",
    [{b"EF": b""}, {b"EF": b"100004"}, {b"EI": b""}, {b"EI": bytes(15)}, {b"EK": b""}, {b"EK": bytes(256)},
     {b"EB": b""}, {b"EB": bytes(40)}, {b"EI": bytes(16)}],
    ids=range(9),
)  # fmt: skip
def test_a_damaged_encrypted_dictionary_is_an_error(changes: dict[bytes, bytes]) -> None:
    with pytest.raises(MalformedPacket):
        read_dict(IPDict(decode(SEALED) | changes), KEYS)


def test_only_encrypted_dictionaries_are_sealed() -> None:
    assert not is_sealed(decode(LIST))
    with pytest.raises(MalformedPacket, match="without EF"):
        read_dict(IPDict(), KEYS)


def test_encrypted_dictionaries_of_the_real_client_have_this_form() -> None:
    """They are for keys that nobody has any more; their outside is what it should be."""
    found = 0
    for path in CAPTURES:
        for one in capture(path).datagrams:
            if is_ipdict(one.data) and is_sealed(fields := decode(one.data)):
                assert list(fields) == [b"EF", b"EI", b"EK", b"EB"]
                assert [len(fields[key]) for key in (b"EI", b"EK")] == [16, 256]
                assert not verify_dict(fields)
                with pytest.raises(MalformedPacket, match="not encrypted to this key"):
                    read_dict(fields, KEYS)
                found += 1
    assert found == 6


@settings(max_examples=60)
@given(st.sampled_from([STRONG_BODY, SHA1_BODY, OLD_HEX, OLD_BASE64]), st.data())
def test_damage_raises_nothing_but_the_one_error(body: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(body) - 1))
    damaged = (
        body[:position] + data.draw(st.binary(max_size=3)) + body[position + data.draw(st.integers(0, 3)) :]
    )
    try:
        message = read(damaged, NUMBER, KEYS)
    except MalformedPacket:
        return
    assert not message.is_by(RELAY.public) or message.plain == HELLO


@settings(max_examples=40)
@given(
    st.sampled_from([0x41900004, 0x20100004, 0x100004, 0x20002, 0x1820002]),
    st.binary(max_size=200),
    st.integers(0),
)
def test_what_was_written_is_read_again(flags: int, plain: bytes, number: int) -> None:
    text = b"%d" % number
    to = PEER if flags & 4 else OLD
    message = read(write(plain, text, flags, to.public, by=RELAY), text, KEYS)
    assert (message.plain, message.flags) == (plain, flags)
    assert message.is_by(RELAY.public) is bool(flags & 0x60000000)
