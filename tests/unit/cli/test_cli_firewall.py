"""The openings: which rules follow from which segments, in every format."""

from __future__ import annotations

import json
import re

import pytest
from conftest import STATUS

from camrelay.cli.firewall import _markdown
from camrelay.cli.openings import MOST_PAIRED, NOTES, SWEEP, netsh, nft, openings
from camrelay.trace.words import LANGUAGES

TWO = openings(["192.168.1.0/24"], ["192.168.1.2"], ["192.168.1.*", "192.168.2.*"])


def facts(found):
    return {(r.source, r.destination, r.protocol, r.source_port, r.port, r.both) for r in found.rules}


def test_two_segments_need_messages_files_and_the_sweep():
    one, other, relay = ("192.168.1.0/24",), ("192.168.2.0/24",), ("192.168.1.2",)
    assert facts(TWO) == {
        (one, other, "udp", "2425", 2425, True),
        (one, other, "tcp", "any", 2425, True),
        (relay, other, "udp", "2425", 2425, True),
    }


def test_every_pair_of_segments_is_listed_remote_ones_too():
    found = openings(["192.168.1.0/24"], ["192.168.1.2"], ["192.168.2.*", "10.1.5.20"])
    pairs = {(r.source[0], r.destination[0]) for r in found.rules if r.protocol == "tcp"}
    assert pairs == {
        ("192.168.1.0/24", "10.1.5.20/32"),
        ("192.168.1.0/24", "192.168.2.0/24"),
        ("10.1.5.20/32", "192.168.2.0/24"),
    }


def test_own_segments_among_the_remote_ones_are_left_out():
    assert TWO.remote == ("192.168.2.0/24",)
    wide = openings(["192.168.0.0/16"], ["192.168.0.2"], ["192.168.2.*", "192.168.7.7"])
    assert wide.rules == ()


def test_many_segments_become_one_group():
    found = openings(["10.0.0.0/24"], ["10.0.0.2"], [f"10.0.{n}.*" for n in range(1, MOST_PAIRED + 1)])
    assert [len(r.source) for r in found.rules] == [MOST_PAIRED + 1, MOST_PAIRED + 1, 1]
    assert found.rules[0].source == found.rules[0].destination


def test_nft_replaces_itself_and_holds_each_network_once():
    text = nft(openings(["192.168.0.0/24"], ["192.168.0.2"], ["192.168.1.*", "10.1.5.20"]))
    assert "elements = { 10.1.5.20/32, 192.168.0.0/23 }" in text
    assert text.count("{") == text.count("}")
    assert text.index("flush chain") < text.index("udp dport 2425")


def test_netsh_names_every_segment_in_both_lines():
    udp, tcp = netsh(TWO).splitlines()
    assert "protocol=UDP localport=2425 remoteip=192.168.1.0/24,192.168.2.0/24" in udp
    assert "protocol=TCP" in tcp


def test_markdown_is_a_table_with_a_cell_for_every_column():
    for lang in LANGUAGES:
        rows = [line for line in _markdown(TWO, lang).splitlines() if line.startswith("|")]
        assert len(rows) == 2 + len(TWO.rules)
        assert {row.count("|") for row in rows} == {7}


def test_the_letter_to_a_japanese_network_team_is_in_japanese():
    words = re.compile("[ぁ-んァ-ヶ一-龠]")
    table, notes = _markdown(TWO, "ja").split("\n\n")[1:]
    assert all(words.search(row.split("|")[1]) for row in table.splitlines() if "---" not in row)
    assert all(words.search(note) for note in notes.splitlines())
    assert not words.search(_markdown(TWO, "en"))
    assert len(NOTES["ja"]) == len(NOTES["en"])


def test_json_has_stable_names():
    found = TWO.document()
    assert set(found) == {"local", "remote", "relays", "rules", "notes"}
    assert set(found["rules"][0]) == {
        "id",
        "purpose",
        "from",
        "to",
        "protocol",
        "source_port",
        "port",
        "both_ways",
    }


def test_segments_of_other_relays_need_the_same_between_clients_and_no_sweep():
    found = openings(
        ["192.168.1.0/24"], ["192.168.1.2"], ["192.168.2.*"], ["192.168.3.7/24", "192.168.1.0/24"]
    )
    assert found.remote == ("192.168.2.0/24", "192.168.3.0/24")
    assert [rule.destination for rule in found.rules if rule.purpose == SWEEP] == [("192.168.2.0/24",)]
    assert "192.168.3.0/24" in netsh(found)


@pytest.fixture
def two_remote(daemon):
    """A configuration with two remote segments, of a daemon that runs."""
    with daemon.config.open("a") as file:
        file.write('\n[remote]\nsegments = ["10.9.1.*", "10.9.2.*"]\n')
    return daemon


def test_segments_of_other_relays_are_asked_of_the_daemon(run, two_remote):
    daemon = two_remote
    asked = json.loads(run("firewall", "--json", "--config", daemon.config).out)
    assert "10.9.8.0/24" not in asked["remote"]
    told = STATUS["relay"]["segments"][0] | {"name": "10.9.8.0/24", "kind": "remote"}
    daemon.answers("status", STATUS | {"relay": STATUS["relay"] | {"segments": [told]}})
    asked = json.loads(run("firewall", "--json", "--config", daemon.config).out)
    assert "10.9.8.0/24" in asked["remote"]


def test_a_daemon_that_refuses_is_said_and_the_rest_is_printed(run, two_remote):
    daemon = two_remote
    daemon.lines["status"] = [{"v": 1, "ok": False, "error": "busy"}]
    page = run("firewall", "--json", "--config", daemon.config)
    assert (page.code, page.err) == (0, "camrelay: busy; segments of other relays are left out\n")


def test_nothing_to_open_is_a_finding(run, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('[relay]\ninterfaces = ["nope0"]\n')
    page = run("firewall", "--config", config)
    assert page.code == 1
    assert "[remote] segments" in page.err
