"""status: one screen, and an exit code that says whether users are served."""

from __future__ import annotations

from copy import deepcopy

import pytest
from conftest import STATUS


@pytest.fixture
def status():
    return deepcopy(STATUS)


def test_a_healthy_relay_is_exit_0_and_shows_its_segments(run, daemon):
    page = run("status", "--config", daemon.config)
    assert page.code == 0
    assert "hq-1f" in page.out
    assert "up 2 h 5 min" in page.out
    assert "speaks for others: yes" in page.out
    assert "192.168.2.*" in page.out
    assert "65 s ago, next in 1 s" in page.out
    assert "warning" not in page.out


def test_segments_that_another_relay_serves_name_it_and_show_no_sweep(run, daemon, status):
    local, remote = status["relay"]["segments"]
    status["relay"]["segments"] = [
        local | {"served_by": "hq-2"},
        remote | {"served_by": "branch"},
        remote | {"name": "192.168.3.0/24", "addresses": 0, "swept": None, "next_sweep": None},
    ]
    daemon.answers("status", status)
    page = run("status", "--config", daemon.config)
    assert "eth0, 192.168.1.2, relay hq-2 announces" in page.out
    assert "relay branch" in page.out
    assert "next in" not in page.out
    assert "routers, sweep" not in page.out


def test_counters_at_zero_do_not_show(run, daemon):
    assert "malformed" not in run("status", "--config", daemon.config).out


def test_json_is_the_daemons_answer(run, daemon):
    page = run("status", "--json", "--config", daemon.config)
    assert page.json == STATUS


def test_not_speaking_for_others_is_a_finding_and_says_how_many_it_costs(run, daemon, status):
    status["relay"] |= {"can_speak": False, "unserved": 2}
    status["warnings"] = ["cannot announce users: start through camrelay.socket"]
    daemon.answers("status", status)
    page = run("status", "--config", daemon.config)
    assert page.code == 1
    assert "speaks for others: no, 2 of the users here not served" in page.out
    assert page.out.count("camrelay.socket") == 1


def test_a_second_network_on_the_wire_is_a_finding(run, daemon, status):
    status["relay"]["foreign"] = {"192.168.9.0/24": 12}
    daemon.answers("status", status)
    page = run("status", "--config", daemon.config)
    assert page.code == 1
    assert "12 hosts of 192.168.9.0/24 broadcast here" in page.out
    assert "also = " in page.out


def test_no_segment_of_its_own_is_a_finding(run, daemon, status):
    del status["relay"]["segments"][0]
    daemon.answers("status", status)
    assert run("status", "--config", daemon.config).code == 1


def test_a_warning_that_costs_no_user_anything_is_shown_and_no_finding(run, daemon, status):
    status["warnings"] = ["receive buffer 212992 of 8388608 bytes: sysctl -w net.core.rmem_max=8388608"]
    status["database"]["error"] = "disk full"
    status["config"]["problem"] = "line 3: ..."
    daemon.answers("status", status)
    page = run("status", "--config", daemon.config)
    assert page.code == 0
    assert "sysctl" in page.out
    assert "disk full" in page.out
    assert "line 3" in page.out


def test_polls_and_agents_of_a_member_master_show(run, daemon, status):
    agent = {"nick": "Bob", "score": 1, "polled": 12.0}
    agents = [agent | {"address": f"192.168.2.{n}", "asks": n == 7} for n in (7, 8)]
    row = {
        "network": "192.168.2.0/24",
        "polling": 3,
        "agents": agents,
        "reported": 9,
        "answered": 65.0,
        "why": "",
    }
    status["relay"]["master"] = [
        row,
        row
        | {"network": "192.168.4.0/23", "agents": [], "answered": None, "why": "clients compute /23 wrongly"},
    ]
    daemon.answers("status", status)
    page = run("status", "--config", daemon.config)
    assert page.code == 0
    assert "192.168.2.7 (asks), 192.168.2.8" in page.out
    assert "65 s ago" in page.out
    assert "none: clients compute /23 wrongly" in page.out


def test_without_polls_there_is_no_such_table(run, daemon):
    assert "polls from" not in run("status", "--config", daemon.config).out
