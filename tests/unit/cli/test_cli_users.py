"""users: filters, order, JSON, watching."""

from __future__ import annotations

import json

import pytest
from conftest import ROW, STATUS

ROWS = [
    ROW,
    ROW
    | {
        "logon": "anna",
        "host": "NB-9",
        "nick": "Anna",
        "group": "Sales",
        "address": "192.168.2.9",
        "segment": "192.168.2.*",
        "kind": "iptux",
        "state": "offline",
        "home": False,
        "last_seen": 9000.0,
    },
    ROW
    | {
        "logon": "bob",
        "host": "NB-10",
        "nick": "Bob",
        "group": "",
        "address": "192.168.2.10",
        "port": 2426,
        "segment": "192.168.2.*",
        "kind": "unknown",
        "state": "unverified",
        "away": True,
        "twin": "192.168.2.77",
    },
]


@pytest.fixture
def asks(run, daemon):
    daemon.answers("users", ROWS)
    return lambda *words: run("users", "--config", daemon.config, *words)


def nicks(page):
    return [row["nick"] for row in page.json]


def test_the_table_has_a_line_for_each_user_and_cuts_nothing_when_piped(asks):
    page = asks()
    assert page.code == 0
    assert "田中" in page.out
    assert "192.168.2.10:2426" in page.out
    assert "unverified, away, twin at 192.168.2.77" in page.out
    assert "…" not in page.out
    assert page.out.endswith("3 users, 1 online\n")


def test_json_is_an_array_of_all_fields(asks):
    assert asks("--json").json == ROWS


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--segment", "192.168.2.*"], ["Anna", "Bob"]),
        (["--state", "offline"], ["Anna"]),
        (["--state", "offline", "--state", "online"], ["田中", "Anna"]),
        (["--search", "SALES"], ["Anna"]),
        (["--search", "nb-", "--state", "unverified"], ["Bob"]),
        (["--search", "田"], ["田中"]),
    ],
)
def test_filters_narrow(asks, words, left):
    assert nicks(asks("--json", *words)) == left


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("address", ["田中", "Anna", "Bob"]),  # .9 before .10
        ("nick", ["Anna", "Bob", "田中"]),
        ("seen", ["田中", "Bob", "Anna"]),
        ("host", ["Bob", "Anna", "田中"]),
    ],
)
def test_sorting(asks, sort, order):
    assert nicks(asks("--json", "--sort", sort)) == order


def test_nobody_found_is_exit_1(asks):
    page = asks("--search", "nobody")
    assert page.code == 1
    assert page.out == "0 users, 0 online\n"
    assert asks("--search", "nobody", "--json").json == []


def test_control_characters_of_a_nick_do_not_reach_the_terminal(run, daemon):
    daemon.answers("users", [ROW | {"nick": "\x1b[2Jevil\u202e\x9b", "group": "[bold]g[/]"}])
    page = run("users", "--config", daemon.config)
    assert not {"\x1b", "\x9b", "\u202e"} & set(page.out)
    assert "evil" in page.out
    assert "[bold]g[/]" in page.out
    page = run("users", "--config", daemon.config, "--json")
    assert not {"\x1b", "\x9b"} & set(page.out)
    assert page.json[0]["nick"] == "\x1b[2Jevil\u202e\x9b"


def test_watching_shows_events_until_the_daemon_ends(run, daemon):
    events = ({"event": "joined", "user": ROWS[0]}, {"event": "left", "user": ROWS[1], "reason": "exit"})
    daemon.answers("users", ROWS, after=events)
    page = run("users", "--watch", "--config", daemon.config)
    assert page.code == 3
    assert page.err.startswith("camrelay: the daemon has ended")
    lines = page.out.splitlines()
    assert "joined" in lines[-2]
    assert "田中" in lines[-2]
    assert lines[-1].endswith("reason: exit")
    assert daemon.asked[-1] == {"v": 1, "do": "users", "watch": True}


def test_watching_as_json_is_one_object_per_line(run, daemon):
    events = ({"event": "joined", "user": ROWS[0]}, {"event": "left", "user": ROWS[1], "reason": "exit"})
    daemon.answers("users", ROWS, after=events)
    page = run("users", "--watch", "--json", "--segment", "192.168.2.*", "--config", daemon.config)
    (line,) = page.out.splitlines()
    value = json.loads(line)
    assert (value["event"], value["reason"], value["user"]) == ("left", "exit", ROWS[1])
    assert "T" in value["time"]


RULES = """
[[share]]
from = ["group:sales", "192.168.1.11"]
to = ["192.168.2.*"]
[[share]]
from = ["192.168.2.*"]
to = ["here"]
"""
ONLINE = [row | {"state": "online"} for row in ROWS]


@pytest.fixture
def seen_from(run, daemon):
    """Asks with rules in the configuration file, of which the daemon need not know."""

    def ask(segment, *words, rules=RULES, rows=ONLINE):
        daemon.config.write_text(f'[relay]\ncontrol = "{daemon.path}"\n{rules}')
        daemon.answers("users", rows)
        return run("users", "--config", daemon.config, "--as-seen-from", segment, *words)

    return ask


