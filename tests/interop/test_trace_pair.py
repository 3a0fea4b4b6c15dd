"""``trace peer`` and ``trace path`` between real relays at three sites: sound lines, and bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .conftest import Measure
    from .fleet import Fleet

pytestmark = pytest.mark.interop


def outcomes(facts: Iterable[dict[str, Any]], role: str = "") -> dict[str, str]:
    return {fact["check"]: fact["outcome"] for fact in facts if fact["role"] == role}


def detail(facts: Iterable[dict[str, Any]], check: str) -> dict[str, Any]:
    (found,) = [fact["detail"] for fact in facts if fact["check"] == check and not fact["role"]]
    return dict(found)


HEALTHY = {
    "link": "linked",
    **{
        check + end: outcome
        for end in ("-out", "-in")
        for check, outcome in {
            "udp": "passes",
            "large": "passes",
            "mtu": "full",
            "tcp": "open",
            "calls": "open",
            "source": "same",
            "speak-own": "arrives",
            "speak-foreign": "arrives",
            "path": "reaches",
        }.items()
    },
}


def test_sound_lines_between_two_relays(fleet: Fleet, measure: Measure) -> None:
    code, told = fleet["r1"].trace("peer", "r2")
    print(told)
    facts = told["facts"]
    assert outcomes(facts) == HEALTHY
    assert (code, told["verdicts"]) == (0, [])
    for end in ("-out", "-in"):
        line = detail(facts, f"udp{end}")
        assert line["received"] == 20
        assert line["ms"] < 50
        assert detail(facts, f"mtu{end}") == {"mtu": 1500}
    assert detail(facts, "path-out")["hops"] == ["10.78.1.1", "10.78.100.5", "10.78.100.10"]
    measure("trace peer over sound lines", told["seconds"])


def test_a_bad_line_between_two_relays(fleet: Fleet, measure: Measure) -> None:
    """100 to 130 ms each way, 5 % lost."""
    fleet.sites.lines["2"].set(delay=0.1, jitter=0.03, loss=0.05)
    _, told = fleet["r1"].trace("peer", "r2")
    print(told)
    facts = told["facts"]
    for end in ("-out", "-in"):
        line = detail(facts, f"udp{end}")
        assert 10 <= line["received"] <= 20
        assert line["lost_percent"] == 100 - 5 * line["received"]
        assert 90 <= line["ms"] <= 400  # on a machine that is busy with other tests, too
        assert 1 <= line["jitter_ms"] <= 100
    found = outcomes(facts)
    assert {found["tcp-out"], found["tcp-in"]} == {"open"}
    assert {found["source-out"], found["source-in"]} == {"same"}
    measure("trace peer over a bad line", told["seconds"])


def test_a_relay_behind_a_line_that_is_cut(fleet: Fleet, measure: Measure) -> None:
    fleet["r2"].kill()
    fleet.spoil("r2")
    code, told = fleet["r1"].trace("peer", "r2")
    print(told)
    assert code == 1
    assert outcomes(told["facts"])["link"] == "away"
    assert next(verdict["id"] for verdict in told["verdicts"]) == "pair-away"
    measure("trace peer of a relay that is away", told["seconds"])


def test_two_users_of_two_sites_and_nothing_wrong(fleet: Fleet, measure: Measure) -> None:
    fleet.traced = True
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    alice.wait_listed(carol)
    carol.wait_listed(alice)
    code, told = fleet["r1"].trace("path", "alice", "carol")
    print(told)
    facts = told["facts"]
    assert outcomes(facts) == HEALTHY | {"shown-out": "yes", "shown-in": "yes"}
    for role in ("1", "2", "1far", "2far"):
        assert outcomes(facts, role)["udp"] == "answered", role
    assert (code, [verdict["id"] for verdict in told["verdicts"]]) == (0, [])
    assert told["subject"]["first_relay"] == "r1"
    assert told["subject"]["second_relay"] == "r2"
    measure("trace path over sound lines", told["seconds"])


def test_a_third_relay_asks_for_two_users_of_others(fleet: Fleet, measure: Measure) -> None:
    fleet.traced = True
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    alice.wait_listed(carol)
    fleet.agree([alice, carol])
    code, told = fleet["r3"].trace("path", "alice", "carol")
    print(told)
    assert outcomes(told["facts"]) == HEALTHY | {"shown-out": "yes", "shown-in": "yes"}
    assert code == 0
    measure("trace path of users of two other relays", told["seconds"])
    code, told = fleet["r2"].trace("path", "alice", "carol")
    assert outcomes(told["facts"]) == HEALTHY | {"shown-out": "yes", "shown-in": "yes"}
    assert detail(told["facts"], "path-out")["hops"][0] == "10.78.1.1", "out is from the first user's side"
