"""A fleet of four relays at three sites: joined by the real command line, and what real clients see of it.

No relay is told of any remote segment: all that crosses comes from the other relays.
"""

from __future__ import annotations

import json
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest

from .crowd import farewell
from .fleet import RELAYS, announcers, undisturbed
from .rig import stays, wait_until
from .sites import TCP, UDP

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Measure
    from .fleet import Fleet

pytestmark = pytest.mark.interop

LINE = 0.05  # seconds one way, for each line: 100 ms from site to site


def test_three_joins_make_a_fleet_of_four(fleet: Fleet, measure: Measure) -> None:
    """r2 was invited by r1, r3 by r2, r1b by r1: r3 and r1b never heard of each other before."""
    measure("three invitations and joins until all are linked", fleet.forming, at_most=20)
    for name in RELAYS:
        assert fleet.peers(name).keys() == set(RELAYS) - {name}
        for secret in ("peer.pem", "fleet.toml"):
            assert stat.S_IMODE((fleet[name].state / secret).stat().st_mode) == 0o600
    for name, host in (("r2", "r1"), ("r3", "r2"), ("r1b", "r1")):
        assert host in fleet.joined[name], "who has joined is told whom"
    listed = fleet["r3"].command_line("peer", "list")  # exit code 0: all are linked
    assert all(name in listed for name in RELAYS)


def test_firewall_rules_name_the_segments_of_the_other_sites(fleet: Fleet) -> None:
    printed = json.loads(fleet["r2"].command_line("firewall", "--json"))
    assert {"10.78.1.0/24", "10.78.3.0/24"} <= set(printed["remote"])


def test_join_rename_and_exit_travel_to_other_sites(fleet: Fleet, measure: Measure) -> None:
    for line in fleet.sites.lines.values():
        line.set(delay=LINE)
    alice = fleet.iptux("c11", "アリス", group="開発")
    carol = fleet.iptux("c21", "carol")
    erin = fleet.iptux("c31", "erin")
    everybody = [alice, carol, erin]
    for client in everybody:
        client.wait_listed(*everybody)

    dave = fleet.iptux("c22", "dave")
    for place, client in (("at the same site", carol), ("at another site", alice), ("at a third site", erin)):
        measure(
            f"listed {place} after the start", client.wait_listed(dave) - dave.started, at_most=1 + 2 * LINE
        )
    measure("lists the others after the start", dave.wait_listed(*everybody) - dave.started, at_most=1)
    fleet.agree([*everybody, dave])

    given = dave.rename("david")
    for client in everybody:
        seen = client.wait("changed", since=given, address=dave.address, name="david")["at"]
    measure("new name listed at the last site", seen - given, at_most=1 + 2 * LINE)
    given = dave.stop()
    for client in everybody:
        gone = client.wait_gone(dave, since=given)
    measure("gone at the last site", gone - given, at_most=1 + 2 * LINE)
    fleet.agree(everybody)


def test_message_and_file_go_directly_and_relays_say_nothing_readable(
    fleet: Fleet, some_file: Path, tmp_path: Path
) -> None:
    words = {"nick": "Quixotic", "group": "Windmills", "host": "rocinante"}
    alice = fleet.iptux("c11", words["nick"], group=words["group"], host=words["host"])
    carol = fleet.iptux("c21", "Dulcinea")
    alice.wait_listed(carol)
    carol.wait_listed(alice)
    alice.say(carol, "directly")
    carol.say(alice, "back again")
    original = some_file.read_bytes()
    assert alice.take_file(carol, some_file, tmp_path / "carol").read_bytes() == original
    assert carol.take_file(alice, some_file, tmp_path / "alice").read_bytes() == original

    passed = list(fleet.sites.backbone())
    clients = {alice.address, carol.address}
    assert any(b"directly" in each.data for each in passed if each.protocol == UDP), "a message is readable"
    assert {each.source for each in passed if each.protocol == UDP} <= clients, "no relay crosses by UDP"
    told = [each for each in passed if each.protocol == TCP and not {each.source, each.to} & clients]
    spoken = b"".join(each.data for each in told)
    assert b"\x17\x03\x03" in spoken, "relays talk, in TLS records"
    for word in [*words.values(), "Dulcinea", "h-c21", "iptux", "root:"]:
        assert word.encode() not in spoken, f"{word} is readable between the relays"


