"""``trace peer`` and ``trace path`` on a virtual LAN: each fault of the way between two relays has its own facts."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from camrelay.daemon.tracing.between import Trace, _end, _relay_of
from camrelay.daemon.tracing.naming import Target
from camrelay.daemon.tracing.numbered import LARGE_BYTES
from camrelay.daemon.tracing.pair import SHARED, measure
from camrelay.daemon.tracing.shown import shown
from camrelay.ipmsg.command import Command
from camrelay.trace.facts import Fact
from camrelay.trace.judge import judge
from tests.linked import Box, Linked, two
from tests.unit.daemon.test_service import Client, clients

if TYPE_CHECKING:
    from pathlib import Path

    from camrelay.daemon.tracing import Stand
    from camrelay.relay.outputs import Transmit
    from camrelay.relay.user import User

HEALTHY = {
    "udp": "passes",
    "large": "passes",
    "mtu": "full",
    "tcp": "open",
    "calls": "open",
    "source": "same",
    "speak-own": "arrives",
    "speak-foreign": "arrives",
    "path": "reaches",
}


async def nobody(event: object) -> None:
    await trio.lowlevel.checkpoint()


async def outcomes(hq: Box, branch: Box, role: str = "") -> dict[str, str]:
    facts = await measure(hq.stand, branch.id, nobody, role, sockets=hq.sockets)
    return {fact.check: fact.outcome for fact in facts}


def sound(**but: str) -> dict[str, str]:
    """All is well, but for these ("udp_out")."""
    found = {"link": "linked"}
    found |= {check + end: outcome for check, outcome in HEALTHY.items() for end in ("-out", "-in")}
    return found | {check.replace("_", "-"): outcome for check, outcome in but.items()}


def traced(transmit: Transmit) -> bool:
    return b"camrelay trace" in transmit.data


async def test_a_sound_way_has_sound_facts_in_order_and_is_told_as_it_is_found(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        told: list[Any] = []

        async def tell(event: object) -> None:
            told.append(event)

        began = trio.current_time()
        facts = await measure(hq.stand, branch.id, tell, sockets=hq.sockets)
        assert trio.current_time() - began < 10
        assert {fact.check: fact.outcome for fact in facts} == sound()
        assert [fact.check for fact in facts][:4] == ["link", "udp-out", "udp-in", "large-out"]
        assert facts[1].detail == {"sent": 20, "received": 20, "jitter_ms": 0.0, "lost_percent": 0, "ms": 0.0}
        begun = {event["begun"] for event in told if "begun" in event}
        assert begun == {f"{check}-{way}" for check in ("udp", "large", "source", "mtu", "tcp", "calls", "path")
                         for way in ("out", "in")}  # fmt: skip
        assert sorted(event["fact"].check for event in told if "fact" in event) == sorted(sound())
        assert not judge("pair", facts)
        assert branch.peers.links.counters.get("trace questions of peers refused") is None


@pytest.mark.parametrize("way", ["out", "in"])
async def test_udp_that_does_not_pass_in_one_direction(tmp_path: Path, way: str) -> None:
    async with two(tmp_path) as (hq, branch):
        lost = hq.address if way == "out" else branch.address
        hq.net.network.lose = lambda sender, transmit: sender == lost and transmit.port == 2425
        silent = dict.fromkeys(
            (f"{check}-{way}" for check in ("large", "mtu", "source", "speak-own", "speak-foreign")),
            "not-checked",
        )
        assert await outcomes(hq, branch) == sound() | silent | {
            f"udp-{way}": "silent",
            f"path-{way}": "stops",
        }


async def test_loss(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        seen = [0]

        def lose(sender: str, transmit: Transmit) -> bool:
            seen[0] += traced(transmit)
            return sender == hq.address and traced(transmit) and seen[0] % 10 == 0

        hq.net.network.lose = lose
        facts = await measure(hq.stand, branch.id, nobody, sockets=hq.sockets)
        found = {fact.check: fact for fact in facts}
        assert found["udp-out"].outcome == "lossy"
        assert 5 <= found["udp-out"].detail["lost_percent"] <= 30
        assert found["udp-in"].outcome == "passes"
        assert {fact.check: fact.outcome for fact in facts} == sound(udp_out="lossy")


async def test_fragments_are_lost(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        hq.net.network.lose = lambda sender, transmit: len(transmit.data) >= LARGE_BYTES
        assert await outcomes(hq, branch) == sound(large_out="lost", large_in="lost")


async def test_a_black_hole(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        branch.sockets.most = 1400
        assert await outcomes(hq, branch) == sound(mtu_in="black-hole")


async def test_sources_that_are_not_ours_are_dropped(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        hq.net.network.lose = lambda sender, transmit: (
            sender == hq.address and traced(transmit) and transmit.speak_as is not None
        )
        assert await outcomes(hq, branch) == sound(speak_own_out="dropped", speak_foreign_out="dropped")


async def test_only_sources_of_third_networks_are_dropped(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        hq.net.network.lose = lambda sender, transmit: (transmit.speak_as or "").startswith("192.0.2.")
        assert await outcomes(hq, branch) == sound(speak_foreign_out="dropped", speak_foreign_in="dropped")


async def test_who_may_not_speak_as_others_is_not_blamed_on_the_way(tmp_path: Path) -> None:
    async with two(tmp_path, can_speak=False) as (hq, branch):
        found = await outcomes(hq, branch)
        spoken = {check: outcome for check, outcome in found.items() if check.startswith("speak")}
        assert set(spoken.values()) == {"not-checked"}
        assert found == sound() | spoken


async def test_translated_addresses(tmp_path: Path) -> None:
    net = Linked(tmp_path)
    hq, branch = Box(net, "hq", "10.1.0.1"), Box(net, "branch", "10.2.0.1")
    net.network.translate = {"10.1.0.1": "10.2.0.254"}
    async with net.up(hq, branch):
        hq.net.network.hosts[0].plug("10.2.0.254/24")  # so that what comes back finds its way
        facts = await measure(hq.stand, branch.id, nobody, sockets=hq.sockets)
        (out,) = [fact for fact in facts if fact.check == "source-out"]
        assert (out.outcome, out.detail) == ("other", {"ours": "10.1.0.1", "seen": "10.2.0.254"})


async def test_tcp_silent_and_refused(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        hq.sockets.silent_tcp = True
        branch.sockets.refused = {2425}
        assert await outcomes(hq, branch) == sound(tcp_out="silent", tcp_in="refused")


async def test_call_ports_closed_and_in_use(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        hq.net.network.lose = lambda sender, transmit: (
            sender == hq.address and transmit.port in (22224, 22229)
        )
        hq.sockets.busy = set(range(22224, 22230))
        facts = await measure(hq.stand, branch.id, nobody, sockets=hq.sockets)
        found = {fact.check: fact for fact in facts}
        assert {fact.check: fact.outcome for fact in facts} == sound(calls_out="some", calls_in="not-checked")
        assert found["calls-out"].detail == {"open": [22225, 22226, 22227, 22228], "closed": [22224, 22229]}


async def test_a_relay_that_is_away_is_looked_at_from_here(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        hq.net.cut = True
        hq.ends()
        await trio.sleep(1)
        assert await outcomes(hq, branch) == {"link": "away", "tcp-out": "open", "path-out": "stops"}


async def test_a_link_that_ends_meanwhile(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        found: dict[str, str] = {}

        async def look() -> None:
            found.update(await outcomes(hq, branch))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(1)
            hq.net.cut = True
            hq.ends()
        assert found["link"] == "linked"
        assert {found["udp-out"], found["udp-in"], found["tcp-in"], found["calls-out"]} == {"not-checked"}
        assert found["tcp-out"] == "open"


async def test_an_older_relay(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        branch.peers.links.traced = lambda peer, message: None
        began = trio.current_time()
        found = await outcomes(hq, branch)
        assert found["link"] == "linked"
        assert found["udp-out"] == found["udp-in"] == "not-checked"
        assert trio.current_time() - began < 45


async def test_traces_to_one_place_share_what_was_measured(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        found: list[dict[str, str]] = []

        async def look(role: str) -> None:
            found.append(await outcomes(hq, branch, role))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(look, "pair")
        took = trio.current_time() - began
        asked = branch.peers.links.counters["trace questions of peers"]
        assert found == [sound()] * 4
        assert took < 10
        await look("")
        assert branch.peers.links.counters["trace questions of peers"] == 2 * asked, (
            "who asks for it gets it fresh"
        )
        await trio.sleep(SHARED + 10)
        await look("pair")
        assert branch.peers.links.counters["trace questions of peers"] == 3 * asked


async def test_both_measure_at_the_same_time(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        found: list[dict[str, str]] = []

        async def look(one: Box, other: Box) -> None:
            found.append(await outcomes(one, other))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, hq, branch)
            nursery.start_soon(look, branch, hq)
        assert found == [sound()] * 2


async def test_facts_for_another_trace_name_the_relay(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):
        facts = await measure(hq.stand, branch.id, nobody, "pair", sockets=hq.sockets)
        assert {(fact.role, fact.by) for fact in facts} == {("pair", "branch")}


# -- two users


async def look(
    stand: Stand, address: str, tell: object, role: str = "", by: str = "", **_: object
) -> list[Fact]:
    await trio.sleep(0.5)
    return [Fact("udp", "answered", role=role, by=by, detail={"address": address})]


async def far_look(stand: Stand, asked: Any, tell: object) -> dict[str, Any]:
    await trio.sleep(0.5)
    return {"facts": [Fact("udp", "answered", detail={"by": stand.relay.look.name})]}


class Lab:
    """Two sites, a user at each."""

    def __init__(self, tmp_path: Path, config: str = "") -> None:
        self.net = Linked(tmp_path)
        self.hq = Box(self.net, "hq", "10.1.0.1", config)
        self.branch = Box(self.net, "branch", "10.2.0.1")
        self.alice = Client(self.net.network.host("10.1.0.7/24"), b"alice")
        self.carol = Client(self.net.network.host("10.2.0.7/24"), b"carol")

    async def known(self) -> None:
        for client in (self.alice, self.carol):
            client.say(Command.BR_ENTRY)
        await trio.sleep(12)
        for box in self.net.boxes.values():
            before = box.stand.far._find
            box.stand.far._find = partial(self._find, before)

    async def _find(self, before: Any, place: str) -> Any:
        return far_look if place == "host:far_host" else await before(place)

    async def trace(self, box: Box, first: str, second: str) -> tuple[dict[str, list[Fact]], dict[str, str]]:
        one, two = (
            _end(box.stand, role, Target(address, address, box.stand.relay.look.at(address)))
            for role, address in (("1", first), ("2", second))
        )
        facts, subject = await Trace(box.stand, one, two, nobody, look, box.sockets).run()
        by_role: dict[str, list[Fact]] = {}
        for fact in facts:
            by_role.setdefault(fact.role, []).append(fact)
        return by_role, subject


@pytest.mark.parametrize("asked", ["hq", "branch"])
async def test_two_users_from_either_end(tmp_path: Path, asked: str) -> None:
    lab = Lab(tmp_path)
    async with clients(lab.alice, lab.carol), lab.net.up(lab.hq, lab.branch):
        await lab.known()
        lab.net.network.lose = lambda sender, transmit: sender == lab.hq.address and len(transmit.data) > 2000
        box = {"hq": lab.hq, "branch": lab.branch}[asked]
        facts, subject = await lab.trace(box, "10.1.0.7", "10.2.0.7")
        found = {fact.check: fact.outcome for fact in facts[""]}
        assert found == sound(large_out="lost", shown_out="yes", shown_in="yes")
        assert {role: fact.by for role in ("1", "2", "1far", "2far") for fact in facts[role]} == {
            "1": "hq", "2": "branch", "1far": "branch", "2far": "hq"
        }  # fmt: skip
        assert subject == {
            "first": "alice-nick", "second": "carol-nick",
            "first_address": "10.1.0.7", "second_address": "10.2.0.7",
            "first_relay": "hq", "second_relay": "branch",
            "first_relay_address": subject["first_relay_address"],
            "second_relay_address": subject["second_relay_address"],
        }  # fmt: skip


async def test_a_third_relay_has_the_two_measure(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    third = Box(lab.net, "third", "10.3.0.1")
    async with clients(lab.alice, lab.carol), lab.net.up(lab.hq, lab.branch, third):
        await lab.known()
        lab.net.network.lose = lambda sender, transmit: sender == lab.hq.address and len(transmit.data) > 2000

        async def far_pair(stand: Stand, asked: Any, tell: Any) -> dict[str, Any]:
            facts = await measure(stand, lab.branch.id, tell, sockets=lab.hq.sockets)
            return {"subject": {"here_address": "10.1.0.1"}, "facts": facts}

        before = lab.hq.stand.far._find

        async def find(place: str) -> Any:
            return far_pair if place == "pair:far_pair" else await before(place)

        lab.hq.stand.far._find = find
        facts, subject = await lab.trace(third, "10.1.0.7", "10.2.0.7")
        found = {fact.check: fact.outcome for fact in facts[""]}
        assert found == sound(large_out="lost", shown_out="yes", shown_in="yes")
        assert {fact.by for fact in facts[""]} == {"hq", ""}
        assert {role for role, some in facts.items() if some} == {"", "1", "2", "1far", "2far"}
        assert subject["first_relay_address"] == "10.1.0.1"


async def test_two_users_of_one_relay(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    bob = Client(lab.net.network.host("10.1.0.8/24"), b"bob")
    async with clients(lab.alice, lab.carol, bob), lab.net.up(lab.hq, lab.branch):
        bob.say(Command.BR_ENTRY)
        await lab.known()
        facts, subject = await lab.trace(lab.hq, "10.1.0.7", "10.1.0.8")
        assert set(facts) == {"", "1", "2"}
        assert {fact.check for fact in facts[""]} == {"shown-out", "shown-in"}
        assert subject["first_relay"] == subject["second_relay"] == "hq"


async def test_a_rule_that_hides_somebody(tmp_path: Path) -> None:
    lab = Lab(tmp_path, '[[share]]\nfrom = ["10.1.0.7"]\nto = ["peer:branch"]\nallow = false\n')
    async with clients(lab.alice, lab.carol), lab.net.up(lab.hq, lab.branch):
        await lab.known()
        facts = {fact.check: fact for fact in await shown(lab.hq.stand, "10.1.0.7", "10.2.0.7")}
        assert facts["shown-out"].outcome == "rule"
        assert facts["shown-out"].detail["rule"] == 1
        found, _ = await lab.trace(lab.branch, "10.1.0.7", "10.2.0.7")
        assert {fact.check: fact.outcome for fact in found[""]}["shown-out"] == "rule"


async def test_whose_segment_it_is_decides_about_nobody_known(tmp_path: Path) -> None:
    async with two(tmp_path) as (hq, branch):

        def whose(address: str) -> str | None:
            return _relay_of(hq.stand, Target(address, address, None))

        assert whose("10.1.0.99") == ""
        assert whose("10.2.0.99") == branch.id
        assert whose("10.9.0.99") is None
        swept = cast(
            "User", SimpleNamespace(home=True, via="")
        )  # ours by the sweep, of before branch was there
        assert _relay_of(hq.stand, Target("bob", "10.2.0.99", swept)) == branch.id
