"""Facts and findings are plain data that travel as JSON."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from camrelay.trace.facts import Fact, Finding


def test_a_fact_is_named_by_its_check_and_by_who_looked() -> None:
    assert Fact("udp", "answered").key == "udp"
    assert Fact("udp", "answered", role="far", by="osaka").key == "far.udp"


def test_a_fact_travels_as_json_with_all_its_fields() -> None:
    fact = Fact("udp", "refused", 0.3, "far", "osaka", {"by": "10.77.2.11", "names": ["花子", None]})
    assert msgspec.json.decode(msgspec.json.encode(fact), type=Fact) == fact
    assert msgspec.to_builtins(Fact("udp", "silent")) == {
        "check": "udp", "outcome": "silent", "seconds": 0.0, "role": "", "by": "", "detail": {},
    }  # fmt: skip


def test_a_finding_travels_as_json() -> None:
    finding = Finding("firewall-udp", "fault", {"target": "10.77.2.11", "far.udp.by": "10.77.2.11"})
    assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding


def test_details_are_not_shared() -> None:
    assert Fact("udp", "silent").detail is not Fact("udp", "silent").detail


@pytest.mark.parametrize("module", ["camrelay.daemon.service", "camrelay.cli.app"])
def test_nothing_of_it_is_loaded_when_the_daemon_or_the_command_line_starts(module: str) -> None:
    program = (
        f"import sys, {module}; print([name for name in sys.modules if name.startswith('camrelay.trace')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
