"""The demo: its client, its verdict, and the whole of it once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from camrelay.cli import demo_fleet_outcome as fleet
from camrelay.cli.demo_client import Client, Person
from camrelay.cli.demo_outcome import FLOORS, MESSAGES, QUITS, Delivery, Outcome, document, floor
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build

PEOPLE = [person for people in FLOORS.values() for person in people]


@pytest.fixture
def pair():
    """Two clients at 127.0.0.2 and 127.0.0.3, to whom "everybody" is the other one."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    sockets[0].bind(("127.0.0.2", 0))
    port = sockets[0].getsockname()[1]
    sockets[1].bind(("127.0.0.3", port))
    people = (
        Person("田中", "営業", "tanaka", "pc", "127.0.0.2", "classic", "cp932"),
        Person("佐藤", "開発", "sato", "pc2", "127.0.0.3", "trailer", "cp932"),
    )
    yield [Client(people[0], sockets[0], port, "127.0.0.3"), Client(people[1], sockets[1], port, "127.0.0.2")]
    for made in sockets:
        made.close()


def test_a_hello_is_answered_and_both_list_each_other_by_source_address(pair):
    one, other = pair
    one.enter()
    other.receive()
    one.receive()
    assert other.roster["127.0.0.2"].presence.nick_text == "田中"
    assert one.roster["127.0.0.3"].presence.nick_text == "佐藤"


def test_a_message_is_receipted_to_where_it_came_from(pair):
    one, other = pair
    one.enter()
    other.receive()
    one.receive()
    sent = one.say("127.0.0.3", "お昼?")
    other.receive()
    one.receive()
    assert [(m.source, m.text) for m in other.inbox] == [("127.0.0.2", "お昼?")]
    assert sent.receipt_from == "127.0.0.3"


def test_a_goodbye_takes_off_the_list_and_junk_does_nothing(pair):
    one, other = pair
    one.enter()
    other.receive()
    one.socket.sendto(b"junk", other.socket.getsockname())
    one.leave()
    other.receive()
    assert other.roster == {}
    assert "127.0.0.2" in other.gone


def test_an_exit_of_a_stranger_is_not_counted_as_gone(pair):
    one, other = pair
    one.socket.sendto(build(b"1", 1, b"x", b"y", Command.BR_EXIT), other.socket.getsockname())
    other.receive()
    assert other.gone == {}


def complete() -> Outcome:
    """An outcome as it should be."""
    outcome = Outcome({person.address: Client(person, None) for person in PEOPLE})  # type: ignore[arg-type]
    outcome.seen = dict.fromkeys(outcome.across(), 1.0)
    outcome.missed = {person.address: 1.0 for person in FLOORS["2F"]}
    outcome.exit_code = 0
    by_address = {person.address: person for person in PEOPLE}
    outcome.deliveries = [
        Delivery(by_address[a], by_address[b], text, 0.1, a, 0.2, b) for a, b, text in MESSAGES
    ]
    return outcome


def test_all_well_is_no_problem_and_ok_in_json():
    assert complete().problems() == []
    assert document(complete())["ok"] is True


def test_eighteen_pairs_are_across():
    assert len(complete().across()) == 18
    assert len(complete().same_floor()) == 12
    assert floor(QUITS) == "1F"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda o: o.seen.popitem(),
        lambda o: o.before.update({PEOPLE[0].address: {PEOPLE[-1].address: None}}),
        lambda o: o.missed.clear(),
        lambda o: o.deliveries.pop(),
        lambda o: setattr(o.deliveries[0], "came_from", "192.168.1.2"),
        lambda o: setattr(o.deliveries[0], "receipt_from", ""),
        lambda o: setattr(o, "exit_code", 1),
    ],
)
def test_whatever_goes_wrong_is_named_and_not_ok(spoil):
    outcome = complete()
    spoil(outcome)
    assert outcome.problems()
    assert document(outcome)["ok"] is False


