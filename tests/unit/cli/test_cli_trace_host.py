"""trace host: what is asked, the table, the verdicts in two languages, JSON, exit codes, what is drawn meanwhile."""

from __future__ import annotations

import os
import pty
import sys
from typing import Any

import pytest

from camrelay.cli.trace_view import HEADINGS, WORDS, span

TARGET = "192.168.2.11"
SUBJECT = {"target": TARGET, "user": "hanako", "here": "hq", "here_address": "192.168.1.2"}
WELL = [
    {"check": "route", "outcome": "routed", "detail": {"gateway": "192.168.1.1", "interface": "eth0"}},
    {"check": "icmp", "outcome": "answered", "seconds": 0.4, "detail": {"ms": 0.3, "ttl": 63}},
    {"check": "udp", "outcome": "answered", "seconds": 0.002, "detail": {"ms": 2.0}},
    {"check": "tcp", "outcome": "open", "seconds": 0.002, "detail": {"ms": 1.9}},
]
DEAD = [
    {**WELL[0]},
    {"check": "icmp", "outcome": "answered", "seconds": 0.4, "detail": {"ms": 0.3, "ttl": 63}},
    {"check": "udp", "outcome": "refused", "seconds": 2.65, "detail": {"by": TARGET}},
    {"check": "tcp", "outcome": "refused", "detail": {"by": TARGET}},
]
FAR = [{"check": "udp", "outcome": "answered", "role": "far", "by": "osaka", "detail": {"ms": 1.0}}]


def result(facts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"target": TARGET, "user": "hanako", "subject": SUBJECT, "facts": facts, "seconds": 2.7, **more}


def test_what_is_asked(run, daemon):
    daemon.answers("host", result(WELL))
    run("trace", "host", "hanako", "--no-far", "--config", daemon.config)
    assert daemon.asked[-1] == {
        "v": 1, "do": "host", "more": {"target": "hanako", "far": False, "via": ""},
    }  # fmt: skip
    run("packet-trace", "host", TARGET, "--from", "osaka", "--config", daemon.config)
    assert daemon.asked[-1]["more"] == {"target": TARGET, "far": True, "via": "osaka"}


def test_a_host_that_is_well_is_exit_0_and_said_so(run, daemon):
    daemon.answers("host", result(WELL), before=({}, {"begun": "udp"}, {"fact": WELL[2]}))
    page = run("trace", "host", TARGET, "--config", daemon.config, "--lang", "en")
    assert (page.code, page.err) == (0, "")
    lines = [line.split() for line in page.out.splitlines()]
    assert lines[0] == ["check", "result", "time"]
    assert lines[4] == ["✓", "UDP", "2425", "(are", "you", "there?)", "answers", "in", "2", "ms", "2", "ms"]
    assert page.out.rstrip().endswith("Nothing wrong was found.")
    assert page.out.count("UDP 2425 (are") == 1  # piped, nothing is drawn before the end


def test_a_fault_is_exit_1_with_its_verdict_and_the_next_step(run, daemon):
    daemon.answers("host", result(DEAD))
    page = run("trace", "host", TARGET, "--config", daemon.config, "--lang", "en")
    assert page.code == 1
    verdict = page.out[page.out.index("\nVerdict\n") :].splitlines()
    assert verdict[2].startswith(f"1. fault  The PC {TARGET} is on and reachable")
    assert verdict[3].startswith("   What to do: Start the client")


@pytest.mark.parametrize(("lang", "words"), [("en", "What to do: "), ("ja", "対処: ")])
def test_language_by_option(run, daemon, lang, words):
    daemon.answers("host", result(DEAD))
    assert words in run("trace", "host", TARGET, "--lang", lang, "--config", daemon.config).out


