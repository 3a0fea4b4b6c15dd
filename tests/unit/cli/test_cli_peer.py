"""peer and sync: what is asked, what is shown, exit codes; a token never on the command line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from camrelay.cli.app import COMMANDS
from camrelay.cli.fleetview import size
from camrelay.daemon import token
from camrelay.daemon.token import Token

TOKEN = token.write(Token(("10.0.0.1:2425",), "ab" * 32, b"s" * 32))
PEER: dict[str, Any] = {
    "id": "cd" * 32,
    "name": "branch-2",
    "state": "linked",
    "since": 7500.0,
    "why": "",
    "address": "10.2.0.2:2425",
    "addresses": ["10.2.0.2:2425"],
    "software": "camrelay 0.2.0",
    "rtt": 0.0123,
    "users": 1234,
    "owed": 0,
    "synced": 60.0,
    "sent": 64_200,
    "received": 1_300_000,
    "drops": {"silent": 2},
    "words": "acorn radio",
}
AWAY = PEER | {
    "id": "ef" * 32,
    "name": "branch\x1b3",
    "state": "away",
    "why": "branch-3 (10.3.0.2:2425): connection refused",
    "rtt": None,
    "owed": 7,
    "synced": None,
    "drops": {},
    "address": "",
    "addresses": ["10.3.0.2:2425", "b3.example.com:443"],
}
FLEET: dict[str, Any] = {
    "id": "ab" * 32,
    "name": "hq",
    "words": "tiger piano",
    "addresses": ["10.0.0.1:2425"],
    "problem": "",
    "removed_by": "",
    "removed": None,
    "rotating": False,
    "awaited": [],
    "invitations": [],
    "peers": [PEER, AWAY],
}
ALONE = FLEET | {"id": "", "words": "", "peers": []}
INVITED = {
    "id": "1234",
    "token": TOKEN,
    "left": 3600.0,
    "name": "branch-4",
    "relay": "hq",
    "words": "tiger piano",
    "addresses": ["10.0.0.1:2425"],
}
JOINED = {
    "inviter": "hq",
    "inviter_words": "tiger piano",
    "name": "branch-4",
    "words": "acorn radio",
    "relays": 3,
}


class Stdin(io.StringIO):
    """A terminal or a pipe."""

    def __init__(self, text: str, terminal: bool = False) -> None:
        super().__init__(text)
        self.isatty = lambda: terminal  # type: ignore[method-assign]


# invite


def test_the_token_alone_goes_to_stdout(run, daemon):
    daemon.answers("invite", INVITED)
    page = run("peer", "invite", "--for", "branch-4", "--config", daemon.config)
    assert (page.code, page.out) == (0, TOKEN + "\n")
    assert "Invitation for branch-4, good once and for 60 min." in page.err
    assert "tiger piano" in page.err
    assert daemon.asked == [{"v": 1, "do": "invite", "name": "branch-4"}]


def test_waiting_ends_when_the_new_relay_has_come(run, daemon):
    daemon.answers("invite", INVITED)
    came = {"id": "1234", "name": "branch-4", "left": 3500.0, "used_by": "branch-2"}
    daemon.answers("peers", FLEET | {"invitations": [came]})
    page = run("peer", "invite", "--wait", "--config", daemon.config)
    assert page.code == 0
    assert "branch-2 has joined, its key in words: acorn radio" in page.err


@pytest.mark.parametrize("left", [[], [{"id": "1234", "name": "", "left": 0.0, "used_by": ""}]])
def test_waiting_ends_when_nobody_can_come_any_more(run, daemon, left):
    daemon.answers("invite", INVITED)
    daemon.answers("peers", FLEET | {"invitations": left})
    page = run("peer", "invite", "-w", "--json", "--config", daemon.config)
    assert (page.code, page.json) == (1, INVITED)
    assert "nobody came" in page.err


# join


@pytest.mark.parametrize("how", ["pipe", "dash", "file", "prompt"])
def test_the_token_comes_by_any_way_but_the_command_line(run, daemon, monkeypatch, tmp_path, how):
    daemon.answers("join", JOINED, before=({},))
    words = ["peer", "join", "--config", daemon.config]
    monkeypatch.setattr("sys.stdin", Stdin(TOKEN + "\n" if how in ("pipe", "dash") else "", how == "prompt"))
    if how == "dash":
        words += ["--token-file", "-"]
    if how == "file":
        (tmp_path / "token").write_text(f"\n  {TOKEN[:50]}\n{TOKEN[50:]}\n")
        words += ["--token-file", tmp_path / "token"]
    prompts: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: prompts.append(prompt) or TOKEN)
    page = run(*words)
    assert (page.code, page.err) == (0, "")
    assert token.read(daemon.asked[-1]["token"]) == token.read(TOKEN)
    assert page.out.splitlines() == [
        "Joined the fleet of hq: 3 relays with this one.",
        "  hq        tiger piano",
        "  branch-4  acorn radio  (this relay)",
        "The same words must stand on the other side: camrelay peer list --keys",
    ]
    assert bool(prompts) == (how == "prompt")


def test_a_mistyped_token_is_found_before_anybody_is_asked(run, daemon, monkeypatch):
    for text, why in (
        (TOKEN[:-8], "mistyped or incomplete"),
        ("", "no token was given"),
        ("x", "begins with"),
    ):
        monkeypatch.setattr("sys.stdin", Stdin(text))
        page = run("peer", "join", "--config", daemon.config)
        assert page.code == 2
        assert why in page.err
    assert daemon.asked == []


def test_a_prompt_that_is_ended_is_no_token(run, daemon, monkeypatch):
    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Stdin("", terminal=True))
    monkeypatch.setattr("getpass.getpass", ended)
    assert run("peer", "join", "--config", daemon.config).code == 2


def test_a_token_file_that_is_not_there_is_named(run, daemon, tmp_path):
    page = run("peer", "join", "-t", tmp_path / "gone", "--config", daemon.config)
    assert page.code == 2
    assert f"{tmp_path}/gone: cannot be read: no such file" in page.err


def test_a_token_on_the_command_line_is_a_usage_error(run, daemon):
    page = run("peer", "join", TOKEN, "--config", daemon.config)
    assert page.code == 2
    assert daemon.asked == []


def test_why_a_join_was_refused_is_one_line(run, daemon, monkeypatch):
    monkeypatch.setattr("sys.stdin", Stdin(TOKEN))
    daemon.refuses("join", "the inviting relay refused: this token was used before", 1)
    page = run("peer", "join", "--config", daemon.config)
    assert (page.code, page.err) == (1, "camrelay: the inviting relay refused: this token was used before\n")


# list


def test_the_list_shows_each_relay_and_why_it_is_not_linked(run, daemon):
    daemon.answers("peers", FLEET)
    page = run("peer", "list", "--config", daemon.config)
    assert page.code == 1, "one is not linked"
    lines = page.out.splitlines()
    for text in (
        "branch-2",
        "linked",
        "2 h 5 min",
        "12.3 ms",
        "1,234",
        "60 s ago",
        "64.2 kB",
        "1.3 MB",
        "2 silent",
    ):
        assert text in lines[2]
    assert "branch·3" in lines[3]
    assert "away: branch-3 (10.3.0.2:2425): connection refused" in lines[3]
    assert "-, 7 parts to go" in lines[3]
    assert "10.3.0.2:2425, b3.example.com:443" in lines[3]
    assert lines[-1] == "2 other relays, 1 linked; this one: hq, dialled at 10.0.0.1:2425"


def test_all_linked_is_exit_0_and_json_is_what_the_daemon_says(run, daemon):
    daemon.answers("peers", FLEET | {"peers": [PEER]})
    assert run("peer", "list", "--config", daemon.config).code == 0
    page = run("peer", "list", "--json", "--config", daemon.config)
    assert (page.code, page.json) == (0, FLEET | {"peers": [PEER]})


def test_what_waits_is_below_the_list(run, daemon):
    waiting = FLEET | {
        "rotating": True,
        "awaited": ["branch-3", "the invitation x"],
        "invitations": [
            {"id": "1", "name": "x", "left": 600.0, "used_by": ""},
            {"id": "2", "name": "", "left": 60.0, "used_by": ""},
            {"id": "3", "name": "y", "left": 60.0, "used_by": "branch-2"},
            {"id": "4", "name": "z", "left": 0.0, "used_by": ""},
        ],
    }
    daemon.answers("peers", waiting)
    lines = run("peer", "list", "--config", daemon.config).out.splitlines()
    assert lines[-3:] == [
        "open invitation for x: 10 min left",
        "open invitation: 60 s left",
        "new key: not in use yet, waits for branch-3, the invitation x",
    ]


def test_alone_is_said_with_the_reason(run, daemon):
    daemon.answers("peers", ALONE | {"removed_by": "lab", "removed": 120.0, "problem": "peer.pem: damaged"})
    page = run("peer", "list", "--config", daemon.config)
    assert page.code == 1
    assert "in no fleet" in page.out
    assert "removed from its fleet 2 min ago, as lab said" in page.out
    assert "problem: peer.pem: damaged" in page.out
    assert "no key yet" in run("peer", "list", "--keys", "--config", daemon.config).out


def test_keys_are_shown_in_words(run, daemon):
    daemon.answers("peers", FLEET)
    page = run("peer", "list", "--keys", "--config", daemon.config)
    assert "hq (this one)  abababababababab  tiger piano" in page.out
    assert "cdcdcdcdcdcdcdcd  acorn radio" in page.out


def test_sizes_are_as_people_read_them():
    assert [size(n) for n in (0, 999, 1000, 64_200, 1_300_000, 2_500_000_000)] == [
        "0 B", "999 B", "1.0 kB", "64.2 kB", "1.3 MB", "2.5 GB",
    ]  # fmt: skip


# remove


def removed(**more: Any) -> dict[str, Any]:
    return {"name": "branch-2", "id": "cd" * 32, "ourselves": False, "told": 2} | more


def test_a_removal_is_asked_back_on_a_terminal(run, daemon, monkeypatch):
    daemon.answers("remove", removed())
    answers = iter([False, True])
    monkeypatch.setattr("sys.stdin", Stdin("", terminal=True))
    monkeypatch.setattr("typer.confirm", lambda *_, **__: next(answers))
    assert run("peer", "remove", "branch-2", "--config", daemon.config).code == 1
    assert daemon.asked == []
    page = run("peer", "remove", "branch-2", "--config", daemon.config)
    assert (page.code, page.out) == (0, "branch-2 is removed; 2 linked relays told.\n")
    assert daemon.asked == [{"v": 1, "do": "remove", "peer": "branch-2"}]


def test_a_script_must_say_yes(run, daemon, monkeypatch):
    daemon.answers("remove", removed(told=1))
    monkeypatch.setattr("sys.stdin", Stdin(""))
    assert run("peer", "remove", "branch-2", "--config", daemon.config).code == 2
    assert run("peer", "remove", "branch-2", "--yes", "--json", "--config", daemon.config).json == removed(
        told=1
    )


def test_who_leaves_while_nobody_listens_is_told_what_to_do(run, daemon):
    daemon.answers("remove", removed(ourselves=True, told=0))
    page = run("peer", "remove", "branch-2", "-y", "--config", daemon.config)
    assert "has left the fleet and runs alone; 0 linked relays told" in page.out
    assert "run `camrelay peer remove branch-2` on one of them too" in page.out


# rotate


@pytest.mark.parametrize(
    ("awaited", "line"),
    [([], "It is in use."), (["a", "b"], "In use as soon as these have taken it: a, b")],
)
def test_a_rotation_says_whether_it_is_done(run, daemon, awaited, line):
    daemon.answers("rotate", {"words": "acorn radio", "awaited": awaited})
    page = run("peer", "rotate", "--config", daemon.config)
    assert (page.code, page.out.splitlines()) == (0, ["New key in words: acorn radio", line])
    assert run("peer", "rotate", "--json", "--config", daemon.config).json["awaited"] == awaited


# sync


def test_a_sync_has_a_line_for_each(run, daemon):
    rows = [
        {"name": "branch-2", "state": "equal", "owed": 0, "users": 1},
        {"name": "b3", "state": "told", "owed": 0, "users": 20},
    ]
    daemon.answers("sync", rows)
    page = run("sync", "branch-2", "b3", "--config", daemon.config)
    assert page.code == 0
    assert page.out.splitlines() == [
        "branch-2  in step, 1 user there",
        "b3        has all of our users, 20 users there",
    ]
    assert daemon.asked == [{"v": 1, "do": "sync", "peers": ["branch-2", "b3"]}]
    assert run("sync", "--json", "--config", daemon.config).json == rows


@pytest.mark.parametrize("state", ["behind", "away"])
def test_a_sync_that_is_not_done_is_exit_1(run, daemon, state):
    daemon.answers("sync", [{"name": "x", "state": state, "owed": 9, "users": 0}])
    page = run("sync", "--config", daemon.config)
    assert page.code == 1
    assert "9 of 256 parts to go" in page.out


# all


@pytest.mark.parametrize(
    "words", [["peer", "list"], ["peer", "rotate"], ["sync"], ["peer", "remove", "x", "-y"]]
)
def test_without_a_daemon_it_is_exit_3(run, tmp_path, words):
    config = tmp_path / "c.toml"
    config.write_text(f'[relay]\ncontrol = "{tmp_path}/none"\n')
    assert run(*words, "--config", config).code == 3


@pytest.mark.parametrize(
    "words", [["peer", name] for name in ("invite", "join", "list", "remove", "rotate")] + [["sync"]]
)
def test_help_has_examples_and_all_exit_codes(run, words):
    page = run(*words, "--help")
    assert page.code == 0
    assert "Examples:" in page.out
    for code in "0123":
        assert f"\n    {code}  " in page.out
    assert words[0] in COMMANDS


def test_status_shows_the_other_relays(run, daemon):
    from tests.unit.cli.conftest import STATUS

    daemon.answers("status", json.loads(json.dumps(STATUS)) | {"fleet": FLEET | {"rotating": True}})
    page = run("status", "--config", daemon.config)
    assert page.code == 0
    assert "away: branch-3 (10.3.0.2:2425): connection refused" in page.out
    assert "new key: not in use yet" in page.out
