"""Which facts lead to which verdict: every fault of the documentation's table, and none where all is well."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import observed
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed import BETWEEN, HOST, ON_LINK, PAIR, PATH, ROUTED, TARGET, TWO_USERS, WITH_FAR, facts, under

from camrelay.trace.facts import Fact, Finding
from camrelay.trace.judge import exit_code, judge
from camrelay.trace.reading import ABSENT, ANY, checks, rules, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observed import Seen

    from camrelay.trace.reading import Rule

SOURCE = HOST["here_address"]
SUBJECTS = {"host": HOST, "pair": PAIR, "path": PATH}
DEAF: Seen = {"udp": "silent", "info": "silent", "pubkey": "silent", "large": "not-checked"}
DEAD: Seen = DEAF | {"icmp": "silent", "tcp": "silent", "client": "none", "view": "not-checked"}
UNREACHABLE: Seen = DEAD | {"udp": "unreachable", "icmp": "unreachable", "tcp": "unreachable"}
NO_UDP = under("pair", {"udp-out": "silent", "udp-in": "silent"})
FAR_DEAF = under("far", {"udp": "silent", "large": "not-checked"})


def found(about: str, seen: Seen, **details: dict[str, Any]) -> list[str]:
    return [finding.id for finding in judge(about, facts(seen, **details), SUBJECTS.get(about, {}))]


# All is well


@pytest.mark.parametrize(
    ("about", "seen"),
    [("host", ON_LINK), ("host", ROUTED), ("host", WITH_FAR), ("pair", BETWEEN), ("path", TWO_USERS)],
    ids=["own segment", "behind a router", "with a relay there", "two relays", "two users"],
)
def test_healthy_facts_give_no_finding(about: str, seen: Seen) -> None:
    assert found(about, seen) == []


@pytest.mark.parametrize("base", [ON_LINK, ROUTED, WITH_FAR])
def test_what_was_not_checked_is_no_fault(base: Seen) -> None:
    for key in base:
        if "not-checked" in checks()[key.rpartition(".")[2]].outcomes and key not in ("udp", "route"):
            assert found("host", base | {key: "not-checked"}) == [], key


def test_without_ping_and_by_silence_to_quiet_questions_a_host_is_well() -> None:
    assert found("host", ROUTED | {"icmp": "silent", "path": "stops", "path-other": "stops"}) == []


def test_no_facts_no_finding() -> None:
    assert [judge(about, []) for about in ("host", "pair", "path", "why", "doctor", "nothing")] == [[]] * 6


# One host and its faults: (what else was seen than in health, the verdicts, worst first)

FAULTS: dict[str, tuple[Seen, list[str]]] = {
    # the host's own firewall
    "drops UDP, own segment": (ON_LINK | DEAF, ["firewall-udp"]),
    "drops UDP, others answer": (ROUTED | DEAF | {"path": "stops"}, ["firewall-udp"]),
    "drops UDP, a relay there": (
        WITH_FAR | DEAF | FAR_DEAF | {"others": "none-known"},
        ["firewall-udp"],
    ),
    "drops TCP, own segment": (ON_LINK | {"tcp": "silent"}, ["firewall-tcp"]),
    "drops TCP, a relay there": (WITH_FAR | {"tcp": "silent", "far.tcp": "silent"}, ["firewall-tcp"]),
    "drops TCP, no relay there": (ROUTED | {"tcp": "silent"}, ["tcp-host-or-router"]),
    "drops both, own segment": (ON_LINK | DEAF | {"tcp": "silent"}, ["firewall-both"]),
    "drops both, never heard": (
        ON_LINK | DEAF | {"tcp": "silent", "roster": "unknown"},
        ["firewall-or-no-client"],
    ),
    "drops both, a relay there": (
        WITH_FAR | DEAF | FAR_DEAF | {"tcp": "silent", "far.tcp": "silent"},
        ["firewall-both"],
    ),
    "drops everything, own segment": (ON_LINK | DEAD, ["firewall-all"]),
    "drops everything, a relay there": (
        WITH_FAR | DEAD | FAR_DEAF | under("far", {"icmp": "silent", "tcp": "silent"}),
        ["firewall-all"],
    ),
    "all but LocalSubnet, ping answered": (
        WITH_FAR | DEAF | {"tcp": "silent", "path": "stops"},
        ["local-subnet-only"],
    ),
    "all but LocalSubnet": (WITH_FAR | DEAD | {"path": "stops", "path-other": "stops"}, ["local-subnet-all"]),
    "all but LocalSubnet, no relay there, heard": (ROUTED | DEAD | {"path": "stops"}, ["local-subnet-likely"]),
    "all but LocalSubnet, no relay there, never heard": (
        ROUTED | DEAD | {"path": "stops", "roster": "unknown"},
        ["silent-among-others"],
    ),
    "LocalSubnet or router": (
        ROUTED | DEAD | under("far", {"udp": "answered"}) | {"path": "stops", "others": "silent"},
        ["local-subnet-or-router"],
    ),
    "drops TCP, others do not": (ROUTED | {"tcp": "silent", "others-tcp": "open"}, ["firewall-tcp"]),
    "TCP of nobody passes": (ROUTED | {"tcp": "silent", "others-tcp": "silent"}, ["router-drops-tcp"]),
    "TCP for LocalSubnet only": (WITH_FAR | {"tcp": "silent"}, ["tcp-local-subnet"]),
    "rejects": (ON_LINK | DEAF | {"udp": "refused"}, ["host-rejects-udp"]),
    # routers
    "router passes TCP only, a relay there": (
        WITH_FAR | DEAF | NO_UDP | {"path": "stops", "path-other": "reaches", "others": "silent"},
        ["router-drops-udp"],
    ),
    "router passes TCP only, no relay there": (
        ROUTED | DEAF | {"path": "stops", "others": "silent"},
        ["router-udp-likely"],
    ),
    "router passes ping only": (
        ROUTED | DEAF | {"path": "stops", "others": "silent", "tcp": "silent"},
        ["router-2425-likely"],
    ),
    "router passes TCP only, nobody else known": (
        ROUTED | DEAF | {"path": "stops", "others": "none-known"},
        ["udp-host-or-router"],
    ),
    "ping only, nobody else known": (
        ROUTED | DEAF | {"path": "stops", "others": "none-known", "tcp": "silent"},
        ["port-host-or-router"],
    ),
    "router stops 2425 on the way": (
        ROUTED | DEAD | {"path": "filtered", "others": "silent"},
        ["router-filters"],
    ),
    "router drops 2425, a relay there": (
        WITH_FAR | DEAD | NO_UDP | under("pair", {"tcp-out": "silent", "tcp-in": "silent"})
        | {"path": "stops", "others": "silent"},
        ["router-drops-2425"],
    ),
    "one direction: not there": (
        WITH_FAR | DEAF | {"pair.udp-out": "silent", "path": "stops", "others": "silent"},
        ["router-one-way-out"],
    ),
    "one direction: not back": (
        WITH_FAR | DEAF | {"pair.udp-in": "silent", "others": "silent"},
        ["router-one-way-in"],
    ),
    "router drops TCP": (
        WITH_FAR | {"tcp": "silent", "pair.tcp-out": "silent"},
        ["router-drops-tcp"],
    ),
    "loop": (ROUTED | DEAD | {"path": "loops", "path-other": "loops", "others": "silent"}, ["routing-loop"]),
    "no route": (ROUTED | DEAD | {"route": "none"}, ["no-route"]),
    "router has no route": (ROUTED | UNREACHABLE | {"others": "silent"}, ["router-no-route"]),
    "our own gateway is dead": (ROUTED | DEAD | {"neighbour": "unresolved"}, ["gateway-dead"]),
    "whole segment silent": (ROUTED | DEAD | {"path": "stops", "others": "silent"}, ["segment-unreachable"]),
    "the box of the relay there": (WITH_FAR | {"pair.udp-out": "silent"}, ["relay-box-drops"]),
    # no client, no host
    "dead behind a router": (
        ROUTED | UNREACHABLE | {"path": "stops", "roster": "offline"},
        ["dead-beyond-router"],
    ),
    "dead, a relay there": (
        WITH_FAR | DEAD | FAR_DEAF
        | under("far", {"neighbour": "unresolved", "arp": "silent", "icmp": "silent", "tcp": "silent"}),
        ["dead-says-relay"],
    ),
    "no ARP in our own segment": (
        ON_LINK | UNREACHABLE | {"neighbour": "unresolved", "arp": "silent", "roster": "offline"},
        ["no-arp"],
    ),
    "heard, and no ARP": (ON_LINK | UNREACHABLE | {"neighbour": "unresolved", "arp": "silent"}, ["arp-less"]),
    "client not running": (
        ROUTED | DEAF | {"udp": "refused", "tcp": "refused", "roster": "offline"},
        ["client-not-running"],
    ),
    "client not running, UDP silent": (
        ROUTED | DEAF | {"tcp": "refused", "roster": "offline"},
        ["client-closed"],
    ),
    "answers other questions": (ROUTED | DEAF | {"info": "answered"}, ["presence-unanswered"]),
    "silent, and nobody to compare with": (
        ROUTED | DEAD | {"path": "stops", "others": "none-known", "roster": "unknown"},
        ["silent-all"],
    ),
    # settings of the network card
    "mask too wide, own segment": (ON_LINK | {"arp": "asks-for-far"}, ["mask-too-wide"]),
    "mask too wide, a relay there": (WITH_FAR | DEAD | {"far.arp": "asks-for-far"}, ["mask-too-wide"]),
    "wrong gateway": (WITH_FAR | DEAD | {"far.arp": "asks-in-vain"}, ["wrong-gateway"]),
    "mask too narrow, own segment": (ON_LINK | {"answer-ttl": "through-router"}, ["mask-too-narrow"]),
    "mask too narrow, a relay there": (WITH_FAR | {"far.answer-ttl": "through-router"}, ["mask-too-narrow"]),
    # who
    "address twice": (ON_LINK | {"arp": "several", "names": "several"}, ["address-twice"]),
    "address twice, without privilege": (ON_LINK | {"arp": "not-checked", "names": "several"}, ["names-twice"]),
    "NAT": (ROUTED | {"names": "several"}, ["nat-names"]),
    "NAT, with all that follows": (
        WITH_FAR
        | UNREACHABLE
        | {"pair.source-in": "other", "pair.udp-out": "silent", "pair.calls-out": "silent", "others": "none-known"},
        ["pair-nat"],
    ),
    "NAT, seen by the relays": (WITH_FAR | {"pair.source-in": "other"}, ["pair-nat"]),
    # sizes
    "MTU 1400": (ROUTED | {"mtu": "smaller"}, ["mtu-small"]),
    "black hole": (ROUTED | {"mtu": "black-hole", "large": "lost"}, ["mtu-black-hole"]),
    "fragments, a relay there": (
        WITH_FAR | {"large": "lost", "pair.large-out": "lost"},
        ["fragments-router"],
    ),
    "fragments dropped by the host, a relay there": (
        WITH_FAR | {"large": "lost", "far.large": "lost", "pair.large-in": "lost"},
        ["fragments-host"],
    ),
    "fragments, own segment": (ON_LINK | {"large": "lost"}, ["fragments-host"]),
    "fragments": (ROUTED | {"large": "lost"}, ["fragments-lost"]),
    # what the relay makes of it
    "one-sided broadcast setting": (ROUTED | {"pointed": "yes"}, ["pointed"]),
    "list incomplete": (ON_LINK | {"view": "missing"}, ["list-incomplete"]),
    "relay not listed": (ON_LINK | {"view": "without-us"}, ["list-without-relay"]),
    "twin": (ON_LINK | {"roster": "twin"}, ["twin"]),
    "external user here": (ON_LINK | {"roster": "external-here"}, ["external-here"]),
    "not covered": (ROUTED | {"segment": "unknown", "roster": "unknown"}, ["segment-not-covered"]),
    "found by this trace": (ROUTED | {"roster": "unknown"}, ["not-in-roster"]),
    "this relay": ({"route": "ourselves", "segment": "ours"}, ["target-is-us"]),
    "another relay": (ON_LINK | {"client": "relay"}, ["target-is-relay"]),
    "no such name": ({"name": "unknown-name"}, ["name-unknown"]),
    "DNS differs": (ON_LINK | {"name": "differs"}, ["name-differs"]),
    "announcements dropped at our port": (
        WITH_FAR | {"pair.speak-own-out": "dropped", "pair.speak-foreign-out": "dropped"},
        ["speak-own-dropped"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_verdict_and_no_other(fault: str) -> None:
    seen, expected = FAULTS[fault]
    details = {"udp": {"by": observed.ROUTER, "kind": "net"}} if fault == "router has no route" else {}
    assert found("host", seen, **details) == expected


@pytest.mark.parametrize(
    ("by", "verdict"),
    [(TARGET, "host-prohibits"), (observed.ROUTER, "router-prohibits"), ("", "router-prohibits")],
)
def test_who_prohibits_decides(by: str, verdict: str) -> None:
    seen = ROUTED | DEAF | {"udp": "prohibited", "path": "stops"}
    assert found("host", seen, udp={"by": by}) == [verdict]


def test_our_own_firewall_is_no_router() -> None:
    seen = ROUTED | DEAF | {"udp": "prohibited", "tcp": "prohibited"}
    assert found("host", seen, udp={"by": HOST["here_address"]}) == ["own-firewall"]


def test_a_refusal_by_somebody_else_is_the_router_s() -> None:
    assert found("host", ROUTED | DEAF | {"udp": "refused"}, udp={"by": observed.ROUTER}) == [
        "router-refuses"
    ]


def test_a_path_that_stops_before_the_target_itself_blames_no_router() -> None:
    seen = ROUTED | DEAF | {"path": "filtered"}
    at_the_target = {"last": observed.ROUTER, "next": TARGET}
    assert found("host", seen, path=at_the_target) == ["firewall-udp"]
    assert found("host", seen | {"others": "none-known"}, path=at_the_target) == ["udp-host-or-router"]
    assert found("host", seen | {"others": "none-known"}) == ["router-filters"]
    there = BETWEEN | {"udp-out": "silent", "path-out": "filtered"}
    assert found("pair", there, path_out={"last": observed.ROUTER, "next": "10.77.2.2"}) == ["pair-one-way"]


# Two relays

PAIR_FAULTS: dict[str, tuple[Seen, list[str]]] = {
    "no link": ({"link": "away"}, ["pair-away"]),
    "not there": ({"udp-out": "silent", "path-out": "stops"}, ["pair-one-way"]),
    "not back": ({"udp-in": "silent", "path-in": "stops"}, ["pair-one-way"]),
    "TCP only": ({"udp-out": "silent", "udp-in": "silent"}, ["pair-udp-dropped"]),
    "neither": (
        {"udp-out": "silent", "udp-in": "silent", "tcp-out": "silent", "tcp-in": "silent"},
        ["pair-2425-dropped"],
    ),
    "stopped on the way": (
        {"udp-out": "silent", "udp-in": "silent", "path-out": "filtered"},
        ["pair-filtered"],
    ),
    "loop": ({"udp-out": "silent", "path-out": "loops"}, ["pair-loop"]),
    "loss": ({"udp-out": "lossy"}, ["pair-lossy"]),
    "no TCP there": ({"tcp-out": "silent"}, ["pair-tcp-dropped"]),
    "no TCP at all": ({"tcp-out": "silent", "tcp-in": "silent"}, ["pair-tcp-dropped"] * 2),
    "TCP refused": ({"tcp-in": "refused"}, ["pair-tcp-refused"]),
    "black hole": ({"mtu-out": "black-hole", "large-out": "lost"}, ["pair-black-hole"]),
    "MTU 1400": ({"mtu-out": "smaller", "mtu-in": "smaller"}, ["pair-mtu-small"]),
    "fragments": ({"large-in": "lost"}, ["pair-fragments-lost"]),
    "NAT": ({"source-out": "other", "calls-out": "not-checked", "calls-in": "not-checked"}, ["pair-nat"]),
    "NAT and calls": ({"source-out": "other"}, ["pair-nat", "nat-on-call-path"]),
    "calls": ({"calls-out": "silent"}, ["calls-closed"]),
    "some calls": ({"calls-in": "some"}, ["calls-closed"]),
    "source guard": ({"speak-own-out": "dropped", "speak-foreign-out": "dropped"}, ["speak-own-dropped"]),
    "anti-spoofing": ({"speak-foreign-out": "dropped", "speak-foreign-in": "dropped"}, ["speak-foreign-dropped"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("fault", PAIR_FAULTS)
def test_each_fault_between_two_relays_has_its_verdict(fault: str) -> None:
    change, expected = PAIR_FAULTS[fault]
    seen = change if fault == "no link" else BETWEEN | change
    assert found("pair", seen) == expected


def test_a_line_that_loses_datagrams_proves_nothing_by_one_that_is_lost() -> None:
    lost = {"large-in": "lost", "speak-own-in": "dropped", "speak-foreign-in": "dropped", "calls-in": "some"}
    assert found("pair", BETWEEN | {"udp-in": "lossy"} | lost) == ["pair-lossy"]
    assert found("pair", BETWEEN | {"udp-in": "lossy", "calls-in": "silent"}) == [
        "calls-closed",
        "pair-lossy",
    ]


def test_a_direction_is_told_from_the_other() -> None:
    (there,) = judge("pair", facts(BETWEEN | {"udp-out": "silent"}), PAIR)
    (back,) = judge("pair", facts(BETWEEN | {"udp-in": "silent"}), PAIR)
    assert (there.detail["from"], back.detail["from"]) == ("here", "there")


# Two users


def test_a_fault_of_either_user_is_found_from_both_sides() -> None:
    first = TWO_USERS | under("1far", DEAD | {"path": "stops", "path-other": "stops"})
    second = TWO_USERS | under("2far", DEAD | {"path": "stops", "path-other": "stops"})
    for seen, target in ((first, PATH["first_address"]), (second, PATH["second_address"])):
        (finding,) = judge("path", facts(seen), PATH)
        assert (finding.id, finding.detail["target"]) == ("local-subnet-all", target)


def test_with_the_way_between_the_relays_cut_users_are_judged_by_their_own_relay() -> None:
    seen = TWO_USERS | {"udp-out": "silent", "udp-in": "silent"}
    seen |= under("1far", DEAD) | under("2far", DEAD) | under("2", DEAF)
    assert found("path", seen) == ["pair-udp-dropped", "firewall-udp"]


def test_a_user_without_a_relay_of_his_own_is_judged_from_afar() -> None:
    seen = under("1", ON_LINK) | under("2far", ROUTED | DEAF | {"others": "silent", "path": "stops"})
    (finding,) = judge("path", facts(seen), PATH)
    assert (finding.id, finding.detail["target"]) == ("router-udp-likely", TARGET)


def test_both_users_at_one_relay_are_judged_each() -> None:
    (finding,) = judge("path", facts(under("1", ON_LINK) | under("2", ON_LINK | DEAD)), PATH)
    assert (finding.id, finding.detail["target"]) == ("firewall-all", TARGET)


def test_directions_are_turned_for_the_first_user() -> None:
    """Seen from the second user's relay, "out" of the path is the way back."""
    seen = TWO_USERS | under("1far", {"large": "lost"}) | {"large-in": "lost"}
    assert "fragments-router" in found("path", seen)
    other = TWO_USERS | under("1far", {"tcp": "silent"}) | {"tcp-in": "silent"}
    assert "router-drops-tcp" in found("path", other)


