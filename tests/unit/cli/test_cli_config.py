"""config check, show, init: what an admin sees of a right and of a wrong file."""

from __future__ import annotations

import tomllib

import pytest

from camrelay.cli.config import segments
from camrelay.config import sample
from camrelay.daemon.interfaces import Choice

GOOD = '[relay]\ninterfaces = ["lo"]\n[remote]\nsegments = ["192.168.1.*", "10.1.5.20"]\n'
BAD = '[relay]\nnmae = "x"\n[remote]\nsweep_every = 10\n'


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "camrelay.toml"
        path.write_text(text)
        return path

    return write


def test_check_lists_every_problem_with_its_line(run, file):
    path = file(BAD)
    page = run("config", "check", "--config", path)
    assert page.code == 2
    assert [line.split(" ")[0] for line in page.out.splitlines()] == [f"{path}:2:", f"{path}:4:"]
    found = run("config", "check", "--config", path, "--json").json
    assert found == {"ok": False, "path": str(path), "problems": page.out.splitlines()}


def test_check_says_of_every_interface_whether_it_is_used_and_why(run, file):
    page = run("config", "check", "--config", file(GOOD), "--json")
    rows = {row["name"]: row for row in page.json["interfaces"]}
    assert set(rows["lo"]) == {"name", "address", "network", "used", "why"}
    assert all(isinstance(row["used"], bool) and row["why"] for row in rows.values())
    assert "no mistakes" in run("config", "check", "--config", file(GOOD)).out


def test_own_segments_and_the_remote_ones_that_are_left_follow():
    eth0 = Choice("eth0", "192.168.1.2", "192.168.1.0/24", True, "")
    also = {"eth0": ["192.168.9.0/24"], "down0": ["10.9.9.0/24"]}
    rows = segments([eth0], also, ["192.168.1.*", "192.168.9.7", "192.168.2.*", "10.1.5.20"])
    assert [(row["name"], row["kind"]) for row in rows] == [
        ("192.168.1.0/24", "local"),
        ("192.168.9.0/24", "local"),
        ("192.168.1.*", "skipped"),
        ("192.168.9.7", "skipped"),
        ("192.168.2.*", "remote"),
        ("10.1.5.20", "remote"),
    ]


def test_check_without_any_usable_interface_is_a_finding(run, file):
    page = run("config", "check", "--config", file('[relay]\ninterfaces = ["nope0"]\n'))
    assert page.code == 1
    assert "nope0" in page.out
    assert "cannot be served" in page.out


def test_show_prints_what_is_in_force_as_toml_and_json(run, file):
    path = file(GOOD)
    shown = tomllib.loads(run("config", "show", "--config", path).out)
    assert shown["remote"]["segments"] == ["192.168.1.*", "10.1.5.20"]
    assert shown["relay"]["group"] == "CAMRelay"
    assert run("config", "show", "--config", path, "--json").json == shown


def test_init_writes_the_sample_once(run, tmp_path):
    path = tmp_path / "new" / "camrelay.toml"
    page = run("config", "init", path)
    assert page.code == 0
    assert str(path) in page.out
    assert path.read_text() == sample()
    path.write_text("mine")
    page = run("config", "init", path)
    assert page.code == 2
    assert "--force" in page.err
    assert path.read_text() == "mine"
    assert run("config", "init", path, "--force").code == 0
    assert path.read_text() == sample()


def test_init_to_stdout_writes_no_file(run):
    assert run("config", "init", "--stdout").out == sample()


def test_init_where_nothing_can_be_written_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    page = run("config", "init", tmp_path / "file" / "camrelay.toml")
    assert page.code == 1
    assert page.err.startswith("camrelay: ")
    assert page.err.count("\n") == 1


def test_run_says_every_problem_of_the_configuration(run, file):
    path = file(BAD)
    page = run("run", "--config", path)
    assert page.code == 2
    assert [line.split(" ")[1] for line in page.err.splitlines()] == [f"{path}:2:", f"{path}:4:"]