def test_one_of_two_relays_in_a_segment_announces_and_the_other_takes_over(
    fleet: Fleet, measure: Measure
) -> None:
    fleet.settled()
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    carol.wait_listed(alice)
    alice.wait_listed(carol)
    announced = partial(announcers, fleet.sites, carol, "1", carol.started)
    stays(lambda: len(announced()) <= 1, 0.5, "carol is announced once")
    (announcing,) = announced()
    standby = ({"r1", "r1b"} - {announcing}).pop()

    killed = fleet[announcing].kill()
    dave = fleet.iptux("c22", "dave")
    measure(
        "listed by the standby after kill -9 of the other",
        alice.wait_listed(dave, timeout=10) - killed,
        at_most=10,
    )
    assert set(announcers(fleet.sites, dave, "1", killed)) == {standby}
    bob = fleet.iptux("c12", "bob")
    measure("a new neighbour told by the standby", carol.wait_listed(bob) - bob.started, at_most=1)
    given = alice.rename("alicia")
    carol.wait("changed", since=given, address=alice.address, name="alicia")

    back = fleet[announcing].start()
    fleet[announcing].ready()
    fleet.linked(*RELAYS)
    measure("all rosters equal after its restart", fleet.agree([alice, bob, carol, dave], within=15) - back)
    fay = fleet.iptux("c31", "fay")
    alice.wait_listed(fay)
    carol.wait_listed(fay)
    assert len(set(announcers(fleet.sites, fay, "1", fay.started))) == 1, "only one of them announces"
    undisturbed(alice, [carol, dave, fay], carol.started)
    undisturbed(carol, [alice, bob, fay], back)


def test_ipymessenger_gets_users_of_all_sites_in_its_list(fleet: Fleet, measure: Measure) -> None:
    carol = fleet.iptux("c21", "carol")
    erin = fleet.iptux("c31", "erin")
    fleet.agree([carol, erin])
    pim = fleet.ipymessenger("c11", "pim")
    measure("users of two other sites listed", pim.wait_listed(carol, erin) - pim.started, at_most=2)
    carol.wait_listed(pim)
    given = pim.do("send", to=carol.address, text="from ipymessenger")
    assert carol.wait("message", since=given)["text"] == "from ipymessenger"
    pim.stop()
    known = fleet["r1"].users()[pim.address]
    farewell(pim.box, pim.address, known["logon"], known["host"])  # it says none itself


def test_removed_relay_loses_its_sessions_and_its_users_at_once(fleet: Fleet, measure: Measure) -> None:
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    erin = fleet.iptux("c31", "erin")
    alice.wait_listed(carol, erin)
    carol.wait_listed(erin)
    fleet.spoil()
    told = fleet["r1"].command_line("peer", "remove", "r3", "--yes")
    assert "r3" in told
    gone = max(alice.wait_gone(erin), carol.wait_gone(erin))
    removed = fleet.sites.capture.all(wire="1", source=erin.address, mode=2)[0].at
    measure("users of a removed relay gone at the last site", gone - removed, at_most=2)
    for name in ("r1", "r1b", "r2"):
        wait_until(lambda: "r3" not in fleet.peers(name), 2, f"{name} has no peer r3")  # noqa: B023
    wait_until(lambda: not fleet.peers("r3"), 2, "r3 knows that it is alone")
    fay = fleet.iptux("c32", "fay")
    stays(lambda: fay.address not in carol.listed(), 1, "nobody hears what r3 hears")
    assert alice.address in carol.listed()