@pytest.mark.parametrize(("outcome", "verdict"), [("rule", "hidden-by-rule"), ("unable", "not-announced")])
def test_who_is_not_shown_is_said(outcome: str, verdict: str) -> None:
    assert found("path", TWO_USERS | {"shown-in": outcome}) == [verdict]


# The order, and what else is in a finding


def test_findings_come_worst_first_and_decide_the_exit_code() -> None:
    findings = judge("host", facts(ROUTED | {"pointed": "yes", "view": "missing", "tcp": "silent"}), HOST)
    assert [finding.severity for finding in findings] == ["fault", "warning", "note"]
    assert exit_code(findings) == 1
    assert exit_code(findings[2:]) == exit_code([]) == 0
    assert exit_code(findings[1:]) == 1


def test_a_finding_carries_the_details_of_all_facts_and_the_subject() -> None:
    (finding,) = judge("host", facts(WITH_FAR | DEAD | {"path": "stops"}), HOST)
    assert finding.detail["path.last"] == observed.ROUTER
    assert finding.detail["far.udp.relay"] == "osaka"
    assert finding.detail["target"] == TARGET


def test_not_checked_is_as_good_as_absent() -> None:
    gone = {key: outcome for key, outcome in WITH_FAR.items() if not key.startswith("pair.")}
    unknown = {
        key: "not-checked" if key.startswith("pair.") else outcome for key, outcome in WITH_FAR.items()
    }
    for seen in (gone, unknown):
        assert found("host", seen | DEAD | {"path": "stops", "others": "silent"}) == [
            "local-subnet-or-router"
        ]


