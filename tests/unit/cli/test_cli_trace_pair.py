"""trace peer and path: a matrix of who sends what to whom, the hosts, the verdicts; as JSON; in both languages."""

from __future__ import annotations

from typing import Any

import pytest

PAIR = [
    {"check": "link", "outcome": "linked", "detail": {"address": "10.2.0.1:2425", "rtt_ms": 12.0}},
    {"check": "udp-out", "outcome": "passes", "seconds": 1.5,
     "detail": {"sent": 20, "received": 20, "jitter_ms": 0.4, "lost_percent": 0, "ms": 6.1}},
    {"check": "udp-in", "outcome": "lossy", "seconds": 1.5,
     "detail": {"sent": 20, "received": 15, "jitter_ms": 0.4, "lost_percent": 25, "ms": 6.1}},
    {"check": "tcp-out", "outcome": "silent", "seconds": 3.3, "detail": {"port": 2425}},
    {"check": "calls-in", "outcome": "some", "detail": {"open": [22224], "closed": [22225]}},
]  # fmt: skip
SUBJECT = {"here": "hq", "there": "branch\x1b[2J", "here_address": "10.1.0.1", "there_address": "10.2.0.1"}
PEER: dict[str, Any] = {"subject": SUBJECT, "facts": PAIR, "seconds": 8.0}
USERS = {
    "first": "taro", "second": "hanako", "first_address": "10.1.0.7", "second_address": "10.2.0.7",
    "first_relay": "hq", "second_relay": "branch",
}  # fmt: skip
HOSTS = [
    {"check": "udp", "outcome": "answered", "role": role, "by": by, "detail": {"ms": 3.0}}
    for role, by in (("1", "hq"), ("2", "branch"), ("1far", "branch"), ("2far", "hq"))
]
SHOWN = [{"check": "shown-in", "outcome": "rule", "detail": {"rule": 2, "segment": "10.1.0.0/24"}}]


def lines(out: str, word: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines() if word in line]


def test_the_matrix_has_one_direction_after_the_other(run, daemon):
    daemon.answers("pair", PEER, before=({"begun": "udp-out", "role": "", "by": ""}, {}))
    page = run("trace", "peer", "branch", "--config", daemon.config, "--lang", "en")
    assert daemon.asked == [{"v": 1, "do": "pair", "more": {"peer": "branch"}}]
    assert page.out.index("20 of 20 arrive") < page.out.index("no answer") < page.out.index("15 of 20 arrive")
    assert lines(page.out, "20 of 20")[0].startswith("UDP 2425")
    assert lines(page.out, "link between")[0].startswith("hq branch")
    assert lines(page.out, "15 of 20")[0].startswith("branch")
    assert "Calls go from PC to PC" in page.out
    assert "\x1b" not in page.out
    assert page.code == 1


def test_json_has_the_matrix_and_everything_else(run, daemon):
    daemon.answers("pair", PEER)
    page = run("trace", "peer", "branch", "--config", daemon.config, "--json", "--lang", "en")
    rows = {(row["from"], row["check"]): row for row in page.json["matrix"]}
    assert rows["hq", "tcp"]["outcome"] == "silent"
    assert rows["hq", "tcp"]["good"] is False
    assert rows["branch\x1b[2J", "udp"]["to"] == "hq"
    assert len(page.json["facts"]) == len(PAIR)
    assert page.json["seconds"] == 8.0
    assert "pair-lossy" in [verdict["id"] for verdict in page.json["verdicts"]]


def test_a_sound_way_is_no_finding(run, daemon):
    daemon.answers("pair", PEER | {"facts": PAIR[:2]})
    page = run("trace", "peer", "branch", "--config", daemon.config, "--lang", "en")
    assert page.code == 0
    assert "Nothing wrong was found." in page.out
    assert "Calls go" not in page.out


def test_the_same_in_japanese(run, daemon):
    daemon.answers("pair", PEER)
    page = run("trace", "peer", "branch", "--config", daemon.config, "--lang", "ja")
    for text in ("送信側", "20 個中 15 個到着", "通話は PC 同士"):
        assert text in page.out, text


def test_two_users_seen_from_both_sides(run, daemon):
    daemon.answers("path", {"subject": USERS, "facts": [*SHOWN, *PAIR, *HOSTS], "seconds": 12.0})
    page = run("trace", "path", "taro", "hanako", "--config", daemon.config, "--lang", "en")
    assert daemon.asked[-1]["more"] == {"first": "taro", "second": "hanako"}
    for text in ("taro, seen by hq", "hanako, seen by branch", "taro, seen by branch", "hanako, seen by hq"):
        assert text in page.out, text
    assert lines(page.out, "hidden by the rule 2")[0].startswith("hanako taro")
    assert page.code == 1


def test_two_users_of_one_relay_and_one_of_none(run, daemon):
    daemon.answers("path", {"subject": USERS | {"second_relay": "hq"}, "facts": HOSTS[:2], "seconds": 5.0})
    page = run("trace", "path", "taro", "hanako", "--config", daemon.config, "--lang", "en")
    assert "Both users are at relay hq" in page.out
    daemon.answers("path", {"subject": USERS | {"second_relay": ""}, "facts": HOSTS[:1], "seconds": 5.0})
    page = run("trace", "path", "taro", "hanako", "--config", daemon.config, "--lang", "en")
    assert "No relay has a segment for hanako" in page.out
    assert page.code == 0


@pytest.mark.parametrize(("error", "code"), [("no relay of the fleet is called 'x'", 2), ("busy", 1)])
def test_refusals_have_their_exit_codes(run, daemon, error, code):
    daemon.refuses("pair", error, code)
    page = run("trace", "peer", "x", "--config", daemon.config)
    assert page.code == code
    assert error in page.err
