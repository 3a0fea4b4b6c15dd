"""Each rule of the scripted Windows client by itself."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from camrelay.ipmsg import hostlist, master, pubkey
from camrelay.ipmsg.command import AUTORETOPT, SENDCHECKOPT, Command, Option
from camrelay.ipmsg.ipdict import frame, item, listing
from camrelay.ipmsg.packet import build
from camrelay.ipmsg.signed import Author, Host, pack
from tests.keys import PEER, RELAY
from tests.windows import Windows499
from tests.windows_table import LOGGED
from tests.world import Iptux, Plain, Sent, World

if TYPE_CHECKING:
    from camrelay.ipmsg.crypto import PrivateKey

USUAL = 0x0F640000
RELAY_AT = "10.1.2.2"  # behind a router, as seen from 10.1.1.*
NUMBERS = count(1000)


def scene(master: str = "") -> tuple[World, Windows499]:
    world = World()
    bob = Windows499(world, "10.1.1.12", "bob", logon="bob", host="bobs-pc", master=master)
    bob.start()
    world.run(12)
    return world, bob


def author(key: PrivateKey = RELAY, logon: str = "", host: str = "relay") -> Author:
    name = logon or pubkey.signed_name("camrelay", key.public)
    return Author(key, name, host, "relay", "", "", 0x03400000)


def carol(**more: Any) -> Host:
    usual = Host("carol", "pc-c", USUAL, True, "10.1.3.13", 2425, "Carol", "sales", "")
    return usual._replace(**more)


def signed_list(*hosts: Host, by: Author | None = None) -> bytes:
    data, following = pack(by or author(), hosts, 0, next(NUMBERS), 7)
    assert not following
    return data


def give(world: World, to: Windows499, data: bytes, source: str = RELAY_AT, wait: float = 0.01) -> list[Sent]:
    """What the client sends because of it."""
    begun = world.now
    world.put(Sent(world.now, source, source, to.address, data))
    world.run(wait)
    return [sent for sent in world.since(begun) if sent.sender == to.address]


def says(
    mode: int, logon: str = "dora", nick: str = "Dora", number: int = 0, body: bytes | None = None
) -> bytes:
    named = nick.encode() if body is None else body
    return build(b"1", number or next(NUMBERS), logon.encode(), b"pc-d", mode, named, b"sales")


# -- signed lists --------------------------------------------------------------------------------------------------


def test_a_signed_list_of_a_stranger_is_taken_with_no_setting_and_unanswered() -> None:
    world, bob = scene()
    assert give(world, bob, signed_list(carol(), carol(logon="dave", address="10.1.3.14", nick="Dave"))) == []
    assert bob.listed == {bob.address: "bob", "10.1.3.13": "Carol", "10.1.3.14": "Dave"}


def test_act_0_removes_by_address_and_port_whatever_the_name() -> None:
    world, bob = scene()
    give(world, bob, signed_list(carol()))
    give(world, bob, signed_list(carol(present=False, port=30985)))
    assert "10.1.3.13" in bob.listed
    give(world, bob, signed_list(carol(present=False, logon="x", host="y")))
    assert "10.1.3.13" not in bob.listed


def test_a_list_element_without_act_removes() -> None:
    world, bob = scene()
    give(world, bob, signed_list(carol()))
    element = carol().write().replace(b":ACT:1:1", b"")
    extra = b":".join((item(b"HLST", listing([element])), b"START:1:0:NUM:1:1:TOTAL:1:1"))
    give(world, bob, author().sign(Command.ANSLIST_DICT, next(NUMBERS), 7, extra))
    assert "10.1.3.13" not in bob.listed


@pytest.mark.parametrize("number", [b"NUM:1:2", b"NUM:1:0", b"TOTAL:1:1"])
def test_a_list_with_another_number_of_users_is_dropped(number: bytes) -> None:
    world, bob = scene()
    extra = b":".join((item(b"HLST", listing([carol().write()])), number))
    give(world, bob, author().sign(Command.ANSLIST_DICT, next(NUMBERS), 7, extra))
    assert list(bob.listed) == [bob.address]
    assert bob.ignored["list of another length"] == 1


def test_a_list_that_is_not_signed_or_not_well_is_dropped() -> None:
    world, bob = scene()
    data = signed_list(carol())
    give(world, bob, data.replace(b"Carol", b"Karol"))
    assert bob.keys.refused["bad signature"] == 1
    extra = b":".join((item(b"HLST", listing([carol().write()])), b"START:1:0:NUM:1:1:TOTAL:1:1"))
    give(world, bob, frame(author().write(Command.ANSLIST_DICT, next(NUMBERS), 7, extra)))
    assert bob.ignored["not signed"] == 1
    assert list(bob.listed) == [bob.address]


def test_the_first_key_of_a_name_is_its_only_one_even_after_a_restart() -> None:
    world, bob = scene()
    first, second = author(RELAY, "relay"), author(PEER, "relay")
    give(world, bob, signed_list(carol(), by=first))
    bob.kill()
    world.run(5)
    bob.start()
    world.run(5)
    give(world, bob, signed_list(carol(), by=second))
    assert "10.1.3.13" not in bob.listed
    assert bob.keys.refused["another key than the first"] == 1
    give(world, bob, signed_list(carol(), by=first))
    assert "10.1.3.13" in bob.listed


def test_a_key_that_does_not_fit_the_fingerprint_in_the_name_is_refused_and_forgotten() -> None:
    world, bob = scene()
    name = pubkey.signed_name("camrelay", RELAY.public)
    give(world, bob, signed_list(carol(), by=author(PEER, name)))
    assert "10.1.3.13" not in bob.listed
    give(world, bob, signed_list(carol(), by=author(RELAY, name)))
    assert "10.1.3.13" in bob.listed


def test_a_strict_client_without_a_master_takes_no_list() -> None:
    world, bob = scene()
    bob.master_strict = True
    give(world, bob, signed_list(carol()))
    assert list(bob.listed) == [bob.address]


def test_a_list_from_another_than_its_master_is_taken_too() -> None:
    world, bob = scene(master="10.1.9.9")
    give(world, bob, signed_list(carol()))
    assert "10.1.3.13" in bob.listed


def test_a_user_with_a_fingerprint_that_does_not_encrypt_is_left_out() -> None:
    world, bob = scene()
    name = pubkey.signed_name("carol", PEER.public)
    give(world, bob, signed_list(carol(logon=name, status=USUAL & ~Option.ENCRYPT)))
    give(world, bob, says(Command.ANSENTRY, logon=name), "10.1.1.14")
    assert list(bob.listed) == [bob.address]
    give(world, bob, says(Command.ANSENTRY | Option.ENCRYPT, logon=name), "10.1.1.14")
    assert bob.listed["10.1.1.14"] == "Dora"


# -- identity ------------------------------------------------------------------------------------------------------


def test_a_known_name_moves_only_after_seven_quiet_seconds() -> None:
    world, bob = scene()
    give(world, bob, says(Command.ANSENTRY), "10.1.1.14")
    for _ in range(4):
        world.run(4)
        give(world, bob, says(Command.ANSENTRY, nick="elsewhere"), "10.1.1.15")
    assert bob.listed == {bob.address: "bob", "10.1.1.14": "elsewhere"}
    world.run(8)
    give(world, bob, says(Command.ANSENTRY), "10.1.1.15")
    assert bob.listed == {bob.address: "bob", "10.1.1.15": "Dora"}


def test_a_new_name_at_an_address_replaces_who_was_there() -> None:
    world, bob = scene()
    give(world, bob, says(Command.ANSENTRY), "10.1.1.14")
    give(world, bob, says(Command.BR_ABSENCE, logon="emil", nick="Emil"), "10.1.1.14")
    assert bob.listed["10.1.1.14"] == "Emil"
    assert len(bob.table) == 2


def test_a_user_under_two_names_or_at_two_ports_is_shown_twice() -> None:
    world, bob = scene()
    give(world, bob, signed_list(carol(), carol(logon="carol too", address="10.1.3.14")))
    assert bob.table.twice() == ["Carol"]
    world, bob = scene()
    give(world, bob, signed_list(carol(), carol(logon="CAROL", port=30985)))
    assert bob.table.twice() == []  # the same name in another case is the same user


def test_its_own_name_from_another_address_is_ignored() -> None:
    world, bob = scene()
    data = build(b"1", 5, bob.logon, bob.host, Command.BR_ENTRY | USUAL, b"I", b"")
    assert give(world, bob, data, "10.1.1.99", wait=2) == []
    assert list(bob.listed) == [bob.address]
    assert bob.ignored["own name from elsewhere"] == 1


def test_an_exit_removes_by_address() -> None:
    world, bob = scene()
    give(world, bob, says(Command.ANSENTRY), "10.1.1.14")
    give(world, bob, says(Command.BR_EXIT, logon="somebody else"), "10.1.1.14")
    assert "10.1.1.14" not in bob.listed


# -- the log of what was seen ----------------------------------------------------------------------------------------


def test_an_entry_with_the_number_of_a_logged_packet_is_ignored_and_presence_is_not_logged() -> None:
    world, bob = scene()
    give(world, bob, says(Command.NOOPERATION, number=77), "10.1.1.14")
    give(world, bob, says(Command.BR_ENTRY, number=77), "10.1.1.14")
    assert "10.1.1.14" not in bob.listed
    give(world, bob, says(Command.BR_ENTRY, number=78), "10.1.1.14")
    give(world, bob, says(Command.BR_EXIT, number=78), "10.1.1.14")
    give(world, bob, says(Command.BR_ENTRY, number=78), "10.1.1.14")
    assert "10.1.1.14" in bob.listed


def test_a_wrapped_list_is_taken_once_until_32_others_came() -> None:
    world, bob = scene()
    wrapped = author().sign(Command.DIR_PACKET, next(NUMBERS), 7, master.wrap(signed_list(carol())))
    for others in (0, LOGGED - 1, LOGGED):
        give(world, bob, wrapped)
        assert ("10.1.3.13" in bob.listed) is (others != LOGGED - 1)
        give(world, bob, signed_list(carol(present=False)))
        for _ in range(LOGGED - 2 if not others else LOGGED):
            give(world, bob, says(Command.NOOPERATION), "10.1.1.14")


def test_a_list_with_a_number_that_was_seen_is_ignored() -> None:
    world, bob = scene()
    number = next(NUMBERS)
    give(world, bob, author().sign(Command.DIR_EVBROAD, number, 7))
    data, _ = pack(author(), [carol()], 0, number, 7)
    give(world, bob, data)
    assert "10.1.3.13" not in bob.listed


# -- start and refresh -----------------------------------------------------------------------------------------------


def test_it_starts_with_a_warm_up_and_says_its_entry_twice() -> None:
    world = World()
    bob = Windows499(world, "10.1.1.12", "bob")
    begun = world.now
    bob.start()
    world.run(60)
    said = [(round(s.time - begun, 2), s.mode, s.to) for s in world.wire]
    every = "10.1.1.255"
    assert said == [(0.0, 0, every), (0.25, 1, every), (5.25, 1, every)]
    assert len({s.packet.number for s in world.wire}) == 3


@pytest.mark.parametrize(("after", "listed"), [(3, {"old", "new"}), (8, {"new"}), (20, set())])
def test_a_refresh_empties_the_window_at_most_every_ten_seconds(after: float, listed: set[str]) -> None:
    world, bob = scene()
    bob.refresh()
    world.run(0.5)
    give(world, bob, signed_list(carol(nick="old")))
    world.run(after - 1)
    bob.table.by_name["carol", "pc-c"].updated -= 10
    give(world, bob, signed_list(carol(logon="n", nick="new", address="10.1.3.14")))
    begun = world.now
    bob.refresh()
    world.run(0.1)
    assert set(bob.listed.values()) - {"bob"} == listed
    assert bool(world.since(begun)) is (after > 5)


def classic(nick: str, address: str, following: int = 0) -> bytes:
    entry = hostlist.Entry(b"u" + address.encode(), b"h", USUAL, address, 2425, nick.encode(), b"")
    body, _ = hostlist.pack([entry], 0)
    return build(
        b"1", next(NUMBERS), b"relay", b"r", Command.ANSLIST | Option.UTF8, b"%5d" % following + body[5:]
    )


def test_one_list_that_nobody_asked_for_is_taken_per_start_or_refresh() -> None:
    world, bob = scene()
    for round_ in range(2):
        give(world, bob, classic("first", f"10.1.3.{round_ + 1}1"))
        give(world, bob, classic("second", f"10.1.3.{round_ + 1}2"))
        assert set(bob.listed) - {bob.address} == {f"10.1.3.{round_ + 1}1"}
        world.run(12)
        bob.refresh()
        world.run(1)
    assert bob.ignored["list outside its window"] == 2


def test_a_list_in_parts_is_asked_for_to_its_end() -> None:
    world, bob = scene()
    (asked,) = give(world, bob, classic("first", "10.1.3.1", following=5))
    assert (asked.mode, asked.packet.body, asked.to) == (Command.GETLIST, b"5", RELAY_AT)
    assert give(world, bob, classic("second", "10.1.3.2")) == []
    assert len(bob.listed) == 3


def test_signed_lists_need_no_window() -> None:
    world, bob = scene()
    give(world, bob, classic("first", "10.1.3.1"))
    give(world, bob, signed_list(carol()))
    assert len(bob.listed) == 3


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("users", "most"), [(10, 1.03), (100, 2.06), (400, 4.11)])
def test_answers_wait_longer_the_longer_the_list_is(users: int, most: float) -> None:
    waits = []
    for seed in range(30):
        world = World(seed=seed)
        bob = Windows499(world, "10.1.1.12", "bob")
        bob.start()
        world.run(6)
        for n in range(users):
            bob.table.add(
                bob.itself().__class__(f"u{n}", "h", USUAL, f"10.1.{4 + n // 250}.{n % 250}", 2425, "n", "g"),
                world.now,
                entry=False,
                by_list=True,
            )
        (answer,) = give(world, bob, says(Command.BR_ENTRY), "10.1.1.14", wait=5)
        waits.append(answer.time - world.now + 5)
    assert max(waits) <= most
    assert max(waits) > most * 0.75


def test_one_answer_for_two_entries_that_come_while_it_waits() -> None:
    world, bob = scene()
    give(world, bob, says(Command.BR_ENTRY), "10.1.1.14", wait=0)
    answers = give(world, bob, says(Command.BR_ENTRY), "10.1.1.14", wait=3)
    assert [answer.mode for answer in answers] == [Command.ANSENTRY]


def test_neither_announcements_nor_answers_are_answered() -> None:
    world, bob = scene()
    assert give(world, bob, says(Command.BR_ABSENCE), "10.1.1.14", wait=5) == []
    assert give(world, bob, says(Command.ANSENTRY, logon="emil"), "10.1.1.15", wait=5) == []
    assert len(bob.listed) == 3


def test_who_enters_by_dial_up_hears_of_changes_until_it_is_removed() -> None:
    world, bob = scene()
    give(world, bob, says(Command.BR_ENTRY | Option.DIALUP), RELAY_AT, wait=5)
    begun = world.now
    bob.rename("robert")
    world.run(1)
    assert [s.mode for s in world.since(begun) if s.to == RELAY_AT] == [Command.BR_ABSENCE]
    bob.refresh()
    assert bob.dialup == set()


def test_questions_are_answered_and_not_seen() -> None:
    world, bob = scene()
    listed = dict(bob.listed)
    (info,) = give(world, bob, says(Command.GETINFO))
    assert (info.mode, info.packet.body) == (Command.SENDINFO, b"Win(en)Ver4.99r3(x64)")
    (key,) = give(world, bob, says(Command.GETPUBKEY | AUTORETOPT, body=b"65920006"))
    assert pubkey.read_answer(key.packet.body)[1] == PEER.public
    (found,) = give(world, bob, says(Command.GETLIST, body=b"0"))
    assert [entry.nick for entry in hostlist.unpack(found.packet.body)[1]] == [b"bob"]
    (offer,) = give(world, bob, says(Command.BR_ISGETLIST2))
    assert offer.mode == Command.OKGETLIST
    assert bob.listed == listed


def test_a_stranger_s_message_makes_it_ask_who_that_is() -> None:
    world, bob = scene()
    sent = give(world, bob, says(Command.SENDMSG | SENDCHECKOPT))
    assert [one.mode for one in sent] == [Command.RECVMSG, Command.BR_ENTRY]
    assert give(world, bob, says(Command.SENDMSG | 0x00080000)) == []
    assert give(world, bob, says(Command.SENDMSG | AUTORETOPT)) == []
    assert len(bob.messages) == 3


def test_the_key_of_a_member_master_is_asked_for() -> None:
    world, bob = scene()
    name = pubkey.signed_name("m", RELAY.public)
    status = USUAL | Option.DIR_MASTER
    (asked,) = give(world, bob, says(Command.ANSENTRY | status, logon=name))
    assert asked.packet.command == Command.GETPUBKEY | AUTORETOPT
    answer = pubkey.write_answer(RELAY.public)
    give(world, bob, says(Command.ANSPUBKEY, logon=name, body=answer))
    assert give(world, bob, says(Command.ANSENTRY | status, logon=name)) == []


# -- others ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Plain, Iptux])
def test_clients_that_know_no_dictionaries_misread_them(kind: type[Plain] | type[Iptux]) -> None:
    world = World()
    client = kind(world, "10.1.1.12", "bob")
    client.start()
    world.put(Sent(world.now, RELAY_AT, RELAY_AT, client.address, signed_list(carol())))
    world.run(1)
    assert client.misreadings == 1
    assert client.listed[RELAY_AT] == "VER"