# Every verdict


def tried(rule: Rule) -> Iterable[list[Fact]]:
    """Facts that a rule asks for: of each condition each outcome in turn, and nothing else."""
    groups = [[*group] for group in rule.one_of]
    for chosen in product(*groups):
        wanted: dict[str, tuple[str, ...]] = {}
        for conditions in (rule.when, *chosen):
            for key, outcomes in conditions.items():
                wanted[key] = tuple(o for o in outcomes if o in wanted.get(key, outcomes))
        details: dict[str, dict[str, Any]] = {}
        for name, text in rule.equal.items():
            for key in (one.rpartition(".")[0] for one in name.split("|")):
                wanted_value = {"{target}": TARGET, "{route.source}": SOURCE}.get(text, text)
                details[key] = {name.partition("|")[0].rpartition(".")[2]: wanted_value}
            if text == "{route.source}":
                details["route"] = {"source": SOURCE}
                wanted.setdefault("route", ("routed",))
        for name in rule.unequal:
            details[name.rpartition(".")[0]] = {name.rpartition(".")[2]: "somebody else"}
        for outcomes in product(*wanted.values()):
            yield [
                Fact(
                    key.rpartition(".")[2], outcome, role=key.rpartition(".")[0], detail=details.get(key, {})
                )
                for key, outcome in zip(wanted, outcomes, strict=True)
                if outcome not in (ABSENT, ANY)
            ]


