"""All checks of one host: what is found, how long it takes, what is asked of whom."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.daemon.probes.hops import Hop, Walk
from camrelay.daemon.probes.troubles import Trouble
from camrelay.daemon.probes.ways import Way
from camrelay.daemon.tracing.examining import LONGEST, examine
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import parse
from camrelay.trace.facts import Fact
from camrelay.trace.judge import judge
from tests.asked_host import HERE, Bench, Host, probes

if TYPE_CHECKING:
    from camrelay.daemon.tracing.examining import Probes

NEAR, FAR, OUTSIDE = "10.77.1.11", "10.77.2.11", "10.99.1.1"
ROUTED = Way(interface="eth0", source=HERE, gateway="10.77.1.1")


async def look(bench: Bench, address: str, with_: Probes | None = None) -> dict[str, Fact]:
    facts = await bench.run(partial(examine, bench.stand, address, bench.tell, probes=with_ or probes()))
    return {fact.check: fact for fact in facts}


def outcomes(facts: dict[str, Fact]) -> dict[str, str]:
    return {check: fact.outcome for check, fact in facts.items()}


def verdicts(facts: dict[str, Fact]) -> list[str]:
    return [finding.id for finding in judge("host", facts.values(), {"target": NEAR})]


def closed(by: str, kind: str = "refused", address: str = FAR) -> Walk:
    """A path that ended with an error."""
    trouble = Trouble(kind, by)
    return Walk(address, 2425, ROUTED, (Hop(1, "10.77.1.1"),), trouble)


async def test_a_healthy_neighbour_has_all_its_facts_in_order_and_none_is_wrong() -> None:
    near = Host(NEAR)
    bench = Bench(near)
    bench.hear(near, near.presence(Command.BR_ABSENCE), broadcast=True)
    facts = await look(bench, NEAR)
    assert outcomes(facts) == {
        "name": "none", "route": "on-link", "neighbour": "resolved", "arp": "one", "icmp": "answered",
        "udp": "answered", "names": "one", "answer-ttl": "whole", "info": "answered", "pubkey": "answered",
        "large": "passes", "mtu": "full", "tcp": "open", "path": "direct", "client": "known",
        "view": "not-checked", "roster": "online", "pointed": "no", "segment": "ours",
    }  # fmt: skip
    assert verdicts(facts) == []
    assert facts["client"].detail == {"kind": "windows", "version": "4.99r3 x64", "charset": "cp932"}
    assert facts["info"].detail == {"version": "Win(en)Ver4.99r3(x64)"}
    assert facts["pubkey"].detail == {"bits": 2048}
    assert facts["large"].detail["bytes"] > 2_900
    assert bench.errors == []


@pytest.mark.parametrize(
    ("host", "within"),
    [
        (Host(NEAR), 3.0),
        (Host(NEAR, quiet=False), 3.0),  # an iptux: quiet questions are given up after 2.5 s
        (Host(NEAR, delay=1.0), 3.0),
        (Host(NEAR, delay=4.1, quiet=False), 10.0),
        (Host(NEAR, deaf=1, quiet=False), 10.0),
        (Host(NEAR, answers=False), LONGEST),
    ],
    ids=["windows", "iptux", "a slow one", "the slowest", "the first question is lost", "dead"],
)
async def test_who_answers_is_let_go_and_nobody_takes_longer_than_said(host: Host, within: float) -> None:
    began = trio.current_time()
    facts = await look(Bench(host), NEAR)
    assert trio.current_time() - began <= within
    assert facts["udp"].outcome == ("answered" if host.answers else "silent")
    assert facts["large"].outcome == ("passes" if host.answers else "not-checked")


async def test_all_is_told_as_it_comes() -> None:
    bench = Bench(Host(NEAR))
    facts = await look(bench, NEAR)
    begun = [event["begun"] for event in bench.told if "begun" in event]
    dropped = [event["dropped"] for event in bench.told if "dropped" in event]
    found = [event["fact"].check for event in bench.told if "fact" in event]
    assert sorted(found) == sorted(facts)
    assert sorted(begun) == sorted(found + dropped)
    assert dropped == ["path-other", "others", "others-tcp"]
    assert found.index("route") < found.index("udp") < found.index("arp")


async def test_facts_carry_who_looked() -> None:
    bench = Bench(Host(NEAR))
    ask = partial(examine, bench.stand, NEAR, bench.tell, role="1", by="osaka", probes=probes())
    facts = await bench.run(ask)
    assert {(fact.role, fact.by) for fact in facts} == {("1", "osaka")}
    assert {(event["role"], event["by"]) for event in bench.told if "begun" in event} == {("1", "osaka")}


@pytest.mark.parametrize(("outcome", "detail"), [("ourselves", {}), ("none", {"error": "no route"})])
async def test_where_nothing_can_be_sent_nothing_is(outcome: str, detail: dict[str, Any]) -> None:
    bench = Bench(Host(NEAR))
    made = probes()
    facts = await look(
        bench, NEAR, partial_probes(made, route=lambda address: Fact("route", outcome, detail=detail))
    )
    assert outcomes(facts) == {"route": outcome}
    assert bench.sent == []


def partial_probes(made: Probes, **others: Any) -> Probes:
    from dataclasses import replace

    return replace(made, **others)


async def test_the_member_list_is_asked_for_before_we_show_ourselves() -> None:
    bench = Bench(Host(NEAR))
    await look(bench, NEAR)
    asked = [packet.mode for packet in bench.hosts[NEAR].heard]
    assert asked[:4] == [Command.GETINFO, Command.GETLIST, Command.GETPUBKEY, Command.BR_ENTRY]


async def test_an_error_of_the_host_itself_ends_the_wait_early() -> None:
    began = trio.current_time()
    facts = await look(Bench(), FAR, probes(on_link=False, walked=closed(FAR)))
    assert trio.current_time() - began < 5.0
    assert (facts["udp"].outcome, facts["udp"].detail["by"]) == ("refused", FAR)


async def test_the_word_of_a_router_is_waited_out_by_the_slowest_client() -> None:
    bench = Bench(Host(FAR, delay=4.1, quiet=False))
    facts = await look(bench, FAR, probes(on_link=False, walked=closed("10.77.1.1", "prohibited")))
    assert facts["udp"].outcome == "answered"
    facts = await look(Bench(), FAR, probes(on_link=False, walked=closed("10.77.1.1", "prohibited")))
    assert (facts["udp"].outcome, facts["udp"].detail["by"]) == ("prohibited", "10.77.1.1")
    assert facts["udp"].seconds < 5.0


async def test_who_answers_only_quiet_questions_answers() -> None:
    facts = await look(Bench(Host(NEAR, deaf=99)), NEAR)
    assert facts["udp"].outcome == "answered"
    assert facts["client"].outcome == "none"
    assert facts["client"].detail == {"version": "Win(en)Ver4.99r3(x64)"}


@pytest.mark.parametrize("quiet", [True, False])
async def test_lost_fragments(quiet: bool) -> None:
    facts = await look(Bench(Host(NEAR, quiet=quiet, large=False)), NEAR)
    assert (facts["large"].outcome, facts["udp"].outcome) == ("lost", "answered")


async def test_a_late_answer_to_a_small_question_is_none_to_a_large_one() -> None:
    facts = await look(Bench(Host(NEAR, quiet=False, large=False, delay=4.0, deaf=1)), NEAR)
    assert facts["udp"].outcome == "answered"
    assert facts["large"].outcome in ("lost", "not-checked")


@pytest.mark.parametrize("to", [NEAR, "10.77.1.255"])
async def test_nor_is_the_answer_to_a_question_that_the_relay_asked_meanwhile(to: str) -> None:
    bench = Bench(Host(NEAR, quiet=False, large=False))

    async def rounds() -> dict[str, Fact]:
        async def ask() -> None:
            await trio.sleep(3.0)
            now = trio.current_time()
            entry = next(one for one in bench.sent if parse(one.data).mode == Command.BR_ENTRY)
            bench.tap.sent([entry._replace(to=to, interface=2 if to != NEAR else 0)], now)
            bench.later(0.2, bench.hosts[NEAR], bench.hosts[NEAR].presence(Command.ANSENTRY))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            facts = await examine(bench.stand, NEAR, bench.tell, probes=probes())
            nursery.cancel_scope.cancel()
        return {fact.check: fact for fact in facts}

    facts = await bench.run(rounds)
    assert facts["large"].outcome in ("lost", "not-checked")


async def test_two_names_at_one_address() -> None:
    facts = await look(Bench(Host(NEAR, quiet=False, names=["taro", "hanako"])), NEAR)
    assert (facts["names"].outcome, facts["names"].detail) == ("several", {"names": ["taro", "hanako"]})


async def test_a_neighbour_that_answers_through_a_router() -> None:
    facts = await look(Bench(Host(NEAR, ttl=63)), NEAR)
    assert (facts["answer-ttl"].outcome, facts["answer-ttl"].detail) == ("through-router", {"ttl": 63})


async def test_others_are_asked_when_it_stays_silent_and_only_then() -> None:
    others = [
        Host("10.77.1.12", "taro"),
        Host("10.77.1.13", "jiro", answers=False),
        Host("10.77.1.14", "saburo"),
    ]
    for answers, expected in ((False, "answer"), (True, "")):
        bench = Bench(Host(NEAR, answers=answers), *others)
        for other in others:
            bench.hear(other, other.presence(Command.BR_ENTRY), broadcast=True)
            other.heard.clear()
        facts = await look(bench, NEAR)
        fact = facts.get("others", Fact("others", ""))
        assert fact.outcome == expected
        if expected:
            assert fact.detail == {"asked": 3, "answered": 2, "names": ["taro", "saburo"]}
            # which its user does not see
            assert {packet.mode for packet in others[0].heard} == {Command.GETINFO}


async def test_others_show_whether_tcp_is_kept_out_by_the_host_alone() -> None:
    other = Host("10.77.1.12", "taro")
    bench = Bench(Host(NEAR), other)
    bench.hear(other, other.presence(Command.BR_ENTRY), broadcast=True)
    made = probes()

    async def tcp(address: str, port: int) -> Fact:
        await trio.sleep(0.1)
        return Fact("tcp", "silent" if address == NEAR else "open")

    facts = await look(bench, NEAR, partial_probes(made, tcp=tcp))
    assert (facts["others-tcp"].outcome, facts["others-tcp"].detail) == ("open", {"open": 1, "asked": 1})


async def test_the_other_port_is_walked_when_it_stays_silent() -> None:
    stops = Walk(FAR, 2425, ROUTED, (Hop(1, "10.77.1.1"),))
    goes_on = Walk(FAR, 33434, ROUTED, (Hop(1, "10.77.1.1"), Hop(2, "10.77.9.1")))
    facts = await look(Bench(), FAR, probes(on_link=False, walked=stops, other=goes_on))
    assert facts["path"].outcome == "filtered"
    assert facts["path-other"].outcome == "stops"
    facts = await look(Bench(Host(FAR)), FAR, probes(on_link=False, walked=stops, other=goes_on))
    assert facts["path"].outcome == "reaches"
    assert "path-other" not in facts


async def test_a_list_in_pages_is_read_to_its_end_also_where_the_relay_does_not_read_it() -> None:
    listed = [f"10.99.1.{n}" for n in range(1, 8)]
    bench = Bench(Host(OUTSIDE, lists=listed, pages=3))
    facts = await look(bench, OUTSIDE, probes(on_link=False))
    assert facts["view"].detail["listed"] == 7
    pages = [packet.body for packet in bench.hosts[OUTSIDE].heard if packet.mode == Command.GETLIST]
    assert pages == [b"0", b"3", b"6"]


async def test_a_list_that_lacks_somebody_who_was_announced_there() -> None:
    far = Host(FAR, "hanako")
    for lists, outcome in (([FAR, HERE], "complete"), ([FAR], "without-us"), ([HERE], "missing")):
        near = Host(NEAR, "taro", lists=lists)
        bench = Bench(near, far)
        bench.hear(near, near.presence(Command.BR_ENTRY), broadcast=True)
        await bench.run(partial(meet, bench, FAR))
        facts = await look(bench, NEAR)
        assert facts["view"].outcome == outcome
        if outcome == "missing":
            assert facts["view"].detail == {"listed": 1, "count": 1, "names": ["hanako"]}


async def meet(bench: Bench, address: str) -> None:
    """Somebody beyond the router is asked, answers, and is announced."""
    from camrelay.relay.questions import Asked

    now = trio.current_time()
    bench.act(bench.relay.ask(address, Asked.ENTRY, now), now)
    for _ in range(400):
        await trio.sleep(0.1)
        now = trio.current_time()
        if bench.relay.next_due() <= now:
            bench.act(bench.relay.tick(now), now)


async def test_a_check_that_breaks_is_one_that_was_not_made() -> None:
    async def broken(*_: object) -> Fact:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug")

    bench = Bench(Host(NEAR))
    facts = await look(bench, NEAR, partial_probes(probes(), icmp=broken, mtu=broken))
    assert (facts["icmp"].outcome, facts["mtu"].outcome) == ("not-checked", "not-checked")
    assert facts["udp"].outcome == "answered"
    assert sum("RuntimeError('a bug')" in line for line in bench.errors) == 2


async def test_a_check_that_hangs_is_cut_off() -> None:
    async def endless(*_: object) -> Fact:
        await trio.sleep_forever()
        raise AssertionError

    began = trio.current_time()
    facts = await look(Bench(Host(NEAR)), NEAR, partial_probes(probes(), tcp=endless))
    assert trio.current_time() - began == pytest.approx(LONGEST)
    assert facts["tcp"].outcome == "not-checked"


async def test_nobody_outside_all_segments_is_registered_by_being_examined() -> None:
    bench = Bench(Host(OUTSIDE))
    facts = await look(bench, OUTSIDE, probes(on_link=False))
    assert (facts["udp"].outcome, facts["segment"].outcome) == ("answered", "unknown")
    assert list(bench.relay.users(trio.current_time())) == []


@pytest.mark.parametrize("data", [b"", b"1:2", b"\0" * 99, b"IP2:3d:", b"1:1:a:b:3:" + b"\xff" * 9_000])
async def test_nonsense_from_the_host_is_no_answer(data: bytes) -> None:
    bench = Bench(Host(NEAR, answers=False))

    async def babble() -> dict[str, Fact]:
        bench.later(0.5, bench.hosts[NEAR], data)
        facts = await examine(bench.stand, NEAR, bench.tell, probes=probes())
        return {fact.check: fact for fact in facts}

    facts = await bench.run(babble)
    assert bench.errors == []
    if data[:1] != b"1" or b":3:" not in data:
        assert facts["udp"].outcome == "silent"


@pytest.mark.parametrize("mode", [Command.SENDINFO, Command.ANSPUBKEY, Command.ANSLIST])
@pytest.mark.parametrize("body", [b"", b"\a\a", b"99999\a99999\a", b"0:0-0", b"\xff" * 3_000])
async def test_hostile_answers_break_nothing(mode: Command, body: bytes) -> None:
    from camrelay.ipmsg.packet import build

    bench = Bench(Host(NEAR, answers=False))

    async def babble() -> list[Fact]:
        bench.later(0.5, bench.hosts[NEAR], build(b"1", 1, b"a", b"b", int(mode), body))
        return await examine(bench.stand, NEAR, bench.tell, probes=probes())

    await bench.run(babble)
    assert bench.errors == []


async def test_whoever_hangs_up_ends_it_all() -> None:
    bench = Bench(Host(NEAR, answers=False))
    with trio.move_on_after(1.0):
        await look(bench, NEAR)
    before = len(bench.sent)
    await trio.sleep(20)
    assert len(bench.sent) == before
    assert not bench.tap.active
