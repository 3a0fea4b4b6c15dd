"""A terminal of 80 columns: nothing sticks out, no address is torn, and Japanese cells are broken as Japanese is."""

from __future__ import annotations

import io
import re
from copy import deepcopy
from typing import Any

import pytest
import test_cli_peer
import test_cli_search
import test_cli_trace_host
import test_cli_trace_pair
import test_cli_trace_watch
import test_cli_trace_why
from conftest import ROW, STATUS
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from camrelay.cli import firewall
from camrelay.cli.openings import openings
from camrelay.cli.show import table
from camrelay.cli.wrapping import NOT_FIRST, NOT_LAST, Prose

WIDTH = 80
LANGUAGES = ("en", "ja")
SEEN = "192.168.172.212", "192.168.171.0/24", "192.168.172.*"  # as wide as they come
LONG = ROW | {
    "nick": "長谷川 健太郎", "group": "第二営業部・東日本エリア担当", "host": "DESKTOP-7F3K2LQ", "address": SEEN[0],
    "segment": SEEN[1], "state": "online", "away": True, "twin": "192.168.172.213",
}  # fmt: skip
HIT = test_cli_search.HIT | {"address": SEEN[0], "host": "DESKTOP-7F3K2LQ", "group": LONG["group"]}
PEER = test_cli_peer.PEER | {
    "name": "branch-osaka-2f", "address": "192.168.172.213:49678", "drops": {"replaced": 1, "silent": 2},
}  # fmt: skip
LOST = PEER | {
    "state": "unreachable",
    "why": "branch-osaka-2f (192.168.172.213:2425): connection refused",
    "owed": 7,
}
WATCHED = test_cli_trace_watch.ROW | {
    "address": SEEN[0], "segment": SEEN[1], "as_packets": 1234, "as_bytes": 1234567, "to_packets": 9, "to_bytes": 576,
}  # fmt: skip
ROUTE = {"gateway": "192.168.171.1", "interface": "enp0s31f6", "source": "192.168.171.254"}
FACTS = [
    {"check": "route", "outcome": "routed", "detail": ROUTE},
    *test_cli_trace_host.DEAD[1:],
    {"check": "path", "outcome": "stops", "detail": {"last": SEEN[0]}},
    {"check": "segment", "outcome": "remote", "detail": {"name": SEEN[1]}},
]


def scripted(daemon) -> None:
    status = deepcopy(STATUS)
    local, remote = status["relay"]["segments"]
    status["relay"]["segments"] = [
        local | {"name": SEEN[1], "address": SEEN[0], "interface": "enp0s31f6", "served_by": PEER["name"]},
        remote | {"name": SEEN[2], "next_sweep": 100.0},
    ]
    agents = [{"nick": "Bob", "score": 1, "polled": 12.0, "address": SEEN[0], "asks": True}] * 3
    status["relay"]["master"] = [
        {"network": SEEN[1], "polling": 3, "agents": agents, "reported": 9, "answered": 65.0, "why": ""}
    ]
    status["fleet"]["peers"] = [PEER, LOST]
    daemon.answers("status", status)
    daemon.answers("users", [LONG, LONG | {"address": "192.168.172.213", "segment": SEEN[2]}])
    daemon.answers("search", test_cli_search.FOUND | {"found": [HIT]})
    kept = {"address": SEEN[0], "nick": LONG["nick"] * 5, "kind": "windows", "found": "2026-11-22T03:00:00Z"}
    daemon.answers("discovered", {"hosts": [kept], "problem": ""})
    daemon.answers("peers", test_cli_peer.FLEET | {"peers": [PEER, LOST]})
    totals = {"totals": test_cli_trace_watch.TOTALS}
    daemon.answers("watch", {}, before=(test_cli_trace_watch.BEGAN, {"rows": [WATCHED]}, totals))
    daemon.answers("host", test_cli_trace_host.result(FACTS))
    daemon.answers("pair", test_cli_trace_pair.PEER)
    both = [*test_cli_trace_pair.SHOWN, *test_cli_trace_pair.PAIR, *test_cli_trace_pair.HOSTS]
    daemon.answers("path", {"subject": test_cli_trace_pair.USERS, "facts": both, "seconds": 12.0})
    daemon.answers("why", test_cli_trace_why.ANSWER)
    daemon.answers("speak", {"facts": []})


COMMANDS = (
    ("status",), ("users",), ("peer", "list"), ("peer", "list", "--keys"), ("search", "192.168.172.*"),
    ("search", "--list"), ("trace", "watch", "--stats"), ("trace", "host", SEEN[0]), ("trace", "peer", "branch"),
    ("trace", "path", "taro", "hanako"), ("trace", "why", "wang"), ("doctor",),
)  # fmt: skip
ENGLISH_ONLY = ("status", "users", "peer")