@pytest.mark.parametrize(
    ("locale", "title"), [("ja_JP.UTF-8", "診断"), ("C.UTF-8", "Verdict"), ("de_DE", "Verdict")]
)
def test_language_by_locale(daemon, locale, title):
    import subprocess

    daemon.answers("host", result(DEAD))
    words = [sys.executable, "-m", "camrelay", "trace", "host", TARGET, "--config", str(daemon.config)]
    environment = {**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert title in done.stdout.splitlines()


def test_a_language_that_there_is_none_of_is_wrong_usage(run, daemon):
    page = run("trace", "host", TARGET, "--lang", "fr", "--config", daemon.config)
    assert page.code == 2
    assert "'en', 'ja'" in page.err


def test_marks_that_the_output_cannot_show_are_plain(daemon):
    import subprocess

    daemon.answers("host", result(DEAD))
    words = [
        sys.executable,
        "-m",
        "camrelay",
        "trace",
        "host",
        TARGET,
        "--lang",
        "en",
        "--config",
        str(daemon.config),
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert any(line.startswith("x |UDP 2425") for line in done.stdout.splitlines())


def test_json_is_one_document(run, daemon):
    daemon.answers("host", result(DEAD), before=({"begun": "udp"}, {"fact": DEAD[2]}))
    page = run("trace", "host", TARGET, "--json", "--lang", "en", "--config", daemon.config)
    found = page.json
    assert page.code == 1
    assert {key: found[key] for key in ("target", "user", "subject", "seconds", "lang")} == {
        "target": TARGET, "user": "hanako", "subject": SUBJECT, "seconds": 2.7, "lang": "en",
    }  # fmt: skip
    assert found["facts"][2] == {
        "check": "udp", "outcome": "refused", "seconds": 2.65, "role": "", "by": "", "detail": {"by": TARGET},
        "good": False, "meaning": f"{TARGET} says: nothing listens at this port",
    }  # fmt: skip
    (verdict,) = found["verdicts"]
    assert (verdict["id"], verdict["severity"]) == ("client-not-running", "fault")
    assert set(verdict) == {"id", "severity", "say", "do"}


def test_what_another_relay_saw_has_a_heading(run, daemon):
    daemon.answers("host", result(WELL + FAR))
    page = run("trace", "host", TARGET, "--lang", "en", "--config", daemon.config)
    lines = page.out.splitlines()
    assert lines[6].strip() == "seen by osaka, in its own segment"
    assert "UDP 2425" in lines[7]


def test_strangers_text_is_made_harmless(run, daemon):
    info = {"check": "info", "outcome": "answered", "detail": {"version": "evil\x1b[2J\u202e"}}
    daemon.answers("host", result([*WELL, info]))
    page = run("trace", "host", TARGET, "--config", daemon.config)
    assert "\x1b" not in page.out
    assert "\u202e" not in page.out


def test_what_we_have_no_words_for_is_shown_as_it_is(run, daemon):
    """A relay that looked for us may be newer."""
    daemon.answers("host", result([*WELL, {"check": "aura", "outcome": "violet"}]))
    page = run("trace", "host", TARGET, "--config", daemon.config)
    assert (page.code, "aura" in page.out, "violet" in page.out) == (0, True, True)


def test_candidates_of_the_daemon_are_wrong_usage(run, daemon):
    daemon.refuses("host", "'pc' may be taro/pc (taro) at 10.1.1.1, ...", 2)
    page = run("trace", "host", "pc", "--config", daemon.config)
    assert (page.code, page.out) == (2, "")
    assert page.err.startswith("camrelay: 'pc' may be taro/pc")


def test_a_daemon_that_ends_in_between_is_said(run, daemon):
    daemon.lines["host"] = [{"v": 1, "event": {"begun": "udp"}}]
    page = run("trace", "host", TARGET, "--config", daemon.config)
    assert page.code == 1
    assert "ended" in page.err


def test_on_a_terminal_checks_are_drawn_as_they_come(daemon):
    before = (
        {"begun": "udp", "role": "", "by": ""}, {"begun": "path-other", "role": "", "by": ""},
        {"fact": DEAD[2]}, {"dropped": "path-other", "role": "", "by": ""},
    )  # fmt: skip
    daemon.answers("host", result(DEAD), before=before)
    words = ["-m", "camrelay", "trace", "host", TARGET, "--lang", "en", "--config", str(daemon.config)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, *words], environment)
    drawn = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        drawn += piece
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    text = drawn.decode()
    assert os.waitstatus_to_exitcode(status) == 1
    assert "nothing listens at this port" in text
    assert "Verdict" in text
    assert "other UDP" not in text[text.rindex("result") :]


def test_every_heading_and_word_is_there_in_both_languages():
    assert set(HEADINGS["en"]) == set(HEADINGS["ja"])
    assert set(WORDS["en"]) == set(WORDS["ja"])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, ""), (0.0002, ""), (0.012, "12 ms"), (0.9994, "999 ms"), (0.9997, "1.0 s"), (9.5, "9.5 s")],
)
def test_how_long_a_check_took(seconds, shown):
    assert span(seconds) == shown