@pytest.mark.interop
def test_the_whole_demo_brings_everybody_together():
    done = subprocess.run(
        [sys.executable, "-m", "camrelay", "demo", "--json"], capture_output=True, check=False
    )
    if b"the demo needs" in done.stderr:
        pytest.skip(done.stderr.decode().strip())
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert done.returncode == 0
    assert found["pairs_across_seen"] == 18
    assert all(len(one["before"]) == 2 and len(one["after"]) == 6 for one in found["lists"])
    assert found["exit_code"] == 0


# Three sites

CAST = [person for people in fleet.SITES.values() for person in people]


def complete_fleet() -> fleet.FleetOutcome:
    """An outcome as it should be."""
    people = [*CAST, fleet.LATECOMER]
    outcome = fleet.FleetOutcome({p.address: Client(p, None) for p in people})  # type: ignore[arg-type]
    by_address = {person.address: person for person in CAST}
    outcome.seen = dict.fromkeys(outcome.pairs(across=True), 1.0)
    outcome.deliveries = [
        Delivery(by_address[a], by_address[b], text, 0.1, a, 0.2, b) for a, b, text in fleet.MESSAGES
    ]
    sender, receiver, text = fleet.MEANWHILE
    outcome.meanwhile = Delivery(by_address[sender], by_address[receiver], text, 0.1, sender, 0.2, receiver)
    outcome.noticed = {name: 1.0 for name in fleet.SITES if name != fleet.DIES}
    outcome.late = dict.fromkeys(fleet.elsewhere(), 1.0)
    outcome.missed = dict.fromkeys(fleet.there(), 1.0)
    outcome.exit_codes = dict.fromkeys(fleet.SITES, 0)
    return outcome


def test_three_sites_all_well_is_no_problem_and_ok_in_json():
    assert complete_fleet().problems() == []
    assert fleet.document(complete_fleet())["ok"] is True


def test_twenty_four_pairs_are_of_different_sites():
    outcome = complete_fleet()
    assert len(outcome.pairs(across=True)) == 24
    assert len(outcome.pairs(across=False)) == 6
    assert fleet.site(fleet.QUITS) != fleet.DIES
    assert fleet.site(fleet.LATECOMER.address) == fleet.DIES


@pytest.mark.parametrize(
    "spoil",
    [
        lambda o: o.seen.popitem(),
        lambda o: o.before.update({CAST[0].address: {CAST[-1].address: None}}),
        lambda o: o.deliveries.pop(),
        lambda o: setattr(o.deliveries[0], "came_from", "192.168.1.2"),
        lambda o: o.noticed.popitem(),
        lambda o: o.too_early.append(CAST[0].address),
        lambda o: setattr(o, "meanwhile", None),
        lambda o: setattr(o.meanwhile, "receipt_from", ""),
        lambda o: o.vanished.add((CAST[0].address, CAST[-1].address)),
        lambda o: o.late.popitem(),
        lambda o: o.missed.popitem(),
        lambda o: o.exit_codes.update(osaka=70),
    ],
)
def test_whatever_goes_wrong_with_three_sites_is_named_and_not_ok(spoil):
    outcome = complete_fleet()
    spoil(outcome)
    assert outcome.problems()
    assert fleet.document(outcome)["ok"] is False


@pytest.mark.interop
def test_the_demo_of_three_sites_brings_a_fleet_together_and_a_killed_relay_back():
    done = subprocess.run(
        [sys.executable, "-m", "camrelay", "demo", "--sites", "3", "--json"], capture_output=True, check=False
    )
    if b"the demo needs" in done.stderr:
        pytest.skip(done.stderr.decode().strip())
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert done.returncode == 0
    assert found["pairs_across_seen"] == 24
    assert [(one["inviter"], one["newcomer"]) for one in found["joins"]] == list(fleet.JOINS)
    assert found["outage"]["vanished"] == 0
    assert set(found["exit_codes"].values()) == {0}