def on_terminal(*shown: Any) -> str:
    out = Console(width=WIDTH, force_terminal=True, file=io.StringIO(), color_system=None, highlight=False)
    out.print(*shown)
    return out.file.getvalue()


@pytest.fixture(params=COMMANDS, ids=" ".join)
def pages(request, run, daemon, monkeypatch):
    """One command in each of its languages, as (what a terminal shows, what a pipe gets)."""
    scripted(daemon)
    words = request.param
    spoken = [()] if words[0] in ENGLISH_ONLY else [("--lang", lang) for lang in LANGUAGES]
    found = []
    for lang in spoken:
        piped = run(*words, *lang, "--config", daemon.config).out
        with monkeypatch.context() as environment:
            environment.setenv("COLUMNS", str(WIDTH))
            environment.setenv("FORCE_COLOR", "1")
            environment.setenv("TERM", "xterm")
            shown = run(*words, *lang, "--config", daemon.config).out
        found.append((re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown), piped))
    return found


def test_nothing_sticks_out_and_no_address_is_torn(pages):
    for shown, piped in pages:
        assert max(map(cell_len, shown.split("\n"))) <= WIDTH, shown
        for word in set(re.findall(r"[\w.]*\d\.\d[\d.*/:]*", piped)) - {"0.1.0"}:
            assert word in shown, (word, shown)


def test_no_line_begins_as_none_may(pages):
    for shown, _ in pages:
        for line in shown.splitlines():
            for cell in re.split(r"\s{2,}", line):
                assert cell[:1] not in set(NOT_FIRST), (cell, shown)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_networks_and_ports_of_the_firewall_table(lang, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("FORCE_COLOR", "1")
    found = openings(["192.168.171.0/24", "192.168.172.0/24"], [SEEN[0]], ["192.168.173.*"])
    firewall._print(found, lang)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(cell_len, shown.split("\n"))) <= WIDTH
    for rule in found.rules:
        assert {*rule.source, *rule.destination} <= set(shown.split())
        assert f"-> {rule.port}" in shown


def test_columns_that_stay_whole_are_not_folded_and_the_others_give_way():
    address, why = "192.168.172.213:49678", "connection refused, again and again, since yesterday"
    made = table("from", "to", "address", "why", whole=("from", "to", "address"))
    made.add_row(address, address, address, why)
    shown = on_terminal(made)
    assert max(map(cell_len, shown.split("\n"))) <= WIDTH
    assert shown.count(address) == 3
    assert {*why.split()} <= {*shown.split()}


@pytest.mark.parametrize("shift", range(40))
def test_japanese_cells_are_broken_as_japanese_is(shift):
    made = table("address", "why", whole=("address",))
    why = (
        "あ" * shift
        + "応答なし(応答するのは一部のユーザーだけです)、" * 3
        + "192.168.172.213 が通知しました。"
    )
    made.add_row(SEEN[0], why)
    lines = on_terminal(made).splitlines()[2:]
    cells = [line.removeprefix(SEEN[0]).strip() for line in lines]
    assert "".join(cells).replace(" ", "") == why.replace(" ", "")
    assert not [cell for cell in cells if cell[0] in NOT_FIRST or cell[-1] in NOT_LAST]
    assert any("192.168.172.213" in cell for cell in cells)


def test_where_not_even_the_whole_columns_have_room_they_are_folded_and_nothing_is_cut():
    relay, why = "0123456789" * 6, "connection refused"
    made = table("relay", "address", "why", whole=("relay", "address"))
    made.add_row(relay, "192.168.172.213:49678", why)
    shown = on_terminal(made)
    assert max(map(cell_len, shown.split("\n"))) <= WIDTH
    for text in (relay, "192.168.172.213:49678", why):
        assert all(shown.count(letter) >= text.count(letter) for letter in set(text.replace(" ", "")))


def test_styles_of_prose_outlive_its_lines():
    text = Text.assemble(("拒否", "bold red"), ": ", ("192.168.172.213:49678 に接続できません" * 3, "dim"))
    lines = [
        line for part in [Prose(text)] for line in part.__rich_console__(Console(), Console(width=30).options)
    ]
    assert "".join(line.plain for line in lines).replace(" ", "") == text.plain.replace(" ", "")
    assert lines[0].spans[0].style == "bold red"
    assert all(line.spans[-1].style == "dim" for line in lines)


def test_blank_prose_is_blank():
    assert on_terminal(Prose("")) == "\n"
    assert on_terminal(Prose(" " * 100)).strip() == ""