@pytest.mark.parametrize(
    ("segment", "seen"),
    [
        ("192.168.2.*", ["Anna", "Bob"]),  # own people always see one another
        ("192.168.2.0/24", ["Anna", "Bob"]),
        ("192.168.2.200", ["Anna", "Bob"]),
        ("192.168.1.0/24", ["田中"]),
        ("192.168.1.*", ["田中"]),
        ("192.168.1.77", ["田中"]),
        ("10.9.0.0/16", ["田中", "Anna", "Bob"]),
        ("192.168.2.128/25", ["Anna", "Bob"]),
        ("192.168.0.0/16", ["Bob"]),  # not one segment, so the first rule hides from all of it
    ],
)
def test_a_segment_sees_whom_the_rules_of_the_file_show_there(seen_from, segment, seen):
    assert nicks(seen_from(segment, "--json")) == seen


def test_the_table_says_how_many_are_hidden_and_by_which_rule(seen_from):
    page = seen_from("192.168.1.0/24")
    assert page.code == 0
    assert page.out.endswith("1 user, 1 online; hidden from 192.168.1.0/24: 2 (share[2]: 2)\n")
    assert seen_from("10.9.0.0/16").out.endswith("3 users, 3 online; hidden from 10.9.0.0/16: 0\n")


def test_filters_narrow_what_a_segment_sees(seen_from):
    assert nicks(seen_from("192.168.2.*", "--json", "--search", "bob")) == ["Bob"]
    page = seen_from("192.168.2.*", "--search", "tanaka")
    assert page.code == 1
    assert page.out == "0 users, 0 online; hidden from 192.168.2.*: 1 (share[1]: 1)\n"


def test_neither_those_who_are_gone_nor_relays_are_shown_elsewhere(seen_from):
    rows = [ROW, ROW | {"kind": "camrelay", "nick": "relay"}, ROW | {"state": "offline", "nick": "gone"}]
    assert nicks(seen_from("10.9.0.0/16", "--json", rows=rows)) == ["田中"]
    assert nicks(seen_from("192.168.1.0/24", "--json", rows=rows)) == ["田中", "relay"]


def test_further_networks_of_a_wire_are_part_of_its_segment(seen_from):
    rules = 'also = ["eth0=10.5.0.0/24"]\n[[share]]\nfrom = ["*"]\nto = ["10.5.0.0/24"]'
    assert nicks(seen_from("192.168.1.0/24", "--json", rules=rules)) == ["田中"]
    assert nicks(seen_from("10.5.0.9", "--json", rules=rules)) == ["田中"]


@pytest.mark.parametrize("segment", ["sales", "10.77.1.2", "192.168.2.1/24"])
def test_what_is_no_segment_is_told_with_those_that_are(seen_from, segment):
    page = seen_from(segment)
    assert page.code == 2
    assert page.err == (
        f"camrelay: {segment} is no segment, and no address in one (there: 192.168.1.0/24, 192.168.2.*)\n"
    )


def test_a_peers_segment_sees_none_of_ours_whom_the_peer_may_not_know_of(seen_from, daemon):
    segments = STATUS["relay"]["segments"]
    theirs = segments[1] | {"name": "10.7.1.0/24", "served_by": "branch"}
    daemon.answers("status", STATUS | {"relay": STATUS["relay"] | {"segments": [*segments, theirs]}})
    rules = '[[share]]\nfrom = ["192.168.1.*"]\nto = ["peer:branch"]\n[[share]]\nfrom = ["peer:hq"]\nto = ["10.7.1.*"]'
    told = [
        ROW | {"nick": nick, "home": False, "via": nick, "segment": "10.9.9.*"} for nick in ("hq", "other")
    ]
    rows = [*ONLINE, *told]
    assert nicks(seen_from("10.7.1.9", "--json", rules=rules, rows=rows)) == ["other", "Anna", "Bob"]
    assert nicks(seen_from("192.168.2.*", "--json", rules=rules, rows=rows))[-3:] == ["田中", "Anna", "Bob"]


def test_a_rule_that_names_a_relay_by_its_id_is_judged_by_it(seen_from, daemon):
    ids = {"hq": "1a2b3c4d" * 8, "branch": "99887766" * 8}
    segments = STATUS["relay"]["segments"]
    theirs = segments[1] | {"name": "10.7.1.0/24", "served_by": "branch"}
    peers = [{"name": name, "id": id_} for name, id_ in ids.items()]
    relay = STATUS["relay"] | {"segments": [*segments, theirs]}
    daemon.answers("status", STATUS | {"relay": relay, "fleet": STATUS["fleet"] | {"peers": peers}})
    rules = (
        '[[share]]\nfrom = ["192.168.1.*"]\nto = ["peer:99887766"]\n'
        '[[share]]\nfrom = ["peer:1a2b3c4d"]\nto = ["10.7.1.*"]'
    )
    told = [
        ROW | {"nick": nick, "home": False, "via": nick, "segment": "10.9.9.*"} for nick in ("hq", "branch")
    ]
    page = seen_from("10.7.1.9", "--json", rules=rules, rows=[*ONLINE, *told])
    assert nicks(page) == ["branch", "Anna", "Bob"]  # without ids also hq, and 田中, who is in 192.168.1.*


def test_watching_shows_what_a_segment_sees(run, daemon):
    daemon.config.write_text(f'[relay]\ncontrol = "{daemon.path}"\n{RULES}')
    events = [{"event": "joined", "user": row} for row in ONLINE]
    daemon.answers("users", [], after=events)
    page = run("users", "--config", daemon.config, "--as-seen-from", "10.9.0.0/16", "--watch", "--json")
    assert [json.loads(line)["user"]["nick"] for line in page.out.splitlines()] == ["田中", "Anna", "Bob"]
    page = run("users", "--config", daemon.config, "--as-seen-from", "192.168.1.5", "--watch", "--json")
    assert [json.loads(line)["user"]["nick"] for line in page.out.splitlines()] == ["田中"]
