"""What the steps of a walk mean."""

from __future__ import annotations

import pytest

from camrelay.daemon.probes.hops import Hop, Walk, loop, path_fact, udp_fact, walk
from camrelay.daemon.probes.troubles import Trouble
from camrelay.daemon.probes.ways import Way

ROUTED = Way(number=2, interface="eth0", source="10.1.0.2", gateway="10.1.0.1", network="0.0.0.0/0")
ON_LINK = ROUTED._replace(gateway="", network="10.1.0.0/24")
TARGET = "10.3.0.9"


def steps(*addresses: str) -> tuple[Hop, ...]:
    return tuple(Hop(ttl, address, 1.0) for ttl, address in enumerate(addresses, 1))


def walked(*addresses: str, **more: object) -> Walk:
    return Walk(TARGET, 2425, ROUTED, steps(*addresses), **more)  # type: ignore[arg-type]


def test_whoever_answers_is_reached() -> None:
    fact = path_fact(walked("10.1.0.1", "", "10.2.0.2", answered=True))
    assert (fact.check, fact.outcome) == ("path", "reaches")
    assert fact.detail["hops"] == ["10.1.0.1", "*", "10.2.0.2"]
    assert [step["ttl"] for step in fact.detail["steps"]] == [1, 2, 3]


def test_whoever_refuses_is_reached() -> None:
    seen = walked("10.1.0.1", end=Trouble("refused", TARGET))
    assert path_fact(seen).outcome == "reaches"
    fact = udp_fact(seen)
    assert fact is not None
    assert (fact.check, fact.outcome, fact.detail) == ("udp", "refused", {"by": TARGET})


def test_silence_at_the_end_is_where_it_stops_unless_the_target_is_known_to_answer() -> None:
    fact = path_fact(walked("10.1.0.1", "10.2.0.2"))
    assert (fact.outcome, fact.detail["last"]) == ("stops", "10.2.0.2")
    assert path_fact(walked("10.1.0.1", "10.2.0.2"), answers=True).outcome == "reaches"


def test_silence_from_the_beginning_names_nobody() -> None:
    fact = path_fact(walked())
    assert fact.outcome == "stops"
    assert "last" not in fact.detail


def test_a_router_that_says_no_is_where_it_stops() -> None:
    seen = walked("10.1.0.1", "10.2.0.2", end=Trouble("prohibited", "10.2.0.2"))
    assert path_fact(seen).detail["last"] == "10.2.0.2"
    fact = udp_fact(seen)
    assert fact is not None
    assert (fact.outcome, fact.detail) == ("prohibited", {"by": "10.2.0.2"})


@pytest.mark.parametrize(
    ("other", "beyond"),
    [
        (walked("10.1.0.1", "10.2.0.2", "10.2.1.2"), "10.2.0.2"),
        (walked("10.1.0.1", "", "10.2.1.2"), "10.2.1.2"),
        (walked("10.1.0.1", end=Trouble("refused", TARGET)), None),  # an open port is silent
        (walked("10.1.0.1"), None),
        (walked(), None),
        (Walk(TARGET, 33434, ON_LINK), None),
        (None, None),
    ],
)
def test_where_another_port_comes_farther_this_one_is_filtered(
    other: Walk | None, beyond: str | None
) -> None:
    fact = path_fact(walked("10.1.0.1"), other=other)
    assert fact.outcome == ("filtered" if beyond else "stops")
    assert fact.detail.get("next") == beyond
    assert fact.detail["last"] == "10.1.0.1"


def test_neighbours_have_no_routers_between() -> None:
    assert path_fact(Walk(TARGET, 2425, ON_LINK)).outcome == "direct"


def test_nothing_left_this_host() -> None:
    fact = path_fact(walked(refused="no route leads there"), check="path-other")
    assert (fact.check, fact.outcome) == ("path-other", "not-checked")
    assert fact.detail == {"why": "no route leads there"}


def test_our_own_firewall_is_named_by_our_own_address() -> None:
    fact = udp_fact(walked(end=Trouble("prohibited"), refused="this host does not send it"))
    assert fact is not None
    assert (fact.outcome, fact.detail) == ("prohibited", {"by": "10.1.0.2"})


@pytest.mark.parametrize(
    ("addresses", "loops"),
    [
        (["a", "b", "a"], True),
        (["a", "b", "b", "b"], True),
        (["a", "a", "b"], False),
        (["a", "", "", "b"], False),
        (["a", "b", "c"], False),
    ],
)
def test_a_router_that_comes_again_is_a_loop(addresses: list[str], loops: bool) -> None:
    assert loop(steps(*addresses)) is loops
    assert (path_fact(walked(*addresses)).outcome == "loops") is loops


def test_a_router_that_says_no_is_no_loop() -> None:
    assert not loop([*steps("a", "b"), Hop(3, "b", 1.0, "prohibited"), Hop(4, "b", 1.0, "prohibited")])


async def test_ourselves_are_not_walked_to() -> None:
    fact = path_fact(await walk("127.0.0.1", 2425, b"harmless"))
    assert (fact.outcome, fact.detail) == ("not-checked", {"why": "is this host itself"})
