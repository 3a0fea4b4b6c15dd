"""search: what is asked, the table, the hosts that are kept, exit codes."""

from __future__ import annotations

import pytest

HIT = {
    "address": "192.168.3.7", "nick": "田中", "group": "営業", "logon": "tanaka", "host": "PC-7", "kind": "windows",
    "version": "4.99r3 x64", "ms": 812.0, "known": False,
}  # fmt: skip
FOUND = {"asked": 254, "seconds": 6.9, "found": [HIT], "added": 0, "by": ""}
EVENTS = ({}, {"asked": 100, "total": 254, "answered": 0, "found": []})


def test_hits_are_a_table(run, daemon):
    daemon.answers("search", FOUND, before=EVENTS)
    page = run("search", "192.168.3.*", "--config", daemon.config)
    assert page.code == 0
    assert "田中" in page.out
    assert "254 addresses asked in 6.9 s, 1 answered" in page.out
    assert daemon.asked[-1]["more"] == {"segments": ["192.168.3.*"], "add": False, "peer": ""}


def test_add_and_from_are_passed_on(run, daemon):
    daemon.answers("search", {**FOUND, "added": 1, "by": "osaka"})
    page = run("search", "192.168.3.*", "10.1.5.20", "--add", "--from", "osaka", "--config", daemon.config)
    more = {"segments": ["192.168.3.*", "10.1.5.20"], "add": True, "peer": "osaka"}
    assert daemon.asked[-1]["more"] == more
    assert "hosts added: 1" in page.out
    assert "asked by osaka" in page.out


def test_nobody_answered_is_exit_1_and_json_is_the_result(run, daemon):
    daemon.answers("search", {**FOUND, "found": []}, before=EVENTS)
    assert run("search", "192.168.3.*", "--config", daemon.config).code == 1
    assert run("search", "192.168.3.*", "--json", "--config", daemon.config).json == {**FOUND, "found": []}


def test_hosts_that_are_kept(run, daemon):
    host = {"address": "192.168.3.7", "nick": "taro\x1b[2J", "kind": "iptux", "found": "2026-11-22T03:00:00Z"}
    daemon.answers("discovered", {"hosts": [host], "problem": "it was damaged"})
    page = run("search", "--list", "--config", daemon.config)
    assert page.code == 0
    assert "warning: it was damaged" in page.out
    assert "taro·[2J" in page.out
    daemon.answers("discovered", {"hosts": [], "problem": ""})
    assert run("search", "--list", "--config", daemon.config).code == 1


def test_forgetting(run, daemon):
    daemon.answers("forget", {"forgotten": ["192.168.3.7"]})
    page = run("search", "--forget", "192.168.3.7", "--forget", "192.168.3.8", "--config", daemon.config)
    assert (page.code, page.out) == (0, "forgotten: 192.168.3.7\n")
    assert daemon.asked[-1]["more"] == {"addresses": ["192.168.3.7", "192.168.3.8"]}
    daemon.answers("forget", {"forgotten": []})
    assert run("search", "--forget", "10.9.9.9", "--config", daemon.config).code == 1


@pytest.mark.parametrize("words", [(), ("10.1.5.20", "--list"), ("--list", "--forget", "all")])
def test_one_thing_at_a_time(run, words):
    page = run("search", *words)
    assert page.code == 2
    assert "either segments" in page.err


def test_japanese(run, daemon):
    daemon.answers("search", FOUND, before=EVENTS)
    page = run("search", "192.168.3.*", "--lang", "ja", "--config", daemon.config)
    assert "ニックネーム" in page.out
    assert "254 個のアドレスに問い合わせ(6.9 秒)、応答 1 件" in page.out
