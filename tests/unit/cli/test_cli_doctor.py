"""doctor and listen: tables, JSON, exit codes; whatever the daemon says or does not say."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from camrelay.cli import doctor
from camrelay.cli.listen import conclusion, summary
from camrelay.daemon.doctor.listening import Heard, Relays
from camrelay.daemon.tracing import testuser
from camrelay.trace.facts import Fact

DROPPED = {
    "check": "speaking", "outcome": "dropped", "seconds": 1.6, "role": "", "by": "",
    "detail": {"segment": "192.168.1.0/24", "interface": "eth0", "witness": "osaka", "source": "192.0.2.9"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("lang", "word"), [("en", "drops foreign source addresses"), ("ja", "IP ソースガード")]
)
def test_a_dropping_switch_is_a_fault_with_its_remedy(run, daemon, lang, word):
    daemon.answers("speak", {"facts": [DROPPED]}, before=({}, {"fact": DROPPED}))
    page = run("doctor", "--lang", lang, "--config", daemon.config)
    assert page.code == 1
    assert word in page.out
    assert "osaka" in page.out


def test_json_has_facts_and_verdicts(run, daemon):
    daemon.answers("speak", {"facts": [DROPPED]})
    found = run("doctor", "--json", "--config", daemon.config).json
    assert {"facts", "verdicts", "seconds", "lang"} <= found.keys()
    (fact,) = [fact for fact in found["facts"] if fact["check"] == "speaking"]
    assert (fact["outcome"], fact["good"]) == ("dropped", False)
    assert "segment-drops-foreign-sources" in [verdict["id"] for verdict in found["verdicts"]]


def test_without_the_daemon_the_box_is_checked(run, tmp_path):
    config = tmp_path / "camrelay.toml"
    config.write_text(f'[relay]\ncontrol = "{tmp_path}/no.sock"\n')
    page = run("doctor", "--config", config)
    assert page.code == 1
    assert "The relay does not run" in page.out
    assert "own segments" in page.out


def test_mistakes_in_the_configuration_are_a_finding_and_no_end(run, tmp_path):
    config = tmp_path / "camrelay.toml"
    config.write_text("[relay]\nnme = 1\n[remoot]\n")
    found = run("doctor", "--json", "--config", config).json
    (fact,) = [fact for fact in found["facts"] if fact["check"] == "config"]
    assert (fact["outcome"], fact["detail"]["more"]) == ("mistakes", 1)
    assert "config-mistakes" in [verdict["id"] for verdict in found["verdicts"]]


def test_a_daemon_that_refuses_is_said(run, daemon):
    daemon.refuses("status", "the disk is on fire", 1)
    page = run("doctor", "--config", daemon.config)
    assert page.code == 1
    assert "the disk is on fire" in page.out


def test_an_older_daemon_that_cannot_speak_leaves_the_rest(run, daemon):
    daemon.refuses("speak", "unknown request 'speak'", 2)
    page = run("doctor", "--config", daemon.config)
    assert "unknown request" in page.out


def test_each_segment_is_judged_by_itself():
    facts = [
        Fact("speaking", "arrives", detail={"segment": "10.1.0.0/24"}),
        Fact("speaking", "dropped", detail={"segment": "10.2.0.0/24", "witness": "a", "interface": "eth1"}),
        Fact("speaking", "dropped", detail={"segment": "10.3.0.0/24", "witness": "b", "interface": "eth2"}),
    ]
    found = doctor.judge(facts)
    assert [finding.detail["speaking.segment"] for finding in found] == ["10.2.0.0/24", "10.3.0.0/24"]


# -- listen ------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_listen_hears_nobody(run):
    page = run("listen", "--seconds", "0.1", "--port", free_port())
    assert page.code == 1
    assert "no relay was heard" in page.out


def test_listen_in_a_process_of_its_own_answers_and_sums_up():
    port = free_port()
    command = [sys.executable, "-m", "camrelay", "listen", "--seconds", "1.5", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == f"listening at UDP port {port} for 1.5 s\n"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
            relay.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            relay.sendto(testuser.question("0123456789abcdef", 3, "127.0.0.1"), ("127.0.0.1", port))
        said = process.stdout.read()
    assert "relay 127.0.0.1 asks in its own name: answered" in said
    assert "drops foreign source addresses" in said
    assert process.returncode == 0


def test_what_listen_says_at_the_end():
    found = Relays()
    found.take(Heard(0.1, "relay", "10.0.0.1", "hq (camrelay)", "entry"))
    found.take(Heard(0.2, "announcement", "10.2.0.7", "Taro", "present", ttl=1))
    found.take(Heard(0.3, "question", "192.0.2.7", relay="10.0.0.1"))
    assert conclusion(found, "en") == ["relays: 10.0.0.1; announcements: 1"]
    assert summary(found) == {
        "relays": [{"address": "10.0.0.1", "nick": "hq (camrelay)", "heard": 1}],
        "announcements": 1,
        "announced": {"10.2.0.7": "Taro"},
        "questions": {"own": 0, "foreign": 1},
    }


def test_a_taken_port_is_one_line(run):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        page = run("listen", "--port", sock.getsockname()[1])
    assert (page.code, page.err.count("\n")) == (1, 1)
    assert "is taken" in page.err


def test_listen_speaks_japanese(run):
    page = run("listen", "--seconds", "0.1", "--lang", "ja", "--port", free_port())
    assert "待ち受けています(0.1 秒間)" in page.out
    assert "中継サーバーからの通信はありませんでした" in page.out
