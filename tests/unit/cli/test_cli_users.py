"""users: filters, order, JSON, watching."""

from __future__ import annotations

import json

import pytest
from conftest import ROW

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