@pytest.mark.parametrize("verdict", verdicts())
def test_every_verdict_can_be_reached(verdict: str) -> None:
    about = verdicts()[verdict].about
    mine = [rule for rule in rules(about) if rule.verdict.id == verdict]
    assert mine
    for rule in mine:
        subject = SUBJECTS.get(about, {})
        assert any(
            Finding(verdict, rule.verdict.severity, finding.detail) == finding
            for seen in tried(rule)
            for finding in judge(about, seen, subject)
        ), rule.given


# Anything at all

OUTCOMES = sorted({outcome for check in checks().values() for outcome in check.outcomes})
ROLES = ["", "far", "pair", "1", "2", "1far", "2far"]
DETAIL_NAMES = ["by", "last", "hops", "kind", "names"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
ANY_FACT = st.builds(
    Fact,
    check=st.sampled_from(sorted(checks())) | st.text(max_size=5),
    outcome=st.sampled_from(OUTCOMES) | st.text(max_size=5),
    seconds=st.floats(),
    role=st.sampled_from(ROLES) | st.text(max_size=3),
    by=st.text(max_size=3),
    detail=st.dictionaries(st.sampled_from(DETAIL_NAMES) | st.text(max_size=3), VALUES, max_size=3),
)


@given(
    st.sampled_from(["host", "pair", "path", "why", "doctor"]),
    st.lists(ANY_FACT, max_size=12),
    st.dictionaries(st.sampled_from(["target", "here", "user"]), VALUES),
)
def test_judging_never_raises_and_judges_each_concern_once(
    about: str, seen: list[Fact], subject: dict[str, Any]
) -> None:
    findings = judge(about, seen, subject)
    assert all(finding.id in verdicts() for finding in findings)


@st.composite
def complete(draw: st.DrawFn) -> Seen:
    """A host of which every check has some outcome that it can have."""
    return {key: draw(st.sampled_from(sorted(checks()[key].outcomes))) for key in ROUTED}


@given(complete())
def test_a_host_that_does_not_answer_is_never_without_a_verdict(seen: Seen) -> None:
    """Nobody is told that all is well about a user whom nobody can see."""
    if seen["udp"] not in ("answered", "not-checked"):
        assert exit_code(judge("host", facts(seen), HOST)) == 1 or seen["route"] == "ourselves"
