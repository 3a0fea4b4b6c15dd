"""sweep: the result line, the exit code, what is asked."""

from __future__ import annotations

EVENTS = ({"left": 254, "total": 254, "answered": 0}, {"left": 100, "total": 254, "answered": 2})


def test_the_result_is_one_line(run, daemon):
    daemon.answers("sweep", {"asked": 254, "answered": 3, "seconds": 1.71}, before=EVENTS)
    page = run("sweep", "192.168.2.*", "--config", daemon.config)
    assert (page.code, page.out, page.err) == (0, "254 addresses asked in 1.7 s, 3 answered\n", "")
    assert daemon.asked[-1] == {"v": 1, "do": "sweep", "segments": ["192.168.2.*"]}


def test_json_is_the_result_alone(run, daemon):
    result = {"asked": 254, "answered": 3, "seconds": 1.71}
    daemon.answers("sweep", result, before=EVENTS)
    assert run("sweep", "--json", "--config", daemon.config).json == result


def test_nobody_answered_is_exit_1(run, daemon):
    daemon.answers("sweep", {"asked": 254, "answered": 0, "seconds": 1.7})
    assert run("sweep", "--config", daemon.config).code == 1


def test_nothing_to_ask_says_why(run, daemon):
    daemon.answers("sweep", {"asked": 0, "answered": 0, "seconds": 0.0})
    page = run("sweep", "--config", daemon.config)
    assert page.code == 1
    assert "no remote segment" in page.out


def test_a_daemon_that_ends_in_between_is_said(run, daemon):
    daemon.lines["sweep"] = [{"v": 1, "event": EVENTS[0]}]
    page = run("sweep", "--config", daemon.config)
    assert page.code == 1
    assert page.err.startswith("camrelay: ")
    assert "ended" in page.err
