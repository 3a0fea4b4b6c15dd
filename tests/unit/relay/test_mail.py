"""What is sent to the relay's own user: its key for who asks, one answer to who writes, and nothing kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from camrelay.ipmsg import pubkey, sealed
from camrelay.ipmsg.command import AUTORETOPT, NOADDLISTOPT, SENDCHECKOPT, Command, Option
from camrelay.ipmsg.ipdict import item
from camrelay.ipmsg.pubkey import CAPABLE, CAPABLE_1024, PublicKey
from camrelay.ipmsg.signed import Author
from camrelay.relay.mail import ANSWERS, BROADCASTOPT
from camrelay.relay.user import SavedUser
from tests.keys import OLD, PEER, RELAY
from tests.unit.relay.reading import Reading
from tests.world import Client, Feiq, Iptux, Plain, RelayNode, Sent, World

if TYPE_CHECKING:
    from camrelay.ipmsg.crypto import PrivateKey

US = "10.1.1.2"
SECRET = "burn after reading"


class Bob(Reading):
    """Has the key that its name says."""

    fingerprint = b"-<3e9baf9cab544e94>"


def scene(old: bool = True) -> tuple[World, RelayNode, Bob]:
    world = World()
    relay = RelayNode(world, (US, "10.1.2.2"))
    relay.start()
    relay.act(relay.relay.adopt(RELAY, world.now, OLD if old else None))
    bob = Bob(world, "10.1.1.12", "bob", logon="bob", host="PC-B")
    bob.start()
    world.run(10)
    return world, relay, bob


def answers(letters: list[Sent]) -> list[Sent]:
    return [sent for sent in letters if sent.mode == Command.SENDMSG]


def modes(letters: list[Sent]) -> list[int]:
    return [sent.mode for sent in letters]


def test_a_message_is_answered_once_and_receipted() -> None:
    world, relay, bob = scene()
    letters = bob.say(US, Command.SENDMSG | SENDCHECKOPT, SECRET.encode())
    assert modes(letters) == [Command.RECVMSG, Command.SENDMSG]
    receipt, answer = (sent.packet for sent in letters)
    assert receipt.body == b"%d" % bob.number
    assert answer.options & (AUTORETOPT | NOADDLISTOPT) == AUTORETOPT | NOADDLISTOPT
    assert not answer.options & SENDCHECKOPT
    text = answer.body.decode()
    assert "camrelay" in text
    assert "help" in text
    assert "know 1 users" in text
    assert len(answer.body) < 1000
    world.run(60)
    assert modes(bob.letters).count(Command.SENDMSG) == 1
    assert relay.relay.counters["messages answered"] == 1


def test_help_is_explained() -> None:
    _, _, bob = scene()
    (answer,) = answers(bob.say(US, Command.SENDMSG, b" Help\n"))
    assert "Refresh" in answer.packet.body.decode()


def test_a_repeated_message_is_receipted_again_and_answered_once() -> None:
    world, _, bob = scene()
    data = bob.plain(Command.SENDMSG | SENDCHECKOPT, b"hello")
    for _ in range(3):
        bob.send(data, US)
        world.run(1)
    assert modes(bob.letters).count(Command.RECVMSG) == 3
    assert modes(bob.letters).count(Command.SENDMSG) == 1


@pytest.mark.parametrize("option", [AUTORETOPT, BROADCASTOPT])
def test_what_is_automatic_or_for_everybody_is_not_answered(option: int) -> None:
    _, _, bob = scene()
    assert bob.say(US, Command.SENDMSG | SENDCHECKOPT | option, b"I am away") == []


def test_two_programs_that_answer_each_other_stop() -> None:
    world, relay, bob = scene()
    for _ in range(30):
        bob.say(US, Command.SENDMSG, b"and you?")
    assert relay.relay.counters["messages answered"] == ANSWERS
    world.run(700)
    assert answers(bob.say(US, Command.SENDMSG, b"still there?"))


@pytest.mark.parametrize("kind", [Plain, Iptux, Feiq, Bob])
def test_the_answer_is_in_the_askers_charset(kind: type[Client]) -> None:
    world, _, _ = scene()
    asker = kind(world, "10.1.1.30", "鈴木")
    asker.start()
    world.run(10)
    begun = world.now
    asker.send(asker.plain(Command.SENDMSG, b"hello"), US)
    world.run(1)
    (answer,) = answers([s for s in world.since(begun) if s.to == asker.address])
    capable = bool(asker.options & Option.CAPUTF8)
    text = answer.packet.body.decode("utf-8" if capable else asker.charset)
    assert bool(answer.packet.options & Option.UTF8) == capable
    assert ("中継" in text) == (kind is not Feiq)


def test_nothing_of_a_message_is_kept_or_told() -> None:
    world, relay, bob = scene()
    bob.say(US, Command.SENDMSG, SECRET.encode())
    assert SECRET not in repr(relay.events)
    assert SECRET.encode() not in b"".join(s.data for s in world.wire if s.sender != bob.address)
    assert all(SECRET.encode() not in user.datagram for user in relay.kill())


def test_a_stranger_is_asked_and_not_answered() -> None:
    world, _, _ = scene()
    begun = world.now
    data = (
        b"1:7:mallory:pc:%d:hello, this is a message that is long enough to be asked back\0" % Command.SENDMSG
    )
    world.put(Sent(world.now, "10.1.1.66", "10.1.1.66", US, data))
    world.run(1)
    assert [s.mode for s in world.since(begun) if s.to == "10.1.1.66"] == [Command.BR_ENTRY]


def test_somebody_elses_name_at_a_known_address_is_not_answered() -> None:
    world, _, bob = scene()
    world.put(Sent(world.now, bob.address, bob.address, US, b"1:7:mallory:pc:32:hello\0"))
    world.run(1)
    assert answers(bob.letters) == []


def test_without_a_key_messages_mean_nothing() -> None:
    world = World()
    relay = RelayNode(world, (US,))
    relay.start()
    bob = Bob(world, "10.1.1.12", "bob")
    bob.start()
    world.run(10)
    assert bob.say(US, Command.SENDMSG | SENDCHECKOPT, b"hello") == []
    assert bob.say(US, Command.GETPUBKEY, b"65920006") == []
    assert relay.relay.counters["ignored: not about presence"] == 2


# -- encrypted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "flags"),
    [(RELAY, 0x41900004), (RELAY, 0x20100004), (OLD, 0x20002), (OLD, 0x1820002)],
)
def test_an_encrypted_message_is_read(key: PrivateKey, flags: int) -> None:
    _, _, bob = scene()
    number = b"%d" % (bob.number + 1)
    body = sealed.write(b"help\0", number, flags, key.public, PEER)
    letters = bob.say(US, Command.SENDMSG | Option.ENCRYPT | Option.UTF8 | SENDCHECKOPT, body)
    assert modes(letters) == [Command.RECVMSG, Command.SENDMSG]
    assert b"Refresh" in letters[1].packet.body


def test_an_encrypted_dictionary_is_read() -> None:
    world, _, bob = scene()
    world.put(Sent(world.now, bob.address, bob.address, US, letter(bob, PEER)))
    world.run(1)
    assert modes(bob.letters) == [Command.RECVMSG, Command.SENDMSG]
    assert bob.letters[0].packet.body == b"1700000777"
    assert b"Refresh" in bob.letters[1].packet.body


def letter(bob: Bob, key: PrivateKey) -> bytes:
    author = Author(key, bob.logon.decode(), "PC-B", "Bob", "Sales", "", bob.options)
    inner = author.sign(Command.SENDMSG, 1_700_000_777, 1_700_000_777, item(b"BODY", b"help"), SENDCHECKOPT)
    return sealed.write_dict(inner, RELAY.public, bytes(16))


def test_a_dictionary_signed_by_another_key_is_not_read() -> None:
    world, relay, bob = scene()
    world.put(
        Sent(world.now, bob.address, bob.address, US, letter(bob, RELAY))
    )  # does not fit the fingerprint
    world.run(1)
    assert bob.letters == []
    assert relay.relay.counters["dropped: not signed by whom it names"] == 1


def test_what_cannot_be_decrypted_is_neither_receipted_nor_answered() -> None:
    _, relay, bob = scene(old=False)
    number = b"%d" % (bob.number + 1)
    body = sealed.write(b"help\0", number, 0x20002, OLD.public)
    assert bob.say(US, Command.SENDMSG | Option.ENCRYPT | SENDCHECKOPT, body) == []
    assert bob.say(US, Command.SENDMSG | Option.ENCRYPT | SENDCHECKOPT, b"41900004:zz:yy") == []
    assert relay.relay.counters["dropped: message that we cannot decrypt"] == 2


# -- keys --------------------------------------------------------------------------------------------------------


def key_of(letters: list[Sent]) -> tuple[int, PublicKey]:
    (answer,) = [sent for sent in letters if sent.mode == Command.ANSPUBKEY]
    return pubkey.read_answer(answer.packet.body)


def test_the_key_of_2048_bits_is_given_to_who_can_use_it() -> None:
    _, _, bob = scene()
    letters = bob.say(US, Command.GETPUBKEY | AUTORETOPT, b"%x" % CAPABLE)
    assert modes(letters) == [Command.ANSPUBKEY]
    assert key_of(letters) == (CAPABLE, RELAY.public)


def test_the_key_of_1024_bits_is_given_to_older_clients() -> None:
    world, _, _ = scene()
    old = Plain(world, "10.1.1.30", "old")
    old.start()
    world.run(5)
    begun = world.now
    old.send(old.plain(Command.GETPUBKEY, b"%x" % CAPABLE_1024), US)
    world.run(1)
    assert key_of([s for s in world.since(begun) if s.to == old.address])[1] == OLD.public


def test_a_fingerprinted_asker_that_cannot_sign_gets_none() -> None:
    _, _, bob = scene()
    assert bob.say(US, Command.GETPUBKEY, b"20002") == []
    assert bob.say(US, Command.GETPUBKEY, b"nonsense") == []


def test_a_stranger_gets_no_key() -> None:
    world, _, _ = scene()
    begun = world.now
    world.put(Sent(world.now, "10.1.1.66", "10.1.1.66", US, b"1:7:m:p:114:65920006\0"))
    world.run(1)
    assert [s for s in world.since(begun) if s.to == "10.1.1.66" and s.mode == Command.ANSPUBKEY] == []


def pin(relay: RelayNode) -> PublicKey | None:
    (user,) = [u for u in relay.relay._context.roster.by_key.values() if u.key[0] == "bob"]
    return user.known_key


def test_the_askers_key_is_asked_for_and_remembered_over_a_restart() -> None:
    world, relay, bob = scene()
    letters = bob.say(US, Command.GETPUBKEY, b"%x" % CAPABLE)
    assert modes(letters) == [Command.GETPUBKEY, Command.ANSPUBKEY]
    assert letters[0].packet.options & AUTORETOPT
    bob.say(US, Command.ANSPUBKEY, pubkey.write_answer(PEER.public))
    assert pin(relay) == PEER.public
    saved = relay.kill()
    assert SavedUser(*saved[0]).pin
    relay.start(saved)
    assert pin(relay) == PEER.public
    relay.act(relay.relay.adopt(RELAY, world.now))
    world.run(10)
    assert modes(bob.say(US, Command.GETPUBKEY, b"%x" % CAPABLE)) == [Command.ANSPUBKEY]  # not asked again


def test_a_key_that_does_not_fit_the_name_or_was_not_asked_for_is_not_remembered() -> None:
    world, relay, bob = scene()
    bob.say(US, Command.ANSPUBKEY, pubkey.write_answer(PEER.public))
    assert pin(relay) is None
    bob.say(US, Command.GETPUBKEY, b"%x" % CAPABLE)
    bob.say(US, Command.ANSPUBKEY, pubkey.write_answer(RELAY.public))
    assert pin(relay) is None
    world.run(20)
    assert relay.relay.counters["dropped: key that we did not ask for"] == 1


def test_the_first_key_of_a_plain_name_stays() -> None:
    class Anna(Bob):
        fingerprint = b""

    world, relay, _ = scene()
    anna = Anna(world, "10.1.1.40", "anna", logon="anna", host="PC-B")
    anna.start()
    world.run(5)
    for key in (PEER, RELAY):
        world.put(Sent(world.now, anna.address, anna.address, US, letter(anna, key)))
        world.run(1)
    assert modes(anna.letters) == [Command.RECVMSG, Command.SENDMSG]
    assert relay.relay.counters["dropped: not signed by whom it names"] == 1


def test_who_only_wrote_from_an_address_gets_nothing_larger_than_it_sent() -> None:
    world, relay, _ = scene()
    mute = Plain(world, "10.1.1.77", "mute", logon="mute")  # it may be forged: nobody there answers
    forged = [mute.presence(Command.BR_ABSENCE), mute.plain(Command.GETPUBKEY, b"65920006")]
    forged.append(mute.plain(Command.SENDMSG | SENDCHECKOPT, b"hello"))
    for data in forged:
        begun = world.now
        mute.send(data, US)
        world.run(1)
        drawn = [s.data for s in world.wire if s.time >= begun and s.sender == US and s.to == mute.address]
        assert sum(map(len, drawn)) <= len(data)
    assert relay.relay.counters["not answered: address not proven"] == 2
