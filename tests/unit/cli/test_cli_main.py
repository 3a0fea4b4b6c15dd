"""The door: help, exit codes, one-line errors, quiet pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import ROW

from camrelay import __version__
from camrelay.cli.app import COMMANDS

GROUPS = {
    "config": ("check", "show", "init"),
    "peer": ("invite", "join", "list", "remove", "rotate"),
    "packet-trace": ("watch", "host", "path", "peer", "why"),
}
PAGES = [*([name] for name in COMMANDS), *([name, sub] for name, subs in GROUPS.items() for sub in subs)]


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_every_subcommand_explains_itself(run, words):
    page = run(*words, "--help")
    assert page.code == 0
    assert page.err == ""
    assert "Usage: camrelay " + " ".join(words) in page.out
    if len(words) > 1 or words[0] not in GROUPS:
        assert "Examples:" in page.out
        assert "Exit codes:" in page.out
        assert "--config" in page.out or words == ["listen"]  # which runs where there is no relay


def test_help_names_every_subcommand_in_one_line_each(run):
    page = run("--help")
    assert page.code == 0
    for name, line in COMMANDS.items():
        assert any(name in text.split() and line in text for text in page.out.splitlines())
    assert "--install-completion" in page.out


def test_help_imports_nothing_but_typer():
    program = (
        "import sys; from camrelay.cli import main; main(['--help']);"
        "sys.exit(' '.join({'rich', 'trio', 'msgspec', 'cryptography', 'structlog', 'sqlite3', 'netifaces',"
        "'camrelay.config', 'camrelay.cli.users'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "\n"
    assert "Usage: camrelay" in done.stdout


def test_version(run):
    assert run("--version").out == f"camrelay {__version__}\n"


def test_no_subcommand_is_wrong_usage_and_shows_the_help(run):
    page = run()
    assert page.code == 2
    assert "Commands:" in page.err


@pytest.mark.parametrize(
    "words",
    [["usrs"], ["users", "--state", "sleeping"], ["status", "--colour"], ["config", "chekc"], ["config"]],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_that_names_the_help(run, words):
    page = run(*words)
    assert page.code == 2
    assert page.out == ""
    assert page.err.startswith("camrelay: ")
    assert page.err.count("\n") == 1
    assert "--help)" in page.err


def test_trace_is_packet_trace_and_listed_once(run):
    assert run("trace", "--help").out == run("packet-trace", "--help").out.replace(
        "packet-trace [", "trace ["
    )
    assert "trace" not in [text.split()[0] for text in run("--help").out.splitlines() if text.strip()]


def test_the_parts_of_trace_are_loaded_when_they_are_used():
    program = (
        "import sys; from camrelay.cli import main; main(['trace', '--help']);"
        "sys.exit(' '.join(sorted(name for name in sys.modules if name.startswith('camrelay.cli.trace_')"
        " or name in ('rich', 'trio', 'msgspec', 'camrelay.trace'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "\n"


def test_a_misspelt_subcommand_is_guessed(run):
    assert "'users'" in run("usrs").err


def test_no_daemon_is_exit_3_and_names_socket_and_remedy(run, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(f'[relay]\ncontrol = "{tmp_path}/none.sock"\n')
    for name in ("status", "users", "sweep"):
        page = run(name, "--config", config)
        assert page.code == 3
        assert page.err.startswith("camrelay: ")
        assert f"{tmp_path}/none.sock" in page.err
        assert "systemctl start camrelay" in page.err
        assert page.err.count("\n") == 1


def test_a_bad_configuration_is_exit_2_and_one_line(run, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("[relay]\nnmae = 1\ngruop = 2\n")
    page = run("status", "--config", config)
    assert page.code == 2
    assert page.err.count("\n") == 1
    assert f"{config}:2:" in page.err


def test_the_configuration_can_come_from_the_environment(daemon):
    environment = os.environ | {"CAMRELAY_CONFIG": str(daemon.config)}
    command = [sys.executable, "-m", "camrelay", "users", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [ROW]


def test_a_refusal_by_the_daemon_keeps_its_words_and_code(run, daemon):
    daemon.refuses("sweep", "unknown segment 10.9.9.*: known are 192.168.2.*", 2)
    page = run("sweep", "10.9.9.*", "--config", daemon.config)
    assert (page.code, page.err) == (2, "camrelay: unknown segment 10.9.9.*: known are 192.168.2.*\n")


def test_a_reader_that_goes_away_is_no_error(daemon):
    daemon.answers("users", [ROW | {"address": f"10.0.{n // 250}.{n % 250}"} for n in range(5000)])
    command = (
        f"{sys.executable} -m camrelay users --config {daemon.config} | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "141"
