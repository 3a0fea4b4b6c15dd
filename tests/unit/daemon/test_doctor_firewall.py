"""What a box's own firewall does with IPMSG, by nft's and iptables' own words: lets it in, drops it, or it depends."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.doctor import firewall, iptables
from camrelay.daemon.doctor.box import Box, Ran
from camrelay.daemon.doctor.ruleset import Ruleset
from camrelay.daemon.doctor.walk import Outcome, Packet, Span, covered, span_of
from camrelay.daemon.probes.ways import Way
from camrelay.relay.outputs import Interface

if TYPE_CHECKING:
    from camrelay.trace.facts import Fact

DATA = Path(__file__).parents[2] / "data"
PORT = Span(2425, 2425)
HIGH = Span(1024, 65535)
OURS = Interface(2, "eth0", "10.77.1.2", "10.77.1.0/24", "10.77.1.255")


def packet(source: str = "10.77.1.0/24", **more: Any) -> Packet:
    network = IPv4Network(source)
    hosts = span_of(source) if network.prefixlen == 32 else Span(int(network[1]), int(network[-2]))
    made = Packet("eth0", hosts, span_of("10.77.1.2"), "udp", PORT, PORT, "new")
    return made._replace(**more)


def tcp(source: str, dport: int = 2425) -> Packet:
    return packet(source, protocol="tcp", sport=HIGH, dport=Span(dport, dport))


@pytest.fixture(scope="module")
def recorded() -> Ruleset:
    return Ruleset(
        json.loads((DATA / "nft-ruleset.json").read_text()), (DATA / "nft-ruleset.txt").read_text()
    )


@pytest.mark.parametrize(
    ("asked", "word", "rule"),
    [
        (packet("10.77.1.9/32"), "accept", ""),
        (packet("10.77.1.1/32"), "drop", "ip saddr . udp dport @seen drop"),
        (packet(), "unsure", "ip saddr . udp dport @seen drop"),  # one of them is not let in
        (packet("10.77.3.4/32"), "accept", ""),
        (packet("10.77.3.0/24"), "unsure", "ip saddr @good accept"),
        (packet("10.77.4.0/24"), "drop", "reject with icmp port-unreachable"),
        (packet("10.77.4.0/24", state="established"), "accept", ""),
        (packet("10.77.4.0/24", interface="lo"), "accept", ""),
        (packet("10.77.4.0/24", interface="eth1"), "accept", ""),
        (packet("10.77.1.9/32", interface="wan0"), "drop", 'iifname "wan*" drop'),
        (packet("10.77.8.0/24", broadcast=True), "drop", "meta pkttype broadcast"),
        (packet("10.77.9.7/32"), "drop", "ip saddr 10.77.9.7 drop"),
        (packet("10.77.9.8/32"), "accept", ""),  # came back from the jump, and is let in by the last rule
        (packet("10.77.9.8/32", sport=Span(900, 1100)), "unsure", "udp sport > 1000"),
        (packet("10.77.9.0/24"), "unsure", "ip saddr 10.77.9.7 drop"),
        (packet("10.77.4.0/24", dport=Span(53, 53)), "accept", ""),
        (packet("10.77.5.0/24"), "drop", "reject with"),  # redirected or not: it does not arrive
        (packet("10.77.4.0/24", dport=Span(2425, 2426)), "unsure", "udp dport != 2425 accept"),
        (tcp("10.77.4.0/24", 22), "accept", ""),
        (tcp("10.77.4.0/24", 80), "drop", "tcp dport vmap"),
        (tcp("10.77.4.0/24"), "drop", "policy drop"),
        (tcp("10.77.6.0/24"), "unsure", "tcp flags"),
        (tcp("10.77.7.0/24"), "unsure", "limit rate 10/second"),
        (packet("192.0.2.4/32"), "drop", "reject"),
        (packet("192.0.2.4/32", interface="lo"), "drop", "ip saddr 192.0.2.0/24 drop"),
    ],
)
def test_a_recorded_ruleset(recorded: Ruleset, asked: Packet, word: str, rule: str) -> None:
    outcome = recorded.outcome(asked)
    assert (outcome.word, rule in outcome.rule) == (word, True), outcome


def chain(*rules: list[Any], policy: str = "accept", hook: str = "input", **more: Any) -> dict[str, Any]:
    name = {"family": "inet", "table": "t", "name": "c"}
    made: list[Any] = [{"chain": {**name, "hook": hook, "prio": 0, "policy": policy, **more}}]
    made += [{"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 1, "expr": e}} for e in rules]
    return {"nftables": made}


DROP: list[Any] = [{"drop": None}]


def test_an_empty_ruleset_lets_everything_in() -> None:
    assert Ruleset({"nftables": []}).outcome(packet()) == Outcome("accept")


def test_a_chain_that_jumps_to_itself_ends() -> None:
    document = chain([{"jump": {"target": "c"}}])
    assert Ruleset(document).outcome(packet()).word in ("accept", "unsure")


def test_what_a_newer_nft_may_say_is_unsure() -> None:
    document = chain([{"teleport": {"to": "mars"}}])
    assert Ruleset(document).outcome(packet()).word == "unsure"


def test_an_extension_of_iptables_is_unsure_unless_it_is_known_to_decide_nothing() -> None:
    assert Ruleset(chain([{"xt": None}, *DROP])).outcome(packet()).word == "unsure"
    log = chain([{"xt": {"type": "target", "name": "LOG"}}], policy="accept")
    assert Ruleset(log).outcome(packet()).word == "accept"


def test_an_ingress_chain_of_who_knows_which_interface_may_be_ours() -> None:
    assert Ruleset(chain(DROP, hook="ingress")).outcome(packet()).word == "unsure"
    assert Ruleset(chain(DROP, hook="ingress", dev="eth0")).outcome(packet()).word == "drop"
    assert Ruleset(chain(DROP, hook="ingress", dev=["eth7"])).outcome(packet()).word == "accept"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["input", "inet", "@x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["match", "left", "right", "set", "vmap", "key", "data", "meta", "payload", "prefix", "op"]
            )
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(expression=st.lists(json_values, max_size=3), broadcast=st.booleans())
def test_no_expression_is_too_strange(expression: list[Any], broadcast: bool) -> None:
    outcome = Ruleset(chain(expression)).outcome(packet(broadcast=broadcast))
    assert outcome.word in ("accept", "drop", "unsure")


@given(
    low=st.integers(0, 50),
    size=st.integers(0, 20),
    parts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=5),
)
def test_covered_is_all_or_none_or_some_of_it(low: int, size: int, parts: list[tuple[int, int]]) -> None:
    span = Span(low, low + size)
    inside = {n for n in range(span.low, span.high + 1) if any(a <= n <= b for a, b in parts)}
    expected = True if len(inside) == size + 1 else None if inside else False
    assert covered(span, [Span(a, b) for a, b in parts if a <= b]) is expected


LISTING = """
-P INPUT DROP
-P FORWARD ACCEPT
-N ipmsg
-N ufw-before
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -j ufw-before
-A INPUT -p udp -m udp --dport 2425 -j ipmsg
-A INPUT -p tcp -m multiport --dports 22,2000:2425 -s 10.77.6.0/24 -j ACCEPT
-A INPUT -p tcp -m recent --update --seconds 60 -j DROP
-A INPUT ! -s 10.0.0.0/8 -p tcp -j ACCEPT
-A INPUT -m limit --limit 3/min -j LOG --log-prefix "dropped: "
-A ipmsg -s 10.77.1.0/24 -m comment --comment "our floor" -j ACCEPT
-A ipmsg -s 10.77.2.0/24 -m addrtype --dst-type BROADCAST -j ACCEPT
-A ipmsg -s 10.77.3.0/24 -j RETURN
-A ipmsg -s 10.77.4.0/25 -j REJECT --reject-with icmp-port-unreachable
-A ufw-before -i wan+ -j DROP
"""


@pytest.mark.parametrize(
    ("asked", "word", "rule"),
    [
        (packet(), "accept", ""),
        (packet(interface="wan1"), "drop", "-A ufw-before -i wan+ -j DROP"),
        (packet("10.77.2.0/24"), "drop", "policy drop"),
        (packet("10.77.2.0/24", broadcast=True), "accept", ""),
        (packet("10.77.3.0/24"), "drop", "iptables INPUT: policy drop"),
        (packet("10.77.4.0/25"), "drop", "-A ipmsg -s 10.77.4.0/25 -j REJECT"),
        (packet("10.77.4.0/24", state="established"), "accept", ""),
        (tcp("10.77.6.0/24"), "accept", ""),
        (tcp("10.77.7.0/24"), "drop", "policy drop"),
        (tcp("192.168.1.0/24"), "unsure", "-m recent"),
    ],
)
def test_iptables(asked: Packet, word: str, rule: str) -> None:
    outcome = iptables.outcome(LISTING, asked)
    assert (outcome.word, rule in outcome.rule) == (word, True), outcome


@given(st.text(alphabet="-APINUTjsdm !\"'\n0123456789./:", max_size=80))
def test_no_listing_is_too_strange(text: str) -> None:
    assert iptables.outcome(text, packet()).word in ("accept", "drop", "unsure")


# -- facts -----------------------------------------------------------------------------------------------------


class Programs:
    """Answers by the first words of a command."""

    def __init__(self, **answers: Ran) -> None:
        self._answers = {name.replace("_", " "): ran for name, ran in answers.items()}

    def __call__(self, words: Any) -> Ran:
        line = " ".join(words)
        return next((ran for name, ran in self._answers.items() if line.startswith(name)), Ran(-1, "", "no"))


def box(tmp_path: Path, programs: Programs, root: bool = True) -> Box:
    def way(address: str) -> Way:
        return Way(interface="eth0", source="10.77.1.2", gateway="10.77.1.1")

    return Box(proc=tmp_path, run=programs, way=way, root=root)


def facts(found: Box, fleet: bool = False, *remote: str) -> list[Fact]:
    return list(firewall.facts(found, [OURS], remote, fleet, 2425))


def test_segments_of_one_fate_stand_together_and_answers_are_better_than_nothing(tmp_path: Path) -> None:
    ran = Ran(0, LISTING, "")
    found = facts(box(tmp_path, Programs(iptables=ran)), False, "10.77.5.*", "10.77.7.*", "10.77.1.*")
    assert [(fact.outcome, fact.detail["segments"]) for fact in found] == [
        ("open", ["10.77.1.0/24"]),
        ("answers", ["10.77.5.*", "10.77.7.*"]),
    ]


def test_a_fleet_needs_tcp(tmp_path: Path) -> None:
    found = facts(box(tmp_path, Programs(iptables=Ran(0, LISTING, ""))), True)
    assert [(fact.check, fact.outcome) for fact in found][-1] == ("firewall-tcp", "closed")


def test_without_root_it_is_not_read_and_without_programs_there_is_none(tmp_path: Path) -> None:
    refused = Ran(1, "", "Operation not permitted (you must be root)")
    assert [fact.outcome for fact in facts(box(tmp_path, Programs(nft=refused), root=False))] == ["unread"]
    assert [fact.outcome for fact in facts(box(tmp_path, Programs(nft=refused)))] == ["not-checked"]
    assert [fact.outcome for fact in facts(box(tmp_path, Programs()))] == ["no-program"]
    assert [fact.outcome for fact in facts(box(tmp_path, Programs(nft=Ran(0, "no json", ""))))] == [
        "not-checked"
    ]


def test_old_rules_of_iptables_beside_nft_count_as_well(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "ip_tables_names").write_text("filter\n")
    empty = Ran(0, '{"nftables": []}', "")
    found = facts(box(tmp_path, Programs(nft=empty, **{"iptables-legacy": Ran(0, "-P INPUT DROP\n", "")})))
    assert [fact.outcome for fact in found] == ["closed"]
