"""report: one private tar.gz, what is in it and what is missing, and no name in it with --anonymous."""

from __future__ import annotations

import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.cli.report_names import Anonymous, without_secrets
from camrelay.daemon.doctor.box import Box, Ran
from tests.unit.cli.conftest import ROW, STATUS

SALT = b"0" * 16
SAMPLE = {"192.168.1.77": [{"at": 0.0, "size": 60, "version": "1_odd", "logon": "a{6}"}]}


@pytest.fixture
def full(daemon):
    daemon.answers("speak", {"facts": []})
    daemon.answers("samples", {"samples": SAMPLE})
    daemon.answers("discovered", {"hosts": [], "problem": ""})
    return daemon


def packed(path):
    with tarfile.open(path) as archive:
        return {
            entry.name.removeprefix("camrelay-report/"): archive.extractfile(entry).read().decode()
            for entry in archive.getmembers()
        }


def test_all_of_it_is_packed_privately(run, full, tmp_path):
    path = tmp_path / "r.tar.gz"
    page = run("report", "--output", path, "--config", full.config)
    assert page.code == 0
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    found = packed(path)
    names = {"README.txt", "camrelay.toml", "status.json", "users.json", "samples.json", "discovered.json"}
    assert names | {"counters.json", "doctor.json", "versions.json"} <= found.keys()
    assert json.loads(found["users.json"]) == [ROW]
    assert json.loads(found["status.json"]) == STATUS
    assert json.loads(found["samples.json"]) == {"samples": SAMPLE}
    assert "users.json" in page.out
    assert "the roster" in found["README.txt"]
    assert json.loads(found["versions.json"])["packages"]


def test_with_the_daemon_dead_it_says_what_is_missing(run, tmp_path):
    config = tmp_path / "camrelay.toml"
    config.write_text(f'[relay]\ncontrol = "{tmp_path}/no.sock"\n')
    path = tmp_path / "r.tar.gz"
    said = run("report", "--json", "--output", path, "--config", config).json
    missing = {part["name"]: part["missing"] for part in said["contents"] if part["missing"]}
    assert "no daemon answers" in missing["users.json"]
    assert {"README.txt", "camrelay.toml", "doctor.json", "versions.json"} <= packed(path).keys()
    assert "missing: no daemon answers" in packed(path)["README.txt"]
    assert said["bytes"] == path.stat().st_size


def test_a_file_that_is_there_is_not_touched(run, full, tmp_path):
    path = tmp_path / "r.tar.gz"
    path.write_text("mine")
    page = run("report", "--output", path, "--config", full.config)
    assert page.code == 1
    assert "is there already" in page.err
    assert path.read_text() == "mine"


def test_anonymous_has_no_name_and_no_network(run, full, tmp_path):
    full.config.write_text(full.config.read_text() + 'name = "hq-1f"\n[remote]\nsegments = ["192.168.2.*"]\n')
    path = tmp_path / "r.tar.gz"
    assert run("report", "--anonymous", "--output", path, "--config", full.config).code == 0
    found = packed(path)
    together = "".join(found.values())
    for secret in ("tanaka", "PC-01", "田中", "営業", "hq-1f", "192.168.1.", "192.168.2."):
        assert secret not in together, secret
    (row,) = json.loads(found["users.json"])
    assert row["address"].endswith(".11")
    status = json.loads(found["status.json"])
    front = row["address"].removesuffix(".11")
    assert status["relay"]["segments"][0]["name"] == f"{front}.0/24"


def test_japanese(run, full, tmp_path):
    page = run("report", "--lang", "ja", "--output", tmp_path / "r.tar.gz", "--config", full.config)
    assert "名簿" in page.out
    assert "名簿" in packed(tmp_path / "r.tar.gz")["README.txt"]


# -- names ---------------------------------------------------------------------------------------------------------


def test_the_same_reads_the_same_and_another_report_otherwise():
    one, other = Anonymous(SALT), Anonymous(b"1" * 16)
    assert one.name("Tanaka") == one.name("tanaka") != other.name("tanaka")
    assert one.text("10.1.2.3") == one.text("10.1.2.3") != one.text("10.1.3.3")
    assert one.text("10.1.2.3").rpartition(".")[0] == one.text("10.1.2.9").rpartition(".")[0]


def test_log_lines_lose_names_that_nobody_knows():
    names = Anonymous(SALT)
    names.learn(["tanaka"])
    line = 'user joined nick="Yamada Hanako" logon=yama host=PC9 address=10.1.2.3 kind=windows cause="tanaka, ret 4"'
    said = names.text(line)
    for secret in ("Yamada", "yama", "PC9", "10.1.2", "tanaka"):
        assert secret not in said, said
    assert "kind=windows" in said
    assert 'nick": "name-' in names.text('{"event": "user joined", "nick": "Taro \\"T\\" Y"}')
    assert "aa:bb:cc" not in names.text("02:00:aa:bb:cc:dd")


def test_what_everybody_may_know_stays():
    names = Anonymous(SALT)
    for text in (
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "192.0.2.7",
        "camrelay 0.1.0",
        "1.2.3.4.5",
        "999.1.1.1",
    ):
        assert names.text(text) == text


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_no_value_is_too_strange(value):
    names = Anonymous(SALT)
    names.learn(["abc", "a.*(", ""])
    json.dumps(names.values(value))


def test_secrets_are_taken_out_and_counted():
    text = 'peers_password = "x"\nurl = "redis://me:pw@host/0"\n# camrelay1-abcdefgh\nname = "hq"\n'
    said, removed = without_secrets(text)
    assert removed == 3
    assert (
        said == 'peers_password = "(removed)"\nurl = "redis://(removed)@host/0"\n# (removed)\nname = "hq"\n'
    )


def test_the_log_comes_from_the_journal(tmp_path):
    from camrelay.cli.report_parts import Source, _log
    from camrelay.config import Config

    def journal(words):
        assert "--unit=camrelay" in words
        return Ran(0, "-- Boot 1 --\n2026 user joined nick=Taro\n", "")

    source = Source(Config(), tmp_path, lambda what: None, Box(run=journal), dict, Anonymous(SALT))
    part = _log(source)
    assert part.content.startswith(b"2026 user joined nick=name-")
    nothing = _log(source._replace(box=Box(run=lambda words: Ran(1, "", "No journal files were found."))))
    assert nothing.missing == "No journal files were found."
